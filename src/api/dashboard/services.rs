//! Services and their servers.

use askama::Template;
use serde_json::Value;

use super::controls::{self, Controls};
use super::frame::{Fleet, Frame};
use super::generations::{self, Generations};
use super::parts::{self, Link, Place, Server, Setting, Trouble};
use super::plot::Plots;
use super::{Visit, words};
use crate::api::view::{self, ServiceRow};
use crate::model::{Name, Service, ServiceKind};

/// Servers of a service in the list; its own page shows all.
const FEW: usize = 6;
/// Services in services are followed this deep.
const DEEPEST: usize = 4;

/// The list of services.
#[derive(Template)]
#[template(path = "services.html")]
pub(super) struct Services {
    frame: Frame,
    controls: Controls,
    rows: Vec<Row>,
}

struct Row {
    link: Link,
    kind: &'static str,
    fleet: Fleet,
    servers: Vec<Server>,
    more: usize,
    users: usize,
    plots: Plots,
    error: String,
}

/// One service.
#[derive(Template)]
#[template(path = "service.html")]
pub(super) struct ServicePage {
    frame: Frame,
    name: String,
    status: &'static str,
    errors: Vec<String>,
    problems: Vec<Trouble>,
    kind: &'static str,
    fleet: Fleet,
    generations: Generations,
    stages: Vec<Stage>,
    settings: Vec<Setting>,
    places: Vec<Place>,
    used_by: Vec<Link>,
    plots: Plots,
}

/// A service on the way of a request, and its servers; a service of services is followed
/// by those, one level deeper.
pub(super) struct Stage {
    pub(super) depth: usize,
    pub(super) link: Link,
    pub(super) kind: &'static str,
    /// Its part of the requests to the service above: `weight 3`, `mirror, 10%`.
    pub(super) role: String,
    pub(super) servers: Vec<Server>,
    pub(super) places: Vec<Place>,
    pub(super) notes: Vec<String>,
    pub(super) errors: Vec<String>,
}

pub(super) fn page(visit: &Visit<'_>) -> Services {
    let (controls, rows) = controls::list(visit, 25, || view::services(visit.table));
    Services {
        frame: visit.frame("services", "Services"),
        controls,
        rows: rows.iter().map(|service| row(visit, service)).collect(),
    }
}

fn row(visit: &Visit<'_>, row: &ServiceRow<'_>) -> Row {
    let mut servers = parts::servers(row, visit.now);
    // What is not well is shown first, when not all are.
    if servers.len() > FEW {
        servers.sort_by_key(|server| server.state == "ready");
    }
    let more = servers.len().saturating_sub(FEW);
    servers.truncate(FEW);
    Row {
        link: Link::service(visit.root, visit.table, row.name),
        kind: kind_words(row),
        fleet: Fleet::of(row.replicas().iter().map(|replica| replica.state())),
        servers,
        more,
        users: row.outcome.used.len(),
        plots: Plots::new(&visit.sources.metrics.history().service(row.name.as_str())),
        error: row.outcome.errors.first().cloned().unwrap_or_default(),
    }
}

fn kind_words(row: &ServiceRow<'_>) -> &'static str {
    match row.service.map(|service| &service.value.kind) {
        None => "inside Wharf",
        Some(ServiceKind::LoadBalancer(_)) => "load balancer",
        Some(ServiceKind::Weighted(_)) => "weighted services",
        Some(ServiceKind::Mirroring(_)) => "mirroring",
        Some(ServiceKind::Failover(_)) => "failover",
        Some(ServiceKind::HighestRandomWeight(_)) => "services by client address",
    }
}

/// The page of one service; `None` when there is no such service.
pub(super) fn one(visit: &Visit<'_>, name: &str) -> Option<ServicePage> {
    let row = view::services(visit.table).find(|row| row.name.as_str() == name)?;
    let used_by =
        row.outcome.used.iter().map(|router| Link::router(visit.root, visit.table, router));
    Some(ServicePage {
        frame: visit.frame("services", name),
        name: name.to_owned(),
        status: row.outcome.status.as_str(),
        errors: row.outcome.errors.clone(),
        problems: parts::troubles(visit, "service", row.name),
        kind: kind_words(&row),
        fleet: Fleet::of(row.replicas().iter().map(|replica| replica.state())),
        generations: generations::of(row.running.map(AsRef::as_ref), visit.now),
        stages: stages(visit, row.name),
        settings: row.service.map(|service| settings(&service.value.kind)).unwrap_or_default(),
        places: row.service.map(|service| parts::places(&service.from)).unwrap_or_default(),
        used_by: used_by.collect(),
        plots: Plots::new(&visit.sources.metrics.history().service(name)),
    })
}

/// The settings but for the servers, which have their own table.
fn settings(service: &ServiceKind) -> Vec<Setting> {
    let mut value = serde_json::to_value(service).unwrap_or_default();
    let section = match value.as_object_mut().and_then(|map| map.values_mut().next()) {
        Some(Value::Object(section)) => {
            section.remove("servers");
            section.clone()
        }
        _ => serde_json::Map::new(),
    };
    parts::settings(&Value::Object(section))
}

/// A service and the services below it.
pub(super) fn stages(visit: &Visit<'_>, name: &Name) -> Vec<Stage> {
    let mut stages = Vec::new();
    add_stage(visit, name, String::new(), 0, &mut stages);
    stages
}

fn add_stage(visit: &Visit<'_>, name: &Name, role: String, depth: usize, stages: &mut Vec<Stage>) {
    let table = visit.table;
    let declared = table.desired.services.get(name);
    let running = table.services.get(name);
    let outcome = table.service_outcomes.get(name);
    let row = ServiceRow {
        name,
        service: declared.map(AsRef::as_ref),
        outcome: outcome.unwrap_or(view::no_outcome()),
        running,
    };
    stages.push(Stage {
        depth,
        link: Link::service(visit.root, table, name),
        kind: if declared.is_none() && outcome.is_none() {
            "there is no such service"
        } else {
            kind_words(&row)
        },
        role,
        servers: parts::servers(&row, visit.now),
        places: declared.map(|service| parts::places(&service.from)).unwrap_or_default(),
        notes: declared
            .map(|service| notes(&service.value))
            .into_iter()
            .flatten()
            .chain(running.and_then(|running| waiting(running.waiting())))
            .collect(),
        errors: row.outcome.errors.clone(),
    });
    let Some(declared) = declared else { return };
    if depth >= DEEPEST {
        return;
    }
    for (reference, role) in children(&declared.value.kind) {
        if let Some(child) = Name::resolve(reference, name.provider()) {
            add_stage(visit, &child, role, depth + 1, stages);
        }
    }
}

fn waiting(count: usize) -> Option<String> {
    (count > 0).then(|| format!("{} waiting for a server", words::plural(count, "request")))
}

/// The services below a service, as written, and what they are there for.
fn children(service: &ServiceKind) -> Vec<(&str, String)> {
    let weighted = |services: &'_ [crate::model::WeightedService]| {
        services.iter().map(|one| format!("weight {}", one.weight.unwrap_or(1))).collect::<Vec<_>>()
    };
    match service {
        ServiceKind::LoadBalancer(_) => Vec::new(),
        ServiceKind::Weighted(all) => {
            let names = all.services.iter().map(|one| one.name.as_str());
            names.zip(weighted(&all.services)).collect()
        }
        ServiceKind::HighestRandomWeight(all) => {
            let names = all.services.iter().map(|one| one.name.as_str());
            names.zip(weighted(&all.services)).collect()
        }
        ServiceKind::Mirroring(all) => {
            let mirrors = all.mirrors.iter();
            let mirrors =
                mirrors.map(|one| (one.name.as_str(), format!("mirror, {}%", one.percent)));
            std::iter::once((all.service.as_str(), "answers".to_owned())).chain(mirrors).collect()
        }
        ServiceKind::Failover(all) => {
            let statuses = all.errors.as_ref().map_or(&[][..], |errors| &errors.status);
            let also = if statuses.is_empty() {
                String::new()
            } else {
                format!(", or answers {}", statuses.join(", "))
            };
            vec![
                (all.service.as_str(), "first choice".to_owned()),
                (all.fallback.as_str(), format!("while the first is down{also}")),
            ]
        }
    }
}

/// What is worth knowing of how a service chooses its servers.
fn notes(service: &Service) -> Vec<String> {
    let mut notes = Vec::new();
    if !service.middlewares.is_empty() {
        notes.push(format!("through {}", service.middlewares.join(", ")));
    }
    let service = &service.kind;
    let sticky = match service {
        ServiceKind::LoadBalancer(balancer) => balancer.sticky.as_ref(),
        ServiceKind::Weighted(all) => all.sticky.as_ref(),
        ServiceKind::Mirroring(_)
        | ServiceKind::Failover(_)
        | ServiceKind::HighestRandomWeight(_) => None,
    };
    if let Some(cookie) = sticky.and_then(|sticky| sticky.cookie.as_ref()) {
        let name = if cookie.name.is_empty() { "named by Wharf" } else { &cookie.name };
        notes.push(format!("sticky by cookie {name}"));
    }
    let follows_health = match service {
        ServiceKind::LoadBalancer(_) => false,
        ServiceKind::Weighted(all) => all.health_check.is_some(),
        ServiceKind::Mirroring(all) => all.health_check.is_some(),
        ServiceKind::Failover(all) => all.health_check.is_some(),
        ServiceKind::HighestRandomWeight(all) => all.health_check.is_some(),
    };
    if follows_health {
        notes.push("goes by the health below".to_owned());
    }
    if let ServiceKind::LoadBalancer(balancer) = service {
        if let Some(check) = &balancer.health_check {
            let path = if check.path.is_empty() { "/" } else { &check.path };
            notes.push(format!("checked at {path} every {}", check.interval));
        }
        if !balancer.pass_host_header {
            notes.push("servers see their own host".to_owned());
        }
        if !balancer.servers_transport.is_empty() {
            notes.push(format!("transport {}", balancer.servers_transport));
        }
        if balancer.slow_start.or_zero() > std::time::Duration::ZERO {
            notes.push(format!("slow start over {}", balancer.slow_start));
        }
        match balancer.hold.duration {
            Some(duration) if duration.or_zero().is_zero() => {
                notes.push("requests do not wait for a server".to_owned());
            }
            Some(duration) => notes.push(format!("requests wait {duration} for a server")),
            None => {}
        }
        if balancer.outlier_ejection == Some(false) {
            notes.push("no server is ejected".to_owned());
        }
        if balancer.strategy != "wrr" && !balancer.strategy.is_empty() {
            notes.push(format!("strategy {}", balancer.strategy));
        }
    }
    notes
}

impl Row {
    fn summary(&self) -> String {
        if self.fleet.total == 0 {
            return String::new();
        }
        format!("{} of {} ready", self.fleet.ready, words::plural(self.fleet.total, "server"))
    }
}
