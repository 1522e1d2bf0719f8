//! Token buckets by source, shared by all workers, and how many of them are kept.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ahash::RandomState;

/// Buckets of one limiter at most, as in Traefik.
pub(super) const MOST: usize = 65_536;

/// Buckets are kept apart in so many places, so that workers rarely wait for each other.
const SHARDS: usize = 64;

/// How fast buckets fill and how much is in them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rate {
    /// Nanoseconds to one token; at least 1.
    pub(super) interval: u64,
    /// Nanoseconds to as many tokens as a bucket holds.
    pub(super) capacity: u64,
    /// Nanoseconds that a request may be made to wait.
    pub(super) longest_delay: u64,
}

/// What is to be done with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It took a token.
    Pass,
    /// There will be a token for it after this time.
    Delay(Duration),
    /// There will be none soon enough; one would be there after this time.
    Refuse(Duration),
}

/// The buckets. Of each only the time is kept when it will be full again, in nanoseconds
/// since the limiter was made: it says how much is missing at any moment, and a full bucket
/// is as good as none, so nothing is lost with it.
pub(super) struct Buckets {
    rate: Rate,
    shards: Box<[Mutex<HashMap<u64, u64, RandomState>>]>,
}

impl Buckets {
    pub(super) fn new(rate: Rate) -> Self {
        Self { rate, shards: (0..SHARDS).map(|_| Mutex::default()).collect() }
    }

    /// Takes a token for a source if there is one. `may_wait`: also one that is to come, to
    /// be used after the delay; else it is left there.
    pub(super) fn take(&self, key: u64, now: u64, may_wait: bool) -> Verdict {
        let number = usize::try_from(key % SHARDS as u64).unwrap_or_default();
        // There are as many shards as numbers.
        let Some(shard) = self.shards.get(number) else { return Verdict::Pass };
        let mut buckets = shard.lock().unwrap_or_else(PoisonError::into_inner);
        let full_at = buckets.get(&key).copied().unwrap_or_default().max(now);
        let next = full_at.saturating_add(self.rate.interval);
        let delay = next.saturating_sub(now).saturating_sub(self.rate.capacity);
        let verdict = match delay {
            0 => Verdict::Pass,
            delay if delay <= self.rate.longest_delay => Verdict::Delay(nanos(delay)),
            delay => return Verdict::Refuse(nanos(delay)),
        };
        if verdict == Verdict::Pass || may_wait {
            if buckets.len() >= MOST / SHARDS && !buckets.contains_key(&key) {
                make_room(&mut buckets, now);
            }
            buckets.insert(key, next);
        }
        verdict
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().unwrap().len()).sum()
    }
}

fn nanos(nanos: u64) -> Duration {
    Duration::from_nanos(nanos)
}

/// Forgets full buckets; where there are none, the one that is fullest. The emptiest stay, so
/// who has spent a bucket gets a new one only by spending as many others as are kept, each
/// as far: not by many sources with a request each, nor by waiting less than it takes.
fn make_room(buckets: &mut HashMap<u64, u64, RandomState>, now: u64) {
    let before = buckets.len();
    buckets.retain(|_, full_at| *full_at > now);
    if buckets.len() < before {
        return;
    }
    let fullest = buckets.iter().min_by_key(|(_, full_at)| **full_at).map(|(key, _)| *key);
    if let Some(key) = fullest {
        buckets.remove(&key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    /// Two tokens a second, three at once, and half a token's time of delay.
    fn buckets() -> Buckets {
        let interval = SECOND / 2;
        Buckets::new(Rate { interval, capacity: 3 * interval, longest_delay: interval / 2 })
    }

    #[test]
    fn a_burst_passes_and_then_the_rate() {
        let buckets = buckets();
        let millis = |millis| Duration::from_millis(millis);
        for (at, verdict) in [
            (10_000, Verdict::Pass),
            (10_000, Verdict::Pass),
            (10_000, Verdict::Pass),
            (10_000, Verdict::Refuse(millis(500))),
            // A refused one has cost nothing.
            (10_249, Verdict::Refuse(millis(251))),
            (10_250, Verdict::Delay(millis(250))),
            // The token to come is taken.
            (10_500, Verdict::Refuse(millis(500))),
            (11_000, Verdict::Pass),
            (11_000, Verdict::Refuse(millis(500))),
            // Full again, and no fuller than that.
            (90_000, Verdict::Pass),
            (90_000, Verdict::Pass),
            (90_000, Verdict::Pass),
            (90_000, Verdict::Refuse(millis(500))),
        ] {
            assert_eq!(buckets.take(7, at * 1_000_000, true), verdict, "{at}");
        }
        assert_eq!(buckets.take(8, 90_000_000_000, true), Verdict::Pass, "another source");
    }

    #[test]
    fn a_token_to_come_is_left_to_those_who_wait() {
        let buckets = buckets();
        for _ in 0..3 {
            buckets.take(7, 0, false);
        }
        let early = SECOND / 4;

        for _ in 0..2 {
            let delay = Verdict::Delay(Duration::from_nanos(early));
            assert_eq!(buckets.take(7, early, false), delay);
        }
    }

    #[test]
    fn no_more_buckets_are_kept_than_may_be_and_the_emptiest_are() {
        let buckets = buckets();
        for _ in 0..3 {
            buckets.take(0, 0, true);
        }
        let refused = buckets.take(0, 0, true);
        assert!(matches!(refused, Verdict::Refuse(_)));

        for key in 1..=(MOST + 16 * SHARDS) as u64 {
            assert_eq!(buckets.take(key, 0, true), Verdict::Pass);
        }

        assert!(buckets.len() <= MOST, "{}", buckets.len());
        assert_eq!(buckets.take(0, 0, true), refused, "a flood of sources resets nobody");
    }

    #[test]
    fn full_buckets_are_forgotten() {
        let buckets = buckets();
        for key in 0..MOST as u64 {
            buckets.take(key, 0, true);
        }
        assert_eq!(buckets.len(), MOST);

        for key in 0..SHARDS as u64 {
            buckets.take(MOST as u64 + key, SECOND, true);
        }

        assert_eq!(buckets.len(), SHARDS);
    }
}
