//! The list of routers.

use askama::Template;

use super::Visit;
use super::controls::{self, Controls};
use super::frame::{Fleet, Frame};
use super::parts::Link;
use crate::api::view::{self, RouterRow};

/// The list of routers.
#[derive(Template)]
#[template(path = "routers.html")]
pub(super) struct Routers {
    frame: Frame,
    controls: Controls,
    rows: Vec<Row>,
}

struct Row {
    link: Link,
    rule: String,
    entry_points: Vec<String>,
    is_tls: bool,
    middlewares: usize,
    service: Option<Link>,
    fleet: Fleet,
    priority: i64,
    error: String,
}

impl Row {
    /// Wharf's own routers stand above whatever a user can reasonably write.
    fn is_topmost(&self) -> bool {
        self.priority > i64::MAX - 1000
    }
}

pub(super) fn page(visit: &Visit<'_>) -> Routers {
    let (controls, rows) = controls::list(visit, 50, || view::routers(visit.table));
    Routers {
        frame: visit.frame("routers", "Routers"),
        controls,
        rows: rows.iter().map(|router| row(visit, router)).collect(),
    }
}

fn row(visit: &Visit<'_>, row: &RouterRow<'_>) -> Row {
    let router = &row.router.value;
    let service = row.service();
    let running = service.as_ref().and_then(|name| visit.table.services.get(name));
    let attached =
        if row.outcome.used.is_empty() { &row.outcome.entry_points } else { &row.outcome.used };
    Row {
        link: Link::new(visit.root, "routers", row.name.as_str(), row.outcome.status.as_str()),
        rule: router.rule.clone(),
        entry_points: attached.clone(),
        is_tls: router.tls.is_some(),
        middlewares: row.outcome.middlewares.len(),
        service: service.map(|name| Link::service(visit.root, visit.table, &name)),
        fleet: Fleet::of(
            running.iter().flat_map(|service| service.replicas()).map(|replica| replica.state()),
        ),
        priority: row.outcome.priority,
        error: row.outcome.errors.first().cloned().unwrap_or_default(),
    }
}
