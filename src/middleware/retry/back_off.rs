//! How long to wait between tries.

use std::time::Duration;

/// No wait grows beyond this.
const LONGEST: Duration = Duration::from_secs(60);

/// Tries are not made for longer than this.
const OVERALL: Duration = Duration::from_secs(15 * 60);

/// Each wait is up to so much shorter or longer than the last one grown.
const JITTER: f64 = 0.5;

/// Waits that grow, over all tries, to twice the first, each with half of it as jitter.
pub(super) struct BackOff {
    next: Duration,
    factor: f64,
}

impl BackOff {
    pub(super) fn new(first: Duration, attempts: u32) -> Self {
        let factor = 2_f64.powf(1.0 / f64::from(attempts.saturating_sub(1).max(1)));
        Self { next: first, factor }
    }

    /// The next wait, after so much time; `None`: it has been tried for long enough.
    pub(super) fn next(&mut self, elapsed: Duration) -> Option<Duration> {
        if self.next.is_zero() {
            return Some(Duration::ZERO);
        }
        let wait = scaled(self.next, rand::random_range(1.0 - JITTER..=1.0 + JITTER));
        let longest = LONGEST.max(self.next);
        self.next = scaled(self.next, self.factor).min(longest);
        elapsed.checked_add(wait).filter(|end| *end <= OVERALL).map(|_| wait)
    }
}

/// Settings may hold centuries, which a plain product would not.
fn scaled(duration: Duration, factor: f64) -> Duration {
    Duration::try_from_secs_f64(duration.as_secs_f64() * factor).unwrap_or(Duration::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_twice_the_first_with_half_as_jitter() {
        for attempts in [2, 3, 4, 10] {
            for first in [100, 1_000_000] {
                let mut back_off = BackOff::new(Duration::from_nanos(first), attempts);
                let growth = 2_f64.powf(1.0 / f64::from(attempts - 1));
                let mut middle = Duration::from_nanos(first).as_secs_f64();
                for _ in 1..attempts {
                    let wait = back_off.next(Duration::ZERO).unwrap().as_secs_f64();
                    assert!((middle * 0.49..=middle * 1.51).contains(&wait), "{wait} {middle}");
                    middle *= growth;
                }
            }
        }
    }

    #[test]
    fn without_an_interval_nothing_is_waited_for() {
        let mut back_off = BackOff::new(Duration::ZERO, 3);
        for _ in 0..3 {
            assert_eq!(back_off.next(2 * OVERALL), Some(Duration::ZERO));
        }
    }

    #[test]
    fn waits_and_all_of_them_together_have_an_end() {
        let mut back_off = BackOff::new(Duration::from_secs(50), 2);
        for _ in 0..10 {
            let wait = back_off.next(Duration::ZERO).unwrap();
            assert!(wait <= LONGEST.mul_f64(1.5), "{wait:?}");
        }
        assert_eq!(back_off.next(OVERALL), None);
        assert_eq!(BackOff::new(Duration::MAX, 2).next(Duration::ZERO), None);
    }
}
