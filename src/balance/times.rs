//! How fast a server answered of late.

use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// Answers that the mean is taken over, as in Traefik.
const SAMPLES: usize = 100;

/// Times to the first byte of a server's last answers. Empty until the first is added, so
/// that servers of other strategies carry one pointer.
#[derive(Clone, Debug, Default)]
pub(super) struct Times(OnceLock<Arc<Ring>>);

#[derive(Debug)]
struct Ring {
    /// In microseconds.
    samples: [AtomicU32; SAMPLES],
    sum: AtomicU64,
    count: AtomicUsize,
}

impl Times {
    /// An answer began after this time. Two workers at once may each take the other's place
    /// in the ring; the sum stays that of what is in it.
    pub(super) fn add(&self, time: Duration) {
        let ring = self.0.get_or_init(|| {
            Arc::new(Ring {
                samples: [const { AtomicU32::new(0) }; SAMPLES],
                sum: AtomicU64::new(0),
                count: AtomicUsize::new(0),
            })
        });
        let micros = u32::try_from(time.as_micros()).unwrap_or(u32::MAX);
        let place = ring.count.fetch_add(1, Relaxed) % SAMPLES;
        let Some(sample) = ring.samples.get(place) else { return };
        let old = sample.swap(micros, Relaxed);
        ring.sum.fetch_add(u64::from(micros), Relaxed);
        ring.sum.fetch_sub(u64::from(old), Relaxed);
    }

    /// The mean in microseconds; 0 without any answer.
    pub(super) fn mean(&self) -> f64 {
        let Some(ring) = self.0.get() else { return 0.0 };
        let count = ring.count.load(Relaxed).clamp(1, SAMPLES);
        #[expect(clippy::cast_precision_loss, reason = "a hundred samples stay below 2^53")]
        let mean = ring.sum.load(Relaxed) as f64 / count as f64;
        mean
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_is_of_the_last_hundred() {
        let times = Times::default();
        assert!(times.mean().abs() < f64::EPSILON);

        times.add(Duration::from_millis(2));
        times.add(Duration::from_millis(4));
        assert!((times.mean() - 3000.0).abs() < 0.5);

        for _ in 0..SAMPLES {
            times.add(Duration::from_millis(7));
        }
        assert!((times.mean() - 7000.0).abs() < 0.5);
    }
}
