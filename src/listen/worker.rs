//! One worker thread: its runtime, its listeners, its connections.

use std::net::TcpListener;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use hyper::server::conn::{http1, http2};
use ipnet::IpNet;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::Observers;
use super::accept;
use super::alias::Aliases;
use super::client::{Entry, Observed, Watched, WatchedPoint, Worker};
use super::executor::Executor;
use super::life::{Expiry, Life, Limits, Phase};
use super::sweep::{Counts, Registry};
use crate::message::EntryPoint;
use crate::message::trace::Verbosity;
use crate::observe::{Gauge, Metrics};
use crate::settings;
use crate::table::Published;

/// Bytes per HTTP/2 stream, and per connection, that a client may send unasked.
const WINDOWS: (u32, u32) = (256 * 1024, 1024 * 1024);
/// Bytes that wait for the client's window, per HTTP/2 stream.
const SEND_BUFFER: usize = 64 * 1024;
/// Room for a whole head in hyper's buffer, on top of the head's limit.
const HEAD_ROOM: usize = 80 * 1024;
/// Fields of a head, when it has more than hyper takes by itself.
const MANY_FIELDS: usize = 513;

/// How far the end of an entry point has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    /// It does not accept yet: there is no table, or another process still does.
    Waiting,
    /// It accepts.
    Open,
    /// Another process accepts. Connections end with their next answer, not before.
    Leaving,
    /// It does not; what is in flight goes on.
    Draining,
    /// WebSockets are told goodbye.
    Goodbye,
    /// What is left is cut.
    Cut,
}

/// What all workers share of one entry point.
pub(super) struct Shared {
    pub(super) entry_point: Arc<EntryPoint>,
    pub(super) settings: settings::EntryPoint,
    pub(super) proxy: Option<Box<[IpNet]>>,
    pub(super) open: Arc<AtomicUsize>,
    pub(super) gauge: Gauge,
}

impl Shared {
    /// `graceTimeOut`.
    pub(super) fn grace(&self) -> std::time::Duration {
        self.settings.transport.life_cycle.grace_time_out.or_zero()
    }
}

/// What a thread is started with.
pub(super) struct Setup {
    pub(super) index: usize,
    pub(super) entries: Arc<[Shared]>,
    /// With the index of their entry point.
    pub(super) listeners: Vec<(usize, TcpListener)>,
    pub(super) published: Arc<Published>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) observers: watch::Receiver<Arc<Observers>>,
    pub(super) host_resolver: Option<settings::HostResolver>,
    pub(super) total: Arc<AtomicUsize>,
    pub(super) max_connections: usize,
    pub(super) stages: watch::Receiver<Box<[Stage]>>,
    /// Closed when the thread is done.
    pub(super) done: mpsc::Sender<()>,
}

/// Runs a worker to its end.
pub(super) fn run(setup: Setup) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(tokio::runtime::LocalOptions::default());
    match runtime {
        Ok(runtime) => runtime.block_on(work(setup)),
        Err(error) => tracing::error!(%error, "start a worker's runtime"),
    }
}

async fn work(mut setup: Setup) {
    let registry = Registry::here();
    let worker = Rc::new(Worker {
        index: setup.index,
        published: Arc::clone(&setup.published),
        metrics: Arc::clone(&setup.metrics),
        watched: watched(&setup, &setup.observers.borrow()).into(),
        aliases: Aliases::of(setup.host_resolver.as_ref()),
        registry: Rc::clone(&registry),
        max_connections: setup.max_connections,
    });
    let entries = setup.entries.iter();
    let entries: Vec<_> =
        entries.map(|shared| Rc::new(entry(&worker, shared, &setup.total))).collect();
    let doors: Vec<_> = entries.iter().map(|_| Door::default()).collect();
    for (index, listener) in setup.listeners.drain(..) {
        let (Some(entry), Some(door)) = (entries.get(index), doors.get(index)) else { continue };
        match tokio::net::TcpListener::from_std(listener) {
            Ok(listener) => {
                let (entry, Door { open, close }) = (Rc::clone(entry), door.clone());
                let accepting = async move {
                    if close.run_until_cancelled(open.cancelled()).await.is_some() {
                        accept::accept(listener, entry, close).await;
                    }
                };
                drop(tokio::task::spawn_local(accepting));
            }
            Err(error) => tracing::error!(%error, "listen"),
        }
    }
    drop(tokio::task::spawn_local(Rc::clone(&registry).sweep()));
    let mut observers = setup.observers.clone();
    let watching = async {
        // Nothing changes any more once the sender has gone.
        while observers.changed().await.is_ok() {
            let now = watched(&setup, &observers.borrow_and_update());
            *worker.watched.borrow_mut() = now;
        }
        std::future::pending::<()>().await;
    };
    let mut stages = setup.stages.clone();
    tokio::select! {
        () = watching => {}
        () = follow(&mut stages, &registry, &doors) => {}
    }
    drop(setup.done);
}

/// How requests are observed from now on.
fn watched(setup: &Setup, observers: &Observers) -> Rc<Watched> {
    let points = setup.entries.iter().map(|shared| {
        let name = &*shared.entry_point.name;
        let settings = observers.settings.entry_points.get(name).unwrap_or(&shared.settings);
        WatchedPoint { requests: setup.metrics.entry_point(name), observed: observed(settings) }
    });
    Rc::new(Watched {
        access_log: observers.access_log.clone(),
        tracing: observers.tracing.clone(),
        needs_headers: setup.metrics.needs_headers(),
        points: points.collect(),
    })
}

/// When the sockets of an entry point are accepted on.
#[derive(Clone, Default)]
struct Door {
    open: CancellationToken,
    close: CancellationToken,
}

/// Brings the connections along from stage to stage, until all entry points are cut.
async fn follow(stages: &mut watch::Receiver<Box<[Stage]>>, registry: &Registry, doors: &[Door]) {
    let mut seen = vec![Stage::Waiting; doors.len()];
    loop {
        let now = stages.borrow_and_update().clone();
        for (index, (stage, seen)) in now.iter().zip(&mut seen).enumerate() {
            if stage == seen {
                continue;
            }
            *seen = *stage;
            if let Some(door) = doors.get(index) {
                door.open.cancel();
                if *stage > Stage::Open {
                    door.close.cancel();
                }
            }
            registry.each(index, |life| tell(life, *stage));
        }
        if seen.iter().all(|stage| *stage == Stage::Cut) || stages.changed().await.is_err() {
            return;
        }
    }
}

fn tell(life: &Life, stage: Stage) {
    // HTTP/2 has a way to say so in the middle: no request is lost by it.
    let says_so = stage == Stage::Leaving && life.phase() == Phase::Streams;
    life.leaving.set(stage >= Stage::Leaving);
    life.draining.set(stage > Stage::Leaving || says_so);
    life.goodbye.set(stage == Stage::Goodbye && life.websocket.get());
    if stage == Stage::Cut {
        life.expired.set(Some(Expiry::Close));
    }
}

/// The largest table for the fields of a connection's requests: each client may fill one.
const TABLE_LIMIT: u32 = 64 * 1024;

fn observed(settings: &settings::EntryPoint) -> Observed {
    let said = settings.observability.clone().unwrap_or_default();
    // There is nothing inside to tell of, so that there are no details.
    let tracing = if said.tracing { Verbosity::Minimal } else { Verbosity::Off };
    Observed { counted: said.metrics, access_log: said.access_logs, tracing }
}

fn entry(worker: &Rc<Worker>, shared: &Shared, total: &Arc<AtomicUsize>) -> Entry {
    let settings = &shared.settings;
    let head_limit = usize::try_from(settings.http.max_header_bytes)
        .ok()
        .filter(|bytes| *bytes > 0)
        .unwrap_or(1_048_576);
    let mut http1 = http1::Builder::new();
    http1
        .half_close(false)
        .keep_alive(true)
        .title_case_headers(true)
        .header_read_timeout(None)
        .max_buf_size(head_limit + HEAD_ROOM);
    let mut many = http1.clone();
    many.max_headers(MANY_FIELDS);
    let mut http2 = http2::Builder::new(Executor);
    http2
        .max_concurrent_streams(settings.http2.max_concurrent_streams)
        .header_table_size(settings.http2.max_decoder_header_table_size.min(TABLE_LIMIT))
        .initial_stream_window_size(WINDOWS.0)
        .initial_connection_window_size(WINDOWS.1)
        .max_send_buf_size(SEND_BUFFER)
        .max_header_list_size(u32::try_from(head_limit).unwrap_or(u32::MAX));
    let transport = &settings.transport;
    Entry {
        worker: Rc::clone(worker),
        point: Arc::clone(&shared.entry_point),
        counts: Rc::new(Counts {
            total: Arc::clone(total),
            entry_point: Arc::clone(&shared.open),
            gauge: shared.gauge.clone(),
        }),
        limits: Rc::new(Limits::new(&transport.responding_timeouts)),
        head_limit,
        http1: (http1, many),
        http2,
        max_requests: Some(transport.keep_alive_max_requests).filter(|max| *max > 0),
        max_time: transport.keep_alive_max_time.positive(),
        proxy: shared.proxy.clone(),
    }
}
