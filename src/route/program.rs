//! Rules compiled: what a matcher tests, and how.

use std::net::IpAddr;

use http::HeaderName;
use ipnet::IpNet;
use regex::Regex;

use super::View;
use super::normal_form::{self, Place};
use super::query::{self, Separators};
use crate::rule::{Expr, Matcher, RuleError, Tree, regexp};

/// A rule, ready to be evaluated and indexed.
#[derive(Debug)]
pub struct Program {
    tree: Tree<Test>,
    places: Box<[Place]>,
    form: u64,
}

/// A compiled matcher.
#[derive(Clone, Debug)]
pub(super) enum Test {
    Host(HostTest),
    HostRegexp(Regex),
    /// What v2 calls so; as Traefik, it does not look at aliases.
    HostPattern(Regex),
    Path(Box<str>),
    PathPrefix(Box<str>),
    PathRegexp(Regex),
    Method(Box<str>),
    Header(HeaderName, Box<str>),
    HeaderRegexp(HeaderName, Regex),
    Query(Box<str>, Box<str>),
    QueryRegexp(Box<str>, Regex),
    ClientIp(IpNet),
    /// What a path begins with, and all of it.
    PathPattern(Box<str>, Regex),
    /// A key's first value.
    FirstQuery(Box<str>, Regex),
    /// Something that no request has, such as a header whose name can't be sent.
    Never,
}

/// What a `Host` asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum HostTest {
    /// `*`: everything, also no host.
    Any,
    /// Lower case, without trailing dot; never empty.
    Exact(Box<str>),
    /// `*.d`: what follows the first label.
    Wildcard(Box<str>),
}

impl HostTest {
    fn is(&self, host: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(name) => host == &**name,
            Self::Wildcard(suffix) => host
                .split_once('.')
                .is_some_and(|(label, rest)| !label.is_empty() && rest == &**suffix),
        }
    }
}

impl Program {
    /// Compiles a rule's matchers.
    pub fn compile(expr: &Expr) -> Result<Self, RuleError> {
        let mut tree = expr.try_map(&mut test)?;
        cheapest_first(&mut tree);
        let places = normal_form::places(&tree);
        let form = normal_form::number(&tree);
        Ok(Self { tree, places, form })
    }

    /// The same for rules that say the same in another order, or twice.
    pub fn form(&self) -> u64 {
        self.form
    }

    /// Whether a request matches.
    pub fn matches(&self, view: &View<'_>, separators: Separators) -> bool {
        self.tree.holds(&mut |test| test.matches(view, separators))
    }

    /// The hosts it names, for TLS: lower case, `*.d` for a wildcard; not those behind `!`.
    pub fn hosts(&self) -> Vec<String> {
        let mut hosts = Vec::new();
        named_hosts(&self.tree, &mut hosts);
        hosts
    }

    pub(super) fn tree(&self) -> &Tree<Test> {
        &self.tree
    }

    pub(super) fn places(&self) -> &[Place] {
        &self.places
    }
}

fn named_hosts(tree: &Tree<Test>, into: &mut Vec<String>) {
    match tree {
        Tree::Match(Test::Host(HostTest::Exact(host))) => into.push(host.to_string()),
        Tree::Match(Test::Host(HostTest::Wildcard(suffix))) => into.push(format!("*.{suffix}")),
        Tree::Match(_) | Tree::Not(_) => {}
        Tree::And(parts) | Tree::Or(parts) => {
            for part in parts {
                named_hosts(part, into);
            }
        }
    }
}

fn test(matcher: &Matcher) -> Result<Test, RuleError> {
    Ok(match matcher {
        Matcher::Host(host) => host_test(host),
        Matcher::HostRegexp(pattern) => Test::HostRegexp(regex(matcher, "HostRegexp", pattern)?),
        Matcher::Path(path) => Test::Path(path.as_str().into()),
        Matcher::PathPrefix(path) => Test::PathPrefix(path.as_str().into()),
        // Traefik names the wrong matcher here, and people search for its words.
        Matcher::PathRegexp(pattern) => Test::PathRegexp(regex(matcher, "PathPrefix", pattern)?),
        Matcher::Method(method) => Test::Method(method.to_uppercase().into()),
        Matcher::Header(name, value) => match header(name) {
            Some(name) => Test::Header(name, value.as_str().into()),
            None => Test::Never,
        },
        Matcher::HeaderRegexp(name, pattern) => {
            let pattern = regex(matcher, "HeaderRegexp", pattern)?;
            header(name).map_or(Test::Never, |name| Test::HeaderRegexp(name, pattern))
        }
        Matcher::Query(key, value) => {
            let value = value.as_deref().unwrap_or_default();
            Test::Query(key.as_str().into(), value.into())
        }
        Matcher::QueryRegexp(key, None) => Test::Query(key.as_str().into(), Box::default()),
        Matcher::QueryRegexp(key, Some(pattern)) => {
            Test::QueryRegexp(key.as_str().into(), regex(matcher, "QueryRegexp", pattern)?)
        }
        Matcher::ClientIp(range) => Test::ClientIp(addresses(matcher, range)?),
        Matcher::HostTemplate(host) => {
            Test::HostPattern(regex(matcher, "HostRegexp", host.pattern())?)
        }
        Matcher::PathTemplate(path) | Matcher::PathPrefixTemplate(path) => {
            let pattern = regex(matcher, matcher.name(), path.pattern())?;
            Test::PathPattern(path.literal().into(), pattern)
        }
        Matcher::QueryTemplate(key, value) => {
            Test::FirstQuery(key.as_str().into(), regex(matcher, "Query", value.pattern())?)
        }
    })
}

fn host_test(host: &str) -> Test {
    let host = host.to_ascii_lowercase();
    let host = host.strip_suffix('.').unwrap_or(&host);
    match host.strip_prefix("*.") {
        _ if host == "*" => Test::Host(HostTest::Any),
        Some(suffix) if !suffix.is_empty() => Test::Host(HostTest::Wildcard(suffix.into())),
        _ if host.is_empty() => Test::Never,
        _ => Test::Host(HostTest::Exact(host.into())),
    }
}

fn regex(matcher: &Matcher, called: &str, pattern: &str) -> Result<Regex, RuleError> {
    regexp::compile(pattern).map_err(|text| {
        let name = matcher.name();
        let text = format!("error while adding rule {name}: compiling {called} matcher: {text}");
        RuleError::adding(0..0, text).mend("write the pattern in Go's regular expression syntax")
    })
}

/// As Go: `Host` is no header field, and a name that can't be sent matches nothing.
fn header(name: &str) -> Option<HeaderName> {
    HeaderName::from_bytes(name.as_bytes()).ok().filter(|name| name != http::header::HOST)
}

fn addresses(matcher: &Matcher, range: &str) -> Result<IpNet, RuleError> {
    let one = range.parse::<IpAddr>().ok().map(|address| IpNet::from(address.to_canonical()));
    one.or_else(|| range.parse::<IpNet>().ok()).ok_or_else(|| {
        let name = matcher.name();
        let text = format!(
            "error while adding rule {name}: initializing IP checker for {name} matcher: \
             parsing CIDR trusted IPs <nil>: invalid CIDR address: {range}"
        );
        RuleError::adding(0..0, text).mend("write an address or a range such as 10.0.0.0/8")
    })
}

impl Test {
    fn matches(&self, view: &View<'_>, separators: Separators) -> bool {
        match self {
            Self::Host(host) => host.is(view.host) || view.alias.is_some_and(|name| host.is(name)),
            Self::HostRegexp(pattern) => {
                pattern.is_match(view.host) || view.alias.is_some_and(|name| pattern.is_match(name))
            }
            Self::HostPattern(pattern) => pattern.is_match(view.host),
            Self::Path(path) => view.path == &**path,
            Self::PathPrefix(path) => view.path.starts_with(&**path),
            Self::PathRegexp(pattern) | Self::PathPattern(_, pattern) => {
                pattern.is_match(view.path)
            }
            Self::Method(method) => view.method.as_str() == &**method,
            Self::Header(name, value) => {
                view.headers.get_all(name).iter().any(|line| line.as_bytes() == value.as_bytes())
            }
            Self::HeaderRegexp(name, pattern) => view
                .headers
                .get_all(name)
                .iter()
                .any(|line| pattern.is_match(&String::from_utf8_lossy(line.as_bytes()))),
            Self::Query(key, value) => query::has(view.query, separators, key, value),
            Self::QueryRegexp(key, pattern) => query::matches(view.query, separators, key, pattern),
            Self::FirstQuery(key, pattern) => {
                query::first_matches(view.query, separators, key, pattern)
            }
            Self::ClientIp(range) => range.contains(&view.peer.to_canonical()),
            Self::Never => false,
        }
    }

    /// What it takes to evaluate, roughly.
    fn cost(&self) -> u8 {
        match self {
            Self::Never | Self::Method(_) | Self::ClientIp(_) | Self::Host(_) => 0,
            Self::Path(_) | Self::PathPrefix(_) => 1,
            Self::Header(..) => 2,
            Self::Query(..) => 3,
            Self::HostRegexp(_)
            | Self::HostPattern(_)
            | Self::PathRegexp(_)
            | Self::HeaderRegexp(..)
            | Self::QueryRegexp(..)
            | Self::PathPattern(..)
            | Self::FirstQuery(..) => 4,
        }
    }
}

/// Puts cheap tests in front; matchers have no effects, so their order is free.
fn cheapest_first(tree: &mut Tree<Test>) -> u8 {
    match tree {
        Tree::Match(test) => test.cost(),
        Tree::Not(inner) => cheapest_first(inner),
        Tree::And(parts) | Tree::Or(parts) => {
            parts.sort_by_cached_key(cheapest);
            parts.iter_mut().map(cheapest_first).max().unwrap_or_default()
        }
    }
}

fn cheapest(tree: &Tree<Test>) -> u8 {
    let mut worst = 0;
    tree.each(&mut |test| worst = worst.max(test.cost()));
    worst
}

#[cfg(test)]
mod tests;
