//! Routers that claim the same requests. The order of routers decides between them; that it did
//! is told to those who wrote them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::placement::{Placed, is_internal};
use super::report::origin;
use crate::model::{Name, Router, Sourced};
use crate::problem::{Code, Origin, Problem};
use crate::route::{EntryTable, Route, Taken};

/// Warns of routers with the same rule, priority and entry point but different services.
pub(super) fn find(
    placed: &[Placed],
    routes: &BTreeMap<Name, Arc<Route>>,
    problems: &mut Vec<Problem>,
) {
    let mut first: HashMap<_, (&Placed, &Arc<Route>), ahash::RandomState> = HashMap::default();
    let linked = || {
        let own = placed.iter().filter(|one| !is_internal(&one.name));
        own.filter_map(|one| Some((one, routes.get(&one.name)?)))
    };
    for (one, route) in linked() {
        for on in &one.entry_points {
            let key = (on.as_str(), route.tls, route.priority, route.program.form());
            let best = first.entry(key).or_insert((one, route));
            if route.goes_before(best.1) {
                *best = (one, route);
            }
        }
    }
    for (one, route) in linked() {
        let ahead = one.entry_points.iter().find_map(|on| {
            let key = (on.as_str(), route.tls, route.priority, route.program.form());
            first.get(&key).filter(|(_, best)| !Arc::ptr_eq(&best.service, &route.service))
        });
        if let Some((other, best)) = ahead {
            problems.push(behind(one, route, other, best));
        }
    }
}

fn behind(one: &Placed, route: &Route, other: &Placed, best: &Route) -> Problem {
    let why = match (&route.holder, &best.holder) {
        _ if route.precedence != best.precedence => "whose provider goes first",
        (Some(own), Some(its)) if own.rests && !its.rests => "whose container runs",
        (Some(own), Some(its)) if own.order > its.order => "which was there first",
        _ => "which is the first by name",
    };
    let text = format!(
        "never answers: same rule and priority as router {} ({}), {why}, but another service",
        other.name,
        of(&other.router),
    );
    Problem::warning(Code::Conflict, origin(&one.router), text)
        .about(format!("router {}", one.name))
        .and(format!("router {}", other.name))
        .mend("give one of them another rule or a higher priority")
}

/// Where a router was written, and whose it is.
fn of(router: &Sourced<Router>) -> String {
    let place = origin(router);
    match &router.holder {
        Some(holder) if !holder.party.starts_with("container ") => {
            format!("{place}, {}", holder.party)
        }
        _ => place.to_string(),
    }
}

/// Warns of routers that take requests of somebody else's, which was there before. The rules of
/// precedence want it so; whoever is waiting for these requests will want to know.
pub(super) fn taken(
    entry_points: &[EntryTable],
    routers: &crate::model::Items<Router>,
    problems: &mut Vec<Problem>,
) {
    let mut told = BTreeSet::new();
    for on in entry_points {
        for taken in on.taken() {
            let is_alike = taken.by.priority == taken.from.priority
                && taken.by.program.form() == taken.from.program.form();
            if !is_alike && told.insert(&taken.by.name) {
                problems.push(takes(&taken, routers));
            }
        }
    }
}

fn takes(taken: &Taken<'_>, routers: &crate::model::Items<Router>) -> Problem {
    let Taken { by, from, all } = taken;
    let place = routers.get(&by.name).map_or(Origin::Internal, |router| origin(router));
    let whose = routers.get(&from.name).map_or_else(String::new, |router| of(router));
    let what = if *all { "all requests" } else { "requests" };
    let text = format!(
        "takes {what} of router {} ({whose}), which was there first and whose rule is {}: the \
         priority of this one is {}, of that one {}",
        from.name, from.rule, by.priority, from.priority
    );
    Problem::warning(Code::Notice, place, text)
        .about(format!("router {}", by.name))
        .and(format!("router {}", from.name))
        .mend(format!("if that is not meant, give {} a priority above {}", from.name, by.priority))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compile::tests::{compiled, context, desired, found, router};
    use crate::model::{Desired, Holder, Provider};
    use crate::problem::ContainerRef;
    use crate::table::Table;

    /// Routers of containers in the order in which they came: name, project, rule, priority.
    fn with(routers: &[(&str, &str, &str, i64)]) -> Desired {
        let mut all = desired(&[("own", router("Host(`file.test`)"))]);
        for (order, (name, project, rule, priority)) in (0..).zip(routers) {
            let container = ContainerRef { name: (*name).into(), id: "id".into() };
            let service = if order == 0 { "noop@internal" } else { "ping@internal" };
            let value = Router { priority: *priority, service: service.into(), ..router(rule) };
            let party = format!("Compose project {project}").into();
            let holder = Some(Arc::new(Holder { order, party, rests: false }));
            let from = vec![Origin::Container(container)];
            let sourced = Sourced { holder, ..Sourced::new(value, from) };
            all.routers.insert(Name::new(name, Provider::Docker), Arc::new(sourced));
        }
        all
    }

    fn told(table: &Table) -> Vec<String> {
        table
            .problems
            .iter()
            .map(|problem| format!("{}: {}", problem.subject, problem.text))
            .collect()
    }

    #[test]
    fn the_first_keeps_a_route_and_the_later_one_is_told_whatever_their_names() {
        for rule in ["Host(`a`) && Path(`/`)", "Path(`/`) && Host(`A`)"] {
            let table = compiled(
                &context(|_| ()),
                with(&[("mine", "shop", "Host(`a`) && Path(`/`)", 0), ("aaa", "thief", rule, 0)]),
            );

            assert_eq!(found(&table, 1, "a", false), Some("mine@docker"));
            assert_eq!(
                told(&table),
                ["router aaa@docker: never answers: same rule and priority as router mine@docker \
                  (container mine (id), Compose project shop), which was there first, but another \
                  service"]
            );
            let also = table.problems[0].also.as_deref().map(|other| &*other.0);
            assert_eq!(also, Some("router mine@docker"));
        }
    }

    #[test]
    fn who_takes_requests_of_an_older_one_by_precedence_is_told() {
        let mine = ("mine", "shop", "Host(`a.b`)", 0);
        for (rule, priority, taken) in [
            ("Host(`a.b`) || Host(`a.b`)", 0, "all requests"),
            ("Host(`a.b`)", 99, "all requests"),
            ("Host(`a.b`) && PathPrefix(`/x`)", 0, "requests"),
            ("PathPrefix(`/`)", 99, "all requests"),
            ("Host(`*.b`)", 99, "all requests"),
            ("HeaderRegexp(`X`, `.`)", 99, "requests"),
            ("HostRegexp(`^c$`)", 99, ""),
            ("Host(`a.c`)", 99, ""),
            ("PathPrefix(`/`)", 1, ""),
        ] {
            let table =
                compiled(&context(|_| ()), with(&[mine, ("thief", "thief", rule, priority)]));

            let told = told(&table);
            assert_eq!(told.len(), usize::from(!taken.is_empty()), "{rule}: {told:?}");
            let text = format!("router thief@docker: takes {taken} of router mine@docker");
            assert!(told.iter().all(|one| one.starts_with(&text)), "{rule}: {told:?}");
        }
    }

    #[test]
    fn nothing_is_told_of_ones_own_of_the_older_and_of_those_that_never_meet() {
        for routers in [
            [("web", "shop", "Host(`a`)", 0), ("api", "shop", "Host(`a`) && Path(`/x`)", 0)],
            [("api", "shop", "Host(`a`) && Path(`/x`)", 0), ("web", "blog", "Host(`a`)", 0)],
            [
                ("get", "shop", "Host(`a`) && Method(`GET`)", 0),
                ("put", "blog", "Host(`a`) && Method(`PUT`)", 99),
            ],
            [
                ("one", "shop", "Host(`a`) && PathPrefix(`/one`)", 0),
                ("two", "blog", "Host(`a`) && PathPrefix(`/two`)", 99),
            ],
            [("all", "shop", "PathPrefix(`/`)", 0), ("web", "blog", "Host(`a`)", 99)],
        ] {
            assert_eq!(told(&compiled(&context(|_| ()), with(&routers))), [""; 0], "{routers:?}");
        }
    }

    #[test]
    fn a_container_that_takes_what_a_file_names_is_told() {
        let other = ("other", "shop", "Host(`a`)", 0);
        let thief = ("thief", "thief", "Host(`file.test`)", 99);
        let table = compiled(&context(|_| ()), with(&[other, thief]));

        assert_eq!(told(&table).len(), 1, "{:?}", told(&table));
        assert!(told(&table)[0].contains("of router own@file"), "{:?}", told(&table));
    }
}
