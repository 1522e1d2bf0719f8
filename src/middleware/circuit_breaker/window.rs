//! What the last ten seconds were like: errors, statuses, latencies. Each worker counts on
//! its own, so that none waits for another; a check adds them up.

use std::sync::{Mutex, PoisonError};

use super::histogram::Histogram;

/// Slices of a window. Each is a second.
const SLICES: usize = 10;

/// Length of a slice in nanoseconds.
const SLICE: u64 = 1_000_000_000;

/// Workers that count apart; more share.
const SHARDS: usize = 16;

/// Statuses counted for a ratio: those from the first up to below the second, by those from
/// the third up to below the fourth.
pub(super) type Ranges = [i64; 4];

/// What is to be counted, as the condition asks for.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Wanted {
    pub(super) ratios: Vec<Ranges>,
    pub(super) latencies: bool,
}

/// One answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    pub(super) status: u16,
    pub(super) is_network_error: bool,
    /// Microseconds to the head of the answer.
    pub(super) latency: u64,
}

/// The last ten seconds.
pub(super) struct Window {
    wanted: Wanted,
    shards: Box<[Shard]>,
}

/// What one worker counted; made when it first does.
type Shard = Mutex<Option<Box<[Slice; SLICES]>>>;

/// One second of one worker.
#[derive(Clone, Default)]
struct Slice {
    /// Which second; what was counted in another is void.
    number: u64,
    sum: Sum,
}

/// What was counted.
#[derive(Clone, Debug, Default)]
pub(super) struct Sum {
    all: u64,
    network_errors: u64,
    /// Above and below the line of each ratio.
    ratios: Box<[(u64, u64)]>,
    latencies: Histogram,
}

impl Window {
    pub(super) fn new(wanted: Wanted) -> Self {
        Self { wanted, shards: (0..SHARDS).map(|_| Mutex::default()).collect() }
    }

    /// Counts an answer.
    pub(super) fn record(&self, worker: usize, now: u64, sample: Sample) {
        let Some(shard) = self.shards.get(worker % SHARDS) else { return };
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        let number = now / SLICE;
        let at = usize::try_from(number % SLICES as u64).unwrap_or_default();
        let Some(slice) = shard.get_or_insert_default().get_mut(at) else { return };
        if slice.number != number {
            slice.number = number;
            slice.sum.clear();
        }
        slice.sum.count(&self.wanted, sample);
    }

    /// All that was counted in the last ten seconds.
    pub(super) fn sum(&self, now: u64) -> Sum {
        let mut sum = Sum::default();
        let number = now / SLICE;
        for shard in &*self.shards {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            for slice in shard.iter().flat_map(|slices| slices.iter()) {
                if slice.number.saturating_add(SLICES as u64) > number {
                    sum.add(&slice.sum);
                }
            }
        }
        sum
    }

    /// Forgets everything.
    pub(super) fn clear(&self) {
        for shard in &*self.shards {
            *shard.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
    }
}

impl Sum {
    fn clear(&mut self) {
        (self.all, self.network_errors) = (0, 0);
        self.ratios.fill((0, 0));
        self.latencies.clear();
    }

    fn count(&mut self, wanted: &Wanted, sample: Sample) {
        self.all += 1;
        self.network_errors += u64::from(sample.is_network_error);
        if self.ratios.len() != wanted.ratios.len() {
            self.ratios = vec![(0, 0); wanted.ratios.len()].into();
        }
        let status = i64::from(sample.status);
        for ((above, below), ranges) in self.ratios.iter_mut().zip(&wanted.ratios) {
            let [above_from, above_to, below_from, below_to] = *ranges;
            *above += u64::from((above_from..above_to).contains(&status));
            *below += u64::from((below_from..below_to).contains(&status));
        }
        if wanted.latencies {
            self.latencies.count(sample.latency);
        }
    }

    fn add(&mut self, other: &Self) {
        self.all += other.all;
        self.network_errors += other.network_errors;
        if self.ratios.is_empty() {
            self.ratios.clone_from(&other.ratios);
        } else {
            for (sum, other) in self.ratios.iter_mut().zip(&other.ratios) {
                sum.0 += other.0;
                sum.1 += other.1;
            }
        }
        self.latencies.add(&other.latencies);
    }

    /// The share of answers that no server gave; 0 of none.
    pub(super) fn network_error_ratio(&self) -> f64 {
        ratio(self.network_errors, self.all)
    }

    /// The ratio at this place of [`Wanted::ratios`]; 0 of none.
    pub(super) fn ratio(&self, at: usize) -> f64 {
        self.ratios.get(at).map_or(0.0, |(above, below)| ratio(*above, *below))
    }

    /// The latency that this share (in percent) of the answers did not exceed, in whole
    /// milliseconds; 0 of none.
    pub(super) fn latency_ms(&self, percent: f64) -> i64 {
        i64::try_from(self.latencies.at(percent) / 1000).unwrap_or(i64::MAX)
    }
}

#[expect(clippy::cast_precision_loss, reason = "a window does not hold 2^53 answers")]
fn ratio(above: u64, below: u64) -> f64 {
    if below == 0 { 0.0 } else { above as f64 / below as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIVES: Ranges = [500, 600, 0, 600];

    fn sample(status: u16, is_network_error: bool, millis: u64) -> Sample {
        Sample { status, is_network_error, latency: millis * 1000 }
    }

    fn window() -> Window {
        Window::new(Wanted { ratios: vec![FIVES, [200, 201, 200, 300]], latencies: true })
    }

    #[test]
    #[expect(clippy::float_cmp, reason = "small integers are divided by powers of two")]
    fn all_workers_answers_are_summed_up() {
        let window = window();
        for (worker, status, is_network_error, millis) in
            [(0, 200, false, 10), (1, 204, false, 10), (17, 502, true, 10), (99, 500, false, 400)]
        {
            window.record(worker, SLICE, sample(status, is_network_error, millis));
        }

        let sum = window.sum(SLICE);

        assert_eq!(sum.network_error_ratio(), 0.25);
        assert_eq!((sum.ratio(0), sum.ratio(1), sum.ratio(2)), (0.5, 0.5, 0.0));
        assert_eq!((sum.latency_ms(75.0), sum.latency_ms(100.0)), (10, 401));
    }

    #[test]
    #[expect(clippy::float_cmp, reason = "small integers are divided by powers of two")]
    fn only_the_last_ten_seconds_count() {
        let window = window();
        let at = |tenths: u64| tenths * SLICE / 10;
        window.record(0, at(5), sample(500, true, 900));
        window.record(0, at(35), sample(200, false, 1));

        assert_eq!(window.sum(at(99)).ratio(0), 0.5);
        assert_eq!(window.sum(at(100)).ratio(0), 0.0);
        assert_eq!(window.sum(at(129)).ratio(1), 1.0);
        assert_eq!(window.sum(at(130)).ratio(1), 0.0);
        // The slice of the first second is used again and holds nothing old.
        window.record(0, at(105), sample(200, false, 1));
        assert_eq!(window.sum(at(105)).network_error_ratio(), 0.0);
        assert_eq!(window.sum(at(105)).latency_ms(100.0), 1);
    }

    #[test]
    fn what_is_cleared_is_gone() {
        let window = window();
        window.record(0, 0, sample(500, true, 900));

        window.clear();

        let sum = window.sum(0);
        assert_eq!((sum.network_error_ratio(), sum.ratio(0), sum.latency_ms(50.0)), (0.0, 0.0, 0));
    }
}
