//! When a checkpoint is due: what one costs is learnt from the last ones.
//!
//! The core stands still while redb commits. How long depends on how many pages the rows of the window touched, which
//! depends on the data, so no fixed row count would do.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Rows that a window may always have, however slow the last checkpoints were.
const MIN_ROWS: u64 = 1000;
/// A checkpoint of fewer rows tells the fixed cost, one of more the cost of a row.
const FEW_ROWS: u64 = 200;
/// A snapshot that lived longer makes the checkpoint after it slower than those that will follow.
const LONG_SNAPSHOT: Duration = Duration::from_millis(100);

/// How fast writing units may come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// At once.
    Go,
    /// Each a little later: a checkpoint is still on its way to the disk and the next window fills up.
    Slow,
    /// Not now: too much log waits for a checkpoint. [`crate::storage::Db::on_wake`] tells when to ask again.
    Wait,
}

/// What checkpoints cost.
#[derive(Debug)]
pub(super) struct Pacer {
    stall_us: f64,
    fixed_us: f64,
    row_us: f64,
}

impl Pacer {
    pub(super) fn new(stall_ms: u64) -> Pacer {
        Pacer { stall_us: stall_ms as f64 * 1000.0, fixed_us: 1000.0, row_us: 2.0 }
    }

    /// Rows after which a checkpoint would take as long as it may.
    pub(super) fn rows_allowed(&self) -> u64 {
        let rows = (self.stall_us - self.fixed_us) / self.row_us;
        (rows.max(0.0) as u64).max(MIN_ROWS)
    }

    /// Learns from a checkpoint of `rows` rows.
    pub(super) fn learn(&mut self, rows: u64, took: Duration) {
        let took = took.as_secs_f64() * 1e6;
        self.fixed_us = self.fixed_us.min(took);
        if rows < FEW_ROWS {
            self.fixed_us = blend(self.fixed_us, took);
        } else {
            self.row_us = blend(self.row_us, (took - self.fixed_us).max(1.0) / rows as f64);
        }
    }
}

/// Moves an estimate towards a sample; one sample that is far off moves it no further than four times would.
fn blend(estimate: f64, sample: f64) -> f64 {
    0.7 * estimate + 0.3 * sample.min(estimate * 4.0)
}

/// The snapshots that live, and how long the last ones did.
#[derive(Debug, Default)]
pub(super) struct SnapshotWatch {
    live: AtomicUsize,
    longest_us: AtomicU64,
}

impl SnapshotWatch {
    /// True when a snapshot lives, or a long one has ended since this was asked last.
    pub(super) fn take_long(&self) -> bool {
        let longest = Duration::from_micros(self.longest_us.swap(0, Ordering::Relaxed));
        self.live.load(Ordering::Relaxed) > 0 || longest > LONG_SNAPSHOT
    }
}

/// Counts one snapshot while it lives.
#[derive(Debug)]
pub(super) struct SnapshotToken {
    watch: Arc<SnapshotWatch>,
    since: Instant,
}

impl SnapshotToken {
    pub(super) fn new(watch: &Arc<SnapshotWatch>) -> SnapshotToken {
        watch.live.fetch_add(1, Ordering::Relaxed);
        SnapshotToken { watch: Arc::clone(watch), since: Instant::now() }
    }
}

impl Drop for SnapshotToken {
    fn drop(&mut self) {
        self.watch.live.fetch_sub(1, Ordering::Relaxed);
        let lived = u64::try_from(self.since.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.watch.longest_us.fetch_max(lived, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn learns_what_a_row_costs() {
        let mut pacer = Pacer::new(20);
        for _ in 0..50 {
            pacer.learn(10, Duration::from_millis(2));
            pacer.learn(5000, Duration::from_millis(27));
        }
        // (20 ms - 2 ms) / 5 µs a row
        assert!((3400..3800).contains(&pacer.rows_allowed()), "{}", pacer.rows_allowed());
    }

    #[test]
    fn never_below_a_thousand_rows() {
        let mut pacer = Pacer::new(1);
        for _ in 0..50 {
            pacer.learn(1000, Duration::from_millis(500));
        }
        assert_eq!(pacer.rows_allowed(), MIN_ROWS);
    }

    #[test]
    fn one_checkpoint_that_was_held_up_does_not_count_for_many() {
        let mut pacer = Pacer::new(20);
        let before = pacer.rows_allowed();
        pacer.learn(5000, Duration::from_secs(5));
        assert!(pacer.rows_allowed() > before / 3);
    }

    #[test]
    fn a_living_snapshot_is_noticed() {
        let watch = Arc::new(SnapshotWatch::default());
        let token = SnapshotToken::new(&watch);
        assert!(watch.take_long());
        drop(token);
        assert!(!watch.take_long());
    }
}
