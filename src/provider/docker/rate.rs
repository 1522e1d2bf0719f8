//! How often something may be done: a few times as they come, then at a steady pace.

use std::time::Duration;

use tokio::time::Instant;

/// So many at once, then one in each `rest`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rate {
    pub(super) burst: u32,
    pub(super) rest: Duration,
}

/// What was done so far, each for one `rest`: until when that is paid for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Paid(Option<Instant>);

impl Paid {
    /// When the next may be done; `None`: at any time.
    pub(super) fn due(self, rate: Rate) -> Option<Instant> {
        self.0?.checked_sub(rate.rest * rate.burst.saturating_sub(1))
    }

    /// It is done.
    pub(super) fn pay(&mut self, rate: Rate, now: Instant) {
        self.0 = Some(self.0.map_or(now, |paid| paid.max(now)) + rate.rest);
    }

    /// Whether it is as if nothing had been done yet.
    pub(super) fn is_over(self, now: Instant) -> bool {
        self.0.is_none_or(|paid| paid <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_few_at_once_there_is_a_rest_before_each() {
        let rate = Rate { burst: 3, rest: Duration::from_millis(100) };
        let start = Instant::now() + Duration::from_secs(10);
        let mut paid = Paid::default();
        let mut done = Vec::new();
        for millisecond in 0..1000 {
            let now = start + Duration::from_millis(millisecond);
            if paid.due(rate).is_none_or(|due| due <= now) {
                paid.pay(rate, now);
                done.push(millisecond);
            }
        }

        assert_eq!(done, [0, 1, 2, 100, 200, 300, 400, 500, 600, 700, 800, 900]);
        assert!(!paid.is_over(start + Duration::from_millis(1199)));
        assert!(paid.is_over(start + Duration::from_millis(1200)));
    }
}
