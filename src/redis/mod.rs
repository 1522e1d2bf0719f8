//! A client of Redis for scripts that share numbers between proxies: connections of each
//! worker, their limits in time, and the way to the right node of a cluster. Must never know
//! what the numbers are for.
//!
//! It is our own because it is small: five commands with short answers. The `redis` crate would
//! bring ten more crates, tasks of its own, and answers of up to half a gigabyte into memory,
//! while what a server says here is bounded to four kilobytes.

mod address;
mod client;
mod cluster;
mod connection;
mod pool;
pub mod resp;
mod script;
mod standing;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;

pub use address::Address;
pub use client::Client;
pub use script::Script;
pub use standing::Standing;

/// How a Redis, or a cluster of them, is talked to.
#[derive(Clone, Debug)]
pub struct Options {
    /// Those to ask first, in this order; empty: `localhost:6379`.
    pub endpoints: Vec<Address>,
    /// TLS, unless it is spoken to in the clear.
    pub tls: Option<Arc<ClientConfig>>,
    /// The user; empty: the default one. Counts only with a password.
    pub username: String,
    /// The password; empty: none.
    pub password: String,
    /// The number of the database.
    pub database: u64,
    /// Most connections at once, over all workers. `None`: ten for each worker.
    pub most: Option<usize>,
    /// Connections kept open from a worker's first command on, over all workers.
    pub fewest: usize,
    /// To connect, TLS included.
    pub dial: Duration,
    /// To send a command.
    pub write: Duration,
    /// For the whole answer to one.
    pub read: Duration,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No connection, and nothing was sent.
    #[error("connect to {0}: {1}")]
    Connect(Arc<str>, #[source] io::Error),
    /// The connection broke.
    #[error("{0}: {1}")]
    Broken(Arc<str>, #[source] io::Error),
    /// It took too long.
    #[error("{0}: no answer in time")]
    TimedOut(Arc<str>),
    /// It did not answer others, and was not asked.
    #[error("{0}: it is not asked, since it did not answer before")]
    Down(Arc<str>),
    /// The server said no, in these words.
    #[error("{0}: {1}")]
    Refused(Arc<str>, Box<str>),
    /// No answer that Redis would give.
    #[error("{0}: not an answer of Redis's: {1}")]
    Strange(Arc<str>, resp::Malformed),
    /// The nodes of a cluster send a command from one to the other.
    #[error("{0}: sent on to other nodes too often")]
    Astray(Arc<str>),
}
