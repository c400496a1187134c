//! What is done with schedules, and what a schedule does by itself: at each tick its job is submitted and the next tick
//! found, in one transaction, so that none is run twice or lost.
//!
//! The job's id is made of the schedule's and the tick. A tick is missed when the one after it has come as well, or when
//! it is over [`TOLERANCE_MS`] late. Ticks that have come are gone through in slices, with the record as their cursor.

use bytes::Bytes;

use crate::clock::Millis;
use crate::data;
use crate::jobs::definition::Definition;
use crate::jobs::error::{Error, Result};
use crate::jobs::job::Work;
use crate::jobs::schedules::{Misfire, Overlap, Schedule, job_key, tick_id};
use crate::jobs::submit::Submitted;
use crate::jobs::ticks::Ticks;
use crate::jobs::{Id, Jobs, Submit, plan_store};
use crate::storage::{self, Table};

/// A tick that is later than this is missed.
const TOLERANCE_MS: u64 = 60_000;
/// About how many rows a schedule takes of one slice.
const SLICE_ROWS: usize = 256;
/// About how many rows a job takes; a large one counts as one more for each page.
const JOB_ROWS: usize = 8;
const PAGE_BYTES: usize = 4096;

impl Jobs<'_, '_> {
    /// Makes a schedule, or puts another definition in the place of the one it has: pauses and counts stay. The same
    /// definition again changes nothing.
    ///
    /// # Errors
    /// When its jobs would be refused if they were submitted now, or no tick comes.
    pub fn put_schedule(&mut self, id: &Id, definition: &Definition<'_>) -> Result<Schedule> {
        let known = self.view().schedule(id.as_bytes())?;
        let Definition { course, ticks, misfire, overlap, job, submit } = definition;
        let job = job.get().as_bytes();
        let same_job = known.is_some() && self.view().schedule_job(id)? == job;
        if let Some(known) = &known
            && (&known.course, known.misfire, known.overlap, same_job) == (course, *misfire, *overlap, true)
        {
            return Ok(known.clone());
        }
        let plan = match self.check_submit(submit)? {
            Work::Plan(plan) => Some(plan),
            Work::Kind(_) => None,
        };
        let mut schedule = match &known {
            Some(known) => known.clone(),
            None => self.new_schedule(definition)?,
        };
        let next_at = match schedule.next_at {
            Some(next_at) if schedule.course == *course => Some(next_at),
            _ => ticks.next(schedule.passed(self.now)),
        };
        let Some(next_at) = next_at else {
            return Err(Error::refused(
                "schedule.end_at comes before the next tick: give a later one, or leave it out",
            ));
        };
        schedule.course.clone_from(course);
        (schedule.misfire, schedule.overlap) = (*misfire, *overlap);
        (schedule.plan, schedule.last_error) = (plan, None);
        schedule.next_at = (!schedule.paused).then_some(next_at);
        self.write_schedule(id, known.as_ref(), Some(&schedule))?;
        if !same_job {
            self.batch.put(Table::Schedules, job_key(id), Bytes::copy_from_slice(job))?;
        }
        Ok(schedule)
    }

    fn new_schedule(&mut self, definition: &Definition<'_>) -> Result<Schedule> {
        Ok(Schedule {
            course: definition.course.clone(),
            misfire: definition.misfire,
            overlap: definition.overlap,
            plan: None,
            number: self.next_number()?,
            created_at: self.now,
            paused: false,
            next_at: None,
            last: None,
            fired: 0,
            skipped: 0,
            missed: 0,
            refused: 0,
            last_error: None,
        })
    }

    /// Stops a schedule, or lets it go on with the first tick that comes from now on.
    ///
    /// # Errors
    /// `Schedule not found`.
    pub fn pause_schedule(&mut self, id: &[u8], paused: bool) -> Result<(Id, Schedule)> {
        let old = self.view().need_schedule(id)?;
        let id = Id::stored(Table::Schedules, id)?;
        let mut schedule = Schedule { paused, ..old.clone() };
        if old.paused != paused {
            schedule.next_at = if paused { None } else { old.course.ticks()?.next(old.passed(self.now)) };
            self.write_schedule(&id, Some(&old), Some(&schedule))?;
        }
        Ok((id, schedule))
    }

    /// Submits a schedule's job now, under an id of its own, whatever its ticks do.
    ///
    /// # Errors
    /// `Schedule not found`; when the job is refused.
    pub fn run_schedule_now(&mut self, id: &[u8]) -> Result<Submitted> {
        self.view().need_schedule(id)?;
        let job = self.view().schedule_job(&Id::stored(Table::Schedules, id)?)?;
        self.submit(&Submit::parse(&job)?)
    }

    /// Removes a schedule; its jobs stay.
    ///
    /// # Errors
    /// `Schedule not found`.
    pub fn delete_schedule(&mut self, id: &[u8]) -> Result<()> {
        let old = self.view().need_schedule(id)?;
        let id = Id::stored(Table::Schedules, id)?;
        self.batch.remove(Table::Schedules, job_key(&id))?;
        self.write_schedule(&id, Some(&old), None)
    }

    /// Writes a schedule's record, with its timer and the count of its plan, which follow from it.
    pub(super) fn write_schedule(&mut self, id: &Id, old: Option<&Schedule>, new: Option<&Schedule>) -> Result<()> {
        let key = Bytes::copy_from_slice(id.as_bytes());
        let [before, after] = [old, new].map(|schedule| schedule.and_then(Schedule::timer_key));
        if before != after {
            before.map_or(Ok(()), |timer| self.batch.remove(Table::Timers, timer))?;
            after.map_or(Ok(()), |timer| self.batch.put(Table::Timers, timer, key.clone()))?;
        }
        let [before, after] = [old, new].map(|schedule| schedule.and_then(|schedule| schedule.plan.as_ref()));
        if before != after {
            // The new one first: a plan that came along goes with what used it last.
            after.map_or(Ok(()), |plan| plan_store::count_schedule(self.batch, plan, 1))?;
            before.map_or(Ok(()), |plan| plan_store::count_schedule(self.batch, plan, -1))?;
        }
        match new {
            Some(schedule) => self.batch.put(Table::Schedules, key, schedule.encode())?,
            None => self.batch.remove(Table::Schedules, key)?,
        }
        Ok(())
    }

    /// Goes through the ticks of a schedule that have come, as far as a slice goes. Returns about how many rows it took.
    pub(super) fn run_schedule(&mut self, id: &[u8], limit: usize) -> Result<usize> {
        let id = Id::stored(Table::Timers, id)?;
        let missing = || storage::Error::corrupt(Table::Timers, format!("there is no schedule {id}"));
        let old = self.view().schedule(id.as_bytes())?.ok_or_else(missing)?;
        let (mut schedule, mut rows) = (old.clone(), 1);
        match old.course.ticks() {
            Ok(ticks) => rows += self.go_through(&id, &mut schedule, &ticks, limit.min(SLICE_ROWS))?,
            // A zone may have gone from the database that came with an older version.
            Err(error) => {
                schedule.last_error = schedule.next_at.take().map(|tick| (tick, reason(&error)));
            }
        }
        self.write_schedule(&id, Some(&old), Some(&schedule))?;
        Ok(rows)
    }

    fn go_through(&mut self, id: &Id, schedule: &mut Schedule, ticks: &Ticks, limit: usize) -> Result<usize> {
        let job = self.view().schedule_job(id)?;
        let mut submit = None;
        let mut rows = 0;
        while rows < limit
            && let Some(tick) = schedule.next_at.filter(|tick| *tick <= self.now)
        {
            schedule.next_at = ticks.next(tick);
            let is_last = schedule.next_at.is_none_or(|next| next > self.now);
            let makes_up = match schedule.misfire {
                Misfire::All => true,
                Misfire::Once => is_last,
                Misfire::Skip => is_last && tick.plus(TOLERANCE_MS) >= self.now,
            };
            rows += 1;
            if makes_up {
                let submit = submit.get_or_insert_with(|| Submit::parse(&job));
                self.fire(id, schedule, submit, tick)?;
                rows += JOB_ROWS + job.len() / PAGE_BYTES;
            } else {
                schedule.missed += 1;
            }
        }
        Ok(rows)
    }

    /// Submits the job of a tick. A refusal is noted and holds up nothing.
    fn fire(&mut self, id: &Id, schedule: &mut Schedule, submit: &Result<Submit<'_>>, tick: Millis) -> Result<()> {
        if schedule.overlap == Overlap::Skip && self.is_under_way(schedule)? {
            schedule.skipped += 1;
            return Ok(());
        }
        let (mark, touched) = (self.batch.mark(), self.touched.things.len());
        let submitted = match submit {
            Ok(submit) => tick_id(id, tick).and_then(|job| self.submit(&submit.named(job))),
            Err(error) => Err(Error::refused(reason(error))),
        };
        match submitted {
            Ok(submitted) => {
                schedule.fired += 1;
                schedule.last = Some((tick, submitted.id));
            }
            Err(Error::Storage(error) | Error::Data(data::Error::Storage(error))) => return Err(error.into()),
            Err(refused) => {
                self.batch.rollback(mark);
                self.touched.things.truncate(touched);
                schedule.refused += 1;
                schedule.last_error = Some((tick, reason(&refused)));
            }
        }
        Ok(())
    }

    /// True while the job of the last tick has not ended.
    fn is_under_way(&self, schedule: &Schedule) -> Result<bool> {
        let Some((_, job)) = &schedule.last else { return Ok(false) };
        Ok(self.view().job(job.as_bytes())?.is_some_and(|job| !job.status.is_terminal()))
    }
}

/// An error's text without its code.
fn reason(error: &Error) -> String {
    let text = error.to_string();
    text.strip_prefix("ERR ").map_or_else(|| text.clone(), str::to_owned)
}
