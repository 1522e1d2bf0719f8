//! Which entry points a router is on, and what these add to it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Context, Problems, report, tls_conflict};
use crate::model::{Desired, Domain, Items, Name, Provider, Router, RouterTls, Sourced};
use crate::problem::{Code, Problem, Severity};
use crate::settings::{EntryPointTls, Observability};

/// A router with the entry points it asked for or got.
pub(super) struct Placed {
    pub(super) name: Name,
    pub(super) router: Arc<Sourced<Router>>,
    pub(super) entry_points: Vec<String>,
    /// Its TLS options clash with those of others, or it has no host to have them for.
    pub(super) clashes: bool,
}

/// What an entry point adds to its routers.
struct Model<'a> {
    middlewares: &'a [String],
    tls: Option<RouterTls>,
    observability: Option<&'a Observability>,
}

impl Placed {
    /// The same apart, under a name of its own and on one entry point only.
    pub(super) fn apart(&self, name: &str, on: &str) -> Self {
        Self {
            name: Name::new(name, self.name.provider()),
            router: Arc::clone(&self.router),
            entry_points: vec![on.to_owned()],
            clashes: true,
        }
    }
}

/// Places all routers by name, and puts those that entry points changed back into `desired`.
pub(super) fn place(cx: &Context, desired: &mut Desired, problems: Problems<'_>) -> Vec<Placed> {
    let defaults = default_entry_points(cx);
    let models = models(cx);
    let mut placed = Vec::with_capacity(desired.routers.len());
    for (name, router) in &desired.routers {
        problems.extend(syntax_notice(name, router));
        let router = &with_syntax(cx, name, router);
        let written = &router.value.entry_points;
        // As Traefik: a router without entry points is on all default ones.
        let wanted = if written.is_empty() { &defaults } else { written };
        let (added, plain): (Vec<_>, Vec<_>) =
            wanted.iter().cloned().partition(|on| models.contains_key(on.as_str()));
        for on in &added {
            if let Some(model) = models.get(on.as_str()) {
                placed.push(clone(name, router, on, wanted.len() > 1, model));
            }
        }
        if !plain.is_empty() || added.is_empty() {
            let router = Arc::clone(router);
            let name = name.clone();
            placed.push(Placed { name, router, entry_points: plain, clashes: false });
        }
    }
    let has_conflicts = tls_conflict::split(&mut placed);
    if has_conflicts || !models.is_empty() {
        placed.sort_by(|left, right| left.name.cmp(&right.name));
        let routers: Items<Router> =
            placed.iter().map(|one| (one.name.clone(), Arc::clone(&one.router))).collect();
        desired.routers = routers;
    }
    placed
}

/// The router in the default syntax, when it names none. As Traefik: not one whose rule is
/// the provider's default rule.
fn with_syntax(cx: &Context, name: &Name, router: &Arc<Sourced<Router>>) -> Arc<Sourced<Router>> {
    let said = &router.value;
    let is_left = !said.rule_syntax.is_empty() || said.default_rule || is_internal(name);
    let Some(core) = cx.settings.core.as_ref().filter(|_| !is_left) else {
        return Arc::clone(router);
    };
    let mut copy = Sourced::clone(router);
    copy.value.rule_syntax.clone_from(&core.default_rule_syntax);
    Arc::new(copy)
}

/// As Traefik: to name a syntax is deprecated, whichever it is.
fn syntax_notice(name: &Name, router: &Sourced<Router>) -> Option<Problem> {
    let (text, mend) = match router.value.rule_syntax.as_str() {
        "" | "default" => return None,
        "v2" => (
            "the v2 rule syntax is deprecated".to_owned(),
            "write the rule in the v3 syntax and drop `ruleSyntax`",
        ),
        "v3" => ("`ruleSyntax` is deprecated".to_owned(), "drop it: v3 is the default"),
        other => (
            format!("no rule syntax {other:?}: the rule is read as v3"),
            "drop `ruleSyntax`, or write v2 if the rule is in that syntax",
        ),
    };
    let fault = report::Fault::new(Code::Notice, text).mend(mend).field("rulesyntax");
    let mut problem = fault.problem("router", name, router);
    problem.severity = Severity::Warning;
    Some(problem)
}

/// As Traefik: those with `asDefault`, or else all TCP ones but `traefik`; sorted.
fn default_entry_points(cx: &Context) -> Vec<String> {
    let known = || cx.settings.entry_points.iter().filter(|(_, on)| !on.address.ends_with("/udp"));
    let chosen: Vec<_> =
        known().filter(|(_, on)| on.as_default).map(|(name, _)| name.clone()).collect();
    if !chosen.is_empty() {
        return chosen;
    }
    known().map(|(name, _)| name.clone()).filter(|name| name != "traefik").collect()
}

fn models(cx: &Context) -> BTreeMap<&str, Model<'_>> {
    let entry_points = cx.settings.entry_points.iter();
    entry_points
        // As Traefik: with a `core` section, each entry point has something to add.
        .filter(|(_, on)| {
            let (has_core, http) = (cx.settings.core.is_some(), &on.http);
            let is_observed = on.observability.is_some();
            has_core || is_observed || http.tls.is_some() || !http.middlewares.is_empty()
        })
        .map(|(name, on)| {
            let tls = on.http.tls.as_ref().map(router_tls);
            let observability = on.observability.as_ref();
            (name.as_str(), Model { middlewares: &on.http.middlewares, tls, observability })
        })
        .collect()
}

fn router_tls(tls: &EntryPointTls) -> RouterTls {
    let domain = |names: &crate::settings::DomainNames| Domain {
        main: names.main.clone(),
        sans: names.sans.clone(),
    };
    RouterTls {
        options: tls.options.clone(),
        cert_resolver: tls.cert_resolver.clone(),
        domains: tls.domains.iter().map(domain).collect(),
    }
}

/// The router as it is on one entry point. As Traefik, it gets a name of its own when it is
/// on others too: `websecure-web@docker`.
fn clone(
    name: &Name,
    router: &Arc<Sourced<Router>>,
    on: &str,
    is_split: bool,
    model: &Model<'_>,
) -> Placed {
    let mut copy = Sourced::clone(router);
    copy.value.entry_points = vec![on.to_owned()];
    if copy.value.tls.is_none() {
        copy.value.tls.clone_from(&model.tls);
    }
    if let Some(said) = model.observability {
        let own = copy.value.observability.get_or_insert_default();
        own.access_logs.get_or_insert(said.access_logs);
        own.metrics.get_or_insert(said.metrics);
        own.tracing.get_or_insert(said.tracing);
        own.trace_verbosity.get_or_insert_with(|| said.trace_verbosity.clone());
    }
    copy.value.middlewares = [model.middlewares, &copy.value.middlewares].concat();
    let name = if is_split {
        Name::new(&format!("{on}-{}", name.local()), name.provider())
    } else {
        name.clone()
    };
    let entry_points = vec![on.to_owned()];
    Placed { name, router: Arc::new(copy), entry_points, clashes: false }
}

/// Whether this is one of Wharf's own.
pub(super) fn is_internal(name: &Name) -> bool {
    name.provider() == Provider::Internal
}
