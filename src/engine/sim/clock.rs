//! The clocks of a simulated machine: time passes, somebody sets the wall clock, and it is off for a while.

use fastrand::Rng;

use crate::clock::{Millis, SteadyClock};
use crate::storage::Db;

const START: Millis = Millis(1_800_000_000_000);

/// A wall clock, and what the server makes of it.
pub(super) struct Clock {
    wall: Millis,
    steady: SteadyClock,
    now: Millis,
    /// The wall clock stood behind the server's time when it started last.
    set_back: bool,
}

/// What happened to the clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    None,
    Forwards,
    Back,
    /// So far back that the operator has to accept it.
    Accepted,
}

impl Clock {
    pub(super) fn new() -> Clock {
        Clock { wall: START, steady: SteadyClock::steady_at(START), now: START, set_back: false }
    }

    pub(super) fn now(&self) -> Millis {
        self.now
    }

    /// True once after each step forwards.
    pub(super) fn take_step(&mut self) -> bool {
        self.steady.take_step()
    }

    /// True when the server started by a clock that stood behind the time it had had before. It goes on from the last
    /// record's time then: what it had seen of later times without writing anything is as if it had not been.
    pub(super) fn was_set_back(&self) -> bool {
        self.set_back
    }

    /// So much time passes, and nobody sets anything.
    pub(super) fn pass(&mut self, ms: u64) {
        self.wall = self.wall.plus(ms);
        self.now = self.steady.advance(u128::from(ms) * 1_000_000, self.wall);
    }

    /// Some time passes, and the server reads its clocks.
    pub(super) fn read(&mut self, rng: &mut Rng) -> Change {
        let passed = match rng.u8(..100) {
            0..70 => rng.u64(..50),
            70..90 => rng.u64(..5_000),
            90..99 => rng.u64(..60_000),
            _ => rng.u64(..9 * 86_400_000),
        };
        self.wall = self.wall.plus(passed);
        let change = self.set(rng, 2);
        self.now = self.steady.advance(u128::from(passed) * 1_000_000, self.wall);
        change
    }

    /// The server starts: on a machine that was off for a while, by a clock that may be wrong.
    pub(super) fn start(&mut self, rng: &mut Rng, db: &mut Db) -> Change {
        self.wall = self.wall.plus(if rng.u8(..4) == 0 { rng.u64(..200_000) } else { rng.u64(..100) });
        let mut change = self.set(rng, 15);
        if rng.u8(..100) < 3 {
            self.wall = Millis(self.wall.0 - rng.u64(3_600_000..40 * 3_600_000));
        }
        self.set_back = self.wall < self.now;
        self.steady = match SteadyClock::start(db.last_time(), self.wall) {
            Ok(steady) => steady,
            Err(behind) => {
                change = Change::Accepted;
                db.set_time(behind.wall);
                SteadyClock::steady_at(behind.wall)
            }
        };
        self.now = self.steady.advance(0, self.wall);
        change
    }

    fn set(&mut self, rng: &mut Rng, percent: u8) -> Change {
        if rng.u8(..100) >= percent {
            return Change::None;
        }
        if rng.bool() {
            self.wall = self.wall.plus(rng.u64(10_001..200_000));
            Change::Forwards
        } else {
            self.wall = Millis(self.wall.0 - rng.u64(..1_800_000));
            Change::Back
        }
    }
}
