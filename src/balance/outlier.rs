//! Servers that fail where the others of their service do not. Decides from counts that are
//! kept anyway; whether a server may go is for its group to say.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// How often counts are looked at.
pub(super) const TICK: Duration = Duration::from_secs(1);

/// Looks that one comparison spans.
const SPAN: usize = 10;

/// Fewer errors than this prove nothing.
const FEWEST_ERRORS: u64 = 5;

/// Fewer requests to all others than this are no level to compare with.
const FEWEST_OTHERS: u64 = 5;

/// By so much, in percent of the requests, errors must exceed those of the others.
const ABOVE: u64 = 25;

/// A server that connects took out so often of late, though probes brought it back.
const TRIPS: u32 = 2;

/// The first time out; each further one is twice as long.
const FIRST: Duration = Duration::from_secs(10);
const LONGEST: Duration = Duration::from_secs(300);

/// After so long without a time out, the next one is a first one again.
const FORGIVEN: Duration = Duration::from_secs(300);

/// How many of `count` servers may be out at once: never more than half, never the last one.
pub(super) fn most_out(count: usize) -> usize {
    (count / 2).min(count.saturating_sub(1))
}

/// What is remembered of one server.
#[derive(Debug, Default)]
pub(super) struct Record {
    /// Requests and errors in all, at the last looks.
    looks: VecDeque<(u64, u64)>,
    outs: u32,
    /// When the last time out ended or will end.
    ended: Option<Instant>,
}

/// Requests within the span, and how many of them failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sample {
    pub(super) requests: u64,
    pub(super) errors: u64,
    /// Times that failed connects took it out of late.
    pub(super) trips: u32,
}

impl Sample {
    /// Without its requests, where those are not like those to the others.
    pub(super) fn trips_alone(self) -> Self {
        Self { requests: 0, errors: 0, ..self }
    }
}

impl Record {
    /// Takes the counts now; what they grew by over the span.
    pub(super) fn look(&mut self, requests: u64, errors: u64, trips: u32) -> Sample {
        let (then, failed) = self.looks.front().copied().unwrap_or((requests, errors));
        if self.looks.len() >= SPAN {
            self.looks.pop_front();
        }
        self.looks.push_back((requests, errors));
        Sample {
            requests: requests.saturating_sub(then),
            errors: errors.saturating_sub(failed),
            trips,
        }
    }

    /// Until when it would be out, if it were taken out now.
    pub(super) fn until(&self, now: Instant) -> Instant {
        let long = FIRST * 2_u32.saturating_pow(self.outs_before(now).min(8));
        now + long.min(LONGEST)
    }

    /// It is taken out now. What it did before is forgotten.
    pub(super) fn out(&mut self, now: Instant) {
        (self.ended, self.outs) = (Some(self.until(now)), self.outs_before(now).saturating_add(1));
        self.looks.clear();
    }

    fn outs_before(&self, now: Instant) -> u32 {
        let is_forgiven = self.ended.is_none_or(|ended| now >= ended + FORGIVEN);
        if is_forgiven { 0 } else { self.outs }
    }
}

/// Why a server stands out, if it does; `others` are all that it is compared with.
pub(super) fn verdict(own: Sample, others: &[Sample]) -> Option<String> {
    if own.trips >= TRIPS {
        return Some("connects fail again and again, though its port answers probes".to_owned());
    }
    let requests: u64 = others.iter().map(|other| other.requests).sum();
    let errors: u64 = others.iter().map(|other| other.errors).sum();
    if own.errors < FEWEST_ERRORS || requests < FEWEST_OTHERS {
        return None;
    }
    let percent = |errors: u64, of: u64| (errors * 100).checked_div(of).unwrap_or(0).min(100);
    let (mine, theirs) =
        (percent(own.errors, own.requests.max(own.errors)), percent(errors, requests));
    (mine >= theirs + ABOVE && mine >= 2 * theirs).then(|| {
        format!("{mine}% of its requests failed within 10 s, and {theirs}% of the others'")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(requests: u64, errors: u64) -> Sample {
        Sample { requests, errors, trips: 0 }
    }

    #[test]
    fn one_that_fails_clearly_more_than_the_others_stands_out() {
        for (own, others, is_out) in [
            (sample(10, 10), &[sample(10, 0)][..], true),
            (sample(20, 5), &[sample(30, 0), sample(30, 0)], true),
            (sample(20, 5), &[sample(30, 3), sample(30, 3)], false),
            // All fail alike: it is not the server.
            (sample(10, 10), &[sample(10, 9), sample(10, 10)], false),
            // Too little to tell.
            (sample(4, 4), &[sample(100, 0)], false),
            (sample(100, 100), &[sample(4, 0)], false),
            (sample(100, 100), &[], false),
            (sample(1000, 20), &[sample(1000, 0)], false),
            (Sample { trips: 2, ..sample(0, 0) }, &[sample(0, 0)], true),
        ] {
            assert_eq!(verdict(own, others).is_some(), is_out, "{own:?} {others:?}");
        }
    }

    #[test]
    fn counts_are_compared_over_the_span() {
        let mut record = Record::default();
        assert_eq!(record.look(100, 7, 0), sample(0, 0));
        for look in 1..=SPAN as u64 {
            assert_eq!(record.look(100 + look, 7, 0).requests, look);
        }

        assert_eq!(record.look(111, 9, 0), sample(10, 2));
    }

    #[test]
    fn times_out_grow_and_are_forgiven() {
        let mut record = Record::default();
        let mut now = Instant::now();
        let mut seconds = Vec::new();
        for _ in 0..7 {
            let until = record.until(now);
            record.out(now);
            seconds.push((until - now).as_secs());
            now = until;
        }
        assert_eq!(seconds, [10, 20, 40, 80, 160, 300, 300]);

        now += FORGIVEN;
        assert_eq!(record.until(now) - now, FIRST);
    }

    #[test]
    fn never_more_than_half_and_never_the_last() {
        let most = [0, 1, 2, 3, 4, 5, 10].map(most_out);

        assert_eq!(most, [0, 0, 1, 1, 2, 2, 5]);
    }
}
