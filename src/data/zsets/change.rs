//! Changing sorted sets: adding, removing, popping. Both rows of a member change together, and the record's length
//! with them.

use std::ops::Bound;

use bytes::Bytes;

use crate::data::notices::Classes;
use crate::data::zsets::{MemberRange, ScoreRange, Scored, SortedSet, Window, ordered_bits, stored_score};
use crate::data::{Edit, Error, Kind, Record, Result, keys};
use crate::storage::{self, Table};

/// Which members a ZADD may touch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Presence {
    /// Any.
    #[default]
    Any,
    /// New ones only (NX).
    New,
    /// Existing ones only (XX).
    Existing,
}

/// Which way a ZADD may move a score.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Direction {
    /// Any.
    #[default]
    Any,
    /// Up only (GT).
    Up,
    /// Down only (LT).
    Down,
}

/// How a ZADD goes about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AddRule {
    /// Which members it may touch.
    pub presence: Presence,
    /// Which way it may move a score.
    pub direction: Direction,
    /// Add to the score instead of setting it.
    pub increment: bool,
}

impl AddRule {
    /// The score a member gets, `None` when the rule leaves it as it is.
    fn apply(self, old: Option<f64>, given: f64) -> Result<Option<f64>> {
        match (self.presence, old) {
            (Presence::New, Some(_)) | (Presence::Existing, None) => return Ok(None),
            (_, None) => return Ok(Some(given)),
            (_, Some(_)) => {}
        }
        let old = old.unwrap_or_default();
        let new = if self.increment { old + given } else { given };
        if new.is_nan() {
            return Err(Error::ScoreIsNan);
        }
        let allowed = match self.direction {
            Direction::Any => true,
            Direction::Up => new > old,
            Direction::Down => new < old,
        };
        Ok(allowed.then_some(new))
    }
}

/// What a ZADD did.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Added {
    /// Members that are new.
    pub added: u64,
    /// Members whose score is another now.
    pub changed: u64,
    /// The score of the last member, unless the rule left it as it was.
    pub score: Option<f64>,
}

impl Edit<'_, '_> {
    /// The sorted set of a key, if the key exists.
    ///
    /// # Errors
    /// [`Error::WrongType`] when the key holds another type.
    pub fn sorted_set(&mut self, name: &[u8]) -> Result<Option<SortedSet>> {
        let record = self.record_of(name, Kind::SortedSet)?;
        Ok(record.map(SortedSet::read).transpose()?)
    }

    /// Adds members or moves their scores. Scores must not be NaN.
    ///
    /// # Errors
    /// [`Error::WrongType`], [`Error::ScoreIsNan`]; what was written must then be taken back.
    pub fn zadd(&mut self, name: &[u8], rule: AddRule, members: &[(f64, Bytes)]) -> Result<Added> {
        let mut done = Added::default();
        let found = self.sorted_set(name)?;
        if found.is_none() && (rule.presence == Presence::Existing || members.is_empty()) {
            return Ok(done);
        }
        let mut set = match &found {
            Some(set) => set.clone(),
            None => {
                let id = keys::next_id(self.batch)?.to_be_bytes();
                SortedSet {
                    record: Record::new(Kind::SortedSet, Bytes::new()),
                    id,
                    len: 0,
                    height: 0,
                    until: Bytes::new(),
                }
            }
        };
        let mut ranks = set.ranks();
        for (given, member) in members {
            let old = stored_score(self.batch, &set, member)?;
            done.score = rule.apply(old, *given)?;
            match (old, done.score) {
                (_, None) => {}
                (Some(old), Some(new)) if old == new => {}
                (old, Some(new)) => {
                    if let Some(old) = old {
                        self.batch.remove(Table::ZScores, set.score_key(old, member))?;
                        if let Some(key) = set.indexed_key(old, member) {
                            ranks.remove(self.batch, &key)?;
                        }
                        done.changed += 1;
                    } else {
                        done.added += 1;
                    }
                    self.batch.put(Table::ZScores, set.score_key(new, member), Bytes::new())?;
                    if let Some(key) = set.indexed_key(new, member) {
                        ranks.add(self.batch, &key)?;
                    }
                    let bits = ordered_bits(new).to_be_bytes().to_vec();
                    self.batch.put(Table::ZMembers, set.member_key(member), bits)?;
                }
            }
        }
        set.len += done.added;
        let grown = set.height != ranks.height;
        set.height = ranks.height;
        if done.added > 0 || grown {
            self.store(name, found.as_ref().map(|set| &set.record), &set.record())?;
        } else if done.changed > 0 {
            self.touch(name);
        }
        Ok(done)
    }

    /// Makes the index of ranks of a set that is large and has none, since somebody asks for ranks: of the next `members`
    /// of it. From then on it is kept; sets that nobody asks so do not pay for it. True when it is not finished yet.
    ///
    /// # Errors
    /// When the store fails.
    pub fn zindex(&mut self, name: &[u8], set: &SortedSet, members: u64) -> Result<bool> {
        if set.knows_places() {
            return Ok(false);
        }
        let mut ranks = set.ranks();
        let next = ranks.extend(self.batch, &set.until, members)?;
        let unfinished = next.is_some();
        let indexed = SortedSet { height: ranks.height, until: next.unwrap_or_default(), ..set.clone() };
        let row = keys::record_key(self.keyspace, name);
        // Nothing of the set has changed: who watches it is not told.
        self.batch.put(Table::Keys, row, indexed.record().encode())?;
        Ok(unfinished)
    }

    /// Removes members; answers how many there were.
    ///
    /// # Errors
    /// [`Error::WrongType`] when the key holds another type.
    pub fn zrem<'m>(&mut self, name: &[u8], members: impl Iterator<Item = &'m [u8]>) -> Result<u64> {
        let Some(set) = self.sorted_set(name)? else { return Ok(0) };
        let mut removed = 0;
        for member in members {
            if let Some(score) = stored_score(self.batch, &set, member)? {
                self.remove_member(&set, score, member)?;
                removed += 1;
            }
        }
        if removed > 0 {
            self.notice(Classes::ZSET, "zrem", name);
        }
        self.shrink(name, &set, removed)?;
        Ok(removed)
    }

    /// Removes and returns up to `count` members with the lowest scores (`reverse`: the highest).
    ///
    /// # Errors
    /// When the store fails.
    pub fn zpop(&mut self, name: &[u8], set: &SortedSet, count: u64, reverse: bool) -> Result<Vec<Scored>> {
        let all = ScoreRange { min: Bound::Unbounded, max: Bound::Unbounded };
        let popped = self.view().zrange_by_score(set, all, Window { reverse, skip: 0, take: count })?;
        if !popped.is_empty() {
            self.notice(Classes::ZSET, if reverse { "zpopmax" } else { "zpopmin" }, name);
        }
        self.remove_found(name, set, &popped)?;
        Ok(popped)
    }

    /// Removes the members with scores in `range`; answers how many there were. Getting rid of all members costs one
    /// row, however many they are.
    ///
    /// # Errors
    /// [`Error::WrongType`] when the key holds another type.
    pub fn zremove_by_score(&mut self, name: &[u8], range: ScoreRange) -> Result<u64> {
        let Some(set) = self.sorted_set(name)? else { return Ok(0) };
        let ends = self.view().zends(&set)?;
        if ends.iter().flatten().all(|(_, score)| range.contains(*score)) {
            self.remove_all(name, &set, "zremrangebyscore")?;
            return Ok(set.len);
        }
        // One more than a command may remove: the batch then refuses it without reading on.
        let take = storage::batch::MAX_ROWS as u64 / 2 + 1;
        let found = self.view().working(|view| view.zrange_by_score(&set, range, Window { take, ..Window::ALL }))?;
        self.notice_removal(name, found.len(), "zremrangebyscore");
        self.remove_found(name, &set, &found)?;
        Ok(found.len() as u64)
    }

    /// Removes the members at the places `start` to `stop`, both inclusive and counted from 0; answers how many there
    /// were. Getting rid of all members costs one row.
    ///
    /// # Errors
    /// When the store fails, or there are too many for one command.
    pub fn zremove_places(&mut self, name: &[u8], set: &SortedSet, start: u64, stop: u64) -> Result<u64> {
        let stop = stop.min(set.len - 1);
        if start == 0 && stop == set.len - 1 {
            self.remove_all(name, set, "zremrangebyrank")?;
            return Ok(set.len);
        }
        let most = start.saturating_add(storage::batch::MAX_ROWS as u64 / 2);
        let found = self.view().working(|view| view.zrange(set, start, stop.min(most), false))?;
        self.notice_removal(name, found.len(), "zremrangebyrank");
        self.remove_found(name, set, &found)?;
        Ok(found.len() as u64)
    }

    /// Removes the members in a range of their bytes; answers how many there were.
    ///
    /// # Errors
    /// When the store fails, or there are too many for one command.
    pub fn zremove_by_member(&mut self, name: &[u8], set: &SortedSet, range: &MemberRange) -> Result<u64> {
        let take = storage::batch::MAX_ROWS as u64 / 2 + 1;
        let found = self.view().working(|view| view.zrange_by_member(set, range, Window { take, ..Window::ALL }))?;
        for member in &found {
            if let Some(score) = stored_score(self.batch, set, member)? {
                self.remove_member(set, score, member)?;
            }
        }
        self.notice_removal(name, found.len(), "zremrangebylex");
        self.shrink(name, set, found.len() as u64)?;
        Ok(found.len() as u64)
    }

    fn notice_removal(&mut self, name: &[u8], count: usize, event: &'static str) {
        if count > 0 {
            self.notice(Classes::ZSET, event, name);
        }
    }

    /// Removes a whole set: one row, whatever its size.
    fn remove_all(&mut self, name: &[u8], set: &SortedSet, event: &'static str) -> Result<()> {
        self.notice(Classes::ZSET, event, name);
        self.delete(name, &set.record)?;
        self.notice_gone(name);
        Ok(())
    }

    fn remove_found(&mut self, name: &[u8], set: &SortedSet, found: &[Scored]) -> Result<()> {
        for (member, score) in found {
            self.remove_member(set, *score, member)?;
        }
        self.shrink(name, set, found.len() as u64)
    }

    fn remove_member(&mut self, set: &SortedSet, score: f64, member: &[u8]) -> Result<()> {
        self.batch.remove(Table::ZScores, set.score_key(score, member))?;
        self.batch.remove(Table::ZMembers, set.member_key(member))?;
        if let Some(key) = set.indexed_key(score, member) {
            set.ranks().remove(self.batch, &key)?;
        }
        Ok(())
    }

    /// Takes `removed` off a set's length; an empty set is no key.
    fn shrink(&mut self, name: &[u8], set: &SortedSet, removed: u64) -> Result<()> {
        if removed == 0 {
            return Ok(());
        }
        let len = set.len.checked_sub(removed).ok_or_else(|| {
            storage::Error::corrupt(Table::Keys, format!("a sorted set of {} members lost {removed}", set.len))
        })?;
        if len == 0 {
            set.ranks().remove_all(self.batch)?;
            self.forget(name, &set.record)?;
            self.notice_gone(name);
            return Ok(());
        }
        let mut left = SortedSet { len, ..set.clone() };
        let mut ranks = set.ranks();
        if ranks.height > 0 && len < u64::from(ranks.limits.elements) / 4 {
            ranks.remove_all(self.batch)?;
            (left.height, left.until) = (0, Bytes::new());
        }
        self.store(name, Some(&set.record), &left.record())
    }
}
