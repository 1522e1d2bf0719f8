//! What stands around every page.

use askama::Template;

use super::{Visit, words};
use crate::api::query::encode;
use crate::balance::ReplicaState;
use crate::problem::Severity;

/// Which colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Theme {
    /// As the system says.
    Auto,
    Dark,
    Light,
}

impl Theme {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Dark => "dark",
            Self::Light => "light",
        }
    }
}

/// What stands around every page.
pub(super) struct Frame {
    pub(super) root: &'static str,
    /// The menu's entry: `routers`.
    pub(super) active: &'static str,
    pub(super) title: String,
    /// The dashboard's name, when it was given one.
    pub(super) instance: String,
    pub(super) theme: &'static str,
    pub(super) assets: String,
    pub(super) version: &'static str,
    pub(super) uptime: String,
    pub(super) errors: usize,
    pub(super) warnings: usize,
    pub(super) engine: Option<Engine>,
    /// What is read out when it changes.
    pub(super) summary: String,
    /// What was searched for.
    pub(super) query: String,
}

/// The connection to the Docker engine.
pub(super) struct Engine {
    pub(super) connected: bool,
    pub(super) endpoint: String,
    pub(super) since: String,
    pub(super) error: String,
    pub(super) version: String,
    pub(super) containers: usize,
    pub(super) calls: String,
}

/// How many servers there are, and in which state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Fleet {
    pub(super) total: usize,
    pub(super) ready: usize,
    pub(super) starting: usize,
    pub(super) draining: usize,
    pub(super) unhealthy: usize,
    pub(super) ejected: usize,
    pub(super) paused: usize,
    pub(super) gone: usize,
}

impl Fleet {
    pub(super) fn of(states: impl Iterator<Item = ReplicaState>) -> Self {
        let mut fleet = Self::default();
        for state in states {
            fleet.total += 1;
            *match state {
                ReplicaState::Starting => &mut fleet.starting,
                ReplicaState::Ready => &mut fleet.ready,
                ReplicaState::Draining => &mut fleet.draining,
                ReplicaState::Unhealthy => &mut fleet.unhealthy,
                ReplicaState::Ejected => &mut fleet.ejected,
                ReplicaState::Paused => &mut fleet.paused,
                ReplicaState::Gone => &mut fleet.gone,
            } += 1;
        }
        fleet
    }

    /// The states that some are in, worst last.
    pub(super) fn states(&self) -> impl Iterator<Item = (&'static str, usize)> {
        [
            ("ready", self.ready),
            ("starting", self.starting),
            ("draining", self.draining),
            ("paused", self.paused),
            ("ejected", self.ejected),
            ("unhealthy", self.unhealthy),
            ("gone", self.gone),
        ]
        .into_iter()
        .filter(|(_, count)| *count > 0)
    }
}

impl Visit<'_> {
    /// All servers of all services.
    pub(super) fn fleet(&self) -> Fleet {
        let services = self.table.services.values();
        Fleet::of(services.flat_map(|service| service.replicas()).map(|replica| replica.state()))
    }

    /// The frame of a page.
    pub(super) fn frame(&self, active: &'static str, title: impl Into<String>) -> Frame {
        let errors = self.problems().filter(|problem| problem.severity == Severity::Error).count();
        let fleet = self.fleet();
        let problem_count = self.problems().count();
        Frame {
            root: self.root,
            active,
            title: title.into(),
            instance: self
                .sources
                .settings
                .api
                .as_ref()
                .map(|api| api.dashboard_name.clone())
                .unwrap_or_default(),
            theme: self.theme.as_str(),
            assets: self.assets.to_owned(),
            version: env!("CARGO_PKG_VERSION"),
            uptime: words::ago(self.sources.started, self.now),
            errors,
            warnings: problem_count - errors,
            engine: self.engine(),
            summary: format!(
                "{} of {} ready, {}",
                fleet.ready,
                words::plural(fleet.total, "server"),
                words::plural(problem_count, "problem")
            ),
            query: self.query.get("q").to_owned(),
        }
    }

    fn engine(&self) -> Option<Engine> {
        let engine = self.sources.published.engine();
        if engine.endpoint.is_empty() {
            return None;
        }
        Some(Engine {
            connected: engine.connected,
            endpoint: engine.endpoint.clone(),
            since: engine.since.map(|since| words::ago(since, self.now)).unwrap_or_default(),
            error: engine.error.clone().unwrap_or_default(),
            version: engine.version.clone().unwrap_or_default(),
            containers: engine.containers,
            calls: words::count(engine.calls),
        })
    }
}

/// The page for a name that nothing has.
#[derive(Template)]
#[template(path = "missing.html")]
pub(super) struct Missing {
    frame: Frame,
    kind: &'static str,
    name: String,
    /// Leads to a search for the name.
    search: String,
}

pub(super) fn missing(visit: &Visit<'_>, kind: &'static str, name: &str) -> Missing {
    let active = match kind {
        "router" => "routers",
        "service" => "services",
        _ => "middlewares",
    };
    Missing {
        frame: visit.frame(active, format!("No {kind} {name}")),
        kind,
        name: name.to_owned(),
        search: format!("{}search?q={}", visit.root, encode(name)),
    }
}
