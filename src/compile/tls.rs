//! Which TLS options each host gets.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::report::origin;
use super::{Context, Problems};
use crate::model::{Desired, Name};
use crate::problem::{Code, Origin, Problem};
use crate::table::{Outcome, Status, Table};
use crate::tls::{HostOptions, Index};

/// A router's wish for one host.
pub(super) struct Claim {
    pub(super) entry_point: usize,
    /// Lower case; `*.example.org` for a wildcard.
    pub(super) host: Box<str>,
    pub(super) options: Arc<str>,
    pub(super) router: Name,
}

/// The options per entry point and host. As Traefik: where routers disagree, `default`.
fn requests(claims: &[Claim], entry_points: usize) -> Vec<HostOptions> {
    let mut requests: Vec<HostOptions> = Vec::new();
    requests.resize_with(entry_points, HostOptions::default);
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

/// Warns the routers that do not get the options they want for a host, since others want
/// other ones.
pub(super) fn settle(
    claims: &[Claim],
    desired: &Desired,
    routers: &mut BTreeMap<Name, Outcome>,
    problems: &mut Vec<Problem>,
) {
    const TEXT: &str = "router's TLSOptions configuration is conflicting with other routers on \
                        the same entrypoint and host, default TLS options will be used instead";
    let mut by_host: HashMap<_, Vec<&Claim>, ahash::RandomState> = HashMap::default();
    for claim in claims {
        by_host.entry((claim.entry_point, &claim.host)).or_default().push(claim);
    }
    for ((_, host), claims) in by_host {
        let first = claims.first().map(|claim| &claim.options);
        if claims.iter().all(|claim| Some(&claim.options) == first) {
            continue;
        }
        for claim in claims.iter().filter(|claim| &*claim.options != "default") {
            let Some(outcome) = routers.get_mut(&claim.router) else { continue };
            if outcome.errors.iter().any(|error| error == TEXT) {
                continue;
            }
            outcome.errors.push(TEXT.to_owned());
            outcome.status = Status::Warning;
            let others = claims.iter().filter(|other| other.options != claim.options);
            let others: Vec<_> = others.map(|other| other.router.as_str()).collect();
            let text = format!(
                "other TLS options for host {host} than router {}: both get the default ones",
                others.join(", ")
            );
            let origin = desired.routers.get(&claim.router).map_or(Origin::Internal, |r| origin(r));
            problems.push(
                Problem::warning(Code::Conflict, origin, text)
                    .about(format!("router {}", claim.router))
                    .mend("give all routers of one host the same `tls.options`"),
            );
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
    let hosts = requests(claims, cx.entry_points.len());
    let (index, found) = Index::build(&desired.tls, hosts, &previous.tls);
    problems.extend(found);
    Arc::new(index)
}
