//! Nonces: given to everyone, remembered only when someone passed with one, so that no
//! flood of refusals pushes out those who are logged in.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use sha2::{Digest, Sha256};

use super::hex;
use crate::middleware::login::equal;

/// Most nonces remembered; as many as in Traefik.
const MOST: usize = 1000;
/// How far behind the highest count of a nonce one may come: browsers send several requests
/// at once, and they overtake each other on the way.
const WINDOW: u64 = 64;
/// Digits of the number that a nonce begins with.
const NUMBER: usize = 16;

/// What a use of a nonce comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Count {
    /// It was not used like this before.
    Next,
    /// It was.
    Again,
    /// It is not one of ours, not any more, or was used too long ago to tell.
    Stale,
}

/// The nonces of one step: a number, and a code that only this step can make of it.
pub(super) struct Nonces {
    key: [u8; 32],
    next: AtomicU64,
    used: Mutex<Used>,
}

#[derive(Default)]
struct Used {
    by_number: HashMap<u64, Session, ahash::RandomState>,
    /// What was forgotten is not above this.
    forgotten: u64,
    /// Counts uses, to tell which nonce was used longest ago.
    clock: u64,
}

struct Session {
    highest: u64,
    /// Which counts at and below the highest were used: bit 0 is the highest.
    seen: u64,
    last_used: u64,
}

impl Nonces {
    pub(super) fn new() -> Self {
        Self { key: rand::random(), next: AtomicU64::new(1), used: Mutex::default() }
    }

    /// A nonce that nobody has.
    pub(super) fn issue(&self) -> String {
        let number = format!("{:016x}", self.next.fetch_add(1, Ordering::Relaxed));
        let code = self.code(&number);
        number + &code
    }

    /// Counts a use by someone who knows the password.
    pub(super) fn count(&self, nonce: &str, count: u64) -> Count {
        let Some(number) = self.number(nonce) else { return Count::Stale };
        self.used.lock().unwrap_or_else(PoisonError::into_inner).count(number, count)
    }

    fn number(&self, nonce: &str) -> Option<u64> {
        let (number, code) = nonce.split_at_checked(NUMBER)?;
        equal(self.code(number).as_bytes(), code.as_bytes()).then_some(())?;
        u64::from_str_radix(number, 16).ok()
    }

    fn code(&self, number: &str) -> String {
        let mut hasher = Sha256::new();
        hasher.update(self.key);
        hasher.update(number);
        let hash: [u8; 32] = hasher.finalize().into();
        hex(hash.first_chunk::<16>().map_or(&[], |half| half.as_slice()))
    }
}

impl Used {
    fn count(&mut self, number: u64, count: u64) -> Count {
        self.clock += 1;
        let last_used = self.clock;
        if let Some(session) = self.by_number.get_mut(&number) {
            session.last_used = last_used;
            return session.count(count);
        }
        if number <= self.forgotten {
            return Count::Stale;
        }
        if self.by_number.len() >= MOST {
            self.forget();
        }
        self.by_number.insert(number, Session { highest: count, seen: 1, last_used });
        Count::Next
    }

    /// Forgets the quarter that was used longest ago. None of them passes again.
    fn forget(&mut self) {
        let mut ages: Vec<_> = self.by_number.values().map(|session| session.last_used).collect();
        let (_, limit, _) = ages.select_nth_unstable(MOST / 4);
        let limit = *limit;
        let forgotten = &mut self.forgotten;
        self.by_number.retain(|number, session| {
            let stays = session.last_used > limit;
            if !stays {
                *forgotten = (*forgotten).max(*number);
            }
            stays
        });
    }
}

impl Session {
    fn count(&mut self, count: u64) -> Count {
        if let Some(ahead) = count.checked_sub(self.highest).filter(|ahead| *ahead > 0) {
            let shifted = u32::try_from(ahead).ok().and_then(|ahead| self.seen.checked_shl(ahead));
            self.seen = shifted.unwrap_or(0) | 1;
            self.highest = count;
            return Count::Next;
        }
        let behind = self.highest - count;
        if behind >= WINDOW {
            return Count::Stale;
        }
        let bit = 1 << behind;
        if self.seen & bit != 0 {
            return Count::Again;
        }
        self.seen |= bit;
        Count::Next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_passes_once_and_late_ones_within_a_window() {
        let nonces = Nonces::new();
        let nonce = nonces.issue();
        for (count, wanted) in [
            (3, Count::Next),
            (3, Count::Again),
            (1, Count::Next),
            (1, Count::Again),
            (2, Count::Next),
            (66, Count::Next),
            (3, Count::Again),
            (2, Count::Stale),
            (4, Count::Next),
            (u64::MAX, Count::Next),
            (66, Count::Stale),
            (u64::MAX, Count::Again),
        ] {
            assert_eq!(nonces.count(&nonce, count), wanted, "{count}");
        }
    }

    #[test]
    fn what_was_not_issued_here_is_stale() {
        let nonces = Nonces::new();
        let foreign = Nonces::new().issue();
        let mut forged = nonces.issue();
        forged.replace_range(15..16, "f");
        for nonce in
            [&*foreign, &forged, "", "0", "\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}"]
        {
            assert_eq!(nonces.count(nonce, 1), Count::Stale, "{nonce}");
        }
    }

    #[test]
    fn no_flood_of_refusals_ends_a_session() {
        let nonces = Nonces::new();
        let nonce = nonces.issue();
        assert_eq!(nonces.count(&nonce, 1), Count::Next);

        for _ in 0..10 * MOST {
            nonces.issue();
        }

        assert_eq!(nonces.count(&nonce, 2), Count::Next);
    }

    #[test]
    fn memory_is_bounded_and_what_is_forgotten_does_not_pass_again() {
        let nonces = Nonces::new();
        let kept = nonces.issue();
        let early = nonces.issue();
        assert_eq!(nonces.count(&early, 1), Count::Next);
        for round in 1..=3 * MOST as u64 {
            assert_eq!(nonces.count(&kept, round), Count::Next);
            assert_eq!(nonces.count(&nonces.issue(), 1), Count::Next);
        }

        assert!(nonces.used.lock().unwrap().by_number.len() <= MOST);
        assert_eq!(nonces.count(&early, 1), Count::Stale);
        assert_eq!(nonces.count(&early, 2), Count::Stale);
    }
}
