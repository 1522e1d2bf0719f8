//! Pieces that several pages show: names, origins, settings, servers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use serde_json::Value;

use super::{Visit, words};
use crate::api::query::encode;
use crate::api::view::ServiceRow;
use crate::balance::{Replica, deploy};
use crate::model::Name;
use crate::problem::{Origin, Problem, Severity};
use crate::table::Table;

/// A name that leads to its page.
pub(super) struct Link {
    pub(super) name: String,
    pub(super) href: String,
    /// Empty: there is no such thing, so it leads nowhere.
    pub(super) status: &'static str,
}

impl Link {
    /// A link to a thing of that kind (`routers`), qualified name.
    pub(super) fn new(root: &str, kind: &str, name: &str, status: &'static str) -> Self {
        Self { name: name.to_owned(), href: format!("{root}{kind}/{}", encode(name)), status }
    }

    /// A link to a router.
    pub(super) fn router(root: &str, table: &Table, name: &str) -> Self {
        let found = table.routers.iter().find(|(own, _)| own.as_str() == name);
        Self::new(root, "routers", name, found.map_or("", |(_, outcome)| outcome.status.as_str()))
    }

    /// A link to a service.
    pub(super) fn service(root: &str, table: &Table, name: &Name) -> Self {
        let known = table.desired.services.contains_key(name);
        let outcome = table.service_outcomes.get(name);
        let status = outcome.map_or(if known { "enabled" } else { "" }, |o| o.status.as_str());
        Self::new(root, "services", name.as_str(), status)
    }
}

/// Where something was written, told once for all who wrote the same.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// `label`, `file`, `container`, `built in`.
    pub(super) kind: &'static str,
    /// The key, the file with its line.
    pub(super) what: String,
    /// The first container that says so; empty when none does.
    pub(super) who: String,
    /// The others.
    pub(super) others: Vec<String>,
}

impl Place {
    /// The key in pieces between which a line may break.
    pub(super) fn pieces(&self) -> impl Iterator<Item = &str> {
        self.what.split_inclusive(['.', '/'])
    }
}

/// Where something was written.
pub(super) fn places(from: &[Origin]) -> Vec<Place> {
    let mut places: BTreeMap<(&'static str, String), Vec<String>> = BTreeMap::new();
    for origin in from {
        let (kind, what) = match origin {
            Origin::Label { key, .. } => ("label", key.to_string()),
            Origin::Container(_) => ("container", String::new()),
            Origin::Flag(flag) => ("flag", flag.to_string()),
            Origin::Env(name) => ("variable", name.to_string()),
            Origin::File { .. } => ("file", origin.to_string()),
            Origin::Engine(address) => ("engine", address.to_string()),
            Origin::Internal => ("built in", "by Wharf from its own settings".to_owned()),
        };
        let who = places.entry((kind, what)).or_default();
        who.extend(origin.container().map(ToString::to_string));
    }
    let place = |((kind, what), who): ((&'static str, String), Vec<String>)| {
        let mut who = who.into_iter();
        Place { kind, what, who: who.next().unwrap_or_default(), others: who.collect() }
    };
    places.into_iter().map(place).collect()
}

/// One setting.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Setting {
    pub(super) key: String,
    pub(super) values: Vec<String>,
}

/// A section of settings, flat. What a password is checked against is not shown.
pub(super) fn settings(section: &Value) -> Vec<Setting> {
    let mut flat = Vec::new();
    flatten("", section, &mut flat);
    for setting in &mut flat {
        if setting.key == "users" {
            for user in &mut setting.values {
                user.truncate(user.find(':').unwrap_or(user.len()));
            }
        }
    }
    flat
}

fn flatten(key: &str, value: &Value, flat: &mut Vec<Setting>) {
    let values = match value {
        Value::Object(map) if map.is_empty() && !key.is_empty() => vec!["on".to_owned()],
        Value::Object(map) => {
            for (name, value) in map {
                let name = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
                flatten(&name, value, flat);
            }
            return;
        }
        Value::Array(values) if values.iter().any(Value::is_object) => {
            for (index, value) in values.iter().enumerate() {
                flatten(&format!("{key}[{index}]"), value, flat);
            }
            return;
        }
        Value::Array(values) => values.iter().map(scalar).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => vec![scalar(value)],
    };
    flat.push(Setting { key: key.to_owned(), values });
}

fn scalar(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// A server as shown.
pub(super) struct Server {
    pub(super) url: String,
    /// Its container's name; else its URL.
    pub(super) name: String,
    /// Short; empty where there is nothing to tell.
    pub(super) generation: String,
    pub(super) id: String,
    pub(super) state: &'static str,
    pub(super) since: String,
    pub(super) reason: String,
    pub(super) requests: String,
    pub(super) errors: String,
    pub(super) has_errors: bool,
    pub(super) in_flight: u32,
    /// Its part of all requests to the service, in percent.
    pub(super) share: u64,
    /// Its last changes of state, newest first.
    pub(super) changes: Vec<Turn>,
}

/// A change of a server's state.
pub(super) struct Turn {
    pub(super) state: &'static str,
    pub(super) ago: String,
    pub(super) reason: String,
}

/// A service's servers by container name; each with its generation, where there is something
/// to tell of those.
pub(super) fn servers(row: &ServiceRow<'_>, now: SystemTime) -> Vec<Server> {
    let total: u64 = row.replicas().iter().map(|replica| replica.requests()).sum();
    let has_generations = row.running.is_some_and(|running| running.has_generations());
    let shown = |generation: Option<&Arc<str>>| {
        let generation = generation.filter(|_| has_generations);
        generation.map(|id| deploy::short(id).to_owned()).unwrap_or_default()
    };
    let all = row.by_generation();
    let mut servers: Vec<Server> = all
        .map(|(replica, generation)| Server {
            generation: shown(generation),
            ..server(replica, total, now)
        })
        .collect();
    servers.sort_by_cached_key(|server| natural(&server.name));
    servers
}

/// Numbers in names count as numbers: `web-10` stands behind `web-9`.
fn natural(name: &str) -> (String, u64, String) {
    let stem = name.trim_end_matches(|c: char| c.is_ascii_digit());
    let number = name.get(stem.len()..).and_then(|digits| digits.parse().ok()).unwrap_or(0);
    (stem.to_owned(), number, name.to_owned())
}

fn server(replica: &Replica, total: u64, now: SystemTime) -> Server {
    let id = replica.container.as_deref().unwrap_or_default();
    let errors = replica.errors();
    Server {
        url: replica.url.to_string(),
        name: replica.container_name.as_deref().unwrap_or(&replica.url).to_owned(),
        generation: String::new(),
        id: id.get(..12).unwrap_or(id).to_owned(),
        state: replica.state().as_str(),
        since: words::ago(replica.since(), now),
        reason: replica.reason().to_string(),
        requests: words::count(replica.requests()),
        errors: words::count(errors),
        has_errors: errors > 0,
        in_flight: replica.in_flight(),
        share: (replica.requests() * 100).checked_div(total).unwrap_or(0),
        changes: turns(replica, now),
    }
}

fn turns(replica: &Replica, now: SystemTime) -> Vec<Turn> {
    let changes = replica.changes().into_iter().rev();
    changes
        .map(|change| Turn {
            state: change.to.as_str(),
            ago: words::ago(change.at, now),
            reason: change.reason.to_string(),
        })
        .collect()
}

/// A server whose state changed of late.
pub(super) struct Move {
    pub(super) name: String,
    pub(super) service: Link,
    pub(super) state: &'static str,
    pub(super) since: String,
    pub(super) reason: String,
}

/// The servers whose state changed last, newest first.
pub(super) fn moves(root: &str, table: &Table, now: SystemTime, most: usize) -> Vec<Move> {
    let mut all: Vec<(SystemTime, &Name, &Arc<Replica>)> = table
        .services
        .iter()
        .flat_map(|(name, service)| service.replicas().iter().map(move |r| (name, r)))
        .map(|(name, replica)| (replica.since(), name, replica))
        .collect();
    all.sort_by(|one, other| other.0.cmp(&one.0).then_with(|| one.1.cmp(other.1)));
    all.truncate(most);
    all.into_iter()
        .map(|(since, name, replica)| Move {
            name: replica.container_name.as_deref().unwrap_or(&replica.url).to_owned(),
            service: Link::service(root, table, name),
            state: replica.state().as_str(),
            since: words::ago(since, now),
            reason: replica.reason().to_string(),
        })
        .collect()
}

/// A problem as shown.
pub(super) struct Trouble {
    pub(super) is_error: bool,
    pub(super) code: &'static str,
    pub(super) subject: String,
    pub(super) text: String,
    pub(super) origin: String,
    pub(super) mend: String,
}

impl From<&Problem> for Trouble {
    fn from(problem: &Problem) -> Self {
        Self {
            is_error: problem.severity == Severity::Error,
            code: problem.code.as_str(),
            subject: problem.subject.to_string(),
            text: problem.text.to_string(),
            origin: problem.origin.to_string(),
            mend: problem.mend.as_deref().unwrap_or_default().to_owned(),
        }
    }
}

/// The problems that are about one thing: `router web@docker`.
pub(super) fn troubles(visit: &Visit<'_>, kind: &str, name: &Name) -> Vec<Trouble> {
    let subject = format!("{kind} {name}");
    let is_named = |problem: &&Problem| {
        *problem.subject == *subject
            || problem.also.as_ref().is_some_and(|other| *other.0 == *subject)
    };
    let about = visit.problems().filter(is_named);
    about.map(Trouble::from).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::problem::ContainerRef;

    #[test]
    fn containers_that_say_the_same_are_told_together() {
        let label = |name: &str| Origin::Label {
            container: ContainerRef { name: name.into(), id: "0123456789abcdef".into() },
            key: "traefik.http.routers.web.rule".into(),
        };

        let places = places(&[label("web-1"), label("web-2")]);

        assert_eq!(places.len(), 1);
        assert_eq!(places[0].who, "web-1 (0123456789ab)");
        assert_eq!(places[0].others, ["web-2 (0123456789ab)"]);
    }

    #[test]
    fn settings_are_flat_and_keep_password_hashes_to_themselves() {
        let section =
            json!({"users": ["joe:$apr1$x"], "a": {"b": [1, "c"], "d": {}}, "l": [{"m": 1}]});

        let flat: Vec<_> = settings(&section)
            .into_iter()
            .map(|setting| format!("{}={}", setting.key, setting.values.join("|")))
            .collect();

        assert_eq!(flat, ["users=joe", "a.b=1|c", "a.d=on", "l[0].m=1"]);
    }

    #[test]
    fn the_tenth_replica_stands_behind_the_ninth() {
        assert!(natural("web-9") < natural("web-10"));
        assert!(natural("api-10") < natural("web-1"));
    }
}
