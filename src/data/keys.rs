//! Keys of any type: look up, store, delete, rename, expire, count, scan.

use std::ops::{Bound, ControlFlow};

use bytes::Bytes;

use crate::clock::Millis;
use crate::data::notices::Classes;
use crate::data::record::Head;
use crate::data::{Edit, Error, Keyspace, Kind, Record, Result, View, trash};
use crate::storage::{self, Batch, Rows, Table, tables};

/// The key of a record: keyspace, then name.
#[must_use]
pub fn record_key(keyspace: Keyspace, name: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(4 + name.len());
    key.extend_from_slice(&keyspace.to_be_bytes());
    key.extend_from_slice(name);
    key
}

pub(super) fn deadline_key(at: Millis, keyspace: Keyspace, name: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(12 + name.len());
    key.extend_from_slice(&at.0.to_be_bytes());
    key.extend_from_slice(&keyspace.to_be_bytes());
    key.extend_from_slice(name);
    key
}

pub(super) fn count_key(keyspace: Keyspace) -> Vec<u8> {
    [&b"count:"[..], &keyspace.to_be_bytes()].concat()
}

pub(super) fn expiring_key(keyspace: Keyspace) -> Vec<u8> {
    [&b"expiring:"[..], &keyspace.to_be_bytes()].concat()
}

/// A u64 of the meta table, 0 when it was never written.
///
/// # Errors
/// When the row cannot be read or is not eight bytes.
pub fn meta_number(rows: &dyn Rows, key: &[u8]) -> storage::Result<u64> {
    let Some(row) = rows.get(Table::Meta, key)? else { return Ok(0) };
    let bytes: [u8; 8] = row[..].try_into().map_err(|_| {
        storage::Error::corrupt(Table::Meta, format!("'{}' is not a number of 8 bytes", key.escape_ascii()))
    })?;
    Ok(u64::from_be_bytes(bytes))
}

/// Takes the next id that no collection ever had.
///
/// # Errors
/// When the store fails.
pub fn next_id(batch: &mut Batch<'_>) -> storage::Result<u64> {
    let id = meta_number(batch, b"next_id")? + 1;
    batch.put(Table::Meta, &b"next_id"[..], id.to_be_bytes().to_vec())?;
    Ok(id)
}

impl View<'_> {
    /// The record of a key that exists now.
    ///
    /// # Errors
    /// When the store fails.
    pub fn record(&self, name: &[u8]) -> Result<Option<Record>> {
        let row = self.rows.get(Table::Keys, &record_key(self.keyspace, name))?;
        let record = row.as_ref().map(Record::decode).transpose()?;
        Ok(record.filter(|record| record.is_live(self.now)))
    }

    /// The record of a key that must be of `kind` if it exists.
    ///
    /// # Errors
    /// [`Error::WrongType`] when it is of another.
    pub fn record_of(&self, name: &[u8], kind: Kind) -> Result<Option<Record>> {
        match self.record(name)? {
            Some(record) if record.kind != kind => Err(Error::WrongType),
            found => Ok(found),
        }
    }

    /// How many keys there are; expired ones count until they are swept, as in Redis.
    ///
    /// # Errors
    /// When the store fails.
    pub fn count(&self) -> Result<u64> {
        Ok(meta_number(self.rows, &count_key(self.keyspace))?)
    }

    /// How many of them have a deadline.
    ///
    /// # Errors
    /// When the store fails.
    pub fn count_expiring(&self) -> Result<u64> {
        Ok(meta_number(self.rows, &expiring_key(self.keyspace))?)
    }

    /// Visits the keys from `from` on in the order of their names, expired ones that still stand there included.
    ///
    /// # Errors
    /// When the store fails.
    pub fn walk(&self, from: Bound<&[u8]>, visit: &mut dyn FnMut(&[u8], Head) -> ControlFlow<()>) -> Result<()> {
        let from = match from.map(|name| record_key(self.keyspace, name)) {
            Bound::Unbounded => Bound::Included(record_key(self.keyspace, b"")),
            bound => bound,
        };
        let to = tables::prefix_end(&self.keyspace.to_be_bytes());
        let to = to.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let mut failed = None;
        self.rows.scan(
            Table::Keys,
            from.as_ref().map(|key| &key[..]),
            to,
            false,
            &mut |key, row| match Head::read(row) {
                Ok(head) => visit(key.get(4..).unwrap_or_default(), head),
                Err(error) => {
                    failed = Some(error);
                    ControlFlow::Break(())
                }
            },
        )?;
        failed.map_or(Ok(()), |error| Err(error.into()))
    }
}

impl Edit<'_, '_> {
    /// The record of a key that exists now; one that has expired is removed on the way.
    ///
    /// # Errors
    /// When the store fails.
    pub fn record(&mut self, name: &[u8]) -> Result<Option<Record>> {
        let row = self.batch.get(Table::Keys, &record_key(self.keyspace, name))?;
        match row.as_ref().map(Record::decode).transpose()? {
            Some(record) if !record.is_live(self.now) => {
                self.delete(name, &record)?;
                self.notice(Classes::EXPIRED, "expired", name);
                self.touched.expired += 1;
                Ok(None)
            }
            found => Ok(found),
        }
    }

    /// The record of a key that must be of `kind` if it exists.
    ///
    /// # Errors
    /// [`Error::WrongType`] when it is of another.
    pub fn record_of(&mut self, name: &[u8], kind: Kind) -> Result<Option<Record>> {
        match self.record(name)? {
            Some(record) if record.kind != kind => Err(Error::WrongType),
            found => Ok(found),
        }
    }

    /// Writes a key's record in place of `old`, which must be what stands there. The elements of `old` stay; use
    /// [`Edit::replace`] to be rid of them.
    ///
    /// # Errors
    /// When the store fails.
    pub fn store(&mut self, name: &[u8], old: Option<&Record>, new: &Record) -> Result<()> {
        let old_deadline = old.and_then(|record| record.deadline);
        if old_deadline != new.deadline {
            self.move_deadline(name, old_deadline, new.deadline)?;
        }
        if old.is_none() {
            self.add_to(count_key(self.keyspace), 1)?;
            self.notice(Classes::NEW, "new", name);
        }
        self.batch.put(Table::Keys, record_key(self.keyspace, name), new.encode())?;
        self.touch(name);
        Ok(())
    }

    /// Writes a key's record in place of `old`, whose elements are detached.
    ///
    /// # Errors
    /// When the store fails.
    pub fn replace(&mut self, name: &[u8], old: Option<&Record>, new: &Record) -> Result<()> {
        if let Some(old) = old {
            trash::detach(self.batch, old)?;
        }
        self.store(name, old, new)
    }

    /// Removes a key: one row, whatever its size; its elements are removed in slices later.
    ///
    /// # Errors
    /// When the store fails.
    pub fn delete(&mut self, name: &[u8], old: &Record) -> Result<()> {
        trash::detach(self.batch, old)?;
        self.forget(name, old)
    }

    /// Removes a key's record only: its elements are empty or belong to another name now.
    ///
    /// # Errors
    /// When the store fails.
    pub fn forget(&mut self, name: &[u8], old: &Record) -> Result<()> {
        self.move_deadline(name, old.deadline, None)?;
        self.add_to(count_key(self.keyspace), -1)?;
        self.batch.remove(Table::Keys, record_key(self.keyspace, name))?;
        self.touch(name);
        Ok(())
    }

    /// Lets a key expire at another moment, or never; `record` is what stands there.
    ///
    /// # Errors
    /// When the store fails.
    pub fn set_deadline(&mut self, name: &[u8], record: Record, deadline: Option<Millis>) -> Result<()> {
        let new = Record { deadline, ..record.clone() };
        self.store(name, Some(&record), &new)
    }

    fn move_deadline(&mut self, name: &[u8], from: Option<Millis>, to: Option<Millis>) -> Result<()> {
        if let Some(at) = from {
            self.batch.remove(Table::Deadlines, deadline_key(at, self.keyspace, name))?;
        }
        if let Some(at) = to {
            self.batch.put(Table::Deadlines, deadline_key(at, self.keyspace, name), Bytes::new())?;
        }
        match i64::from(to.is_some()) - i64::from(from.is_some()) {
            0 => Ok(()),
            change => self.add_to(expiring_key(self.keyspace), change),
        }
    }

    /// Adds to a count of keys.
    fn add_to(&mut self, key: Vec<u8>, change: i64) -> Result<()> {
        let count = meta_number(self.batch, &key)?;
        let count = count
            .checked_add_signed(change)
            .ok_or_else(|| storage::Error::corrupt(Table::Meta, "the key count would fall below zero"))?;
        self.batch.put(Table::Meta, key, count.to_be_bytes().to_vec())?;
        Ok(())
    }
}

/// When the next key expires.
///
/// # Errors
/// When the store fails.
pub fn next_expiry(rows: &dyn Rows) -> storage::Result<Option<Millis>> {
    let first = rows.first(Table::Deadlines, Bound::Unbounded, Bound::Unbounded, false)?;
    first.map(|(key, _)| split_deadline_key(&key).map(|(at, _, _)| at)).transpose()
}

pub(super) fn split_deadline_key(key: &[u8]) -> storage::Result<(Millis, Keyspace, &[u8])> {
    let short = || storage::Error::corrupt(Table::Deadlines, format!("a key of {} bytes", key.len()));
    let (at, rest) = key.split_first_chunk().ok_or_else(short)?;
    let (keyspace, name) = rest.split_first_chunk().ok_or_else(short)?;
    Ok((Millis(u64::from_be_bytes(*at)), u32::from_be_bytes(*keyspace), name))
}

/// Removes up to `limit` expired keys, oldest first. Returns how many there were, and whether more wait.
///
/// # Errors
/// When the store fails.
pub fn sweep(edit: &mut Edit<'_, '_>, limit: usize) -> Result<(usize, bool)> {
    let end = edit.now.plus(1).0.to_be_bytes();
    let mut due = Vec::new();
    edit.batch.scan(Table::Deadlines, Bound::Unbounded, Bound::Excluded(&end), false, &mut |key, _| {
        due.push(Bytes::copy_from_slice(key));
        if due.len() > limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    let more = due.len() > limit;
    due.truncate(limit);
    for key in &due {
        let (_, keyspace, name) = split_deadline_key(key)?;
        let mut edit = Edit { batch: edit.batch, keyspace, now: edit.now, touched: edit.touched };
        // Removes the key if it has expired; a flushed keyspace leaves deadlines without one.
        edit.record(name)?;
        edit.batch.remove(Table::Deadlines, key.clone())?;
    }
    Ok((due.len(), more))
}

/// Removes what is left of a keyspace whose keys are gone.
pub(super) fn forget_keyspace(batch: &mut Batch<'_>, keyspace: Keyspace) -> storage::Result<()> {
    batch.remove(Table::Meta, expiring_key(keyspace))?;
    batch.remove(Table::Meta, count_key(keyspace))
}
