//! How much memory bodies take that are held to be sent again, over all requests.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use bytes::Bytes;

/// Most of all (`security.md`: buffered bodies).
const MOST: usize = 256 << 20;

static HELD: AtomicUsize = AtomicUsize::new(0);

/// A body's share of the memory for all of them; given back when it is dropped.
#[derive(Debug, Default)]
pub struct Share(usize);

impl Share {
    /// Takes so many bytes more; false, and nothing taken, when there is no room for them.
    pub fn grow(&mut self, bytes: usize) -> bool {
        self.grow_within(bytes, MOST)
    }

    fn grow_within(&mut self, bytes: usize, most: usize) -> bool {
        let before = HELD.fetch_add(bytes, Relaxed);
        if before.saturating_add(bytes) > most {
            HELD.fetch_sub(bytes, Relaxed);
            return false;
        }
        self.0 += bytes;
        true
    }

    /// Ties the share to the bytes it stands for, and to all that are cut from them.
    pub fn hold(self, bytes: Bytes) -> Bytes {
        if self.0 == 0 { bytes } else { Bytes::from_owner(Owner { bytes, _share: self }) }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        HELD.fetch_sub(self.0, Relaxed);
    }
}

struct Owner {
    bytes: Bytes,
    _share: Share,
}

impl AsRef<[u8]> for Owner {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sec_a_share_is_taken_while_its_bytes_live_and_never_beyond_the_whole() {
        // Other tests hold bodies meanwhile, all of them small.
        const OURS: usize = 64 << 20;
        let mut share = Share::default();
        assert!(share.grow(OURS));
        let held = share.hold(Bytes::from_static(b"abc"));
        let part = held.slice(1..2);
        drop(held);

        let mut other = Share::default();
        assert!(!other.grow_within(OURS, 2 * OURS - 1));
        assert_eq!(other.0, 0);
        drop(part);
        assert!(other.grow_within(OURS, 2 * OURS - 1));
    }
}
