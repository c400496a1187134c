//! Jobs that come again and again. Ticks are multiples of a period, so that no calendar is needed.

use super::*;
use crate::jobs::schedules::{Misfire, Overlap};

const LATE_MS: u64 = 60_000;

/// What a schedule is put with. What it submits has no id yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Definition {
    pub(crate) period_ms: u64,
    pub(crate) misfire: Misfire,
    pub(crate) overlap: Overlap,
    pub(crate) submission: Submission,
}

/// A schedule.
#[derive(Debug, Clone)]
pub(crate) struct Schedule {
    definition: Definition,
    number: u64,
    pub(crate) paused: bool,
    pub(crate) next_at: Option<Millis>,
    /// The last tick that submitted a job, and the job.
    pub(crate) last: Option<(Millis, String)>,
    /// Ticks that fired, were skipped, missed and refused.
    pub(crate) ticks: [u64; 4],
}

impl Schedule {
    fn after(&self, at: Millis) -> Millis {
        let period = self.definition.period_ms;
        Millis((at.0 / period + 1) * period)
    }

    /// The first tick from now on that was not there before, should the clock have been set back.
    fn first(&self, now: Millis) -> Option<Millis> {
        let passed = self.last.as_ref().map_or(now, |(tick, _)| now.max(*tick));
        (!self.paused).then(|| self.after(passed))
    }
}

impl Model {
    pub(crate) fn put_schedule(&mut self, name: &'static str, definition: &Definition) {
        let number = self.next();
        let fresh = Schedule {
            definition: definition.clone(),
            number,
            paused: false,
            next_at: None,
            last: None,
            ticks: [0; 4],
        };
        let now = self.now;
        let schedule = self.schedules.entry(name).or_insert(fresh);
        let same_period = schedule.definition.period_ms == definition.period_ms;
        schedule.definition.clone_from(definition);
        if !same_period || schedule.next_at.is_none() {
            schedule.next_at = schedule.first(now);
        }
    }

    pub(crate) fn pause_schedule(&mut self, name: &str, paused: bool) -> Answer {
        let now = self.now;
        let schedule = self.schedules.get_mut(name).ok_or(No::Refused)?;
        if schedule.paused != paused {
            schedule.paused = paused;
            schedule.next_at = schedule.first(now);
        }
        Ok(())
    }

    pub(crate) fn delete_schedule(&mut self, name: &str) -> Answer {
        self.schedules.remove(name).map(drop).ok_or(No::Refused)
    }

    /// The schedules whose next tick has come, in the order of these ticks.
    pub(crate) fn due_schedules(&self) -> Vec<&'static str> {
        let mut due: Vec<_> =
            self.schedules.iter().filter(|(_, schedule)| schedule.next_at <= Some(self.now)).collect();
        due.retain(|(_, schedule)| schedule.next_at.is_some());
        due.sort_by_key(|(_, schedule)| (schedule.next_at, schedule.number));
        due.into_iter().map(|(name, _)| *name).collect()
    }

    /// Goes through a schedule's ticks up to the one where the server stands now. Returns the jobs that were submitted.
    pub(crate) fn go_through(&mut self, name: &'static str, stands: Option<Millis>) -> Vec<String> {
        let mut made = Vec::new();
        while let Some(tick) = self.schedules[name].next_at.filter(|tick| *tick <= self.now && Some(*tick) < stands) {
            let mut schedule = self.schedules[name].clone();
            let next = schedule.after(tick);
            schedule.next_at = Some(next);
            let is_last = next > self.now;
            let fires = match schedule.definition.misfire {
                Misfire::All => true,
                Misfire::Once => is_last,
                Misfire::Skip => is_last && self.now.since(tick) <= LATE_MS,
            };
            let last = schedule.last.as_ref().and_then(|(_, job)| self.jobs.get(job));
            let overlaps = last.is_some_and(|job| !job.status.is_terminal());
            let became = match () {
                () if !fires => 2,
                () if overlaps && schedule.definition.overlap == Overlap::Skip => 1,
                () => {
                    let at = jiff::Timestamp::from_millisecond(tick.0.cast_signed()).unwrap();
                    let id = format!("{name}_{}", at.strftime("%Y%m%dT%H%M%SZ"));
                    match self.submit(&Submission { id, ..schedule.definition.submission.clone() }) {
                        Ok(job) => {
                            made.push(job.clone());
                            schedule.last = Some((tick, job));
                            0
                        }
                        Err(_) => 3,
                    }
                }
            };
            schedule.ticks[became] += 1;
            self.schedules.insert(name, schedule);
        }
        made
    }
}
