//! The elements of a collection whose rows stand under `(id, element)`, page by page.

use std::ops::{Bound, ControlFlow};

use bytes::Bytes;

use crate::data::{Result, View};
use crate::storage::{self, Table, tables};

impl View<'_> {
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
        let (mut wanted, mut place) = (order.into_iter().peekable(), 0);
        let to = tables::prefix_end(&id);
        let to = to.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        self.rows.scan(table, Bound::Included(&id), to, false, &mut |key, row| {
            let mut element = None;
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
        if wanted.peek().is_some() {
            let what = format!("a collection has {place} elements, its record says more");
            return Err(storage::Error::corrupt(table, what).into());
        }
        Ok(found)
    }
}
