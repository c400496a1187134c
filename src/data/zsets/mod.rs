//! Sorted sets: members in the order of their scores, equal scores in the order of the members' bytes.
//!
//! The record's body is `[id u64][length u64]`, and the height of its index of ranks where it has one, `[height u8]`, behind
//! which, while that is being made, stands the key up to which it is. A member stands twice: `zscores`
//! `(id, score, member) → ()` gives the order, `zmembers` `(id, member) → score` the score. Scores are never NaN, and -0 is
//! kept as 0.

mod change;
mod check;
mod combine;
mod members;

use std::ops::{Bound, ControlFlow};

use bytes::Bytes;

use crate::data::gather::Gather;
use crate::data::ranks::{LIMITS, Ranks, UNFINISHED};
use crate::data::{Kind, Record, Result, View};
use crate::storage::{self, Rows, Table};

pub use change::{AddRule, Added, Direction, Presence};
pub(super) use check::check;
pub use combine::{Aggregate, Source};
pub use members::MemberRange;

/// Members that one step of making an index takes: well under a millisecond.
pub const INDEX_SLICE: u64 = 4096;

/// Members that are passed over one by one instead of by the index.
const FEW: u64 = 64;

/// A member and its score.
pub type Scored = (Bytes, f64);

/// A sorted set that exists.
#[derive(Debug, Clone)]
pub struct SortedSet {
    record: Record,
    id: [u8; 8],
    len: u64,
    /// The height of its index, see [`Ranks`]; 0 without one.
    height: u8,
    /// The key up to which its index is made, while that is unfinished.
    until: Bytes,
}

impl SortedSet {
    pub(super) fn read(record: Record) -> storage::Result<SortedSet> {
        let corrupt = || storage::Error::corrupt(Table::Keys, "a sorted set's record is not an id and a length");
        let (id, rest) = record.body.split_first_chunk().ok_or_else(corrupt)?;
        let (len, rest) = rest.split_first_chunk().ok_or_else(corrupt)?;
        let (height, until) = match rest.split_first() {
            None => (0, Bytes::new()),
            Some((&UNFINISHED, until)) => (UNFINISHED, Bytes::copy_from_slice(until)),
            // Without an index there is no height.
            Some((height @ 1.., [])) => (*height, Bytes::new()),
            Some(_) => return Err(corrupt()),
        };
        Ok(SortedSet { id: *id, len: u64::from_be_bytes(*len), height, until, record })
    }

    /// The record as it is now.
    pub(super) fn record(&self) -> Record {
        let height = [self.height];
        let height: &[u8] = if self.height == 0 { &[] } else { &height };
        let body = [&self.id[..], &self.len.to_be_bytes(), height, &self.until].concat();
        Record { body: body.into(), ..self.record.clone() }
    }

    /// True when places are found without a walk: the set is small, or has its index.
    #[must_use]
    pub fn knows_places(&self) -> bool {
        self.len <= u64::from(LIMITS.elements) || self.ranks().is_finished()
    }

    /// The key of a member in its index, if the index is made that far.
    fn indexed_key(&self, score: f64, member: &[u8]) -> Option<Vec<u8>> {
        let key = SortedSet::rank_key(score, member);
        (self.height != UNFINISHED || key[..] < self.until[..]).then_some(key)
    }

    /// The index of its members in the order of their scores.
    fn ranks(&self) -> Ranks {
        Ranks { id: self.id, table: Table::ZScores, height: self.height, limits: LIMITS }
    }

    fn rank_key(score: f64, member: &[u8]) -> Vec<u8> {
        [&ordered_bits(score).to_be_bytes()[..], member].concat()
    }

    /// The number that its members stand under.
    #[must_use]
    pub fn id(&self) -> [u8; 8] {
        self.id
    }

    /// How many members there are; never 0.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "an empty sorted set does not exist")]
    pub fn len(&self) -> u64 {
        self.len
    }

    fn member_key(&self, member: &[u8]) -> Vec<u8> {
        [&self.id, member].concat()
    }

    fn score_key(&self, score: f64, member: &[u8]) -> Vec<u8> {
        [&self.id[..], &ordered_bits(score).to_be_bytes(), member].concat()
    }

    fn split_score_key<'k>(&self, key: &'k [u8]) -> storage::Result<(&'k [u8], f64)> {
        let rest = key.strip_prefix(&self.id).and_then(|rest| rest.split_first_chunk());
        let (bits, member) = rest.ok_or_else(|| {
            storage::Error::corrupt(Table::ZScores, format!("a key of {} bytes has no score", key.len()))
        })?;
        Ok((member, score_of(u64::from_be_bytes(*bits))))
    }
}

/// Bits whose order as integers is the order of the numbers.
fn ordered_bits(score: f64) -> u64 {
    // -0.0 + 0.0 is 0.0: the two are equal and so must be their bits.
    let bits = (score + 0.0).to_bits();
    if bits >> 63 == 1 { !bits } else { bits | 1 << 63 }
}

fn score_of(bits: u64) -> f64 {
    f64::from_bits(if bits >> 63 == 1 { bits & !(1 << 63) } else { !bits })
}

/// A range of scores.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScoreRange {
    /// The lowest score.
    pub min: Bound<f64>,
    /// The highest score.
    pub max: Bound<f64>,
}

impl ScoreRange {
    /// Every score.
    pub const ALL: ScoreRange = ScoreRange { min: Bound::Unbounded, max: Bound::Unbounded };

    /// Where the rows of the range begin (inclusive) and end (exclusive).
    fn keys(&self, set: &SortedSet) -> (Vec<u8>, Vec<u8>) {
        let key = |bits: u64| [set.id, bits.to_be_bytes()].concat();
        let from = match self.min {
            Bound::Unbounded => 0,
            Bound::Included(min) => ordered_bits(min),
            Bound::Excluded(min) => ordered_bits(min) + 1,
        };
        // The bits of infinity are not the highest there are, so adding one does not overflow.
        let to = match self.max {
            Bound::Unbounded => u64::MAX,
            Bound::Included(max) => ordered_bits(max) + 1,
            Bound::Excluded(max) => ordered_bits(max),
        };
        (key(from), key(to))
    }

    /// True when a score lies in the range.
    #[must_use]
    pub fn contains(&self, score: f64) -> bool {
        let above = match self.min {
            Bound::Unbounded => true,
            Bound::Included(min) => score >= min,
            Bound::Excluded(min) => score > min,
        };
        let below = match self.max {
            Bound::Unbounded => true,
            Bound::Included(max) => score <= max,
            Bound::Excluded(max) => score < max,
        };
        above && below
    }
}

/// Which part of a range is wanted, and from which end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// From the highest down.
    pub reverse: bool,
    /// Members passed over first.
    pub skip: u64,
    /// Members wanted at most.
    pub take: u64,
}

impl Window {
    /// All of a range, ascending.
    pub const ALL: Window = Window { reverse: false, skip: 0, take: u64::MAX };
}

impl View<'_> {
    /// The sorted set of a key, if the key exists.
    ///
    /// # Errors
    /// [`crate::data::Error::WrongType`] when the key holds another type.
    pub fn sorted_set(&self, name: &[u8]) -> Result<Option<SortedSet>> {
        let record = self.record_of(name, Kind::SortedSet)?;
        Ok(record.map(SortedSet::read).transpose()?)
    }

    /// The score of a member.
    ///
    /// # Errors
    /// When the store fails.
    pub fn zscore(&self, set: &SortedSet, member: &[u8]) -> Result<Option<f64>> {
        Ok(stored_score(self.rows, set, member)?)
    }

    /// The members at the places `start` to `stop`, both inclusive and counted from 0, `reverse` from the highest
    /// down.
    ///
    /// # Errors
    /// When the store fails.
    pub fn zrange(&self, set: &SortedSet, start: u64, stop: u64, reverse: bool) -> Result<Vec<Scored>> {
        let stop = stop.min(set.len - 1);
        if start > stop {
            return Ok(Vec::new());
        }
        let (take, beyond) = (stop - start + 1, set.len - 1 - stop);
        if beyond >= start {
            return self.zrange_by_score(set, ScoreRange::ALL, Window { reverse, skip: start, take });
        }
        // From the nearer end.
        let mut found = self.zrange_by_score(set, ScoreRange::ALL, Window { reverse: !reverse, skip: beyond, take })?;
        found.reverse();
        Ok(found)
    }

    /// The place of a member, counted from 0, `reverse` from the highest down; `None` when it is not there.
    ///
    /// # Errors
    /// When the store fails.
    pub fn zrank(&self, set: &SortedSet, member: &[u8], reverse: bool) -> Result<Option<u64>> {
        let Some(score) = stored_score(self.rows, set, member)? else { return Ok(None) };
        let place = set.ranks().before(self.rows, &SortedSet::rank_key(score, member))?;
        Ok(Some(if reverse { set.len.saturating_sub(place + 1) } else { place }))
    }

    /// The member at a place, counted from 0.
    ///
    /// # Errors
    /// When the store fails.
    pub fn zat(&self, set: &SortedSet, place: u64) -> Result<Option<Scored>> {
        let key = set.ranks().at(self.rows, place)?;
        let Some(key) = key else { return Ok(None) };
        let (member, score) = set
            .split_score_key(&[&set.id[..], &key].concat())
            .map(|(member, score)| (Bytes::copy_from_slice(member), score))?;
        self.rows.collect(member.len())?;
        Ok(Some((member, score)))
    }

    /// The members at some places in the order of their bytes, as many and in the order of `places`. Walks.
    ///
    /// # Errors
    /// When the store fails.
    pub fn zat_members(&self, set: &SortedSet, places: &[u64]) -> Result<Vec<Scored>> {
        let rows = self.elements_at(Table::ZMembers, set.id, places)?;
        Ok(rows.into_iter().map(|(member, row)| Ok((member, score_of_row(&row)?))).collect::<storage::Result<_>>()?)
    }

    /// The members with scores in `range`.
    ///
    /// # Errors
    /// When the store fails.
    pub fn zrange_by_score(&self, set: &SortedSet, range: ScoreRange, window: Window) -> Result<Vec<Scored>> {
        if window.take == 0 {
            return Ok(Vec::new());
        }
        let (mut members, mut scores) = (Gather::default(), Vec::new());
        let (mut from, mut to) = range.keys(set);
        let mut left = window;
        if set.ranks().is_finished() && window.skip > FEW {
            match self.skipped(set, (&from, &to), window)? {
                Some(place) if window.reverse => to = [place, vec![0]].concat(),
                Some(place) => from = place,
                None => return Ok(Vec::new()),
            }
            left.skip = 0;
        }
        let mut failed = None;
        let (from, to) = (Bound::Included(&from[..]), Bound::Excluded(&to[..]));
        self.rows.scan(Table::ZScores, from, to, window.reverse, &mut |key, _| {
            if left.skip > 0 {
                left.skip -= 1;
                return ControlFlow::Continue(());
            }
            match set.split_score_key(key) {
                Ok((member, score)) => {
                    members.push(self.rows, member)?;
                    scores.push(score);
                }
                Err(error) => failed = Some(error),
            }
            left.take -= 1;
            if left.take == 0 || failed.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        failed.map_or_else(|| Ok(members.texts()?.zip(scores).collect()), |error| Err(error.into()))
    }

    /// The key of the row from which on a window takes members of a range of rows; `None` when it passes them all over.
    fn skipped(&self, set: &SortedSet, (from, to): (&[u8], &[u8]), window: Window) -> Result<Option<Vec<u8>>> {
        let ranks = set.ranks();
        let before = |key: &[u8]| ranks.before(self.rows, key.get(set.id.len()..).unwrap_or_default());
        let (first, end) = (before(from)?, before(to)?);
        let place = if window.reverse {
            end.checked_sub(1).and_then(|last| last.checked_sub(window.skip)).filter(|place| *place >= first)
        } else {
            first.checked_add(window.skip).filter(|place| *place < end)
        };
        let Some(place) = place else { return Ok(None) };
        let key = ranks.at(self.rows, place)?;
        Ok(key.map(|key| [&set.id[..], &key].concat()))
    }

    /// How many members have scores in `range`.
    ///
    /// # Errors
    /// When the store fails.
    pub fn zcount(&self, set: &SortedSet, range: ScoreRange) -> Result<u64> {
        let (from, to) = range.keys(set);
        let before = |key: &[u8]| set.ranks().before(self.rows, key.get(set.id.len()..).unwrap_or_default());
        Ok(before(&to)?.saturating_sub(before(&from)?))
    }
}

impl View<'_> {
    /// Up to `count` members behind `after` with their scores, in the order of the members' bytes, and whether more
    /// follow.
    ///
    /// # Errors
    /// When the store fails.
    pub fn zpage(&self, set: &SortedSet, after: Option<&[u8]>, count: usize) -> Result<(Vec<Scored>, bool)> {
        let (rows, more) = self.elements(Table::ZMembers, set.id, after, count)?;
        let scored = rows.into_iter().map(|(member, row)| Ok((member, score_of_row(&row)?)));
        Ok((scored.collect::<storage::Result<_>>()?, more))
    }
}

fn stored_score(rows: &dyn Rows, set: &SortedSet, member: &[u8]) -> storage::Result<Option<f64>> {
    let Some(row) = rows.get(Table::ZMembers, &set.member_key(member))? else { return Ok(None) };
    score_of_row(&row).map(Some)
}

pub(super) fn score_of_row(row: &[u8]) -> storage::Result<f64> {
    let bits = row.try_into().map_err(|_| {
        storage::Error::corrupt(Table::ZMembers, format!("a score of {} bytes instead of 8", row.len()))
    })?;
    Ok(score_of(u64::from_be_bytes(bits)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_bits_is_the_order_of_scores() {
        let scores = [f64::NEG_INFINITY, f64::MIN, -1.5, -5e-324, 0.0, 5e-324, 1.0, 1.5, f64::MAX, f64::INFINITY];
        let bits: Vec<u64> = scores.iter().map(|score| ordered_bits(*score)).collect();
        assert!(bits.is_sorted_by(|a, b| a < b));
        for score in scores {
            assert_eq!(score_of(ordered_bits(score)), score);
        }
        assert_eq!(ordered_bits(-0.0), ordered_bits(0.0));
    }
}
