//! A running server: what it is and how it is doing. Requests read one atomic.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::SystemTime;

use tokio::time::Instant;

use super::group::Group;
use super::health::Inputs;
use super::settings::{PassiveSettings, ServerSettings};
use super::state::{Change, EngineState, ReplicaState};
use super::sticky::Marks;
use super::times::Times;
use crate::upstream::Server;

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
    /// How fast it answers; kept only where `leasttime` asks for it.
    pub(super) times: Times,
    has_health_check: bool,
    state: AtomicU8,
    inputs: Mutex<Inputs>,
    has_failures: AtomicBool,
    in_flight: AtomicU32,
    requests: AtomicU64,
    errors: AtomicU64,
    /// Those of this cell's own time that asked for its generation by themselves: that are
    /// over, and that failed.
    asked_for: AtomicU64,
    asked_for_errors: AtomicU64,
    /// Requests that were counted by the cell before this one.
    carried: u64,
    carried_errors: u64,
    group: Weak<Group>,
}

/// Requests that were sent, those of them that are over, and those of these that failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) requests: u64,
    pub(super) done: u64,
    pub(super) errors: u64,
    /// Of those that are over, the ones that asked for the generation by themselves.
    asked_for: u64,
    asked_for_errors: u64,
}

impl Tally {
    pub(super) fn plus(self, other: Self) -> Self {
        self.with(other, u64::saturating_add)
    }

    pub(super) fn minus(self, other: Self) -> Self {
        self.with(other, u64::saturating_sub)
    }

    fn with(self, other: Self, both: fn(u64, u64) -> u64) -> Self {
        Self {
            requests: both(self.requests, other.requests),
            done: both(self.done, other.done),
            errors: both(self.errors, other.errors),
            asked_for: both(self.asked_for, other.asked_for),
            asked_for_errors: both(self.asked_for_errors, other.asked_for_errors),
        }
    }

    /// Those that are over and were drawn, and those of them that failed: what a generation is
    /// judged by. A client that may choose it could make it fail.
    pub(super) fn drawn(self) -> (u64, u64) {
        let done = self.done.saturating_sub(self.asked_for);
        (done, self.errors.saturating_sub(self.asked_for_errors))
    }

    /// Nobody will hear of those that are still on their way.
    pub(super) fn all_done(self) -> Self {
        Self { done: self.requests, ..self }
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
            times: carried.map(|old| old.times.clone()).unwrap_or_default(),
            server,
            has_health_check,
            state: AtomicU8::new(state as u8),
            has_failures: AtomicBool::new(inputs.has_failures()),
            inputs: Mutex::new(inputs),
            in_flight: AtomicU32::new(0),
            requests: AtomicU64::new(carried.map_or(0, |old| old.requests())),
            carried: carried.map_or(0, |old| old.requests()),
            errors: AtomicU64::new(carried.map_or(0, |old| old.errors())),
            carried_errors: carried.map_or(0, |old| old.errors()),
            asked_for: AtomicU64::new(0),
            asked_for_errors: AtomicU64::new(0),
            group: Arc::downgrade(group),
        })
    }

    fn inputs(&self) -> std::sync::MutexGuard<'_, Inputs> {
        self.inputs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes an input and draws the conclusions. Never on the way of a request that
    /// goes well.
    fn change(&self, what: impl FnOnce(&mut Inputs)) {
        let turn = self.alter(what);
        let Some(group) = self.group.upgrade() else { return };
        if turn.is_news {
            group.refresh(turn.has_left());
        }
    }

    /// The same, without telling the others.
    fn alter(&self, what: impl FnOnce(&mut Inputs)) -> Turn {
        let now = Instant::now();
        let mut inputs = self.inputs();
        let before = self.state();
        let (refused, went_on) = (inputs.refuses(), inputs.goes_on());
        let was_asked = inputs.is_last_resort(before);
        what(&mut inputs);
        let (after, reason) = inputs.judge(self.has_health_check, now);
        let is_other = inputs.refuses() != refused || inputs.goes_on() != went_on;
        let is_news = after != before || inputs.reason != reason || is_other;
        inputs.reason = reason;
        let is_dark = self.is_container() && inputs.is_dark();
        let turned = (after != before).then(|| inputs.turned(before, after, now));
        self.has_failures.store(inputs.has_failures(), Relaxed);
        self.state.store(after as u8, Relaxed);
        if after.keeps_connections() {
            self.server.restore();
        } else {
            self.server.retire();
        }
        drop(inputs);
        if let Some(group) = self.group.upgrade()
            && let Some(reason) = turned
        {
            let service: &str = &group.name;
            let (from, to) = (before.as_str(), after.as_str());
            tracing::info!(service, server = %self.url, from, to, reason = %reason, "server");
        }
        Turn { before, after, was_asked, is_dark, is_news }
    }

    /// The engine says so. Wakes requests that wait for it.
    pub fn set_engine(&self, state: EngineState) {
        self.change(|inputs| inputs.set_engine(state));
    }

    /// Its address leads nowhere for now: its container was taken out of the network. What is
    /// on its way there is left alone.
    pub fn lose(&self) {
        self.set_engine(EngineState::Gone);
    }

    /// It can't be reached any more: ends what is on its way there.
    pub fn cut(&self) {
        self.server.cut();
    }

    /// Its address, unless it is written as a name.
    pub fn ip(&self) -> Option<IpAddr> {
        self.server.ip()
    }

    /// New settings say so: counts only where they said something else before, since the
    /// engine's events come sooner.
    pub(super) fn declare(&self, state: EngineState) {
        let is_new = self.inputs().declare(state);
        if is_new {
            self.set_engine(state);
        }
    }

    /// An active check is set up for it, or is not any more.
    pub(super) fn set_checked(&self, is_checked: bool) {
        self.change(|inputs| inputs.set_checked(is_checked));
    }

    /// It is not ready before its active check has passed.
    pub(super) fn awaits_check(&self) -> bool {
        self.inputs().awaits_check() && self.state() == ReplicaState::Starting
    }

    /// It is no member of its service any more. Its group knows.
    pub(super) fn remove(&self) {
        self.alter(Inputs::leave);
    }

    /// Others can do what this one was asked and can't be heard of.
    pub(super) fn set_silent(&self, is_silent: bool) {
        self.server.set_silent(is_silent);
    }

    /// Others can do what it is asked. A server of a file may be far away and slow to reach.
    pub(super) fn set_has_others(&self, has_others: bool) {
        self.server.set_has_others(has_others && self.is_container());
    }

    /// Takes it out until then; `None` brings it back. Its group does this, and knows.
    pub(super) fn eject(&self, until: Option<(Instant, Arc<str>)>) {
        self.alter(|inputs| inputs.eject(until));
    }

    /// When its time out is over.
    pub(super) fn ejected_until(&self) -> Option<Instant> {
        self.inputs().ejected_until()
    }

    /// How often failed connects took it out of late, though probes brought it back.
    pub(super) fn trips(&self) -> u32 {
        self.inputs().trips()
    }

    /// An active check's verdict: why it failed, or that it did not.
    pub(super) fn set_health(&self, unhealthy: Option<Arc<str>>) {
        self.change(|inputs| inputs.set_unhealthy(unhealthy));
    }

    /// A connect probe was answered.
    pub(super) fn connected(&self) {
        self.change(Inputs::connected);
    }

    /// Time went by: what waits for a moment may have reached it.
    pub(super) fn review(&self) {
        let turn = self.alter(Inputs::review);
        let Some(group) = self.group.upgrade() else { return };
        if turn.is_news || group.is_ramping() {
            group.refresh(turn.has_left());
        }
    }

    /// A request failed: a connect (true), or an answer that `passiveHealthCheck` counts.
    pub(super) fn request_failed(&self, is_connect: bool, passive: Option<&PassiveSettings>) {
        if is_connect || passive.is_some() {
            self.change(|inputs| inputs.failed(is_connect, passive));
        }
    }

    /// A request was answered well: earlier failures are forgotten.
    pub(super) fn request_answered(&self) {
        if self.has_failures.load(Relaxed) {
            self.change(Inputs::forgive);
        }
    }

    /// A request is sent to it.
    pub(super) fn enter(&self) {
        self.requests.fetch_add(1, Relaxed);
        self.in_flight.fetch_add(1, Relaxed);
    }

    /// That request is over; `is_asked_for`: it asked for the generation by itself.
    pub(super) fn leave(&self, is_error: bool, is_asked_for: bool) {
        self.in_flight.fetch_sub(1, Relaxed);
        if is_error {
            self.errors.fetch_add(1, Relaxed);
        }
        if is_asked_for {
            self.asked_for.fetch_add(1, Relaxed);
            self.asked_for_errors.fetch_add(u64::from(is_error), Relaxed);
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
        self.inputs().is_up()
    }

    /// Since when it is in that state.
    pub fn since(&self) -> SystemTime {
        self.inputs().since
    }

    /// Why it is in that state, in plain words; empty when there is nothing to say.
    pub fn reason(&self) -> Arc<str> {
        Arc::clone(&self.inputs().reason)
    }

    /// Its last changes of state, oldest first.
    pub fn changes(&self) -> Vec<Change> {
        self.inputs().changes.all()
    }

    /// Since when it is ready; `None` if it was so from the beginning.
    pub(super) fn ready_since(&self) -> Option<Instant> {
        self.inputs().ready_since
    }

    /// Requests sent to it so far.
    pub fn requests(&self) -> u64 {
        self.requests.load(Relaxed)
    }

    /// Of those, the ones of this cell's own time.
    pub(super) fn requests_here(&self) -> u64 {
        self.requests().saturating_sub(self.carried)
    }

    /// What was counted in this cell's own time.
    pub(super) fn tally_here(&self) -> Tally {
        // In this order: one that is over meanwhile counts as well done, and not as one error
        // of none.
        let errors = self.errors().saturating_sub(self.carried_errors);
        let in_flight = u64::from(self.in_flight());
        let requests = self.requests_here();
        Tally {
            requests,
            done: requests.saturating_sub(in_flight),
            errors,
            asked_for: self.asked_for.load(Relaxed),
            asked_for_errors: self.asked_for_errors.load(Relaxed),
        }
    }

    /// Of all, answered with 5xx or not at all.
    pub fn errors(&self) -> u64 {
        self.errors.load(Relaxed)
    }

    /// Requests in flight.
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Relaxed)
    }

    /// Asked when nobody is ready, also what must not be sent twice.
    pub(super) fn is_steady(&self) -> bool {
        self.is_last_resort() && (self.state() != ReplicaState::Draining || self.inputs().goes_on())
    }

    /// Asked when nobody is ready.
    pub(super) fn is_last_resort(&self) -> bool {
        self.inputs().is_last_resort(self.state())
    }

    /// Whether a connect probe is wanted, and since when.
    pub(super) fn wants_connect(&self) -> Option<Instant> {
        self.inputs().wants_connect(self.has_health_check)
    }

    /// When it is to be reviewed without anything happening.
    pub(super) fn review_at(&self) -> Option<Instant> {
        if !self.is_ready() {
            return self.inputs().review_at();
        }
        self.group.upgrade()?.next_step(self.ready_since()?, Instant::now())
    }

    /// Active checks make no sense while its container does not run.
    pub(super) fn is_running(&self) -> bool {
        self.inputs().is_running()
    }

    /// From a container, which comes and goes; else written in a file.
    pub(super) fn is_container(&self) -> bool {
        self.container.is_some()
    }
}

/// What came of a change.
struct Turn {
    before: ReplicaState,
    after: ReplicaState,
    /// Though not ready, it was asked when nobody was.
    was_asked: bool,
    /// It has stopped to accept connections.
    is_dark: bool,
    is_news: bool,
}

impl Turn {
    /// One that took requests, or was about to, does so no longer: another may be on its way.
    fn has_left(&self) -> bool {
        use ReplicaState::{Draining, Gone, Paused, Ready, Starting};
        // One that refuses is out before a busy engine says that it was told to stop.
        let was_here = self.was_asked || matches!(self.before, Ready | Starting | Draining);
        let is_out = matches!(self.after, Draining | Gone | Paused) || self.is_dark;
        was_here && self.before != self.after && is_out
    }
}
