//! Whether a Redis answers, as far as is known: who asks one that does not would wait.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How long one that failed is left alone.
const PAUSE: Duration = Duration::from_secs(1);
/// How long a try may take before another one is made.
const LONGEST_TRY: Duration = Duration::from_secs(60);

/// What is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It answers.
    Up,
    /// It does not.
    Down,
    /// It does not, and it is time to try again; only one is told so.
    Due,
}

/// What is known of one Redis. Times are counted from any moment before the first of them.
#[derive(Default)]
pub(super) struct Known {
    /// Milliseconds at which it is tried again; 0: it answers.
    resume: AtomicU64,
    /// What it failed with.
    fault: Mutex<String>,
}

impl Known {
    pub(super) fn standing(&self, now: Duration) -> Standing {
        let resume = self.resume.load(Ordering::Relaxed);
        if resume == 0 {
            return Standing::Up;
        }
        let next = millis(now + LONGEST_TRY);
        let is_first = millis(now) >= resume
            && (self.resume)
                .compare_exchange(resume, next, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        if is_first { Standing::Due } else { Standing::Down }
    }

    pub(super) fn is_down(&self) -> bool {
        self.resume.load(Ordering::Relaxed) != 0
    }

    /// It answered. True when it did not before.
    pub(super) fn answered(&self) -> bool {
        self.is_down() && self.resume.swap(0, Ordering::Relaxed) != 0
    }

    /// It did not. True when that is news: it did before, or failed with something else.
    pub(super) fn failed(&self, now: Duration, fault: &str) -> bool {
        let was_up = self.resume.swap(millis(now + PAUSE), Ordering::Relaxed) == 0;
        let mut known = self.fault.lock().unwrap_or_else(PoisonError::into_inner);
        let is_other = *known != fault;
        if is_other {
            fault.clone_into(&mut known);
        }
        was_up || is_other
    }
}

/// Never 0.
fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_failed_is_tried_by_one_after_a_pause() {
        let known = Known::default();
        let start = Duration::ZERO;
        assert_eq!(known.standing(start), Standing::Up);
        assert!(known.failed(start, "gone"));
        assert_eq!(known.standing(start), Standing::Down);

        assert_eq!(known.standing(PAUSE), Standing::Due);
        assert_eq!(known.standing(PAUSE), Standing::Down);
        assert!(!known.failed(PAUSE, "gone"), "no news");
        assert!(known.failed(PAUSE, "no password"));
        assert!(known.is_down());
        assert!(known.answered());
        assert!(!known.answered());
        assert_eq!(known.standing(PAUSE), Standing::Up);
        assert!(known.failed(PAUSE, "no password"), "news again");
    }

    #[test]
    fn a_try_that_never_ends_is_not_the_last() {
        let known = Known::default();
        known.failed(Duration::ZERO, "gone");
        assert_eq!(known.standing(PAUSE), Standing::Due);

        assert_eq!(known.standing(LONGEST_TRY), Standing::Down);
        assert_eq!(known.standing(PAUSE + LONGEST_TRY), Standing::Due);
    }
}
