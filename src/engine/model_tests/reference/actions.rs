//! Actions: their jobs, how many may be under way, and what follows from their end.

use super::*;

impl Model {
    pub(super) fn of_action(&self, id: &str) -> impl Iterator<Item = (&String, &Job)> {
        self.jobs.iter().filter(move |(_, job)| job.action.as_ref().is_some_and(|(action, _)| action == id))
    }

    pub(crate) fn is_live(&self, id: &str) -> bool {
        !self.actions[id].unmade.is_empty() || self.of_action(id).any(|(_, job)| !job.status.is_terminal())
    }

    pub(crate) fn failed(&self, id: &str) -> usize {
        self.actions[id].failed_and_gone + self.of_action(id).filter(|(_, job)| job.status == Failed).count()
    }

    pub(super) fn cancelled(&self, id: &str) -> usize {
        self.actions[id].cancelled_and_gone + self.of_action(id).filter(|(_, job)| job.status == Cancelled).count()
    }

    pub(super) fn has_room(&self, id: &str) -> bool {
        let under_way = |job: &Job| matches!(job.status, Pending | Scheduled | Running);
        let most = self.actions[id].submission.max_parallel;
        most.is_none_or(|most| self.of_action(id).filter(|(_, job)| under_way(job)).count() < most)
    }

    pub(super) fn one_ended(&mut self, id: &str) {
        if !self.is_live(id) {
            return self.call_back(id);
        }
        let is_over = self.actions[id].submission.max_failures.is_some_and(|most| self.failed(id) > most);
        if is_over && self.actions[id].cancelling == Cancelling::No {
            self.set_cancelling(id, Cancelling::Jobs);
            return self.bulks.push(id.to_owned());
        }
        while self.has_room(id) {
            let held = self.of_action(id).filter(|(_, job)| (job.status, job.reason) == (Waiting, Reason::MaxParallel));
            let first = held.min_by_key(|(_, job)| job.action.as_ref().map(|(_, place)| *place));
            let Some(job) = first.map(|(job, _)| job.clone()) else { return };
            self.go_on(&job);
        }
    }

    /// What a job waited for has happened.
    pub(super) fn go_on(&mut self, id: &str) {
        let (now, place) = (self.now, self.next());
        self.change(id, |job| {
            (job.status, job.reason, job.place) = (Pending, Reason::None, place);
            if job.run_at.is_some_and(|at| at > now) {
                (job.status, job.reason) = (Scheduled, Reason::Delay);
            } else {
                job.run_at = Some(now);
            }
        });
    }

    pub(super) fn set_cancelling(&mut self, id: &str, cancelling: Cancelling) {
        if let Some(action) = self.actions.get_mut(id) {
            action.cancelling = cancelling;
        }
    }

    pub(super) fn call_back(&mut self, id: &str) {
        let (failed, cancelled) = (self.failed(id), self.cancelled(id));
        let submission = self.actions[id].submission.clone();
        for occasion in submission.callbacks {
            let calls = match occasion {
                Occasion::Complete => true,
                Occasion::Success => failed + cancelled == 0,
                Occasion::Failure => failed > 0,
            };
            if calls {
                let terms = Terms { queue: submission.terms.queue, ..Terms::plain() };
                let number = self.next();
                let job = self.draft(number, Work::Plain, terms);
                // Its id is not known before the store is asked.
                self.put(&format!("?{number:08}"), job);
            }
        }
    }

    /// The first callback's job whose id was not known is known by this one.
    pub(crate) fn name_callback(&mut self, id: &str) -> bool {
        let unnamed = self.jobs.keys().find(|name| name.starts_with('?')).cloned();
        unnamed.is_some_and(|unnamed| self.rename(&unnamed, id))
    }

    pub(crate) fn rename(&mut self, from: &str, to: &str) -> bool {
        for conn in self.conns.values_mut() {
            if let Some(held) = conn.held.remove(from) {
                conn.held.insert(to.to_owned(), held);
            }
        }
        let job = self.jobs.remove(from);
        job.is_some_and(|job| self.jobs.insert(to.to_owned(), job).is_none())
    }

    pub(crate) fn submit_action(&mut self, submission: &ActionSubmission, ids: &[String]) {
        let number = self.next();
        self.last += ids.len() as u64;
        self.queues.entry(submission.terms.queue).or_default();
        let action = Action {
            submission: submission.clone(),
            created: (self.now, number),
            unmade: ids.to_vec(),
            failed_and_gone: 0,
            cancelled_and_gone: 0,
            cancelling: Cancelling::No,
        };
        self.actions.insert(submission.id.clone(), action);
        self.make(&submission.id, FIRST);
    }

    /// Makes the next jobs of an action.
    pub(super) fn make(&mut self, id: &str, count: usize) {
        for _ in 0..count {
            let action = self.actions[id].clone();
            let Some(job_id) = action.unmade.first() else { break };
            let place = action.submission.inputs - action.unmade.len();
            let number = action.created.1 + 1 + place as u64;
            let mut job = self.draft(number, Work::Plain, action.submission.terms.clone());
            job.created_at = action.created.0;
            job.run_at = (job.terms.delay_ms > 0).then(|| action.created.0.plus(job.terms.delay_ms));
            job.action = Some((id.to_owned(), place));
            let is_due = job.run_at.is_none_or(|at| at <= self.now);
            (job.status, job.reason) = match () {
                () if action.cancelling != Cancelling::No => (Waiting, Reason::Expanding),
                () if !self.has_room(id) => (Waiting, Reason::MaxParallel),
                () if is_due => (Pending, Reason::None),
                () => (Scheduled, Reason::Delay),
            };
            if let Some(action) = self.actions.get_mut(id) {
                action.unmade.remove(0);
            }
            self.put(job_id, job);
            if action.cancelling != Cancelling::No {
                self.end(job_id, Cancelled, Reason::None);
            }
        }
        if self.actions[id].unmade.is_empty() && self.actions[id].cancelling == Cancelling::Rest {
            self.set_cancelling(id, Cancelling::No);
        }
    }

    pub(crate) fn cancel_action(&mut self, id: &str) -> Answer {
        if !self.actions.contains_key(id) {
            return Err(No::Refused);
        }
        self.set_cancelling(id, Cancelling::Jobs);
        self.cancel_jobs_of(id);
        Ok(())
    }

    pub(super) fn cancel_jobs_of(&mut self, id: &str) {
        let live: Vec<String> = self.of_action(id).map(|(job, _)| job.clone()).collect();
        for job in live.iter().filter(|job| !self.jobs[*job].status.is_terminal()).cloned().collect::<Vec<_>>() {
            let _ = self.cancel(&job);
        }
        if self.actions.contains_key(id) {
            let rest = if self.actions[id].unmade.is_empty() { Cancelling::No } else { Cancelling::Rest };
            self.set_cancelling(id, rest);
        }
    }
}
