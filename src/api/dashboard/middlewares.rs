//! Middlewares.

use askama::Template;

use super::Visit;
use super::controls::{self, Controls};
use super::frame::Frame;
use super::parts::{self, Link, Place, Setting, Trouble};
use crate::api::view::{self, MiddlewareRow};
use crate::middleware::Spec;

/// The list of middlewares.
#[derive(Template)]
#[template(path = "middlewares.html")]
pub(super) struct Middlewares {
    frame: Frame,
    controls: Controls,
    rows: Vec<Row>,
}

struct Row {
    link: Link,
    kind: &'static str,
    about: &'static str,
    settings: Vec<Setting>,
    users: usize,
    error: String,
}

/// One middleware.
#[derive(Template)]
#[template(path = "middleware.html")]
pub(super) struct MiddlewarePage {
    frame: Frame,
    name: String,
    status: &'static str,
    errors: Vec<String>,
    problems: Vec<Trouble>,
    kind: &'static str,
    about: &'static str,
    settings: Vec<Setting>,
    places: Vec<Place>,
    used_by: Vec<Link>,
}

pub(super) fn page(visit: &Visit<'_>) -> Middlewares {
    let (controls, rows) = controls::list(visit, 50, || view::middlewares(visit.table));
    Middlewares {
        frame: visit.frame("middlewares", "Middlewares"),
        controls,
        rows: rows.iter().map(|middleware| row(visit, middleware)).collect(),
    }
}

fn row(visit: &Visit<'_>, row: &MiddlewareRow<'_>) -> Row {
    Row {
        link: Link::new(visit.root, "middlewares", row.name.as_str(), row.outcome.status.as_str()),
        kind: row.middleware.value.kind(),
        about: row.middleware.value.about(),
        settings: settings_of(&row.middleware.value),
        users: row.outcome.used.len(),
        error: row.outcome.errors.first().cloned().unwrap_or_default(),
    }
}

/// The page of one middleware; `None` when there is no such middleware.
pub(super) fn one(visit: &Visit<'_>, name: &str) -> Option<MiddlewarePage> {
    let row = view::middlewares(visit.table).find(|row| row.name.as_str() == name)?;
    let used_by =
        row.outcome.used.iter().map(|router| Link::router(visit.root, visit.table, router));
    Some(MiddlewarePage {
        frame: visit.frame("middlewares", name),
        name: name.to_owned(),
        status: row.outcome.status.as_str(),
        errors: row.outcome.errors.clone(),
        problems: parts::troubles(visit, "middleware", row.name),
        kind: row.middleware.value.kind(),
        about: row.middleware.value.about(),
        settings: settings_of(&row.middleware.value),
        places: parts::places(&row.middleware.from),
        used_by: used_by.collect(),
    })
}

/// A middleware's own settings, flat.
pub(super) fn settings_of(spec: &Spec) -> Vec<Setting> {
    let value = serde_json::to_value(spec).unwrap_or_default();
    let section = value.as_object().and_then(|map| map.values().next());
    section.map(parts::settings).unwrap_or_default()
}
