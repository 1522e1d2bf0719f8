//! Containers that were removed while nothing else serves what they served. Their routes are
//! kept for a moment: a deployment often removes the old container before it starts the new.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

/// Which are kept, and until when.
#[derive(Debug)]
pub(super) struct Removed {
    /// How long after its end a container is kept; zero: not at all.
    keeps: Duration,
    /// When containers ended that still exist.
    ended: HashMap<Arc<str>, Instant>,
    /// The same in the order of time, with some that came back since.
    queue: VecDeque<(Instant, Arc<str>)>,
    until: HashMap<Arc<str>, Instant>,
}

impl Removed {
    pub(super) fn new(keeps: Duration) -> Self {
        Self { keeps, ended: HashMap::new(), queue: VecDeque::new(), until: HashMap::new() }
    }

    /// Keeps what is removed from now on for so long.
    pub(super) fn keep_for(&mut self, keeps: Duration) {
        self.keeps = keeps;
    }

    pub(super) fn len(&self) -> usize {
        self.until.len()
    }

    /// It ended, and may be removed next.
    pub(super) fn ended(&mut self, id: &Arc<str>, now: Instant) {
        self.ended.insert(Arc::clone(id), now);
        self.queue.push_back((now, Arc::clone(id)));
    }

    /// Those that ended so long ago that no request waits for them any more.
    pub(super) fn rested(&mut self, now: Instant) -> Vec<Arc<str>> {
        let mut rested = Vec::new();
        while let Some((ended, _)) = self.queue.front()
            && now.duration_since(*ended) >= self.keeps
            && let Some((ended, id)) = self.queue.pop_front()
        {
            if self.ended.get(&id) == Some(&ended) {
                self.ended.remove(&id);
                rested.push(id);
            }
        }
        rested
    }

    /// It was removed; true if it is to be kept, since it ended just now.
    pub(super) fn keep(&mut self, id: &Arc<str>, now: Instant) -> bool {
        let Some(ended) = self.ended.remove(id) else { return self.is_kept(id) };
        let until = ended + self.keeps;
        if until > now {
            self.until.insert(Arc::clone(id), until);
        }
        until > now
    }

    pub(super) fn is_kept(&self, id: &str) -> bool {
        self.until.contains_key(id)
    }

    /// When the next one is over, or has rested.
    pub(super) fn next(&self) -> Option<Instant> {
        let is_there = |(ended, id): &&(Instant, Arc<str>)| self.ended.get(id) == Some(ended);
        let rested = self.queue.iter().find(is_there).map(|(ended, _)| *ended + self.keeps);
        self.until.values().copied().chain(rested).min()
    }

    /// Those whose time is over, and those that are of no use any more.
    pub(super) fn over(&self, now: Instant, is_of_use: impl Fn(&str) -> bool) -> Vec<Arc<str>> {
        let kept = self.until.iter();
        let over = kept.filter(|(id, until)| **until <= now || !is_of_use(id));
        over.map(|(id, _)| Arc::clone(id)).collect()
    }

    pub(super) fn forget(&mut self, id: &str) {
        self.ended.remove(id);
        self.until.remove(id);
    }
}
