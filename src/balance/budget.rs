//! What retries may cost a service: a share of its recent requests, so that servers that are
//! in trouble are not hit harder for it.

use std::time::Duration;

use tokio::time::Instant;

/// Requests and retries of so long count as recent.
const WINDOW: Duration = Duration::from_secs(10);

/// One retry for so many recent requests.
const REQUESTS_EACH: u64 = 5;

/// Retries within the window that a quiet service may make all the same. Five a second: a
/// request now and then must survive a restart as well as one of many.
const FLOOR: u64 = 50;

/// Counts retries against requests. Asked only when there is one to make.
#[derive(Debug)]
pub(super) struct Budget {
    since: Instant,
    /// The number of requests at that time, as its owner counts.
    requests: u64,
    /// Requests and retries of the window before.
    before: (u64, u64),
    spent: u64,
}

impl Budget {
    pub(super) fn new(requests: u64, now: Instant) -> Self {
        Self { since: now, requests, before: (0, 0), spent: 0 }
    }

    /// Takes one retry, if there is one left; `requests` is the number of all so far.
    pub(super) fn take(&mut self, requests: u64, now: Instant) -> bool {
        self.turn(requests, now);
        let old = WINDOW.saturating_sub(now.duration_since(self.since));
        let left = |count: u64| {
            let share = u128::from(count) * old.as_millis() / WINDOW.as_millis();
            u64::try_from(share).unwrap_or(u64::MAX)
        };
        let recent = requests.saturating_sub(self.requests).saturating_add(left(self.before.0));
        let spent = self.spent.saturating_add(left(self.before.1));
        let is_within = spent < FLOOR.max(recent / REQUESTS_EACH);
        self.spent += u64::from(is_within);
        is_within
    }

    /// Begins a new window when this one is over. Nobody asks while all goes well, so what
    /// went by since is spread evenly over the time it took.
    fn turn(&mut self, requests: u64, now: Instant) {
        let passed = now.duration_since(self.since);
        let windows = u32::try_from(passed.as_nanos() / WINDOW.as_nanos()).unwrap_or(u32::MAX);
        if windows == 0 {
            return;
        }
        let whole = WINDOW.saturating_mul(windows).min(passed);
        let made = requests.saturating_sub(self.requests);
        let within = |time: Duration| {
            let share = u128::from(made) * time.as_millis() / passed.as_millis().max(1);
            u64::try_from(share).unwrap_or(u64::MAX)
        };
        // Retries of a window that ended long ago are no longer recent.
        let spent = if windows == 1 { self.spent } else { 0 };
        self.before = (within(WINDOW), spent);
        (self.since, self.spent) = (self.since + whole, 0);
        self.requests = self.requests.saturating_add(within(whole));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(budget: &mut Budget, wanted: u64, requests: u64, now: Instant) -> u64 {
        (0..wanted).map(|_| u64::from(budget.take(requests, now))).sum()
    }

    #[test]
    fn a_quiet_service_has_a_few_and_no_more() {
        let start = Instant::now();
        let mut budget = Budget::new(0, start);

        assert_eq!(taken(&mut budget, 100, 3, start), FLOOR);
        assert_eq!(taken(&mut budget, 100, 3, start + WINDOW / 2), 0);
        assert_eq!(taken(&mut budget, 100, 3, start + WINDOW + WINDOW / 2), FLOOR / 2);
    }

    #[test]
    fn a_busy_service_may_repeat_a_fifth_of_its_recent_requests() {
        let start = Instant::now();
        let mut budget = Budget::new(1000, start);

        // 10,000 requests an hour ago and since then: nobody asked meanwhile.
        let later = start + WINDOW * 10;
        assert_eq!(taken(&mut budget, 5000, 101_000, later), 2000);
        assert_eq!(taken(&mut budget, 5000, 103_000, later), 400);
    }

    #[test]
    fn a_new_window_does_not_forget_the_one_before_at_once() {
        let start = Instant::now();
        let mut budget = Budget::new(0, start);
        assert_eq!(taken(&mut budget, 5000, 5000, start + WINDOW / 2), 1000);

        let later = start + WINDOW;
        let taken = taken(&mut budget, 5000, 10_000, later);

        // All of the last window's requests and retries count still.
        assert_eq!(taken, 1000);
    }
}
