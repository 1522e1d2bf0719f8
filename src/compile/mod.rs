//! Desired state and the previous table to a new table. Must never fail as a whole.

mod dangling;
mod internal;
mod link;
mod middleware;
mod notes;
mod overlap;
mod placement;
mod report;
mod router;
mod service;
mod shadow;
mod tls;
mod tls_conflict;
mod transport;
mod wanted;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::balance;
use crate::message::{EntryPoint, Handler};
use crate::model::{CertificateFiles, Desired, Name, Provider, Sourced};
use crate::observe::Metrics;
use crate::problem::Problem;
use crate::route::{EntryTable, Route, Separators};
use crate::settings::Settings;
use crate::spiffe;
use crate::table::{Outcome, Status, Table};

pub use dangling::dangling;
use link::Linker;
pub use notes::notes;
use report::Fault;
pub use service::engine_state;
pub use shadow::unreached;

/// Certificates by the resolver that obtained them.
pub type Certificates = BTreeMap<Arc<str>, Vec<Arc<Sourced<CertificateFiles>>>>;

/// What compiling needs besides the desired state; made at start, and anew when the static
/// configuration changes.
#[derive(Clone)]
pub struct Context {
    /// The static configuration.
    pub settings: Arc<Settings>,
    /// Entry points in table order.
    pub entry_points: Arc<[Arc<EntryPoint>]>,
    /// Where handles come from.
    pub metrics: Arc<Metrics>,
    /// Internal services by full name: `api@internal`; those that are off are absent.
    pub internal: BTreeMap<String, Arc<dyn Handler>>,
    /// Certificates that resolvers had at start.
    pub certificates: Certificates,
    /// What was noticed in the static configuration.
    pub notices: Vec<Problem>,
    /// Our own identity, where there is an agent to ask for one.
    pub spiffe: Option<spiffe::Source>,
    /// Worker threads, which share idle connections.
    pub workers: usize,
}

/// Compiles what is sound, and says what is not. Live cells (replicas, health, counters)
/// of things whose settings did not change are carried over from `previous`.
pub fn compile(cx: &Context, desired: &Arc<Desired>, previous: &Table) -> Table {
    let mut desired = Desired::clone(desired);
    let mut problems = std::mem::take(&mut desired.problems);
    problems.extend_from_slice(&cx.notices);
    internal::add(cx, &mut desired, &mut problems);
    let placed = placement::place(cx, &mut desired, &mut problems);

    let mut linker = Linker::new(cx, &desired, previous, &mut problems);
    for router in &placed {
        linker.link(router);
    }
    let all = linker.finish(&placed);

    overlap::find(&placed, &all.routes, &mut problems);
    let wanted = wanted::find(cx, &placed, &all.routes, &desired.tls, &mut problems);
    let tls = tls::index(cx, &desired, previous, &all.claims, &mut problems);
    let entry_points = entry_points(cx, all.on, previous);
    overlap::taken(&entry_points, &desired.routers, &mut problems);
    let replicas = replicas(&all.services);
    problems.sort();
    problems.dedup();
    Table {
        revision: previous.revision + 1,
        published: Some(std::time::SystemTime::now()),
        entry_points,
        routes: all.routes,
        transports: all.transports,
        services: all.services,
        service_chains: all.service_chains,
        replicas,
        tls,
        wanted,
        desired: Arc::new(desired),
        routers: all.routers,
        service_outcomes: all.service_outcomes,
        middlewares: all.middlewares,
        problems: problems.into(),
        settings: Arc::clone(&cx.settings),
    }
}

fn entry_points(cx: &Context, on: Vec<Vec<Arc<Route>>>, previous: &Table) -> Box<[EntryTable]> {
    let tables =
        cx.entry_points.iter().zip(on).enumerate().map(|(number, (entry_point, routes))| {
            let separators = if entry_point.encode_query_semicolons {
                Separators::Ampersand
            } else {
                Separators::AmpersandAndSemicolon
            };
            EntryTable::build(routes, separators, previous.entry_points.get(number))
        });
    tables.collect()
}

fn replicas(
    services: &BTreeMap<Name, Arc<balance::Service>>,
) -> HashMap<Arc<str>, Vec<Arc<balance::Replica>>> {
    let mut replicas: HashMap<_, Vec<_>> = HashMap::new();
    for replica in services.values().flat_map(|service| service.replicas()) {
        if let Some(container) = &replica.container {
            replicas.entry(Arc::clone(container)).or_default().push(Arc::clone(replica));
        }
    }
    replicas
}

/// What became of a thing that routers name.
fn outcome(fault: Option<&Fault>, used: Vec<String>) -> Outcome {
    let status = if fault.is_some() { Status::Disabled } else { Status::Enabled };
    let errors = fault.map(|fault| fault.text.clone()).into_iter().collect();
    Outcome { status, errors, used, ..Outcome::default() }
}

/// The full names of Wharf's own services.
fn internal_names(cx: &Context) -> impl Iterator<Item = Name> + '_ {
    let names = cx.internal.keys().filter_map(|name| name.strip_suffix("@internal"));
    names.map(|local| Name::new(local, Provider::Internal))
}

/// Collects problems while things are all.
type Problems<'p> = &'p mut Vec<Problem>;

#[cfg(test)]
pub(crate) mod tests;
