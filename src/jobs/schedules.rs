//! Schedules: what is submitted again and again, when, and how far it has come. What may be asked of one stands in
//! [`super::definition`], what happens at a tick in [`super::firing`].
//!
//! Table `schedules`: id → the record; `00`, id → the JSON of its jobs as it came, a row of its own since every tick
//! writes the record. Ids hold no zero byte, so the two never meet.

use std::ops::{Bound, ControlFlow};

use crate::clock::Millis;
use crate::jobs::codec::{Reader, Writer};
use crate::jobs::cron::Cron;
use crate::jobs::error::{Error, Result, shown};
use crate::jobs::rows::{Timer, timer_key};
use crate::jobs::ticks::{self, Ticks};
use crate::jobs::{Id, JobsView, Submit, time};
use crate::storage::{self, Table};
use bytes::Bytes;

const VERSION: u8 = 1;
const PAUSED: u8 = 1;
const HAS_START: u8 = 2;
const HAS_END: u8 = 4;
const HAS_PLAN: u8 = 8;
const HAS_NEXT: u8 = 16;
const HAS_LAST: u8 = 32;
const HAS_ERROR: u8 = 64;
const FLAGS: u8 = 127;
/// What comes before the id in the key of the jobs' JSON.
pub(super) const JOB: u8 = 0;
/// The most bytes of a schedule's id: its jobs' ids append the tick.
const MAX_ID_BYTES: usize = 96;

/// What becomes of ticks that are missed; the numbers are part of the row format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Misfire {
    /// The last one is made up for.
    Once = 0,
    /// Each is made up for.
    All = 1,
    /// None is.
    Skip = 2,
}

impl Misfire {
    pub(super) const ALL: [Misfire; 3] = [Misfire::Once, Misfire::All, Misfire::Skip];

    /// The word for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        ["once", "all", "skip"][self as usize]
    }
}

/// What becomes of a tick while the job of the last one has not ended; the numbers are part of the row format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Overlap {
    /// It submits its job.
    Allow = 0,
    /// It is passed over.
    Skip = 1,
}

impl Overlap {
    pub(super) const ALL: [Overlap; 2] = [Overlap::Allow, Overlap::Skip];

    /// The word for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        ["allow", "skip"][self as usize]
    }
}

/// When a schedule's ticks come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Course {
    /// The cron line, as it came.
    pub cron: String,
    /// The zone's name, as it came.
    pub zone: String,
    /// No tick comes before,
    pub start_at: Option<Millis>,
    /// and none after.
    pub end_at: Option<Millis>,
}

impl Course {
    /// The moments.
    ///
    /// # Errors
    /// When the line or the zone is not sound.
    pub(super) fn ticks(&self) -> Result<Ticks> {
        let cron = Cron::parse("schedule.cron", &self.cron)?;
        let zone = ticks::zone("schedule.zone", &self.zone)?;
        Ok(Ticks::new(cron, zone).within(self.start_at, self.end_at))
    }
}

/// Checks the id of a new schedule.
///
/// # Errors
/// When it is none, or too long for its jobs' ids to append the tick.
pub fn schedule_id(text: &[u8]) -> Result<Id> {
    Id::sound(text).filter(|id| id.len() <= MAX_ID_BYTES).ok_or_else(|| {
        let text = shown(text);
        Error::refused(format!("schedule-id must be 1 to {MAX_ID_BYTES} letters, digits, '_' or '-', not '{text}'"))
    })
}

/// The id of the job that a tick submits.
pub(super) fn tick_id(schedule: &Id, tick: Millis) -> Result<Id> {
    Id::parse("the job of a tick", format!("{schedule}_{}", time::compact(tick)).as_bytes())
}

/// A schedule and how far it has come. Each tick that has come is in one of the four counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    /// When its ticks come.
    pub course: Course,
    /// What becomes of ticks that are missed.
    pub misfire: Misfire,
    /// What becomes of a tick while the last one's job has not ended.
    pub overlap: Overlap,
    /// The plan that its jobs run.
    pub plan: Option<Id>,
    /// Its timer's number.
    pub(super) number: u64,
    /// When it was first put.
    pub created_at: Millis,
    /// No tick comes.
    pub paused: bool,
    /// The tick that comes next; `None` when it is paused, or over.
    pub next_at: Option<Millis>,
    /// The last tick that submitted a job, and the job.
    pub last: Option<(Millis, Id)>,
    /// Ticks that submitted a job,
    pub fired: u64,
    /// that were passed over because the last one's job had not ended,
    pub skipped: u64,
    /// that were missed and not made up for,
    pub missed: u64,
    /// whose job was refused.
    pub refused: u64,
    /// The last tick whose job was refused, and why.
    pub last_error: Option<(Millis, String)>,
}

impl Schedule {
    pub(super) fn encode(&self) -> Bytes {
        let mut out = Writer::new(VERSION);
        let flag = |holds: bool, flag: u8| if holds { flag } else { 0 };
        let course = &self.course;
        out.byte(
            flag(self.paused, PAUSED)
                | flag(course.start_at.is_some(), HAS_START)
                | flag(course.end_at.is_some(), HAS_END)
                | flag(self.plan.is_some(), HAS_PLAN)
                | flag(self.next_at.is_some(), HAS_NEXT)
                | flag(self.last.is_some(), HAS_LAST)
                | flag(self.last_error.is_some(), HAS_ERROR),
        );
        out.byte(self.misfire as u8);
        out.byte(self.overlap as u8);
        out.bytes(course.cron.as_bytes());
        out.bytes(course.zone.as_bytes());
        for number in [self.number, self.created_at.0, self.fired, self.skipped, self.missed, self.refused] {
            out.number(number);
        }
        for at in [course.start_at, course.end_at, self.next_at].into_iter().flatten() {
            out.number(at.0);
        }
        if let Some(plan) = &self.plan {
            out.bytes(plan.as_bytes());
        }
        let last = self.last.as_ref().map(|(tick, job)| (tick, job.as_bytes()));
        let error = self.last_error.as_ref().map(|(tick, why)| (tick, why.as_bytes()));
        for (tick, text) in [last, error].into_iter().flatten() {
            out.number(tick.0);
            out.bytes(text);
        }
        out.finish()
    }

    pub(super) fn decode(row: &Bytes) -> storage::Result<Schedule> {
        let mut from = Reader::new(Table::Schedules, row, VERSION)?;
        let flags = from.byte()?;
        if flags & !FLAGS != 0 || flags & (PAUSED | HAS_NEXT) == PAUSED | HAS_NEXT {
            return Err(from.corrupt("flags that do not go together"));
        }
        let has = |flag: u8| flags & flag != 0;
        let misfire = Misfire::ALL.get(usize::from(from.byte()?)).copied();
        let misfire = misfire.ok_or_else(|| from.corrupt("an unknown policy for missed ticks"))?;
        let overlap = Overlap::ALL.get(usize::from(from.byte()?)).copied();
        let overlap = overlap.ok_or_else(|| from.corrupt("an unknown policy for overlaps"))?;
        let (cron, zone) = (from.string()?, from.string()?);
        let (number, created_at) = (from.number()?, Millis(from.number()?));
        let (fired, skipped, missed, refused) = (from.number()?, from.number()?, from.number()?, from.number()?);
        let mut moment = |flag| has(flag).then(|| from.number().map(Millis)).transpose();
        let (start_at, end_at, next_at) = (moment(HAS_START)?, moment(HAS_END)?, moment(HAS_NEXT)?);
        let id = |text: Bytes| Id::stored(Table::Schedules, &text);
        let plan = if has(HAS_PLAN) { Some(id(from.bytes()?)?) } else { None };
        let last = if has(HAS_LAST) { Some((Millis(from.number()?), id(from.bytes()?)?)) } else { None };
        let last_error = if has(HAS_ERROR) { Some((Millis(from.number()?), from.string()?)) } else { None };
        from.finish()?;
        Ok(Schedule {
            course: Course { cron, zone, start_at, end_at },
            misfire,
            overlap,
            plan,
            number,
            created_at,
            paused: has(PAUSED),
            next_at,
            last,
            fired,
            skipped,
            missed,
            refused,
            last_error,
        })
    }

    /// The key of its timer, if a tick comes.
    pub(super) fn timer_key(&self) -> Option<Vec<u8>> {
        self.next_at.map(|at| timer_key(Timer::Schedule, at, self.number))
    }

    /// What must have passed before a tick comes: now, and the last tick, should the clock have been set back.
    pub(super) fn passed(&self, now: Millis) -> Millis {
        self.last.as_ref().map_or(now, |(tick, _)| now.max(*tick))
    }
}

/// The row of what a schedule's jobs are submitted as.
pub(super) fn job_key(id: &Id) -> Vec<u8> {
    [&[JOB], id.as_bytes()].concat()
}

impl JobsView<'_> {
    /// A schedule.
    ///
    /// # Errors
    /// When the store fails.
    pub fn schedule(&self, id: &[u8]) -> Result<Option<Schedule>> {
        if id.first() == Some(&JOB) {
            return Ok(None);
        }
        Ok(self.rows.get(Table::Schedules, id)?.as_ref().map(Schedule::decode).transpose()?)
    }

    /// A schedule that must be there.
    ///
    /// # Errors
    /// `Schedule not found` when it is not.
    pub fn need_schedule(&self, id: &[u8]) -> Result<Schedule> {
        self.schedule(id)?.ok_or_else(|| Error::not_found("Schedule", id))
    }

    /// Up to `limit` schedules behind an id, in the order of ids.
    ///
    /// # Errors
    /// When the store fails.
    pub fn schedules(&self, after: Option<&Id>, limit: usize) -> Result<Vec<(Id, Schedule)>> {
        let from = after.map_or(Bound::Included(&[JOB + 1][..]), |id| Bound::Excluded(id.as_bytes()));
        let (mut found, mut failed) = (Vec::new(), None);
        self.rows.scan(Table::Schedules, from, Bound::Unbounded, false, &mut |id, row| {
            let read = || Ok((Id::stored(Table::Schedules, id)?, Schedule::decode(&Bytes::copy_from_slice(row))?));
            match read() {
                Ok(schedule) => found.push(schedule),
                Err(error) => failed = Some(error),
            }
            if failed.is_some() || found.len() >= limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        failed.map_or(Ok(found), |error: storage::Error| Err(error.into()))
    }

    /// What a schedule's jobs are submitted as: JSON, as it came.
    ///
    /// # Errors
    /// When the store fails.
    pub fn schedule_job(&self, id: &Id) -> Result<Bytes> {
        let missing = || storage::Error::corrupt(Table::Schedules, format!("schedule {id} has no job"));
        Ok(self.rows.get(Table::Schedules, &job_key(id))?.ok_or_else(missing)?)
    }

    /// The queue that a schedule's jobs are submitted to; `None` when there is no such schedule.
    ///
    /// # Errors
    /// When the store fails.
    pub fn schedule_queue(&self, id: &[u8]) -> Result<Option<Id>> {
        let Some(id) = Id::sound(id) else { return Ok(None) };
        if self.schedule(id.as_bytes())?.is_none() {
            return Ok(None);
        }
        Ok(Some(Submit::parse(&self.schedule_job(&id)?)?.queue().clone()))
    }

    /// The next ticks of a schedule, `count` at most; of one that is paused, those that came if it were resumed now.
    ///
    /// # Errors
    /// When the store fails, or this version does not know the schedule's zone any more.
    pub fn next_ticks(&self, schedule: &Schedule, count: usize) -> Result<Vec<Millis>> {
        let ticks = schedule.course.ticks()?;
        let first = if schedule.paused { ticks.next(schedule.passed(self.now)) } else { schedule.next_at };
        Ok(std::iter::successors(first, |tick| ticks.next(*tick)).take(count).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bare() -> Schedule {
        Schedule {
            course: Course { cron: "0 7 * * 1-5".to_owned(), zone: "UTC".to_owned(), start_at: None, end_at: None },
            misfire: Misfire::Once,
            overlap: Overlap::Allow,
            plan: None,
            number: 7,
            created_at: Millis(1_800_000_000_000),
            paused: true,
            next_at: None,
            last: None,
            fired: 0,
            skipped: 0,
            missed: 0,
            refused: 0,
            last_error: None,
        }
    }

    fn full() -> Schedule {
        let id = |text: &str| Id::sound(text.as_bytes()).unwrap();
        Schedule {
            course: Course { start_at: Some(Millis(1)), end_at: Some(Millis::MAX), ..bare().course },
            misfire: Misfire::Skip,
            overlap: Overlap::Skip,
            plan: Some(id("p")),
            paused: false,
            next_at: Some(Millis(300)),
            last: Some((Millis(200), id("s_20270115T080000Z"))),
            fired: 1,
            skipped: 2,
            missed: 3,
            refused: 400,
            last_error: Some((Millis(100), "why".to_owned())),
            ..bare()
        }
    }

    #[test]
    fn records_round_trip_and_damage_is_found() {
        for schedule in [bare(), full()] {
            let row = schedule.encode();
            assert_eq!(Schedule::decode(&row).unwrap(), schedule);
            for length in 0..row.len() {
                assert!(Schedule::decode(&row.slice(..length)).is_err(), "{length}");
            }
            assert!(Schedule::decode(&[&row[..], b"x"].concat().into()).is_err(), "bytes left over");
            for (place, value) in [(0, 2), (1, 128), (1, PAUSED | HAS_NEXT), (2, 3), (3, 2)] {
                let mut damaged = row.to_vec();
                damaged[place] = value;
                assert!(Schedule::decode(&damaged.into()).is_err(), "{value} at {place}");
            }
        }
    }

    #[test]
    fn the_longest_id_leaves_room_for_the_tick() {
        let id = schedule_id(&[b'a'; MAX_ID_BYTES]).unwrap();
        assert!(tick_id(&id, Millis(1_800_000_000_000)).unwrap().ends_with("a_20270115T080000Z"));
        assert!(schedule_id(&[b'a'; MAX_ID_BYTES + 1]).is_err() && schedule_id(b"").is_err());
    }
}
