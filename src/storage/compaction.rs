//! Making the file of a store small while it is served: a copy in order, in slices, that follows what is written
//! meanwhile, and at last takes the file's place.
//!
//! The [`copier`] works on a thread. Slice after slice it takes a view of the store, which lives for that slice only,
//! and copies the rows behind the last one into a new file, packed as [`super::compact`] packs them. The core hands every
//! batch's rows to the [`feed`]; those that lie in what was copied already are put into the copy too. When all is copied
//! the copy is verified and follows the store like a standby, until it has everything; then it is given the file's name,
//! and between two batches the core goes on with it. Up to that moment nothing of the store depends on the copy, and
//! after it both names lead to a store that has, with the log, all that was acknowledged.

mod copier;
mod feed;
mod standby;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::thread::{self, JoinHandle};

pub(super) use copier::{Copier, Plan};
pub(super) use feed::Feed;
pub(super) use standby::{Ready, Standby};

use crate::storage::checkpoint::SnapshotWatch;
use crate::storage::write_behind::{WriteBehind, WriteBehindThread};

/// What a compaction is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CompactionPhase {
    /// Rows are copied, and what changes in those that were.
    #[default]
    Copying,
    /// The copy's pages are read back.
    Verifying,
    /// The copy takes what was written meanwhile.
    Following,
    /// The copy takes the file's place: it cannot be stopped any more.
    Replacing,
}

impl CompactionPhase {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            CompactionPhase::Copying => "copying",
            CompactionPhase::Verifying => "verifying",
            CompactionPhase::Following => "following",
            CompactionPhase::Replacing => "replacing",
        }
    }
}

/// How far a compaction has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CompactionProgress {
    /// What it is doing.
    pub phase: CompactionPhase,
    /// Rows copied.
    pub rows: u64,
    /// Rows that there were when it began.
    pub total_rows: u64,
    /// Bytes of keys and values copied.
    pub copied_bytes: u64,
}

/// A compaction that is under way, as the core sees it.
pub(super) struct Compaction {
    pub(super) feed: Arc<Feed>,
    worker: Worker,
    /// Bytes that the file took on the disk when it began.
    pub(super) before: u64,
}

/// Who copies.
enum Worker {
    Thread(Option<JoinHandle<()>>),
    /// Whoever calls [`Compaction::step`]; `None` once it has ended.
    Caller(Option<Box<Copier>>),
}

impl Compaction {
    /// Begins one on a thread of its own.
    ///
    /// # Errors
    /// When the operating system gives no thread.
    pub(super) fn start(copier: Copier, before: u64) -> std::io::Result<Compaction> {
        let feed = copier.feed();
        let thread = thread::Builder::new().name("agq-compact".to_owned()).spawn(move || copier.run())?;
        Ok(Compaction { feed, worker: Worker::Thread(Some(thread)), before })
    }

    /// Begins one that goes on when it is told to.
    pub(super) fn stepped(copier: Copier, before: u64) -> Compaction {
        Compaction { feed: copier.feed(), worker: Worker::Caller(Some(Box::new(copier))), before }
    }

    /// Does one piece of the work where no thread does it; false when it waits for the core, or has ended.
    pub(super) fn step(&mut self) -> bool {
        let Worker::Caller(worker) = &mut self.worker else { return false };
        let Some(copier) = worker.take() else { return false };
        match copier.go_on() {
            Some((copier, goes_on)) => {
                *worker = Some(copier);
                goes_on
            }
            None => true,
        }
    }

    /// Ends it for `reason`, and waits until it has: what came of it.
    pub(super) fn end(mut self, reason: &str) -> Option<Result<Box<Ready>, String>> {
        self.feed.stop(reason);
        self.wait();
        self.feed.take_outcome()
    }

    fn wait(&mut self) {
        match &mut self.worker {
            Worker::Thread(thread) => {
                if let Some(thread) = thread.take() {
                    // It has caught its own panic, if there was one.
                    let _ = thread.join();
                }
            }
            Worker::Caller(copier) => drop(copier.take()),
        }
    }
}

impl Drop for Compaction {
    fn drop(&mut self) {
        self.feed.stop("the store was closed");
        self.wait();
    }
}

/// A file whose place was taken, with all that belongs to it; snapshots of it may still be read.
pub(super) struct Retired {
    // Dropped in this order, as in an open store.
    pub(super) txn: Option<redb::WriteTransaction>,
    pub(super) database: Option<redb::Database>,
    pub(super) pages: Arc<WriteBehind>,
    pub(super) thread: Option<WriteBehindThread>,
    pub(super) snapshots: Arc<SnapshotWatch>,
}

impl Retired {
    /// True when nobody reads it any more.
    pub(super) fn can_go(&self) -> bool {
        !self.snapshots.is_watching()
    }

    /// Lets go of it on a thread of its own: a cache of hundreds of megabytes is not freed in a moment.
    pub(super) fn bury(self) {
        // Where there is no thread for it, it is dropped here, when the closure is.
        let _ = thread::Builder::new().name("agq-compact".to_owned()).spawn(move || drop(self));
    }
}

impl Drop for Retired {
    fn drop(&mut self) {
        // The file has no name any more: redb's destructor need not write to it.
        self.pages.signals().give_up("its file was replaced by a compacted one");
        drop((self.txn.take(), self.database.take(), self.thread.take()));
    }
}
