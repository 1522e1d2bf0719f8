//! The states of a server, and its way through them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::SystemTime;

/// What the engine says of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EngineState {
    /// Running; its HEALTHCHECK has not answered yet, or nothing shows yet that it accepts.
    Starting,
    /// Running, and healthy if it has a HEALTHCHECK.
    Running,
    /// Its HEALTHCHECK failed.
    Unhealthy,
    /// Paused.
    Paused,
    /// It was sent its stop signal.
    Stopping,
    /// Not running.
    Gone,
}

/// How a server is doing, from all that is known: starting, ready, draining, gone; and out
/// for a time when it is unhealthy, ejected or paused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ReplicaState {
    /// Not yet known to accept.
    Starting,
    /// Takes requests.
    Ready,
    /// Takes no new requests unless nobody else can.
    Draining,
    /// Failed its checks.
    Unhealthy,
    /// Fails where the others do not, and is left alone for a time.
    Ejected,
    /// Its container is paused.
    Paused,
    /// Its container does not run, or no longer belongs to the service.
    Gone,
}

impl ReplicaState {
    /// All of them, in the order of a server's life.
    pub const ALL: [Self; 7] = [
        Self::Starting,
        Self::Ready,
        Self::Draining,
        Self::Unhealthy,
        Self::Ejected,
        Self::Paused,
        Self::Gone,
    ];

    /// As shown: `ready`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Draining => "draining",
            Self::Unhealthy => "unhealthy",
            Self::Ejected => "ejected",
            Self::Paused => "paused",
            Self::Gone => "gone",
        }
    }

    pub(super) fn from_byte(byte: u8) -> Self {
        Self::ALL.into_iter().find(|state| *state as u8 == byte).unwrap_or(Self::Gone)
    }

    /// Connections to it are kept for the requests to come.
    pub(super) fn keeps_connections(self) -> bool {
        match self {
            Self::Starting | Self::Ready => true,
            Self::Draining | Self::Unhealthy | Self::Ejected | Self::Paused | Self::Gone => false,
        }
    }
}

/// A change of a server's state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// When.
    pub at: SystemTime,
    /// The state before.
    pub from: ReplicaState,
    /// The state since.
    pub to: ReplicaState,
    /// Why, in plain words.
    pub reason: Arc<str>,
}

/// Changes that are kept of one server.
const KEPT: usize = 16;

/// A server's last changes, oldest first.
#[derive(Clone, Debug, Default)]
pub(super) struct Changes(VecDeque<Change>);

impl Changes {
    pub(super) fn push(&mut self, change: Change) {
        if self.0.len() >= KEPT {
            self.0.pop_front();
        }
        self.0.push_back(change);
    }

    pub(super) fn all(&self) -> Vec<Change> {
        self.0.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_survive_their_byte() {
        for state in ReplicaState::ALL {
            assert_eq!(ReplicaState::from_byte(state as u8), state);
        }
    }

    #[test]
    fn the_last_changes_are_kept() {
        let mut changes = Changes::default();
        for number in 0..KEPT + 3 {
            changes.push(Change {
                at: SystemTime::UNIX_EPOCH,
                from: ReplicaState::Ready,
                to: ReplicaState::Gone,
                reason: number.to_string().into(),
            });
        }

        let kept = changes.all();

        assert_eq!((kept.len(), &*kept[0].reason), (KEPT, "3"));
    }
}
