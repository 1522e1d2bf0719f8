//! What is asked of the engine over one connection.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

/// Calls to the engine at once.
const INSPECTS: usize = 16;

/// One connection's bookkeeping.
#[derive(Default)]
pub(super) struct Session {
    waiting: VecDeque<Arc<str>>,
    queued: HashSet<Arc<str>>,
    pub(super) running: HashSet<Arc<str>>,
    /// What was heard of since the running list was asked for.
    pub(super) touched: HashSet<Arc<str>>,
    /// Signals that were sent to containers whose stop signal is not known yet.
    pub(super) signals: Vec<(Arc<str>, i32)>,
}

impl Session {
    /// Asks for an inspect, once.
    pub(super) fn ask(&mut self, id: Arc<str>) {
        if self.queued.insert(Arc::clone(&id)) {
            self.waiting.push_back(id);
        }
    }

    /// The next to look at. One that is being looked at waits: its answer may be of before.
    pub(super) fn next(&mut self) -> Option<Arc<str>> {
        if self.running.len() >= INSPECTS {
            return None;
        }
        let free = self.waiting.iter().position(|id| !self.running.contains(id))?;
        let id = self.waiting.remove(free)?;
        self.queued.remove(&id);
        self.running.insert(Arc::clone(&id));
        Some(id)
    }

    /// Whether nothing is being looked at.
    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.running.is_empty()
    }
}
