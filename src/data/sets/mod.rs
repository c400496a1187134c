//! Sets: one row a member under `(id, place, member)`, and a record that counts them.
//!
//! A set's record body is `[id u64][length u64]`. A member's place is 48 bits of the hash of its bytes, so that members
//! lie evenly spread: a random place finds a random member without an index, and a place is a cursor that outlives
//! the server. All sets have the same order, so that what several have in common is found by walking one of them. An
//! empty set does not exist.

mod check;
mod combine;
mod pick;

use std::ops::{Bound, ControlFlow};

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64;

use crate::data::gather::Gather;
use crate::data::notices::Classes;
use crate::data::{Edit, Kind, Record, Result, View, keys};
use crate::storage::{self, Batch, Rows, Table, tables};

pub(super) use check::check;
pub use combine::Combination;

/// Bytes of a place.
const PLACE: usize = 6;
/// The first number that is no place.
const PLACES: u64 = 1 << (8 * PLACE);

/// A set that exists.
#[derive(Debug, Clone)]
pub struct Set {
    record: Record,
    id: [u8; 8],
    len: u64,
}

impl Set {
    pub(super) fn read(record: Record) -> storage::Result<Set> {
        match record.body.as_chunks::<8>() {
            (&[id, len], []) if len != [0; 8] => Ok(Set { id, len: u64::from_be_bytes(len), record }),
            _ => {
                let what = format!("a set record of {} bytes", record.body.len());
                Err(storage::Error::corrupt(Table::Keys, what))
            }
        }
    }

    /// A set with no members yet and a new id.
    fn new(batch: &mut Batch<'_>) -> storage::Result<Set> {
        let id = keys::next_id(batch)?.to_be_bytes();
        Ok(Set { record: Record::new(Kind::Set, Bytes::new()), id, len: 0 })
    }

    /// The record with the present length.
    pub(super) fn record(&self) -> Record {
        Record { body: [self.id, self.len.to_be_bytes()].concat().into(), ..self.record.clone() }
    }

    /// How many members there are; never 0.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "an empty set does not exist")]
    pub fn len(&self) -> u64 {
        self.len
    }

    fn row(&self, member: &[u8]) -> Vec<u8> {
        let place = place_of(member).to_be_bytes();
        [&self.id[..], &place[8 - PLACE..], member].concat()
    }

    /// The place and the member of a row's key.
    pub(super) fn split(key: &[u8]) -> storage::Result<(u64, &[u8])> {
        let rest = key.get(8..).and_then(|rest| rest.split_first_chunk::<PLACE>());
        let (place, member) = rest.ok_or_else(|| {
            storage::Error::corrupt(Table::Sets, format!("a key of {} bytes has no place", key.len()))
        })?;
        let place = place.iter().fold(0, |place, byte| place << 8 | u64::from(*byte));
        Ok((place, member))
    }

    fn has(&self, rows: &dyn Rows, member: &[u8]) -> storage::Result<bool> {
        Ok(rows.get(Table::Sets, &self.row(member))?.is_some())
    }

    /// Visits the members from a place on until the visitor breaks.
    fn walk(
        &self,
        rows: &dyn Rows,
        from: u64,
        visit: &mut dyn FnMut(u64, &[u8]) -> ControlFlow<()>,
    ) -> storage::Result<()> {
        let from = [&self.id[..], &from.to_be_bytes()[8 - PLACE..]].concat();
        let to = tables::prefix_end(&self.id);
        let to = to.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let mut failed = None;
        rows.scan(Table::Sets, Bound::Included(&from), to, false, &mut |key, _| match Set::split(key) {
            Ok((place, member)) => visit(place, member),
            Err(error) => {
                failed = Some(error);
                ControlFlow::Break(())
            }
        })?;
        failed.map_or(Ok(()), Err)
    }
}

/// The place of a member: the upper bits of its hash.
fn place_of(member: &[u8]) -> u64 {
    xxh3_64(member) >> (64 - 8 * PLACE)
}

impl View<'_> {
    /// The set of a key, if the key exists.
    ///
    /// # Errors
    /// [`WrongType`](crate::data::Error::WrongType) when the key holds another type.
    pub fn set(&self, name: &[u8]) -> Result<Option<Set>> {
        let record = self.record_of(name, Kind::Set)?;
        Ok(record.map(Set::read).transpose()?)
    }

    /// True when `member` is in the set.
    ///
    /// # Errors
    /// When the store fails.
    pub fn set_has(&self, set: &Set, member: &[u8]) -> Result<bool> {
        Ok(set.has(self.rows, member)?)
    }

    /// All members, in the order of their places.
    ///
    /// # Errors
    /// When the store fails.
    pub fn set_members(&self, set: &Set) -> Result<Vec<Bytes>> {
        let mut members = Gather::with_capacity(set.len);
        set.walk(self.rows, 0, &mut |_, member| members.push(self.rows, member))?;
        let members = members.texts()?;
        if members.len() as u64 != set.len {
            let what = format!("a set has {} members, its record says {}", members.len(), set.len);
            return Err(storage::Error::corrupt(Table::Sets, what).into());
        }
        Ok(members.collect())
    }

    /// The members from `cursor` on, `count` and those that share the last one's place, and the cursor of the next;
    /// 0 when there is none. A cursor is good for ever, whatever is added or removed meanwhile.
    ///
    /// # Errors
    /// When the store fails.
    pub fn set_page(&self, set: &Set, cursor: u64, count: usize) -> Result<(Vec<Bytes>, u64)> {
        let (mut members, mut last, mut next) = (Vec::new(), None, 0);
        if cursor >= PLACES {
            return Ok((members, 0));
        }
        set.walk(self.rows, cursor, &mut |place, member| {
            if members.len() >= count && last != Some(place) {
                next = place;
                return ControlFlow::Break(());
            }
            last = Some(place);
            members.push(Bytes::copy_from_slice(member));
            ControlFlow::Continue(())
        })?;
        Ok((members, next))
    }
}

impl Edit<'_, '_> {
    /// The set of a key, if the key exists.
    ///
    /// # Errors
    /// [`WrongType`](crate::data::Error::WrongType) when the key holds another type.
    pub fn set(&mut self, name: &[u8]) -> Result<Option<Set>> {
        let record = self.record_of(name, Kind::Set)?;
        Ok(record.map(Set::read).transpose()?)
    }

    /// Adds members, making the set when it does not exist. Returns how many are new.
    ///
    /// # Errors
    /// [`WrongType`](crate::data::Error::WrongType) when the key holds another type.
    pub fn set_add<'m>(&mut self, name: &[u8], members: impl IntoIterator<Item = &'m [u8]>) -> Result<u64> {
        let old = self.set(name)?;
        let mut set = match &old {
            Some(set) => set.clone(),
            None => Set::new(self.batch)?,
        };
        let added = self.put_members(&mut set, members)?;
        if added > 0 {
            self.store(name, old.as_ref().map(|old| &old.record), &set.record())?;
            self.notice(Classes::SET, "sadd", name);
        }
        Ok(added)
    }

    /// Removes members, as `event` says; the set goes with its last one. Returns how many there were.
    ///
    /// # Errors
    /// When the store fails.
    pub fn set_remove<'m>(
        &mut self,
        name: &[u8],
        set: &Set,
        members: impl IntoIterator<Item = &'m [u8]>,
        event: &'static str,
    ) -> Result<u64> {
        let mut left = set.clone();
        for member in members {
            let row = set.row(member);
            if self.batch.get(Table::Sets, &row)?.is_some() {
                self.batch.remove(Table::Sets, row)?;
                left.len = left.len.checked_sub(1).ok_or_else(|| {
                    storage::Error::corrupt(Table::Sets, "a set has more members than its record says")
                })?;
            }
        }
        if left.len < set.len {
            self.notice(Classes::SET, event, name);
        }
        if left.len == 0 {
            self.forget(name, &set.record)?;
            self.notice_gone(name);
        } else if left.len < set.len {
            self.store(name, Some(&set.record), &left.record())?;
        }
        Ok(set.len - left.len)
    }

    /// Puts a set of these members under a name, in place of what stood there, as `event` says; no members, no key.
    ///
    /// # Errors
    /// When the store fails.
    pub fn set_replace<'m>(
        &mut self,
        name: &[u8],
        members: impl IntoIterator<Item = &'m [u8]>,
        event: &'static str,
    ) -> Result<u64> {
        let old = self.record(name)?;
        let mut set = Set::new(self.batch)?;
        self.put_members(&mut set, members)?;
        match (set.len, old) {
            (0, Some(old)) => {
                self.delete(name, &old)?;
                self.notice_gone(name);
            }
            (0, None) => {}
            (_, old) => {
                self.replace(name, old.as_ref(), &set.record())?;
                self.notice(Classes::SET, event, name);
            }
        }
        Ok(set.len)
    }

    /// Removes a whole set, popped: one row, whatever its size.
    ///
    /// # Errors
    /// When the store fails.
    pub fn set_delete(&mut self, name: &[u8], set: &Set) -> Result<()> {
        self.notice(Classes::SET, "spop", name);
        self.delete(name, &set.record)?;
        self.notice_gone(name);
        Ok(())
    }

    fn put_members<'m>(&mut self, set: &mut Set, members: impl IntoIterator<Item = &'m [u8]>) -> Result<u64> {
        let before = set.len;
        for member in members {
            if !set.has(self.batch, member)? {
                self.batch.put(Table::Sets, set.row(member), Bytes::new())?;
                set.len += 1;
            }
        }
        Ok(set.len - before)
    }
}
