//! Holes: indexes within a list at which no element stands, since one was removed there.
//!
//! A row of the `holes` table `(id, index i64) → ()` stands for each of them, with an index of [`Ranks`] over the rows once
//! they are many: the position of an index is its distance from the head less the holes between them, so that the
//! index of a position is found in one descent. A list without holes has no rows here and pays nothing.
//!
//! When an edge moves inwards past holes their rows lie outside the list; a few of those are removed with each change.

use std::ops::Bound;

use bytes::Bytes;

use crate::data::lists::{End, Header, index_of, place};
use crate::data::ranks::{LIMITS, Limits, Ranks};
use crate::data::{Edit, Result};
use crate::storage::{self, Rows, Table};

/// Tests divide a handful of holes already.
const BUCKETS: Limits = if cfg!(test) { Limits { elements: 4, buckets: 4 } } else { LIMITS };

/// Rows outside the list that a change removes at most.
const TIDIED: usize = 16;

impl Header {
    /// Indexes between the edges that have no element.
    pub(super) fn gaps(&self) -> u64 {
        self.tail.abs_diff(self.head) - self.length
    }

    /// True when rows of holes may lie outside the list.
    fn is_untidy(&self) -> bool {
        self.holes > self.gaps()
    }

    pub(super) fn ranks(&self) -> Ranks {
        Ranks { id: self.id.to_be_bytes(), table: Table::Holes, height: self.height, limits: BUCKETS }
    }

    /// The index at which the element of a position stands.
    pub(super) fn index_at(&self, rows: &dyn Rows, position: u64) -> storage::Result<i64> {
        if self.gaps() == 0 {
            return Ok(self.head.wrapping_add_unsigned(position));
        }
        let ranks = self.ranks();
        let outside = if self.is_untidy() { ranks.before(rows, &place(self.head))? } else { 0 };
        let mut failed = None;
        let passed = ranks.count_while(rows, &mut |hole, before| match index_of(&[&[0; 8], hole].concat()) {
            Ok(index) if index < self.head => true,
            Ok(index) => index.abs_diff(self.head) - before.saturating_sub(outside) <= position,
            Err(error) => {
                failed.get_or_insert(error);
                false
            }
        })?;
        let passed = passed.saturating_sub(outside);
        failed.map_or(Ok(self.head.wrapping_add_unsigned(position + passed)), Err)
    }

    /// The hole nearest to an index within the list: at it or before it, or (`End::Right`) at it or behind it.
    pub(super) fn nearest_hole(&self, rows: &dyn Rows, index: i64, towards: End) -> storage::Result<Option<i64>> {
        let (from, to) = match towards {
            End::Left => (self.row(self.head), self.row(index)),
            End::Right => (self.row(index), self.row(self.tail - 1)),
        };
        if from > to {
            return Ok(None);
        }
        let found = rows.first(Table::Holes, Bound::Included(&from), Bound::Included(&to), towards == End::Left)?;
        found.map(|(key, _)| index_of(&key)).transpose()
    }
}

impl Edit<'_, '_> {
    /// Notes that an index within the list has no element any more.
    pub(super) fn open_hole(&mut self, header: &mut Header, index: i64) -> Result<()> {
        let mut ranks = header.ranks();
        self.batch.put(Table::Holes, header.row(index), Bytes::new())?;
        header.holes += 1;
        if ranks.height > 0 {
            ranks.add(self.batch, &place(index))?;
        } else if header.holes > u64::from(BUCKETS.elements) {
            ranks.build(self.batch)?;
        }
        header.height = ranks.height;
        Ok(())
    }

    /// Notes that an index has an element again, or lies outside the list.
    pub(super) fn close_hole(&mut self, header: &mut Header, index: i64) -> Result<()> {
        let mut ranks = header.ranks();
        self.batch.remove(Table::Holes, header.row(index))?;
        header.holes = header.holes.checked_sub(1).ok_or_else(|| {
            storage::Error::corrupt(Table::Holes, format!("list {} has more holes than its record says", header.id))
        })?;
        if ranks.height > 0 {
            ranks.remove(self.batch, &place(index))?;
            if header.holes < u64::from(BUCKETS.elements) / 4 {
                ranks.remove_all(self.batch)?;
            }
        }
        header.height = ranks.height;
        Ok(())
    }

    /// Before an element is put beyond an edge: no hole lies there any more.
    pub(super) fn fill(&mut self, header: &mut Header, index: i64) -> Result<()> {
        if header.is_untidy() && self.batch.get(Table::Holes, &header.row(index))?.is_some() {
            self.close_hole(header, index)?;
        }
        Ok(())
    }

    /// Removes rows that lie outside the list, a few of them.
    pub(super) fn tidy(&mut self, header: &mut Header) -> Result<()> {
        for _ in 0..TIDIED {
            if !header.is_untidy() {
                break;
            }
            match self.outside(header)? {
                Some(index) => self.close_hole(header, index)?,
                None => {
                    let what = format!("list {} has fewer holes than its record says", header.id);
                    return Err(storage::Error::corrupt(Table::Holes, what).into());
                }
            }
        }
        Ok(())
    }

    /// A hole outside the list, the farthest one.
    fn outside(&self, header: &Header) -> Result<Option<i64>> {
        let (first, head) = (header.row(i64::MIN), header.row(header.head));
        let (tail, last) = (header.row(header.tail), header.row(i64::MAX));
        let before = self.batch.first(Table::Holes, Bound::Included(&first), Bound::Excluded(&head), false)?;
        let found = match before {
            Some(found) => Some(found),
            None => self.batch.first(Table::Holes, Bound::Included(&tail), Bound::Included(&last), true)?,
        };
        Ok(found.map(|(key, _)| index_of(&key)).transpose()?)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, VecDeque};
    use std::ops::ControlFlow;

    use proptest::prelude::*;

    use super::*;
    use crate::clock::Millis;
    use crate::data::{Touched, View};
    use crate::storage::{Batch, Db, Options};

    #[derive(Debug, Clone)]
    enum Step {
        Push(End, u8),
        Pop(End, u64),
        Move(End, End),
        Remove(i64, u8),
        Insert(bool, u8, u8),
        Set(i64, u8),
        Trim(i64, i64),
    }

    fn end() -> impl Strategy<Value = End> {
        prop_oneof![Just(End::Left), Just(End::Right)]
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            8 => (end(), 0..9_u8).prop_map(|(end, value)| Step::Push(end, value)),
            2 => (end(), 0..4_u64).prop_map(|(end, count)| Step::Pop(end, count)),
            1 => (end(), end()).prop_map(|(from, to)| Step::Move(from, to)),
            4 => (-3..4_i64, 0..9_u8).prop_map(|(count, value)| Step::Remove(count, value)),
            2 => (any::<bool>(), 0..9_u8, 0..9_u8).prop_map(|(after, pivot, value)| Step::Insert(after, pivot, value)),
            2 => (-40..40_i64, 0..9_u8).prop_map(|(index, value)| Step::Set(index, value)),
            1 => (-60..60_i64, -60..60_i64).prop_map(|(start, stop)| Step::Trim(start, stop)),
        ]
    }

    /// The list as Redis keeps it.
    fn model(list: &mut VecDeque<u8>, step: &Step) {
        let place = |len: usize, index: i64| if index < 0 { index + len as i64 } else { index };
        match *step {
            Step::Push(End::Left, value) => list.push_front(value),
            Step::Push(End::Right, value) => list.push_back(value),
            Step::Pop(end, count) => {
                for _ in 0..count {
                    let _ = if end == End::Left { list.pop_front() } else { list.pop_back() };
                }
            }
            Step::Move(from, to) => {
                let value = if from == End::Left { list.pop_front() } else { list.pop_back() };
                if let Some(value) = value {
                    model(list, &Step::Push(to, value));
                }
            }
            Step::Remove(count, value) => {
                let mut places: Vec<usize> = (0..list.len()).filter(|place| list[*place] == value).collect();
                if count < 0 {
                    places.reverse();
                }
                places.truncate(if count == 0 { usize::MAX } else { count.unsigned_abs() as usize });
                places.sort_unstable();
                for place in places.into_iter().rev() {
                    list.remove(place);
                }
            }
            Step::Insert(after, pivot, value) => {
                if let Some(place) = list.iter().position(|element| *element == pivot) {
                    list.insert(place + usize::from(after), value);
                }
            }
            Step::Set(index, value) => {
                let place = usize::try_from(place(list.len(), index)).ok();
                if let Some(element) = place.and_then(|place| list.get_mut(place)) {
                    *element = value;
                }
            }
            Step::Trim(start, stop) => {
                let (start, stop) = (place(list.len(), start).max(0), place(list.len(), stop));
                let kept = |nth: usize| (start..=stop).contains(&(nth as i64));
                *list = list.iter().enumerate().filter(|(nth, _)| kept(*nth)).map(|(_, value)| *value).collect();
            }
        }
    }

    fn change(edit: &mut Edit<'_, '_>, step: &Step) {
        let bytes = |value: u8| Bytes::copy_from_slice(&[value]);
        match *step {
            Step::Push(end, value) => {
                edit.list_push(b"l", end, [bytes(value)]).unwrap();
            }
            Step::Pop(end, count) => drop(edit.list_pop(b"l", end, count).unwrap()),
            Step::Move(from, to) => drop(edit.list_move(b"l", from, b"l", to).unwrap()),
            Step::Remove(count, value) => {
                edit.list_remove(b"l", count, &[value]).unwrap();
            }
            Step::Insert(after, pivot, value) => {
                edit.list_insert(b"l", after, &[pivot], bytes(value)).unwrap();
            }
            Step::Set(index, value) => {
                edit.list_set(b"l", index, bytes(value)).unwrap();
            }
            Step::Trim(start, stop) => edit.list_trim(b"l", start, stop).unwrap(),
        }
    }

    fn indexes(batch: &Batch<'_>, table: Table, header: &Header) -> BTreeSet<i64> {
        let (from, to) = (header.row(i64::MIN), header.row(i64::MAX));
        let mut found = BTreeSet::new();
        batch
            .scan(table, Bound::Included(&from), Bound::Included(&to), false, &mut |key, _| {
                found.insert(index_of(key).unwrap());
                ControlFlow::Continue(())
            })
            .unwrap();
        found
    }

    /// Every index between the edges has an element or a hole, and the record counts all holes.
    fn check(batch: &Batch<'_>, header: &Header) {
        let (elements, holes) = (indexes(batch, Table::Lists, header), indexes(batch, Table::Holes, header));
        assert_eq!(elements.first(), Some(&header.head));
        assert_eq!(elements.last(), Some(&(header.tail - 1)));
        assert_eq!((elements.len() as u64, holes.len() as u64), (header.length, header.holes));
        assert!(elements.is_disjoint(&holes));
        assert!((header.head..header.tail).all(|index| elements.contains(&index) || holes.contains(&index)));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_list_with_holes_is_the_list_without(steps in prop::collection::vec(step(), 1..400)) {
            let dir = tempfile::tempdir().unwrap();
            let db = Db::open(&Options::new(dir.path())).unwrap();
            let (mut batch, mut touched, mut list) = (db.batch().unwrap(), Touched::default(), VecDeque::new());
            for step in &steps {
                model(&mut list, step);
                let mut edit = Edit { batch: &mut batch, keyspace: 0, now: Millis(1), touched: &mut touched };
                change(&mut edit, step);
                let view = View { rows: &batch, keyspace: 0, now: Millis(1) };
                assert_eq!(view.list_len(b"l").unwrap(), list.len() as u64);
                let Some(header) = view.list(b"l").unwrap() else { continue };
                check(&batch, &header);
                assert!(header.height > 0 || header.holes <= 4);
                assert!(header.height == 0 || header.holes > 0);
                for index in [0, 1, list.len() as i64 / 2, -2, -1] {
                    let place = usize::try_from(if index < 0 { index + list.len() as i64 } else { index }).ok();
                    let expected = place.and_then(|place| list.get(place)).map(|value| Bytes::copy_from_slice(&[*value]));
                    assert_eq!(view.list_at(b"l", index).unwrap(), expected, "{index} after {step:?}");
                }
                let (start, stop) = (list.len() as i64 / 3, list.len() as i64 * 2 / 3);
                let range = view.list_range(b"l", start, stop).unwrap();
                let expected: Vec<_> = list.range(start as usize..list.len().min(stop as usize + 1)).copied().collect();
                assert_eq!(range.concat(), expected);
            }
            assert_eq!(crate::data::check::check(&batch).unwrap(), [""; 0]);
        }
    }
}
