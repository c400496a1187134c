//! Inserting in the middle of a list: the elements between the place and the nearest hole or end move by one.

use std::ops::{Bound, ControlFlow};

use bytes::Bytes;

use crate::data::lists::{End, Header, index_of, walk};
use crate::data::notices::Classes;
use crate::data::{Edit, Kind, Result};
use crate::storage::{self, Rows, Table};

impl Edit<'_, '_> {
    /// Puts an element before (`after`: after) the first element equal to `pivot`. Writes as many rows as elements stand
    /// between that and the nearest hole or end. Returns the new length, `None` when there is no such element.
    ///
    /// # Errors
    /// [`WrongType`](crate::data::Error::WrongType) when the key holds another type;
    /// [`TooLarge`](storage::Error::TooLarge) when too many elements would have to move.
    pub fn list_insert(&mut self, name: &[u8], after: bool, pivot: &[u8], value: Bytes) -> Result<Option<u64>> {
        let Some(old) = self.record_of(name, Kind::List)? else { return Ok(None) };
        let mut header = Header::of(&old)?;
        let Some(pivot) = self.first_equal(&header, pivot)? else { return Ok(None) };
        // The last element that stays before the new one.
        let before = if after { pivot } else { pivot - 1 };
        let room = header.nearest_hole(self.batch, before, End::Left)?.unwrap_or(header.head - 1);
        let behind = header.nearest_hole(self.batch, before + 1, End::Right)?.unwrap_or(header.tail);
        let (left, right) = (before.abs_diff(room), behind.abs_diff(before + 1));
        let (free, place) = if left <= right { (room, before) } else { (behind, before + 1) };
        if (header.head..header.tail).contains(&free) {
            self.close_hole(&mut header, free)?;
        } else {
            self.fill(&mut header, free)?;
        }
        if left <= right {
            self.move_elements(&header, (room + 1, before), -1, left)?;
        } else {
            self.move_elements(&header, (before + 1, behind - 1), 1, right)?;
        }
        self.batch.put(Table::Lists, header.row(place), value)?;
        (header.head, header.tail) = (header.head.min(free), header.tail.max(free + 1));
        header.length += 1;
        let length = header.length;
        self.store_list(name, Some(&old), header)?;
        self.notice(Classes::LIST, "linsert", name);
        Ok(Some(length))
    }

    /// The index of the first element equal to `value`.
    fn first_equal(&self, header: &Header, value: &[u8]) -> Result<Option<i64>> {
        let mut found = None;
        walk(self.batch, header, (header.head, header.tail), End::Left, &mut |key, element| {
            if element != value {
                return ControlFlow::Continue(());
            }
            found = Some(index_of(key));
            ControlFlow::Break(())
        })?;
        Ok(found.transpose()?)
    }

    /// Moves `count` elements, from the first to the last of these indexes, by one.
    fn move_elements(&mut self, header: &Header, (first, last): (i64, i64), by: i64, count: u64) -> Result<()> {
        let (max_rows, max_bytes) = (storage::batch::MAX_ROWS, storage::batch::MAX_BYTES);
        if count >= max_rows as u64 {
            return Err(storage::Error::TooLarge { max_rows, max_bytes }.into());
        }
        let (from, to) = (header.row(first), header.row(last));
        let mut moved = Vec::new();
        if count > 0 {
            let bounds = (Bound::Included(&from[..]), Bound::Included(&to[..]));
            self.batch.scan(Table::Lists, bounds.0, bounds.1, false, &mut |_, value| {
                moved.push(Bytes::copy_from_slice(value));
                ControlFlow::Continue(())
            })?;
        }
        for (index, value) in (first..=last).zip(moved) {
            self.batch.put(Table::Lists, header.row(index + by), value)?;
        }
        Ok(())
    }
}
