//! What the engine's events say, reduced to what matters here.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bollard::models::{EventMessage, EventMessageTypeEnum};

use crate::model::ReplicaState;

/// An event about one container.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Event {
    /// Full id.
    pub(super) container: Arc<str>,
    /// What happened.
    pub(super) action: Action,
    /// Its labels among others; empty on network events.
    pub(super) attributes: BTreeMap<String, String>,
    /// When, by the engine's clock.
    pub(super) at: Option<SystemTime>,
}

/// What happened to a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// It runs.
    Started,
    /// It was sent a signal.
    Signalled(i32),
    /// It ended.
    Ended,
    /// It was removed.
    Removed,
    /// It is in this state now.
    Became(ReplicaState),
    /// It was put into a network or taken out of one.
    Moved,
    /// Its name or settings changed.
    Altered,
}

impl Event {
    /// Reads an event; `None` when it is about nothing that matters.
    pub(super) fn read(message: EventMessage) -> Option<Self> {
        let at = message.time_nano.and_then(|nanos| u64::try_from(nanos).ok());
        let at = at.map(|nanos| SystemTime::UNIX_EPOCH + Duration::from_nanos(nanos));
        let action = message.action?;
        let actor = message.actor?;
        let mut attributes: BTreeMap<_, _> =
            actor.attributes.unwrap_or_default().into_iter().collect();
        if message.typ == Some(EventMessageTypeEnum::NETWORK) {
            let container = attributes.remove("container")?.into();
            return matches!(action.as_str(), "connect" | "disconnect").then(|| Self {
                container,
                action: Action::Moved,
                attributes: BTreeMap::new(),
                at,
            });
        }
        let action = match action.as_str() {
            "start" => Action::Started,
            "kill" => Action::Signalled(attributes.get("signal").map_or(TERM, |s| signal(s))),
            "die" | "stop" => Action::Ended,
            "destroy" => Action::Removed,
            "pause" => Action::Became(ReplicaState::Paused),
            // What it becomes is for the health check to say.
            "unpause" | "rename" | "update" => Action::Altered,
            other => match other.strip_prefix("health_status: ").map(str::trim) {
                Some("healthy") => Action::Became(ReplicaState::Running),
                Some("unhealthy") => Action::Became(ReplicaState::Unhealthy),
                Some("starting") => Action::Became(ReplicaState::Starting),
                _ => return None,
            },
        };
        Some(Self { container: actor.id?.into(), action, attributes, at })
    }

    #[cfg(test)]
    pub(super) fn new(id: &str, action: Action) -> Self {
        Self { container: id.into(), action, attributes: BTreeMap::new(), at: None }
    }
}

/// The signals that end a process that does not say otherwise; a HUP is a reload.
pub(super) const ENDING: [i32; 4] = [KILL, TERM, INT, QUIT];

const INT: i32 = 2;
const QUIT: i32 = 3;
const KILL: i32 = 9;
const TERM: i32 = 15;

/// A signal as the engine or an image writes it: `15`, `SIGTERM`, `RTMIN+3`. 0 when unknown.
pub(super) fn signal(text: &str) -> i32 {
    if let Ok(number) = text.trim().parse() {
        return number;
    }
    let upper = text.trim().to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Some(offset) = name.strip_prefix("RTMIN") {
        return 34 + offset.parse::<i32>().unwrap_or(0);
    }
    if let Some(offset) = name.strip_prefix("RTMAX") {
        return 64 + offset.parse::<i32>().unwrap_or(0);
    }
    match name {
        "HUP" => 1,
        "INT" => INT,
        "QUIT" => QUIT,
        "KILL" => KILL,
        "USR1" => 10,
        "USR2" => 12,
        "TERM" => TERM,
        "WINCH" => 28,
        "PWR" => 30,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Option<Event> {
        Event::read(serde_json::from_str(json).unwrap())
    }

    #[test]
    fn container_events_become_actions() {
        for (action, attributes, expected) in [
            ("start", "{}", Some(Action::Started)),
            ("kill", r#"{"signal":"15"}"#, Some(Action::Signalled(15))),
            ("kill", r#"{"signal":"1"}"#, Some(Action::Signalled(1))),
            ("kill", "{}", Some(Action::Signalled(15))),
            ("die", r#"{"exitCode":"0"}"#, Some(Action::Ended)),
            ("stop", "{}", Some(Action::Ended)),
            ("destroy", "{}", Some(Action::Removed)),
            ("pause", "{}", Some(Action::Became(ReplicaState::Paused))),
            ("unpause", "{}", Some(Action::Altered)),
            ("health_status: healthy", "{}", Some(Action::Became(ReplicaState::Running))),
            ("health_status: unhealthy", "{}", Some(Action::Became(ReplicaState::Unhealthy))),
            ("exec_create: /bin/check", "{}", None),
        ] {
            let json = format!(
                r#"{{"Type":"container","Action":"{action}","Actor":{{"ID":"abc","Attributes":{attributes}}}}}"#
            );

            assert_eq!(read(&json).map(|event| event.action), expected, "{action}");
        }
    }

    #[test]
    fn network_events_name_the_container_in_an_attribute() {
        let event = read(
            r#"{"Type":"network","Action":"connect",
                "Actor":{"ID":"net","Attributes":{"container":"abc","name":"back","type":"bridge"}}}"#,
        )
        .unwrap();

        assert_eq!((&*event.container, event.action), ("abc", Action::Moved));
    }

    #[test]
    fn signals_are_read_by_number_and_by_name() {
        for (text, number) in
            [("15", 15), ("SIGTERM", 15), ("quit", 3), ("SIGRTMIN+3", 37), ("SIGWINCH", 28)]
        {
            assert_eq!(signal(text), number, "{text}");
        }
    }
}
