//! The copy, once it is complete: a store that follows the one that is served, until it takes the file's place.

use std::sync::Arc;

use redb::{Database, WriteTransaction};

use super::feed::Feed;
use crate::storage::db::apply_rows;
use crate::storage::meta::StoreMeta;
use crate::storage::signals::StopOnDrop;
use crate::storage::store_file::commit_durably;
use crate::storage::write_behind::{WriteBehind, WriteBehindThread};
use crate::storage::{Error, Result};

/// The copy, once it is complete: opened as a store is, and written behind its transactions.
pub(in crate::storage) struct Standby {
    // Dropped in this order: first the signals are stopped, so that redb's destructors reach nothing.
    pub(in crate::storage) guard: StopOnDrop,
    /// `None` only while it is committed.
    pub(in crate::storage) txn: Option<WriteTransaction>,
    pub(in crate::storage) database: Database,
    pub(in crate::storage) pages: Arc<WriteBehind>,
    pub(in crate::storage) thread: Option<WriteBehindThread>,
    pub(super) rounds: u32,
}

impl Standby {
    pub(in crate::storage) fn txn(&self) -> Result<&WriteTransaction> {
        self.txn.as_ref().ok_or_else(|| Error::Stopped { reason: "a commit of the copy has failed".to_owned() })
    }

    /// Commits durably, and waits until that is on the disk.
    pub(super) fn commit(&mut self, meta: &StoreMeta) -> Result<()> {
        if let Some(txn) = self.txn.take() {
            commit_durably(txn, meta)?;
        }
        self.pages.wait_for(self.pages.barriers())?;
        self.txn = Some(self.database.begin_write()?);
        Ok(())
    }
}

/// A copy that has the file's name, and everything up to a record; the core goes on with it.
pub(in crate::storage) struct Ready {
    pub(in crate::storage) standby: Standby,
    /// What it says of itself on the disk.
    pub(in crate::storage) meta: StoreMeta,
    /// Bytes of the log that end with the record of `meta`.
    pub(in crate::storage) log_bytes: u64,
    /// Rows in the open transaction.
    pub(in crate::storage) window_rows: u64,
    /// Rows that were copied.
    pub(in crate::storage) rows: u64,
    /// The last record it has.
    pub(super) seq: u64,
}

impl Ready {
    /// Puts in what was written last: the number of its last record.
    pub(in crate::storage) fn take_rest(&mut self, feed: &Feed) -> Result<u64> {
        while let Some(entry) = feed.pop(u64::MAX) {
            apply_rows(self.standby.txn()?, &entry.rows)?;
            self.window_rows += entry.rows.rows() as u64;
            self.seq = entry.seq;
        }
        Ok(self.seq)
    }
}
