//! What rules say about each other: which can never hold, and which hold only where another
//! does. Claims nothing that is not certain.

use super::program::{HostTest, Program, Test};
use crate::rule::Tree;

/// More branches than this are not looked at.
const MOST: usize = 64;

/// A matcher, and whether it stands without `!`.
type Literal<'p> = (&'p Test, bool);

/// A rule as alternatives of matchers that all must hold.
pub struct Form<'p> {
    /// `None` when there are too many.
    branches: Option<Vec<Vec<Literal<'p>>>>,
}

impl<'p> Form<'p> {
    /// The form of a rule.
    pub fn new(program: &'p Program) -> Self {
        Self { branches: branches(program.tree(), true) }
    }

    /// Whether no request can match.
    pub fn is_never(&self) -> bool {
        self.branches.as_ref().is_some_and(|all| all.iter().all(|one| contradicts(one)))
    }

    /// Whether some request may match both; when it can't be told, it may.
    pub fn meets(&self, other: &Form<'_>) -> bool {
        let (Some(ours), Some(theirs)) = (&self.branches, &other.branches) else { return true };
        ours.iter().any(|one| theirs.iter().any(|two| !contradicts(&[&**one, two].concat())))
    }

    /// Whether every request that matches `other` matches this one, too.
    pub fn covers(&self, other: &Form<'_>) -> bool {
        let (Some(wide), Some(narrow)) = (&self.branches, &other.branches) else { return false };
        narrow.iter().all(|narrow| {
            contradicts(narrow)
                || wide.iter().any(|wide| wide.iter().all(|asked| follows(narrow, *asked)))
        })
    }
}

fn branches(tree: &Tree<Test>, sign: bool) -> Option<Vec<Vec<Literal<'_>>>> {
    match tree {
        Tree::Match(test) => Some(vec![vec![(test, sign)]]),
        Tree::Not(inner) => branches(inner, !sign),
        // Not all of them is any of them not.
        Tree::And(parts) if sign => all(parts, sign),
        Tree::Or(parts) if !sign => all(parts, sign),
        Tree::And(parts) | Tree::Or(parts) => any(parts, sign),
    }
}

fn any(parts: &[Tree<Test>], sign: bool) -> Option<Vec<Vec<Literal<'_>>>> {
    let mut out = Vec::new();
    for part in parts {
        out.extend(branches(part, sign)?);
        if out.len() > MOST {
            return None;
        }
    }
    Some(out)
}

fn all(parts: &[Tree<Test>], sign: bool) -> Option<Vec<Vec<Literal<'_>>>> {
    let mut out = vec![Vec::new()];
    for part in parts {
        let more = branches(part, sign)?;
        if out.len() * more.len() > MOST {
            return None;
        }
        let joined = out.iter().flat_map(|left| more.iter().map(move |right| [&**left, right]));
        out = joined.map(|pair| pair.concat()).collect();
    }
    Some(out)
}

/// Whether these can't hold together.
fn contradicts(branch: &[Literal<'_>]) -> bool {
    branch.iter().enumerate().any(|(number, one)| {
        let alone = match one {
            (Test::Never, sign) => *sign,
            (test, sign) => !sign && is_any_host(test),
        };
        alone || branch.iter().skip(number + 1).any(|other| clash(*one, *other))
    })
}

fn clash(one: Literal<'_>, other: Literal<'_>) -> bool {
    match (one, other) {
        ((one, true), (other, true)) => is_disjoint(one, other),
        ((positive, true), (negative, false)) | ((negative, false), (positive, true)) => {
            implies(positive, negative)
        }
        ((_, false), (_, false)) => false,
    }
}

/// Whether a literal holds wherever the branch does.
fn follows(branch: &[Literal<'_>], asked: Literal<'_>) -> bool {
    is_certain(asked)
        || branch.iter().any(|given| match (*given, asked) {
            ((given, true), (asked, true)) => implies(given, asked),
            ((given, true), (asked, false)) => is_disjoint(given, asked),
            ((given, false), (asked, false)) => implies(asked, given),
            ((_, false), (_, true)) => false,
        })
}

/// Whether it holds for every request. (`OPTIONS *`, whose path is no path, is nobody's.)
fn is_certain((test, sign): Literal<'_>) -> bool {
    let is_root = matches!(test, Test::PathPrefix(path) if matches!(&**path, "" | "/"));
    if sign { is_root || is_any_host(test) } else { matches!(test, Test::Never) }
}

fn is_any_host(test: &Test) -> bool {
    matches!(test, Test::Host(HostTest::Any))
}

/// Whether `asked` holds wherever `given` does.
fn implies(given: &Test, asked: &Test) -> bool {
    match (given, asked) {
        (Test::Host(HostTest::Exact(host)), Test::Host(HostTest::Wildcard(suffix))) => {
            is_below(host, suffix)
        }
        (
            Test::Host(HostTest::Exact(host)),
            Test::HostRegexp(pattern) | Test::HostPattern(pattern),
        ) => pattern.is_match(host),
        (Test::Path(path) | Test::PathPrefix(path), Test::PathPrefix(prefix)) => {
            path.starts_with(&**prefix)
        }
        (Test::Path(path), Test::PathRegexp(pattern)) => pattern.is_match(path),
        (Test::Header(name, value), Test::HeaderRegexp(asked, pattern)) => {
            name == asked && pattern.is_match(value)
        }
        (Test::ClientIp(inner), Test::ClientIp(outer)) => outer.contains(inner),
        (given, asked) => is_same(given, asked),
    }
}

/// Whether the two never hold together.
fn is_disjoint(one: &Test, other: &Test) -> bool {
    match (one, other) {
        (Test::Host(one), Test::Host(other)) => match (one, other) {
            (HostTest::Any, _) | (_, HostTest::Any) => false,
            (HostTest::Exact(one), HostTest::Exact(other))
            | (HostTest::Wildcard(one), HostTest::Wildcard(other)) => one != other,
            (HostTest::Exact(host), HostTest::Wildcard(suffix))
            | (HostTest::Wildcard(suffix), HostTest::Exact(host)) => !is_below(host, suffix),
        },
        (
            Test::Host(HostTest::Exact(host)),
            Test::HostRegexp(pattern) | Test::HostPattern(pattern),
        )
        | (
            Test::HostRegexp(pattern) | Test::HostPattern(pattern),
            Test::Host(HostTest::Exact(host)),
        ) => !pattern.is_match(host),
        (Test::Path(one), Test::Path(other)) | (Test::Method(one), Test::Method(other)) => {
            one != other
        }
        (Test::Path(path), Test::PathPrefix(prefix))
        | (Test::PathPrefix(prefix), Test::Path(path)) => !path.starts_with(&**prefix),
        (Test::Path(path), Test::PathRegexp(pattern))
        | (Test::PathRegexp(pattern), Test::Path(path)) => !pattern.is_match(path),
        (Test::PathPrefix(one), Test::PathPrefix(other)) => {
            !one.starts_with(&**other) && !other.starts_with(&**one)
        }
        (Test::ClientIp(one), Test::ClientIp(other)) => {
            !one.contains(other) && !other.contains(one)
        }
        _ => false,
    }
}

fn is_below(host: &str, suffix: &str) -> bool {
    host.split_once('.').is_some_and(|(label, rest)| !label.is_empty() && rest == suffix)
}

fn is_same(one: &Test, other: &Test) -> bool {
    match (one, other) {
        (Test::Host(one), Test::Host(other)) => one == other,
        (Test::HostRegexp(one), Test::HostRegexp(other))
        | (Test::HostPattern(one), Test::HostPattern(other))
        | (Test::PathRegexp(one), Test::PathRegexp(other)) => one.as_str() == other.as_str(),
        (Test::Path(one), Test::Path(other))
        | (Test::PathPrefix(one), Test::PathPrefix(other))
        | (Test::Method(one), Test::Method(other)) => one == other,
        (Test::Header(one, value), Test::Header(other, same)) => one == other && value == same,
        (Test::HeaderRegexp(one, value), Test::HeaderRegexp(other, same)) => {
            one == other && value.as_str() == same.as_str()
        }
        (Test::Query(one, value), Test::Query(other, same)) => one == other && value == same,
        (Test::QueryRegexp(one, value), Test::QueryRegexp(other, same)) => {
            one == other && value.as_str() == same.as_str()
        }
        (Test::ClientIp(one), Test::ClientIp(other)) => one == other,
        (Test::Never, Test::Never) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::{self, Syntax};

    fn program(text: &str) -> Program {
        Program::compile(&rule::parse(text, Syntax::V3).unwrap()).unwrap()
    }

    #[test]
    fn rules_that_can_never_hold_are_known() {
        for (rule, is_never) in [
            ("Host(`a`) && Host(`b`)", true),
            ("Host(`a`) && Host(`A.`)", false),
            ("Host(`a`) || Host(`b`)", false),
            ("(Host(`a`) || Host(`b`)) && Host(`c`)", true),
            ("(Host(`a`) || Host(`b`)) && Host(`b`)", false),
            ("Host(`a.b`) && Host(`*.b`)", false),
            ("Host(`a.c`) && Host(`*.b`)", true),
            ("Host(`a.c`) && HostRegexp(`^a`)", false),
            ("Host(`a.c`) && HostRegexp(`^b`)", true),
            ("HostRegexp(`^a$`) && HostRegexp(`^b$`)", false),
            ("PathPrefix(`/a`) && PathPrefix(`/b`)", true),
            ("PathPrefix(`/a`) && PathPrefix(`/ab`)", false),
            ("Path(`/a`) && PathPrefix(`/a/`)", true),
            ("Path(`/a/b`) && !PathPrefix(`/a`)", true),
            ("PathPrefix(`/a`) && !PathPrefix(`/a/b`)", false),
            ("Method(`GET`) && Method(`post`)", true),
            ("Header(`X`, `1`) && Header(`X`, `2`)", false),
            ("Query(`a`, `1`) && Query(`a`, `2`)", false),
            ("ClientIP(`10.0.0.0/8`) && ClientIP(`10.1.0.0/16`)", false),
            ("ClientIP(`10.0.0.0/8`) && ClientIP(`192.168.0.0/16`)", true),
            ("Header(`Host`, `a`)", true),
            ("!Host(`*`)", true),
            ("Host(`a`) && !Host(`a`)", true),
        ] {
            assert_eq!(Form::new(&program(rule)).is_never(), is_never, "{rule}");
        }
    }

    #[test]
    fn a_rule_covers_what_is_surely_within_it() {
        for (wide, narrow, covers) in [
            ("Host(`a`)", "Host(`a`)", true),
            ("Host(`a`)", "Host(`a`) && PathPrefix(`/x`)", true),
            ("Host(`a`) && PathPrefix(`/x`)", "Host(`a`)", false),
            ("Host(`a`) && PathPrefix(`/`)", "Host(`a`)", true),
            ("Host(`a`) || Host(`b`)", "Host(`b`)", true),
            ("Host(`b`)", "Host(`a`) || Host(`b`)", false),
            ("Host(`*.b`)", "Host(`a.b`)", true),
            ("Host(`*.b`)", "Host(`x.a.b`)", false),
            ("HostRegexp(`^.+$`)", "Host(`a`)", true),
            ("HostRegexp(`^.+$`)", "PathPrefix(`/a`)", false),
            ("PathPrefix(`/a`)", "Path(`/a/b`) && Method(`GET`)", true),
            ("PathPrefix(`/a`)", "PathPrefix(`/b`)", false),
            ("PathRegexp(`^/a`)", "Path(`/a/b`)", true),
            ("PathRegexp(`^/a`)", "PathPrefix(`/a`)", false),
            ("!Host(`a`)", "Host(`b`)", true),
            ("!Host(`a`)", "Host(`a`)", false),
            ("!PathPrefix(`/a/b`)", "!PathPrefix(`/a`)", true),
            ("!PathPrefix(`/a`)", "!PathPrefix(`/a/b`)", false),
            ("Header(`X`, `1`)", "Header(`X`, `1`) && Host(`a`)", true),
            ("HeaderRegexp(`X`, `^1`)", "Header(`x`, `12`)", true),
            ("ClientIP(`10.0.0.0/8`)", "ClientIP(`10.1.2.3`)", true),
            ("Query(`a`, `1`)", "Query(`a`, `2`)", false),
            ("Path(`/z`)", "Host(`a`) && Host(`b`)", true),
        ] {
            let (wide_program, narrow_program) = (program(wide), program(narrow));
            let found = Form::new(&wide_program).covers(&Form::new(&narrow_program));
            assert_eq!(found, covers, "{wide} covers {narrow}");
        }
    }

    #[test]
    fn nothing_is_claimed_of_rules_with_too_many_branches() {
        let pair = |n: u32| format!("(Host(`a{n}`) || Path(`/{n}`))");
        let many = (0..8).map(pair).collect::<Vec<_>>().join(" && ");
        let program = program(&many);

        let form = Form::new(&program);

        assert!(!form.is_never() && !form.covers(&form));
    }
}
