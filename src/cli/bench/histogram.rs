//! Durations counted in buckets of at most 1.6 % width, so that a percentile over millions of them costs 30 KB.

use std::time::Duration;

/// Buckets between one power of two and the next, as a power of two.
const SUB_BITS: u32 = 6;
const SUB_BUCKETS: usize = 1 << SUB_BITS;
/// Enough for `u64` nanoseconds.
const BUCKETS: usize = SUB_BUCKETS * (64 - SUB_BITS as usize + 1);

/// How often which duration was seen.
pub(super) struct Histogram {
    counts: Vec<u64>,
    total: u64,
    sum_ns: u128,
    max_ns: u64,
}

impl Histogram {
    /// Nothing seen yet.
    pub(super) fn new() -> Histogram {
        Histogram { counts: vec![0; BUCKETS], total: 0, sum_ns: 0, max_ns: 0 }
    }

    /// Counts `times` durations of `ns` nanoseconds.
    pub(super) fn record(&mut self, ns: u64, times: u64) {
        if let Some(count) = self.counts.get_mut(bucket(ns)) {
            *count += times;
        }
        self.total += times;
        self.sum_ns += u128::from(ns) * u128::from(times);
        self.max_ns = self.max_ns.max(ns);
    }

    /// Adds what another one has seen.
    pub(super) fn add(&mut self, other: &Histogram) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.total += other.total;
        self.sum_ns += other.sum_ns;
        self.max_ns = self.max_ns.max(other.max_ns);
    }

    /// How many were seen.
    pub(super) fn count(&self) -> u64 {
        self.total
    }

    /// The longest.
    pub(super) fn max(&self) -> Duration {
        Duration::from_nanos(self.max_ns)
    }

    /// The mean, zero when nothing was seen.
    pub(super) fn mean(&self) -> Duration {
        let mean = self.sum_ns.checked_div(u128::from(self.total)).unwrap_or(0);
        Duration::from_nanos(u64::try_from(mean).unwrap_or(u64::MAX))
    }

    /// The duration that `part` of them (0.99: 99 %) did not exceed; zero when nothing was seen.
    pub(super) fn percentile(&self, part: f64) -> Duration {
        let rank = ((self.total as f64 * part).ceil() as u64).clamp(1, self.total.max(1));
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return Duration::from_nanos(upper_bound(index).min(self.max_ns));
            }
        }
        self.max()
    }
}

/// Small values have a bucket each; above, each power of two is cut into [`SUB_BUCKETS`] halves' worth.
fn bucket(ns: u64) -> usize {
    let shift = (u64::BITS - ns.leading_zeros()).saturating_sub(SUB_BITS + 1);
    let mantissa = (ns >> shift) as usize;
    shift as usize * SUB_BUCKETS + mantissa
}

/// The largest value of a bucket.
fn upper_bound(index: usize) -> u64 {
    if index < 2 * SUB_BUCKETS {
        return index as u64;
    }
    let shift = index / SUB_BUCKETS - 1;
    let mantissa = (index - shift * SUB_BUCKETS) as u128;
    u64::try_from(((mantissa + 1) << shift) - 1).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_lies_in_its_bucket_and_near_its_end() {
        for exponent in 0..64 {
            for offset in [0_u64, 1, 12_345] {
                let value = (1_u64 << exponent).saturating_add(offset);
                let index = bucket(value);
                assert!(index < BUCKETS, "{value}");
                assert!(upper_bound(index) >= value, "{value} {}", upper_bound(index));
                assert!(upper_bound(index) - value <= value / 60, "{value} {}", upper_bound(index));
                assert!(index == 0 || upper_bound(index - 1) < value, "{value}");
            }
        }
        assert!(bucket(u64::MAX) < BUCKETS);
    }

    #[test]
    fn percentiles_of_a_known_sequence() {
        let mut histogram = Histogram::new();
        for ns in 1..=100 {
            histogram.record(ns, 1);
        }
        assert_eq!(histogram.percentile(0.5), Duration::from_nanos(50));
        assert_eq!(histogram.percentile(0.99), Duration::from_nanos(99));
        assert_eq!(histogram.percentile(1.0), Duration::from_nanos(100));
        assert_eq!(histogram.mean(), Duration::from_nanos(50));
        let mut sum = Histogram::new();
        sum.record(1_000_000, 900);
        sum.add(&histogram);
        assert_eq!((sum.count(), sum.max()), (1000, Duration::from_millis(1)));
        assert_eq!(Histogram::new().percentile(0.99), Duration::ZERO);
    }
}
