//! Lanes: the pending jobs of a queue that differ neither in priority nor in who can run them.
//!
//! A claim looks at the head of each lane that its worker can run, so that a job which nobody connected can run holds up
//! none behind it. Within a lane jobs without a key stand in the order of their places; those of each key stand by
//! themselves, and the keys take turns ([`super::tenants`]).

use std::collections::HashSet;

use sha2::{Digest as _, Sha256};

use crate::jobs::codec::{Reader, Writer};
use crate::jobs::job::{Job, Work};
use crate::storage;

/// Which workers know how to run a job at all; the numbers are part of the key format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub(super) enum Skill {
    /// Those that know nothing but commands and arguments.
    Plain = 0,
    /// Those that run plans.
    Plan = 1,
    /// Those that know the job's kind.
    Kind = 2,
}

/// A lane of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Lane {
    /// 9 − the priority, so that the order of lanes is the order of claims.
    pub(super) descent: u8,
    pub(super) skill: Skill,
    /// 0 when nothing is required, else a digest of what is.
    pub(super) requires: u64,
}

impl Lane {
    /// The lane of a job while it is pending.
    pub(super) fn of(job: &Job) -> Lane {
        let skill = match job.work {
            Work::Plan(_) if job.is_plain && job.requires.is_empty() => Skill::Plain,
            Work::Plan(_) => Skill::Plan,
            Work::Kind(_) => Skill::Kind,
        };
        Lane { descent: 9 - job.priority.min(9), skill, requires: digest(&job.requires) }
    }

    /// Appends the lane to a key.
    pub(super) fn put(self, key: &mut Vec<u8>) {
        key.push(self.descent);
        key.push(self.skill as u8);
        key.extend_from_slice(&self.requires.to_be_bytes());
    }

    pub(super) fn write(self, out: &mut Writer) {
        out.byte(self.descent);
        out.byte(self.skill as u8);
        out.number(self.requires);
    }

    pub(super) fn read(from: &mut Reader<'_>) -> storage::Result<Lane> {
        let (descent, skill) = (from.byte()?, from.byte()?);
        let skill = match skill {
            0 => Skill::Plain,
            1 => Skill::Plan,
            2 => Skill::Kind,
            _ => return Err(from.corrupt("an unknown skill")),
        };
        if descent > 9 {
            return Err(from.corrupt("a priority over 9"));
        }
        Ok(Lane { descent, skill, requires: from.number()? })
    }
}

/// A digest of what jobs require of workers: alike for the same words, which stand in order. That two sets of words
/// have the same one is as unlikely as that a file of them breaks SHA-256 cut to 64 bits by chance.
fn digest(requires: &[String]) -> u64 {
    if requires.is_empty() {
        return 0;
    }
    let mut hash = Sha256::new();
    for word in requires {
        hash.update((word.len() as u64).to_be_bytes());
        hash.update(word);
    }
    let mut first = [0; 8];
    first.copy_from_slice(&hash.finalize()[..8]);
    u64::from_be_bytes(first).max(1)
}

/// How many pending jobs a lane of a queue has, and what they require.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Waiting {
    pub(super) lane: Lane,
    pub(super) requires: Vec<String>,
    /// Jobs without a key.
    pub(super) plain: u64,
    /// Jobs with one.
    pub(super) keyed: u64,
}

/// The lanes of a queue that have pending jobs, in order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Lanes(Vec<Waiting>);

impl Lanes {
    pub(super) fn iter(&self) -> impl Iterator<Item = &Waiting> {
        self.0.iter()
    }

    /// A pending job comes (`1`) or goes (`-1`).
    pub(super) fn shift(&mut self, job: &Job, change: i64) -> storage::Result<()> {
        let lane = Lane::of(job);
        let place = match self.0.binary_search_by_key(&lane, |waiting| waiting.lane) {
            Ok(place) => place,
            Err(place) => {
                self.0.insert(place, Waiting { lane, requires: job.requires.clone(), plain: 0, keyed: 0 });
                place
            }
        };
        let waiting = &mut self.0[place];
        let count = if job.key.is_some() { &mut waiting.keyed } else { &mut waiting.plain };
        *count = count.checked_add_signed(change).ok_or_else(|| {
            storage::Error::corrupt(storage::Table::Queues, "a count of pending jobs would fall below zero".to_owned())
        })?;
        if waiting.plain == 0 && waiting.keyed == 0 {
            self.0.remove(place);
        }
        Ok(())
    }

    pub(super) fn write(&self, out: &mut Writer) {
        out.number(self.0.len() as u64);
        for waiting in &self.0 {
            waiting.lane.write(out);
            out.strings(&waiting.requires);
            out.number(waiting.plain);
            out.number(waiting.keyed);
        }
    }

    pub(super) fn read(from: &mut Reader<'_>) -> storage::Result<Lanes> {
        let mut lanes = Lanes::default();
        for _ in 0..from.number()? {
            let (lane, requires) = (Lane::read(from)?, from.strings()?);
            lanes.0.push(Waiting { lane, requires, plain: from.number()?, keyed: from.number()? });
        }
        Ok(lanes)
    }
}

/// Which jobs a claim may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    /// Every job whose requirements the worker meets.
    Everything,
    /// Of these, jobs of plans.
    Plans,
    /// Only what a worker that knows nothing but commands and arguments can run.
    Plain,
}

/// What a worker can do.
pub(super) struct Able<'a> {
    pub(super) takes: Takes,
    pub(super) capabilities: HashSet<&'a str>,
}

impl Able<'_> {
    /// True when the worker can run the jobs of a lane.
    pub(super) fn runs(&self, waiting: &Waiting) -> bool {
        let knows = match self.takes {
            Takes::Everything => true,
            Takes::Plans => waiting.lane.skill <= Skill::Plan,
            Takes::Plain => waiting.lane.skill == Skill::Plain,
        };
        knows && waiting.requires.iter().all(|word| self.capabilities.contains(word.as_str()))
    }
}
