//! Sorted sets, and sets, combined: members with the scores that come of theirs. A set's members count as scored 1.

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};

use bytes::Bytes;

use crate::data::notices::Classes;
use crate::data::sets::{Combination, Set};
use crate::data::zsets::{ScoreRange, Scored, SortedSet, Window};
use crate::data::{Edit, Error, Kind, Result, View};

/// How the scores of one member become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Aggregate {
    /// Added; infinities that cancel out make 0.
    #[default]
    Sum,
    /// The lowest.
    Min,
    /// The highest.
    Max,
}

impl Aggregate {
    fn of(self, score: f64, other: f64) -> f64 {
        match self {
            Aggregate::Sum => number(score + other),
            Aggregate::Min if other < score => other,
            Aggregate::Max if other > score => other,
            Aggregate::Min | Aggregate::Max => score,
        }
    }
}

/// What is no number counts as 0, as in Redis.
fn number(score: f64) -> f64 {
    if score.is_nan() { 0.0 } else { score }
}

/// A key that takes part in a combination.
#[derive(Debug)]
pub enum Source {
    /// There is no such key.
    Missing,
    /// A set.
    Set(Set),
    /// A sorted set.
    SortedSet(SortedSet),
}

impl Source {
    /// How many members it has.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "only a missing key is empty")]
    pub fn len(&self) -> u64 {
        match self {
            Source::Missing => 0,
            Source::Set(set) => set.len(),
            Source::SortedSet(set) => set.len(),
        }
    }
}

impl View<'_> {
    /// The set or sorted set of a key.
    ///
    /// # Errors
    /// [`Error::WrongType`] when the key holds another type.
    pub fn source(&self, name: &[u8]) -> Result<Source> {
        Ok(match self.record(name)?.map(|record| record.kind) {
            None => Source::Missing,
            Some(Kind::Set) => self.set(name)?.map_or(Source::Missing, Source::Set),
            Some(Kind::SortedSet) => self.sorted_set(name)?.map_or(Source::Missing, Source::SortedSet),
            Some(_) => return Err(Error::WrongType),
        })
    }

    /// The members of a combination in the order of their scores. Each source has a weight that its scores are
    /// multiplied by; a difference knows neither weights nor an aggregate.
    ///
    /// # Errors
    /// When the store fails.
    pub fn zcombine(
        &self,
        how: Combination,
        mut sources: Vec<(Source, f64)>,
        aggregate: Aggregate,
    ) -> Result<Vec<Scored>> {
        if how != Combination::Difference {
            // Small ones first, as in Redis: sums of floating point numbers depend on their order.
            sources.sort_by_key(|(source, _)| source.len());
        }
        let mut found: Vec<Scored> = match how {
            Combination::Union => self.zunion(&sources, aggregate)?.into_iter().collect(),
            Combination::Intersection => self.zintersection(&sources, aggregate, u64::MAX)?,
            Combination::Difference => self.zdifference(&sources)?,
        };
        found.sort_by(|(member, score), (other, other_score)| {
            // Scores are numbers; 0 and -0 are the same.
            score.partial_cmp(other_score).unwrap_or(Ordering::Equal).then_with(|| member.cmp(other))
        });
        Ok(found)
    }

    /// How many members the sources have in common; counts to `limit` only.
    ///
    /// # Errors
    /// When the store fails.
    pub fn zcommon(&self, mut sources: Vec<(Source, f64)>, limit: u64) -> Result<u64> {
        sources.sort_by_key(|(source, _)| source.len());
        Ok(self.zintersection(&sources, Aggregate::Sum, limit)?.len() as u64)
    }

    fn zunion(&self, sources: &[(Source, f64)], aggregate: Aggregate) -> Result<HashMap<Bytes, f64>> {
        let mut found: HashMap<Bytes, f64> = HashMap::new();
        for (source, weight) in sources {
            for (member, score) in self.scored(source)? {
                let score = number(weight * score);
                found.entry(member).and_modify(|sum| *sum = aggregate.of(*sum, score)).or_insert(score);
            }
        }
        Ok(found)
    }

    fn zintersection(&self, sources: &[(Source, f64)], aggregate: Aggregate, limit: u64) -> Result<Vec<Scored>> {
        let mut found = Vec::new();
        let Some(((first, weight), others)) = sources.split_first() else { return Ok(found) };
        'members: for (member, score) in self.scored(first)? {
            let mut score = number(weight * score);
            for (other, weight) in others {
                let Some(theirs) = self.score_in(other, &member)? else { continue 'members };
                score = aggregate.of(score, theirs * weight);
            }
            found.push((member, score));
            if found.len() as u64 >= limit {
                break;
            }
        }
        Ok(found)
    }

    fn zdifference(&self, sources: &[(Source, f64)]) -> Result<Vec<Scored>> {
        let Some(((first, _), others)) = sources.split_first() else { return Ok(Vec::new()) };
        let mut found = self.scored(first)?;
        for (other, _) in others {
            if other.len() < found.len() as u64 {
                let taken: HashSet<Bytes> = self.scored(other)?.into_iter().map(|(member, _)| member).collect();
                found.retain(|(member, _)| !taken.contains(member));
            } else {
                let mut left = Vec::new();
                for (member, score) in found {
                    if self.score_in(other, &member)?.is_none() {
                        left.push((member, score));
                    }
                }
                found = left;
            }
        }
        Ok(found)
    }

    fn scored(&self, source: &Source) -> Result<Vec<Scored>> {
        match source {
            Source::Missing => Ok(Vec::new()),
            Source::Set(set) => Ok(self.set_members(set)?.into_iter().map(|member| (member, 1.0)).collect()),
            Source::SortedSet(set) => self.zrange_by_score(set, ScoreRange::ALL, Window::ALL),
        }
    }

    fn score_in(&self, source: &Source, member: &[u8]) -> Result<Option<f64>> {
        match source {
            Source::Missing => Ok(None),
            Source::Set(set) => Ok(self.set_has(set, member)?.then_some(1.0)),
            Source::SortedSet(set) => self.zscore(set, member),
        }
    }
}

impl Edit<'_, '_> {
    /// Puts a sorted set of these members under a name, in place of what stood there, as `event` says; no members, no
    /// key.
    ///
    /// # Errors
    /// When the store fails, or there are too many for one command.
    pub fn zreplace(&mut self, name: &[u8], members: Vec<Scored>, event: &'static str) -> Result<()> {
        if let Some(old) = self.record(name)? {
            self.delete(name, &old)?;
            if members.is_empty() {
                self.notice_gone(name);
            }
        }
        if members.is_empty() {
            return Ok(());
        }
        let members: Vec<(f64, Bytes)> = members.into_iter().map(|(member, score)| (score, member)).collect();
        self.zadd(name, Default::default(), &members)?;
        self.notice(Classes::ZSET, event, name);
        Ok(())
    }
}
