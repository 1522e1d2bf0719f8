//! What the request path needs to know of its worker, its entry point and its connection.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use hyper::server::conn::{http1, http2};
use ipnet::IpNet;

use super::alias::Aliases;
use super::executor::Executor;
use super::guard::Hints;
use super::life::{Life, Limits};
use super::sweep::{Counts, Registry};
use crate::message::trace::{Policy, Verbosity};
use crate::message::{Connection, EntryPoint, Informational};
use crate::observe::{AccessLog, Metrics, Requests};
use crate::table::Published;

/// One worker thread.
pub(super) struct Worker {
    pub(super) index: usize,
    pub(super) published: Arc<Published>,
    pub(super) metrics: Arc<Metrics>,
    /// How requests that begin now are observed.
    pub(super) watched: RefCell<Rc<Watched>>,
    /// What hosts are aliases of, where rules look at that too.
    pub(super) aliases: Option<Rc<Aliases>>,
    pub(super) registry: Rc<Registry>,
    pub(super) max_connections: usize,
}

impl Worker {
    /// How a request that begins now is observed, to its end.
    pub(super) fn watched(&self) -> Rc<Watched> {
        Rc::clone(&self.watched.borrow())
    }
}

/// How requests are observed; replaced as a whole when the settings change.
pub(super) struct Watched {
    pub(super) access_log: Option<Arc<AccessLog>>,
    pub(super) tracing: Option<Arc<Policy>>,
    /// Whether metrics need the requests' fields.
    pub(super) needs_headers: bool,
    /// By the entry points' index.
    pub(super) points: Vec<WatchedPoint>,
}

/// What is counted on an entry point, and observed of requests that no router wants.
pub(super) struct WatchedPoint {
    pub(super) requests: Requests,
    pub(super) observed: Observed,
}

impl Watched {
    /// Of requests that no router wants. There is no entry point that is not in the list.
    pub(super) fn observed(&self, entry_point: usize) -> Observed {
        let off = Observed { counted: false, access_log: false, tracing: Verbosity::Off };
        self.points.get(entry_point).map_or(off, |point| point.observed)
    }
}

/// One entry point on one worker.
pub(super) struct Entry {
    pub(super) worker: Rc<Worker>,
    pub(super) point: Arc<EntryPoint>,
    pub(super) counts: Rc<Counts>,
    pub(super) limits: Rc<Limits>,
    pub(super) head_limit: usize,
    /// For heads of up to a hundred fields, and for others.
    pub(super) http1: (http1::Builder, http1::Builder),
    pub(super) http2: http2::Builder<Executor>,
    /// Requests per connection.
    pub(super) max_requests: Option<u64>,
    /// Life of a connection.
    pub(super) max_time: Option<Duration>,
    /// Who may send a PROXY header; empty: nobody; `None`: anyone.
    pub(super) proxy: Option<Box<[IpNet]>>,
}

/// What is observed of requests that no router wants.
#[derive(Clone, Copy, Debug)]
pub(super) struct Observed {
    pub(super) counted: bool,
    pub(super) access_log: bool,
    pub(super) tracing: Verbosity,
}

/// One client connection.
pub(super) struct Client {
    pub(super) entry: Rc<Entry>,
    pub(super) connection: Rc<Connection>,
    pub(super) life: Rc<Life>,
    pub(super) tls_requests: Option<Arc<AtomicU64>>,
    pub(super) hints: Arc<Hints>,
    pub(super) interim: Informational,
}

impl Client {
    /// Whether the answer to the present request is the last on this connection.
    pub(super) fn is_used_up(&self) -> bool {
        let requests = self.connection.requests.get();
        self.life.leaving.get()
            || self.entry.max_requests.is_some_and(|max| requests >= max)
            || self.entry.max_time.is_some_and(|max| self.life.accepted.elapsed() >= max)
    }
}
