//! The elements of a collection whose rows stand under `(id, element)`, page by page.

use std::ops::{Bound, ControlFlow};

use bytes::Bytes;

use crate::data::{Edit, Record, Result, View, keys, trash};
use crate::storage::batch::{MAX_BYTES, MAX_ROWS};
use crate::storage::{self, Table, Visit, tables};

impl View<'_> {
    /// Visits all rows of a table whose keys begin with a collection's id.
    ///
    /// # Errors
    /// When the store fails.
    pub fn rows_of(&self, table: Table, id: &[u8; 8], visit: &mut Visit<'_>) -> Result<()> {
        let to = tables::prefix_end(id);
        let to = to.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        Ok(self.rows.scan(table, Bound::Included(id), to, false, visit)?)
    }

    /// Up to `count` elements behind `after` with their rows, in the order of their bytes, and whether more follow.
    pub(super) fn elements(
        &self,
        table: Table,
        id: [u8; 8],
        after: Option<&[u8]>,
        count: usize,
    ) -> Result<(Vec<(Bytes, Bytes)>, bool)> {
        let (mut found, mut more) = (Vec::new(), false);
        let from = [&id, after.unwrap_or_default()].concat();
        let from = if after.is_some() { Bound::Excluded(&from[..]) } else { Bound::Included(&from[..]) };
        let to = tables::prefix_end(&id);
        let to = to.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        self.rows.scan(table, from, to, false, &mut |key, row| {
            if found.len() == count {
                more = true;
                return ControlFlow::Break(());
            }
            let element = key.get(id.len()..).unwrap_or_default();
            found.push((Bytes::copy_from_slice(element), Bytes::copy_from_slice(row)));
            ControlFlow::Continue(())
        })?;
        Ok((found, more))
    }

    /// The elements at some places among all, counted from 0 in the order of their bytes, with their rows: as many and
    /// in the order of `places`. Walks over the rows up to the last of them.
    pub(super) fn elements_at(&self, table: Table, id: [u8; 8], places: &[u64]) -> Result<Vec<(Bytes, Bytes)>> {
        let mut order: Vec<usize> = (0..places.len()).collect();
        order.sort_by_key(|nth| places.get(*nth));
        let mut found = vec![(Bytes::new(), Bytes::new()); places.len()];
        let (mut wanted, mut place, mut failed) = (order.into_iter().peekable(), 0, None);
        self.rows_of(table, &id, &mut |key, row| {
            let mut element = None;
            if wanted.peek().is_some_and(|nth| places.get(*nth) == Some(&place))
                && let Err(error) = self.rows.collect(key.len() + row.len())
            {
                failed = Some(error);
                return ControlFlow::Break(());
            }
            while let Some(nth) = wanted.next_if(|nth| places.get(*nth) == Some(&place)) {
                let copy = || {
                    let element = key.get(id.len()..).unwrap_or_default();
                    (Bytes::copy_from_slice(element), Bytes::copy_from_slice(row))
                };
                if let Some(slot) = found.get_mut(nth) {
                    slot.clone_from(element.get_or_insert_with(copy));
                }
            }
            place += 1;
            if wanted.peek().is_some() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        if let Some(error) = failed {
            return Err(error.into());
        }
        if wanted.peek().is_some() {
            let what = format!("a collection has {place} elements, its record says more");
            return Err(storage::Error::corrupt(table, what).into());
        }
        Ok(found)
    }
}

impl Edit<'_, '_> {
    /// Writes the elements of a record once more, under a new id. Returns the record that names them.
    ///
    /// # Errors
    /// [`TooLarge`](storage::Error::TooLarge) when they are more than one command may write.
    pub fn duplicate(&mut self, record: &Record) -> Result<Record> {
        let tables = trash::elements_of(record)?;
        if tables.is_empty() {
            return Ok(record.clone());
        }
        let new = keys::next_id(self.batch)?.to_be_bytes();
        for (table, old) in tables {
            let (mut rows, mut bytes) = (Vec::new(), 0);
            // One row more than may be written: the batch then refuses it without reading on.
            self.view().rows_of(table, &old, &mut |key, row| {
                bytes += key.len() + row.len();
                let key = [&new, key.get(new.len()..).unwrap_or_default()].concat();
                rows.push((key, Bytes::copy_from_slice(row)));
                let full = rows.len() > MAX_ROWS || bytes > MAX_BYTES;
                if full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })?;
            for (key, row) in rows {
                self.batch.put(table, key, row)?;
            }
        }
        let body = [&new, record.body.get(new.len()..).unwrap_or_default()].concat();
        Ok(Record { body: body.into(), ..record.clone() })
    }
}
