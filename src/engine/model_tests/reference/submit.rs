//! Submitting jobs.

use super::*;

impl Model {
    pub(super) fn draft(&mut self, number: u64, work: Work, terms: Terms) -> Job {
        let run_at = (terms.delay_ms > 0).then(|| self.now.plus(terms.delay_ms));
        let (status, reason) = if run_at.is_some() { (Scheduled, Reason::Delay) } else { (Pending, Reason::None) };
        Job {
            number,
            place: number,
            work,
            expires_at: terms.expires_at,
            terms,
            submission: None,
            action: None,
            status,
            reason,
            cancelling: false,
            epoch: 0,
            starts: 0,
            failures: 0,
            losses: 0,
            failures_before: 0,
            losses_before: 0,
            abandons: 0,
            created_at: self.now,
            run_at,
            run_between: None,
            started_at: Millis(0),
            ended_at: None,
            remove_at: None,
            worker: None,
            lease: None,
            after: BTreeSet::new(),
            has_dependents: false,
            output: Vec::new(),
            progress: None,
            result: None,
            error: None,
        }
    }

    pub(crate) fn submit(&mut self, submission: &Submission) -> Answer<String> {
        if let Some(key) = submission.idempotency
            && let Some((made, with, _)) = self.repeats.get(key)
        {
            let is_same = *with == Submission { id: with.id.clone(), ..submission.clone() };
            return if is_same { Ok(made.clone()) } else { Err(No::Refused) };
        }
        if let Some(known) = self.jobs.get(&submission.id) {
            return if known.submission.as_ref() == Some(submission) {
                Ok(submission.id.clone())
            } else {
                Err(No::Refused)
            };
        }
        if submission.after.iter().any(|id| !self.jobs.contains_key(id)) {
            return Err(No::Refused);
        }
        if let Some((key, conflict)) = submission.unique
            && let Some(holder) = self.holder(key)
        {
            match conflict {
                Conflict::Return => return Ok(holder),
                Conflict::Replace if self.jobs[&holder].status != Running => drop(self.cancel(&holder)),
                Conflict::Reject | Conflict::Replace => return Err(No::Refused),
            }
        }
        let number = self.next();
        let mut job = self.draft(number, submission.work, submission.terms.clone());
        job.submission = Some(submission.clone());
        let mut bad = false;
        for id in &submission.after {
            let Some(awaited) = self.jobs.get_mut(id) else { return Err(No::Refused) };
            if !awaited.status.is_terminal() {
                job.after.insert(id.clone());
                awaited.has_dependents = true;
            } else if awaited.status != Completed && submission.policy != AfterPolicy::Continue {
                bad = true;
            }
        }
        if bad || !job.after.is_empty() {
            (job.status, job.reason) = (Waiting, Reason::After);
        }
        self.queues.entry(submission.terms.queue).or_default();
        self.put(&submission.id, job);
        if let Some(key) = submission.idempotency {
            self.repeats.insert(key, (submission.id.clone(), submission.clone(), self.now.plus(DAY_MS)));
        }
        if bad {
            self.end_after(&submission.id);
        }
        Ok(submission.id.clone())
    }

    pub(super) fn holder(&self, key: &str) -> Option<String> {
        let holds = |job: &Job| {
            let unique = job.submission.as_ref().and_then(|submission| submission.unique);
            !job.status.is_terminal() && unique.is_some_and(|(held, _)| held == key)
        };
        self.jobs.iter().find(|(_, job)| holds(job)).map(|(id, _)| id.clone())
    }

    pub(super) fn end_after(&mut self, id: &str) {
        let policy = self.jobs[id].submission.as_ref().map(|submission| submission.policy);
        self.end(id, if policy == Some(AfterPolicy::Fail) { Failed } else { Cancelled }, Reason::Dependency);
    }
}
