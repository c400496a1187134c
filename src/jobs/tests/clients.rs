//! What clients may do twice, do half, or look at in pieces.

use super::*;

#[test]
fn a_heartbeat_that_names_jobs_lengthens_no_other_lease() {
    with_bench(|bench| {
        let (known, lost) = (bench.submit(r#"{"kind":"a"}"#), bench.submit(r#"{"kind":"b"}"#));
        bench.claim("w");
        bench.claim("w");
        bench.pass(20_000);
        // The answer of the second claim never reached the worker.
        bench.command(|jobs| jobs.heartbeat(&id("w"), Some(&[(known.clone(), 1)]), &|_| true)).unwrap();
        bench.pass(10_000);
        assert_eq!((bench.job(&known).status, bench.job(&lost).status), (Status::Running, Status::Pending));
        bench.command(|jobs| jobs.heartbeat(&id("w"), Some(&[]), &|_| true)).unwrap();
        bench.pass(20_000);
        assert_eq!(bench.job(&known).status, Status::Pending, "it named none");
        bench.assert_sound();
    });
}

#[test]
fn a_worker_is_told_when_an_attempt_took_too_long() {
    with_bench(|bench| {
        let job = bench.submit(r#"{"kind":"a","timeout_ms":5000}"#);
        bench.claim("w");
        bench.touched = Touched { wanted: true, ..Touched::default() };
        bench.pass(5_000);
        assert_eq!(bench.job(&job).reason, Reason::Retry);
        let touched = std::mem::take(&mut bench.touched);
        let worker = Touch::Worker(bytes::Bytes::from_static(b"w"));
        assert!(touched.things.contains(&worker), "{touched:?}");
        let tidings = bench.command(|jobs| jobs.heartbeat(&id("w"), Some(&[(job.clone(), 1)]), &|_| true)).unwrap();
        assert_eq!(tidings.stale, std::slice::from_ref(&job));
    });
}

#[test]
fn the_same_id_with_other_terms_is_refused_and_with_the_same_is_the_same() {
    with_bench(|bench| {
        let first = bench.submit(r#"{"job_id":"j","kind":"a","payload":{"n":1},"priority":7,"meta":[1]}"#);
        let again =
            bench.submit(r#"{"meta":[1],"priority":7,"payload":{"n":1},"kind":"a","job_id":"j","queue":"ready"}"#);
        assert_eq!(first, again);
        for other in [
            r#"{"job_id":"j","kind":"a","payload":{"n":1},"priority":8,"meta":[1]}"#,
            r#"{"job_id":"j","kind":"a","payload":{"n":1},"priority":7,"meta":[2]}"#,
            r#"{"job_id":"j","kind":"a","payload":{"n":1},"priority":7,"meta":[1],"delay_ms":5}"#,
            r#"{"job_id":"j","kind":"a","payload":{"n":2},"priority":7,"meta":[1]}"#,
            r#"{"job_id":"j","kind":"b","payload":{"n":1},"priority":7,"meta":[1]}"#,
        ] {
            assert_eq!(bench.refused(other), "ERR Job j exists with other content: choose another job_id");
        }
        let plan = r#""plan":{"tasks":[{"task_number":1,"command":"echo","args":["{{input.x}}"]}]}"#;
        let mut act = |inputs: &str, terms: &str| {
            let text = format!("{{\"action_id\":\"a\",{plan},\"inputs\":{inputs}{terms}}}");
            let submit = SubmitAction::parse(text.as_bytes()).unwrap();
            bench.command(|jobs| jobs.submit_action(&submit)).map_err(|error| error.to_string())
        };
        let action = act(r#"[{"x":1},{"x":2}]"#, "").unwrap();
        assert_eq!(act(r#"[{"x":1},{"x":2}]"#, "").unwrap(), action);
        for (inputs, terms) in [(r#"[{"x":1},{"x":3}]"#, ""), (r#"[{"x":1},{"x":2}]"#, r#","priority":1"#)] {
            let error = act(inputs, terms).unwrap_err();
            assert_eq!(error, "ERR Action a exists with other content: choose another action_id");
        }
        bench.assert_sound();
    });
}

#[test]
fn abandons_count_only_in_a_row() {
    with_bench(|bench| {
        let plan = r#"{"job_id":"j","plan":{"tasks":[{"task_number":1,"command":"true"}]}}"#;
        let job = bench.submit(plan);
        let abandon = |bench: &mut Bench<'_>| {
            let claimed = bench.command(|jobs| jobs.claim_for_list(&id("ready"), &id("w"), 1)).unwrap().unwrap();
            bench.command(|jobs| jobs.abandon_list_claim(&claimed.id, claimed.epoch)).unwrap();
        };
        abandon(bench);
        abandon(bench);
        // A claim of another kind, given back, stands between.
        let claimed = bench.claim("v").unwrap();
        bench.command(|jobs| jobs.release(job.as_bytes(), claimed.epoch, None)).unwrap();
        abandon(bench);
        abandon(bench);
        assert_eq!(bench.job(&job).losses, 0);
        abandon(bench);
        assert_eq!(bench.job(&job).losses, 1);
        bench.assert_sound();
    });
}

#[test]
fn a_page_of_a_list_goes_on_where_the_last_ended() {
    with_bench(|bench| {
        let ids: Vec<Id> = (0..250).map(|n| bench.submit(&format!("{{\"kind\":\"k{}\"}}", n % 50))).collect();
        let filter = list::Filter { kind: Some("k49".to_owned()), ..list::Filter::default() };
        let (mut found, mut cursor) = (Vec::new(), "0".to_owned());
        loop {
            let page = bench.jobs().view().list(&filter, cursor.as_bytes(), 2, None).unwrap();
            assert!(page.jobs.len() <= 2);
            found.extend(page.jobs.into_iter().map(|job| job.id));
            let Some(next) = page.next else { break };
            cursor = next;
        }
        assert_eq!(found, ids.iter().skip(49).step_by(50).rev().cloned().collect::<Vec<_>>());
        let newest = bench.jobs().view().newest(3, 2).unwrap();
        assert_eq!(newest.into_iter().map(|job| job.id).collect::<Vec<_>>(), [ids[246].clone(), ids[245].clone()]);
    });
}

#[test]
fn who_is_not_shown_a_job_meets_neither_it_nor_its_place() {
    with_bench(|bench| {
        let submit = |bench: &mut Bench<'_>, queue: &str| {
            bench.submit(&format!(r#"{{"kind":"k","queue":"{queue}","key":"{}"}}"#, "x".repeat(128)))
        };
        let (secret, open) = (format!("a{}", "s".repeat(127)), "open");
        let first = submit(bench, open);
        let hidden: Vec<Id> = (0..5).map(|_| submit(bench, &secret)).collect();
        let last = submit(bench, open);
        let shows = |queue: &Id| &**queue == open;
        let jobs = bench.jobs();
        let view = jobs.view();
        let page = |filter: &Filter, cursor: &str, limit, most| {
            let page = view.list_within(filter, cursor.as_bytes(), (limit, most), Some(&shows)).unwrap();
            (page.jobs.into_iter().map(|job| job.id).collect::<Vec<_>>(), page.next, page.next_is_hidden)
        };
        let all = Filter::default();
        // They do not count, and the cursor is that of the last one that was shown.
        let (ids, next, is_hidden) = page(&all, "0", 1, 100);
        assert_eq!((ids, is_hidden), (vec![last.clone()], false));
        assert_eq!(page(&all, &next.unwrap(), 2, 100), (vec![first.clone()], None, false));
        // A call that ends among them makes its way all the same, and says that its place is to be hidden.
        for status in [None, Some(Status::Pending)] {
            let filter = Filter { status, ..Filter::default() };
            let (mut found, mut cursor, mut calls) = (Vec::new(), "0".to_owned(), 0);
            loop {
                let (ids, next, is_hidden) = page(&filter, &cursor, 10, 3);
                found.extend(ids);
                calls += 1;
                let Some(next) = next else { break };
                assert!(is_hidden && next.len() <= LONGEST_CURSOR, "{next}");
                cursor = next;
            }
            found.sort();
            assert_eq!((found, calls), (vec![first.clone(), last.clone()], 3));
        }
        // Nor is anything looked at for a queue that is hidden.
        let queue = Filter { queue: Some(id(&secret)), ..Filter::default() };
        assert_eq!(page(&queue, "0", 1, 1), (vec![], None, false));
        assert_eq!(hidden.len(), view.list(&queue, b"0", 10, None).unwrap().jobs.len());
    });
}

#[test]
fn lists_are_paged_by_status_queue_and_action() {
    with_bench(|bench| {
        let all: Vec<Id> =
            (0..5).map(|n| bench.submit(&format!(r#"{{"kind":"k{n}","labels":["l{}"]}}"#, n % 2))).collect();
        let other = bench.submit(r#"{"kind":"a","queue":"other"}"#);
        let jobs = bench.jobs();
        let view = jobs.view();
        let ids = |page: &Page| page.jobs.iter().map(|job| job.id.clone()).collect::<Vec<_>>();
        let filter = Filter { status: Some(Status::Pending), queue: Some(id("ready")), ..Filter::default() };
        let first = view.list(&filter, b"0", 3, None).unwrap();
        assert_eq!(ids(&first), all[..3]);
        let rest = view.list(&filter, first.next.unwrap().as_bytes(), 3, None).unwrap();
        assert_eq!((ids(&rest), rest.next), (all[3..].to_vec(), None));
        let newest = view.newest(0, 2).unwrap();
        assert_eq!(newest.iter().map(|job| &job.id).collect::<Vec<_>>(), [&other, &all[4]]);
        let labelled = Filter { label: Some("l1".to_owned()), ..Filter::default() };
        assert_eq!(ids(&view.list(&labelled, b"0", 10, None).unwrap()), [all[3].clone(), all[1].clone()]);
        assert!(view.list(&filter, b"zz", 3, None).is_err());
    });
}
