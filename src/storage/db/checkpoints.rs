//! When the open transaction is committed, and what a commit frees.

use std::time::Instant;

use redb::{Durability, ReadableDatabase};

use crate::storage::checkpoint::{Pace, Reached};
use crate::storage::meta::StoreMeta;
use crate::storage::store_file::commit_durably;
use crate::storage::{Db, DurabilityMode, Error, Result, Snapshot};

/// Idle milliseconds after which a checkpoint is made.
const IDLE_MS: u64 = 1000;

impl Db {
    /// True when a checkpoint should be made now; `idle_ms` is how long nothing was asked.
    ///
    /// Because the log is full, or a later one would hold up the core for longer than it may, or there is nothing
    /// else to do; never while the last one is on its way to the disk.
    #[must_use]
    pub fn checkpoint_due(&self, idle_ms: u64) -> bool {
        let begun = self.checkpoints.begun_seq();
        if self.is_draining() || self.pages.is_held() {
            return false;
        }
        if self.applied_seq == begun {
            return self.space.wants_checkpoint();
        }
        // Without room for more a checkpoint tells what is free again.
        idle_ms >= IDLE_MS
            || self.space.is_short()
            || self.space.is_crowded()
            // A view that comes with a checkpoint costs nothing of its own.
            || self.compacting.wants_view()
            || self.checkpoints.window_rows >= self.checkpoints.rows_allowed()
            || self.log.wants_checkpoint(begun)
            // While the log grows for the archive it is its bytes that count.
            || self.log.bytes() - self.checkpoints.begun_bytes() > 2 * self.checkpoint_size
    }

    pub(in crate::storage) fn is_draining(&self) -> bool {
        self.checkpoints.is_draining(self.pages.passed())
    }

    /// How fast writing units may come, so that checkpoints keep up. While a page waits for space none is made, and what may
    /// still run is bounded by [`Db::refusal`].
    #[must_use]
    pub fn pace(&self) -> Pace {
        if self.pages.is_held() {
            return Pace::Go;
        }
        let waits_for_archive = self.archiver.as_ref().is_some_and(|archiver| archiver.holds_writes(self.log.bytes()));
        let uncovered = self.checkpoints.uncovered(self.log.bytes(), self.pages.passed());
        if waits_for_archive || uncovered > 2 * self.checkpoint_size || self.pages.is_behind() {
            Pace::Wait
        } else if self.compacting.is_behind()
            || self.checkpoints.window_rows > 2 * self.checkpoints.rows_allowed() && self.is_draining()
        {
            Pace::Slow
        } else {
            Pace::Go
        }
    }

    /// Commits the open transaction durably and begins the next. Its pages are written behind the caller's back.
    ///
    /// # Errors
    /// [`Error::Full`] when the disk is full: nothing was done. Any other error is final; the log has everything that
    /// was acknowledged.
    pub fn checkpoint(&mut self) -> Result<()> {
        self.check_held()?;
        self.settle();
        let began = Instant::now();
        if self.archiver.is_some() {
            // A record that is in the file and, after a power cut, not in the log could not be archived any more.
            self.sync_log()?;
        }
        self.commit(Some(true))?;
        let stall = began.elapsed();
        let reached = Reached { barrier: self.pages.barriers(), seq: self.applied_seq, bytes: self.log.bytes() };
        self.checkpoints.begin(reached, stall);
        self.space.checkpoint_begun();
        if self.durability == DurabilityMode::None {
            self.sync.request();
        }
        self.show_to_copy()
    }

    /// Frees the log that checkpoints on the disk cover.
    pub(in crate::storage) fn settle(&mut self) {
        let drained = self.checkpoints.settle(self.pages.passed());
        if let Some(archiver) = &self.archiver
            && archiver.must_give_up(self.log.bytes())
            && archiver.archived() < drained.seq
        {
            archiver.skip(drained.seq, drained.bytes);
        }
        // The log does not become longer at the cost of what is kept free.
        let has_room = self.space.room() / 4 > self.checkpoint_size;
        self.log
            .release(drained.seq.min(self.compacting.kept_after()), if has_room { self.checkpoint_size } else { 0 });
    }

    /// The one function that commits: between batches, with every row of the transaction already in the log.
    /// `log_required` is what the durable commit says of the log; `None` commits for a snapshot, not durably.
    pub(super) fn commit(&mut self, durable: Option<bool>) -> Result<()> {
        self.signals.check()?;
        let committed = self.try_commit(durable);
        self.stop_on_error(committed)
    }

    fn try_commit(&mut self, durable: Option<bool>) -> Result<()> {
        let mut txn = self.txn.take().ok_or_else(|| Error::Stopped { reason: "a commit has failed".to_owned() })?;
        assert_eq!(
            self.applied_seq,
            self.log.seq(),
            "a commit stands between batches: all that is in the log is applied"
        );
        self.meta = StoreMeta {
            seq: self.applied_seq,
            time: self.last_time,
            log_required: durable.unwrap_or(true),
            ..self.meta
        };
        if durable.is_some() {
            commit_durably(txn, &self.meta)?;
        } else {
            self.meta.write(&txn)?;
            txn.set_durability(Durability::None)?;
            txn.commit()?;
        }
        self.txn = Some(self.database()?.begin_write()?);
        Ok(())
    }

    /// A view of everything applied so far, for another thread. Drop it soon: the file grows while it lives.
    ///
    /// # Errors
    /// When redb fails.
    pub fn snapshot(&mut self) -> Result<Snapshot> {
        if self.snapshot_seq.max(self.checkpoints.begun_seq()) < self.applied_seq {
            self.commit(None)?;
            self.snapshot_seq = self.applied_seq;
        }
        let txn = self.database()?.begin_read()?;
        Ok(Snapshot::new(txn, self.checkpoints.snapshot()))
    }

    /// The same for what outlives the store, a backup say: all of it is durable, in any mode. Otherwise it could have records
    /// that a power cut takes from the store, which then goes on with others under their numbers.
    ///
    /// # Errors
    /// As [`Db::snapshot`], and when the log cannot be synced.
    pub fn durable_snapshot(&mut self) -> Result<Snapshot> {
        self.sync_log()?;
        self.snapshot()
    }
}
