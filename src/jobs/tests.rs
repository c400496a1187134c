//! The verbs over an open batch: each by itself, and all in a random order against the invariants.

use std::ops::Bound;

use super::report::Failure;
use super::workers::Profile;
use super::*;
use crate::data::Touch;
use crate::jobs::actions::SubmitAction;
use crate::jobs::check::check;
use crate::jobs::job::Reason;
use crate::storage::{Db, Options, Table};

const START: Millis = Millis(1_800_000_000_000);

/// The domain over an empty store, with an open batch.
struct Bench<'a> {
    batch: Batch<'a>,
    now: Millis,
    touched: Touched,
    random: fastrand::Rng,
    settings: Settings,
    /// Connections of the list contract that are alive.
    connections: Vec<u64>,
}

fn with_store(test: impl FnOnce(&Db)) {
    let dir = tempfile::tempdir().unwrap();
    test(&Db::open(&Options::new(dir.path())).unwrap());
}

fn with_bench(test: impl FnOnce(&mut Bench<'_>)) {
    with_store(|db| test(&mut Bench::new(db)));
}

fn id(text: &str) -> Id {
    Id::parse("id", text.as_bytes()).unwrap()
}

fn claim_of(count: usize, lease_ms: u64) -> Claim {
    Claim { queues: vec![id("ready")], count, lease_ms, takes: Takes::Everything }
}

const OK: &[u8] = b"{\"ok\":true}";
const BAD: &[u8] = b"{\"error\":\"no\"}";

impl<'a> Bench<'a> {
    fn new(db: &'a Db) -> Bench<'a> {
        Bench {
            batch: db.batch().unwrap(),
            now: START,
            touched: Touched { wanted: true, ..Touched::default() },
            random: fastrand::Rng::with_seed(7),
            settings: Settings::default(),
            connections: Vec::new(),
        }
    }

    fn jobs(&mut self) -> Jobs<'_, 'a> {
        Jobs {
            batch: &mut self.batch,
            now: self.now,
            touched: &mut self.touched,
            random: &mut self.random,
            settings: self.settings,
            database_0: 0,
            access_key: None,
        }
    }

    /// Runs a command: all of it, or nothing.
    fn command<T>(&mut self, run: impl FnOnce(&mut Jobs<'_, 'a>) -> Result<T>) -> Result<T> {
        let mark = self.batch.mark();
        let result = run(&mut self.jobs());
        if result.is_err() {
            self.batch.rollback(mark);
        }
        self.batch.release();
        result
    }

    fn submit(&mut self, json: &str) -> Id {
        let submit = Submit::parse(json.as_bytes()).unwrap();
        self.command(|jobs| jobs.submit(&submit)).unwrap().id
    }

    fn refused(&mut self, json: &str) -> String {
        let submit = Submit::parse(json.as_bytes());
        let result = submit.and_then(|submit| self.command(|jobs| jobs.submit(&submit)));
        result.unwrap_err().to_string()
    }

    fn claim(&mut self, worker: &str) -> Option<Job> {
        self.command(|jobs| jobs.claim(&id(worker), &claim_of(1, 30_000))).unwrap().pop()
    }

    fn job(&mut self, id: &Id) -> Job {
        self.jobs().view().need_job(id.as_bytes()).unwrap()
    }

    fn pass(&mut self, ms: u64) {
        self.now = self.now.plus(ms);
        let connections = self.connections.clone();
        let holds = move |connection: u64, _: &Job| connections.contains(&connection);
        self.command(|jobs| jobs.run_timers(1_000, timers::Allowed::Everything, &holds)).unwrap();
    }

    fn next(&self) -> Option<Millis> {
        timers::next(&JobsView { rows: &self.batch, now: self.now }, &self.settings, timers::Allowed::Everything)
            .unwrap()
    }

    fn assert_sound(&self) {
        assert_eq!(check(&self.batch).unwrap(), Vec::<String>::new());
    }
}

#[test]
fn a_payload_goes_in_and_out_byte_for_byte() {
    with_bench(|bench| {
        let payload = format!("{{\"n\":1.10,\"big\":\"{}\"}}", "x".repeat(5_000));
        let job = bench.submit(&format!("{{\"kind\":\"mail\",\"payload\":{payload},\"meta\":[1e0]}}"));
        let claimed = bench.claim("w").unwrap();
        assert_eq!((claimed.id.clone(), claimed.epoch, claimed.starts), (job.clone(), 1, 1));
        let json = bench.jobs().view().claimed_json(&claimed).unwrap();
        assert!(json.contains(&format!("\"payload\":{payload}")) && json.contains("\"meta\":[1e0]"));
        bench.command(|jobs| jobs.complete(job.as_bytes(), 1, OK)).unwrap();
        assert_eq!(bench.job(&job).status, Status::Completed);
        bench.assert_sound();
    });
}

#[test]
fn the_same_completion_again_is_answered_alike_and_another_is_refused() {
    with_bench(|bench| {
        let job = bench.submit(r#"{"kind":"a"}"#);
        bench.claim("w");
        for _ in 0..2 {
            bench.command(|jobs| jobs.complete(job.as_bytes(), 1, OK)).unwrap();
        }
        for (epoch, result) in [(1, BAD), (0, OK), (2, OK)] {
            let error = bench.command(|jobs| jobs.complete(job.as_bytes(), epoch, result)).unwrap_err();
            assert_eq!(error.to_string(), format!("STALE job {job} is at epoch 1"));
        }
        let error = bench.command(|jobs| jobs.complete(b"job_0", 1, OK)).unwrap_err();
        assert_eq!(error.to_string(), "ERR Job not found: job_0");
    });
}

#[test]
fn priorities_go_first_and_within_one_the_oldest() {
    with_bench(|bench| {
        let low = bench.submit(r#"{"kind":"a","priority":0}"#);
        let first = bench.submit(r#"{"kind":"a"}"#);
        let second = bench.submit(r#"{"kind":"a"}"#);
        let high = bench.submit(r#"{"kind":"a","priority":9}"#);
        let order: Vec<Id> = std::iter::from_fn(|| bench.claim("w")).map(|job| job.id).collect();
        assert_eq!(order, [high, first, second, low]);
    });
}

#[test]
fn a_delay_is_kept_to_the_millisecond() {
    with_bench(|bench| {
        let job = bench.submit(r#"{"kind":"a","delay_ms":1500}"#);
        assert_eq!((bench.job(&job).status, bench.next()), (Status::Scheduled, Some(bench.now.plus(1_500))));
        bench.pass(1_499);
        assert!(bench.claim("w").is_none());
        bench.pass(1);
        assert!(bench.touched.things.contains(&crate::data::Touch::Queue("ready".into())));
        assert_eq!(bench.claim("w").unwrap().id, job);
    });
}

#[test]
fn a_job_that_does_not_start_in_time_has_expired() {
    with_bench(|bench| {
        let at = bench.now.plus(1_000).0;
        let job = bench.submit(&format!(r#"{{"kind":"a","expires_at":{at}}}"#));
        // The claim sees it before the timer does.
        bench.now = bench.now.plus(1_000);
        assert!(bench.claim("w").is_none());
        assert_eq!((bench.job(&job).status, bench.job(&job).reason), (Status::Failed, Reason::Expired));
        bench.assert_sound();
    });
}

#[test]
fn cancelling_is_at_once_or_by_word_to_the_worker() {
    with_bench(|bench| {
        let (pending, running) = (bench.submit(r#"{"kind":"a"}"#), bench.submit(r#"{"kind":"b"}"#));
        bench.command(|jobs| jobs.cancel(pending.as_bytes())).unwrap();
        assert_eq!(bench.job(&pending).status, Status::Cancelled);
        assert_eq!(bench.claim("w").unwrap().id, running);
        bench.command(|jobs| jobs.cancel(running.as_bytes())).unwrap();
        assert!(bench.touched.things.contains(&crate::data::Touch::Worker("w".into())));
        let tidings = bench.command(|jobs| jobs.heartbeat(&id("w"), None, &|_| true)).unwrap();
        assert_eq!(tidings.cancel, std::slice::from_ref(&running));
        bench.command(|jobs| jobs.fail(running.as_bytes(), 1, BAD, Failure::default())).unwrap();
        assert_eq!(bench.job(&running).status, Status::Cancelled, "a failure is not retried");
        bench.assert_sound();
    });
}

#[test]
fn a_completion_wins_over_a_cancel() {
    with_bench(|bench| {
        let job = bench.submit(r#"{"kind":"a"}"#);
        bench.claim("w");
        bench.command(|jobs| jobs.cancel(job.as_bytes())).unwrap();
        bench.command(|jobs| jobs.complete(job.as_bytes(), 1, OK)).unwrap();
        assert_eq!(bench.job(&job).status, Status::Completed);
        let error = bench.command(|jobs| jobs.cancel(job.as_bytes())).unwrap_err().to_string();
        assert_eq!(error, format!("ERR Job {job} is completed already: it cannot be cancelled"));
    });
}

#[test]
fn what_was_kept_long_enough_goes_with_all_its_rows() {
    with_bench(|bench| {
        let big = "x".repeat(2_000);
        let plan = r#"{"tasks":[{"task_number":1,"command":"true","args":[]}]}"#;
        let action = format!(r#"{{"plan":{plan},"inputs":[{{"a":"{big}"}}],"retention_ms":1000}}"#);
        let submit = SubmitAction::parse(action.as_bytes()).unwrap();
        let submitted = bench.command(|jobs| jobs.submit_action(&submit)).unwrap();
        let job = bench.claim("w").unwrap().id;
        bench.command(|jobs| jobs.append(job.as_bytes(), 1, Stream::Stderr, 1, b"out")).unwrap();
        bench.command(|jobs| jobs.complete(job.as_bytes(), 1, OK)).unwrap();
        assert_eq!(bench.jobs().view().need_action(submitted.id.as_bytes()).unwrap().status(), Status::Completed);
        bench.pass(1_000);
        let jobs = bench.jobs();
        assert!(jobs.view().job(job.as_bytes()).unwrap().is_none());
        assert!(jobs.view().action(submitted.id.as_bytes()).unwrap().is_none(), "with its last job");
        assert!(plan_store::load(jobs.batch, submitted.plan.as_bytes()).unwrap().is_none(), "an inline plan too");
        bench.assert_sound();
        bench.pass(events::KEPT_MS + 86_400_000);
        let left = Table::ALL.into_iter().filter(|table| !matches!(table, Table::Meta | Table::Queues));
        for table in left {
            assert_eq!(bench.batch.first(table, Bound::Unbounded, Bound::Unbounded, false).unwrap(), None, "{table}");
        }
    });
}

#[test]
fn of_too_much_output_head_and_tail_are_kept() {
    with_bench(|bench| {
        bench.settings.max_output = 64 << 10;
        let job = bench.submit(r#"{"kind":"a"}"#);
        bench.claim("w");
        let mut written = Vec::new();
        for n in 0..3_000_u32 {
            let line = format!("line {n} {}\n", "y".repeat(40));
            written.extend_from_slice(line.as_bytes());
            bench.command(|jobs| jobs.append(job.as_bytes(), 1, Stream::Stdout, 1, line.as_bytes())).unwrap();
        }
        let jobs = bench.jobs();
        let kept = jobs.view().output(&job, Stream::Stdout).unwrap();
        let totals = jobs.view().output_totals(&job, Stream::Stdout).unwrap();
        assert_eq!((totals.written, totals.kept), (written.len() as u64, kept.len() as u64));
        assert!(totals.truncated() && kept.len() <= 64 << 10, "{}", kept.len());
        assert!(kept.len() > 56 << 10, "{}", kept.len());
        assert!(written.starts_with(&kept[..24 << 10]) && written.ends_with(&kept[kept.len() - (24 << 10)..]));
        bench.pass(30_000);
        bench.claim("w");
        assert!(bench.jobs().view().output(&job, Stream::Stdout).unwrap().is_empty(), "an attempt begins afresh");
        bench.assert_sound();
    });
}

#[test]
fn what_cannot_be_honoured_is_refused_by_name() {
    with_bench(|bench| {
        let cases = [
            (r#"{"kind":"a","after":["x"]}"#, "ERR job.after[0]: Job not found: x"),
            (r#"{"kind":"a","after":["x","x"]}"#, "ERR job.after[1] names job x again: once is enough"),
            (
                r#"{"kind":"a","after_policy":"hope"}"#,
                "ERR job.after_policy must be cancel, continue or fail, not 'hope'",
            ),
            (
                r#"{"kind":"a","on_conflict":"return"}"#,
                "ERR job.on_conflict says what happens to a unique_key: give one",
            ),
            (
                r#"{"kind":"a","unique_key":"x","on_conflict":"win"}"#,
                "ERR job.on_conflict must be reject, return or replace, not 'win'",
            ),
            (r#"{"kind":"a","color":1}"#, "ERR job.color is not a known field: remove it, or check its spelling"),
            (r#"{"kind":"a","priority":10}"#, "ERR job.priority must be an integer from 0 to 9, not 10"),
            (
                r#"{"kind":"a","queue":"processing"}"#,
                "ERR job.queue must not be 'processing': that name stands for all running jobs",
            ),
            (
                r#"{"kind":"a","delay_ms":1,"run_at":5}"#,
                "ERR job.delay_ms and job.run_at say the same thing: give one of them",
            ),
            (r#"{"plan_id":"none"}"#, "ERR Plan not found: none"),
            (r#"{}"#, "ERR job must name one of plan_id, plan or kind"),
            (r#"{"kind":"a","kind":"b"}"#, "ERR job: the key 'kind' stands twice in an object"),
            (r#"{"kind":"a","attempts":0}"#, "ERR job.attempts must be an integer from 1 to 1000000, not 0"),
        ];
        for (json, error) in cases {
            assert_eq!(bench.refused(json), error);
        }
        assert_eq!(bench.batch.first(Table::Jobs, Bound::Unbounded, Bound::Unbounded, false).unwrap(), None);
        let job = bench.submit(r#"{"kind":"a","job_id":"mine","payload":1}"#);
        assert_eq!(bench.submit(r#"{"kind":"a","job_id":"mine","payload":1}"#), job);
        let error = bench.refused(r#"{"kind":"a","job_id":"mine","payload":2}"#);
        assert_eq!(error, "ERR Job mine exists with other content: choose another job_id");
    });
}

#[test]
fn workers_are_known_alive_then_dead_then_forgotten() {
    with_bench(|bench| {
        let profile = Profile::parse(br#"{"worker_id":"w","tools":["sh"],"slots":2}"#).unwrap();
        bench.command(|jobs| jobs.register(&profile)).unwrap();
        let status = |bench: &mut Bench<'_>| {
            let jobs = bench.jobs();
            let worker = jobs.view().worker(b"w").unwrap();
            worker.map(|worker| jobs.view().worker_json(&id("w"), &worker).unwrap())
        };
        assert!(status(bench).unwrap().contains(r#""status":"idle","tools":["sh"]"#));
        bench.pass(20_000);
        bench.command(|jobs| jobs.heartbeat(&id("w"), None, &|_| true)).unwrap();
        bench.pass(30_000);
        assert!(status(bench).unwrap().contains(r#""status":"dead""#));
        bench.pass(86_400_000 - 1);
        assert!(status(bench).is_some());
        bench.pass(1);
        assert!(status(bench).is_none());
        bench.assert_sound();
    });
}

mod actions;
mod attempts;
mod bulk;
mod check;
mod checkpoints;
mod clients;
mod conditions;
mod costs;
mod incarnation;
mod queues;
mod random;
mod schedules;
mod transfer;
mod webhooks;
