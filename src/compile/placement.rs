//! Which entry points a router is on, and what these add to it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Context;
use crate::model::{Desired, Domain, Items, Name, Provider, Router, RouterTls, Sourced};
use crate::settings::EntryPointTls;

/// A router with the entry points it asked for or got.
pub(super) struct Placed {
    pub(super) name: Name,
    pub(super) router: Arc<Sourced<Router>>,
    pub(super) entry_points: Vec<String>,
}

/// What an entry point adds to its routers.
struct Model<'a> {
    middlewares: &'a [String],
    tls: Option<RouterTls>,
}

/// Places all routers by name, and puts those that entry points changed back into `desired`.
pub(super) fn place(cx: &Context, desired: &mut Desired) -> Vec<Placed> {
    let defaults = default_entry_points(cx);
    let models = models(cx);
    let mut placed = Vec::with_capacity(desired.routers.len());
    for (name, router) in &desired.routers {
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
            placed.push(Placed { name: name.clone(), router, entry_points: plain });
        }
    }
    if !models.is_empty() {
        placed.sort_by(|left, right| left.name.cmp(&right.name));
        let routers: Items<Router> =
            placed.iter().map(|one| (one.name.clone(), Arc::clone(&one.router))).collect();
        desired.routers = routers;
    }
    placed
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
        .filter(|(_, on)| on.http.tls.is_some() || !on.http.middlewares.is_empty())
        .map(|(name, on)| {
            let tls = on.http.tls.as_ref().map(router_tls);
            (name.as_str(), Model { middlewares: &on.http.middlewares, tls })
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
    copy.value.middlewares = [model.middlewares, &copy.value.middlewares].concat();
    let name = if is_split {
        Name::new(&format!("{on}-{}", name.local()), name.provider())
    } else {
        name.clone()
    };
    Placed { name, router: Arc::new(copy), entry_points: vec![on.to_owned()] }
}

/// Whether this is one of Wharf's own.
pub(super) fn is_internal(name: &Name) -> bool {
    name.provider() == Provider::Internal
}
