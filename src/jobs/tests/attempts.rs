//! One attempt at a job: its lease, how it fails, and what comes after it.

use super::*;

#[test]
fn a_lost_lease_puts_the_job_back_at_its_old_place_until_it_is_poison() {
    with_bench(|bench| {
        let (first, second) = (bench.submit(r#"{"kind":"a"}"#), bench.submit(r#"{"kind":"a"}"#));
        for losses in 1..=3 {
            assert_eq!(bench.claim("w").unwrap().id, first);
            assert!(bench.next().unwrap() <= bench.now.plus(30_000));
            bench.pass(29_999);
            assert_eq!(bench.job(&first).status, Status::Running);
            bench.pass(1);
            assert_eq!((bench.job(&first).losses, bench.job(&first).failures), (losses, 0));
            bench.assert_sound();
        }
        assert_eq!((bench.job(&first).status, bench.job(&first).reason), (Status::Failed, Reason::Poison));
        assert_eq!(bench.claim("w").unwrap().id, second);
    });
}

#[test]
fn a_worker_that_is_back_late_goes_on_unless_another_has_claimed() {
    with_bench(|bench| {
        let job = bench.submit(r#"{"kind":"a"}"#);
        bench.claim("w");
        bench.pass(30_000);
        assert_eq!(bench.job(&job).reason, Reason::Lost);
        bench.command(|jobs| jobs.append(job.as_bytes(), 1, Stream::Stdout, 1, b"late")).unwrap();
        assert_eq!(bench.job(&job).status, Status::Running);
        bench.assert_sound();
        bench.pass(30_000);
        assert_eq!(bench.claim("v").unwrap().epoch, 2);
        let error = bench.command(|jobs| jobs.complete(job.as_bytes(), 1, OK)).unwrap_err().to_string();
        assert_eq!(error, format!("STALE job {job} is at epoch 2"));
    });
}

#[test]
fn failures_back_off_and_the_last_one_is_the_end() {
    with_bench(|bench| {
        let job = bench.submit(r#"{"kind":"a","attempts":2}"#);
        bench.claim("w");
        let failed = bench.command(|jobs| jobs.fail(job.as_bytes(), 1, BAD, Failure::default())).unwrap();
        assert_eq!((failed.status, failed.reason), (Status::Scheduled, Reason::Retry));
        let due = failed.run_at.unwrap();
        assert!((500..=1_500).contains(&due.since(bench.now)), "{due:?}");
        // The same report again changes nothing.
        assert_eq!(bench.command(|jobs| jobs.fail(job.as_bytes(), 1, BAD, Failure::default())).unwrap(), failed);
        assert_eq!(bench.next(), Some(due));
        bench.pass(due.since(bench.now) - 1);
        assert!(bench.claim("w").is_none());
        bench.pass(1);
        assert_eq!(bench.claim("w").unwrap().epoch, 2);
        let failed = bench.command(|jobs| jobs.fail(job.as_bytes(), 2, BAD, Failure::default())).unwrap();
        assert_eq!((failed.status, failed.reason, failed.failures), (Status::Failed, Reason::Exhausted, 2));
        bench.assert_sound();
    });
}

#[test]
fn a_worker_says_when_to_retry_or_never() {
    with_bench(|bench| {
        let job = bench.submit(r#"{"kind":"a"}"#);
        bench.claim("w");
        let how = Failure { retry_in_ms: Some(0), dead: false };
        bench.command(|jobs| jobs.fail(job.as_bytes(), 1, BAD, how)).unwrap();
        bench.pass(0);
        bench.claim("w").unwrap();
        let how = Failure { retry_in_ms: None, dead: true };
        let dead = bench.command(|jobs| jobs.fail(job.as_bytes(), 2, BAD, how)).unwrap();
        assert_eq!((dead.status, dead.reason), (Status::Failed, Reason::Rejected));
    });
}

#[test]
fn an_attempt_that_takes_too_long_is_a_failure() {
    with_bench(|bench| {
        let job = bench.submit(r#"{"kind":"a","timeout_ms":5000,"attempts":1}"#);
        let lease = bench.claim("w").unwrap().lease.unwrap();
        assert_eq!(lease.deadline, bench.now.plus(5_000));
        let lease = bench.command(|jobs| jobs.extend(job.as_bytes(), 1, 60_000)).unwrap().lease.unwrap();
        assert_eq!(lease.deadline, bench.now.plus(5_000), "a lease does not outlive the attempt");
        bench.pass(5_000);
        let job = bench.job(&job);
        assert_eq!((job.status, job.reason, job.failures, job.losses), (Status::Failed, Reason::Timeout, 1, 0));
    });
}

#[test]
fn release_and_unregister_give_jobs_back_without_a_loss() {
    with_bench(|bench| {
        let (first, second) = (bench.submit(r#"{"kind":"a"}"#), bench.submit(r#"{"kind":"a"}"#));
        bench.claim("w");
        bench.command(|jobs| jobs.release(first.as_bytes(), 1, None)).unwrap();
        let error = bench.command(|jobs| jobs.extend(first.as_bytes(), 1, 1_000)).unwrap_err().to_string();
        assert_eq!(error, format!("STALE job {first} is at epoch 2"));
        assert_eq!(bench.claim("w").unwrap().id, first, "at its old place");
        assert_eq!(bench.claim("w").unwrap().id, second);
        assert_eq!(bench.command(|jobs| jobs.unregister(&id("w"), &|_| true)).unwrap(), 2);
        assert_eq!((bench.job(&first).status, bench.job(&first).losses), (Status::Pending, 0));
        bench.assert_sound();
    });
}

#[test]
fn a_heartbeat_lengthens_every_lease_and_names_what_is_stale() {
    with_bench(|bench| {
        let job = bench.submit(r#"{"kind":"a"}"#);
        bench.claim("w");
        bench.pass(20_000);
        let held = [(job.clone(), 1), (id("job_0"), 1)];
        let tidings = bench.command(|jobs| jobs.heartbeat(&id("w"), Some(&held), &|_| true)).unwrap();
        assert_eq!(tidings.stale, [id("job_0")]);
        assert_eq!(bench.job(&job).lease.unwrap().deadline, bench.now.plus(30_000));
        // A lease that ran out is taken up again, unless the epoch is another's.
        bench.pass(30_000);
        let held = [(job.clone(), 0), (job.clone(), 1)];
        let tidings = bench.command(|jobs| jobs.heartbeat(&id("w"), Some(&held), &|_| true)).unwrap();
        assert_eq!(tidings.stale, std::slice::from_ref(&job));
        assert_eq!((bench.job(&job).status, bench.job(&job).losses), (Status::Running, 1));
        let error = bench.command(|jobs| jobs.heartbeat(&id("nobody"), None, &|_| true)).unwrap_err().to_string();
        assert_eq!(error, "ERR Worker not found: nobody");
    });
}

#[test]
fn leases_that_were_there_at_the_start_have_grace_and_later_ones_do_not() {
    with_bench(|bench| {
        let old = bench.submit(r#"{"kind":"a"}"#);
        bench.claim("w");
        bench.pass(25_000);
        bench.settings = bench.settings.started(&bench.batch, bench.now).unwrap();
        let young = bench.submit(r#"{"kind":"b"}"#);
        bench.command(|jobs| jobs.claim(&id("v"), &claim_of(1, 1_000))).unwrap();
        bench.pass(5_000);
        assert_eq!((bench.job(&old).losses, bench.job(&young).losses), (0, 1));
        bench.pass(25_000);
        assert_eq!(bench.job(&old).losses, 1);
        bench.assert_sound();
    });
}
