//! The servers of one service together: who is ready, who waits for one, what retries may
//! still cost. Lives as long as a service of that name does, over all tables.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, timeout_at};

use super::replica::Replica;
use super::rotation::Rotation;

/// Requests that wait at most, per service.
const MAX_WAITING: usize = 1000;

/// So long after a server left, another is expected.
const RECENTLY: Duration = Duration::from_secs(5);

/// Retries are counted over so long.
const BUDGET_WINDOW: Duration = Duration::from_secs(10);
/// A quiet service may retry so often per window all the same.
const BUDGET_FLOOR: u64 = 50;

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
    waiting: Mutex<VecDeque<Waiting>>,
    tickets: AtomicU64,
    budget: Mutex<Budget>,
}

#[derive(Debug, Default)]
struct Members {
    all: Vec<(Arc<Replica>, u32)>,
    left: Option<Instant>,
}

#[derive(Debug)]
struct Waiting {
    ticket: u64,
    go: oneshot::Sender<()>,
}

#[derive(Debug)]
struct Budget {
    since: Instant,
    turns: usize,
    spent: u64,
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
            waiting: Mutex::default(),
            tickets: AtomicU64::new(0),
            budget: Mutex::new(Budget { since: Instant::now(), turns: first, spent: 0 }),
        })
    }

    /// The members now; one that is gone from the list may be replaced soon.
    pub(super) fn set_members(&self, all: Vec<(Arc<Replica>, u32)>) {
        let mut members = lock(&self.members);
        let gone = members
            .all
            .iter()
            .map(|(old, _)| old)
            .filter(|old| !all.iter().any(|(new, _)| Arc::ptr_eq(new, old)));
        let mut has_left = false;
        for old in gone {
            old.server.retire();
            has_left |= old.is_ready() || old.is_last_resort();
        }
        if has_left {
            members.left = Some(Instant::now());
        }
        members.all = all;
        drop(members);
        self.refresh(false);
    }

    /// A member's state changed; with `has_left`, one that took requests stopped to.
    pub(super) fn refresh(&self, has_left: bool) {
        let mut members = lock(&self.members);
        let rotation = Arc::new(Rotation::new(&members.all));
        if has_left {
            members.left = Some(Instant::now());
        }
        let is_open = !rotation.ready.is_empty();
        self.rotation.store(rotation);
        drop(members);
        if is_open {
            // In order: each goes to the back of its worker's queue.
            for waiting in lock(&self.waiting).drain(..) {
                let _ = waiting.go.send(());
            }
        }
        CHANGES.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// The next turn's number.
    pub(super) fn next_turn(&self) -> usize {
        self.turn.fetch_add(1, Relaxed)
    }

    fn is_expecting(&self) -> bool {
        self.rotation.load().is_expecting
            || lock(&self.members).left.is_some_and(|left| left.elapsed() < RECENTLY)
    }

    /// Waits until a server is ready: true; or until it is of no use any more. A client
    /// that goes away drops this, and leaves the queue.
    pub(super) async fn wait(&self, until: Instant) -> bool {
        if !self.is_expecting() || until <= Instant::now() {
            return false;
        }
        let ticket = self.tickets.fetch_add(1, Relaxed);
        let (go, went) = oneshot::channel();
        {
            let mut waiting = lock(&self.waiting);
            if waiting.len() >= MAX_WAITING {
                return false;
            }
            waiting.push_back(Waiting { ticket, go });
        }
        let _place = Place { group: self, ticket };
        // One may have become ready before the place in the queue was taken.
        if !self.rotation.load().ready.is_empty() {
            return true;
        }
        matches!(timeout_at(until, went).await, Ok(Ok(())))
    }

    /// How many wait.
    pub(super) fn waiting(&self) -> usize {
        lock(&self.waiting).len()
    }

    /// Whether one more retry is within a fifth of the recent requests.
    pub(super) fn may_retry(&self) -> bool {
        let mut budget = lock(&self.budget);
        let turns = self.turn.load(Relaxed);
        if budget.since.elapsed() >= BUDGET_WINDOW {
            *budget = Budget { since: Instant::now(), turns, spent: 0 };
        }
        let recent = turns.wrapping_sub(budget.turns) as u64;
        let is_within = budget.spent < BUDGET_FLOOR.max(recent / 5);
        budget.spent += u64::from(is_within);
        is_within
    }
}

struct Place<'g> {
    group: &'g Group,
    ticket: u64,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        lock(&self.group.waiting).retain(|waiting| waiting.ticket != self.ticket);
    }
}
