//! The audit log: what administrators did, and what was refused to whom. Two rings of rows in the store, so that nobody
//! who is refused a lot pushes out what administrators did.

use std::ops::{Bound, ControlFlow};

use bytes::Bytes;

use crate::clock::Millis;
use crate::jobs::codec::{Reader, Writer};
use crate::storage::{self, Batch, Rows, Table};

const VERSION: u8 = 1;
/// The most entries of each ring; the oldest go.
pub const KEPT: u64 = 10_000;

/// Which ring; the numbers begin the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Ring {
    /// What was done, or tried, by who may.
    Actions = 2,
    /// What was refused.
    Refusals = 3,
}

impl Ring {
    fn key(self, number: u64) -> Vec<u8> {
        let mut key = vec![self as u8];
        key.extend(number.to_be_bytes());
        key
    }
}

/// What was done or refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// When.
    pub at: Millis,
    /// With which key: its name, `default` for the session key, empty before any was given.
    pub key: String,
    /// The connection's number; 0 in an entry that counts refusals.
    pub connection: u64,
    /// Where it came from.
    pub address: String,
    /// The command, without secrets, shortened.
    pub command: String,
    /// `ok`, or the error that was answered.
    pub outcome: String,
}

impl Entry {
    fn encode(&self) -> Bytes {
        let mut out = Writer::new(VERSION);
        out.number(self.at.0);
        out.number(self.connection);
        out.strings(&[&self.key, &self.address, &self.command, &self.outcome]);
        out.finish()
    }

    /// As [`Entry::decode`], with a look at what the row stands under.
    pub(super) fn decode_row(key: &[u8], row: &Bytes) -> storage::Result<Entry> {
        let rings = [Ring::Actions, Ring::Refusals];
        if key.len() != 9 || !rings.iter().any(|ring| key.first() == Some(&(*ring as u8))) {
            return Err(storage::Error::corrupt(Table::Access, "a row of no ring, and of no key"));
        }
        Entry::decode(row)
    }

    fn decode(row: &Bytes) -> storage::Result<Entry> {
        let mut from = Reader::new(Table::Access, row, VERSION)?;
        let (at, connection) = (Millis(from.number()?), from.number()?);
        let Ok([key, address, command, outcome]) = <[String; 4]>::try_from(from.strings()?) else {
            return Err(from.corrupt("not four texts"));
        };
        from.finish()?;
        Ok(Entry { at, key, connection, address, command, outcome })
    }
}

/// The number of a ring's last entry; 0 when it has none.
fn last(rows: &dyn Rows, ring: Ring) -> storage::Result<u64> {
    let (from, to) = (ring.key(0), ring.key(u64::MAX));
    let row = rows.first(Table::Access, Bound::Included(&from), Bound::Included(&to), true)?;
    Ok(row.and_then(|(key, _)| key.last_chunk().map(|number| u64::from_be_bytes(*number))).unwrap_or(0))
}

/// Adds an entry to a ring; the one that is too old goes.
///
/// # Errors
/// When the store fails.
pub fn add(batch: &mut Batch<'_>, ring: Ring, entry: &Entry) -> storage::Result<()> {
    let number = last(batch, ring)? + 1;
    batch.put(Table::Access, ring.key(number), entry.encode())?;
    if let Some(oldest) = number.checked_sub(KEPT).filter(|oldest| *oldest > 0)
        && batch.get(Table::Access, &ring.key(oldest))?.is_some()
    {
        batch.remove(Table::Access, ring.key(oldest))?;
    }
    Ok(())
}

/// Up to `limit` entries of a ring with numbers below `before`, the newest first.
///
/// # Errors
/// When the store fails.
pub fn read(rows: &dyn Rows, ring: Ring, before: u64, limit: usize) -> storage::Result<Vec<(u64, Entry)>> {
    let mut found = Vec::new();
    if limit == 0 {
        return Ok(found);
    }
    let (from, to) = (ring.key(0), ring.key(before));
    let mut failed = None;
    rows.scan(Table::Access, Bound::Included(&from), Bound::Excluded(&to), true, &mut |key, row| {
        let number = key.last_chunk().map_or(0, |number| u64::from_be_bytes(*number));
        match Entry::decode(&Bytes::copy_from_slice(row)) {
            Ok(entry) => found.push((number, entry)),
            Err(error) => failed = Some(error),
        }
        if failed.is_some() || found.len() >= limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    failed.map_or(Ok(found), Err)
}

/// Empties the ring of refusals.
///
/// # Errors
/// When the store fails.
pub fn forget_refusals(batch: &mut Batch<'_>) -> storage::Result<()> {
    let entries = read(batch, Ring::Refusals, u64::MAX, usize::MAX)?;
    for (number, _) in entries {
        batch.remove(Table::Access, Ring::Refusals.key(number))?;
    }
    Ok(())
}
