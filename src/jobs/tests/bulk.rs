//! What is done to many jobs, and how they are found.

use super::*;

impl Bench<'_> {
    fn many(&mut self, count: usize, json: &str) -> Vec<Id> {
        (0..count).map(|_| self.submit(json)).collect()
    }

    fn fail_all(&mut self, count: usize) {
        let claimed = self.command(|jobs| jobs.claim(&id("w"), &claim_of(count, 30_000))).unwrap();
        let how = Failure { dead: true, ..Failure::default() };
        for job in claimed {
            self.command(|jobs| jobs.fail(job.id.as_bytes(), job.epoch, BAD, how)).unwrap();
        }
    }

    fn count(&mut self, status: Status) -> u64 {
        self.jobs().view().totals().unwrap().of(status)
    }

    fn settle(&mut self) {
        for _ in 0..1_000 {
            if self.next().is_some_and(|next| next <= self.now) {
                self.pass(0);
            }
        }
        assert!(self.next().is_none_or(|next| next > self.now));
        self.assert_sound();
    }

    fn found(&mut self, filter: &Filter, page: usize) -> Vec<Id> {
        let (mut found, mut cursor) = (Vec::new(), "0".to_owned());
        loop {
            let jobs = self.jobs();
            let page = jobs.view().list(filter, cursor.as_bytes(), page, None).unwrap();
            found.extend(page.jobs.into_iter().map(|job| job.id));
            match page.next {
                Some(next) => cursor = next,
                None => return found,
            }
        }
    }
}

#[test]
fn many_jobs_run_again_in_slices_and_a_dry_run_changes_nothing() {
    with_bench(|bench| {
        bench.many(600, r#"{"kind":"a"}"#);
        bench.fail_all(600);
        let kept = bench.many(1, r#"{"kind":"b"}"#);
        bench.fail_all(1);
        let filter = Filter { kind: Some("a".into()), ..Filter::default() };
        let preview = bench.jobs().view().preview_retry(&filter).unwrap();
        assert_eq!((preview.matched, preview.first.len(), preview.more), (600, 100, false));
        assert_eq!(bench.count(Status::Failed), 601);
        let progress = bench.command(|jobs| jobs.retry_all(&filter)).unwrap();
        assert_eq!((progress.changed, progress.finished), (256, false));
        bench.assert_sound();
        bench.settle();
        assert_eq!((bench.count(Status::Pending), bench.count(Status::Failed)), (600, 1));
        assert_eq!(bench.job(&kept[0]).status, Status::Failed);
        let running = Filter { status: Some(Status::Running), ..Filter::default() };
        let error = bench.command(|jobs| jobs.retry_all(&running)).unwrap_err().to_string();
        assert_eq!(error, "ERR STATUS must be failed or cancelled, not running: only such jobs run again");
    });
}

#[test]
fn a_purge_leaves_no_job_that_waited_for_the_place_of_another() {
    with_bench(|bench| {
        let plan = r#"{"tasks":[{"task_number":1,"command":"true"}]}"#;
        let json = format!(r#"{{"plan":{plan},"inputs":[{{}},{{}},{{}},{{}}],"max_parallel":1}}"#);
        let submit = SubmitAction::parse(json.as_bytes()).unwrap();
        bench.command(|jobs| jobs.submit_action(&submit)).unwrap();
        bench.command(|jobs| jobs.purge_queue(&id("ready"))).unwrap();
        assert_eq!(bench.count(Status::Cancelled), 4);
        bench.assert_sound();
    });
}

#[test]
fn a_purge_reaches_jobs_that_are_still_to_be_made_and_a_queue_that_awaits_some_is_not_deleted() {
    with_bench(|bench| {
        let inputs = ["{}"; 12].join(",");
        let json = format!(r#"{{"plan":{{"tasks":[{{"task_number":1,"command":"true"}}]}},"inputs":[{inputs}]}}"#);
        let submit = SubmitAction::parse(json.as_bytes()).unwrap();
        let action = bench.command(|jobs| jobs.submit_action(&submit)).unwrap();
        for job in &action.jobs[..8] {
            bench.command(|jobs| jobs.cancel(job.as_bytes())).unwrap();
        }
        let error = bench.command(|jobs| jobs.delete_queue(&id("ready"))).unwrap_err().to_string();
        assert!(error.starts_with("ERR Queue ready has 4 jobs that have not ended"), "{error}");
        bench.command(|jobs| jobs.purge_queue(&id("ready"))).unwrap();
        assert!(bench.claim("w").is_none());
        bench.settle();
        assert_eq!((bench.count(Status::Cancelled), bench.count(Status::Pending)), (12, 0));
        bench.command(|jobs| jobs.delete_queue(&id("ready"))).unwrap();
        bench.assert_sound();
    });
}

#[test]
fn a_purged_queue_gives_out_nothing_that_it_had() {
    with_bench(|bench| {
        bench.many(1_500, r#"{"kind":"a"}"#);
        bench.many(2, r#"{"kind":"a","delay_ms":60000}"#);
        let progress = bench.command(|jobs| jobs.purge_queue(&id("ready"))).unwrap();
        assert!(!progress.finished);
        let later = bench.submit(r#"{"kind":"a","priority":9}"#);
        assert_eq!(bench.claim("w").unwrap().id, later);
        assert!(bench.claim("w").is_none());
        bench.assert_sound();
        bench.settle();
        assert_eq!((bench.count(Status::Cancelled), bench.count(Status::Running)), (1_502, 1));
        let error = bench.command(|jobs| jobs.delete_queue(&id("ready"))).unwrap_err().to_string();
        assert_eq!(error, "ERR Queue ready has 1 jobs that have not ended: wait for them, or QUEUE.PURGE it first");
        bench.command(|jobs| jobs.complete(later.as_bytes(), 1, OK)).unwrap();
        bench.command(|jobs| jobs.delete_queue(&id("ready"))).unwrap();
        bench.settle();
        assert_eq!(bench.jobs().view().totals().unwrap().total(), 0);
        assert!(bench.jobs().view().queue(b"ready").unwrap().is_none());
    });
}

#[test]
fn an_action_is_cancelled_as_a_whole_and_runs_again() {
    with_bench(|bench| {
        let inputs = vec!["{}"; 700].join(",");
        let plan = r#"{"tasks":[{"task_number":1,"command":"true","args":[]}]}"#;
        let action = format!(r#"{{"action_id":"x","plan":{plan},"inputs":[{inputs}]}}"#);
        let submit = SubmitAction::parse(action.as_bytes()).unwrap();
        bench.command(|jobs| jobs.submit_action(&submit)).unwrap();
        bench.fail_all(3);
        let running = bench.claim("w").unwrap();
        bench.command(|jobs| jobs.cancel_action(&id("x"))).unwrap();
        assert!(bench.claim("w").is_none(), "none of them starts any more");
        let error = bench.command(|jobs| jobs.retry_action(&id("x"), false)).unwrap_err().to_string();
        assert_eq!(error, "ERR Action x is being cancelled: wait until that is done");
        bench.settle();
        assert_eq!((bench.count(Status::Cancelled), bench.count(Status::Failed)), (696, 3));
        assert!(bench.job(&running.id).cancelling);
        bench.command(|jobs| jobs.retry_action(&id("x"), true)).unwrap();
        bench.settle();
        assert_eq!(bench.count(Status::Pending), 699);
    });
}

#[test]
fn jobs_are_found_by_what_they_are() {
    with_bench(|bench| {
        let old = bench.submit(r#"{"kind":"a","key":"k","labels":["l","l"]}"#);
        bench.pass(1_000);
        let plan = r#"{"tasks":[{"task_number":1,"command":"true","args":[]}]}"#;
        let new = bench.submit(&format!(r#"{{"plan":{plan},"queue":"other","labels":["l"]}}"#));
        let others = bench.many(300, r#"{"kind":"b"}"#);
        let word = |word: &str| Some(word.to_owned());
        let plan = bench.job(&new).plan().cloned();
        let cases = [
            (Filter { key: word("k"), ..Filter::default() }, vec![&old]),
            (Filter { label: word("l"), ..Filter::default() }, vec![&new, &old]),
            (Filter { kind: word("a"), ..Filter::default() }, vec![&old]),
            (Filter { queue: Some(id("other")), ..Filter::default() }, vec![&new]),
            (Filter { plan, ..Filter::default() }, vec![&new]),
            (Filter { label: word("l"), kind: word("a"), ..Filter::default() }, vec![&old]),
            (Filter { until: Some(bench.now), ..Filter::default() }, vec![&old]),
            (Filter { since: Some(bench.now), label: word("l"), ..Filter::default() }, vec![&new]),
            (Filter { since: Some(bench.now), kind: word("a"), ..Filter::default() }, vec![]),
            (Filter { kind: word("b"), status: Some(Status::Running), ..Filter::default() }, vec![]),
        ];
        for (filter, expected) in cases {
            for page in [1, 7, 1_000] {
                assert_eq!(bench.found(&filter, page).iter().collect::<Vec<_>>(), expected, "{filter:?}");
            }
        }
        let all = bench.found(&Filter { kind: word("b"), ..Filter::default() }, 7);
        assert_eq!(all, others.into_iter().rev().collect::<Vec<_>>());
        let filter = Filter { label: word("l"), ..Filter::default() };
        let jobs = bench.jobs();
        for cursor in [&b"q00"[..], b"l6", b"x", b"n6e0000000000000001"] {
            let error = jobs.view().list(&filter, cursor, 1, None);
            assert!(error.is_err() || cursor[0] == b'n', "{}", cursor.escape_ascii());
        }
    });
}
