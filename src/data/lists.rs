//! Lists: one row an element under `(id, index i64)`, and a record that knows both ends.
//!
//! A list's record body is `[id u64][head i64][tail i64][length u64]`; elements stand at indexes from `head` up to,
//! not including, `tail`. Push and pop touch one edge row and the record. A removal in the middle leaves a hole
//! instead of moving elements (`tail - head > length`): the edges are always elements, and while there are holes,
//! positions are found by walking the rows from the nearer end. An empty list does not exist.

use std::ops::{Bound, ControlFlow};

use bytes::Bytes;

use crate::data::{Edit, Kind, Record, Result, View, keys};
use crate::storage::{self, Rows, Table, Visit};

/// Popping a whole list that is longer than this detaches its rows, to be removed in slices.
const DETACH_LENGTH: u64 = 64;

/// An end of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The head.
    Left,
    /// The tail.
    Right,
}

/// What [`View::list_positions`] looks for, and how far.
#[derive(Debug, Clone, Copy)]
pub struct Search<'a> {
    /// The element.
    pub value: &'a [u8],
    /// Skip so many matches first.
    pub skip: u64,
    /// From the tail towards the head.
    pub backwards: bool,
    /// Stop after so many matches.
    pub matches: u64,
    /// Compare so many elements at most.
    pub compare: u64,
}

/// What a list's record says.
#[derive(Debug, Clone, Copy)]
struct Header {
    id: u64,
    head: i64,
    tail: i64,
    length: u64,
}

impl Header {
    fn of(record: &Record) -> storage::Result<Header> {
        let corrupt = || storage::Error::corrupt(Table::Keys, format!("a list record of {} bytes", record.body.len()));
        let (words, rest) = record.body.as_chunks::<8>();
        let &[id, head, tail, length] = words else { return Err(corrupt()) };
        let header = Header {
            id: u64::from_be_bytes(id),
            head: i64::from_be_bytes(head),
            tail: i64::from_be_bytes(tail),
            length: u64::from_be_bytes(length),
        };
        let span = header.tail.checked_sub(header.head).and_then(|span| u64::try_from(span).ok());
        let fits = rest.is_empty() && header.length > 0 && span.is_some_and(|span| span >= header.length);
        if fits { Ok(header) } else { Err(corrupt()) }
    }

    fn body(&self) -> Bytes {
        let words =
            [self.id.to_be_bytes(), self.head.to_be_bytes(), self.tail.to_be_bytes(), self.length.to_be_bytes()];
        words.concat().into()
    }

    fn has_holes(&self) -> bool {
        self.tail.abs_diff(self.head) > self.length
    }

    /// The key of an element's row; flipping the sign bit makes the order of bytes that of the indexes.
    fn row(&self, index: i64) -> Vec<u8> {
        [self.id.to_be_bytes(), (index.cast_unsigned() ^ (1 << 63)).to_be_bytes()].concat()
    }

    /// The position of Redis's signed index, counted from the head.
    fn position(&self, index: i64) -> Option<u64> {
        let position =
            if index >= 0 { index.cast_unsigned() } else { self.length.checked_sub(index.unsigned_abs())? };
        (position < self.length).then_some(position)
    }

    /// The positions that Redis's inclusive, signed range names: the first, and how many.
    fn range(&self, start: i64, stop: i64) -> (u64, u64) {
        let from_head = |index: i64| {
            if index >= 0 { Some(index.cast_unsigned()) } else { self.length.checked_sub(index.unsigned_abs()) }
        };
        let start = from_head(start).unwrap_or(0);
        let Some(stop) = from_head(stop) else { return (0, 0) };
        let end = stop.saturating_add(1).min(self.length);
        (start, end.saturating_sub(start))
    }

    /// Rows that a read of `count` elements from position `start` on walks over.
    fn walk(&self, start: u64, count: u64) -> u64 {
        if self.has_holes() && count > 0 { count + start.min(self.length - start - count) } else { count }
    }
}

fn index_of(key: &[u8]) -> storage::Result<i64> {
    let index = key
        .get(8..)
        .and_then(|index| index.try_into().ok())
        .ok_or_else(|| storage::Error::corrupt(Table::Lists, format!("a key of {} bytes", key.len())))?;
    Ok((u64::from_be_bytes(index) ^ (1 << 63)).cast_signed())
}

fn missing(header: &Header, index: i64) -> storage::Error {
    storage::Error::corrupt(Table::Lists, format!("list {} has no element at {index}", header.id))
}

/// Visits the elements between two indexes (`to` not included), from the head or from the tail.
fn walk(
    rows: &dyn Rows,
    header: &Header,
    (from, to): (i64, i64),
    end: End,
    visit: &mut Visit<'_>,
) -> storage::Result<()> {
    let (from, to) = (header.row(from), header.row(to));
    rows.scan(Table::Lists, Bound::Included(&from), Bound::Excluded(&to), end == End::Right, visit)
}

/// The elements at `count` positions from `start` on.
fn elements(rows: &dyn Rows, header: &Header, start: u64, count: u64) -> storage::Result<Vec<Bytes>> {
    let mut found = Vec::with_capacity(usize::try_from(count).unwrap_or(0));
    if count == 0 {
        return Ok(found);
    }
    let after = header.length - start - count;
    let (mut skip, end, from, to) = if !header.has_holes() {
        let from = header.head.wrapping_add_unsigned(start);
        (0, End::Left, from, from.wrapping_add_unsigned(count))
    } else if start <= after {
        (start, End::Left, header.head, header.tail)
    } else {
        (after, End::Right, header.head, header.tail)
    };
    walk(rows, header, (from, to), end, &mut |_, value| {
        if skip > 0 {
            skip -= 1;
            return ControlFlow::Continue(());
        }
        found.push(Bytes::copy_from_slice(value));
        if found.len() as u64 == count { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    if found.len() as u64 != count {
        let what = format!("list {} has {} of {count} elements from position {start} on", header.id, found.len());
        return Err(storage::Error::corrupt(Table::Lists, what));
    }
    if end == End::Right {
        found.reverse();
    }
    Ok(found)
}

impl View<'_> {
    fn list(&self, name: &[u8]) -> Result<Option<Header>> {
        let record = self.record_of(name, Kind::List)?;
        Ok(record.as_ref().map(Header::of).transpose()?)
    }

    /// The length of a list, 0 when it does not exist.
    ///
    /// # Errors
    /// [`WrongType`](crate::data::Error::WrongType) when the key holds another type.
    pub fn list_len(&self, name: &[u8]) -> Result<u64> {
        Ok(self.list(name)?.map_or(0, |header| header.length))
    }

    /// The element at an index; negative ones count from the tail.
    ///
    /// # Errors
    /// [`WrongType`](crate::data::Error::WrongType) when the key holds another type.
    pub fn list_at(&self, name: &[u8], index: i64) -> Result<Option<Bytes>> {
        let Some(header) = self.list(name)? else { return Ok(None) };
        let Some(position) = header.position(index) else { return Ok(None) };
        Ok(elements(self.rows, &header, position, 1)?.pop())
    }

    /// The elements from index `start` to index `stop`, both included; negative ones count from the tail.
    ///
    /// # Errors
    /// [`WrongType`](crate::data::Error::WrongType) when the key holds another type.
    pub fn list_range(&self, name: &[u8], start: i64, stop: i64) -> Result<Vec<Bytes>> {
        let Some(header) = self.list(name)? else { return Ok(Vec::new()) };
        let (start, count) = header.range(start, stop);
        Ok(elements(self.rows, &header, start, count)?)
    }

    /// How many rows [`View::list_range`] will walk over.
    ///
    /// # Errors
    /// [`WrongType`](crate::data::Error::WrongType) when the key holds another type.
    pub fn list_walk(&self, name: &[u8], start: i64, stop: i64) -> Result<u64> {
        let Some(header) = self.list(name)? else { return Ok(0) };
        let (start, count) = header.range(start, stop);
        Ok(header.walk(start, count))
    }

    /// The positions of an element, counted from the head, in the order of the search.
    ///
    /// # Errors
    /// [`WrongType`](crate::data::Error::WrongType) when the key holds another type.
    pub fn list_positions(&self, name: &[u8], search: &Search<'_>) -> Result<Vec<u64>> {
        let mut found = Vec::new();
        let Some(header) = self.list(name)? else { return Ok(found) };
        let end = if search.backwards { End::Right } else { End::Left };
        let (mut seen, mut skip) = (0, search.skip);
        walk(self.rows, &header, (header.head, header.tail), end, &mut |_, value| {
            if seen == search.compare || found.len() as u64 == search.matches {
                return ControlFlow::Break(());
            }
            seen += 1;
            if value == search.value {
                if skip == 0 {
                    found.push(if search.backwards { header.length.wrapping_sub(seen) } else { seen - 1 });
                } else {
                    skip -= 1;
                }
            }
            ControlFlow::Continue(())
        })?;
        Ok(found)
    }
}

impl Edit<'_, '_> {
    /// Adds elements at an end, one after the other, making the list when it does not exist. Returns its length.
    ///
    /// # Errors
    /// [`WrongType`](crate::data::Error::WrongType) when the key holds another type.
    pub fn list_push(&mut self, name: &[u8], end: End, values: impl IntoIterator<Item = Bytes>) -> Result<u64> {
        let old = self.record_of(name, Kind::List)?;
        let mut header = match &old {
            Some(record) => Header::of(record)?,
            None => Header { id: keys::next_id(self.batch)?, head: 0, tail: 0, length: 0 },
        };
        for value in values {
            self.put_edge(&mut header, end, value)?;
        }
        self.store_list(name, old.as_ref(), &header)?;
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
            self.delete(name, &old)?;
            return Ok(Some(taken));
        }
        let mut taken = Vec::new();
        for _ in 0..count.min(header.length) {
            taken.push(self.take_edge(&mut header, end)?);
        }
        if !taken.is_empty() {
            self.store_list(name, Some(&old), &header)?;
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
            self.store_list(source, Some(&old), &header)?;
        } else {
            self.store_list(source, Some(&old), &header)?;
            self.list_push(target, to, [value.clone()])?;
        }
        Ok(Some(value))
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
                matches.push(Bytes::copy_from_slice(key));
            }
            if matches.len() as u64 == limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        let removed = matches.len() as u64;
        if removed == 0 {
            return Ok(0);
        }
        for key in matches {
            self.batch.remove(Table::Lists, key)?;
        }
        header.length = header.length.checked_sub(removed).ok_or_else(|| missing(&header, header.tail))?;
        self.settle(&mut header, End::Left)?;
        self.settle(&mut header, End::Right)?;
        self.store_list(name, Some(&old), &header)?;
        Ok(removed)
    }

    fn put_edge(&mut self, header: &mut Header, end: End, value: Bytes) -> Result<()> {
        let index = match end {
            End::Left => {
                header.head -= 1;
                header.head
            }
            End::Right => {
                header.tail += 1;
                header.tail - 1
            }
        };
        header.length += 1;
        self.batch.put(Table::Lists, header.row(index), value)?;
        Ok(())
    }

    fn take_edge(&mut self, header: &mut Header, end: End) -> Result<Bytes> {
        let index = if end == End::Left { header.head } else { header.tail - 1 };
        let key = header.row(index);
        let value = self.batch.get(Table::Lists, &key)?.ok_or_else(|| missing(header, index))?;
        self.batch.remove(Table::Lists, key)?;
        let had_holes = header.has_holes();
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

    fn store_list(&mut self, name: &[u8], old: Option<&Record>, header: &Header) -> Result<()> {
        match old {
            Some(old) if header.length == 0 => self.forget(name, old),
            Some(old) => self.store(name, Some(old), &Record { body: header.body(), ..old.clone() }),
            None => self.store(name, None, &Record::new(Kind::List, header.body())),
        }
    }
}
