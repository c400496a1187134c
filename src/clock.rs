//! Time as the engine sees it: milliseconds since the Unix epoch, read once a batch and handed down.
//!
//! Nothing below the core loop asks the operating system for the time. What the core loop makes of its clocks stands
//! here as well, a function of what they say, so that a simulation runs by the same rules.

/// Milliseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Millis(pub u64);

impl Millis {
    /// The latest time there is; used for "never".
    pub const MAX: Millis = Millis(u64::MAX);

    /// This time plus `ms` milliseconds, at most [`Millis::MAX`].
    #[must_use]
    pub fn plus(self, ms: u64) -> Millis {
        Millis(self.0.saturating_add(ms))
    }

    /// Milliseconds from `earlier` to this time, 0 when `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Millis) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// How far the system's clock may stand behind the last time that was written down.
const MAX_BEHIND_MS: u64 = 3_600_000;
/// The clock was set forwards, or the machine slept, when it is ahead of the monotonic clock by more than this.
const STEP_MS: u64 = 10_000;

/// The system's clock stands behind the store's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the system's clock (Unix time {}.{:03}) is {} s behind the last time in the store: set the clock, or give \
     --accept-clock to go on from the clock as it is, which keeps deadlines and leases that much longer",
    wall.0 / 1000, wall.0 % 1000, last.since(*wall) / 1000
)]
pub struct ClockBehind {
    /// What the system says.
    pub wall: Millis,
    /// The last time that was written down.
    pub last: Millis,
}

/// A clock that never runs backwards: it goes by a monotonic clock and is drawn to the wall clock, forwards at once,
/// backwards by running a tenth slower.
#[derive(Debug, Clone)]
pub struct SteadyClock {
    last: Millis,
    /// Part of a millisecond not yet counted, in nanoseconds.
    rest_ns: u128,
    /// It was set forwards since somebody asked.
    stepped: bool,
    ahead_ms: u64,
}

impl SteadyClock {
    /// A clock that starts no earlier than `floor`, the last time that was written down.
    ///
    /// # Errors
    /// When the wall clock stands more than an hour behind `floor`: running on from `floor` would keep every deadline
    /// wrong for as long. Says by how many milliseconds it is behind.
    pub fn start(floor: Millis, wall: Millis) -> Result<SteadyClock, ClockBehind> {
        if floor.since(wall) > MAX_BEHIND_MS {
            return Err(ClockBehind { wall, last: floor });
        }
        Ok(SteadyClock::steady_at(wall.max(floor)))
    }

    /// A clock that stands at a moment.
    #[must_use]
    pub fn steady_at(now: Millis) -> SteadyClock {
        SteadyClock { last: now, rest_ns: 0, stepped: false, ahead_ms: 0 }
    }

    /// The time now: so many nanoseconds of the monotonic clock after the last call, with the wall clock at `wall`.
    pub fn advance(&mut self, elapsed_ns: u128, wall: Millis) -> Millis {
        let ahead = self.last > wall.plus(1);
        let elapsed_ns = if ahead { elapsed_ns - elapsed_ns / 10 } else { elapsed_ns };
        let total_ns = self.rest_ns + elapsed_ns;
        self.rest_ns = total_ns % 1_000_000;
        self.last = self.last.plus(u64::try_from(total_ns / 1_000_000).unwrap_or(u64::MAX));
        self.stepped |= wall.since(self.last) > STEP_MS;
        self.last = self.last.max(wall);
        self.ahead_ms = self.last.since(wall);
        self.last
    }

    /// By how much it was ahead of the wall clock at the last call, in milliseconds.
    #[must_use]
    pub fn ahead_ms(&self) -> u64 {
        self.ahead_ms
    }

    /// True once after each step forwards of over ten seconds: nobody was late by that much.
    pub fn take_step(&mut self) -> bool {
        std::mem::take(&mut self.stepped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clock(last: u64) -> SteadyClock {
        SteadyClock { last: Millis(last), rest_ns: 0, stepped: false, ahead_ms: 0 }
    }

    #[test]
    fn a_step_forwards_is_followed_at_once() {
        assert_eq!(clock(1000).advance(1_000_000, Millis(90_000)), Millis(90_000));
    }

    #[test]
    fn a_step_forwards_is_told_once_and_a_small_one_is_none() {
        let mut clock = clock(1000);
        clock.advance(1_000_000, Millis(11_000));
        assert!(!clock.take_step());
        clock.advance(1_000_000, Millis(22_000));
        assert!(clock.take_step() && !clock.take_step());
        // Time that passed is no step.
        clock.advance(60_000_000_000, Millis(82_000));
        assert!(!clock.take_step());
    }

    #[test]
    fn a_clock_far_behind_the_store_is_refused() {
        let wall = Millis(1_800_000_000_000);
        assert!(SteadyClock::start(wall.plus(MAX_BEHIND_MS / 2), wall).is_ok());
        let error = SteadyClock::start(wall.plus(2 * MAX_BEHIND_MS), wall).unwrap_err().to_string();
        assert!(error.contains("--accept-clock"), "{error}");
    }

    #[test]
    fn a_step_backwards_slows_the_clock_by_a_tenth() {
        let mut clock = clock(100_000);
        assert_eq!(clock.advance(1_000_000_000, Millis(50_000)), Millis(100_900));
        assert_eq!(clock.advance(1_000_000_000, Millis(51_000)), Millis(101_800));
    }
}
