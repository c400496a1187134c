//! How many commands a connection may send now, where the operator bounds their rate.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

/// The allowance of one connection: as many commands as it has been silent for, up to those of a second.
#[derive(Debug)]
pub(super) struct Rate {
    /// Between two commands.
    interval: Duration,
    /// When the allowance was or will be none.
    empty_at: Instant,
    per_second: u32,
}

impl Rate {
    /// The rate of a connection that has said nothing yet.
    pub(super) fn new(per_second: NonZeroU32, now: Instant) -> Rate {
        let second = Duration::from_secs(1);
        Rate {
            interval: second / per_second.get(),
            empty_at: now.checked_sub(second).unwrap_or(now),
            per_second: per_second.get(),
        }
    }

    /// How many commands may run now.
    pub(super) fn allowed(&mut self, now: Instant) -> usize {
        let full = now.checked_sub(Duration::from_secs(1)).unwrap_or(self.empty_at);
        self.empty_at = self.empty_at.max(full);
        let saved = now.saturating_duration_since(self.empty_at).as_nanos();
        let allowed = saved.checked_div(self.interval.as_nanos()).map_or(self.per_second, |count| count as u32);
        allowed.min(self.per_second) as usize
    }

    /// Counts commands that run.
    pub(super) fn count(&mut self, commands: usize) {
        self.empty_at += self.interval.saturating_mul(u32::try_from(commands).unwrap_or(u32::MAX));
    }

    /// When the next command may run.
    pub(super) fn next(&self) -> Instant {
        self.empty_at + self.interval
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_of_commands_at_once_then_one_after_the_other() {
        let start = Instant::now();
        let mut rate = Rate::new(NonZeroU32::new(10).unwrap(), start);
        assert_eq!(rate.allowed(start), 10);
        rate.count(10);
        assert_eq!(rate.allowed(start), 0);
        assert_eq!(rate.next(), start + Duration::from_millis(100));
        assert_eq!(rate.allowed(start + Duration::from_millis(350)), 3);
        rate.count(3);
        assert_eq!(rate.allowed(start + Duration::from_millis(350)), 0);
        assert_eq!(rate.allowed(start + Duration::from_secs(60)), 10, "silence saves no more than a second's");
    }

    #[test]
    fn a_high_rate_is_no_division_by_nothing() {
        let start = Instant::now();
        let mut rate = Rate::new(NonZeroU32::MAX, start);
        assert!(rate.allowed(start) > 0);
    }
}
