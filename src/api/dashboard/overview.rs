//! The first page: how everything is doing.

use askama::Template;

use super::frame::{Fleet, Frame};
use super::parts::{self, Link, Move, Trouble};
use super::plot::Plots;
use super::{Visit, words};
use crate::api::view::{self, Counts};
use crate::problem::Severity;
use crate::settings;

/// Problems and services shown before one is sent to their own pages.
const FEW: usize = 6;

/// The first page.
#[derive(Template)]
#[template(path = "overview.html")]
pub(super) struct Overview {
    frame: Frame,
    plots: Plots,
    fleet: Fleet,
    kinds: Vec<Kind>,
    entry_points: Vec<EntryPoint>,
    problems: Vec<Trouble>,
    more_problems: usize,
    moves: Vec<Move>,
    busiest: Vec<Busy>,
    features: Vec<(&'static str, &'static str)>,
}

/// Routers, services or middlewares in figures.
struct Kind {
    noun: &'static str,
    href: String,
    counts: Counts,
}

struct EntryPoint {
    name: String,
    address: String,
    notes: Vec<String>,
    routers: usize,
    connections: i64,
}

struct Busy {
    link: Link,
    plots: Plots,
    fleet: Fleet,
}

pub(super) fn page(visit: &Visit<'_>) -> Overview {
    let table = visit.table;
    let kind = |noun, counts| Kind { noun, href: format!("{}{noun}", visit.root), counts };
    let mut worst: Vec<_> = visit.problems().collect();
    worst.sort_by_key(|problem| problem.severity != Severity::Error);
    let problems: Vec<Trouble> = worst.into_iter().take(FEW).map(Trouble::from).collect();
    Overview {
        frame: visit.frame("overview", "Overview"),
        plots: Plots::new(&visit.sources.metrics.history().total()),
        fleet: visit.fleet(),
        kinds: vec![
            kind("routers", view::count(view::routers(table).map(|row| row.outcome.status))),
            kind("services", view::count(view::services(table).map(|row| row.outcome.status))),
            kind(
                "middlewares",
                view::count(view::middlewares(table).map(|row| row.outcome.status)),
            ),
        ],
        entry_points: visit
            .sources
            .settings
            .entry_points
            .iter()
            .map(|(name, entry)| entry_point(visit, name, entry))
            .collect(),
        more_problems: visit.problems().count() - problems.len(),
        problems,
        moves: parts::moves(visit.root, table, visit.now, FEW),
        busiest: busiest(visit),
        features: features(&visit.sources.settings),
    }
}

fn entry_point(visit: &Visit<'_>, name: &str, entry: &settings::EntryPoint) -> EntryPoint {
    let attached = |used: &[String]| used.iter().any(|used| used == name);
    EntryPoint {
        name: name.to_owned(),
        address: entry.address.clone(),
        notes: notes(entry),
        routers: visit.table.routers.values().filter(|outcome| attached(&outcome.used)).count(),
        connections: visit.sources.metrics.open_connections(name).value(),
    }
}

/// What is special about an entry point, in few words.
pub(super) fn notes(entry: &settings::EntryPoint) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some(to) = entry.http.redirections.as_ref().and_then(|all| all.entry_point.as_ref()) {
        notes.push(format!("redirects to {} {}", to.scheme, to.to));
    }
    if entry.http.tls.is_some() {
        notes.push("TLS by default".to_owned());
    }
    if entry.as_default {
        notes.push("default".to_owned());
    }
    if entry.proxy_protocol.is_some() {
        notes.push("PROXY protocol".to_owned());
    }
    if entry.forwarded_headers.insecure {
        notes.push("trusts X-Forwarded-* from anyone".to_owned());
    }
    if !entry.http.middlewares.is_empty() {
        notes.push(words::plural(entry.http.middlewares.len(), "middleware"));
    }
    notes
}

/// The services with the most requests of late, then by name.
fn busiest(visit: &Visit<'_>) -> Vec<Busy> {
    let history = visit.sources.metrics.history();
    let services = view::services(visit.table).filter(|row| row.running.is_some());
    let mut rated: Vec<_> = services
        .filter(|row| row.service.is_some())
        .map(|row| {
            let points = history.service(row.name.as_str());
            let requests: u64 = points.iter().map(|point| u64::from(point.requests)).sum();
            (requests, row, points)
        })
        .collect();
    rated.sort_by(|one, other| other.0.cmp(&one.0).then_with(|| one.1.name.cmp(other.1.name)));
    rated.truncate(FEW + 2);
    rated
        .into_iter()
        .map(|(_, row, points)| Busy {
            link: Link::service(visit.root, visit.table, row.name),
            plots: Plots::new(&points),
            fleet: Fleet::of(row.replicas().iter().map(|replica| replica.state())),
        })
        .collect()
}

fn features(settings: &settings::Settings) -> Vec<(&'static str, &'static str)> {
    let word = |on: bool| if on { "on" } else { "off" };
    vec![
        ("Metrics", word(settings.metrics.prometheus.is_some())),
        ("Access log", word(settings.access_log.is_some())),
        ("Ping", word(settings.ping.is_some())),
        ("Docker", word(settings.providers.docker.is_some())),
        ("Files", word(settings.providers.file.is_some())),
    ]
}
