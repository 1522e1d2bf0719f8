//! How often a new table is made.

use std::time::Duration;

use tokio::time::Instant;

/// Rest between two tables under a burst.
const REST: Duration = Duration::from_millis(100);

/// Lets the first change through at once and the next after a rest, so that a burst makes
/// few tables and the newest state is never far behind.
#[derive(Debug)]
pub(super) struct Pace {
    longest: Duration,
    rested: Option<Instant>,
}

impl Pace {
    /// `longest` is `providersThrottleDuration`: no rest takes longer.
    pub(super) fn new(longest: Duration) -> Self {
        Self { longest, rested: None }
    }

    /// No rest takes longer than this from now on.
    pub(super) fn limit(&mut self, longest: Duration) {
        self.longest = longest;
    }

    /// When a change that came `now` may be compiled.
    pub(super) fn due(&self, now: Instant) -> Instant {
        self.rested.map_or(now, |rested| rested.max(now))
    }

    /// A table was made. A large one that took long to make is followed by a longer rest,
    /// so that a storm of changes cannot take more than a fifth of the control thread.
    pub(super) fn made(&mut self, began: Instant, ended: Instant) {
        let took = ended.saturating_duration_since(began);
        self.rested = Some(ended + REST.max(took * 4).min(self.longest));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn the_first_change_goes_at_once_and_the_next_after_a_rest() {
        let start = Instant::now();
        let mut pace = Pace::new(ms(2000));

        assert_eq!(pace.due(start), start);
        pace.made(start, start + ms(1));

        assert_eq!(pace.due(start + ms(2)), start + ms(101));
        assert_eq!(pace.due(start + ms(50)), start + ms(101));
        assert_eq!(pace.due(start + ms(500)), start + ms(500));
    }

    #[test]
    fn slow_tables_are_made_less_often_but_never_rarer_than_the_throttle() {
        let start = Instant::now();
        let mut pace = Pace::new(ms(2000));

        pace.made(start, start + ms(200));
        assert_eq!(pace.due(start + ms(200)), start + ms(1000));
        pace.made(start, start + ms(5000));
        assert_eq!(pace.due(start), start + ms(7000));

        let mut eager = Pace::new(ms(0));
        eager.made(start, start + ms(5));
        assert_eq!(eager.due(start + ms(5)), start + ms(5));
    }
}
