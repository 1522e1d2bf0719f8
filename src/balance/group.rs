//! The servers of one service together: who is ready, who waits for one, what retries may
//! still cost. Lives as long as a service of that name does, over all tables.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::watch;
use tokio::time::Instant;

use super::budget::Budget;
use super::generation::{BackOff, Generation};
use super::generations::{Generations, Member};
use super::hold::{Queue, Waited};
use super::replica::Replica;
use super::rotation::Rotation;
use super::settings::HoldSettings;
use super::state::ReplicaState;
use super::{deploy, outlier, ramp};

/// So long after a server left, another is expected; longer where requests may wait longer.
const RECENTLY: Duration = Duration::from_secs(5);

/// Wakes at each change of a server's state, whoever saw it: the checks listen.
static CHANGES: LazyLock<watch::Sender<u64>> = LazyLock::new(|| watch::Sender::new(0));

/// Listens to changes of servers' states.
pub(super) fn changes() -> watch::Receiver<u64> {
    CHANGES.subscribe()
}

#[derive(Debug)]
pub(super) struct Group {
    pub(super) name: Arc<str>,
    members: Mutex<Members>,
    pub(super) rotation: ArcSwap<Rotation>,
    /// Counts turns; all workers share it, so that shares come out exact.
    turn: AtomicUsize,
    /// Counts draws between the newest generation and the older ones.
    pub(super) draws: AtomicUsize,
    queue: Queue,
    /// In milliseconds.
    slow_start: AtomicU64,
    budget: Mutex<Budget>,
    repeated: AtomicU64,
}

#[derive(Debug, Default)]
struct Members {
    all: Vec<Member>,
    generations: Generations,
    left: Option<Instant>,
    /// Requests to servers that are no longer members.
    past: u64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Group {
    pub(super) fn new(name: Arc<str>) -> Arc<Self> {
        // The first pick is random, as in Traefik: else every restart would hit the first.
        let first = rand::random_range(0..1 << 16);
        Arc::new(Self {
            name,
            members: Mutex::default(),
            rotation: ArcSwap::default(),
            turn: AtomicUsize::new(first),
            draws: AtomicUsize::new(0),
            queue: Queue::default(),
            slow_start: AtomicU64::new(0),
            budget: Mutex::new(Budget::new(0, Instant::now())),
            repeated: AtomicU64::new(0),
        })
    }

    /// The members now; one that is gone from the list may be replaced soon.
    pub(super) fn set_members(&self, all: Vec<Member>, slow_start: Duration) {
        let millis = u64::try_from(slow_start.as_millis()).unwrap_or(u64::MAX);
        self.slow_start.store(millis, Relaxed);
        let mut guard = lock(&self.members);
        let members = &mut *guard;
        let gone = (members.all.iter())
            .filter(|old| !all.iter().any(|new| Arc::ptr_eq(&new.replica, &old.replica)));
        let mut has_left = false;
        let mut past = 0;
        for old in gone {
            members.generations.bury(old);
            let old = &old.replica;
            past += old.requests_here();
            has_left |= old.is_ready() || old.is_last_resort();
            old.remove();
        }
        if has_left {
            members.left = Some(Instant::now());
        }
        members.past = members.past.saturating_add(past);
        members.all = all;
        drop(guard);
        self.refresh(false);
    }

    /// A member's state changed; with `has_left`, one that took requests stopped to.
    pub(super) fn refresh(&self, has_left: bool) {
        let mut members = lock(&self.members);
        if has_left {
            members.left = Some(Instant::now());
        }
        self.turn_round(members);
    }

    /// Works out anew whose turn it is.
    fn turn_round(&self, mut guard: MutexGuard<'_, Members>) {
        let members = &mut *guard;
        members.bring_back();
        members.generations.settle(&members.all);
        let (slow_start, now) = (self.slow_start(), Instant::now());
        let mut rotation = Rotation::new(&members.all.iter(), slow_start, now);
        rotation.split = members
            .generations
            .split(&self.name, &members.all, |is_in| {
                Rotation::new(&members.all.iter().filter(|member| is_in(member)), slow_start, now)
            })
            .map(Box::new);
        let is_open = !rotation.ready.is_empty();
        // Not for all who wait, perhaps.
        let may_be_open = is_open || !rotation.last_resort.is_empty();
        for Member { replica, .. } in &members.all {
            let is_mute = matches!(replica.state(), ReplicaState::Paused | ReplicaState::Gone);
            replica.set_silent(is_open && is_mute);
            let mut ready = rotation.ready.iter();
            replica.set_has_others(ready.any(|(other, _)| !Arc::ptr_eq(other, replica)));
        }
        self.rotation.store(Arc::new(rotation));
        drop(guard);
        if may_be_open {
            self.queue.open();
        }
        CHANGES.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Takes a ready member out until then, unless too many are out already.
    pub(super) fn eject(&self, replica: &Arc<Replica>, until: Instant, why: Arc<str>) -> bool {
        let members = lock(&self.members);
        let (ready, out) = members.able();
        let is_ready = ready.iter().any(|one| Arc::ptr_eq(one, replica));
        if !is_ready || out.len() >= outlier::most_out(ready.len() + out.len()) {
            return false;
        }
        replica.eject(Some((until, why)));
        self.turn_round(members);
        true
    }

    /// Generations of its servers can be told apart, and there is something to tell.
    pub(super) fn has_generations(&self) -> bool {
        lock(&self.members).generations.are_told_apart()
    }

    /// The generations of its servers, newest first.
    pub(super) fn generations(&self) -> Vec<Generation> {
        let members = lock(&self.members);
        members.generations.view(&members.all, &self.rotation.load())
    }

    /// Takes the counts of the generations now, and backs off from the newest if it fails.
    pub(super) fn look(&self, now: Instant) {
        let mut guard = lock(&self.members);
        let members = &mut *guard;
        let Some(back_off) = members.generations.look(&members.all, now) else { return };
        self.turn_round(guard);
        let (service, generation) = (&*self.name, deploy::short(&back_off.generation));
        let BackOff { requests, errors, window, .. } = back_off;
        let seconds = window.as_secs();
        tracing::warn!(
            service,
            generation,
            requests,
            errors,
            seconds,
            "the new generation fails: backed off to the older one"
        );
    }

    fn slow_start(&self) -> Duration {
        Duration::from_millis(self.slow_start.load(Relaxed))
    }

    /// When the share of a server grows next that is ready since then.
    pub(super) fn next_step(&self, ready_since: Instant, now: Instant) -> Option<Instant> {
        ramp::next(ready_since, self.slow_start(), now)
    }

    /// The share of a server has yet to grow.
    pub(super) fn is_ramping(&self) -> bool {
        self.rotation.load().is_ramping()
    }

    /// The next turn's number.
    pub(super) fn next_turn(&self) -> usize {
        self.turn.fetch_add(1, Relaxed)
    }

    /// Whether a server will be ready soon, for requests that may wait so long.
    pub(super) fn is_expecting(&self, limit: Duration) -> bool {
        let recently = RECENTLY.max(limit);
        self.rotation.load().is_expecting
            || lock(&self.members).left.is_some_and(|left| left.elapsed() < recently)
    }

    /// Waits until a server may be asked (`is_open` is to say so), or until it is of no use any more: `None` when none is
    /// expected. A client that goes away drops this, and leaves the queue.
    pub(super) async fn wait(
        &self,
        ticket: u64,
        until: Instant,
        bytes: usize,
        bounds: &HoldSettings,
        is_open: impl FnOnce(&Rotation) -> bool,
    ) -> Option<Waited> {
        if !self.is_expecting(bounds.limit) {
            return None;
        }
        if until <= Instant::now() {
            return Some(Waited::TooLong);
        }
        // One may have become ready before the place in the queue was taken.
        let is_open = || is_open(&self.rotation.load());
        Some(self.queue.wait(ticket, until, bytes, bounds, is_open).await)
    }

    /// A place among those who wait.
    pub(super) fn ticket(&self) -> u64 {
        self.queue.ticket()
    }

    /// How many wait.
    pub(super) fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// Whether one more retry is within what the recent requests allow.
    pub(super) fn may_retry(&self) -> bool {
        let sent = {
            let members = lock(&self.members);
            let sent = members.all.iter().map(|member| member.replica.requests_here());
            members.past.saturating_add(sent.sum())
        };
        let mut budget = lock(&self.budget);
        let repeated = self.repeated.load(Relaxed);
        // Requests that were repeated are no requests of their own.
        let is_within = budget.take(sent.saturating_sub(repeated), Instant::now());
        self.repeated.fetch_add(u64::from(is_within), Relaxed);
        is_within
    }
}

impl Members {
    /// Members with a share that are ready, and those that would be if they were not ejected.
    fn able(&self) -> (Vec<&Arc<Replica>>, Vec<&Arc<Replica>>) {
        let in_state = |state| {
            let with_share = self.all.iter().filter(|member| member.weight > 0);
            let replicas = with_share.map(|member| &member.replica);
            replicas.filter(move |replica| replica.state() == state).collect()
        };
        (in_state(ReplicaState::Ready), in_state(ReplicaState::Ejected))
    }

    /// Brings ejected members back as soon as too many are out, those first whose time is
    /// over first.
    fn bring_back(&self) {
        let (ready, mut out) = self.able();
        let able = ready.len() + out.len();
        out.sort_by_key(|replica| replica.ejected_until());
        let too_many = out.len().saturating_sub(outlier::most_out(able));
        for replica in out.into_iter().take(too_many) {
            replica.eject(None);
        }
    }
}
