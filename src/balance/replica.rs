//! A running server: what it is and how it is doing.

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

/// How a server is doing, from all that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplicaState {
    /// Not yet known to accept.
    Starting,
    /// Takes requests.
    Ready,
    /// Takes no new requests unless nobody else can.
    Draining,
    /// Failed its checks.
    Unhealthy,
    /// Its container is paused.
    Paused,
    /// Its container does not run.
    Gone,
}

impl ReplicaState {
    /// As shown: `ready`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Draining => "draining",
            Self::Unhealthy => "unhealthy",
            Self::Paused => "paused",
            Self::Gone => "gone",
        }
    }
}

/// A running server of a service: what it is and how it is doing. Shared by all workers,
/// carried over from table to table.
#[derive(Debug)]
pub struct Replica {
    /// `http://172.18.0.3:80`.
    pub url: Arc<str>,
    /// The container behind it, full id.
    pub container: Option<Arc<str>>,
    /// The container's name.
    pub container_name: Option<Arc<str>>,
    /// When the container was started.
    pub started: Option<SystemTime>,
}

impl Replica {
    /// The engine says so. Wakes requests that wait for it.
    pub fn set_engine(&self, _state: EngineState) {
        todo!()
    }

    /// How it is doing.
    pub fn state(&self) -> ReplicaState {
        todo!()
    }

    /// Takes requests.
    pub fn is_ready(&self) -> bool {
        self.state() == ReplicaState::Ready
    }

    /// Up by active checks and by requests: Traefik's `serverStatus`.
    pub fn is_up(&self) -> bool {
        todo!()
    }

    /// Since when it is in that state.
    pub fn since(&self) -> SystemTime {
        todo!()
    }

    /// Why it is in that state, in plain words; empty when there is nothing to say.
    pub fn reason(&self) -> Arc<str> {
        todo!()
    }

    /// Requests sent to it so far.
    pub fn requests(&self) -> u64 {
        todo!()
    }

    /// Of those, answered with 5xx or not at all.
    pub fn errors(&self) -> u64 {
        todo!()
    }

    /// Requests in flight.
    pub fn in_flight(&self) -> u32 {
        todo!()
    }
}
