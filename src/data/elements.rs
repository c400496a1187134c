//! The elements of a collection whose rows stand under `(id, element)`, page by page.

use std::ops::{Bound, ControlFlow};

use bytes::Bytes;

use crate::data::{Result, View};
use crate::storage::{Table, tables};

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
}
