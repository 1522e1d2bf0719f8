//! Bytes that were read and may not pass yet, counted over all connections of the process:
//! each alone is bounded by `maxHeaderBytes`, thousands together are not.

use std::ops::{Deref, Range};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Unfinished heads over all connections (`security.md` section 8).
const LIMIT: usize = 64 << 20;
/// Counted in steps of so many bytes, so that usual heads touch no shared counter.
const STEP: usize = 1024;

static TOTAL: AtomicUsize = AtomicUsize::new(0);

/// More is held than may be.
pub(super) fn is_too_much() -> bool {
    TOTAL.load(Relaxed) > LIMIT
}

/// What one connection holds.
#[derive(Debug, Default)]
pub(super) struct Held {
    bytes: Vec<u8>,
    counted: usize,
}

impl Held {
    /// Takes bytes in behind the others.
    pub(super) fn extend(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.count();
    }

    /// Lets so many go from the front.
    pub(super) fn release(&mut self, len: usize) {
        if len >= self.bytes.len() {
            self.bytes = Vec::new();
        } else {
            self.bytes.drain(..len);
        }
        self.count();
    }

    /// Puts other bytes in the place of these, which must be there.
    pub(super) fn replace(&mut self, range: Range<usize>, with: impl IntoIterator<Item = u8>) {
        drop(self.bytes.splice(range, with));
        self.count();
    }

    fn count(&mut self) {
        let now = self.bytes.len() / STEP * STEP;
        if now > self.counted {
            TOTAL.fetch_add(now - self.counted, Relaxed);
        } else if now < self.counted {
            TOTAL.fetch_sub(self.counted - now, Relaxed);
        }
        self.counted = now;
    }
}

impl Deref for Held {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        TOTAL.fetch_sub(self.counted, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_counted_in_steps() {
        let mut held = Held::default();
        for (bytes, counted) in [(1000, 0), (100, 1024), (5000, 5 * 1024)] {
            held.extend(&vec![0; bytes]);
            assert_eq!(held.counted, counted);
        }
        held.release(6000);
        assert_eq!((held.counted, held.len()), (0, 100));
        held.release(100);
        assert!(held.is_empty());
    }
}
