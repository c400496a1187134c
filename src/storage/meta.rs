//! What a store says about itself: one row of a table of its own, which no write set can reach.
//!
//! Written by the function that commits, and by nothing else; see [`crate::storage::db`].

use redb::{ReadTransaction, ReadableDatabase, TableDefinition, TableError, WriteTransaction};

use crate::clock::Millis;
use crate::storage::{Error, Result, Table};

/// The format of `data.redb` and of the rows in it. Raised by every change that an older program would misread.
pub(super) const FORMAT: u32 = 8;
/// A number above this is no format but damage.
const NEWEST: u32 = 1 << 16;

const TABLE: TableDefinition<&'static [u8], &'static [u8]> = TableDefinition::new("store");
const KEY: &[u8] = b"meta";
const LEN: usize = 57;

/// The row: who the store is, and how far it has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StoreMeta {
    /// Drawn when the store was made.
    pub(super) store_id: u128,
    /// Drawn by each opening; only log records of this run count.
    pub(super) run_id: u64,
    /// Raised by each opening.
    pub(super) generation: u64,
    /// The last record of the log whose rows the file has.
    pub(super) seq: u64,
    /// The time of the batch that record holds.
    pub(super) time: Millis,
    /// True while the store is open, and after a crash: the file alone is not the whole store.
    pub(super) log_required: bool,
}

impl StoreMeta {
    pub(super) fn encode(&self) -> [u8; LEN] {
        let mut row = [0; LEN];
        row[..4].copy_from_slice(&FORMAT.to_le_bytes());
        row[4..20].copy_from_slice(&self.store_id.to_le_bytes());
        row[20..28].copy_from_slice(&self.run_id.to_le_bytes());
        row[28..36].copy_from_slice(&self.generation.to_le_bytes());
        row[36..44].copy_from_slice(&self.seq.to_le_bytes());
        row[44..52].copy_from_slice(&self.time.0.to_le_bytes());
        row[52] = u8::from(self.log_required);
        row
    }

    pub(super) fn decode(row: &[u8]) -> Result<StoreMeta> {
        let format = row.first_chunk().map(|bytes| u32::from_le_bytes(*bytes));
        if let Some(other) = format.filter(|format| *format != FORMAT && (1..=NEWEST).contains(format)) {
            return Err(Error::Refused {
                found: format!("data.redb in format {other}"),
                expected: format!("format {FORMAT}, the one that this version of agq knows"),
                help: "Open it with the version of agq that wrote it.".to_owned(),
            });
        }
        let damaged =
            || Error::corrupt(Table::Meta, format!("the store row is not one of format {FORMAT}: {row:02x?}"));
        let row: &[u8; LEN] = row.try_into().map_err(|_| damaged())?;
        let log_required = match row[52] {
            0 => false,
            1 => true,
            _ => return Err(damaged()),
        };
        if format != Some(FORMAT) || row[53..] != [0; LEN - 53] {
            return Err(damaged());
        }
        Ok(StoreMeta {
            store_id: u128::from_le_bytes(part(row, 4)),
            run_id: u64::from_le_bytes(part(row, 20)),
            generation: u64::from_le_bytes(part(row, 28)),
            seq: u64::from_le_bytes(part(row, 36)),
            time: Millis(u64::from_le_bytes(part(row, 44))),
            log_required,
        })
    }

    /// Reads the row; `None` when the file has no such table or row.
    pub(super) fn read(database: &redb::Database) -> Result<Option<StoreMeta>> {
        StoreMeta::read_in(&database.begin_read()?)
    }

    /// As [`StoreMeta::read`], as a transaction sees it.
    pub(super) fn read_in(txn: &ReadTransaction) -> Result<Option<StoreMeta>> {
        let table = match txn.open_table(TABLE) {
            Ok(table) => table,
            Err(TableError::TableDoesNotExist(_)) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let row = table.get(KEY)?;
        row.map(|row| StoreMeta::decode(row.value())).transpose()
    }

    /// Writes the row into a transaction that is about to be committed.
    pub(super) fn write(&self, txn: &WriteTransaction) -> Result<()> {
        let mut table = txn.open_table(TABLE)?;
        table.insert(KEY, &self.encode()[..])?;
        Ok(())
    }
}

/// The `N` bytes of `row` at `at`; both are constants of this layout.
fn part<const N: usize>(row: &[u8; LEN], at: usize) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.copy_from_slice(&row[at..at + N]);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> StoreMeta {
        StoreMeta {
            store_id: 0x0123_4567_89ab_cdef_0011_2233_4455_6677,
            run_id: 7,
            generation: 3,
            seq: 99,
            time: Millis(1_700_000_000_000),
            log_required: true,
        }
    }

    #[test]
    fn the_row_round_trips() {
        assert_eq!(StoreMeta::decode(&sample().encode()).unwrap(), sample());
    }

    #[test]
    fn another_format_is_refused_whatever_follows() {
        for format in [FORMAT as u8 - 1, FORMAT as u8 + 1] {
            let refused = StoreMeta::decode(&[format, 0, 0, 0, 1]).unwrap_err();
            assert!(matches!(refused, Error::Refused { .. }), "{refused}");
        }
    }

    #[test]
    fn other_bytes_are_corrupt() {
        let row = sample().encode();
        assert!(matches!(StoreMeta::decode(&row[..LEN - 1]), Err(Error::Corrupt { .. })));
        for (place, value) in [(0, 0), (52, 2), (LEN - 1, 1)] {
            let mut row = row;
            row[place] = value;
            assert!(matches!(StoreMeta::decode(&row), Err(Error::Corrupt { .. })), "byte {place}");
        }
    }
}
