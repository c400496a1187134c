//! The one place that reads the clocks: the core loop asks it once a batch.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::clock::{ClockBehind, Millis, SteadyClock};

/// The system's clocks, as [`SteadyClock`] makes one time of them.
#[derive(Debug)]
pub struct WallClock {
    steady: SteadyClock,
    last_read: Instant,
}

impl WallClock {
    /// A clock that starts no earlier than `floor`, the last time that was written down.
    ///
    /// # Errors
    /// As [`SteadyClock::start`].
    pub fn start(floor: Millis) -> Result<WallClock, ClockBehind> {
        Ok(WallClock { steady: SteadyClock::start(floor, wall())?, last_read: Instant::now() })
    }

    /// The time now.
    pub fn read(&mut self) -> Millis {
        let read = Instant::now();
        let elapsed = read.duration_since(self.last_read);
        self.last_read = read;
        self.steady.advance(elapsed.as_nanos(), wall())
    }

    /// By how much it was ahead of the system's clock at the last reading, in milliseconds.
    #[must_use]
    pub fn ahead_ms(&self) -> u64 {
        self.steady.ahead_ms()
    }

    /// True once after each step forwards of over ten seconds: nobody was late by that much.
    pub fn take_step(&mut self) -> bool {
        self.steady.take_step()
    }
}

fn wall() -> Millis {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Millis(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
}
