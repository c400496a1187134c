//! What clients ask for, and whether it is answered as the model says.

use super::*;

impl Open<'_, '_> {
    /// What happens by itself at the end of a batch.
    pub(super) fn tick(&mut self) {
        let now = self.side.model.now;
        let works = self.engine.background.next().is_some_and(|at| at <= now);
        self.engine.tick(self.batch, now, true).unwrap();
        if works {
            self.side.model.turn();
            for schedule in self.side.model.due_schedules() {
                let made = self.side.model.go_through(schedule, stands(self.batch, schedule));
                self.side.known.extend(made.into_iter().map(|id| (id, 0)));
            }
            self.side.model.go_on_in_slices();
        }
        learn(&mut self.side.model, self.batch);
        self.serve_others();
    }

    /// Sends a command; its answer, unless it waits.
    pub(super) fn call(&mut self, conn: ConnId, words: &[&str]) -> Option<Reply> {
        let now = self.side.model.now;
        self.engine.take(self.batch, Input::Unit(unit(conn, words)), now).unwrap();
        let mut outputs = self.engine.take_outputs();
        let is_own = |output: &Output| matches!(output, Output::Finished(finished) if finished.conn == conn);
        let reply = outputs.iter().position(is_own).map(|place| decode(&outputs.remove(place)).1);
        assert!(self.engine.outputs.is_empty());
        // The others come once the model knows of this command.
        self.engine.outputs = outputs;
        reply
    }

    /// Commands that waited and are answered now.
    pub(super) fn serve_others(&mut self) {
        self.side.model.end_overdue();
        for output in self.engine.take_outputs() {
            let (conn, reply) = decode(&output);
            self.serve(conn, &reply);
            self.side.model.end_overdue();
        }
        // What was claimed too late may have ended an action, whose callbacks came up by that.
        learn(&mut self.side.model, self.batch);
    }

    pub(super) fn serve(&mut self, conn: ConnId, reply: &Reply) {
        let model = &mut self.side.model;
        let place = model.parked.iter().position(|claim| claim.conn == conn);
        let place = place.unwrap_or_else(|| panic!("connection {conn} was told {reply:?} and waits for nothing"));
        let claim = model.parked[place].clone();
        if told(reply).is_empty() {
            assert!(claim.deadline.is_some_and(|at| at < model.now), "{claim:?} gave up early");
            model.parked.remove(place);
            return;
        }
        let claimed = claim_named(model, &claim, &told(reply));
        assert_eq!(told(reply), claimed, "what {claim:?} was given");
        for older in &model.parked[..place] {
            let shared = older.queues.iter().any(|queue| claim.queues.contains(queue));
            assert!(!(shared && model.can_serve(older) && older.queues == claim.queues), "{older:?} waited longer");
        }
        self.side.model.parked.remove(place);
        self.see(claimed);
    }

    pub(super) fn see(&mut self, claimed: Vec<(String, u64)>) {
        for (id, epoch) in claimed {
            self.side.known.retain(|(known, _)| *known != id);
            self.side.known.push((id, epoch));
        }
    }

    pub(super) fn chosen(&self, n: usize) -> (String, u64) {
        let known = &self.side.known;
        known.get(n % known.len().max(1)).cloned().unwrap_or_else(|| ("none".to_owned(), 1))
    }

    pub(super) fn action(&self, n: usize) -> String {
        let actions = &self.side.actions;
        actions.get(n % actions.len().max(1)).cloned().unwrap_or_else(|| "none".to_owned())
    }

    pub(super) fn name(&mut self, prefix: &str) -> String {
        self.side.last_name += 1;
        format!("{prefix}{}", self.side.last_name)
    }

    /// Asks for what the model has already done.
    pub(super) fn ask<T>(&mut self, words: &[&str], expected: &Answer<T>) -> Option<Reply> {
        let reply = self.call(CONTROL, words);
        self.answered(words, reply, expected)
    }

    pub(super) fn answered<T>(&mut self, words: &[&str], reply: Option<Reply>, expected: &Answer<T>) -> Option<Reply> {
        let reply = reply.unwrap_or_else(|| panic!("{words:?} was not answered"));
        let error = reply.as_error().map(|text| String::from_utf8_lossy(text).into_owned());
        match (expected, &error) {
            (Ok(_), None) => {}
            (Err(No::Refused), Some(text)) if text.starts_with("ERR ") => {}
            (Err(No::Stale(epoch)), Some(text)) if text.ends_with(&format!("is at epoch {epoch}")) => {}
            _ => panic!("{words:?} answered {reply:?}; the model says {:?}", expected.as_ref().err()),
        }
        learn(&mut self.side.model, self.batch);
        self.serve_others();
        error.is_none().then_some(reply)
    }

    pub(super) fn submit(&mut self, submission: Submission) {
        let expected = self.side.model.submit(&submission);
        let reply = self.ask(&["JOB.SUBMIT", &submission.json()], &expected);
        if let (Some(reply), Ok(id)) = (reply, expected) {
            assert_eq!(reply.as_str(), Some(&*id));
            let is_known = self.side.known.iter().any(|(known, _)| *known == id);
            if !is_known {
                self.side.known.push((id, 0));
            }
            self.side.submissions.push(submission);
        }
    }

    pub(super) fn fresh(&mut self, work: Work, terms: &Terms) -> Submission {
        let (id, terms) = (self.name("j"), terms.clone());
        Submission { id, work, terms, unique: None, idempotency: None, after: Vec::new(), policy: AfterPolicy::Cancel }
    }

    pub(super) fn act(&mut self, deed: &Deed) {
        match deed {
            Deed::Submit { work, terms, unique, idempotent } => {
                let mut submission = self.fresh(*work, terms);
                submission.unique = unique.map(|conflict| ("u", conflict));
                submission.idempotency = idempotent.then_some("i");
                self.submit(submission);
            }
            Deed::SubmitAgain(n) => {
                let submissions = &self.side.submissions;
                let Some(submission) = submissions.get(n % submissions.len().max(1)).cloned() else { return };
                self.submit(submission);
            }
            Deed::SubmitAfter { first, second, policy } => {
                let mut submission = self.fresh(Work::Kind, &Terms { attempts: 5, ..Terms::plain() });
                let after: BTreeSet<String> = [self.chosen(*first).0, self.chosen(*second).0].into();
                submission.after = after.into_iter().collect();
                submission.policy = *policy;
                self.submit(submission);
            }
            Deed::SubmitMany(many) => self.submit_many(many),
            Deed::SubmitAction { inputs, terms, parallel, failures, calls } => {
                let (id, terms) = (self.name("a"), terms.clone());
                let callbacks = callbacks(*calls);
                self.submit_action(ActionSubmission {
                    id,
                    inputs: *inputs,
                    terms,
                    max_parallel: *parallel,
                    max_failures: *failures,
                    callbacks,
                });
            }
            Deed::Claim { worker, count, lease_ms, block, plans } => {
                self.claim(*worker, *count, *lease_ms, *block, *plans);
            }
            Deed::ClaimList { worker, block } => self.claim_list(*worker, *block),
            Deed::ReportList { worker, job, completed } => self.report_list(*worker, *job, *completed),
            Deed::Pause(paused) => {
                self.side.model.queues.entry("ready").or_default().paused = *paused;
                self.ask(&[if *paused { "QUEUE.PAUSE" } else { "QUEUE.RESUME" }, "ready"], &Ok(()));
            }
            Deed::Limit(limits) => {
                self.side.model.limit("ready", *limits);
                let number = |bound: Option<u64>| bound.unwrap_or(0).to_string();
                let bounds = [number(limits.concurrency), number(limits.of_key), number(limits.rate)];
                let words = ["QUEUE.LIMIT", "ready", "CONCURRENCY", &bounds[0], "KEY-CONCURRENCY", &bounds[1]];
                let rate = ["RATE", &bounds[2], "PER", "10000", "BURST", "2"];
                let rate = if limits.rate.is_some() { &rate[..] } else { &rate[..2] };
                self.ask(&[&words[..], rate].concat(), &Ok(()));
            }
            Deed::Heartbeat { worker, jobs } => self.heartbeat(*worker, *jobs),
            Deed::Unregister(n) => {
                let worker = format!("w{n}");
                let expected = self.side.model.unregister(&worker);
                let reply = self.ask(&["WORKER.UNREGISTER", &worker], &expected);
                assert_eq!(reply.and_then(|reply| reply.as_int()), expected.ok().map(|jobs| jobs as i64));
            }
            Deed::Disconnect(n) => self.disconnect(*n),
            Deed::PutSchedule { name, definition } => {
                self.side.model.put_schedule(name, definition);
                self.ask(&["SCHEDULE.PUT", name, &definition.json()], &Ok(()));
            }
            Deed::PauseSchedule(name, paused) => {
                let expected = self.side.model.pause_schedule(name, *paused);
                self.ask(&[if *paused { "SCHEDULE.PAUSE" } else { "SCHEDULE.RESUME" }, name], &expected);
            }
            Deed::DeleteSchedule(name) => {
                let expected = self.side.model.delete_schedule(name);
                self.ask(&["SCHEDULE.DELETE", name], &expected);
            }
            Deed::PutWebhook(name, hook) => self.put_webhook(name, *hook),
            Deed::PauseWebhook(name, paused) => {
                let expected = self.side.model.pause_webhook(name, *paused);
                self.ask(&[if *paused { "WEBHOOK.PAUSE" } else { "WEBHOOK.RESUME" }, name], &expected);
            }
            Deed::DeleteWebhook(name) => {
                let expected = self.side.model.delete_webhook(name);
                self.ask(&["WEBHOOK.DELETE", name], &expected);
            }
            Deed::Deliver(outcomes) => self.deliver(*outcomes),
            report_or_control => self.change(report_or_control),
        }
    }

    /// Reports on one job, and what is done to jobs.
    pub(super) fn change(&mut self, deed: &Deed) {
        match *deed {
            Deed::Complete(n, late) => {
                let (id, epoch) = self.at_epoch(n, late);
                let expected = self.side.model.complete(&id, epoch, RESULT);
                self.ask(&["JOB.COMPLETE", &id, &epoch.to_string(), RESULT], &expected);
            }
            Deed::Fail { job, dead, wait, late } => {
                let (id, epoch) = self.at_epoch(job, late);
                let wait = (wait && !dead).then_some(10);
                let expected = self.side.model.fail(&id, epoch, ERROR, dead, wait);
                let epoch = epoch.to_string();
                let how: &[&str] = match (dead, wait) {
                    (true, _) => &["DEAD"],
                    (false, Some(_)) => &["RETRY-IN", "10"],
                    (false, None) => &[],
                };
                self.ask(&[&["JOB.FAIL", &id, &epoch, ERROR], how].concat(), &expected);
            }
            Deed::Release { job, delay } => {
                let (id, epoch) = self.chosen(job);
                let expected = self.side.model.release(&id, epoch, delay.then_some(5_000));
                let epoch = epoch.to_string();
                let delay: &[&str] = if delay { &["DELAY", "5000"] } else { &[] };
                self.ask(&[&["JOB.RELEASE", &id, &epoch], delay].concat(), &expected);
            }
            Deed::Extend(n) => {
                let (id, epoch) = self.chosen(n);
                let expected = self.side.model.extend(&id, epoch, 60_000);
                self.ask(&["JOB.EXTEND", &id, &epoch.to_string(), "60000"], &expected);
            }
            Deed::Append(n, task) => {
                let (id, epoch) = self.chosen(n);
                let expected = self.side.model.append(&id, epoch, task, "some output");
                let (epoch, task) = (epoch.to_string(), task.to_string());
                self.ask(&["JOB.APPEND", &id, &epoch, "stdout", "TASK", &task, "some output"], &expected);
            }
            Deed::Progress(n, progress) => {
                let (id, epoch) = self.chosen(n);
                let expected = self.side.model.progress(&id, epoch, progress);
                self.ask(&["JOB.PROGRESS", &id, &epoch.to_string(), PROGRESS[progress].0], &expected);
            }
            Deed::Update { job, progress, completed } => {
                let (id, epoch) = self.chosen(job);
                let expected = self.side.model.update(&id, epoch, ("x", progress), completed.then_some(RESULT));
                let end = if completed { format!(r#","status":"completed","result":{RESULT}"#) } else { String::new() };
                let json = PROGRESS[progress].0;
                let json = format!(r#"{{"epoch":{epoch},"stdout":"x","task":1,"progress":{json}{end}}}"#);
                self.ask(&["JOB.UPDATE", &id, &json], &expected);
            }
            Deed::Cancel(n) => self.ask_of_job("JOB.CANCEL", n, Model::cancel),
            Deed::Retry(n) => self.ask_of_job("JOB.RETRY", n, Model::retry),
            Deed::Promote(n) => self.ask_of_job("JOB.PROMOTE", n, Model::promote),
            Deed::Delete(n) => self.ask_of_job("JOB.DELETE", n, Model::delete),
            Deed::RetryAll { cancelled } => {
                let status = if cancelled { Status::Cancelled } else { Status::Failed };
                let words = ["JOB.RETRY", "WHERE", "QUEUE", "ready", "STATUS", status.name()];
                self.retry_many(&words, &Ok(()), |job| job.terms.queue == "ready" && job.status == status);
            }
            Deed::RetryAction { action, cancelled } => {
                let action = self.action(action);
                let known = self.side.model.actions.get(&action);
                let may = known.is_some_and(Action::may_retry);
                let mut words = vec!["ACTION.RETRY", &action];
                words.extend(cancelled.then_some("CANCELLED"));
                let expected = if may { Ok(()) } else { Err(No::Refused) };
                self.retry_many(&words, &expected, |job| {
                    let is_wanted = job.status == Status::Failed || cancelled && job.status == Status::Cancelled;
                    may && is_wanted && job.action.as_ref().is_some_and(|(of, _)| *of == action)
                });
            }
            Deed::CancelAction(n) => {
                let action = self.action(n);
                let expected = self.side.model.cancel_action(&action);
                self.ask(&["ACTION.CANCEL", &action], &expected);
            }
            Deed::Purge(ready) => {
                let queue = if ready { "ready" } else { "other" };
                let expected = self.side.model.purge(queue);
                self.ask(&["QUEUE.PURGE", queue], &expected);
            }
            Deed::DeleteQueue(ready) => {
                let queue = if ready { "ready" } else { "other" };
                let expected = self.side.model.delete_queue(queue);
                self.ask(&["QUEUE.DELETE", queue], &expected);
            }
            _ => unreachable!("{deed:?} is done elsewhere"),
        }
    }

    /// A job, and the epoch of its last claim or, late, of the one before.
    pub(super) fn at_epoch(&self, n: usize, late: bool) -> (String, u64) {
        let (id, epoch) = self.chosen(n);
        (id, epoch.saturating_sub(u64::from(late)))
    }

    pub(super) fn ask_of_job(&mut self, command: &str, n: usize, run: impl FnOnce(&mut Model, &str) -> Answer) {
        let (id, _) = self.chosen(n);
        let expected = run(&mut self.side.model, &id);
        self.ask(&[command, &id], &expected);
    }

    pub(super) fn submit_many(&mut self, many: &[(Work, Terms)]) {
        let submissions: Vec<Submission> = many.iter().map(|(work, terms)| self.fresh(*work, terms)).collect();
        let mut words = vec!["JOB.MSUBMIT".to_owned()];
        for submission in &submissions {
            assert_eq!(self.side.model.submit(submission).as_ref(), Ok(&submission.id));
            words.push(submission.json());
            self.side.known.push((submission.id.clone(), 0));
        }
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        self.ask(&words, &Ok(()));
    }

    pub(super) fn submit_action(&mut self, submission: ActionSubmission) {
        let reply = self.call(CONTROL, &["ACTION.SUBMIT", &submission.json()]);
        let reply = reply.filter(|reply| reply.as_error().is_none());
        let reply = reply.unwrap_or_else(|| panic!("{submission:?} was refused"));
        let json: serde_json::Value = serde_json::from_str(reply.as_str().unwrap()).unwrap();
        let ids: Vec<String> = serde_json::from_value(json["job_ids"].clone()).unwrap();
        self.side.model.submit_action(&submission, &ids);
        self.side.known.extend(ids.into_iter().map(|id| (id, 0)));
        self.side.actions.push(submission.id.clone());
        self.answered(&["ACTION.SUBMIT"], Some(reply), &Ok(()));
    }

    /// Many jobs run again at once: which, and in which order, the store says; that they may, the model.
    pub(super) fn retry_many(&mut self, words: &[&str], expected: &Answer, wanted: impl Fn(&Job) -> bool) {
        let reply = self.call(CONTROL, words);
        let wanted = self.side.model.jobs.iter().filter(|(_, job)| wanted(job)).map(|(id, _)| id.clone());
        let wanted: BTreeSet<String> = wanted.collect();
        let again = retried(&self.side.model, self.batch, &wanted);
        for id in &again {
            assert_eq!(self.side.model.retry(id), Ok(()), "{words:?} ran {id} again");
        }
        for id in wanted.iter().filter(|id| !again.contains(id)) {
            assert_eq!(self.side.model.clone().retry(id), Err(No::Refused), "{words:?} left {id}");
        }
        self.answered(words, reply, expected);
    }
}
