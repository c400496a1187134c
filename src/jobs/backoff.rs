//! How long a failed job waits.

use crate::jobs::job::Backoff;

const DEFAULT_BASE_MS: u64 = 1_000;
const DEFAULT_MAX_MS: u64 = 3_600_000;

impl Backoff {
    /// The wait after the `failures`-th failure, in milliseconds.
    pub(super) fn wait_ms(&self, failures: u32, random: &mut fastrand::Rng) -> u64 {
        match self {
            Backoff::Default => exponential(DEFAULT_BASE_MS, DEFAULT_MAX_MS, failures, random),
            Backoff::Exponential { base_ms, max_ms } => exponential(*base_ms, *max_ms, failures, random),
            Backoff::Fixed(ms) => *ms,
            Backoff::Linear { step_ms, max_ms } => step_ms.saturating_mul(u64::from(failures)).min(*max_ms),
            Backoff::List(list) => {
                let place = usize::try_from(failures).unwrap_or(usize::MAX).saturating_sub(1);
                list.get(place).or(list.last()).copied().unwrap_or(0)
            }
        }
    }
}

/// `min(base · 2^(n−1), max)`, give or take half of it.
fn exponential(base_ms: u64, max_ms: u64, failures: u32, random: &mut fastrand::Rng) -> u64 {
    let doublings = failures.saturating_sub(1).min(63);
    let wait = base_ms.saturating_mul(1 << doublings).min(max_ms);
    wait / 2 + random.u64(0..=wait)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_doubles_up_to_an_hour_give_or_take_half() {
        let mut random = fastrand::Rng::with_seed(3);
        for (failures, middle) in [(1, 1_000), (2, 2_000), (5, 16_000), (13, 3_600_000), (u32::MAX, 3_600_000)] {
            for _ in 0..50 {
                let wait = Backoff::Default.wait_ms(failures, &mut random);
                assert!((middle / 2..=middle + middle / 2).contains(&wait), "{failures}: {wait}");
            }
        }
    }

    #[test]
    fn the_other_policies_are_exact() {
        let mut random = fastrand::Rng::with_seed(3);
        let mut waits = |backoff: Backoff| [1, 2, 3, 9].map(|failures| backoff.wait_ms(failures, &mut random));
        assert_eq!(waits(Backoff::Fixed(7)), [7; 4]);
        assert_eq!(waits(Backoff::Linear { step_ms: 5, max_ms: 20 }), [5, 10, 15, 20]);
        assert_eq!(waits(Backoff::List(vec![1, 50])), [1, 50, 50, 50]);
        assert_eq!(waits(Backoff::List(Vec::new())), [0; 4]);
    }
}
