//! Routers that claim the very same requests: legal, but hardly meant.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::placement::{Placed, is_internal};
use super::report::origin;
use crate::model::Name;
use crate::problem::{Code, Problem};
use crate::route::Route;

/// Warns of routers with the same rule, priority and entry point but different services.
pub(super) fn find(
    placed: &[Placed],
    routes: &BTreeMap<Name, Arc<Route>>,
    problems: &mut Vec<Problem>,
) {
    let mut first: HashMap<_, (&Placed, &Arc<Route>), ahash::RandomState> = HashMap::default();
    for one in placed.iter().filter(|one| !is_internal(&one.name)) {
        let Some(route) = routes.get(&one.name) else { continue };
        let mut rival = None;
        for on in &one.entry_points {
            let key = (on.as_str(), route.tls, route.priority, &*route.rule);
            let (other, claimed) = *first.entry(key).or_insert((one, route));
            if !Arc::ptr_eq(&claimed.service, &route.service) {
                rival = Some(other);
            }
        }
        if let Some(rival) = rival {
            problems.push(warning(one, rival));
        }
    }
}

fn warning(one: &Placed, other: &Placed) -> Problem {
    let text = format!(
        "same rule and priority as router {} ({}), but another service: which one answers is \
         decided by provider and name alone",
        other.name,
        origin(&other.router)
    );
    Problem::warning(Code::Conflict, origin(&one.router), text)
        .about(format!("router {}", one.name))
        .mend("give one of them another rule or a higher priority")
}
