//! What can be said of one router by itself.

use std::sync::Arc;

use super::placement::is_internal;
use super::report::{Fault, known_names, qualify};
use crate::model::{Desired, Name, Provider, Router};
use crate::problem::Code;
use crate::route::{Program, Route};
use crate::rule::{self, Stage, Syntax};

/// Traefik keeps the priorities above for itself.
const HIGHEST_PRIORITY: i64 = i64::MAX - 1000;

/// Its priority, or the byte length of its rule as written.
pub(super) fn priority(router: &Router) -> i64 {
    match router.priority {
        0 => i64::try_from(router.rule.len()).unwrap_or(i64::MAX),
        priority => priority,
    }
}

/// What is wrong with it as written, whatever else there is.
pub(super) fn faults(name: &Name, router: &Router) -> Vec<Fault> {
    let mut faults = Vec::new();
    if router.priority > HIGHEST_PRIORITY && !is_internal(name) {
        let text = format!(
            "the router priority {} exceeds the max user-defined priority {HIGHEST_PRIORITY}",
            router.priority
        );
        faults.push(
            Fault::new(Code::BadValue, text).mend("choose a lower priority").field("priority"),
        );
    }
    if router.service.is_empty() {
        let first = "router has no service and no child routers";
        let mend = "name a service: `service=...`";
        faults.push(Fault::new(Code::UnknownName, first).mend(mend));
        let second = "router must have either a service or child routers";
        faults.push(Fault::new(Code::UnknownName, second).reported());
    }
    faults
}

/// The fault of a router whose TLS options clash with those of others, for `strictTLSOptions`.
pub(super) fn clash() -> Fault {
    let text = "router's TLSOptions configuration is conflicting with other routers on the same \
                entrypoint and host";
    Fault::new(Code::Conflict, text)
        .mend(
            "give all routers of one host the same `tls.options`, and a `Host` to those with \
             options, or drop core.strictTLSOptions",
        )
        .field("tls.options")
}

/// Its rule compiled; that of `before` when it was the same.
pub(super) fn program(
    router: &Router,
    before: Option<&Arc<Route>>,
) -> Result<Arc<Program>, Vec<Fault>> {
    let rule = router.rule.as_str();
    let syntax = Syntax::named(&router.rule_syntax);
    let is_same = |before: &&Arc<Route>| &*before.rule == rule && before.syntax == syntax;
    if let Some(before) = before.filter(is_same) {
        return Ok(Arc::clone(&before.program));
    }
    let compiled = rule::parse(rule, syntax).and_then(|expr| Program::compile(&expr));
    compiled.map(Arc::new).map_err(|error| {
        let mut fault = Fault::new(Code::BadRule, error.sentence(rule)).field("rule");
        fault.plain = Some(match rule.get(error.span.clone()).filter(|at| !at.is_empty()) {
            Some(at) if at.len() < rule.len() => {
                format!("rule {}: {} at {}", short(rule), error.text, short(at))
            }
            _ => format!("rule {}: {}", short(rule), error.text),
        });
        let mut faults = Vec::with_capacity(2);
        if router.tls.is_some() && error.stage == Stage::Parsing {
            // As Traefik, which reads the rule once more for its hosts.
            let text = format!(
                "invalid rule {rule}, error: error while parsing rule {rule}: {}",
                error.text
            );
            faults.push(Fault::new(Code::BadRule, text).reported());
        }
        fault.mend = error.mend;
        faults.insert(0, fault);
        faults
    })
}

/// A rule as people want to see it in a line.
fn short(rule: &str) -> String {
    const SHOWN: usize = 400;
    match rule.char_indices().nth(SHOWN) {
        Some((at, _)) => format!("{}...", rule.get(..at).unwrap_or_default()),
        None => rule.to_owned(),
    }
}

/// The qualified name of its TLS options.
pub(super) fn tls_options(
    router: &Router,
    home: Provider,
    desired: &Desired,
    default: &Arc<str>,
) -> Result<Arc<str>, Fault> {
    let reference = router.tls.as_ref().map(|tls| tls.options.as_str()).unwrap_or_default();
    if matches!(reference, "" | "default") {
        return Ok(Arc::clone(default));
    }
    let name = Name::resolve(reference, home);
    if let Some((name, _)) = name.and_then(|name| desired.tls.options.get_key_value(&name)) {
        return Ok(name.shared());
    }
    let text =
        format!("building router handler: unknown TLS options: {}", qualify(reference, home));
    let mend = known_names(reference, home, desired.tls.options.keys());
    Err(Fault::new(Code::UnknownName, text).mend(mend).field("tls.options"))
}

/// Whether a route does what the one before did, so that it can stay.
pub(super) fn is_same(before: &Route, now: &Route) -> bool {
    before.rule == now.rule
        && before.syntax == now.syntax
        && before.priority == now.priority
        && before.holder == now.holder
        && before.precedence == now.precedence
        && before.tls == now.tls
        && before.counted == now.counted
        && before.access_log == now.access_log
        && before.tracing == now.tracing
        && before.tls_options == now.tls_options
        && Arc::ptr_eq(&before.chain, &now.chain)
        && Arc::ptr_eq(&before.service, &now.service)
}
