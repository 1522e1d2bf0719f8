//! Slow start: a server that has just become ready gets a share that grows.

use std::time::Duration;

use tokio::time::Instant;

/// Steps from the first request to the full share.
pub(super) const STEPS: u32 = 20;

/// The part of its share that a server gets, of [`STEPS`], never nothing.
pub(super) fn part(ready_since: Option<Instant>, slow_start: Duration, now: Instant) -> u32 {
    let Some(since) = ready_since else { return STEPS };
    let passed = now.saturating_duration_since(since);
    if passed >= slow_start {
        return STEPS;
    }
    let part = passed.as_nanos() * u128::from(STEPS) / slow_start.as_nanos().max(1);
    u32::try_from(part).unwrap_or(STEPS).clamp(1, STEPS)
}

/// When the part grows next; `None` when it is whole.
pub(super) fn next(since: Instant, slow_start: Duration, now: Instant) -> Option<Instant> {
    let whole = since + slow_start;
    let step = (slow_start / STEPS).max(Duration::from_millis(1));
    if now >= whole {
        return None;
    }
    let passed = now.saturating_duration_since(since);
    let steps = u32::try_from(passed.as_nanos() / step.as_nanos()).unwrap_or(STEPS);
    Some((since + step * (steps + 1)).min(whole))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOW: Duration = Duration::from_secs(10);

    #[test]
    fn the_part_grows_from_little_to_all() {
        let since = Instant::now();
        for (after, wanted) in [(0, 1), (499, 1), (1000, 2), (5000, 10), (9999, 19), (10_000, 20)] {
            let now = since + Duration::from_millis(after);

            assert_eq!(part(Some(since), SLOW, now), wanted, "{after} ms");
        }
        assert_eq!(part(None, SLOW, since), STEPS);
        assert_eq!(part(Some(since), Duration::ZERO, since), STEPS);
    }

    #[test]
    fn each_step_leads_to_the_next_until_all_are_made() {
        let since = Instant::now();
        let (mut now, mut steps) = (since, 0);
        while let Some(at) = next(since, SLOW, now) {
            assert!(at > now);
            now = at;
            steps += 1;
        }

        assert_eq!((now, steps), (since + SLOW, STEPS));
    }
}
