//! Random verbs, jumps of the clock, dying workers and restarts: after each step all invariants hold.
//! `AGQ_JOBS_CASES` gives how many sequences are tried, `AGQ_JOBS_SEED` where they begin.

use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};

use super::*;
use crate::jobs::check::check_in_turns;
use crate::jobs::deliveries::{Delivery, Outcome};
use crate::jobs::submit::Submitted;
use crate::jobs::webhooks::Terms;

/// What happens next; the numbers choose among the jobs, workers and queues that there are.
#[derive(Debug, Clone)]
pub(super) enum Step {
    Submit { json: usize, queue: bool },
    SubmitAfter { first: usize, second: usize, policy: usize },
    SubmitAction { inputs: usize, terms: usize },
    Claim { worker: u8, count: usize, lease_ms: u64 },
    ClaimList(u8),
    Abandon(usize),
    Complete(usize),
    Fail { job: usize, dead: bool, retry: bool },
    Release { job: usize, delay: bool },
    Extend(usize),
    Append { job: usize, task: u32 },
    Progress { job: usize, json: usize },
    Update { job: usize, end: usize },
    Cancel(usize),
    Retry(usize),
    RetryAll(bool),
    CancelAction,
    RetryAction(bool),
    Purge(bool),
    DeleteQueue,
    Promote(usize),
    Delete(usize),
    Heartbeat(u8),
    Unregister(u8),
    Pause(bool),
    Limit { concurrency: u64, of_key: u64, rate: u64 },
    PutWebhook { id: u8, terms: usize },
    ChangeWebhook { id: u8, how: u8 },
    Deliver(u8),
    PutSchedule { id: usize, course: usize, job: usize },
    PauseSchedule { id: usize, paused: bool },
    RunSchedule(usize),
    DeleteSchedule(usize),
    DeletePlan,
    Disconnect,
    Pass(u64),
    Restart,
}

/// Where the sequences begin when nobody says.
const SEED: u64 = 30_769;

const PLAN_P: &[u8] = br#"{"plan_id":"p","tasks":[{"task_number":1,"command":"echo","args":["{{input.x}}"]}]}"#;

const JOBS: [&str; 14] = [
    r#"{"kind":"a"}"#,
    r#"{"kind":"a","priority":9,"attempts":2,"max_losses":1,"retention_ms":0}"#,
    r#"{"kind":"a","delay_ms":40000,"timeout_ms":20000}"#,
    r#"{"plan_id":"p","input":{"x":1},"retention_ms":50000}"#,
    r#"{"plan":{"tasks":[{"task_number":1,"command":"true","args":[]}]},"attempts":3}"#,
    r#"{"kind":"a","key":"x","backoff":{"type":"list","ms":[0,5000]}}"#,
    r#"{"kind":"a","key":"y","priority":3,"requires":["gpu"]}"#,
    r#"{"kind":"a","key":"x","requires":["gpu"],"delay_ms":2000}"#,
    r#"{"plan_id":"p","input":{"x":1},"key":"z","priority":6}"#,
    r#"{"kind":"a","unique_key":"u","on_conflict":"replace"}"#,
    r#"{"kind":"a","unique_key":"u","delay_ms":3000}"#,
    r#"{"kind":"a","idempotency_key":"i"}"#,
    r#"{"plan":{"idempotent_tasks":true,"tasks":[{"task_number":1,"command":"true"},
        {"task_number":2,"command":"true","needs":[]},{"task_number":3,"command":"cat","input_from_task":2}]},"attempts":3}"#,
    r#"{"kind":"b","expires_at":1800000090000,"payload":[1,2,3]}"#,
];

/// The first task is finished.
const CHECKPOINT: &str = r#"{"tasks":[{"task_number":1,"exit_code":0,"stdout_bytes":11,"stderr_bytes":0}]}"#;

const UPDATES: [&str; 4] = [
    r#"{"stdout":"a","stderr":"b","task":2,"progress":{"done":1}}"#,
    r#"{"progress":null}"#,
    r#"{"stdout":"end","status":"completed","result":{"ok":true}}"#,
    r#"{"progress":[1],"status":"failed","error":{"error":"no"},"retry_in_ms":10}"#,
];

const ACTIONS: [&str; 4] = [
    r#""attempts":2"#,
    r#""max_parallel":2,"retention_ms":100000"#,
    r#""max_failures":1,"on_complete":{"plan_id":"p","input":{"x":3}},"on_failure":{"plan_id":"q"}"#,
    r#""max_parallel":1,"delay_ms":3000,"on_success":{"plan_id":"q","input":{}},"retention_ms":0"#,
];

const WEBHOOKS: [&str; 2] = [
    r#"{"url":"http://a/","events":["job.completed","action.*"],"max_attempts":2}"#,
    r#"{"url":"http://a/","events":["*"],"queue":"other","secret":"0123456789abcdef","backoff":{"type":"fixed","ms":0}}"#,
];

const SCHEDULES: [&str; 2] = ["s", "t"];

const COURSES: [&str; 6] = [
    r#""cron":"* * * * *","overlap":"skip""#,
    r#""cron":"*/20 * * * *","zone":"Europe/Berlin","misfire":"skip""#,
    r#""cron":"30 1-2 * * *","zone":"America/New_York","misfire":"all""#,
    r#""cron":"*/10 * * * * *","end_at":1800000090000"#,
    r#""cron":"@hourly","misfire":"all","overlap":"skip","start_at":1800000060000"#,
    r#""cron":"0 0 29 2 *""#,
];

const SCHEDULED: [&str; 5] = [
    r#"{"kind":"a","retention_ms":0}"#,
    r#"{"plan_id":"p","input":{"x":1},"queue":"other"}"#,
    r#"{"plan":{"tasks":[{"task_number":1,"command":"date","args":[]}]},"retention_ms":1000}"#,
    r#"{"kind":"a","unique_key":"u"}"#,
    r#"{"kind":"a","unique_key":"u","on_conflict":"replace","key":"x"}"#,
];

pub(super) fn steps() -> impl Strategy<Value = Step> {
    let any_job = || 0..40_usize;
    prop_oneof![
        4 => (0..JOBS.len(), any::<bool>()).prop_map(|(json, queue)| Step::Submit { json, queue }),
        2 => (any_job(), any_job(), 0..3_usize)
            .prop_map(|(first, second, policy)| Step::SubmitAfter { first, second, policy }),
        2 => (1..20_usize, 0..ACTIONS.len()).prop_map(|(inputs, terms)| Step::SubmitAction { inputs, terms }),
        5 => (0..3_u8, 1..4_usize, prop_oneof![Just(1_000_u64), Just(30_000)])
            .prop_map(|(worker, count, lease_ms)| Step::Claim { worker, count, lease_ms }),
        2 => (0..3_u8).prop_map(Step::ClaimList),
        1 => any_job().prop_map(Step::Abandon),
        3 => any_job().prop_map(Step::Complete),
        3 => (any_job(), any::<bool>(), any::<bool>()).prop_map(|(job, dead, retry)| Step::Fail { job, dead, retry }),
        2 => (any_job(), any::<bool>()).prop_map(|(job, delay)| Step::Release { job, delay }),
        1 => any_job().prop_map(Step::Extend),
        2 => (any_job(), 1..4_u32).prop_map(|(job, task)| Step::Append { job, task }),
        2 => (any_job(), 0..4_usize).prop_map(|(job, json)| Step::Progress { job, json }),
        2 => (any_job(), 0..UPDATES.len()).prop_map(|(job, end)| Step::Update { job, end }),
        2 => any_job().prop_map(Step::Cancel),
        2 => any_job().prop_map(Step::Retry),
        1 => any::<bool>().prop_map(Step::RetryAll),
        1 => prop_oneof![Just(Step::CancelAction), any::<bool>().prop_map(Step::RetryAction)],
        1 => prop_oneof![any::<bool>().prop_map(Step::Purge), Just(Step::DeleteQueue)],
        1 => any_job().prop_map(Step::Promote),
        1 => any_job().prop_map(Step::Delete),
        1 => (0..3_u8).prop_map(Step::Heartbeat),
        1 => (0..3_u8).prop_map(Step::Unregister),
        1 => any::<bool>().prop_map(Step::Pause),
        1 => (0..4_u64, 0..3_u64, 0..3_u64)
            .prop_map(|(concurrency, of_key, rate)| Step::Limit { concurrency, of_key, rate }),
        1 => (0..2_u8, 0..WEBHOOKS.len()).prop_map(|(id, terms)| Step::PutWebhook { id, terms }),
        1 => (0..2_u8, 0..3_u8).prop_map(|(id, how)| Step::ChangeWebhook { id, how }),
        3 => (0..4_u8).prop_map(Step::Deliver),
        2 => (0..SCHEDULES.len(), 0..COURSES.len(), 0..SCHEDULED.len())
            .prop_map(|(id, course, job)| Step::PutSchedule { id, course, job }),
        1 => (0..SCHEDULES.len(), any::<bool>()).prop_map(|(id, paused)| Step::PauseSchedule { id, paused }),
        1 => prop_oneof![
            (0..SCHEDULES.len()).prop_map(Step::RunSchedule),
            (0..SCHEDULES.len()).prop_map(Step::DeleteSchedule),
            Just(Step::DeletePlan),
        ],
        1 => Just(Step::Disconnect),
        4 => prop_oneof![Just(1_u64), 500..40_000_u64, Just(8 * 86_400_000)].prop_map(Step::Pass),
        1 => Just(Step::Restart),
    ]
}

/// The jobs that the test knows, with the last epoch it saw of each.
pub(super) type Known = Vec<(Id, u64)>;

fn worker(n: u8) -> Id {
    id(&format!("w{n}"))
}

impl Bench<'_> {
    fn learn(&mut self, known: &mut Known, job: &Job) {
        known.retain(|(id, _)| *id != job.id);
        known.push((job.id.clone(), job.epoch));
    }

    /// What may be refused is tried all the same: a refusal must change nothing.
    pub(super) fn step(&mut self, step: &Step, known: &mut Known) {
        let chosen = |n: usize| known.get(n % known.len().max(1)).cloned().unwrap_or_else(|| (id("none"), 1));
        match step {
            Step::Submit { json, queue } => {
                let queue = if *queue { "other" } else { "ready" };
                let json = JOBS[*json].replacen('{', &format!("{{\"queue\":\"{queue}\","), 1);
                let submit = Submit::parse(json.as_bytes()).unwrap();
                let submitted = self.command(|jobs| jobs.submit(&submit));
                if let Ok(Submitted { job: Some(job), .. }) = submitted {
                    self.learn(known, &job);
                }
            }
            Step::SubmitAfter { first, second, policy } => {
                let policy = ["cancel", "continue", "fail"][*policy];
                let (first, second) = (chosen(*first).0, chosen(*second).0);
                let json = format!(r#"{{"kind":"c","after":["{first}","{second}"],"after_policy":"{policy}"}}"#);
                let submitted =
                    Submit::parse(json.as_bytes()).and_then(|submit| self.command(|jobs| jobs.submit(&submit)));
                if let Ok(Submitted { job: Some(job), .. }) = submitted {
                    self.learn(known, &job);
                }
            }
            Step::SubmitAction { inputs, terms } => {
                let (inputs, terms) = (vec!["{\"x\":2}"; *inputs].join(","), ACTIONS[*terms]);
                let json = format!(r#"{{"plan_id":"p","inputs":[{inputs}],{terms}}}"#);
                let submit = SubmitAction::parse(json.as_bytes()).unwrap();
                let submitted = self.command(|jobs| jobs.submit_action(&submit)).unwrap();
                known.extend(submitted.jobs.into_iter().map(|job| (job, 0)));
            }
            Step::Claim { worker: n, count, lease_ms } => {
                let queues = vec![id("ready"), id("other")];
                let takes = if *n == 2 { Takes::Plans } else { Takes::Everything };
                let claim = Claim { queues, count: *count, lease_ms: *lease_ms, takes };
                let jobs = self.command(|jobs| jobs.claim(&worker(*n), &claim)).unwrap();
                jobs.iter().for_each(|job| self.learn(known, job));
            }
            Step::ClaimList(n) => {
                let connection = u64::from(*n) + 1;
                self.connections.push(connection);
                let job = self.command(|jobs| jobs.claim_for_list(&id("ready"), &worker(*n), connection)).unwrap();
                job.iter().for_each(|job| self.learn(known, job));
            }
            Step::Pass(ms) => {
                self.pass(*ms);
                // What an end brings about may bring about more.
                for _ in 0..100 {
                    if self.next().is_some_and(|next| next <= self.now) {
                        self.pass(0);
                    }
                }
                let next = self.next();
                assert!(next.is_none_or(|next| next > self.now), "due at {next:?} and not done at {:?}", self.now);
            }
            Step::Pause(paused) => drop(self.command(|jobs| jobs.pause_queue(&id("ready"), *paused)).unwrap()),
            Step::Limit { concurrency, of_key, rate } => {
                let bound = |number: u64| (number > 0).then_some(number);
                let rate = bound(*rate).map(|jobs| Rate { jobs, per_ms: 10_000, burst: 2 });
                let limits = Limits { concurrency: bound(*concurrency), key_concurrency: bound(*of_key), rate };
                self.command(|jobs| jobs.limit_queue(&id("ready"), limits)).unwrap();
            }
            Step::PutWebhook { id: n, terms } => {
                let terms = Terms::parse(WEBHOOKS[*terms].as_bytes()).unwrap();
                self.command(|jobs| jobs.put_webhook(&id(&format!("h{n}")), &terms)).unwrap();
            }
            Step::ChangeWebhook { id: n, how } => {
                let webhook = format!("h{n}").into_bytes();
                drop(self.command(|jobs| match how {
                    0 => jobs.delete_webhook(&webhook),
                    how => jobs.pause_webhook(&webhook, *how == 1),
                }));
            }
            Step::Deliver(how) => self.deliver(*how),
            Step::PutSchedule { id: at, course, job } => {
                let json = format!("{{{},\"job\":{}}}", COURSES[*course], SCHEDULED[*job]);
                let definition = Definition::parse(json.as_bytes()).unwrap();
                drop(self.command(|jobs| jobs.put_schedule(&id(SCHEDULES[*at]), &definition)));
            }
            Step::PauseSchedule { id, paused } => {
                drop(self.command(|jobs| jobs.pause_schedule(SCHEDULES[*id].as_bytes(), *paused)));
            }
            Step::RunSchedule(id) => {
                let submitted = self.command(|jobs| jobs.run_schedule_now(SCHEDULES[*id].as_bytes()));
                if let Ok(Submitted { job: Some(job), .. }) = submitted {
                    self.learn(known, &job);
                }
            }
            Step::DeleteSchedule(id) => {
                drop(self.command(|jobs| jobs.delete_schedule(SCHEDULES[*id].as_bytes())));
            }
            Step::DeletePlan => {
                let uses = plan_store::usage(&self.batch, "p").unwrap();
                let deleted = self.command(|jobs| plan_store::delete(jobs.batch, b"p"));
                assert_eq!(deleted.is_ok(), uses.open == 0 && uses.schedules == 0, "{uses:?}: {deleted:?}");
                plan_store::submit(&mut self.batch, &plan::Plan::parse(PLAN_P).unwrap(), false, START).unwrap();
            }
            Step::Disconnect => self.connections.clear(),
            Step::Restart => {
                self.connections.clear();
                self.settings = self.settings.started(&self.batch, self.now).unwrap();
            }
            Step::Heartbeat(n) => drop(self.command(|jobs| jobs.heartbeat(&worker(*n), Some(&[chosen(0)]), &|_| true))),
            Step::Unregister(n) => drop(self.command(|jobs| jobs.unregister(&worker(*n), &|_| true))),
            Step::Abandon(n) => drop(self.command(|jobs| jobs.abandon_list_claim(&chosen(*n).0, chosen(*n).1))),
            Step::Cancel(n) => drop(self.command(|jobs| jobs.cancel(chosen(*n).0.as_bytes()))),
            Step::Retry(n) => drop(self.command(|jobs| jobs.retry(chosen(*n).0.as_bytes()))),
            Step::RetryAll(cancelled) => {
                let status = Some(if *cancelled { Status::Cancelled } else { Status::Failed });
                let filter = Filter { status, queue: Some(id("ready")), ..Filter::default() };
                self.command(|jobs| jobs.retry_all(&filter)).unwrap();
            }
            Step::CancelAction | Step::RetryAction(_) => {
                let Some((action, _)) = self.jobs().view().actions(None, 1).unwrap().pop() else { return };
                drop(self.command(|jobs| match step {
                    Step::RetryAction(cancelled) => jobs.retry_action(&action, *cancelled),
                    _ => jobs.cancel_action(&action),
                }));
            }
            Step::Purge(ready) => {
                drop(self.command(|jobs| jobs.purge_queue(&id(if *ready { "ready" } else { "other" }))));
            }
            Step::DeleteQueue => drop(self.command(|jobs| jobs.delete_queue(&id("other")))),
            Step::Promote(n) => drop(self.command(|jobs| jobs.promote(chosen(*n).0.as_bytes()))),
            Step::Delete(n) => drop(self.command(|jobs| jobs.delete(chosen(*n).0.as_bytes()))),
            Step::Complete(n) => self.report(&chosen(*n), |jobs, job, epoch| jobs.complete(job, epoch, OK)),
            Step::Fail { job, dead, retry } => {
                let how = Failure { retry_in_ms: retry.then_some(10), dead: *dead };
                self.report(&chosen(*job), |jobs, job, epoch| jobs.fail(job, epoch, BAD, how));
            }
            Step::Release { job, delay } => {
                let delay = delay.then_some(5_000);
                self.report(&chosen(*job), |jobs, job, epoch| jobs.release(job, epoch, delay));
            }
            Step::Extend(n) => self.report(&chosen(*n), |jobs, job, epoch| jobs.extend(job, epoch, 60_000)),
            Step::Append { job, task } => {
                let append = |jobs: &mut Jobs<'_, '_>, job: &[u8], epoch| {
                    jobs.append(job, epoch, Stream::Stdout, *task, b"some output")
                };
                self.report(&chosen(*job), append);
            }
            Step::Progress { job, json } => {
                let long = format!("\"{}\"", "x".repeat(600));
                let json = ["0.5", CHECKPOINT, &long, r#"{"tasks":[{"task_number":2,"exit_code":0}]}"#][*json];
                self.report(&chosen(*job), |jobs, job, epoch| jobs.progress(job, epoch, json.as_bytes()));
            }
            Step::Update { job, end } => {
                let update = Update::parse(UPDATES[*end].as_bytes()).unwrap();
                self.report(&chosen(*job), |jobs, job, epoch| jobs.update(job, epoch, &update));
            }
        }
    }

    /// Makes what deliveries are due: each is of an event that the webhook wants and was not told of.
    fn deliver(&mut self, how: u8) {
        let due = self.command(|jobs| jobs.due_deliveries(&|_| false, &|_| true)).unwrap();
        for delivery in due.deliveries {
            let before = self.jobs().view().need_webhook(delivery.webhook.as_bytes()).unwrap();
            assert!(before.terms.events().contains(&delivery.kind) && delivery.seq >= before.cursor, "{delivery:?}");
            let outcome = match how {
                0 => Outcome::Failed("no".to_owned()),
                1 => Outcome::Gone,
                _ => Outcome::Delivered,
            };
            let Delivery { webhook, version, seq, .. } = &delivery;
            for _ in 0..2 {
                self.command(|jobs| jobs.delivered(webhook, *version, *seq, &outcome)).unwrap();
            }
            let after = self.jobs().view().need_webhook(webhook.as_bytes()).unwrap();
            if outcome == Outcome::Delivered {
                assert_eq!((after.cursor, after.delivered), (seq + 1, before.delivered + 1), "it counts once");
            }
        }
    }

    /// A report counts only while the job is at its epoch; an older one is always refused.
    fn report(&mut self, (job, epoch): &(Id, u64), run: impl FnOnce(&mut Jobs<'_, '_>, &[u8], u64) -> Result<Job>) {
        let before = self.jobs().view().job(job.as_bytes()).unwrap();
        let result = self.command(|jobs| run(jobs, job.as_bytes(), *epoch));
        match before {
            Some(before) if before.epoch == *epoch => {}
            Some(before) => {
                let error = result.unwrap_err().to_string();
                assert_eq!(error, format!("STALE job {job} is at epoch {}", before.epoch));
            }
            None => {
                let error = result.unwrap_err().to_string();
                let unmade = format!("ERR Job {job} is still being made: try again in a moment");
                assert!(error == unmade || error == format!("ERR Job not found: {job}"), "{error}");
            }
        }
    }
}

/// A store with what the steps need.
pub(super) fn begin(db: &Db) -> Bench<'_> {
    let mut bench = Bench::new(db);
    plan_store::submit(&mut bench.batch, &plan::Plan::parse(PLAN_P).unwrap(), false, START).unwrap();
    let plan = br#"{"plan_id":"q","tasks":[{"task_number":1,"command":"echo","args":["{{input.jobs_failed}}"]}]}"#;
    plan_store::submit(&mut bench.batch, &plan::Plan::parse(plan).unwrap(), false, START).unwrap();
    let able = Profile::parse(br#"{"worker_id":"w0","tools":["gpu"]}"#).unwrap();
    bench.command(|jobs| jobs.register(&able)).unwrap();
    bench
}

/// Tries sequences of steps, so many unless the variable says otherwise.
pub(super) fn try_lives(cases: u64, test: impl Fn(&[Step]) -> std::result::Result<(), TestCaseError>) {
    let given = |name: &str| std::env::var(name).ok().map(|value| value.parse::<u64>().unwrap());
    let cases = u32::try_from(given("AGQ_JOBS_CASES").unwrap_or(cases)).unwrap();
    let seed = given("AGQ_JOBS_SEED").unwrap_or(SEED);
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    let random = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed.to_le_bytes(); 4].concat());
    let mut runner = TestRunner::new_with_rng(config, random);
    let result = runner.run(&proptest::collection::vec(steps(), 1..60), |steps| test(&steps));
    result.unwrap_or_else(|error| panic!("with AGQ_JOBS_SEED={seed}: {error}"));
}

#[test]
fn all_invariants_hold_after_every_step() {
    with_store(|db| {
        try_lives(1000, |steps| {
            let (mut bench, mut known) = (begin(db), Known::new());
            for step in steps {
                bench.step(step, &mut known);
                let wrong = check(&bench.batch).unwrap();
                prop_assert!(wrong.is_empty(), "after {step:?}: {wrong:#?}");
            }
            let wrong = check_in_turns(&bench.batch, 2).unwrap();
            prop_assert!(wrong.is_empty(), "in turns of two names: {wrong:#?}");
            Ok(())
        });
    });
}
