//! Progress, and attempts that go on from it.

use super::*;
use crate::jobs::checkpoint::TaskResult;

/// Three tasks, of which the last reads what the second wrote.
const TASKS: &str = r#""tasks":[{"task_number":1,"command":"a"},{"task_number":2,"command":"b"},
    {"task_number":3,"command":"c","input_from_task":2}]"#;

impl Bench<'_> {
    fn submit_tasks(&mut self, more: &str, terms: &str) -> Id {
        self.submit(&format!(r#"{{"plan":{{{more}{TASKS}}}{terms}}}"#))
    }

    /// The worker's report that tasks are finished, each with how much it wrote to its stdout.
    fn finish_tasks(&mut self, job: &Job, tasks: &[(u32, u64)]) {
        let done = |(task_number, stdout_bytes): &(u32, u64)| TaskResult {
            task_number: *task_number,
            stdout_bytes: *stdout_bytes,
            ..TaskResult::default()
        };
        let tasks: Vec<TaskResult> = tasks.iter().map(done).collect();
        let json = serde_json::json!({ "tasks": tasks }).to_string();
        self.command(|jobs| jobs.progress(job.id.as_bytes(), job.epoch, json.as_bytes())).unwrap();
    }

    fn write(&mut self, job: &Job, task: u32, bytes: &[u8]) {
        self.command(|jobs| jobs.append(job.id.as_bytes(), job.epoch, Stream::Stdout, task, bytes)).unwrap();
    }

    fn claimed_json(&mut self, job: &Job) -> serde_json::Value {
        serde_json::from_str(&self.jobs().view().claimed_json(job).unwrap()).unwrap()
    }

    fn stdout(&mut self, job: &Job) -> (String, u64) {
        let jobs = self.jobs();
        let (bytes, totals) =
            (jobs.view().output(&job.id, Stream::Stdout), jobs.view().output_totals(&job.id, Stream::Stdout));
        (String::from_utf8(bytes.unwrap()).unwrap(), totals.unwrap().written)
    }
}

#[test]
fn an_attempt_goes_on_where_the_one_before_was_and_keeps_what_it_wrote() {
    with_bench(|bench| {
        let id = bench.submit_tasks(r#""idempotent_tasks":true,"#, r#","attempts":2"#);
        let first = bench.claim("w").unwrap();
        assert!(bench.claimed_json(&first).get("progress").is_none());
        bench.write(&first, 1, b"one");
        bench.write(&first, 2, b"two");
        bench.write(&first, 3, b"half of thr");
        bench.finish_tasks(&first, &[(1, 3)]);
        // Its lease runs out.
        bench.pass(30_000);
        let second = bench.claim("v").unwrap();
        assert_eq!(second.losses, 1);
        assert_eq!(bench.claimed_json(&second)["progress"]["tasks"][0]["task_number"], 1);
        assert_eq!(bench.stdout(&second), ("one".to_owned(), 3));
        bench.assert_sound();
        bench.write(&second, 2, b"two");
        bench.finish_tasks(&second, &[(1, 3), (2, 3)]);
        bench.command(|jobs| jobs.fail(id.as_bytes(), second.epoch, BAD, Failure::default())).unwrap();
        bench.pass(10_000);
        let third = bench.claim("v").unwrap();
        // The third task reads what the second wrote: that one runs again.
        assert_eq!(bench.stdout(&third), ("one".to_owned(), 3));
        bench.command(|jobs| jobs.fail(id.as_bytes(), third.epoch, BAD, Failure::default())).unwrap();
        bench.command(|jobs| jobs.retry(id.as_bytes())).unwrap();
        let fourth = bench.claim("v").unwrap();
        assert_eq!(bench.claimed_json(&fourth)["progress"]["tasks"][1]["task_number"], 2);
        assert_eq!(bench.stdout(&fourth), ("one".to_owned(), 3));
        bench.assert_sound();
    });
}

#[test]
fn who_watches_a_job_sees_progress_of_the_same_length_change() {
    with_bench(|bench| {
        let job = bench.submit(r#"{"kind":"a"}"#);
        bench.claim("w");
        let mut stamps = Vec::new();
        for letter in ["x", "y"] {
            let progress = format!("\"{}\"", letter.repeat(1_000));
            bench.command(|jobs| jobs.progress(job.as_bytes(), 1, progress.as_bytes())).unwrap();
            stamps.push(bench.jobs().view().job_stamp(&job).unwrap());
        }
        assert_ne!(stamps[0], stamps[1]);
        let error = bench.command(|jobs| jobs.progress(job.as_bytes(), 1, &[b'0'; MAX_BODY_BYTES + 1]));
        let error = error.unwrap_err().to_string();
        assert_eq!(error, "ERR progress has 1048577 bytes, at most 1048576 are taken");
        bench.assert_sound();
    });
}

#[test]
fn without_idempotent_tasks_and_for_list_workers_an_attempt_begins_anew() {
    with_bench(|bench| {
        for (more, by_list) in [("", false), (r#""idempotent_tasks":true,"#, true)] {
            bench.submit_tasks(more, r#","retention_ms":0"#);
            let first = bench.claim("w").unwrap();
            bench.write(&first, 1, b"one");
            bench.finish_tasks(&first, &[(1, 3)]);
            bench.pass(30_000);
            assert!(bench.job(&first.id).progress.is_some());
            let second = match by_list {
                true => bench.command(|jobs| jobs.claim_for_list(&id("ready"), &id("v"), 1)).unwrap(),
                false => bench.claim("v"),
            };
            let second = second.unwrap();
            assert_eq!((&second.progress, second.has_output), (&None, false));
            assert_eq!(bench.stdout(&second), (String::new(), 0));
            bench.assert_sound();
            bench.command(|jobs| jobs.complete(second.id.as_bytes(), second.epoch, OK)).unwrap();
        }
    });
}

#[test]
fn a_plan_that_took_the_place_of_another_has_no_finished_tasks() {
    with_bench(|bench| {
        let plan = |command: &str| {
            let text = format!(r#"{{"plan_id":"p","idempotent_tasks":true,{TASKS}}}"#);
            plan::Plan::parse(text.replacen("\"a\"", command, 1).as_bytes()).unwrap()
        };
        plan_store::submit(&mut bench.batch, &plan("\"a\""), false, bench.now).unwrap();
        let job = bench.submit(r#"{"plan_id":"p"}"#);
        let first = bench.claim("w").unwrap();
        bench.finish_tasks(&first, &[(1, 0)]);
        bench.command(|jobs| jobs.fail(job.as_bytes(), first.epoch, BAD, Failure::default())).unwrap();
        bench.pass(1);
        plan_store::delete(&mut bench.batch, b"p").unwrap();
        plan_store::submit(&mut bench.batch, &plan("\"z\""), false, bench.now).unwrap();
        bench.command(|jobs| jobs.retry(job.as_bytes())).unwrap();
        assert_eq!(bench.claim("w").unwrap().progress, None);
        bench.assert_sound();
    });
}

#[test]
fn of_an_output_whose_middle_was_dropped_the_rest_of_finished_tasks_stays_in_its_place() {
    with_bench(|bench| {
        bench.settings.max_output = 20_000;
        bench.submit_tasks(r#""idempotent_tasks":true,"#, "");
        let first = bench.claim("w").unwrap();
        // Head: 10,000 bytes of the first task, in pieces that chunks keep apart.
        let write = |bench: &mut Bench<'_>, job: &Job, task: u32, letter: &str, count: usize| {
            for _ in 0..count {
                bench.write(job, task, letter.repeat(4_000).as_bytes());
            }
        };
        write(bench, &first, 1, "a", 4);
        write(bench, &first, 3, "c", 6);
        bench.finish_tasks(&first, &[(1, 16_000)]);
        bench.pass(30_000);
        let second = bench.claim("w").unwrap();
        let (text, written) = bench.stdout(&second);
        assert_eq!((text.len(), written), (8_000, 16_000), "the head of what the first task wrote");
        bench.assert_sound();
        write(bench, &second, 2, "b", 4);
        let (text, written) = bench.stdout(&second);
        assert_eq!((text.len(), written), (20_000, 32_000));
        bench.assert_sound();
        let job = bench.job(&second.id);
        let log = bench.jobs().view().log(&job, LogCursor::default()).unwrap();
        let places: Vec<_> = log.pieces.iter().map(|piece| (piece.task, piece.offset)).collect();
        assert_eq!(places, [(1, 0), (1, 4_000), (2, 20_000), (2, 24_000), (2, 28_000)]);
    });
}

#[test]
fn what_is_left_of_a_whole_output_has_room_for_a_head_again() {
    with_bench(|bench| {
        bench.settings.max_output = 20_000;
        bench.submit_tasks(r#""idempotent_tasks":true,"#, "");
        let first = bench.claim("w").unwrap();
        bench.write(&first, 3, &[b'c'; 9_000]);
        bench.write(&first, 1, &[b'a'; 3_000]);
        bench.finish_tasks(&first, &[(1, 3_000)]);
        bench.pass(30_000);
        let second = bench.claim("w").unwrap();
        for _ in 0..8 {
            bench.write(&second, 2, &[b'b'; 3_500]);
        }
        let (text, written) = bench.stdout(&second);
        assert_eq!(written, 31_000);
        assert!(text.starts_with(&("a".repeat(3_000) + &"b".repeat(7_000))), "a head of half of what is kept");
        bench.assert_sound();
    });
}
