//! How much one container may ask for: what all routers together cost to read, to compile and
//! to try for each request is paid by everybody.

use std::collections::HashMap;

use super::container::{Part, Parts};
use crate::middleware::Spec;
use crate::model::{Name, Provider, Router};
use crate::problem::{Code, Origin, Problem};
use crate::rule::{self, Matcher, Syntax, regexp};

/// Longest rules of a container together, in bytes: some thousand matchers, which take some ten
/// microseconds where all of them stand before somebody else's.
const RULES: usize = 64 * 1024;
/// What regular expressions may weigh together, each counted as often as a router uses it:
/// about a quarter of a second.
const PATTERNS: usize = 64 * 1024;
/// A rule below this length can't hold much.
const SHORT: usize = 256;
/// Certificates that a container may ask resolvers for.
const CERTIFICATES: usize = 256;
/// Chains in chains; compile tells of those that go round.
const DEEPEST: usize = 64;

/// The first bound that a container is over, if any.
pub(super) fn exceeded(routers: &[Part<Router>], parts: &Parts, this: &Origin) -> Option<Problem> {
    let refuse = |text: String, mend: &str| {
        Some(Problem::error(Code::BadValue, this.clone(), text).mend(mend))
    };
    let rules: usize = routers.iter().map(|router| router.value.rule.len()).sum();
    if rules > RULES {
        return refuse(
            format!("its rules have {rules} bytes together, and {RULES} is the most"),
            "write routers for that many paths or hosts in a file",
        );
    }
    let certificates: usize = routers.iter().map(|router| certificates(&router.value)).sum();
    if certificates > CERTIFICATES {
        return refuse(
            format!("it asks for {certificates} certificates, and {CERTIFICATES} is the most"),
            "list several hosts in one of `tls.domains`, or write the routers in a file",
        );
    }
    let weight = weight(routers, parts);
    if weight > PATTERNS {
        return refuse(
            format!(
                "the regular expressions of its routers are too many or too large: they weigh \
                 {weight}, and {PATTERNS} is the most"
            ),
            "use fewer of them, with lower counts in braces and without \\p classes, or write \
             the routers in a file",
        );
    }
    None
}

fn certificates(router: &Router) -> usize {
    let tls = router.tls.as_ref().filter(|tls| !tls.cert_resolver.is_empty());
    tls.map_or(0, |tls| tls.domains.len().max(1))
}

/// What the regular expressions of all routers weigh, those of their middlewares among them.
fn weight(routers: &[Part<Router>], parts: &Parts) -> usize {
    let middlewares: HashMap<&Name, &Spec> =
        parts.middlewares.iter().map(|part| (&part.name, &part.value)).collect();
    let mut known = HashMap::new();
    let mut weight = 0_usize;
    for Part { value, .. } in routers {
        weight = weight.saturating_add(of_rule(value));
        for name in &value.middlewares {
            let more = of_middleware(name, &middlewares, &mut known, DEEPEST);
            weight = weight.saturating_add(more);
        }
    }
    weight
}

fn of_rule(router: &Router) -> usize {
    let rule = &router.rule;
    if rule.len() < SHORT && rule.is_ascii() && !rule.contains(['{', '\\', '?']) {
        return rule.len();
    }
    // What does not parse is told by compile.
    let Ok(tree) = rule::parse(&router.rule, Syntax::named(&router.rule_syntax)) else { return 0 };
    let mut weight = 0_usize;
    tree.each(&mut |matcher| {
        let pattern = match matcher {
            Matcher::HostRegexp(pattern)
            | Matcher::PathRegexp(pattern)
            | Matcher::HeaderRegexp(_, pattern)
            | Matcher::QueryRegexp(_, Some(pattern)) => pattern.as_str(),
            Matcher::HostTemplate(template)
            | Matcher::PathTemplate(template)
            | Matcher::PathPrefixTemplate(template)
            | Matcher::QueryTemplate(_, template) => template.pattern(),
            Matcher::Host(_)
            | Matcher::Path(_)
            | Matcher::PathPrefix(_)
            | Matcher::Method(_)
            | Matcher::Header(..)
            | Matcher::Query(..)
            | Matcher::QueryRegexp(_, None)
            | Matcher::ClientIp(_) => return,
        };
        weight = weight.saturating_add(regexp::weight(pattern));
    });
    weight
}

/// What a middleware weighs, with those that a chain names. Each is looked at once.
fn of_middleware(
    reference: &str,
    all: &HashMap<&Name, &Spec>,
    known: &mut HashMap<Name, usize>,
    deepest: usize,
) -> usize {
    let Some(name) = Name::resolve(reference, Provider::Docker) else { return 0 };
    if let Some(weight) = known.get(&name) {
        return *weight;
    }
    let Some(spec) = all.get(&name).filter(|_| deepest > 0) else { return 0 };
    // For those that go round.
    known.insert(name.clone(), 0);
    let own: usize = spec.patterns().into_iter().map(regexp::weight).sum();
    let inner = spec.chain().unwrap_or_default().iter();
    let weight = inner.fold(own, |weight, inner| {
        weight.saturating_add(of_middleware(inner, all, known, deepest - 1))
    });
    known.insert(name, weight);
    weight
}
