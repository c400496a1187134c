//! What was detached and is removed in slices: the elements of deleted collections, flushed keyspaces.
//!
//! A trash row is `(id u64) → [what u8][id or keyspace]`. Deleting a collection costs one row however large it is;
//! [`slice()`] removes a bounded number of rows and is called between batches until nothing is left.

use std::ops::{Bound, ControlFlow};

use bytes::Bytes;

use crate::data::{Keyspace, Kind, Record, keys};
use crate::storage::{self, Batch, Error, Result, Rows, Table, tables};

const KEYSPACE: u8 = 0;

/// The tables that hold the elements of a kind; every key in them begins with the collection's id.
pub(super) fn element_tables(kind: Kind) -> &'static [Table] {
    match kind {
        Kind::String => &[Table::Blobs],
        Kind::List => &[Table::Lists, Table::Holes, Table::Counts],
        Kind::Hash => &[Table::Hashes],
        Kind::SortedSet => &[Table::ZScores, Table::ZMembers, Table::Counts],
        Kind::Set => &[Table::Sets],
    }
}

/// Where the elements of a record stand: tables, and what every key of theirs begins with.
///
/// # Errors
/// When the record is not sound.
pub fn elements_of(record: &Record) -> Result<Vec<(Table, [u8; 8])>> {
    if record.kind == Kind::String && !record.in_blobs {
        return Ok(Vec::new());
    }
    // Every body with elements begins with their id.
    let id = record.body.first_chunk().ok_or_else(|| Error::corrupt(Table::Keys, "a record without an id"))?;
    Ok(element_tables(record.kind).iter().map(|table| (*table, *id)).collect())
}

/// What a trash row is there to remove.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Item {
    /// Every key of a keyspace.
    Keyspace(Keyspace),
    /// The elements of a kind under an id.
    Elements(Kind, [u8; 8]),
}

impl Item {
    pub(super) fn read(row: &[u8]) -> Result<Item> {
        let read = || match row.split_first()? {
            (&KEYSPACE, keyspace) => Some(Item::Keyspace(u32::from_be_bytes(keyspace.try_into().ok()?))),
            (kind, id) => Some(Item::Elements(Kind::from_number(*kind)?, id.try_into().ok()?)),
        };
        read().ok_or_else(|| Error::corrupt(Table::Trash, format!("a row of {} bytes: {row:02x?}", row.len())))
    }
}

/// Gives up the elements of a record that nobody names any more.
///
/// # Errors
/// When the store fails.
pub fn detach(batch: &mut Batch<'_>, record: &Record) -> Result<()> {
    match elements_of(record)?.first() {
        Some((_, id)) => put(batch, [&[record.kind as u8], &id[..]].concat()),
        None => Ok(()),
    }
}

/// Gives up every key of a keyspace.
///
/// # Errors
/// When the store fails.
pub fn detach_keyspace(batch: &mut Batch<'_>, keyspace: Keyspace) -> Result<()> {
    let row = [&[KEYSPACE][..], &keyspace.to_be_bytes()].concat();
    put(batch, row)
}

fn put(batch: &mut Batch<'_>, row: Vec<u8>) -> Result<()> {
    let id = keys::next_id(batch)?;
    batch.put(Table::Trash, id.to_be_bytes().to_vec(), row)
}

/// Removes up to `limit` rows of what was detached. True when more is left.
///
/// # Errors
/// When the store fails.
pub fn slice(batch: &mut Batch<'_>, limit: usize) -> Result<bool> {
    let mut left = limit;
    while left > 0 {
        let Some((key, row)) = batch.first(Table::Trash, Bound::Unbounded, Bound::Unbounded, false)? else {
            return Ok(false);
        };
        let removed = match Item::read(&row)? {
            Item::Keyspace(keyspace) => slice_of_keyspace(batch, keyspace, left)?,
            Item::Elements(kind, id) => remove_rows(batch, element_tables(kind), &id, left)?,
        };
        if removed < left {
            batch.remove(Table::Trash, key)?;
        }
        left -= removed.max(1).min(left);
    }
    Ok(batch.first(Table::Trash, Bound::Unbounded, Bound::Unbounded, false)?.is_some())
}

fn slice_of_keyspace(batch: &mut Batch<'_>, keyspace: Keyspace, limit: usize) -> Result<usize> {
    let prefix = keyspace.to_be_bytes();
    let rows = rows_with_prefix(batch, Table::Keys, &prefix, limit)?;
    let removed = rows.len();
    for (key, row) in rows {
        let record = Record::decode(&row)?;
        detach(batch, &record)?;
        if let Some(at) = record.deadline {
            batch.remove(Table::Deadlines, [&at.0.to_be_bytes()[..], &key].concat())?;
        }
        batch.remove(Table::Keys, key)?;
    }
    if removed < limit {
        keys::forget_keyspace(batch, keyspace)?;
    }
    Ok(removed)
}

fn remove_rows(batch: &mut Batch<'_>, tables: &[Table], prefix: &[u8], limit: usize) -> Result<usize> {
    let mut removed = 0;
    for &table in tables {
        for (key, _) in rows_with_prefix(batch, table, prefix, limit - removed)? {
            batch.remove(table, key)?;
            removed += 1;
        }
    }
    Ok(removed)
}

fn rows_with_prefix(batch: &Batch<'_>, table: Table, prefix: &[u8], limit: usize) -> Result<Vec<(Bytes, Bytes)>> {
    let mut rows = Vec::new();
    if limit == 0 {
        return Ok(rows);
    }
    let end = tables::prefix_end(prefix);
    let end = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
    batch.scan(table, Bound::Included(prefix), end, false, &mut |key, value| {
        rows.push((Bytes::copy_from_slice(key), Bytes::copy_from_slice(value)));
        if rows.len() == limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    Ok(rows)
}

/// True when something waits to be removed.
///
/// # Errors
/// When the store fails.
pub fn is_waiting(rows: &dyn Rows) -> storage::Result<bool> {
    Ok(rows.first(Table::Trash, Bound::Unbounded, Bound::Unbounded, false)?.is_some())
}
