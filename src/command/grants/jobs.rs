//! Jobs, actions, schedules and workers: what a key needs on which queue, and what is its own.

use crate::access::Role;
use crate::command::control::retry_where;
use crate::command::grants::{Asked, Verdict, found, owns};
use crate::command::needs::Needs;
use crate::command::work::claim_options;
use crate::jobs::actions::SubmitAction;
use crate::jobs::workers::Profile;
use crate::jobs::{Definition, Id, Status, Submit};

impl Asked<'_> {
    /// Checks what a command of the job system needs.
    pub(super) fn check_jobs(&self) -> Verdict {
        let first = self.request.get(1).unwrap_or_default();
        match self.command.needs {
            Needs::Ping => match Id::sound(first) {
                Some(worker) if self.request.len() == 2 => self.worker(&worker),
                _ => Ok(()),
            },
            Needs::SubmitJobs => self
                .request
                .iter()
                .skip(1)
                .filter_map(|json| Submit::parse(json).ok())
                .try_for_each(|submit| self.submit(&submit)),
            Needs::SubmitAction => match SubmitAction::parse(first) {
                Ok(submit) => self.queue(Role::Submit, submit.queue().as_bytes()),
                Err(_) => Ok(()),
            },
            Needs::Plans(roles) | Needs::Shown(roles) => self.some(roles),
            Needs::ReadJob => self.read_job(first),
            Needs::ManageJob => self.manage_job(first),
            Needs::RetryJobs => self.retry(),
            Needs::OwnJob => self.own_job(first),
            Needs::Claim => self.claim(first),
            Needs::Register => {
                self.some(&[Role::Work])?;
                match Profile::parse(first) {
                    Ok(Profile { id: Some(worker), .. }) => self.worker(&worker),
                    _ => Ok(()),
                }
            }
            Needs::Worker => {
                self.some(&[Role::Work])?;
                Id::sound(first).map_or(Ok(()), |worker| self.worker(&worker))
            }
            Needs::ReadQueue if self.request.len() == 1 => self.every(Role::Read),
            Needs::ReadQueue => self.queue(Role::Read, first),
            Needs::ReadAll => self.every(Role::Read),
            Needs::ReadAction | Needs::ManageAction => {
                let role = if self.command.needs == Needs::ReadAction { Role::Read } else { Role::Submit };
                let action = found(self.jobs().need_action(first))?;
                action.map_or(Ok(()), |action| self.queue_of("the action", &[role], &action.queue))
            }
            Needs::PutSchedule => self.put_schedule(first),
            Needs::ReadSchedule => self.schedule(&[Role::Read, Role::Submit], first),
            Needs::ManageSchedule => self.schedule(&[Role::Submit], first),
            Needs::RunSchedule => self.run_schedule(first),
            // The others are decided without the job system.
            _ => Err(self.denied("", "ADMIN")),
        }
    }

    /// Requires one of these roles on the queue of a thing; the queue, which the client did not name, is not told.
    fn queue_of(&self, what: &str, roles: &[Role], queue: &Id) -> Verdict {
        if roles.iter().any(|role| self.key.scopes.has(*role, queue.as_bytes())) {
            return Ok(());
        }
        let words: Vec<_> = roles.iter().map(|role| role.word()).collect();
        Err(self.denied(&format!(" on {what}"), &format!("{} on its queue", words.join(" or "))))
    }

    /// What a submission touches: its queue, the job that holds its unique key, and those that it waits for.
    fn submit(&self, submit: &Submit<'_>) -> Verdict {
        self.queue(Role::Submit, submit.queue().as_bytes())?;
        if let Some(key) = submit.unique_key()
            && let Some(holder) = found(self.jobs().holder(key))?.flatten()
        {
            self.queue_of("the job that holds the unique key", &[Role::Submit], &holder.queue)?;
        }
        for job in submit.after() {
            if let Some(job) = found(self.jobs().shown_job(job.as_bytes()))? {
                self.queue_of("a job that it comes after", &[Role::Submit, Role::Read], &job.queue)?;
            }
        }
        Ok(())
    }

    /// Requires that a job may be seen.
    pub(super) fn read_job(&self, id: &[u8]) -> Verdict {
        let Some(job) = found(self.jobs().shown_job(id))? else { return Ok(()) };
        if job.status == Status::Running && owns(Some(self.key), &job) {
            return Ok(());
        }
        self.queue_of("the job", &[Role::Read], &job.queue)
    }

    fn manage_job(&self, id: &[u8]) -> Verdict {
        let job = found(self.jobs().shown_job(id))?;
        job.map_or(Ok(()), |job| self.queue_of("the job", &[Role::Submit], &job.queue))
    }

    /// Requires that a job was claimed with this key, whatever its worker is called.
    pub(super) fn own_job(&self, id: &[u8]) -> Verdict {
        match found(self.jobs().shown_job(id))? {
            Some(job) if !owns(Some(self.key), &job) => {
                let id = &job.id;
                Err(self
                    .denied(&format!(" on job {id}"), "WORK on its queue and a claim of the job made with this key"))
            }
            _ => Ok(()),
        }
    }

    fn retry(&self) -> Verdict {
        if self.request.len() == 2 {
            return self.manage_job(self.request.arg(1));
        }
        match retry_where(self.request) {
            Ok((filter, _)) => match filter.queue {
                Some(queue) => self.queue(Role::Submit, queue.as_bytes()),
                None => self.every(Role::Submit),
            },
            Err(_) => Ok(()),
        }
    }

    fn claim(&self, worker: &[u8]) -> Verdict {
        // What is not sound is refused by the command itself.
        let Ok((claim, _)) = claim_options(self.request, 0) else { return self.some(&[Role::Work]) };
        claim.queues.iter().try_for_each(|queue| self.queue(Role::Work, queue.as_bytes()))?;
        Id::sound(worker).map_or(Ok(()), |worker| self.worker(&worker))
    }

    /// Requires that a worker is of this key. One that is somebody else's is free once it was not heard for long and runs
    /// nothing; that of a connection's number is free at once, since no two connections have the same.
    pub(super) fn worker(&self, id: &Id) -> Verdict {
        let jobs = self.jobs();
        let Some(worker) = found(jobs.worker(id.as_bytes()))?.flatten() else { return Ok(()) };
        if worker.access_key.as_ref() == Some(&self.key.name) {
            return Ok(());
        }
        let is_silent = worker.alive_until() <= self.view.now || **id == *format!("conn_{}", self.session.id);
        if is_silent && found(jobs.jobs_of_worker(id))?.is_some_and(|jobs| jobs.is_empty()) {
            return Ok(());
        }
        Err(self.denied(&format!(" as worker {id}"), "a worker's id that is not in use with another key"))
    }

    fn put_schedule(&self, id: &[u8]) -> Verdict {
        let text = self.request.get(2).unwrap_or_default();
        if let Ok(definition) = Definition::parse(text) {
            self.submit(definition.submit())?;
            if definition.submit().replaces() {
                // Who holds the key when a tick comes cannot be told now.
                self.every(Role::Submit)?;
            }
        }
        self.schedule(&[Role::Submit], id)
    }

    /// What a schedule submits now is asked about as if the caller submitted it.
    fn run_schedule(&self, id: &[u8]) -> Verdict {
        self.schedule(&[Role::Submit], id)?;
        let Some(id) = Id::sound(id) else { return Ok(()) };
        if found(self.jobs().schedule_queue(id.as_bytes()))?.flatten().is_none() {
            return Ok(());
        }
        let job = found(self.jobs().schedule_job(&id))?.unwrap_or_default();
        Submit::parse(&job).map_or(Ok(()), |submit| self.submit(&submit))
    }

    fn schedule(&self, roles: &[Role], id: &[u8]) -> Verdict {
        let queue = found(self.jobs().schedule_queue(id))?.flatten();
        queue.map_or(Ok(()), |queue| self.queue_of("the schedule", roles, &queue))
    }
}
