//! When a checkpoint is due, and how far the ones that were made have come.
//!
//! The core stands still while redb commits. How long depends on how many pages the rows of the window touched, which
//! depends on the data, so no fixed row count would do: what one costs is learnt from the last ones.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Rows that a window may always have, however slow the last checkpoints were.
const MIN_ROWS: u64 = 1000;
/// The part of the longest stall that is aimed at: no two windows cost the same.
const AIM: f64 = 0.75;
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

/// How far a checkpoint reaches.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Reached {
    /// The barrier of its last sync.
    pub(super) barrier: u64,
    /// The last record it covers.
    pub(super) seq: u64,
    /// Bytes of log it covers.
    pub(super) bytes: u64,
}

/// The checkpoints of one run.
#[derive(Debug)]
pub(super) struct Checkpoints {
    /// Those on their way to the disk, oldest first.
    draining: VecDeque<Reached>,
    /// The last one begun.
    begun: Reached,
    /// The last one known to be on the disk.
    drained: Reached,
    pacer: Pacer,
    snapshots: Arc<SnapshotWatch>,
    /// Rows applied since the last one.
    pub(super) window_rows: u64,
    /// How many were made.
    pub(super) made: u64,
    /// How long the last one held up the core.
    pub(super) last_stall: Duration,
}

impl Checkpoints {
    /// `recovered` is what the opening's own commit reaches, which is on the disk.
    pub(super) fn new(recovered: Reached, stall_ms: u64) -> Checkpoints {
        Checkpoints {
            draining: VecDeque::new(),
            begun: recovered,
            drained: recovered,
            pacer: Pacer::new(stall_ms),
            snapshots: Arc::default(),
            window_rows: 0,
            made: 0,
            last_stall: Duration::ZERO,
        }
    }

    /// The last record that a checkpoint covers, on the disk or not.
    pub(super) fn begun_seq(&self) -> u64 {
        self.begun.seq
    }

    /// Bytes of log that a checkpoint covers, on the disk or not.
    pub(super) fn begun_bytes(&self) -> u64 {
        self.begun.bytes
    }

    /// Notes a checkpoint that held up the core for `stall`.
    pub(super) fn begin(&mut self, reached: Reached, stall: Duration) {
        if !self.snapshots.take_long() {
            self.pacer.learn(self.window_rows, stall);
        }
        self.last_stall = stall;
        self.made += 1;
        self.window_rows = 0;
        self.begun = reached;
        self.draining.push_back(reached);
    }

    /// Goes on with another file, which is on the disk up to `reached`, with so many rows applied since. What watches
    /// over the snapshots of the old one.
    pub(super) fn replaced(&mut self, reached: Reached, window_rows: u64) -> Arc<SnapshotWatch> {
        self.draining.clear();
        (self.begun, self.drained, self.window_rows) = (reached, reached, window_rows);
        std::mem::take(&mut self.snapshots)
    }

    /// Notes that barriers up to `passed` have been passed: the last checkpoint that is on the disk by that.
    pub(super) fn settle(&mut self, passed: u64) -> Reached {
        while let Some(reached) = self.draining.front().filter(|reached| reached.barrier <= passed) {
            self.drained = *reached;
            self.draining.pop_front();
        }
        self.drained
    }

    /// True when one is on its way to the disk, with barriers up to `passed` passed.
    pub(super) fn is_draining(&self, passed: u64) -> bool {
        self.draining.back().is_some_and(|last| last.barrier > passed)
    }

    /// Bytes of log, of `bytes` in all, that no checkpoint on the disk covers.
    pub(super) fn uncovered(&self, bytes: u64, passed: u64) -> u64 {
        let drained = self.draining.iter().rev().find(|reached| reached.barrier <= passed).unwrap_or(&self.drained);
        bytes - drained.bytes
    }

    /// Rows after which the next one would take as long as it may.
    pub(super) fn rows_allowed(&self) -> u64 {
        self.pacer.rows_allowed()
    }

    /// Counts a snapshot while it lives.
    pub(super) fn snapshot(&self) -> SnapshotToken {
        SnapshotToken::new(&self.snapshots)
    }
}

/// What checkpoints cost.
#[derive(Debug)]
struct Pacer {
    stall_us: f64,
    fixed_us: f64,
    row_us: f64,
}

impl Pacer {
    fn new(stall_ms: u64) -> Pacer {
        Pacer { stall_us: stall_ms as f64 * 1000.0, fixed_us: 1000.0, row_us: 2.0 }
    }

    /// Rows after which a checkpoint would take as long as it may.
    fn rows_allowed(&self) -> u64 {
        let rows = (self.stall_us * AIM - self.fixed_us) / self.row_us;
        (rows.max(0.0) as u64).max(MIN_ROWS)
    }

    /// Learns from a checkpoint of `rows` rows.
    fn learn(&mut self, rows: u64, took: Duration) {
        let took = took.as_secs_f64() * 1e6;
        self.fixed_us = self.fixed_us.min(took);
        if rows < FEW_ROWS {
            self.fixed_us = blend(self.fixed_us, took);
        } else {
            self.row_us = blend(self.row_us, (took - self.fixed_us).max(1.0) / rows as f64);
        }
    }
}

/// Moves an estimate towards a sample: fast when things became dearer, since the next stall depends on it, slowly when
/// they became cheaper. One sample that is far off moves it no further than sixteen times would.
fn blend(estimate: f64, sample: f64) -> f64 {
    let weight = if sample > estimate { 0.8 } else { 0.3 };
    (1.0 - weight) * estimate + weight * sample.min(estimate * 16.0)
}

/// The snapshots that live, and how long the last ones did.
#[derive(Debug, Default)]
pub(super) struct SnapshotWatch {
    live: AtomicUsize,
    longest_us: AtomicU64,
}

impl SnapshotWatch {
    /// True while a snapshot lives.
    pub(super) fn is_watching(&self) -> bool {
        self.live.load(Ordering::Acquire) > 0
    }

    /// True when a snapshot lives, or a long one has ended since this was asked last.
    fn take_long(&self) -> bool {
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
    fn new(watch: &Arc<SnapshotWatch>) -> SnapshotToken {
        watch.live.fetch_add(1, Ordering::Relaxed);
        SnapshotToken { watch: Arc::clone(watch), since: Instant::now() }
    }
}

impl Drop for SnapshotToken {
    fn drop(&mut self) {
        self.watch.live.fetch_sub(1, Ordering::Release);
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
        // (15 ms - 2 ms) / 5 µs a row
        assert!((2400..2800).contains(&pacer.rows_allowed()), "{}", pacer.rows_allowed());
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
    fn dearer_rows_are_believed_at_once_and_one_odd_checkpoint_is_forgotten() {
        let mut pacer = Pacer::new(20);
        for _ in 0..50 {
            pacer.learn(100_000, Duration::from_millis(10));
        }
        let before = pacer.rows_allowed();
        pacer.learn(100_000, Duration::from_millis(100));
        assert!(pacer.rows_allowed() < before / 5, "{before} {}", pacer.rows_allowed());
        for _ in 0..10 {
            pacer.learn(100_000, Duration::from_millis(10));
        }
        assert!(pacer.rows_allowed() > before / 2, "{before} {}", pacer.rows_allowed());
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
