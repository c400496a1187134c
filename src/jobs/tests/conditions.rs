//! What a job waits for, and what must not be there twice.

use super::*;

impl Bench<'_> {
    fn end(&mut self, job: &Id, well: bool) {
        let claimed = self.claim("w").unwrap();
        assert_eq!(claimed.id, *job);
        let how = Failure { dead: true, ..Failure::default() };
        let report = |jobs: &mut Jobs<'_, '_>| match well {
            true => jobs.complete(job.as_bytes(), claimed.epoch, OK),
            false => jobs.fail(job.as_bytes(), claimed.epoch, BAD, how),
        };
        self.command(report).unwrap();
    }

    fn statuses(&mut self, jobs: &[&Id]) -> Vec<(Status, Reason)> {
        jobs.iter().map(|id| self.job(id)).map(|job| (job.status, job.reason)).collect()
    }
}

#[test]
fn a_job_waits_for_the_ends_of_others() {
    with_bench(|bench| {
        let (a, b) = (bench.submit(r#"{"kind":"a"}"#), bench.submit(r#"{"kind":"a"}"#));
        let both = bench.submit(&format!(r#"{{"kind":"c","after":["{a}","{b}"]}}"#));
        let later = bench.submit(&format!(r#"{{"kind":"c","after":["{a}"],"delay_ms":5000}}"#));
        assert_eq!(bench.statuses(&[&both, &later]), [(Status::Waiting, Reason::After); 2]);
        bench.assert_sound();
        bench.end(&a, true);
        assert_eq!(bench.next(), Some(bench.now), "they learn it at once");
        bench.pass(0);
        bench.assert_sound();
        assert_eq!(
            bench.statuses(&[&both, &later]),
            [(Status::Waiting, Reason::After), (Status::Scheduled, Reason::Delay)]
        );
        bench.end(&b, true);
        bench.pass(0);
        assert_eq!(bench.job(&both).status, Status::Pending);
        bench.assert_sound();
        // Of those that have ended already nothing is waited for.
        let at_once = bench.submit(&format!(r#"{{"kind":"c","after":["{a}","{b}"]}}"#));
        assert_eq!(bench.job(&at_once).status, Status::Pending);
    });
}

#[test]
fn a_bad_end_means_what_the_policy_says() {
    with_bench(|bench| {
        let a = bench.submit(r#"{"kind":"a"}"#);
        let after = |policy: &str| format!(r#"{{"kind":"c","after":["{a}"],"after_policy":"{policy}"}}"#);
        let jobs = ["cancel", "continue", "fail"].map(|policy| bench.submit(&after(policy)));
        let chained = bench.submit(&format!(r#"{{"kind":"c","after":["{}"]}}"#, jobs[0]));
        bench.end(&a, false);
        bench.pass(0);
        bench.pass(0);
        let expected = [
            (Status::Cancelled, Reason::Dependency),
            (Status::Pending, Reason::None),
            (Status::Failed, Reason::Dependency),
            (Status::Cancelled, Reason::Dependency),
        ];
        assert_eq!(bench.statuses(&[&jobs[0], &jobs[1], &jobs[2], &chained]), expected);
        bench.assert_sound();
        // The same for one that has failed before.
        let late = ["cancel", "continue", "fail"].map(|policy| bench.submit(&after(policy)));
        assert_eq!(bench.statuses(&[&late[0], &late[1], &late[2]]), expected[..3]);
        bench.assert_sound();
    });
}

#[test]
fn who_stops_waiting_is_forgotten_by_the_others() {
    with_bench(|bench| {
        let a = bench.submit(r#"{"kind":"a","retention_ms":0}"#);
        let waiting = bench.submit(&format!(r#"{{"kind":"c","after":["{a}"]}}"#));
        let at = bench.now.plus(1_000).0;
        let expiring = bench.submit(&format!(r#"{{"kind":"c","after":["{a}"],"expires_at":{at}}}"#));
        bench.command(|jobs| jobs.cancel(waiting.as_bytes())).unwrap();
        bench.assert_sound();
        bench.pass(1_000);
        assert_eq!(bench.job(&expiring).reason, Reason::Expired);
        bench.assert_sound();
        // Many are told in slices, and only then the job goes.
        for _ in 0..2_500 {
            bench.submit(&format!(r#"{{"kind":"c","after":["{a}"]}}"#));
        }
        bench.end(&a, true);
        bench.pass(0);
        assert!(bench.jobs().view().job(a.as_bytes()).unwrap().is_some());
        bench.pass(0);
        bench.pass(0);
        assert!(bench.jobs().view().job(a.as_bytes()).unwrap().is_none());
        assert_eq!(bench.jobs().view().totals().unwrap().of(Status::Pending), 2_500);
        bench.assert_sound();
    });
}

#[test]
fn a_unique_key_is_held_until_its_holder_has_ended() {
    with_bench(|bench| {
        let first = bench.submit(r#"{"kind":"a","unique_key":"k"}"#);
        let error = bench.refused(r#"{"kind":"b","unique_key":"k"}"#);
        assert_eq!(
            error,
            format!(
                "ERR unique_key 'k' is held by job {first}, which is pending: wait for its end, or say on_conflict"
            )
        );
        assert_eq!(bench.submit(r#"{"kind":"b","unique_key":"k","on_conflict":"return"}"#), first);
        let second = bench.submit(r#"{"kind":"b","unique_key":"k","on_conflict":"replace"}"#);
        assert_eq!(bench.job(&first).status, Status::Cancelled);
        bench.assert_sound();
        let epoch = bench.claim("w").unwrap().epoch;
        let error = bench.refused(r#"{"kind":"b","unique_key":"k","on_conflict":"replace"}"#);
        assert_eq!(
            error,
            format!(
                "ERR unique_key 'k' is held by job {second}, which is running and cannot be replaced: cancel it first"
            )
        );
        bench.command(|jobs| jobs.complete(second.as_bytes(), epoch, OK)).unwrap();
        assert_ne!(bench.submit(r#"{"kind":"b","unique_key":"k"}"#), second);
        bench.assert_sound();
    });
}

#[test]
fn an_idempotency_key_gives_the_same_answer_for_a_day() {
    with_bench(|bench| {
        let json = r#"{"kind":"a","idempotency_key":"i","retention_ms":0}"#;
        let job = bench.submit(json);
        assert_eq!(bench.submit(json), job);
        let error = bench.refused(r#"{"kind":"b","idempotency_key":"i"}"#);
        assert_eq!(error, format!("ERR idempotency_key 'i' was used for {job} with other content: choose another key"));
        bench.end(&job, true);
        bench.pass(86_400_000 - 1);
        assert!(bench.jobs().view().job(job.as_bytes()).unwrap().is_none());
        assert_eq!(bench.submit(json), job, "though the job is gone");
        bench.assert_sound();
        bench.pass(1);
        assert_ne!(bench.submit(json), job);
        bench.assert_sound();
    });
}
