//! Active health checks and connect probes: one task on the control thread, with a heap of
//! what is due when.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use futures_util::future::LocalBoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::deploying::Deploying;
use super::health::PATIENCE;
use super::outlier::{self, Record};
use super::replica::Replica;
use super::settings::HealthCheckSettings;
use super::state::ReplicaState;
use super::{Service, group, probe};
use crate::observe::{Gauge, Metrics, ServerState};
use crate::upstream::Transport;

/// For one connect probe.
const CONNECT_LIMIT: Duration = Duration::from_secs(1);
/// Between connect probes: first, at most, and of servers that nobody waits for any more.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LAST_PAUSE: Duration = Duration::from_millis(250);
const LONG_PAUSE: Duration = Duration::from_secs(1);
/// Between active checks of a server that starts, at first.
const FIRST_CHECK: Duration = Duration::from_millis(50);

/// Where the checks find what to check.
pub trait Source {
    /// All services now.
    fn services(&self) -> Vec<Arc<Service>>;
    /// Wakes when services or states changed.
    fn subscribe(&self) -> watch::Receiver<u64>;
    /// A replica's state changed.
    fn touch(&self);
}

/// Probes until cancelled. Must run within a local runtime.
pub async fn run(source: impl Source, metrics: Arc<Metrics>, token: CancellationToken) {
    let mut published = source.subscribe();
    let mut states = group::changes();
    let mut checks = Checks::new(metrics);
    checks.refresh(&source.services());
    let mut looks = interval_at(Instant::now() + outlier::TICK, outlier::TICK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let due = checks.next_due();
        // All branches may be dropped: the heap and the running probes are kept outside.
        tokio::select! {
            biased;
            () = token.cancelled() => return,
            Some(outcome) = checks.running.next(), if !checks.running.is_empty() => {
                checks.conclude(outcome);
            }
            Ok(()) = states.changed() => {
                checks.refresh(&source.services());
                source.touch();
            }
            Ok(()) = published.changed() => checks.refresh(&source.services()),
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                checks.start_due();
            }
            _ = looks.tick(), if checks.has_looks() => checks.look(),
        }
    }
}

/// What there is to do about a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Task {
    /// See whether a connect is answered.
    Connect,
    /// The active check of its settings.
    Probe,
    /// Time alone changes its state.
    Review,
}

struct Outcome {
    id: u64,
    task: Task,
    verdict: Result<(), String>,
}

struct Watched {
    replica: Arc<Replica>,
    service: Arc<str>,
    check: Option<Check>,
    /// Pause before the next connect probe; `None`: none is planned.
    connect: Option<Duration>,
    review: Option<Instant>,
    record: Record,
    ejections: Arc<AtomicU64>,
    shown: ServerState,
}

struct Check {
    settings: HealthCheckSettings,
    transport: Arc<Transport>,
    up: Gauge,
    is_up: bool,
    /// The pause before the next one while its server starts; grows.
    first: Duration,
    /// When the next one is planned; a heap entry for another moment is of older settings.
    due: Instant,
}

struct Checks {
    metrics: Arc<Metrics>,
    watched: HashMap<u64, Watched>,
    /// Ids by replica cell.
    ids: HashMap<*const Replica, u64>,
    last_id: u64,
    /// Services whose servers are compared with each other, and their servers' ids.
    compared: Vec<(Arc<Service>, Vec<u64>)>,
    /// Services whose servers are of generations that can be told apart.
    deploying: Vec<Deploying>,
    due: BinaryHeap<Reverse<(Instant, u64, Task)>>,
    running: FuturesUnordered<LocalBoxFuture<'static, Outcome>>,
}

impl Checks {
    fn new(metrics: Arc<Metrics>) -> Self {
        Self {
            metrics,
            watched: HashMap::new(),
            ids: HashMap::new(),
            last_id: 0,
            compared: Vec::new(),
            deploying: Vec::new(),
            due: BinaryHeap::new(),
            running: FuturesUnordered::new(),
        }
    }

    fn next_due(&self) -> Option<Instant> {
        self.due.peek().map(|Reverse((at, _, _))| *at)
    }

    /// Takes up what is new, lets go of what is gone, plans what is wanted now.
    fn refresh(&mut self, services: &[Arc<Service>]) {
        let mut seen = HashMap::with_capacity(self.ids.len());
        self.compared.clear();
        for service in services {
            let mut ids = Vec::new();
            for replica in service.replicas() {
                let id = self.ids.get(&Arc::as_ptr(replica)).copied().unwrap_or_else(|| {
                    self.last_id += 1;
                    self.last_id
                });
                seen.insert(Arc::as_ptr(replica), id);
                self.take_up(id, service, replica);
                self.plan(id);
                ids.push(id);
            }
            if service.watches_outliers() {
                self.compared.push((Arc::clone(service), ids));
            }
        }
        let deploying = services.iter().filter(|service| service.has_generations());
        self.deploying = deploying.map(|service| Deploying::new(service, &self.metrics)).collect();
        self.watched.retain(|_, watched| seen.contains_key(&Arc::as_ptr(&watched.replica)));
        self.ids = seen;
    }

    fn take_up(&mut self, id: u64, service: &Arc<Service>, replica: &Arc<Replica>) {
        let watched = self.watched.entry(id).or_insert_with(|| Watched {
            replica: Arc::clone(replica),
            service: Arc::clone(&service.name),
            check: None,
            connect: None,
            review: None,
            record: Record::default(),
            ejections: self.metrics.ejections(&service.name),
            shown: self.metrics.server_state(&service.name, &replica.url),
        });
        watched.shown.set(replica.state().as_str(), replica.since());
        let Some((settings, transport)) = service.health_check() else {
            watched.check = None;
            return;
        };
        if watched.check.as_ref().is_some_and(|check| check.settings == *settings) {
            return;
        }
        let up = self.metrics.server_up(&service.name, &replica.url);
        let is_up = replica.is_up();
        up.set(i64::from(is_up));
        let transport = Arc::clone(transport);
        // As Traefik: servers start up, and the first probe comes one interval later.
        let due = Instant::now() + interval(settings);
        let first = FIRST_CHECK;
        watched.check =
            Some(Check { settings: settings.clone(), transport, up, is_up, first, due });
        self.due.push(Reverse((due, id, Task::Probe)));
    }

    fn plan(&mut self, id: u64) {
        let Some(watched) = self.watched.get_mut(&id) else { return };
        if watched.connect.is_none() && watched.replica.wants_connect().is_some() {
            watched.connect = Some(FIRST_PAUSE);
            self.due.push(Reverse((Instant::now(), id, Task::Connect)));
        }
        // A server that starts is asked at once, and not one interval later.
        if let Some(check) = &mut watched.check
            && watched.replica.awaits_check()
            && check.due > Instant::now() + LONG_PAUSE
        {
            (check.due, check.first) = (Instant::now(), FIRST_CHECK);
            self.due.push(Reverse((check.due, id, Task::Probe)));
        }
        let review = watched.replica.review_at();
        if review != watched.review {
            watched.review = review;
            if let Some(at) = review {
                self.due.push(Reverse((at, id, Task::Review)));
            }
        }
    }

    fn start_due(&mut self) {
        let now = Instant::now();
        while self.next_due().is_some_and(|due| due <= now) {
            if let Some(Reverse((at, id, task))) = self.due.pop() {
                self.start(id, task, at);
            }
        }
    }

    fn start(&mut self, id: u64, task: Task, at: Instant) {
        let Some(watched) = self.watched.get_mut(&id) else { return };
        let replica = Arc::clone(&watched.replica);
        let outcome = move |verdict| Outcome { id, task, verdict };
        match (task, watched.check.as_mut().filter(|check| check.due == at)) {
            (Task::Review, _) => replica.review(),
            (Task::Connect, _) => self.running.push(Box::pin(async move {
                let dialed = timeout(CONNECT_LIMIT, replica.server.probe()).await;
                outcome(match dialed {
                    Ok(Ok(())) => Ok(()),
                    Ok(Err(error)) => Err(error.to_string()),
                    Err(_) => Err("no answer".to_owned()),
                })
            })),
            (Task::Probe, Some(check)) if replica.is_running() => {
                let (settings, transport) = (check.settings.clone(), Arc::clone(&check.transport));
                self.running.push(Box::pin(async move {
                    outcome(probe::probe(&replica.url, &transport, &settings).await)
                }));
            }
            (Task::Probe, Some(check)) => {
                check.due = Instant::now() + interval(&check.settings);
                self.due.push(Reverse((check.due, id, Task::Probe)));
            }
            (Task::Probe, None) => {}
        }
    }

    fn conclude(&mut self, Outcome { id, task, verdict }: Outcome) {
        let Some(watched) = self.watched.get_mut(&id) else { return };
        let next = match task {
            Task::Connect => watched.connected(&verdict),
            Task::Probe => watched.probed(verdict),
            Task::Review => None,
        };
        let Some(pause) = next else { return };
        let at = Instant::now() + pause;
        if let (Task::Probe, Some(check)) = (task, &mut watched.check) {
            check.due = at;
        }
        self.due.push(Reverse((at, id, task)));
    }
}

impl Checks {
    fn has_looks(&self) -> bool {
        !self.compared.is_empty() || !self.deploying.is_empty()
    }

    /// Looks at what was counted since the last time.
    fn look(&mut self) {
        for deploying in &self.deploying {
            deploying.look(Instant::now());
        }
        self.compare();
    }

    /// Takes servers out that fail where the others of their service do not.
    fn compare(&mut self) {
        for (service, ids) in &self.compared {
            let mut samples = Vec::with_capacity(ids.len());
            for id in ids {
                let Some(watched) = self.watched.get_mut(id) else { continue };
                let replica = &watched.replica;
                let (requests, errors) = (replica.requests(), replica.errors());
                let sample = watched.record.look(requests, errors, replica.trips());
                if replica.state() == ReplicaState::Ready {
                    samples.push((*id, service.is_apart(replica), sample));
                }
            }
            let is_even = service.spreads_evenly();
            for (id, side, own) in &samples {
                // Whether a generation fails as a whole is not for this to say.
                let others = samples.iter().filter(|(other, of, _)| other != id && of == side);
                let others: Vec<_> = others.map(|(_, _, sample)| *sample).collect();
                let own = if is_even { *own } else { own.trips_alone() };
                let Some(why) = outlier::verdict(own, &others) else { continue };
                if let Some(watched) = self.watched.get_mut(id) {
                    watched.eject(service, why);
                }
            }
        }
    }
}

impl Watched {
    /// Takes the server out for a time, if its service can do without.
    fn eject(&mut self, service: &Service, why: String) {
        let now = Instant::now();
        let until = self.record.until(now);
        if service.eject(&self.replica, until, why.into()) {
            self.record.out(now);
            self.ejections.fetch_add(1, Relaxed);
        }
    }

    /// The pause before the next connect probe, if one is wanted.
    fn connected(&mut self, verdict: &Result<(), String>) -> Option<Duration> {
        let Some(since) = self.replica.wants_connect() else {
            self.connect = None;
            return None;
        };
        if self.replica.state() == ReplicaState::Draining {
            if verdict.is_err() {
                self.replica.request_failed(true, None);
                self.connect = None;
                return None;
            }
        } else if verdict.is_ok() {
            self.connect = None;
            self.replica.connected();
            return None;
        }
        let is_late = since.elapsed() >= PATIENCE;
        if is_late {
            self.replica.review();
        }
        let pause = self.connect.unwrap_or(FIRST_PAUSE);
        self.connect = Some((pause * 2).min(LAST_PAUSE));
        Some(if is_late { LONG_PAUSE } else { pause })
    }

    /// The pause before the next active check, if there is one.
    fn probed(&mut self, verdict: Result<(), String>) -> Option<Duration> {
        let check = self.check.as_mut()?;
        let is_up = verdict.is_ok();
        let is_news = is_up != check.is_up;
        check.is_up = is_up;
        check.up.set(i64::from(is_up));
        let settings = &check.settings;
        let mut pause = if is_up { interval(settings) } else { unhealthy_interval(settings) };
        if !is_up && self.replica.awaits_check() {
            pause = pause.min(check.first);
            check.first = (check.first * 2).min(LONG_PAUSE);
            // What it says counts when it was waited for long enough.
            self.replica.set_health(verdict.err().map(|why| format!("health check: {why}").into()));
            if self.replica.awaits_check() {
                check.is_up = true;
                check.up.set(1);
            }
            return Some(pause);
        }
        match verdict {
            Ok(()) if is_news || self.replica.awaits_check() => self.replica.set_health(None),
            Ok(()) => {}
            Err(why) => {
                if is_news {
                    let (service, server) = (&*self.service, &*self.replica.url);
                    tracing::warn!(service, server, error = why, "Health check failed.");
                }
                self.replica.set_health(Some(format!("health check: {why}").into()));
            }
        }
        Some(pause)
    }
}

/// As Traefik: a useless interval means the default.
fn interval(settings: &HealthCheckSettings) -> Duration {
    if settings.interval.is_zero() { Duration::from_secs(30) } else { settings.interval }
}

fn unhealthy_interval(settings: &HealthCheckSettings) -> Duration {
    if settings.unhealthy_interval.is_zero() {
        interval(settings)
    } else {
        settings.unhealthy_interval
    }
}
