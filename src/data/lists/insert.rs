//! Inserting in the middle of a list: the elements between the place and the nearest hole or end move by one.

use std::ops::{Bound, ControlFlow};

use bytes::Bytes;

use crate::data::lists::{End, Header, index_of, walk};
use crate::data::notices::Classes;
use crate::data::{Edit, Kind, Record, Result};
use crate::storage::{self, Rows, Table};

/// Where an element finds room.
struct Room {
    /// The last element that moves towards the head, or the free index before it.
    behind: i64,
    /// The nearest index before the place that has no element.
    free: i64,
}

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
        let Some(room) = self.room_before(&header, pivot, after)? else { return Ok(None) };
        let left = room.behind.abs_diff(room.free);
        let right = self.moves_behind(&header, room.behind + 1, left)?;
        if left <= right {
            self.move_elements(&header, (room.free + 1, room.behind), -1, left)?;
            self.batch.put(Table::Lists, header.row(room.behind), value)?;
            header.head = header.head.min(room.free);
        } else {
            let end = (room.behind + 1).saturating_add_unsigned(right);
            self.move_elements(&header, (room.behind + 1, end - 1), 1, right)?;
            self.batch.put(Table::Lists, header.row(room.behind + 1), value)?;
            header.tail = header.tail.max(end + 1);
        }
        header.length += 1;
        let length = header.length;
        self.store(name, Some(&old), &Record { body: header.body(), ..old.clone() })?;
        self.notice(Classes::LIST, "linsert", name);
        Ok(Some(length))
    }

    fn room_before(&self, header: &Header, pivot: &[u8], after: bool) -> Result<Option<Room>> {
        let (mut free, mut previous, mut found, mut failed) = (header.head - 1, header.head - 1, None, None);
        walk(self.batch, header, (header.head, header.tail), End::Left, &mut |key, element| {
            let index = match index_of(key) {
                Ok(index) => index,
                Err(error) => {
                    failed = Some(error);
                    return ControlFlow::Break(());
                }
            };
            if index - 1 > previous {
                free = index - 1;
            }
            previous = index;
            if element != pivot {
                return ControlFlow::Continue(());
            }
            found = Some(Room { behind: if after { index } else { index - 1 }, free });
            ControlFlow::Break(())
        })?;
        failed.map_or(Ok(found), |error| Err(error.into()))
    }

    /// How many elements stand from an index on without a hole, as far as that is fewer than `limit`.
    fn moves_behind(&self, header: &Header, from: i64, limit: u64) -> Result<u64> {
        let (mut expected, mut moves) = (from, 0);
        if limit == 0 || from >= header.tail {
            return Ok(0);
        }
        let mut failed = None;
        walk(self.batch, header, (from, header.tail), End::Left, &mut |key, _| match index_of(key) {
            Ok(index) if index == expected && moves < limit => {
                expected += 1;
                moves += 1;
                ControlFlow::Continue(())
            }
            Ok(_) => ControlFlow::Break(()),
            Err(error) => {
                failed = Some(error);
                ControlFlow::Break(())
            }
        })?;
        failed.map_or(Ok(moves), |error| Err(error.into()))
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
