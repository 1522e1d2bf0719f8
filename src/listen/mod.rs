//! Accept, TLS, protocol choice, connection life. Must never know middlewares.

mod accept;
mod alias;
mod body;
mod client;
mod connection;
mod entry;
mod executor;
mod guard;
mod handshake;
mod life;
mod limit;
mod proxy_protocol;
mod record;
mod refusal;
mod rest;
mod serve;
mod socket;
mod stream;
mod sweep;
mod worker;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use self::socket::Sharing;
use self::worker::{Shared, Stage};

use crate::message::EntryPoint;
use crate::message::trace::Policy;
use crate::observe::{AccessLog, Metrics};
use crate::settings::Settings;
use crate::table::Published;

pub use alias::check as check_aliases;
pub use entry::entry_points;

/// Bytes of a worker's stack: room for [`crate::middleware::LONGEST`] steps around each other.
/// Only what is used takes memory.
const STACK: usize = 16 << 20;
/// For idle connections to have one last answer, of `graceTimeOut`.
const PARTING: Duration = Duration::from_secs(1);
/// How long a WebSocket may take to answer a goodbye.
const GOODBYE: Duration = Duration::from_secs(1);
/// How long threads may take to let go of what was cut.
const LAST: Duration = Duration::from_secs(5);
/// Between two looks at how many connections are left.
const LOOK: Duration = Duration::from_millis(10);

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
    /// How requests are observed.
    pub observers: Observers,
    /// Sockets of a process that is to be followed, by entry point; `None` at a first start.
    pub handed: Option<Handed>,
}

/// How requests are observed. It may change while workers run: requests that have begun end as
/// they began.
pub struct Observers {
    /// What the entry points say.
    pub settings: Arc<Settings>,
    /// The access log.
    pub access_log: Option<Arc<AccessLog>>,
    /// How requests are traced.
    pub tracing: Option<Arc<Policy>>,
}

impl WorkersConfig {
    /// What may be this entry point's: it can have had another name.
    fn handed(&self, name: &str, address: SocketAddr) -> Vec<TcpListener> {
        let all = self.handed.iter().flatten();
        let mine = all.filter(|(other, _)| address.port() != 0 || *other == name);
        mine.flat_map(|(_, sockets)| sockets).filter_map(|one| one.try_clone().ok()).collect()
    }
}

/// Listening sockets by the name of their entry point.
pub type Handed = BTreeMap<String, Vec<TcpListener>>;

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
pub struct Workers {
    addresses: Vec<SocketAddr>,
    /// Each entry point's sockets once more, for a process that follows. Let go of when
    /// nothing is accepted any more: a client in the queue of an open one would wait for ever.
    sockets: RefCell<Vec<Vec<TcpListener>>>,
    entries: Arc<[Shared]>,
    stages: watch::Sender<Box<[Stage]>>,
    observers: watch::Sender<Arc<Observers>>,
    done: mpsc::Receiver<()>,
    threads: Vec<JoinHandle<()>>,
}

impl Workers {
    /// Opens all sockets, then starts the threads. Nothing listens when one fails, and nothing
    /// is accepted before [`Workers::open`]: clients wait in the kernel's queue rather than
    /// being told that nothing is there.
    pub fn start(config: WorkersConfig) -> Result<Self, StartError> {
        let workers = config.workers.max(1);
        let entries = config
            .entry_points
            .iter()
            .map(|entry_point| shared(&config, entry_point))
            .collect::<Result<Arc<[Shared]>, _>>()?;
        let mut rows: Vec<Vec<(usize, TcpListener)>> = (0..workers).map(|_| Vec::new()).collect();
        let (mut addresses, mut sockets) = (Vec::new(), Vec::new());
        for (index, shared) in entries.iter().enumerate() {
            let name = &shared.entry_point.name;
            let address = entry::address(name, &shared.settings.address)?;
            let sharing = if shared.settings.reuse_port { Sharing::Yes } else { Sharing::No };
            let opened =
                socket::open(name, address, workers, sharing, config.handed(name, address))?;
            sockets.push(opened.iter().filter_map(|one| one.try_clone().ok()).collect());
            let bound = opened.first().and_then(|listener| listener.local_addr().ok());
            addresses.push(bound.unwrap_or(address));
            for (turn, listener) in opened.into_iter().enumerate() {
                if let Some(row) = rows.get_mut(turn % workers) {
                    row.push((index, listener));
                }
            }
        }
        // The entry point `traefik` says from the start what is going on.
        let is_open = |shared: &Shared| config.handed.is_none() && shared.entry_point.is_admin;
        let first = |shared| if is_open(shared) { Stage::Open } else { Stage::Waiting };
        let (stages, follower) = watch::channel(entries.iter().map(first).collect());
        let (sender, done) = mpsc::channel(1);
        let total = Arc::new(AtomicUsize::new(0));
        let sockets = RefCell::new(sockets);
        let max_connections = limit::connections(&config.settings);
        let (observers, observed) = watch::channel(Arc::new(config.observers));
        let threads = Vec::new();
        let mut this = Self { addresses, sockets, entries, stages, observers, done, threads };
        for (index, listeners) in rows.into_iter().enumerate() {
            let setup = worker::Setup {
                index,
                entries: Arc::clone(&this.entries),
                listeners,
                published: Arc::clone(&config.published),
                metrics: Arc::clone(&config.metrics),
                observers: observed.clone(),
                host_resolver: config.settings.host_resolver.clone(),
                total: Arc::clone(&total),
                max_connections,
                stages: follower.clone(),
                done: sender.clone(),
            };
            let thread = std::thread::Builder::new()
                .name(format!("worker-{index}"))
                .stack_size(STACK)
                .spawn(move || worker::run(setup))
                .map_err(StartError::Thread)?;
            this.threads.push(thread);
        }
        Ok(this)
    }

    /// The bound address of each entry point, by index.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Observes requests that begin from now on like this, and counts them by what the metrics
    /// say now.
    pub fn observe(&self, observers: Observers) {
        // Nobody receives it any more when everything ends.
        let _ = self.observers.send(Arc::new(observers));
    }

    /// Begins to accept.
    pub fn open(&self) {
        for index in 0..self.entries.len() {
            self.advance(index, Stage::Open);
        }
    }

    /// The listening sockets, for a process that follows.
    ///
    /// # Errors
    /// No more files can be opened.
    pub fn sockets(&self) -> std::io::Result<Handed> {
        let copied = |(shared, sockets): (&Shared, &Vec<TcpListener>)| {
            let copies: std::io::Result<_> = sockets.iter().map(TcpListener::try_clone).collect();
            Ok((shared.entry_point.name.to_string(), copies?))
        };
        self.entries.iter().zip(&*self.sockets.borrow()).map(copied).collect()
    }

    /// Leaves new connections to the process that has the same sockets. Those here end with
    /// their next answer; what is still there after `limit` ends as in [`Workers::drain`].
    pub async fn leave(&mut self, limit: Duration) {
        let ends = (0..self.entries.len()).map(|index| self.leave_one(index, limit));
        futures_util::future::join_all(ends).await;
        self.stop().await;
    }

    async fn leave_one(&self, index: usize, limit: Duration) {
        let Some(shared) = self.entries.get(index) else { return };
        self.advance(index, Stage::Leaving);
        empty(shared, limit).await;
        self.end(index, shared.grace()).await;
    }

    /// Each entry point by its own life cycle: goes on accepting for
    /// `requestAcceptGraceTimeout`, closes the listener, finishes what is in flight within
    /// `graceTimeOut`, says goodbye to WebSockets, cuts the rest. Returns when all threads
    /// have ended.
    pub async fn drain(&mut self) {
        let ends = (0..self.entries.len()).map(|index| self.drain_one(index));
        futures_util::future::join_all(ends).await;
        self.stop().await;
    }

    /// Cuts everything at once and waits for the threads.
    pub async fn stop(&mut self) {
        for index in 0..self.entries.len() {
            self.advance(index, Stage::Cut);
        }
        // Nothing is ever sent: the channel closes when the last thread lets go of it.
        let _ = tokio::time::timeout(LAST, self.done.recv()).await;
        // A thread's runtime waits for what it can't cut, such as a look-up of a name.
        let ended = async {
            while self.threads.iter().any(|thread| !thread.is_finished()) {
                tokio::time::sleep(LOOK).await;
            }
        };
        let _ = tokio::time::timeout(LAST, ended).await;
        for thread in self.threads.drain(..).filter(JoinHandle::is_finished) {
            // A thread that panicked has said so itself.
            let _ = thread.join();
        }
    }

    async fn drain_one(&self, index: usize) {
        let Some(shared) = self.entries.get(index) else { return };
        let life_cycle = &shared.settings.transport.life_cycle;
        let name = &*shared.entry_point.name;
        if let Some(grace) = life_cycle.request_accept_grace_timeout.positive() {
            tracing::info!(entry_point = name, "waiting {grace:?} for incoming requests to cease");
            tokio::time::sleep(grace).await;
        }
        // A kept connection that is closed at once may cost the request that its client is
        // just sending; told with an answer, the client opens another.
        let grace = shared.grace();
        let parting = grace.min(PARTING);
        self.advance(index, Stage::Leaving);
        empty(shared, parting).await;
        self.end(index, grace.saturating_sub(parting)).await;
    }

    /// Finishes what is in flight within `grace`, says goodbye, cuts.
    async fn end(&self, index: usize, grace: Duration) {
        let Some(shared) = self.entries.get(index) else { return };
        self.advance(index, Stage::Draining);
        empty(shared, grace).await;
        self.advance(index, Stage::Goodbye);
        empty(shared, GOODBYE).await;
        self.advance(index, Stage::Cut);
    }

    fn advance(&self, index: usize, stage: Stage) {
        if stage > Stage::Open
            && let Some(sockets) = self.sockets.borrow_mut().get_mut(index)
        {
            sockets.clear();
        }
        self.stages.send_if_modified(|stages| {
            let Some(place) = stages.get_mut(index).filter(|place| **place < stage) else {
                return false;
            };
            *place = stage;
            true
        });
    }
}

/// Waits for an entry point's last connection to end, for so long at most.
async fn empty(shared: &Shared, limit: Duration) {
    let emptied = async {
        // A new connection may be on its way from the kernel: look twice.
        let mut looks = 0;
        while looks < 2 {
            tokio::time::sleep(LOOK).await;
            looks = if shared.open.load(Ordering::Relaxed) == 0 { looks + 1 } else { 0 };
        }
    };
    let _ = tokio::time::timeout(limit, emptied).await;
}

fn shared(config: &WorkersConfig, entry_point: &Arc<EntryPoint>) -> Result<Shared, StartError> {
    let name = &entry_point.name;
    let settings = config.settings.entry_points.get(&**name).cloned().unwrap_or_default();
    let proxy = match &settings.proxy_protocol {
        None => Some(Box::default()),
        Some(proxy) if proxy.insecure => None,
        Some(proxy) => Some(entry::nets(name, "proxyProtocol.trustedIPs", &proxy.trusted_ips)?),
    };
    Ok(Shared {
        entry_point: Arc::clone(entry_point),
        settings,
        proxy,
        open: Arc::new(AtomicUsize::new(0)),
        gauge: config.metrics.open_connections(name),
    })
}
