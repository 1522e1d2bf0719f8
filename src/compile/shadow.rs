//! Routers that no request reaches: a rule that can't hold, or one that stands behind a wider
//! one. Too slow for every change, so only `wharf check` asks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::placement::is_internal;
use super::report::origin;
use crate::model::Name;
use crate::problem::{Code, Origin, Problem};
use crate::route::{EntryTable, Form, Route};
use crate::table::Table;

/// A warning for each router that never answers.
pub fn unreached(table: &Table) -> Vec<Problem> {
    // By router: how many entry points it is on, and who stands before it on each.
    let mut found: BTreeMap<&Name, (usize, Vec<&Route>)> = BTreeMap::new();
    for entry_point in &table.entry_points {
        look(entry_point, &mut found);
    }
    let behind = |name: &Name| {
        let (places, before) = found.get(name)?;
        before.first().copied().filter(|_| before.len() == *places)
    };
    let written = || table.routes.iter().filter(|(name, _)| !is_internal(name));
    let answering: BTreeSet<_> = written()
        .filter(|(name, _)| behind(name).is_none())
        .map(|(name, _)| one(table, name))
        .collect();
    let mut problems = Vec::new();
    for (name, route) in written() {
        if Form::new(&route.program).is_never() {
            problems.push(never(table, route));
            continue;
        }
        let Some(other) = behind(name).filter(|_| !answering.contains(&one(table, name))) else {
            continue;
        };
        // Compile tells of those that go to different services.
        if other.rule != route.rule
            || other.priority != route.priority
            || Arc::ptr_eq(&other.service, &route.service)
        {
            problems.push(shadowed(table, route, other));
        }
    }
    problems
}

/// What was written as one router: an entry point that adds something has a copy of it, under a
/// name of its own.
fn one<'t>(table: &'t Table, name: &'t Name) -> (String, &'t str) {
    let router = table.desired.routers.get(name);
    let on = router.map_or(&[][..], |router| router.value.entry_points.as_slice());
    let copy = match on {
        [on] => name.local().strip_prefix(on.as_str()).and_then(|rest| rest.strip_prefix('-')),
        _ => None,
    };
    let place = router.map_or(Origin::Internal, |router| origin(router));
    (place.to_string(), copy.unwrap_or(name.local()))
}

fn look<'t>(entry_point: &'t EntryTable, found: &mut BTreeMap<&'t Name, (usize, Vec<&'t Route>)>) {
    let mut earlier: Vec<(&Route, Form<'_>)> = Vec::new();
    for route in entry_point.routes() {
        let form = Form::new(&route.program);
        let before =
            earlier.iter().find(|(other, wide)| other.tls == route.tls && wide.covers(&form));
        let (places, all) = found.entry(&route.name).or_default();
        *places += 1;
        all.extend(before.map(|(other, _)| *other));
        earlier.push((route, form));
    }
}

fn never(table: &Table, route: &Route) -> Problem {
    let text = format!("no request can match the rule {}", route.rule);
    problem(table, route, text).mend("alternatives are joined with ||, not with &&")
}

fn shadowed(table: &Table, route: &Route, other: &Route) -> Problem {
    let text = format!(
        "never answers: router {} ({}) comes before it with priority {} and matches all of {}",
        other.name, other.rule, other.priority, route.rule
    );
    let mend = if is_internal(&other.name) {
        "the entry point answers or redirects these requests itself; use another entry point"
            .to_owned()
    } else {
        format!("give it a priority above {} (it has {})", other.priority, route.priority)
    };
    problem(table, route, text).mend(mend)
}

fn problem(table: &Table, route: &Route, text: String) -> Problem {
    let router = table.desired.routers.get(&route.name);
    let place = router.map_or(Origin::Internal, |router| origin(router));
    Problem::warning(Code::Notice, place, text).about(format!("router {}", route.name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compile::tests::{compiled, context, desired, router};
    use crate::model::Router;

    fn found(routers: &[(&str, Router)]) -> Vec<String> {
        let table = compiled(&context(|_| ()), desired(routers));
        unreached(&table)
            .iter()
            .map(|problem| format!("{}: {}", problem.subject, problem.text))
            .collect()
    }

    fn on(rule: &str, priority: i64, entry_points: &[&str]) -> Router {
        let entry_points = entry_points.iter().map(|name| (*name).to_owned()).collect();
        Router { entry_points, priority, ..router(rule) }
    }

    #[test]
    fn a_router_behind_a_wider_one_is_told() {
        let all = on("PathPrefix(`/`)", 900, &["web"]);
        let api = on("PathPrefix(`/api`)", 0, &["web"]);

        assert_eq!(
            found(&[("all", all), ("api", api)]),
            ["router api@file: never answers: router all@file (PathPrefix(`/`)) comes before it \
                 with priority 900 and matches all of PathPrefix(`/api`)"]
        );
    }

    #[test]
    fn one_that_answers_somewhere_is_not() {
        let wide = on("PathPrefix(`/`)", 900, &["web"]);
        let tls = Router { tls: Some(crate::model::RouterTls::default()), ..wide.clone() };
        let narrow = on("PathPrefix(`/api`)", 0, &["web", "websecure"]);

        assert_eq!(found(&[("wide", wide), ("narrow", narrow.clone())]), [""; 0]);
        assert_eq!(found(&[("wide", tls), ("narrow", narrow)]), [""; 0]);
        let usual = [("all", router("PathPrefix(`/`)")), ("api", router("PathPrefix(`/api`)"))];
        assert_eq!(found(&usual), [""; 0]);
    }

    #[test]
    fn one_whose_copy_on_another_entry_point_answers_is_not() {
        let cx = context(|settings| {
            let on = settings.entry_points.get_mut("websecure").unwrap();
            on.http.tls = Some(crate::settings::EntryPointTls::default());
        });
        let wide = on("PathPrefix(`/`)", 900, &["web"]);
        let table = compiled(&cx, desired(&[("wide", wide), ("app", router("Host(`a`)"))]));

        assert!(table.routes.keys().any(|name| name.as_str() == "websecure-app@file"));
        assert_eq!(unreached(&table), []);
    }

    #[test]
    fn the_second_of_two_that_are_alike_is_told_once() {
        let other = Router { service: "ping@internal".to_owned(), ..router("Host(`b`)") };

        assert_eq!(
            found(&[
                ("a1", router("Host(`a`)")),
                ("a2", router("Host(`a`)")),
                ("b1", router("Host(`b`)")),
                ("b2", other),
            ]),
            ["router a2@file: never answers: router a1@file (Host(`a`)) comes before it with \
                 priority 9 and matches all of Host(`a`)"]
        );
    }

    #[test]
    fn a_rule_that_can_not_hold_is_told() {
        assert_eq!(
            found(&[("both", router("Host(`a`) && Host(`b`)"))]),
            ["router both@file: no request can match the rule Host(`a`) && Host(`b`)"]
        );
    }
}
