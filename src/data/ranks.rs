//! An order-statistic index: how many elements of a collection stand before a key, and which one stands at a place.
//!
//! The elements of a collection, ordered by their keys, are divided into buckets; the buckets of a level are children of
//! those of the level above, up to one root. A row of the `counts` table `(id, level u8, first key)` →
//! `[elements u64][children u32]` says how many elements lie in a bucket, and how many elements or buckets it is
//! divided into. The first bucket of every level begins with the empty key. A bucket with too many children is split
//! in the middle; one without any is removed. An added or removed element so changes one row a level, and a question
//! looks at a few hundred rows however large the collection is.
//!
//! A small collection has no index (`height` 0): its elements are counted one by one. That of a large one is made in
//! steps ([`Ranks::extend`]); until the last of them it has buckets of the lowest level only, up to some key.

mod check;

use std::ops::{Bound, ControlFlow};

use bytes::Bytes;

use crate::storage::{Batch, Error, Result, Rows, Table, tables};

/// How many children a bucket may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Elements of a bucket of the lowest level. A collection that has no more needs no index.
    pub elements: u32,
    /// Buckets of one above; four at least.
    pub buckets: u32,
}

/// Measured: see docs/adr/0010-ranks.md.
pub const LIMITS: Limits = Limits { elements: 1024, buckets: 1024 };

/// The height of an index that is being made.
pub const UNFINISHED: u8 = u8::MAX;

/// The index of one collection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ranks {
    /// What the keys of its elements begin with.
    pub id: [u8; 8],
    /// Where its elements stand.
    pub table: Table,
    /// The level of the root; 0 when there is no index, [`UNFINISHED`] while it is made.
    pub height: u8,
    /// When buckets are split.
    pub limits: Limits,
}

/// A bucket: its first key, and what its row says.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Bucket {
    first: Bytes,
    elements: u64,
    children: u32,
}

impl Bucket {
    fn read(key: &[u8], row: &[u8]) -> Result<Bucket> {
        let read = || {
            let (elements, rest) = row.split_first_chunk()?;
            let children = rest.try_into().ok()?;
            Some((u64::from_be_bytes(*elements), u32::from_be_bytes(children)))
        };
        let (elements, children) = read().ok_or_else(|| corrupt("a row that is not two numbers"))?;
        Ok(Bucket { first: Bytes::copy_from_slice(key.get(9..).unwrap_or_default()), elements, children })
    }

    fn row(&self) -> Vec<u8> {
        [&self.elements.to_be_bytes()[..], &self.children.to_be_bytes()].concat()
    }
}

fn corrupt(what: &str) -> Error {
    Error::corrupt(Table::Counts, what.to_owned())
}

impl Ranks {
    /// True when questions have an index to look at.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        (1..UNFINISHED).contains(&self.height)
    }

    /// The levels above the elements that questions walk over, from the top; an unfinished index answers none.
    fn asked(&self) -> std::iter::Rev<std::ops::Range<u8>> {
        (1..if self.is_finished() { self.height } else { 0 }).rev()
    }

    /// The levels that have rows.
    fn levels(&self) -> std::ops::RangeInclusive<u8> {
        1..=if self.height == UNFINISHED { 1 } else { self.height }
    }

    /// How many elements stand before `key`, which need not be one.
    ///
    /// # Errors
    /// When the store fails.
    pub fn before(&self, rows: &dyn Rows, key: &[u8]) -> Result<u64> {
        let (mut sum, mut first) = (0, Bytes::new());
        for level in self.asked() {
            let mut last = None::<Bucket>;
            self.visit(rows, level, &first, Bound::Included(key), &mut |bucket| {
                if let Some(passed) = last.replace(bucket) {
                    sum += passed.elements;
                }
                ControlFlow::Continue(())
            })?;
            first = last.ok_or_else(|| corrupt("a level without a first bucket"))?.first;
        }
        let (from, to) = (self.element(&first), self.element(key));
        rows.scan(self.table, Bound::Included(&from), Bound::Excluded(&to), false, &mut |_, _| {
            sum += 1;
            ControlFlow::Continue(())
        })?;
        Ok(sum)
    }

    /// The key of the element at a place, counted from 0; `None` when there are fewer.
    ///
    /// # Errors
    /// When the store fails.
    pub fn at(&self, rows: &dyn Rows, place: u64) -> Result<Option<Bytes>> {
        let (mut left, mut first) = (place, Bytes::new());
        for level in self.asked() {
            let mut found = None;
            self.visit(rows, level, &first, Bound::Unbounded, &mut |bucket| {
                if left < bucket.elements {
                    found = Some(bucket.first);
                    return ControlFlow::Break(());
                }
                left -= bucket.elements;
                ControlFlow::Continue(())
            })?;
            match found {
                Some(found) => first = found,
                None => return Ok(None),
            }
        }
        let mut found = None;
        let end = tables::prefix_end(&self.id);
        let end = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        rows.scan(self.table, Bound::Included(&self.element(&first)), end, false, &mut |key, _| {
            if left == 0 {
                found = key.get(8..).map(Bytes::copy_from_slice);
                return ControlFlow::Break(());
            }
            left -= 1;
            ControlFlow::Continue(())
        })?;
        Ok(found)
    }

    /// How many elements, from the first on, pass a question that none passes behind one that does not. It is asked with
    /// a key, which need not be one of an element, and how many stand before it.
    ///
    /// # Errors
    /// When the store fails.
    pub fn count_while(&self, rows: &dyn Rows, passes: &mut dyn FnMut(&[u8], u64) -> bool) -> Result<u64> {
        let (mut sum, mut first) = (0, Bytes::new());
        for level in self.asked() {
            let mut last = None::<Bucket>;
            self.visit(rows, level, &first, Bound::Unbounded, &mut |bucket| {
                let Some(passed) = &last else {
                    last = Some(bucket);
                    return ControlFlow::Continue(());
                };
                if !passes(&bucket.first, sum + passed.elements) {
                    return ControlFlow::Break(());
                }
                sum += passed.elements;
                last = Some(bucket);
                ControlFlow::Continue(())
            })?;
            first = last.ok_or_else(|| corrupt("a level without a first bucket"))?.first;
        }
        let end = tables::prefix_end(&self.id);
        let end = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        rows.scan(self.table, Bound::Included(&self.element(&first)), end, false, &mut |key, _| {
            if !passes(key.get(8..).unwrap_or_default(), sum) {
                return ControlFlow::Break(());
            }
            sum += 1;
            ControlFlow::Continue(())
        })?;
        Ok(sum)
    }

    /// Makes the index of a collection that has none, of all its elements.
    ///
    /// # Errors
    /// When the store fails.
    pub fn build(&mut self, batch: &mut Batch<'_>) -> Result<()> {
        let more = self.extend(batch, &[], u64::MAX)?;
        debug_assert!(more.is_none(), "no collection has so many elements");
        Ok(())
    }

    /// Makes the index of the next `count` elements, those from the key `from` on: the empty one at first, then what the
    /// last call has answered; `None` when the index is finished. In between, elements with smaller keys that are added
    /// or removed must be told to the index, others not.
    ///
    /// # Errors
    /// When the store fails.
    pub fn extend(&mut self, batch: &mut Batch<'_>, from: &[u8], count: u64) -> Result<Option<Bytes>> {
        let full = self.limits.elements / 2;
        let (mut buckets, mut next, mut left) = (Vec::new(), None, count);
        let end = tables::prefix_end(&self.id);
        let end = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        batch.scan(self.table, Bound::Included(&self.element(from)), end, false, &mut |key, _| {
            let key = key.get(8..).unwrap_or_default();
            if left == 0 {
                next = Some(Bytes::copy_from_slice(key));
                return ControlFlow::Break(());
            }
            left -= 1;
            match buckets.last_mut() {
                Some(Bucket { elements, children, .. }) if *children < full => {
                    *elements += 1;
                    *children += 1;
                }
                // The first bucket of all begins with the empty key.
                last => {
                    let first = if last.is_none() && from.is_empty() { &[] } else { key };
                    buckets.push(Bucket { first: Bytes::copy_from_slice(first), elements: 1, children: 1 });
                }
            }
            ControlFlow::Continue(())
        })?;
        if buckets.is_empty() && from.is_empty() {
            buckets.push(Bucket { first: Bytes::new(), elements: 0, children: 0 });
        }
        for bucket in &buckets {
            self.put(batch, 1, bucket)?;
        }
        self.height = UNFINISHED;
        if next.is_none() {
            self.finish(batch)?;
        }
        Ok(next)
    }

    /// Puts the levels above the lowest one, which is there.
    fn finish(&mut self, batch: &mut Batch<'_>) -> Result<()> {
        let (mut buckets, mut empty) = (Vec::new(), Vec::new());
        self.visit(batch, 1, &[], Bound::Unbounded, &mut |bucket| {
            let list = if bucket.children == 0 && !bucket.first.is_empty() { &mut empty } else { &mut buckets };
            list.push(bucket);
            ControlFlow::Continue(())
        })?;
        for bucket in empty {
            batch.remove(Table::Counts, self.bucket(1, &bucket.first))?;
        }
        self.height = 1;
        while buckets.len() > 1 {
            self.height += 1;
            let grouped = buckets.chunks(self.limits.buckets as usize / 2).map(|children| Bucket {
                first: children.first().map(|child| child.first.clone()).unwrap_or_default(),
                elements: children.iter().map(|child| child.elements).sum(),
                children: children.len() as u32,
            });
            buckets = grouped.collect();
            for bucket in &buckets {
                self.put(batch, self.height, bucket)?;
            }
        }
        Ok(())
    }

    /// Removes the index.
    ///
    /// # Errors
    /// When the store fails.
    pub fn remove_all(&mut self, batch: &mut Batch<'_>) -> Result<()> {
        for level in self.levels() {
            let mut rows = Vec::new();
            self.visit(batch, level, &[], Bound::Unbounded, &mut |bucket| {
                rows.push(bucket.first);
                ControlFlow::Continue(())
            })?;
            for first in rows {
                batch.remove(Table::Counts, self.bucket(level, &first))?;
            }
        }
        self.height = 0;
        Ok(())
    }

    /// Counts an element that was added.
    ///
    /// # Errors
    /// When the store fails.
    pub fn add(&mut self, batch: &mut Batch<'_>, key: &[u8]) -> Result<()> {
        let mut crowded = None;
        for level in self.counted() {
            let mut bucket = self.find(batch, level, key)?;
            bucket.elements += 1;
            if level == 1 {
                bucket.children += 1;
            }
            self.put(batch, level, &bucket)?;
            if level == 1 && bucket.children > self.limits.elements {
                crowded = Some(bucket);
            }
        }
        let mut level = 1;
        while let Some(bucket) = crowded {
            crowded = self.split(batch, level, bucket)?;
            level += 1;
        }
        Ok(())
    }

    /// The levels whose buckets know how many elements they have. Nobody asks the root of a divided collection.
    fn counted(&self) -> std::ops::RangeInclusive<u8> {
        if self.is_finished() && self.height > 1 { 1..=self.height - 1 } else { self.levels() }
    }

    /// Counts off an element that was removed.
    ///
    /// # Errors
    /// When the store fails.
    pub fn remove(&mut self, batch: &mut Batch<'_>, key: &[u8]) -> Result<()> {
        let too_few = || corrupt("a bucket has more elements than its row says");
        let path = self.levels().map(|level| self.find(batch, level, key)).collect::<Result<Vec<_>>>()?;
        // Which buckets of the path go. One that its parent begins with stays as long as that does: every key must lie in
        // a bucket of each level.
        let mut gone = vec![false; path.len()];
        for place in (0..path.len().saturating_sub(1)).rev() {
            let (bucket, parent) = (&path[place], &path[place + 1]);
            gone[place] =
                bucket.elements == 1 && !bucket.first.is_empty() && (bucket.first != parent.first || gone[place + 1]);
        }
        let mut child_gone = true;
        for ((level, mut bucket), is_gone) in (1..).zip(path).zip(gone) {
            if self.counted().contains(&level) {
                bucket.elements = bucket.elements.checked_sub(1).ok_or_else(too_few)?;
            } else if !child_gone {
                continue;
            }
            bucket.children = bucket.children.checked_sub(child_gone.into()).ok_or_else(too_few)?;
            if is_gone {
                // An empty bucket that it begins with may stand below it.
                for level in 1..=level {
                    batch.remove(Table::Counts, self.bucket(level, &bucket.first))?;
                }
            } else {
                self.put(batch, level, &bucket)?;
            }
            child_gone = is_gone;
        }
        Ok(())
    }

    /// Splits a bucket in the middle; a root gets a root above it. Returns the parent if that has too many children now.
    fn split(&mut self, batch: &mut Batch<'_>, level: u8, bucket: Bucket) -> Result<Option<Bucket>> {
        let half = bucket.children / 2;
        let mut halves = [(Bytes::new(), 0, 0), (Bytes::new(), 0, 0)];
        let mut divide = |key: &[u8], weight: u64| {
            let [left, right] = &mut halves;
            if left.2 < half {
                (left.1, left.2) = (left.1 + weight, left.2 + 1);
            } else {
                if right.2 == 0 {
                    right.0 = Bytes::copy_from_slice(key);
                }
                (right.1, right.2) = (right.1 + weight, right.2 + 1);
            }
            if right.2 + half == bucket.children { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        if level == 1 {
            let end = tables::prefix_end(&self.id);
            let end = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
            let from = self.element(&bucket.first);
            batch.scan(self.table, Bound::Included(&from), end, false, &mut |key, _| {
                divide(key.get(8..).unwrap_or_default(), 1)
            })?;
        } else {
            let all = Bound::Unbounded;
            self.visit(batch, level - 1, &bucket.first, all, &mut |child| divide(&child.first, child.elements))?;
        }
        let [(_, left_elements, _), (first, elements, children)] = halves;
        if children + half != bucket.children {
            return Err(corrupt("a bucket has fewer children than its row says"));
        }
        let right = Bucket { first, elements, children };
        self.put(batch, level, &Bucket { first: bucket.first, elements: left_elements, children: half })?;
        self.put(batch, level, &right)?;
        if self.height == UNFINISHED {
            return Ok(None);
        }
        if level == self.height {
            self.height += 1;
            self.put(batch, self.height, &Bucket { first: Bytes::new(), elements: 0, children: 2 })?;
            return Ok(None);
        }
        let mut parent = self.find(batch, level + 1, &right.first)?;
        parent.children += 1;
        self.put(batch, level + 1, &parent)?;
        Ok((parent.children > self.limits.buckets).then_some(parent))
    }

    /// The bucket of a level that a key lies in.
    fn find(&self, rows: &dyn Rows, level: u8, key: &[u8]) -> Result<Bucket> {
        let (from, to) = (self.bucket(level, &[]), self.bucket(level, key));
        let found = rows.first(Table::Counts, Bound::Included(&from), Bound::Included(&to), true)?;
        let (key, row) = found.ok_or_else(|| corrupt("a level without a first bucket"))?;
        Bucket::read(&key, &row)
    }

    /// Visits the buckets of a level from one that begins with `first` on.
    fn visit(
        &self,
        rows: &dyn Rows,
        level: u8,
        first: &[u8],
        to: Bound<&[u8]>,
        visit: &mut dyn FnMut(Bucket) -> ControlFlow<()>,
    ) -> Result<()> {
        let from = self.bucket(level, first);
        let to = match to {
            Bound::Included(key) => Bound::Included(self.bucket(level, key)),
            _ => Bound::Excluded(self.bucket(level + 1, &[])),
        };
        let mut failed = None;
        let to = to.as_ref().map(|key| &key[..]);
        rows.scan(Table::Counts, Bound::Included(&from), to, false, &mut |key, row| match Bucket::read(key, row) {
            Ok(bucket) => visit(bucket),
            Err(error) => {
                failed = Some(error);
                ControlFlow::Break(())
            }
        })?;
        failed.map_or(Ok(()), Err)
    }

    fn put(&self, batch: &mut Batch<'_>, level: u8, bucket: &Bucket) -> Result<()> {
        batch.put(Table::Counts, self.bucket(level, &bucket.first), bucket.row())
    }

    fn bucket(&self, level: u8, first: &[u8]) -> Vec<u8> {
        [&self.id[..], &[level], first].concat()
    }

    fn element(&self, key: &[u8]) -> Vec<u8> {
        [&self.id[..], key].concat()
    }
}

#[cfg(test)]
mod tests;
