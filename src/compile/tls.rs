//! Which TLS options each host gets.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::{Context, Problems};
use crate::model::{Desired, Name};
use crate::table::{Outcome, Status, Table};
use crate::tls::Index;

/// A router's wish for one host.
pub(super) struct Claim {
    pub(super) entry_point: usize,
    /// Lower case; `*.example.org` for a wildcard.
    pub(super) host: Box<str>,
    pub(super) options: Arc<str>,
    pub(super) router: Name,
}

/// The options per entry point and host. As Traefik: where routers disagree, `default`.
fn requests(claims: &[Claim], entry_points: usize) -> Vec<HashMap<Box<str>, Arc<str>>> {
    let mut requests: Vec<HashMap<Box<str>, Arc<str>>> = Vec::new();
    requests.resize_with(entry_points, HashMap::new);
    for claim in claims {
        let Some(hosts) = requests.get_mut(claim.entry_point) else { continue };
        match hosts.get_mut(&claim.host) {
            None => drop(hosts.insert(claim.host.clone(), Arc::clone(&claim.options))),
            Some(options) if *options == claim.options => {}
            Some(options) => *options = "default".into(),
        }
    }
    requests
}

/// Warns the routers whose wishes for a host differ.
pub(super) fn settle(claims: &[Claim], routers: &mut BTreeMap<Name, Outcome>) {
    let mut by_host: HashMap<_, Vec<&Claim>> = HashMap::new();
    for claim in claims {
        by_host.entry((claim.entry_point, &claim.host)).or_default().push(claim);
    }
    for ((_, host), claims) in by_host {
        let first = claims.first().map(|claim| &claim.options);
        if claims.iter().all(|claim| Some(&claim.options) == first) {
            continue;
        }
        let text = format!(
            "found different TLS options for routers on the same host {host}, so using the \
             default TLS options instead"
        );
        for claim in claims {
            if let Some(outcome) = routers.get_mut(&claim.router)
                && !outcome.errors.contains(&text)
            {
                outcome.errors.push(text.clone());
                outcome.status = Status::Warning;
            }
        }
    }
}

/// The index of certificates and options.
pub(super) fn index(
    cx: &Context,
    desired: &Desired,
    previous: &Table,
    claims: &[Claim],
    problems: Problems<'_>,
) -> Arc<Index> {
    let _ = (&desired.tls, requests(claims, cx.entry_points.len()), &problems);
    Arc::clone(&previous.tls)
}
