//! A job as it is into an empty store, with every row that follows from it. Nothing happens by that: no event, no end of an
//! action, nobody is told.

use bytes::Bytes;

use crate::jobs::error::{Error, Result};
use crate::jobs::job::{Job, Status};
use crate::jobs::lanes::Lane;
use crate::jobs::rows::{Timer, dependent_key, tenant_key, timer_key, turn_key};
use crate::jobs::state::index_rows;
use crate::jobs::tenants::Share;
use crate::jobs::{Id, Jobs, job_row, plan_store};
use crate::storage::{Rows as _, Table};

/// What a job has that belongs to one job alone, by the row that says so.
fn shared(job: &Job, table: Table, row: &[u8]) -> String {
    let place = || format!("job.place, {}", job.place);
    match (table, row.first()) {
        (Table::Pending, _) => place(),
        (Table::Timers, _) if job.status == Status::Scheduled => place(),
        (Table::JobIndex, Some(b'u')) => format!("job.unique_key, '{}'", job.unique_key.as_deref().unwrap_or_default()),
        (Table::JobIndex, Some(b'a' | b'm')) => {
            format!("job.action_index, {}", job.action.as_ref().map_or(0, |(_, at)| *at))
        }
        _ => format!("job.number, {}", job.number),
    }
}

impl Jobs<'_, '_> {
    /// Gives a job's key its place in the row of keys.
    pub(super) fn seat(&mut self, job: &Job, turn: u64) -> Result<()> {
        let Some(key) = &job.key else { return Ok(()) };
        let lane = Lane::of(job);
        let mut tenant = self.view().tenant(&job.queue, key)?;
        match tenant.shares.iter().find(|share| share.lane == lane) {
            Some(share) if share.turn == turn => return Ok(()),
            Some(share) => {
                let known = share.turn;
                return Err(Error::refused(format!(
                    "job.turn is {turn}, expected {known}, that of its key's other jobs of this priority"
                )));
            }
            None => {}
        }
        let row = turn_key(&job.queue, lane, turn);
        if self.batch.get(Table::JobIndex, &row)?.is_some() {
            return Err(Error::refused(format!("job.turn is {turn}, that of another key")));
        }
        self.batch.put(Table::JobIndex, row, Bytes::copy_from_slice(key.as_bytes()))?;
        let place = tenant.shares.partition_point(|share| share.lane < lane);
        tenant.shares.insert(place, Share { lane, pending: 0, turn });
        Ok(self.batch.put(Table::JobIndex, tenant_key(&job.queue, key), tenant.encode())?)
    }

    /// Puts a job as it is, with every row that follows from it; nothing happens by that.
    pub(super) fn put_imported(&mut self, job: &Job) -> Result<()> {
        for (table, key, value) in index_rows(job)? {
            if self.batch.get(table, &key)?.is_some() {
                let (id, what) = (&job.id, shared(job, table, &key));
                return Err(Error::refused(format!("job {id}: another job before it has its {what}")));
            }
            self.batch.put(table, key, value)?;
        }
        self.batch.put(Table::Jobs, Bytes::copy_from_slice(job.id.as_bytes()), job_row::encode(job))?;
        self.count(None, Some(job))?;
        if let Some(plan) = job.plan() {
            plan_store::count(self.batch, plan, i64::from(!job.status.is_terminal()), 1)?;
        }
        let Some((id, place)) = &job.action else { return Ok(()) };
        let missing = || Error::refused(format!("job.action_id is {id}, there is no such action"));
        let mut action = self.view().action(id.as_bytes())?.ok_or_else(missing)?;
        if *place >= action.expanded || action.job_id(*place) != job.id {
            let job = &job.id;
            return Err(Error::refused(format!("job {job} is not that of action {id} at place {place}")));
        }
        action.counts.shift(None, Some(job.status))?;
        action.jobs_kept += 1;
        self.put_action(id, &action)
    }

    /// A job that was put waits for another's end.
    pub(super) fn await_imported(&mut self, job: &Job, awaited: &Id) -> Result<()> {
        let Some(found) = self.view().job(awaited.as_bytes())? else {
            let id = &job.id;
            return Err(Error::refused(format!("job {id} waits_for {awaited}, expected a job of a line before")));
        };
        let value = Bytes::copy_from_slice(job.id.as_bytes());
        self.batch.put(Table::JobIndex, dependent_key(awaited, job.number), value)?;
        if found.has_dependents {
            return Ok(());
        }
        if let Some(ended_at) = found.ended_at.filter(|_| found.status.is_terminal()) {
            let timer = timer_key(Timer::Dependents, ended_at, found.number);
            self.batch.put(Table::Timers, timer, Bytes::copy_from_slice(awaited.as_bytes()))?;
        }
        let marked = Job { has_dependents: true, ..found };
        Ok(self.batch.put(Table::Jobs, Bytes::copy_from_slice(awaited.as_bytes()), job_row::encode(&marked))?)
    }
}
