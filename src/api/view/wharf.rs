//! What Traefik's API does not have: problems, the engine, replicas, the plots' points.

use std::sync::Arc;

use serde_json::{Value, json};

use super::overview::moment;
use super::{Object, problems_now, services};
use crate::balance::{Change, Replica};
use crate::observe::Metrics;
use crate::provider::EngineState;
use crate::table::Table;

/// `/api/wharf/problems`.
pub(in crate::api) fn problems(table: &Table) -> Value {
    let now = problems_now(table);
    json!(table.problems.iter().chain(&now).collect::<Vec<_>>())
}

/// `/api/wharf/engine`.
pub(in crate::api) fn engine(engine: &EngineState) -> Value {
    let mut object = Object::of(engine);
    object.0.remove("since");
    if let Some(since) = engine.since {
        object.put("since", moment(since));
    }
    object.into_value()
}

/// `/api/wharf/replicas`: every running server by service.
pub(in crate::api) fn replicas(table: &Table) -> Value {
    services(table)
        .filter(|row| row.service.is_some())
        .map(|row| (row.name.to_string(), row.by_generation().map(replica).collect::<Value>()))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

fn replica((replica, generation): (&Arc<Replica>, Option<&Arc<str>>)) -> Value {
    let mut object = Object::default();
    object.put_text("url", &replica.url);
    object.put_text("container", replica.container_name.as_deref().unwrap_or_default());
    object.put_text("containerId", replica.container.as_deref().unwrap_or_default());
    object.put_text("generation", generation.map(AsRef::as_ref).unwrap_or_default());
    object.put("state", replica.state().as_str());
    object.put("since", moment(replica.since()));
    object.put_text("reason", &replica.reason());
    if let Some(started) = replica.started {
        object.put("started", moment(started));
    }
    let change = |change: &Change| {
        json!({
            "at": moment(change.at),
            "from": change.from.as_str(),
            "to": change.to.as_str(),
            "reason": change.reason,
        })
    };
    object.put("changes", replica.changes().iter().map(change).collect::<Vec<_>>());
    object.put("requests", replica.requests());
    object.put("errors", replica.errors());
    object.put("inFlight", replica.in_flight());
    object.into_value()
}

/// `/api/wharf/waiting`: requests that wait for a server, by service; only where there are any.
pub(in crate::api) fn waiting(table: &Table) -> Value {
    let waiting = table.services.iter().map(|(name, service)| (name, service.waiting()));
    waiting
        .filter(|(_, count)| *count > 0)
        .map(|(name, count)| (name.to_string(), json!(count)))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

/// `/api/wharf/history/{service}`: the last minutes, second by second, oldest first.
pub(in crate::api) fn history(metrics: &Metrics, service: &str) -> Value {
    json!(metrics.history().service(service))
}
