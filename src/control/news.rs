//! What a new table changes, one line each, for the log.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use crate::model::{LoadBalancer, Name, Server, Service, ServiceKind, Sourced};
use crate::problem::{Problem, Severity};
use crate::table::Table;

/// Says at INFO what appeared, changed or went, and at WARN or ERROR what is newly wrong.
pub(super) fn tell(before: &Table, after: &Table) {
    for problem in fresh(before, after) {
        match problem.severity {
            Severity::Warning => tracing::warn!("{problem}"),
            Severity::Error => tracing::error!("{problem}"),
        }
    }
    if tracing::enabled!(tracing::Level::INFO) {
        for line in lines(before, after) {
            tracing::info!("{line}");
        }
    }
}

/// Problems that were not there before; what is known is not said again.
fn fresh<'t>(before: &Table, after: &'t Table) -> impl Iterator<Item = &'t Problem> {
    let known: HashSet<Problem> = before.problems.iter().cloned().collect();
    after.problems.iter().filter(move |problem| !known.contains(*problem))
}

fn lines(before: &Table, after: &Table) -> Vec<String> {
    let mut lines = Vec::new();
    routers(before, after, &mut lines);
    services(before, after, &mut lines);
    let left: HashSet<&Problem> = after.problems.iter().collect();
    for problem in before.problems.iter().filter(|problem| !left.contains(problem)) {
        lines.push(format!("solved: {problem}"));
    }
    lines
}

fn routers(before: &Table, after: &Table, lines: &mut Vec<String>) {
    for (name, route) in &after.routes {
        let on = |table: &Table| table.routers.get(name).map(|outcome| outcome.used.clone());
        let wanted = |table: &Table| table.desired.routers.get(name).map(|r| r.value.clone());
        let known = before.routes.get(name);
        // A route is also made anew when its service is; that is no news of the router.
        let is_same = known.is_some_and(|old| {
            on(before) == on(after) && (Arc::ptr_eq(old, route) || wanted(before) == wanted(after))
        });
        if !is_same {
            let verb = if known.is_some() { "changed" } else { "appeared" };
            let entry_points = on(after).unwrap_or_default().join(", ");
            let (rule, service) = (&route.rule, &route.service.name);
            lines.push(format!(
                "router {name} {verb}: {rule} on {entry_points}, priority {}, service {service}",
                route.priority
            ));
        }
    }
    for name in before.routes.keys().filter(|name| !after.routes.contains_key(*name)) {
        let is_declared = after.desired.routers.contains_key(name);
        let fate = if is_declared { "no longer serves" } else { "is gone" };
        lines.push(format!("router {name} {fate}"));
    }
}

fn services(before: &Table, after: &Table, lines: &mut Vec<String>) {
    let (old, new) = (&before.desired.services, &after.desired.services);
    for (name, service) in new {
        match old.get(name) {
            None => lines.push(format!("service {name} appeared")),
            Some(old) if Arc::ptr_eq(old, service) || old.value == service.value => continue,
            Some(old) if !is_same_but_servers(&old.value, &service.value) => {
                lines.push(format!("service {name} changed"));
            }
            Some(_) => {}
        }
        servers(name, old.get(name), Some(service), lines);
    }
    for (name, service) in old.iter().filter(|(name, _)| !new.contains_key(*name)) {
        servers(name, Some(service), None, lines);
        lines.push(format!("service {name} is gone"));
    }
}

fn is_same_but_servers(old: &Service, new: &Service) -> bool {
    let is_same_kind = match (&old.kind, &new.kind) {
        (ServiceKind::LoadBalancer(old), ServiceKind::LoadBalancer(new)) => {
            LoadBalancer { servers: new.servers.clone(), ..old.clone() } == *new
        }
        (old, new) => old == new,
    };
    is_same_kind && old.middlewares == new.middlewares
}

type Declared = Arc<Sourced<Service>>;

fn servers(name: &Name, old: Option<&Declared>, new: Option<&Declared>, lines: &mut Vec<String>) {
    let (old, new) = (by_place(old), by_place(new));
    for (place, server) in new.iter().filter(|(place, _)| !old.contains_key(*place)) {
        lines.push(format!("server {}{} joined service {name}", place.0, behind(server)));
    }
    for (place, server) in old.iter().filter(|(place, _)| !new.contains_key(*place)) {
        lines.push(format!("server {}{} left service {name}", place.0, behind(server)));
    }
}

/// The servers of a load balancer by URL and container.
fn by_place(service: Option<&Declared>) -> BTreeMap<(&str, &str), &Server> {
    let Some(ServiceKind::LoadBalancer(balancer)) = service.map(|service| &service.value.kind)
    else {
        return BTreeMap::new();
    };
    balancer
        .servers
        .iter()
        .map(|server| {
            let id = server.replica.as_ref().map_or("", |facts| &*facts.container.id);
            ((server.url.as_str(), id), server)
        })
        .collect()
}

fn behind(server: &Server) -> String {
    server
        .replica
        .as_ref()
        .map(|facts| format!(" (container {})", facts.container))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Desired, Provider, ReplicaFacts, ReplicaState};
    use crate::problem::{Code, ContainerRef, Origin};

    fn server(id: &str) -> Server {
        let container = ContainerRef { name: format!("web-{id}").into(), id: id.into() };
        let facts = ReplicaFacts {
            container,
            state: ReplicaState::Running,
            has_health_check: false,
            started: None,
            deploy: None,
        };
        Server { url: format!("http://{id}:80"), replica: Some(facts), ..Server::default() }
    }

    fn table(servers: &[&str], problems: &[&str]) -> Table {
        let servers = servers.iter().map(|id| server(id)).collect();
        let value = ServiceKind::LoadBalancer(LoadBalancer { servers, ..LoadBalancer::default() });
        let value = Service::from(value);
        let service = Arc::new(Sourced::new(value, vec![Origin::Internal]));
        let services = [(Name::new("web", Provider::Docker), service)].into();
        let problems: Vec<_> = problems
            .iter()
            .map(|text| Problem::error(Code::Notice, Origin::Internal, *text))
            .collect();
        Table {
            desired: Arc::new(Desired { services, ..Desired::default() }),
            problems: problems.into(),
            ..Table::default()
        }
    }

    #[test]
    fn servers_that_join_and_leave_are_told_once() {
        let (none, one, two) = (Table::default(), table(&["a"], &[]), table(&["b", "a"], &[]));

        assert_eq!(
            lines(&none, &one),
            [
                "service web@docker appeared",
                "server http://a:80 (container web-a (a)) joined service web@docker"
            ]
        );
        assert_eq!(
            lines(&one, &two),
            ["server http://b:80 (container web-b (b)) joined service web@docker"]
        );
        assert_eq!(
            lines(&two, &one),
            ["server http://b:80 (container web-b (b)) left service web@docker"]
        );
        assert!(lines(&two, &two).is_empty());
        assert_eq!(lines(&one, &none).last().unwrap(), "service web@docker is gone");
    }

    #[test]
    fn a_problem_is_told_when_it_comes_and_when_it_is_solved() {
        let (before, after) = (table(&[], &["a", "b"]), table(&[], &["b", "c"]));

        let texts: Vec<_> = fresh(&before, &after).map(|problem| &*problem.text).collect();
        assert_eq!(texts, ["c"]);
        assert_eq!(lines(&before, &after), ["solved: wharf: a"]);
    }
}
