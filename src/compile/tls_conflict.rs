//! Routers whose TLS options clash with those of others: as in Traefik, they stand apart, under
//! a name that says so.

use std::collections::HashMap;

use super::placement::Placed;
use super::report::qualify;
use crate::rule::{self, Matcher, Syntax, Tree};

/// Gives routers that can't have their TLS options a name of their own on that entry point
/// (`websecure-conflicted-web@docker`): those of a host that others serve with other options,
/// and those with options but without a host. Whether there are any.
pub(super) fn split(placed: &mut Vec<Placed>) -> bool {
    // Where all routers have the default options there is nothing to clash, and no rule to read.
    if !placed.iter().any(|one| options(one).is_some_and(|options| options != DEFAULT)) {
        return false;
    }
    let claims: Vec<Option<Claim>> = placed.iter().map(Claim::of).collect();
    let mut seen: HashMap<(&str, &str), (&str, bool)> = HashMap::new();
    for (one, claim) in placed.iter().zip(&claims) {
        let Some(claim) = claim else { continue };
        for on in &one.entry_points {
            for host in &claim.hosts {
                let first = seen.entry((on, host)).or_insert((&claim.options, false));
                first.1 |= first.0 != claim.options;
            }
        }
    }
    let mut apart = Vec::new();
    let mut rest = Vec::with_capacity(placed.len());
    for (one, claim) in placed.iter().zip(&claims) {
        let clashes = |on: &str| {
            claim.as_ref().is_some_and(|claim| match claim.hosts.as_slice() {
                [] => claim.options != DEFAULT,
                hosts => hosts.iter().any(|host| seen.get(&(on, host)).is_some_and(|seen| seen.1)),
            })
        };
        let (clashing, sound): (Vec<_>, Vec<_>) =
            one.entry_points.iter().cloned().partition(|on| clashes(on));
        for on in &clashing {
            apart.push(one.apart(&format!("{on}-conflicted-{}", one.name.local()), on));
        }
        rest.push((clashing.is_empty() || !sound.is_empty()).then_some(sound));
    }
    drop(seen);
    if apart.is_empty() {
        return false;
    }
    let mut rest = rest.into_iter();
    placed.retain_mut(|one| match rest.next().flatten() {
        Some(sound) => {
            one.entry_points = sound;
            true
        }
        None => false,
    });
    placed.append(&mut apart);
    true
}

const DEFAULT: &str = "default";

/// What a router with TLS asks for.
struct Claim {
    options: String,
    /// Lower case, as written.
    hosts: Vec<String>,
}

impl Claim {
    fn of(one: &Placed) -> Option<Self> {
        let options = options(one)?;
        let router = &one.router.value;
        let expr = rule::parse(&router.rule, Syntax::named(&router.rule_syntax)).ok()?;
        let mut hosts = Vec::new();
        named(&expr, &mut hosts);
        let home = one.name.provider();
        let options = if options == DEFAULT { DEFAULT.into() } else { qualify(options, home) };
        Some(Self { options, hosts })
    }
}

/// The options of a router with TLS, as written.
fn options(one: &Placed) -> Option<&str> {
    let tls = one.router.value.tls.as_ref()?;
    Some(if tls.options.is_empty() { DEFAULT } else { &tls.options })
}

/// The hosts of a rule, but for those behind `!`.
fn named(expr: &rule::Expr, into: &mut Vec<String>) {
    match expr {
        Tree::Match(Matcher::Host(host)) => into.push(host.to_ascii_lowercase()),
        Tree::Match(_) | Tree::Not(_) => {}
        Tree::And(parts) | Tree::Or(parts) => parts.iter().for_each(|part| named(part, into)),
    }
}
