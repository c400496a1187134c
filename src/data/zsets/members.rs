//! Ranges of members by their bytes, which mean something where all scores are equal.

use std::ops::{Bound, ControlFlow};

use bytes::Bytes;

use crate::data::zsets::{FEW, Scored, SortedSet, Window, ordered_bits};
use crate::data::{Result, View};
use crate::storage::{Table, tables};

/// A range of members by their bytes, among members of one score.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberRange {
    /// The first member.
    pub min: Bound<Bytes>,
    /// The last member.
    pub max: Bound<Bytes>,
}

impl MemberRange {
    /// Where the rows of the range begin (inclusive) and end (exclusive) among those of one score.
    fn keys(&self, set: &SortedSet, score: f64) -> (Vec<u8>, Vec<u8>) {
        let behind = |member: &Bytes| [&set.score_key(score, member)[..], &[0]].concat();
        let from = match &self.min {
            Bound::Unbounded => set.score_key(score, &[]),
            Bound::Included(min) => set.score_key(score, min),
            Bound::Excluded(min) => behind(min),
        };
        let to = match &self.max {
            // The bits of infinity are not the highest there are, so adding one does not overflow.
            Bound::Unbounded => [set.id, (ordered_bits(score) + 1).to_be_bytes()].concat(),
            Bound::Included(max) => behind(max),
            Bound::Excluded(max) => set.score_key(score, max),
        };
        (from, to)
    }
}

impl View<'_> {
    /// The lowest and the highest member.
    pub(super) fn zends(&self, set: &SortedSet) -> Result<[Vec<Scored>; 2]> {
        self.working(|view| Ok([view.zrange(set, 0, 0, false)?, view.zrange(set, 0, 0, true)?]))
    }

    /// The score of all members, if they have the same.
    ///
    /// # Errors
    /// When the store fails.
    pub fn zonly_score(&self, set: &SortedSet) -> Result<Option<f64>> {
        let ends = self.zends(set)?;
        Ok(match ends.each_ref().map(|end| end.first()) {
            [Some((_, low)), Some((_, high))] if low == high => Some(*low),
            _ => None,
        })
    }

    /// How many members lie in a range of their bytes.
    ///
    /// # Errors
    /// When the store fails.
    pub fn zcount_by_member(&self, set: &SortedSet, range: &MemberRange) -> Result<u64> {
        let Some(score) = self.zonly_score(set)? else {
            return Ok(self.working(|view| view.zrange_by_member(set, range, Window::ALL))?.len() as u64);
        };
        let (from, to) = range.keys(set, score);
        let before = |key: &[u8]| set.ranks().before(self.rows, key.get(set.id.len()..).unwrap_or_default());
        Ok(before(&to)?.saturating_sub(before(&from)?))
    }

    /// The members in `range`, in the order of their bytes; as in Redis of use only where all scores are equal.
    ///
    /// # Errors
    /// When the store fails.
    pub fn zrange_by_member(&self, set: &SortedSet, range: &MemberRange, window: Window) -> Result<Vec<Bytes>> {
        let mut found = Vec::new();
        if window.take == 0 {
            return Ok(found);
        }
        let key = |bound: &Bound<Bytes>| bound.as_ref().map(|member| set.member_key(member));
        let from = match key(&range.min) {
            Bound::Unbounded => Bound::Included(set.id.to_vec()),
            bound => bound,
        };
        let to = match (key(&range.max), tables::prefix_end(&set.id)) {
            (Bound::Unbounded, Some(end)) => Bound::Excluded(end),
            (bound, _) => bound,
        };
        let (from, to) = (from.as_ref().map(|key| &key[..]), to.as_ref().map(|key| &key[..]));
        let mut left = window;
        if window.skip > FEW
            && set.ranks().is_finished()
            && let Some(score) = self.zonly_score(set)?
        {
            // The rows in the order of scores are in that of members too, and the index knows their places.
            let (from, to) = range.keys(set, score);
            return match self.skipped(set, (&from, &to), window)? {
                Some(place) => {
                    let first = Bound::Included(Bytes::copy_from_slice(place.get(16..).unwrap_or_default()));
                    let range = if window.reverse {
                        MemberRange { max: first, ..range.clone() }
                    } else {
                        MemberRange { min: first, ..range.clone() }
                    };
                    self.zrange_by_member(set, &range, Window { skip: 0, ..window })
                }
                None => Ok(found),
            };
        }
        let mut failed = None;
        self.rows.scan(Table::ZMembers, from, to, window.reverse, &mut |key, _| {
            if left.skip > 0 {
                left.skip -= 1;
                return ControlFlow::Continue(());
            }
            let member = key.get(8..).unwrap_or_default();
            if let Err(error) = self.rows.collect(member.len()) {
                failed = Some(error);
                return ControlFlow::Break(());
            }
            found.push(Bytes::copy_from_slice(member));
            left.take -= 1;
            if left.take == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        failed.map_or(Ok(found), |error| Err(error.into()))
    }
}
