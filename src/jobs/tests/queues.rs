//! The order of claims: turns of keys, requirements, ageing, limits, pauses.

use super::*;

impl Bench<'_> {
    fn able(&mut self, worker: &str, tools: &str) {
        let profile = format!(r#"{{"worker_id":"{worker}","tools":[{tools}]}}"#);
        let profile = Profile::parse(profile.as_bytes()).unwrap();
        self.command(|jobs| jobs.register(&profile)).unwrap();
    }

    fn claims(&mut self, worker: &str, count: usize) -> Vec<Id> {
        let claimed = self.command(|jobs| jobs.claim(&id(worker), &claim_of(count, 30_000))).unwrap();
        claimed.into_iter().map(|job| job.id).collect()
    }

    fn limit(&mut self, limits: Limits) {
        self.command(|jobs| jobs.limit_queue(&id("ready"), limits)).unwrap();
        self.assert_sound();
    }

    fn finish(&mut self, job: &Id) {
        let epoch = self.job(job).epoch;
        self.command(|jobs| jobs.complete(job.as_bytes(), epoch, OK)).unwrap();
    }
}

#[test]
fn keys_take_turns_and_jobs_without_one_are_one_more() {
    with_bench(|bench| {
        let many: Vec<Id> = (0..5).map(|_| bench.submit(r#"{"kind":"a","key":"many"}"#)).collect();
        let few = bench.submit(r#"{"kind":"a","key":"few"}"#);
        let plain: Vec<Id> = (0..2).map(|_| bench.submit(r#"{"kind":"a"}"#)).collect();
        let order = bench.claims("w", 10);
        let expected = [&plain[0], &many[0], &few, &plain[1], &many[1], &many[2], &many[3], &many[4]];
        assert_eq!(order.iter().collect::<Vec<_>>(), expected);
        bench.assert_sound();
    });
}

#[test]
fn a_job_that_nobody_there_can_run_holds_up_none_behind_it() {
    with_bench(|bench| {
        bench.able("gpu", r#""gpu","sh""#);
        let blocked: Vec<Id> =
            (0..3).map(|_| bench.submit(r#"{"kind":"a","requires":["sh","gpu"],"priority":9}"#)).collect();
        let free = bench.submit(r#"{"kind":"a"}"#);
        assert_eq!(bench.claims("w", 10), [free]);
        assert_eq!(bench.claims("gpu", 10), blocked);
        bench.assert_sound();
    });
}

#[test]
fn a_claim_for_plans_passes_over_kinds() {
    with_bench(|bench| {
        let plan = r#"{"tasks":[{"task_number":1,"command":"true","args":[]}]}"#;
        let kind = bench.submit(r#"{"kind":"a"}"#);
        let planned = bench.submit(&format!(r#"{{"plan":{plan}}}"#));
        let claim = Claim { takes: Takes::Plans, ..claim_of(5, 30_000) };
        let claimed = bench.command(|jobs| jobs.claim(&id("w"), &claim)).unwrap();
        assert_eq!(claimed.into_iter().map(|job| job.id).collect::<Vec<_>>(), [planned]);
        assert_eq!(bench.claims("w", 5), [kind]);
    });
}

#[test]
fn who_waits_long_enough_goes_before_a_higher_priority() {
    with_bench(|bench| {
        let low = bench.submit(r#"{"kind":"a","priority":4}"#);
        bench.pass(299_999);
        let high = bench.submit(r#"{"kind":"a","priority":5}"#);
        assert_eq!(bench.claims("w", 1), std::slice::from_ref(&high));
        bench.pass(2);
        let late = bench.submit(r#"{"kind":"a","priority":5}"#);
        assert_eq!(bench.claims("w", 2), [low.clone(), late.clone()]);
        [low, late, high].iter().for_each(|job| bench.finish(job));
        bench.settings.ageing_ms = 0;
        let low = bench.submit(r#"{"kind":"a","priority":0}"#);
        bench.pass(86_400_000);
        let high = bench.submit(r#"{"kind":"a","priority":1}"#);
        assert_eq!(bench.claims("w", 2), [high, low]);
    });
}

#[test]
fn a_queue_runs_no_more_than_its_limits_say() {
    with_bench(|bench| {
        let jobs: Vec<Id> = (0..4).map(|n| bench.submit(&format!(r#"{{"kind":"a","key":"{}"}}"#, n % 2))).collect();
        bench.limit(Limits { concurrency: Some(2), ..Limits::default() });
        assert_eq!(bench.claims("w", 10), jobs[..2]);
        assert!(bench.jobs().view().are_drained(&[id("ready")]).unwrap());
        bench.touched.things.clear();
        bench.finish(&jobs[0]);
        assert!(bench.touched.things.contains(&Touch::Queue("ready".into())), "who waits is told");
        assert_eq!(bench.claims("w", 10), jobs[2..3]);
        bench.limit(Limits { key_concurrency: Some(1), ..Limits::default() });
        // Both keys have a job that runs.
        assert!(bench.claims("w", 10).is_empty());
        bench.touched.things.clear();
        bench.finish(&jobs[1]);
        assert!(bench.touched.things.contains(&Touch::Queue("ready".into())));
        assert_eq!(bench.claims("w", 10), jobs[3..]);
        bench.limit(Limits::default());
        bench.assert_sound();
    });
}

#[test]
fn a_rate_lets_so_many_start_in_a_time_over_restarts_too() {
    with_bench(|bench| {
        let jobs: Vec<Id> = (0..4).map(|_| bench.submit(r#"{"kind":"a"}"#)).collect();
        bench.limit(Limits { rate: Some(Rate { jobs: 2, per_ms: 10_000, burst: 1 }), ..Limits::default() });
        assert_eq!(bench.claims("w", 10), jobs[..1]);
        bench.assert_sound();
        assert_eq!(bench.next(), Some(bench.now.plus(5_000)));
        bench.pass(4_999);
        assert!(bench.claims("w", 10).is_empty());
        bench.touched.things.clear();
        bench.pass(1);
        assert!(bench.touched.things.contains(&Touch::Queue("ready".into())), "who waits is told");
        assert_eq!(bench.claims("w", 10), jobs[1..2]);
        bench.limit(Limits::default());
        assert_eq!(bench.claims("w", 10), jobs[2..]);
    });
}

#[test]
fn a_paused_queue_gives_out_nothing_and_takes_everything() {
    with_bench(|bench| {
        bench.command(|jobs| jobs.pause_queue(&id("ready"), true)).unwrap();
        let job = bench.submit(r#"{"kind":"a"}"#);
        assert!(bench.claims("w", 1).is_empty());
        bench.touched.things.clear();
        bench.command(|jobs| jobs.pause_queue(&id("ready"), false)).unwrap();
        assert!(bench.touched.things.contains(&Touch::Queue("ready".into())));
        assert_eq!(bench.claims("w", 1), [job]);
    });
}

#[test]
fn a_backoff_is_the_one_that_was_asked_for() {
    with_bench(|bench| {
        let job = bench.submit(r#"{"kind":"a","backoff":{"type":"list","ms":[7,2000]}}"#);
        for (epoch, wait) in [(1, 7), (2, 2_000), (3, 2_000)] {
            bench.claims("w", 1);
            let failed = bench.command(|jobs| jobs.fail(job.as_bytes(), epoch, BAD, Failure::default())).unwrap();
            assert_eq!(failed.run_at, Some(bench.now.plus(wait)));
            bench.pass(wait);
        }
        let cases = [
            (r#"{"type":"often"}"#, "ERR job.backoff.type must be exponential, fixed, linear or list, not 'often'"),
            (r#"{"ms":5}"#, "ERR job.backoff.type is missing: exponential, fixed, linear or list"),
            (r#"{"type":"fixed"}"#, "ERR job.backoff.ms is missing: a number of milliseconds"),
            (r#"{"type":"list","ms":[]}"#, "ERR job.backoff.ms must have 1 to 100 numbers of milliseconds, not 0"),
            (
                r#"{"type":"fixed","ms":1,"base_ms":2}"#,
                "ERR job.backoff.base_ms is not a known field: remove it, or check its spelling",
            ),
        ];
        for (backoff, error) in cases {
            assert_eq!(bench.refused(&format!(r#"{{"kind":"a","backoff":{backoff}}}"#)), error);
        }
    });
}
