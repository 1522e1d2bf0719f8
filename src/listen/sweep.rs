//! The connections of a worker, and the one timer that looks after all of them.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::guard::Answer;
use super::life::{Expiry, Life, Phase};
use crate::observe::Gauge;

/// How often limits are looked at; they are kept to this precision.
const TICK: Duration = Duration::from_millis(500);
/// Connections closed at once when file descriptors or memory for heads run out.
const SHED: usize = 16;

/// Open connections: in all, and of one entry point.
#[derive(Clone)]
pub(super) struct Counts {
    pub(super) total: Arc<AtomicUsize>,
    pub(super) entry_point: Arc<AtomicUsize>,
    pub(super) gauge: Gauge,
}

impl Counts {
    fn up(&self) {
        self.total.fetch_add(1, Ordering::Relaxed);
        self.entry_point.fetch_add(1, Ordering::Relaxed);
        self.gauge.add(1);
    }

    fn down(&self) {
        self.total.fetch_sub(1, Ordering::Relaxed);
        self.entry_point.fetch_sub(1, Ordering::Relaxed);
        self.gauge.add(-1);
    }
}

struct Slot {
    life: Rc<Life>,
    entry_point: usize,
    counts: Rc<Counts>,
}

thread_local! {
    /// This worker's registry. Leases find it here, so that sockets can be handed to
    /// hyper's tunnels, which ask for `Send`.
    static REGISTRY: Rc<Registry> = Rc::new(Registry {
        slots: RefCell::default(),
        free: RefCell::default(),
        clock: Rc::new(Cell::new(Instant::now())),
    });
}

/// All connections of a worker.
pub(super) struct Registry {
    slots: RefCell<Vec<Option<Slot>>>,
    free: RefCell<Vec<usize>>,
    /// The time at the last tick: exact enough for limits of seconds.
    pub(super) clock: Rc<Cell<Instant>>,
}

impl Registry {
    /// The one of this thread.
    pub(super) fn here() -> Rc<Self> {
        REGISTRY.with(Rc::clone)
    }

    /// Takes a connection in, for as long as the lease lives.
    pub(super) fn enter(&self, entry_point: usize, life: &Rc<Life>, counts: &Rc<Counts>) -> Lease {
        let slot = Some(Slot { life: Rc::clone(life), entry_point, counts: Rc::clone(counts) });
        let mut slots = self.slots.borrow_mut();
        let free = self.free.borrow_mut().pop();
        let at = if let Some((at, place)) = free.and_then(|at| Some((at, slots.get_mut(at)?))) {
            *place = slot;
            at
        } else {
            slots.push(slot);
            slots.len() - 1
        };
        counts.up();
        Lease { at }
    }

    /// Calls `act` for each connection of an entry point, and wakes it.
    pub(super) fn each(&self, entry_point: usize, act: impl Fn(&Life)) {
        let of_it = |slot: &Slot| slot.entry_point == entry_point;
        let lives: Vec<Rc<Life>> = {
            let slots = self.slots.borrow();
            slots.iter().flatten().filter(|s| of_it(s)).map(|s| Rc::clone(&s.life)).collect()
        };
        for life in lives {
            act(&life);
            life.wake();
        }
    }

    /// Closes the connections that were idle longest.
    pub(super) fn shed(&self) {
        let mut idle: Vec<Rc<Life>> = {
            let slots = self.slots.borrow();
            let is_idle = |slot: &&Slot| matches!(slot.life.phase(), Phase::Idle | Phase::Fresh);
            slots.iter().flatten().filter(is_idle).map(|slot| Rc::clone(&slot.life)).collect()
        };
        idle.sort_by_key(|life| life.since());
        for life in idle.into_iter().take(SHED) {
            life.expired.set(Some(Expiry::Close));
            life.wake();
        }
    }

    /// Refuses the heads that have been unfinished longest.
    pub(super) fn shed_heads(&self) {
        let mut heads: Vec<Rc<Life>> = {
            let slots = self.slots.borrow();
            let is_head = |slot: &&Slot| {
                slot.life.phase() == Phase::Head && slot.life.expired.get().is_none()
            };
            slots.iter().flatten().filter(is_head).map(|slot| Rc::clone(&slot.life)).collect()
        };
        heads.sort_by_key(|life| life.since());
        for life in heads.into_iter().take(SHED) {
            life.expired.set(Some(Expiry::Say(Answer::FieldsTooLarge)));
            life.wake();
        }
    }

    fn tick(&self, now: Instant) {
        self.clock.set(now);
        let expired: Vec<(Rc<Life>, Expiry)> = {
            let slots = self.slots.borrow();
            let check = |slot: &Slot| Some((Rc::clone(&slot.life), slot.life.check(now)?));
            slots.iter().flatten().filter_map(check).collect()
        };
        for (life, expiry) in expired {
            life.expired.set(Some(expiry));
            life.wake();
        }
        let rested: Vec<Rc<Life>> = {
            let slots = self.slots.borrow();
            let has_rested = |slot: &&Slot| slot.life.has_rested(now);
            slots.iter().flatten().filter(has_rested).map(|slot| Rc::clone(&slot.life)).collect()
        };
        for life in rested {
            life.rested.set(true);
            life.wake();
        }
    }

    /// Looks after the connections for as long as the worker lives.
    pub(super) async fn sweep(self: Rc<Self>) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        loop {
            ticks.tick().await;
            self.tick(Instant::now());
        }
    }
}

/// A connection's place in its worker's registry; held by its socket, wherever that goes
/// on this thread.
pub(super) struct Lease {
    at: usize,
}

impl Lease {
    /// The connection's state.
    pub(super) fn life(&self) -> Rc<Life> {
        let held = REGISTRY.try_with(|registry| {
            let slots = registry.slots.borrow();
            slots.get(self.at)?.as_ref().map(|slot| Rc::clone(&slot.life))
        });
        held.ok().flatten().unwrap_or_else(Life::orphan)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // The thread is ending when this fails; then nobody counts any more.
        let slot = REGISTRY.try_with(|registry| {
            let slot = registry.slots.borrow_mut().get_mut(self.at).and_then(Option::take);
            registry.free.borrow_mut().push(self.at);
            slot
        });
        if let Ok(Some(slot)) = slot {
            slot.counts.down();
            // What a tunnel carried is recorded now.
            drop(slot.life.tunnel.take());
        }
    }
}
