//! Actions: made in slices, so many at once, with a budget of failures and what follows their end.

use super::*;
use crate::jobs::actions::Submitted;
use crate::jobs::events::{Event, Subject};

const PLAN: &str = r#""plan":{"tasks":[{"task_number":1,"command":"true","args":[]}]}"#;

impl Bench<'_> {
    fn action(&mut self, inputs: usize, more: &str) -> Submitted {
        let inputs: Vec<String> = (0..inputs).map(|n| format!("{{\"n\":{n}}}")).collect();
        let json = format!(r#"{{"action_id":"x",{PLAN},"inputs":[{}]{more}}}"#, inputs.join(","));
        let submit = SubmitAction::parse(json.as_bytes()).unwrap();
        self.command(|jobs| jobs.submit_action(&submit)).unwrap()
    }

    fn plan(&mut self, id: &str) {
        let plan = format!(
            r#"{{"plan_id":"{id}","tasks":[{{"task_number":1,"command":"echo","args":["{{{{input.jobs_failed}}}}"]}}]}}"#
        );
        plan_store::submit(&mut self.batch, &plan::Plan::parse(plan.as_bytes()).unwrap(), false, START).unwrap();
    }

    fn expand_all(&mut self) {
        for _ in 0..100 {
            self.pass(0);
            self.assert_sound();
        }
    }

    fn count_of(&mut self, status: Status) -> u64 {
        self.jobs().view().need_action(b"x").unwrap().counts.of(status)
    }

    fn status(&mut self) -> Status {
        self.jobs().view().need_action(b"x").unwrap().status()
    }

    fn work(&mut self, well: bool) -> Id {
        let job = self.claim("w").unwrap();
        let how = Failure { dead: true, ..Failure::default() };
        let report = |jobs: &mut Jobs<'_, '_>| match well {
            true => jobs.complete(job.id.as_bytes(), job.epoch, OK),
            false => jobs.fail(job.id.as_bytes(), job.epoch, BAD, how),
        };
        self.command(report).unwrap().id
    }
}

#[test]
fn all_ids_are_fixed_and_shown_before_the_jobs_are_made() {
    with_bench(|bench| {
        let submitted = bench.action(21, r#","meta":{"big":"x"},"delay_ms":5"#);
        let last = submitted.jobs.last().unwrap();
        let jobs = bench.jobs();
        assert!(jobs.view().job(last.as_bytes()).unwrap().is_none());
        let shown = jobs.view().shown_job(last.as_bytes()).unwrap();
        assert_eq!((shown.status, shown.reason), (Status::Waiting, Reason::Expanding));
        let json = jobs.view().job_json(&shown, show::Detail::Whole).unwrap();
        assert!(json.contains(r#""input":{"n":20}"#) && json.contains(r#""meta":{"big":"x"}"#), "{json}");
        let error = bench.command(|jobs| jobs.cancel(last.as_bytes())).unwrap_err().to_string();
        assert_eq!(error, format!("ERR Job {last} is still being made: try again in a moment"));
        bench.assert_sound();
        bench.expand_all();
        assert_eq!(bench.count_of(Status::Scheduled), 21);
        for (n, id) in submitted.jobs.iter().enumerate() {
            let job = bench.job(id);
            let json = bench.jobs().view().job_json(&job, show::Detail::Whole).unwrap();
            assert!(json.contains(&format!(r#""input":{{"n":{n}}}"#)) && json.contains(r#""meta":{"big":"x"}"#));
            assert_eq!(job.action, Some((submitted.id.clone(), n as u64)));
        }
        assert_eq!(bench.action(21, r#","meta":{"big":"x"},"delay_ms":5"#), submitted, "the same again");
        bench.pass(5);
        let claimed: Vec<Id> = std::iter::from_fn(|| bench.claim("w")).map(|job| job.id).collect();
        assert_eq!(claimed, submitted.jobs);
    });
}

#[test]
fn so_many_are_under_way_at_once() {
    with_bench(|bench| {
        bench.action(12, r#","max_parallel":3"#);
        bench.expand_all();
        assert_eq!((bench.count_of(Status::Pending), bench.count_of(Status::Waiting)), (3, 9));
        for done in 1..=12 {
            bench.work(done % 4 != 0);
            bench.assert_sound();
            let under_way = bench.count_of(Status::Pending) + bench.count_of(Status::Running);
            assert_eq!(under_way, 3.min(12 - done));
        }
        assert_eq!(bench.status(), Status::Failed);
        // Those that run again are no more at once.
        bench.action(12, r#","max_parallel":3"#);
        let filter = Filter { status: Some(Status::Failed), ..Filter::default() };
        bench.command(|jobs| jobs.retry_all(&filter)).unwrap();
        bench.assert_sound();
        assert_eq!((bench.count_of(Status::Pending), bench.count_of(Status::Waiting)), (3, 0));
    });
}

#[test]
fn with_too_many_failures_the_rest_is_cancelled() {
    with_bench(|bench| {
        bench.action(30, r#","max_failures":1"#);
        bench.work(false);
        bench.work(false);
        assert!(bench.claim("w").is_none(), "no other starts");
        bench.expand_all();
        assert_eq!((bench.count_of(Status::Failed), bench.count_of(Status::Cancelled)), (2, 28));
        assert_eq!(bench.status(), Status::Failed);
    });
}

#[test]
fn what_follows_an_action_is_submitted_once_for_each_of_its_ends() {
    with_bench(|bench| {
        bench.plan("after");
        bench.plan("well");
        let callbacks = r#","on_complete":{"plan_id":"after","input":{"a":1}},"on_success":{"plan_id":"well"}"#;
        bench.action(2, callbacks);
        bench.work(true);
        let failed = bench.work(false);
        bench.assert_sound();
        let called = bench.claim("w").unwrap();
        assert_eq!(called.plan().unwrap(), &id("after"));
        let json = bench.jobs().view().claimed_json(&called).unwrap();
        let totals =
            r#""input":{"a":1,"action_id":"x","jobs_total":2,"jobs_completed":1,"jobs_failed":1,"jobs_cancelled":0}"#;
        assert!(json.contains(totals), "{json}");
        assert!(bench.claim("w").is_none(), "it did not end well");
        bench.command(|jobs| jobs.retry(failed.as_bytes())).unwrap();
        let error = plan_store::delete(bench.jobs().batch, b"well").unwrap_err().to_string();
        assert!(error.starts_with("ERR Plan well is in use"), "{error}");
        bench.work(true);
        let mut called: Vec<Id> =
            std::iter::from_fn(|| bench.claim("w")).map(|job| job.plan().unwrap().clone()).collect();
        called.sort();
        assert_eq!(called, [id("after"), id("well")]);
        bench.assert_sound();
    });
}

#[test]
fn an_action_counts_once_with_its_idempotency_key() {
    with_bench(|bench| {
        let json = format!(r#"{{{PLAN},"inputs":[{{}},{{}}],"idempotency_key":"i","retention_ms":0}}"#);
        let submit = SubmitAction::parse(json.as_bytes()).unwrap();
        let first = bench.command(|jobs| jobs.submit_action(&submit)).unwrap();
        bench.work(true);
        bench.work(true);
        bench.pass(0);
        assert!(bench.jobs().view().action(first.id.as_bytes()).unwrap().is_none());
        assert_eq!(bench.command(|jobs| jobs.submit_action(&submit)).unwrap(), first);
        bench.assert_sound();
    });
}

#[test]
fn bad_callbacks_and_bounds_are_refused_by_name() {
    with_bench(|bench| {
        bench.plan("after");
        let cases = [
            (r#""max_parallel":0"#, "ERR action.max_parallel must be an integer from 1 to 1000000, not 0"),
            (r#""on_success":{}"#, "ERR action.on_success.plan_id is missing"),
            (r#""on_success":{"plan_id":"none"}"#, "ERR Plan not found: none"),
            (
                r#""on_failure":{"plan_id":"after","input":[]}"#,
                "ERR action.on_failure.input must be an object, not an array",
            ),
            (
                r#""on_failure":{"plan_id":"after","input":{"jobs_total":1}}"#,
                "ERR action.on_failure.input.jobs_total is what AGQ adds itself: leave it out",
            ),
        ];
        for (more, expected) in cases {
            let json = format!(r#"{{{PLAN},"inputs":[],{more}}}"#);
            let result = SubmitAction::parse(json.as_bytes())
                .and_then(|submit| bench.command(|jobs| jobs.submit_action(&submit)));
            assert_eq!(result.unwrap_err().to_string(), expected);
        }
        assert_eq!(bench.batch.first(Table::Jobs, Bound::Unbounded, Bound::Unbounded, false).unwrap(), None);
    });
}

#[test]
fn the_feed_tells_of_an_action_that_is_submitted_ends_and_runs_again() {
    with_bench(|bench| {
        bench.action(2, "");
        bench.work(true);
        let failed = bench.work(false);
        bench.command(|jobs| jobs.retry(failed.as_bytes())).unwrap();
        bench.work(true);
        let events = bench.jobs().view().events(0, 100).unwrap();
        let of_action = |event: &Event| event.subject == Subject::Action(id("x"));
        let ways: Vec<_> =
            events.iter().filter(|(_, event)| of_action(event)).map(|(_, event)| (event.from, event.to)).collect();
        let (running, failed, completed) = (Status::Running, Status::Failed, Status::Completed);
        let expected = [(None, running), (Some(running), failed), (Some(failed), running), (Some(running), completed)];
        assert_eq!(ways, expected);
        assert!(of_action(&events[0].1) && of_action(&events[events.len() - 1].1));
        bench.assert_sound();
    });
}

#[test]
fn an_action_that_is_cancelled_in_slices_says_so_meanwhile() {
    with_bench(|bench| {
        let submitted = bench.action(600, "");
        let shown = |bench: &mut Bench<'_>| {
            let view = bench.jobs();
            let action = view.view().need_action(b"x").unwrap();
            view.view().action_json(&submitted.id, &action).unwrap()
        };
        assert!(!shown(bench).contains("cancelling"));
        bench.command(|jobs| jobs.cancel_action(&id("x"))).unwrap();
        assert!(shown(bench).contains(r#""status":"running","cancelling":true,"#));
        for _ in 0..400 {
            bench.pass(0);
        }
        assert!(shown(bench).contains(r#""status":"cancelled","created_at""#));
        bench.assert_sound();
    });
}
