//! Changing lists: at their ends, in the middle, and by the whole.

use std::ops::{Bound, ControlFlow};

use bytes::Bytes;

use crate::data::lists::{End, Header, elements, index_of, missing, walk};
use crate::data::notices::Classes;
use crate::data::{Edit, Kind, Record, Result, keys};
use crate::storage::{self, Rows, Table};

/// Popping a whole list that is longer than this detaches its rows, to be removed in slices.
const DETACH_LENGTH: u64 = 64;

impl Edit<'_, '_> {
    /// Adds elements at an end, one after the other, making the list when it does not exist. Returns its length.
    ///
    /// # Errors
    /// [`WrongType`](crate::data::Error::WrongType) when the key holds another type.
    pub fn list_push(&mut self, name: &[u8], end: End, values: impl IntoIterator<Item = Bytes>) -> Result<u64> {
        let old = self.record_of(name, Kind::List)?;
        let mut header = match &old {
            Some(record) => Header::of(record)?,
            None => Header { id: keys::next_id(self.batch)?, ..Header::default() },
        };
        for value in values {
            self.put_edge(&mut header, end, value)?;
        }
        self.store_list(name, old.as_ref(), header)?;
        self.notice(Classes::LIST, if end == End::Left { "lpush" } else { "rpush" }, name);
        Ok(header.length)
    }

    /// Takes up to `count` elements from an end; `None` when there is no such list.
    ///
    /// # Errors
    /// [`WrongType`](crate::data::Error::WrongType) when the key holds another type.
    pub fn list_pop(&mut self, name: &[u8], end: End, count: u64) -> Result<Option<Vec<Bytes>>> {
        let Some(old) = self.record_of(name, Kind::List)? else { return Ok(None) };
        let mut header = Header::of(&old)?;
        if count >= header.length && header.length > DETACH_LENGTH {
            let mut taken = elements(self.batch, &header, 0, header.length)?;
            if end == End::Right {
                taken.reverse();
            }
            self.notice_pop(name, end);
            self.delete(name, &old)?;
            self.notice_gone(name);
            return Ok(Some(taken));
        }
        let mut taken = Vec::new();
        for _ in 0..count.min(header.length) {
            taken.push(self.take_edge(&mut header, end)?);
        }
        if !taken.is_empty() {
            self.notice_pop(name, end);
            self.store_list(name, Some(&old), header)?;
        }
        Ok(Some(taken))
    }

    /// Moves one element from an end of a list to an end of another, or of the same; `None` when the source does not
    /// exist.
    ///
    /// # Errors
    /// [`WrongType`](crate::data::Error::WrongType) when either key holds another type.
    pub fn list_move(&mut self, source: &[u8], from: End, target: &[u8], to: End) -> Result<Option<Bytes>> {
        let Some(old) = self.record_of(source, Kind::List)? else { return Ok(None) };
        if source != target {
            self.record_of(target, Kind::List)?;
        }
        let mut header = Header::of(&old)?;
        let value = self.take_edge(&mut header, from)?;
        if source == target {
            self.put_edge(&mut header, to, value.clone())?;
            self.store_list(source, Some(&old), header)?;
            self.notice(Classes::LIST, if to == End::Left { "lpush" } else { "rpush" }, target);
            self.notice_pop(source, from);
        } else {
            self.list_push(target, to, [value.clone()])?;
            self.notice_pop(source, from);
            self.store_list(source, Some(&old), header)?;
        }
        Ok(Some(value))
    }

    /// Puts another element at an index; negative ones count from the tail. False when there is none there.
    ///
    /// # Errors
    /// [`WrongType`](crate::data::Error::WrongType) when the key holds another type.
    pub fn list_set(&mut self, name: &[u8], index: i64, value: Bytes) -> Result<bool> {
        let Some(header) = self.view().list(name)? else { return Ok(false) };
        let Some(position) = header.position(index) else { return Ok(false) };
        let row = header.row(header.index_at(self.batch, position)?);
        self.batch.put(Table::Lists, row, value)?;
        // The record stands as it is, but who watches the key must learn of the new element.
        self.touch(name);
        self.notice(Classes::LIST, "lset", name);
        Ok(true)
    }

    /// Keeps the elements from index `start` to index `stop`, both included; negative ones count from the tail. Writes
    /// in proportion to what is kept or what goes, whichever is less.
    ///
    /// # Errors
    /// [`WrongType`](crate::data::Error::WrongType) when the key holds another type.
    pub fn list_trim(&mut self, name: &[u8], start: i64, stop: i64) -> Result<()> {
        let Some(old) = self.record_of(name, Kind::List)? else { return Ok(()) };
        let mut header = Header::of(&old)?;
        let (start, count) = header.range(start, stop);
        let gone = header.length - count;
        self.notice(Classes::LIST, "ltrim", name);
        if gone == 0 {
            return Ok(());
        }
        if count == 0 {
            self.delete(name, &old)?;
            self.notice_gone(name);
            return Ok(());
        }
        if count < gone {
            let kept = elements(self.batch, &header, start, count)?;
            let mut new = Header { id: keys::next_id(self.batch)?, ..Header::default() };
            for value in kept {
                self.put_edge(&mut new, End::Right, value)?;
            }
            return self.replace(name, Some(&old), &Record { body: new.body(), ..old.clone() });
        }
        for _ in 0..start {
            self.take_edge(&mut header, End::Left)?;
        }
        for _ in 0..gone - start {
            self.take_edge(&mut header, End::Right)?;
        }
        self.store_list(name, Some(&old), header)
    }

    /// Removes elements equal to `value`: the first `count` from the head, the last `-count` when it is negative, all
    /// when it is 0. Returns how many there were.
    ///
    /// # Errors
    /// [`WrongType`](crate::data::Error::WrongType) when the key holds another type.
    pub fn list_remove(&mut self, name: &[u8], count: i64, value: &[u8]) -> Result<u64> {
        let Some(old) = self.record_of(name, Kind::List)? else { return Ok(0) };
        let mut header = Header::of(&old)?;
        let limit = if count == 0 { u64::MAX } else { count.unsigned_abs() };
        let end = if count < 0 { End::Right } else { End::Left };
        let mut matches = Vec::new();
        walk(self.batch, &header, (header.head, header.tail), end, &mut |key, element| {
            if element == value {
                matches.push(index_of(key));
            }
            if matches.len() as u64 == limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        let removed = matches.len() as u64;
        if removed == 0 {
            return Ok(0);
        }
        let matches = matches.into_iter().collect::<storage::Result<Vec<i64>>>()?;
        for &index in &matches {
            self.batch.remove(Table::Lists, header.row(index))?;
        }
        header.length = header.length.checked_sub(removed).ok_or_else(|| missing(&header, header.tail))?;
        self.settle(&mut header, End::Left)?;
        self.settle(&mut header, End::Right)?;
        for index in matches {
            if (header.head..header.tail).contains(&index) {
                self.open_hole(&mut header, index)?;
            }
        }
        self.notice(Classes::LIST, "lrem", name);
        self.store_list(name, Some(&old), header)?;
        Ok(removed)
    }

    fn notice_pop(&mut self, name: &[u8], end: End) {
        self.notice(Classes::LIST, if end == End::Left { "lpop" } else { "rpop" }, name);
    }

    fn put_edge(&mut self, header: &mut Header, end: End, value: Bytes) -> Result<()> {
        let index = if end == End::Left { header.head - 1 } else { header.tail };
        self.fill(header, index)?;
        (header.head, header.tail) = (header.head.min(index), header.tail.max(index + 1));
        header.length += 1;
        self.batch.put(Table::Lists, header.row(index), value)?;
        Ok(())
    }

    fn take_edge(&mut self, header: &mut Header, end: End) -> Result<Bytes> {
        let index = if end == End::Left { header.head } else { header.tail - 1 };
        let key = header.row(index);
        let value = self.batch.get(Table::Lists, &key)?.ok_or_else(|| missing(header, index))?;
        self.batch.remove(Table::Lists, key)?;
        let had_holes = header.gaps() > 0;
        header.length -= 1;
        match end {
            End::Left => header.head += 1,
            End::Right => header.tail -= 1,
        }
        if had_holes {
            self.settle(header, end)?;
        }
        Ok(value)
    }

    /// Moves an edge inwards to the next element.
    fn settle(&mut self, header: &mut Header, end: End) -> Result<()> {
        if header.length == 0 {
            header.tail = header.head;
            return Ok(());
        }
        let (from, to) = (header.row(header.head), header.row(header.tail));
        let bounds = (Bound::Included(&from[..]), Bound::Excluded(&to[..]));
        let found = self.batch.first(Table::Lists, bounds.0, bounds.1, end == End::Right)?;
        let (key, _) = found.ok_or_else(|| missing(header, header.head))?;
        match end {
            End::Left => header.head = index_of(&key)?,
            End::Right => header.tail = index_of(&key)? + 1,
        }
        Ok(())
    }

    pub(super) fn store_list(&mut self, name: &[u8], old: Option<&Record>, mut header: Header) -> Result<()> {
        self.tidy(&mut header)?;
        match old {
            Some(old) if header.length == 0 => {
                if header.holes > 0 {
                    self.delete(name, old)?;
                } else {
                    self.forget(name, old)?;
                }
                self.notice_gone(name);
                Ok(())
            }
            Some(old) => self.store(name, Some(old), &Record { body: header.body(), ..old.clone() }),
            None => self.store(name, None, &Record::new(Kind::List, header.body())),
        }
    }
}
