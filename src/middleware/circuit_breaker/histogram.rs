//! Latencies in buckets that grow with them: any quantile to 1/64, in bounded memory.

/// Buckets of each power of two.
const PARTS: u64 = 64;

/// Bits of a place among them.
const BITS: u32 = PARTS.ilog2();

/// An hour; what is longer counts as long.
const LONGEST: u64 = 3_600_000_000;

/// Buckets in all.
const BUCKETS: usize = place(LONGEST) + 1;

/// Counts of values. Takes memory with the first one.
#[derive(Clone, Debug, Default)]
pub(super) struct Histogram {
    counts: Box<[u32]>,
}

impl Histogram {
    /// Counts a value.
    pub(super) fn count(&mut self, value: u64) {
        if self.counts.is_empty() {
            self.counts = vec![0; BUCKETS].into();
        }
        if let Some(count) = self.counts.get_mut(place(value.min(LONGEST))) {
            *count = count.saturating_add(1);
        }
    }

    /// Adds those of another.
    pub(super) fn add(&mut self, other: &Self) {
        if self.counts.is_empty() {
            self.counts.clone_from(&other.counts);
            return;
        }
        for (count, other) in self.counts.iter_mut().zip(&other.counts) {
            *count = count.saturating_add(*other);
        }
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        self.counts.fill(0);
    }

    /// The value that `percent` of all values do not exceed: the upper end of its bucket. 0
    /// without values. Below 0 and above 100 count as these.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of a count is a count; rounding is wanted"
    )]
    pub(super) fn at(&self, percent: f64) -> u64 {
        let all: u64 = self.counts.iter().map(|count| u64::from(*count)).sum();
        if all == 0 {
            return 0;
        }
        let wanted = (percent.clamp(0.0, 100.0) / 100.0 * all as f64 + 0.5) as u64;
        let mut seen = 0;
        for (place, count) in self.counts.iter().enumerate() {
            seen += u64::from(*count);
            if seen >= wanted.max(1) {
                return upper_end(place);
            }
        }
        LONGEST
    }
}

/// The bucket of a value. Small values have one each.
const fn place(value: u64) -> usize {
    if value < PARTS {
        #[expect(clippy::cast_possible_truncation, reason = "less than 64")]
        return value as usize;
    }
    let power = value.ilog2();
    let part = (value >> (power - BITS)) - PARTS;
    #[expect(clippy::cast_possible_truncation, reason = "at most 64 of each of 64 powers")]
    return ((power - BITS + 1) as u64 * PARTS + part) as usize;
}

/// The largest value of a bucket.
const fn upper_end(place: usize) -> u64 {
    let place = place as u64;
    if place < PARTS {
        return place;
    }
    let (power, part) = (place / PARTS - 1, place % PARTS);
    ((PARTS + part + 1) << power) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_in_a_bucket_that_ends_little_above_it() {
        for value in (0..70).chain([127, 128, 1000, 99_999, 100_000, 123_456_789, LONGEST]) {
            let end = upper_end(place(value));

            assert!(end >= value && end - value <= value / PARTS, "{value}: {end}");
            assert_eq!(place(end), place(value), "{value}");
            assert_eq!(place(end + 1), place(value) + 1, "{value}");
        }
        assert_eq!(BUCKETS, 1708);
    }

    #[test]
    fn quantiles_are_those_of_the_values() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.at(50.0), 0);
        for value in 1..=50 {
            histogram.count(value);
        }
        let mut other = Histogram::default();
        other.count(u64::MAX);
        histogram.add(&other);

        for (percent, value) in [(0.0, 1), (50.0, 26), (98.0, 50), (-5.0, 1)] {
            assert_eq!(histogram.at(percent), value, "{percent}");
        }
        for percent in [100.0, 200.0] {
            assert!(histogram.at(percent) >= LONGEST);
        }
    }
}
