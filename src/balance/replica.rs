//! A running server: what it is and how it is doing. All inputs come together in
//! [`Inputs::judge`]; requests read one atomic.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::group::Group;
use super::settings::{PassiveSettings, ServerSettings};
use super::sticky::Marks;
use crate::upstream::Server;

/// A container without HEALTHCHECK that nothing answers on counts as ready after this:
/// better a 502 with a cause than silence.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// Connect failures within [`TROUBLE_WINDOW`] that take a server out until a probe connects.
const TROUBLE_LIMIT: usize = 3;
const TROUBLE_WINDOW: Duration = Duration::from_secs(10);

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
    /// Its container is paused.
    Paused,
    /// Its container does not run.
    Gone,
}

impl ReplicaState {
    const ALL: [Self; 6] =
        [Self::Starting, Self::Ready, Self::Draining, Self::Unhealthy, Self::Paused, Self::Gone];

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

    fn from_byte(byte: u8) -> Self {
        Self::ALL.into_iter().find(|state| *state as u8 == byte).unwrap_or(Self::Gone)
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
    pub(super) server: Server,
    pub(super) marks: Marks,
    has_health_check: bool,
    state: AtomicU8,
    inputs: Mutex<Inputs>,
    has_failures: AtomicBool,
    in_flight: AtomicU32,
    requests: AtomicU64,
    errors: AtomicU64,
    group: Weak<Group>,
}

/// All that is known of a replica's health.
#[derive(Clone, Debug)]
struct Inputs {
    engine: EngineState,
    /// What the settings said last; only a change of it counts, since events are faster.
    declared: EngineState,
    /// Something answered a connect.
    accepts: bool,
    /// Waited for since then, while it does not accept.
    waited_since: Instant,
    /// Why the active check fails.
    unhealthy: Option<Arc<str>>,
    out: Out,
    failures: VecDeque<Instant>,
    /// It refused a connect while draining.
    refuses: bool,
    since: SystemTime,
    reason: Arc<str>,
}

/// Taken out by failed requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Out {
    No,
    /// Until a probe connects.
    UntilProbe,
    /// As `passiveHealthCheck` says.
    Until(Instant),
}

impl Inputs {
    fn judge(&self, has_health_check: bool, now: Instant) -> (ReplicaState, Arc<str>) {
        let silent = !self.accepts && now.duration_since(self.waited_since) >= PATIENCE;
        let waits = match self.engine {
            EngineState::Gone => return (ReplicaState::Gone, "its container does not run".into()),
            EngineState::Paused => return (ReplicaState::Paused, "its container is paused".into()),
            EngineState::Stopping => {
                return (ReplicaState::Draining, "its container was told to stop".into());
            }
            EngineState::Unhealthy => {
                return (ReplicaState::Unhealthy, "the container's HEALTHCHECK failed".into());
            }
            EngineState::Starting if has_health_check => {
                let why = "waiting for the container's HEALTHCHECK";
                return (ReplicaState::Starting, why.into());
            }
            EngineState::Starting | EngineState::Running => !self.accepts && !silent,
        };
        if waits {
            return (ReplicaState::Starting, "nothing answers on its port yet".into());
        }
        if let Some(why) = &self.unhealthy {
            return (ReplicaState::Unhealthy, Arc::clone(why));
        }
        match self.out {
            Out::UntilProbe => {
                let why = "three connects failed within 10 s; probing until one is answered";
                (ReplicaState::Unhealthy, why.into())
            }
            Out::Until(until) if until > now => {
                (ReplicaState::Unhealthy, "requests failed (passiveHealthCheck)".into())
            }
            Out::Until(_) | Out::No if silent => {
                let why =
                    "nothing has answered on its port for 30 s; counted as ready all the same";
                (ReplicaState::Ready, why.into())
            }
            Out::Until(_) | Out::No => (ReplicaState::Ready, "".into()),
        }
    }
}

impl Replica {
    pub(super) fn new(
        settings: &ServerSettings,
        server: Server,
        group: &Arc<Group>,
        carried: Option<&Arc<Replica>>,
    ) -> Arc<Self> {
        let container = settings.container.as_ref();
        let inputs = carried.map_or_else(|| Inputs::new(settings), |old| old.inputs().clone());
        let has_health_check = container.is_some_and(|container| container.has_health_check);
        let (state, _) = inputs.judge(has_health_check, Instant::now());
        Arc::new(Self {
            url: Arc::clone(&server.url),
            container: container.map(|container| Arc::clone(&container.id)),
            container_name: container.map(|container| Arc::clone(&container.name)),
            started: container.and_then(|container| container.started),
            marks: Marks::new(&settings.url, container.map(|container| &*container.id)),
            server,
            has_health_check,
            state: AtomicU8::new(state as u8),
            has_failures: AtomicBool::new(!inputs.failures.is_empty()),
            inputs: Mutex::new(inputs),
            in_flight: AtomicU32::new(0),
            requests: AtomicU64::new(carried.map_or(0, |old| old.requests())),
            errors: AtomicU64::new(carried.map_or(0, |old| old.errors())),
            group: Arc::downgrade(group),
        })
    }

    fn inputs(&self) -> std::sync::MutexGuard<'_, Inputs> {
        self.inputs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes an input and draws the conclusions. Never on the way of a request that
    /// goes well.
    fn change(&self, what: impl FnOnce(&mut Inputs)) {
        let before = self.state();
        let mut inputs = self.inputs();
        let refused = inputs.refuses;
        what(&mut inputs);
        let (state, reason) = inputs.judge(self.has_health_check, Instant::now());
        let is_news = state != before || inputs.reason != reason || inputs.refuses != refused;
        inputs.reason = Arc::clone(&reason);
        if state != before {
            inputs.since = SystemTime::now();
        }
        self.has_failures.store(!inputs.failures.is_empty(), Relaxed);
        self.state.store(state as u8, Relaxed);
        drop(inputs);
        let is_leaving = matches!(state, ReplicaState::Draining | ReplicaState::Gone);
        if is_leaving {
            self.server.retire();
        } else {
            self.server.restore();
        }
        let Some(group) = self.group.upgrade() else { return };
        if state != before {
            let service: &str = &group.name;
            let (from, to) = (before.as_str(), state.as_str());
            tracing::info!(service, server = %self.url, from, to, reason = %reason, "server");
        }
        if is_news {
            let took_requests = matches!(before, ReplicaState::Ready | ReplicaState::Draining);
            group.refresh(is_leaving && took_requests);
        }
    }

    /// The engine says so. Wakes requests that wait for it.
    pub fn set_engine(&self, state: EngineState) {
        self.change(|inputs| inputs.set_engine(state));
    }

    /// New settings say so: counts only where they said something else before, since the
    /// engine's events come sooner.
    pub(super) fn declare(&self, state: EngineState) {
        let is_new = std::mem::replace(&mut self.inputs().declared, state) != state;
        if is_new {
            self.set_engine(state);
        }
    }

    /// An active check's verdict: why it failed, or that it did not.
    pub(super) fn set_health(&self, unhealthy: Option<Arc<str>>) {
        self.change(|inputs| inputs.unhealthy = unhealthy);
    }

    /// A connect probe was answered.
    pub(super) fn connected(&self) {
        self.change(|inputs| {
            inputs.accepts = true;
            inputs.failures.clear();
            if inputs.out == Out::UntilProbe {
                inputs.out = Out::No;
            }
        });
    }

    /// Time went by: what waits for a moment may have reached it.
    pub(super) fn review(&self) {
        self.change(|_| ());
    }

    /// A request failed: a connect (true), or an answer that `passiveHealthCheck` counts.
    pub(super) fn request_failed(&self, is_connect: bool, passive: Option<&PassiveSettings>) {
        let (limit, window) = match passive {
            Some(passive) => (
                usize::try_from(passive.max_failed_attempts).unwrap_or(0).max(1),
                passive.failure_window,
            ),
            None if is_connect => (TROUBLE_LIMIT, TROUBLE_WINDOW),
            None => return,
        };
        self.change(|inputs| {
            let now = Instant::now();
            inputs.refuses |= is_connect && inputs.engine == EngineState::Stopping;
            inputs.failures.retain(|then| now.duration_since(*then) < window);
            inputs.failures.push_back(now);
            if inputs.failures.len() >= limit {
                inputs.failures.clear();
                inputs.out = match passive {
                    Some(_) => Out::Until(now + window),
                    None => Out::UntilProbe,
                };
            }
        });
    }

    /// A request was answered well: earlier failures are forgotten.
    pub(super) fn request_answered(&self) {
        if self.has_failures.load(Relaxed) {
            self.change(|inputs| inputs.failures.clear());
        }
    }

    /// A request is sent to it.
    pub(super) fn enter(&self) {
        self.requests.fetch_add(1, Relaxed);
        self.in_flight.fetch_add(1, Relaxed);
    }

    /// That request is over.
    pub(super) fn leave(&self, is_error: bool) {
        self.in_flight.fetch_sub(1, Relaxed);
        if is_error {
            self.errors.fetch_add(1, Relaxed);
        }
    }

    /// How it is doing.
    pub fn state(&self) -> ReplicaState {
        ReplicaState::from_byte(self.state.load(Relaxed))
    }

    /// Takes requests.
    pub fn is_ready(&self) -> bool {
        self.state.load(Relaxed) == ReplicaState::Ready as u8
    }

    /// Up by active checks: Traefik's `serverStatus`. Without checks always true.
    pub fn is_up(&self) -> bool {
        self.inputs().unhealthy.is_none()
    }

    /// Since when it is in that state.
    pub fn since(&self) -> SystemTime {
        self.inputs().since
    }

    /// Why it is in that state, in plain words; empty when there is nothing to say.
    pub fn reason(&self) -> Arc<str> {
        Arc::clone(&self.inputs().reason)
    }

    /// It is ready only for want of better knowledge; the reason says so.
    pub fn is_doubtful(&self) -> bool {
        self.is_ready() && !self.inputs().reason.is_empty()
    }

    /// Requests sent to it so far.
    pub fn requests(&self) -> u64 {
        self.requests.load(Relaxed)
    }

    /// Of those, answered with 5xx or not at all.
    pub fn errors(&self) -> u64 {
        self.errors.load(Relaxed)
    }

    /// Requests in flight.
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Relaxed)
    }

    /// Asked when nobody is ready: draining and not refusing yet, or out by connect
    /// failures, where a 502 tells more than a 503.
    pub(super) fn is_last_resort(&self) -> bool {
        let inputs = self.inputs();
        match self.state() {
            ReplicaState::Draining => !inputs.refuses,
            ReplicaState::Unhealthy => inputs.unhealthy.is_none() && inputs.out == Out::UntilProbe,
            ReplicaState::Starting
            | ReplicaState::Ready
            | ReplicaState::Paused
            | ReplicaState::Gone => false,
        }
    }

    /// Whether a connect probe is wanted, and since when.
    pub(super) fn wants_connect(&self) -> Option<Instant> {
        let inputs = self.inputs();
        let may_run = match inputs.engine {
            EngineState::Starting => !self.has_health_check,
            EngineState::Running => true,
            EngineState::Unhealthy
            | EngineState::Paused
            | EngineState::Stopping
            | EngineState::Gone => false,
        };
        let is_wanted = !inputs.accepts || inputs.out == Out::UntilProbe;
        (may_run && is_wanted).then_some(inputs.waited_since)
    }

    /// When it is to be reviewed without anything happening.
    pub(super) fn review_at(&self) -> Option<Instant> {
        match self.inputs().out {
            Out::Until(until) => Some(until).filter(|_| !self.is_ready()),
            Out::No | Out::UntilProbe => None,
        }
    }

    /// Active checks make no sense while its container does not run.
    pub(super) fn is_running(&self) -> bool {
        matches!(self.inputs().engine, EngineState::Starting | EngineState::Running)
    }

    /// From a container, which comes and goes; else written in a file.
    pub(super) fn is_container(&self) -> bool {
        self.container.is_some()
    }
}

impl Inputs {
    fn new(settings: &ServerSettings) -> Self {
        let container = settings.container.as_ref();
        let engine = container.map_or(EngineState::Running, |container| container.state);
        // A container that has run for a while accepts; one that was just started may be
        // listed as running before it does.
        let is_young = container.and_then(|container| container.started).is_some_and(|started| {
            SystemTime::now().duration_since(started).unwrap_or_default() < PATIENCE
        });
        let is_probed = container.is_some_and(|container| !container.has_health_check)
            && (engine != EngineState::Running || is_young);
        let mut new = Self {
            engine,
            declared: engine,
            accepts: !is_probed,
            waited_since: Instant::now(),
            unhealthy: None,
            out: Out::No,
            failures: VecDeque::new(),
            refuses: false,
            since: SystemTime::now(),
            reason: "".into(),
        };
        let has_health_check = container.is_some_and(|container| container.has_health_check);
        new.reason = new.judge(has_health_check, Instant::now()).1;
        new
    }

    fn set_engine(&mut self, state: EngineState) {
        let before = std::mem::replace(&mut self.engine, state);
        let had_stopped = matches!(before, EngineState::Stopping | EngineState::Gone);
        let runs = matches!(state, EngineState::Starting | EngineState::Running);
        if runs && had_stopped {
            // Started anew, or it outlived its stop signal: a probe tells.
            self.accepts = false;
            self.waited_since = Instant::now();
            self.out = Out::No;
            self.failures.clear();
            self.refuses = false;
        }
        if matches!(state, EngineState::Gone) {
            self.unhealthy = None;
        }
    }
}
