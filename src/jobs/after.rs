//! Dependencies: jobs that wait for the ends of others.
//!
//! A waiting job has a row with each job that it still waits for, and counts them in its record; the ids that it was
//! submitted with stand beside the record. A job that others wait for is marked, so that the end of one that nobody
//! waits for costs nothing. Those who wait learn of an end by a timer that is due at once, in slices: a job may have
//! any number of them.

use std::ops::{Bound, ControlFlow};

use bytes::Bytes;

use crate::jobs::body::Part;
use crate::jobs::error::{Error, Result};
use crate::jobs::job::{AfterPolicy, Job, Reason, Status};
use crate::jobs::json::{self, Object};
use crate::jobs::rows::{Timer, dependent_key, dependents_prefix, timer_key};
use crate::jobs::{Id, Jobs, JobsView};
use crate::storage::{self, Rows as _, Table, tables};

/// The most jobs that one comes after.
const MAX_AFTER: usize = 1_000;

/// What a job is submitted to come after.
#[derive(Debug, Clone, Default)]
pub(super) struct After {
    pub(super) jobs: Vec<Id>,
    pub(super) policy: AfterPolicy,
}

impl After {
    /// Takes `after` and `after_policy`.
    pub(super) fn take(from: &mut Object<'_>) -> Result<After> {
        let path = from.path("after");
        let words = from.strings("after")?.unwrap_or_default();
        if words.len() > MAX_AFTER {
            return Err(Error::refused(format!("{path} names {} jobs, at most {MAX_AFTER} are taken", words.len())));
        }
        let id = |(place, word): (usize, &String)| Id::parse(&format!("{path}[{place}]"), word.as_bytes());
        let jobs = words.iter().enumerate().map(id).collect::<Result<Vec<_>>>()?;
        if let Some((place, twice)) = jobs.iter().enumerate().find(|(place, job)| jobs[..*place].contains(job)) {
            return Err(Error::refused(format!("{path}[{place}] names job {twice} again: once is enough")));
        }
        let policy_path = from.path("after_policy");
        let policy = match from.string("after_policy")?.as_deref() {
            None | Some("cancel") => AfterPolicy::Cancel,
            Some("continue") => AfterPolicy::Continue,
            Some("fail") => AfterPolicy::Fail,
            Some(other) => {
                let other = crate::jobs::error::shown(other.as_bytes());
                return Err(Error::refused(format!("{policy_path} must be cancel, continue or fail, not '{other}'")));
            }
        };
        Ok(After { jobs, policy })
    }

    /// The ids as JSON; `None` without any.
    pub(super) fn json(&self) -> Option<String> {
        let ids: Vec<String> = self.jobs.iter().map(|id| format!("\"{id}\"")).collect();
        (!ids.is_empty()).then(|| format!("[{}]", ids.join(",")))
    }
}

impl JobsView<'_> {
    /// The jobs that one was submitted to come after.
    pub(super) fn after(&self, job: &Job) -> Result<Vec<Id>> {
        let Some(body) = &job.after else { return Ok(Vec::new()) };
        let text = self.body(&job.id, Part::After, body)?;
        let stored = |word: &String| Id::stored(Table::JobData, word.as_bytes());
        let words = json::strings(json::parse(&text, "after")?, "after")?;
        Ok(words.iter().map(stored).collect::<storage::Result<_>>()?)
    }
}

impl Jobs<'_, '_> {
    /// Lets a job that is just made wait for those of `after` that have not ended. Returns the one that ended badly
    /// already, where the policy minds that.
    pub(super) fn begin_after(&mut self, job: &mut Job, after: &After) -> Result<Option<Id>> {
        self.set_body(job, Part::After, after.json().as_ref().map(String::as_bytes))?;
        job.after_policy = after.policy;
        let mut bad = None;
        for (place, id) in after.jobs.iter().enumerate() {
            let awaited = self.view().job(id.as_bytes())?;
            let awaited = awaited.ok_or_else(|| Error::refused(format!("job.after[{place}]: Job not found: {id}")))?;
            if !awaited.status.is_terminal() {
                job.after_left += 1;
                let row = Bytes::copy_from_slice(job.id.as_bytes());
                self.batch.put(Table::JobIndex, dependent_key(id, job.number), row)?;
                if !awaited.has_dependents {
                    let marked = Job { has_dependents: true, ..awaited.clone() };
                    self.write(Some(&awaited), &marked)?;
                }
            } else if awaited.status != Status::Completed && after.policy != AfterPolicy::Continue {
                bad.get_or_insert_with(|| id.clone());
            }
        }
        Ok(bad)
    }

    /// A job that others wait for has ended: they learn it at once, in slices.
    pub(super) fn tell_dependents(&mut self, job: &Job) -> storage::Result<()> {
        let key = timer_key(Timer::Dependents, self.now, job.number);
        self.batch.put(Table::Timers, key, Bytes::copy_from_slice(job.id.as_bytes()))
    }

    /// Tells up to `limit` of those that wait for a job of its end. Returns how many.
    pub(super) fn run_dependents(&mut self, timer: Vec<u8>, job: &Job, limit: usize) -> Result<usize> {
        let prefix = dependents_prefix(&job.id);
        let end = tables::prefix_end(&prefix);
        let end = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let mut rows = Vec::new();
        self.batch.scan(Table::JobIndex, Bound::Included(&prefix), end, false, &mut |key, id| {
            rows.push((Bytes::copy_from_slice(key), Bytes::copy_from_slice(id)));
            if rows.len() >= limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        let told = rows.len();
        for (row, id) in rows {
            self.batch.remove(Table::JobIndex, row)?;
            let old = self.view().indexed_job(&id)?;
            let new = Job { after_left: old.after_left.saturating_sub(1), ..old.clone() };
            if job.status != Status::Completed && old.after_policy != AfterPolicy::Continue {
                self.end_after(&old, new)?;
            } else {
                self.go_on_after(&old, new)?;
            }
        }
        if told < limit {
            self.batch.remove(Table::Timers, timer)?;
            let told_all = Job { has_dependents: false, ..job.clone() };
            self.write(Some(job), &told_all)?;
        }
        Ok(told + 1)
    }

    /// One that a job waited for ended badly, and the job minds.
    pub(super) fn end_after(&mut self, old: &Job, mut new: Job) -> Result<Job> {
        new.reason = Reason::Dependency;
        let status = if old.after_policy == AfterPolicy::Fail { Status::Failed } else { Status::Cancelled };
        self.end(old, new, status)
    }

    fn go_on_after(&mut self, old: &Job, mut new: Job) -> Result<()> {
        if new.after_left == 0 {
            new.status = Status::Pending;
            new.reason = Reason::None;
            new.place = self.next_number()?;
            if new.run_at.is_some_and(|at| at > self.now) {
                new.status = Status::Scheduled;
                new.reason = Reason::Delay;
            } else {
                // It is due from now on, not since it was submitted.
                new.run_at = Some(self.now);
            }
        }
        self.write(Some(old), &new)
    }

    /// A job that waited is at its end: it waits for nobody any more.
    pub(super) fn forget_after(&mut self, job: &Job) -> Result<()> {
        for id in self.view().after(job)? {
            self.batch.remove(Table::JobIndex, dependent_key(&id, job.number))?;
        }
        Ok(())
    }
}
