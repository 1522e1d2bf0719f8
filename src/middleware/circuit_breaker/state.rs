//! Whether requests pass: closed, open, recovering. Times are nanoseconds from any one start.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

/// A breaker's state, shared by all workers.
pub(super) struct State {
    fallback: u64,
    recovery: u64,
    /// Requests pass without a look at `phase`.
    is_closed: AtomicBool,
    phase: Mutex<Phase>,
}

/// What a breaker does with requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// All pass.
    Closed,
    /// None pass.
    Open { until: u64 },
    /// A share passes that grows from none to all.
    Recovering { since: u64, passed: u64, refused: u64 },
}

/// A change of state, to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Opened,
    Recovering,
    Closed,
}

impl State {
    /// Closed. Once open, it stays so for `fallback`, and recovers for `recovery`.
    pub(super) fn new(fallback: u64, recovery: u64) -> Self {
        let (is_closed, phase) = (AtomicBool::new(true), Mutex::new(Phase::Closed));
        Self { fallback, recovery, is_closed, phase }
    }

    /// Whether a request passes, and what changed with it.
    pub(super) fn admit(&self, now: u64) -> (bool, Option<Change>) {
        if self.is_closed.load(Ordering::Relaxed) {
            return (true, None);
        }
        let mut phase = self.phase.lock().unwrap_or_else(PoisonError::into_inner);
        let mut change = None;
        if let Phase::Open { until } = *phase {
            if now < until {
                return (false, None);
            }
            *phase = Phase::Recovering { since: now, passed: 0, refused: 0 };
            change = Some(Change::Recovering);
        }
        let Phase::Recovering { since, passed, refused } = &mut *phase else {
            return (true, change);
        };
        let elapsed = now.saturating_sub(*since);
        if elapsed > self.recovery {
            *phase = Phase::Closed;
            self.is_closed.store(true, Ordering::Relaxed);
            return (true, Some(Change::Closed));
        }
        let passes = self.is_due(elapsed, *passed, *refused);
        *(if passes { passed } else { refused }) += 1;
        (passes, change)
    }

    /// Whether one more keeps those that passed below the share that is due. As in Traefik
    /// it grows to a half, since with every second one refused all later ones may pass.
    fn is_due(&self, elapsed: u64, passed: u64, refused: u64) -> bool {
        // (passed + 1) / (passed + refused + 1) < elapsed / recovery / 2
        let all = u128::from(passed) + u128::from(refused) + 1;
        (u128::from(passed) + 1) * 2 * u128::from(self.recovery) < all * u128::from(elapsed)
    }

    /// Whether the condition matters: it does not while open.
    pub(super) fn may_open(&self) -> bool {
        if self.is_closed.load(Ordering::Relaxed) {
            return true;
        }
        let phase = self.phase.lock().unwrap_or_else(PoisonError::into_inner);
        !matches!(*phase, Phase::Open { .. })
    }

    /// Opens it; false when it was open.
    pub(super) fn open(&self, now: u64) -> bool {
        let mut phase = self.phase.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*phase, Phase::Open { .. }) {
            return false;
        }
        *phase = Phase::Open { until: now.saturating_add(self.fallback) };
        self.is_closed.store(false, Ordering::Relaxed);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_one_refuses_then_lets_a_growing_share_pass_then_all() {
        let state = State::new(10, 1000);
        assert_eq!(state.admit(0), (true, None));
        assert!(state.open(5));
        assert!(!state.open(6), "it is open");
        assert!(!state.may_open());

        for now in [6, 14] {
            assert_eq!(state.admit(now), (false, None));
        }
        assert_eq!(state.admit(15), (false, Some(Change::Recovering)));
        assert!(state.may_open());
        // Asked once a hundredth of the time: none of ten, three of ten, half of ten.
        let mut passed = [0; 10];
        for (at, passed) in passed.iter_mut().enumerate() {
            for ask in 0..10 {
                let now = 15 + (at as u64 * 10 + ask) * 10;
                *passed += u32::from(state.admit(now).0);
            }
        }
        assert!(passed[0] == 0 && passed[9] > 5, "{passed:?}");
        assert!(passed.is_sorted_by(|one, next| *next + 2 > *one), "{passed:?}");
        assert_eq!(state.admit(1015 + 1), (true, Some(Change::Closed)));
        assert_eq!(state.admit(1017), (true, None));
    }

    #[test]
    fn the_share_is_that_of_traefik() {
        // Eleven requests, a tenth of the recovery apart. The sixth: 1 of 6 is less than a
        // half of a half; the eighth: 3 of 8 is more than a half of seven tenths.
        let state = State::new(0, 1000);
        state.open(0);

        let answers: Vec<_> = (0..11).map(|at| u8::from(state.admit(at * 100).0)).collect();

        assert_eq!(answers, [0, 0, 0, 0, 0, 1, 1, 0, 1, 1, 1]);
    }

    #[test]
    fn a_recovering_one_opens_again_for_the_whole_time() {
        let state = State::new(10, 1000);
        state.open(0);
        assert_eq!(state.admit(10), (false, Some(Change::Recovering)));

        assert!(state.open(20));

        assert_eq!(state.admit(29), (false, None));
        assert_eq!(state.admit(30), (false, Some(Change::Recovering)));
    }
}
