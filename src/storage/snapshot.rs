//! A view of the store between two batches, for heavy reads on another thread.

use bytes::Bytes;
use redb::{ReadOnlyTable, ReadTransaction, TableError};

use crate::storage::batch::{KeyBound, Visit, is_empty_range, visit_rows};
use crate::storage::checkpoint::SnapshotToken;
use crate::storage::db::definition;
use crate::storage::{Result, Rows, Table};

/// The state between two batches, readable from any thread.
pub struct Snapshot {
    txn: ReadTransaction,
    _token: SnapshotToken,
}

impl Snapshot {
    pub(super) fn new(txn: ReadTransaction, token: SnapshotToken) -> Snapshot {
        Snapshot { txn, _token: token }
    }

    /// The transaction beneath, for a backup.
    pub(super) fn transaction(&self) -> &ReadTransaction {
        &self.txn
    }

    /// How many rows a table has.
    pub(super) fn rows_in(&self, table: Table) -> Result<u64> {
        use redb::ReadableTableMetadata as _;
        Ok(self.table(table)?.map_or(Ok(0), |open| open.len())?)
    }

    fn table(&self, table: Table) -> Result<Option<ReadOnlyTable<&'static [u8], &'static [u8]>>> {
        match self.txn.open_table(definition(table)) {
            Ok(open) => Ok(Some(open)),
            Err(TableError::TableDoesNotExist(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

impl Rows for Snapshot {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>> {
        let Some(open) = self.table(table)? else { return Ok(None) };
        Ok(open.get(key)?.map(|guard| Bytes::copy_from_slice(guard.value())))
    }

    fn scan(&self, table: Table, from: KeyBound, to: KeyBound, reverse: bool, visit: &mut Visit) -> Result<()> {
        let Some(open) = self.table(table)? else { return Ok(()) };
        if is_empty_range(from, to) {
            return Ok(());
        }
        let rows = open.range::<&[u8]>((from, to))?;
        if reverse { visit_rows(rows.rev(), visit) } else { visit_rows(rows, visit) }
    }
}
