//! Lists: one row an element under `(id, index i64)`, and a record that knows both ends.
//!
//! A list's record body is `[id u64][head i64][tail i64][length u64]`, and `[holes u64][height u8]` where it has any;
//! elements stand at indexes from `head` up to, not including, `tail`. Push and pop touch one edge row and the record.
//! A removal in the middle leaves a hole ([`holes`]) instead of moving elements: the edges are always elements. An
//! empty list does not exist.

mod check;
mod edit;
mod holes;
mod insert;

use std::ops::{Bound, ControlFlow};

use bytes::Bytes;

use crate::data::gather::Gather;
use crate::data::{Kind, Record, Result, View};
use crate::storage::{self, Rows, Table, Visit};

pub(super) use check::check;

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
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Header {
    id: u64,
    head: i64,
    tail: i64,
    length: u64,
    /// Rows that stand for holes.
    holes: u64,
    /// The height of their index of ranks; 0 without one.
    height: u8,
}

impl Header {
    pub(super) fn of(record: &Record) -> storage::Result<Header> {
        let corrupt = || storage::Error::corrupt(Table::Keys, format!("a list record of {} bytes", record.body.len()));
        let (words, rest) = record.body.as_chunks::<8>();
        let (&[id, head, tail, length], holes) = words.split_first_chunk().ok_or_else(corrupt)?;
        let (holes, height) = match (holes, rest) {
            ([], []) => (0, 0),
            ([holes], [height]) => (u64::from_be_bytes(*holes), *height),
            _ => return Err(corrupt()),
        };
        let header = Header {
            id: u64::from_be_bytes(id),
            head: i64::from_be_bytes(head),
            tail: i64::from_be_bytes(tail),
            length: u64::from_be_bytes(length),
            holes,
            height,
        };
        let span = header.tail.checked_sub(header.head).and_then(|span| u64::try_from(span).ok());
        let most = header.length.saturating_add(holes);
        let fits = header.length > 0 && span.is_some_and(|span| (header.length..=most).contains(&span));
        if fits { Ok(header) } else { Err(corrupt()) }
    }

    fn body(&self) -> Bytes {
        let words =
            [self.id.to_be_bytes(), self.head.to_be_bytes(), self.tail.to_be_bytes(), self.length.to_be_bytes()];
        let mut body = words.concat();
        if self.holes > 0 {
            body.extend_from_slice(&self.holes.to_be_bytes());
            body.push(self.height);
        }
        body.into()
    }

    /// The key of the row of an element, or of a hole.
    fn row(&self, index: i64) -> Vec<u8> {
        [self.id.to_be_bytes(), place(index)].concat()
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
}

/// An index as it stands in keys; flipping the sign bit makes the order of bytes that of the indexes.
fn place(index: i64) -> [u8; 8] {
    (index.cast_unsigned() ^ (1 << 63)).to_be_bytes()
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
    if count == 0 {
        return Ok(Vec::new());
    }
    let mut found = Gather::with_capacity(count);
    let from = header.index_at(rows, start)?;
    walk(rows, header, (from, header.tail), End::Left, &mut |_, value| {
        found.push(rows, value)?;
        if found.len() as u64 == count { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    let found = found.texts()?;
    if found.len() as u64 != count {
        let what = format!("list {} has {} of {count} elements from position {start} on", header.id, found.len());
        return Err(storage::Error::corrupt(Table::Lists, what));
    }
    Ok(found.collect())
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

    /// How many elements [`View::list_range`] will find.
    ///
    /// # Errors
    /// [`WrongType`](crate::data::Error::WrongType) when the key holds another type.
    pub fn list_range_len(&self, name: &[u8], start: i64, stop: i64) -> Result<u64> {
        let Some(header) = self.list(name)? else { return Ok(0) };
        let (_, count) = header.range(start, stop);
        Ok(count)
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
