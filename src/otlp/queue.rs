//! What waits to be told: a bounded queue from the workers to the one task that sends. A full
//! queue drops and counts; nobody ever waits for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

/// Requests or records that may wait. The task looks several times a second.
const SLOTS: usize = 16_384;
/// Bytes that may wait.
const BYTES: usize = 16 << 20;

/// Items that were encoded, and how many they are.
type Items = (Vec<u8>, u32);

/// The workers' end.
#[derive(Clone, Debug)]
pub struct Queue {
    sender: SyncSender<Items>,
    held: Arc<AtomicUsize>,
    dropped: Arc<AtomicU64>,
}

/// The sending task's end.
#[derive(Debug)]
pub struct Queued {
    receiver: Receiver<Items>,
    held: Arc<AtomicUsize>,
    dropped: Arc<AtomicU64>,
}

/// A queue.
pub fn queue() -> (Queue, Queued) {
    let (sender, receiver) = sync_channel(SLOTS);
    let (held, dropped) = (Arc::<AtomicUsize>::default(), Arc::<AtomicU64>::default());
    let queue = Queue { sender, held: Arc::clone(&held), dropped: Arc::clone(&dropped) };
    (queue, Queued { receiver, held, dropped })
}

impl Queue {
    /// Puts items of a scope into the queue, or drops them. Never waits.
    pub fn put(&self, items: Vec<u8>, count: u32) {
        let bytes = items.len();
        if self.held.fetch_add(bytes, Relaxed) + bytes > BYTES
            || self.sender.try_send((items, count)).is_err()
        {
            self.held.fetch_sub(bytes, Relaxed);
            self.dropped.fetch_add(u64::from(count), Relaxed);
        }
    }
}

impl Queued {
    /// Items that were dropped so far, since they did not fit or could not be sent.
    pub fn dropped(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.dropped)
    }

    /// The next items, up to about that many bytes; `None` when nothing waits.
    pub fn take(&self, limit: usize) -> Option<Items> {
        let (mut items, mut count) = self.receiver.try_recv().ok()?;
        self.held.fetch_sub(items.len(), Relaxed);
        while items.len() < limit
            && let Ok((more, of_them)) = self.receiver.try_recv()
        {
            self.held.fetch_sub(more.len(), Relaxed);
            items.extend_from_slice(&more);
            count = count.saturating_add(of_them);
        }
        Some((items, count))
    }

    /// Counts items that could not be sent.
    pub fn lost(&self, count: u32) {
        self.dropped.fetch_add(u64::from(count), Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_is_taken_in_order_and_in_portions() {
        let (queue, queued) = queue();
        for byte in 1..=3 {
            queue.put(vec![byte; 10], 2);
        }

        assert_eq!(queued.take(15), Some(([[1; 10], [2; 10]].concat(), 4)));
        assert_eq!(queued.take(15), Some((vec![3; 10], 2)));
        assert_eq!(queued.take(15), None);
    }

    #[test]
    fn what_does_not_fit_is_dropped_and_counted() {
        let (queue, queued) = queue();
        queue.put(vec![0; BYTES], 1);
        queue.put(vec![0; 1], 3);
        assert_eq!(queued.dropped().load(Relaxed), 3);

        while queued.take(1).is_some() {}
        for _ in 0..=SLOTS {
            queue.put(vec![0], 1);
        }

        assert_eq!(queued.dropped().load(Relaxed), 4);
        queued.lost(2);
        assert_eq!(queued.dropped().load(Relaxed), 6);
    }
}
