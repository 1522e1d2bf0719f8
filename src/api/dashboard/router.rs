//! One router: the way of a request from the entry point to the servers.

use askama::Template;

use super::frame::Frame;
use super::middlewares::settings_of;
use super::parts::{self, Link, Place, Setting, Trouble};
use super::plot::Plots;
use super::services::{Stage, stages};
use super::words::{self, Condition};
use super::{Visit, overview};
use crate::api::view::{self, RouterRow};
use crate::middleware::Spec;
use crate::model::{Name, Provider, Sourced};
use crate::rule::Syntax;

/// Chains in chains are followed this deep; the compiler refuses longer ones.
const DEEPEST: usize = 8;

/// One router.
#[derive(Template)]
#[template(path = "router.html")]
pub(super) struct RouterPage {
    frame: Frame,
    name: String,
    status: &'static str,
    errors: Vec<String>,
    problems: Vec<Trouble>,
    entry_points: Vec<Entry>,
    rule: String,
    conditions: Vec<Condition>,
    priority: i64,
    tls: Option<Vec<Setting>>,
    places: Vec<Place>,
    middlewares: Vec<Step>,
    service: Option<Link>,
    stages: Vec<Stage>,
    plots: Plots,
}

struct Entry {
    name: String,
    address: String,
    notes: Vec<String>,
    /// It exists and the router is on it.
    is_attached: bool,
}

/// One middleware on the way.
struct Step {
    link: Link,
    /// Empty: there is no such middleware.
    kind: &'static str,
    about: &'static str,
    settings: Vec<Setting>,
    places: Vec<Place>,
    errors: Vec<String>,
    /// The chain it stands in.
    inside: String,
}

/// The page; `None` when there is no such router.
pub(super) fn page(visit: &Visit<'_>, name: &str) -> Option<RouterPage> {
    let row = view::routers(visit.table).find(|row| row.name.as_str() == name)?;
    let router = &row.router.value;
    let service = row.service();
    let history = visit.sources.metrics.history();
    let points = service.as_ref().map(|name| history.service(name.as_str())).unwrap_or_default();
    Some(RouterPage {
        frame: visit.frame("routers", name),
        name: name.to_owned(),
        status: row.outcome.status.as_str(),
        errors: row.outcome.errors.clone(),
        problems: parts::troubles(visit, "router", row.name),
        entry_points: entries(visit, &row),
        rule: router.rule.clone(),
        conditions: words::conditions(&router.rule, Syntax::named(&router.rule_syntax)),
        priority: row.outcome.priority,
        tls: router
            .tls
            .as_ref()
            .map(|tls| parts::settings(&serde_json::to_value(tls).unwrap_or_default())),
        places: parts::places(&row.router.from),
        middlewares: steps(visit, &row),
        stages: service.as_ref().map(|name| stages(visit, name)).unwrap_or_default(),
        service: service.map(|name| Link::service(visit.root, visit.table, &name)),
        plots: Plots::new(&points),
    })
}

fn entries(visit: &Visit<'_>, row: &RouterRow<'_>) -> Vec<Entry> {
    let entry = |name: &String| {
        let settings = visit.sources.settings.entry_points.get(name);
        Entry {
            name: name.clone(),
            address: settings.map(|entry| entry.address.clone()).unwrap_or_default(),
            notes: settings.map(overview::notes).unwrap_or_default(),
            is_attached: row.outcome.used.contains(name),
        }
    };
    row.outcome.entry_points.iter().map(entry).collect()
}

/// All middlewares in the order that they see a request, chains opened up.
fn steps(visit: &Visit<'_>, row: &RouterRow<'_>) -> Vec<Step> {
    let mut steps = Vec::new();
    for name in &row.outcome.middlewares {
        add_step(visit, name, row.name.provider(), "", DEEPEST, &mut steps);
    }
    steps
}

fn add_step(
    visit: &Visit<'_>,
    reference: &str,
    home: Provider,
    inside: &str,
    depth: usize,
    steps: &mut Vec<Step>,
) {
    let name = Name::resolve(reference, home);
    let declared = name.as_ref().and_then(|name| visit.table.desired.middlewares.get(name));
    let full = name.as_ref().map_or(reference, Name::as_str);
    steps.push(step(visit, full, name.as_ref(), declared.map(AsRef::as_ref), inside));
    let (Some(name), Some(declared)) = (&name, declared) else { return };
    if let Some(inner) = declared.value.chain()
        && depth > 0
    {
        for reference in inner {
            add_step(visit, reference, name.provider(), full, depth - 1, steps);
        }
    }
}

fn step(
    visit: &Visit<'_>,
    full: &str,
    name: Option<&Name>,
    declared: Option<&Sourced<Spec>>,
    inside: &str,
) -> Step {
    let outcome = name.and_then(|name| visit.table.middlewares.get(name));
    let status = match (declared, outcome) {
        (None, _) => "",
        (Some(_), None) => "enabled",
        (Some(_), Some(outcome)) => outcome.status.as_str(),
    };
    Step {
        link: Link::new(visit.root, "middlewares", full, status),
        kind: declared.map_or("", |spec| spec.value.kind()),
        about: declared.map_or("there is no such middleware", |spec| spec.value.about()),
        settings: declared.map(|spec| settings_of(&spec.value)).unwrap_or_default(),
        places: declared.map(|spec| parts::places(&spec.from)).unwrap_or_default(),
        errors: outcome.map(|outcome| outcome.errors.clone()).unwrap_or_default(),
        inside: inside.to_owned(),
    }
}
