//! Whether a Redis answers, as far as is known: who asks one that does not would wait.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;

use super::Address;

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

/// Nodes that are remembered; of a cluster they are told by others.
const MOST: usize = 1024;

/// What is known of the nodes of a cluster, or of the one Redis that there is: one that hangs
/// says nothing about the others. Read by all workers.
#[derive(Default)]
pub(super) struct Nodes(ArcSwap<HashMap<Arc<str>, Arc<Known>>>);

impl Nodes {
    pub(super) fn of(&self, node: &Address) -> Arc<Known> {
        if let Some(known) = self.0.load().get(node.text()) {
            return Arc::clone(known);
        }
        let new = Arc::new(Known::default());
        self.0.rcu(|before| {
            let mut all = if before.len() < MOST { (**before).clone() } else { HashMap::new() };
            all.entry(Arc::clone(node.text())).or_insert_with(|| Arc::clone(&new));
            all
        });
        // Another worker may have been faster.
        self.0.load().get(node.text()).map_or(new, Arc::clone)
    }
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
    fn nodes_stand_for_themselves() {
        let nodes = Nodes::default();
        let [one, other] = ["a:1", "b:2"].map(|node| Address::parse(node).unwrap());

        nodes.of(&one).failed(Duration::ZERO, "gone");

        assert!(nodes.of(&one).is_down() && !nodes.of(&other).is_down());
        for number in 0..2 * MOST {
            nodes.of(&Address::parse(&format!("n{number}:1")).unwrap());
            assert!(nodes.0.load().len() <= MOST);
        }
    }

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
