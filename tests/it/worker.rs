//! `agq worker` with real programs: results, failures, timeouts, cancels, drains, and what a killed worker leaves.

use std::io::Write;
use std::path::{Path, PathBuf};

use rustix::process::Signal;
use serde_json::Value;

use crate::support::program::{Running, json, output, stdout};
use crate::support::server::Server;
use crate::support::world::World;

#[test]
fn a_plan_of_real_programs_runs_and_its_results_stay() {
    let world = World::new();
    let _worker = world.worker(&["--concurrency", "2"]);
    let job = world.submit(
        r#"[{"task_number":1,"command":"printf","args":["{{input.text}}"]},
            {"task_number":2,"command":"tr","args":["a-z","A-Z"],"input_from_task":1},
            {"task_number":3,"command":"printenv","args":["AGQ_JOB_ID"]}]"#,
        &["--input", "text=abc"],
    );
    let (found, code) = world.wait(&job);
    assert_eq!((found["status"].as_str(), code), (Some("completed"), Some(0)), "{found}");
    let tasks = found["result"]["tasks"].as_array().unwrap();
    let numbers: Vec<_> =
        tasks.iter().map(|task| (task["exit_code"].as_i64(), task["stdout_bytes"].as_i64())).collect();
    assert_eq!(numbers, [(Some(0), Some(3)), (Some(0), Some(3)), (Some(0), Some(job.len() as i64 + 1))]);
    assert_eq!(stdout(world.dir(), &["job", "log", &job]), format!("abcABC{job}\n"));
    let (workers, _) = json(world.dir(), &["worker", "list", "--json"]);
    assert_eq!(workers[0]["worker_id"], found["worker_id"]);
}

#[test]
fn a_failing_task_ends_the_job_and_says_why() {
    let world = World::new();
    let mut worker = world.worker(&[]);
    let job = world.submit(
        r#"[{"task_number":1,"command":"sh","args":["-c","echo oops >&2; exit 3"]},
            {"task_number":2,"command":"true"}]"#,
        &[],
    );
    let (found, code) = world.wait(&job);
    assert_eq!((found["status"].as_str(), code), (Some("failed"), Some(3)), "{found}");
    assert_eq!(found["error"]["message"], "task 1 (sh) ended with exit code 3");
    assert_eq!(found["error"]["tasks"].as_array().unwrap().len(), 1);
    assert_eq!(stdout(world.dir(), &["job", "log", &job, "--stream", "stderr"]), "oops\n");
    worker.wait_for(r#"status="failed" exit_code=3 error="task 1 (sh) ended with exit code 3""#);
}

#[test]
fn a_task_that_runs_too_long_is_stopped() {
    let world = World::new();
    let _worker = world.worker(&[]);
    let job = world.submit(r#"[{"task_number":1,"command":"sleep","args":["1000"],"timeout_secs":1}]"#, &[]);
    let (found, _) = world.wait(&job);
    assert_eq!(found["status"], "failed");
    assert_eq!(found["error"]["tasks"][0]["signal"], 15, "{found}");
    assert!(found["error"]["message"].as_str().unwrap().contains("longer than its 1 s"), "{found}");
}

#[test]
fn a_cancelled_job_is_stopped_at_once() {
    let world = World::new();
    let mut worker = world.worker(&[]);
    let job = world.submit(r#"[{"task_number":1,"command":"sleep","args":["1000"]}]"#, &[]);
    worker.wait_for("running");
    stdout(world.dir(), &["job", "cancel", &job]);
    let (found, code) = world.wait(&job);
    assert_eq!((found["status"].as_str(), code), (Some("cancelled"), Some(1)), "{found}");
    assert!(!output(world.dir(), &["job", "cancel", "no-such-job"]).status.success());
}

#[test]
fn a_draining_worker_finishes_what_it_has_and_takes_nothing_new() {
    let world = World::new();
    let mut worker = world.worker(&[]);
    let fifo = world.dir().join("gate");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).unwrap();
    let input = format!("gate={}", fifo.display());
    let tasks = r#"[{"task_number":1,"command":"cat","args":["{{input.gate}}"]}]"#;
    let first = world.submit(tasks, &["--input", &input]);
    worker.wait_for("running");
    worker.signal(Signal::TERM);
    worker.wait_for("draining");
    let second = world.submit(tasks, &["--input", &input]);
    std::fs::OpenOptions::new().write(true).open(&fifo).unwrap().write_all(b"through").unwrap();
    let (status, _) = worker.end();
    assert!(status.success(), "{status}");
    assert_eq!(world.wait(&first).0["status"], "completed");
    assert_eq!(stdout(world.dir(), &["job", "log", &first]), "through");
    assert_eq!(json(world.dir(), &["job", "get", &second, "--json"]).0["status"], "pending");
}

#[test]
fn a_worker_that_is_told_twice_gives_its_jobs_back_without_a_loss() {
    let world = World::new();
    let mut worker = world.worker(&[]);
    let job = world.submit(r#"[{"task_number":1,"command":"sleep","args":["1000"]}]"#, &[]);
    worker.wait_for("running");
    worker.signal(Signal::TERM);
    worker.wait_for("draining");
    worker.signal(Signal::TERM);
    assert!(worker.end().0.success());
    let (found, _) = json(world.dir(), &["job", "get", &job, "--json"]);
    assert_eq!((found["status"].as_str(), found["losses"].as_i64()), (Some("pending"), Some(0)), "{found}");
}

#[test]
fn what_a_killed_worker_held_runs_again_once_its_lease_is_over() {
    let world = World::new();
    let mut first = world.worker(&["--lease", "1000"]);
    // The killed worker's program outlives it for a moment: nobody is left to stop it.
    let job = world.submit(
        r#"[{"task_number":1,"command":"sh","args":["-c",
            "if [ $AGQ_ATTEMPT = 1 ]; then exec sleep 20; else echo again; fi"]}]"#,
        &[],
    );
    first.wait_for("running");
    let _second = world.worker(&[]);
    first.signal(Signal::KILL);
    let (found, _) = world.wait(&job);
    assert_eq!((found["status"].as_str(), found["losses"].as_i64()), (Some("completed"), Some(1)), "{found}");
    assert_eq!(stdout(world.dir(), &["job", "log", &job]), "again\n");
}

#[test]
fn a_worker_goes_on_when_its_server_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::agq_in(dir.path(), &[]);
    let socket = format!("unix:{}", dir.path().join("test.sock").display());
    let mut worker = Running::start(dir.path(), &["worker", "--tools", "cat", "--server", &socket]);
    worker.wait_for("ready");
    let fifo = dir.path().join("gate");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).unwrap();
    let plan = dir.path().join("plan.json");
    std::fs::write(&plan, r#"{"tasks":[{"task_number":1,"command":"cat","args":["{{input.gate}}"]}]}"#).unwrap();
    let input = format!("gate={}", fifo.display());
    let submit = ["job", "submit", "--plan", plan.to_str().unwrap(), "--input", &input];
    let job = stdout(dir.path(), &submit).trim().to_owned();
    worker.wait_for("running");
    server.kill();
    let _server = Server::agq_in(dir.path(), &[]);
    std::fs::OpenOptions::new().write(true).open(&fifo).unwrap().write_all(b"kept").unwrap();
    let (found, _) = json(dir.path(), &["job", "wait", &job, "--timeout", "60", "--json"]);
    assert_eq!((found["status"].as_str(), found["losses"].as_i64()), (Some("completed"), Some(0)), "{found}");
    assert_eq!(stdout(dir.path(), &["job", "log", &job]), "kept");
}

#[test]
fn jobs_of_a_kind_and_those_that_need_more_are_left_to_others() {
    let world = World::new();
    let submit = |args: &[&str]| stdout(world.dir(), &[&["job", "submit"], args].concat()).trim().to_owned();
    let kind = submit(&["--kind", "mail"]);
    let _worker = world.worker(&[]);
    let job = world.submit(r#"[{"task_number":1,"command":"true","args":[]}]"#, &[]);
    assert_eq!(world.wait(&job).0["status"], "completed");
    let (found, _) = json(world.dir(), &["job", "get", &kind, "--json"]);
    assert_eq!((found["status"].as_str(), found["attempt"].as_u64()), (Some("pending"), Some(0)), "{found}");
}

fn fifo(world: &World, name: &str) -> PathBuf {
    let path = world.dir().join(name);
    rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).unwrap();
    path
}

/// Asks for a job again and again until it is as wanted.
fn until(world: &World, job: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    for _ in 0..1_000 {
        let (found, _) = json(world.dir(), &["job", "get", job, "--json"]);
        if wanted(&found) {
            return found;
        }
    }
    panic!("job {job} never became as wanted");
}

#[test]
fn a_cancel_stops_all_tasks_that_run_side_by_side() {
    let world = World::new();
    let _worker = world.worker(&["--task-concurrency", "2"]);
    let (one, two) = (fifo(&world, "one"), fifo(&world, "two"));
    let task = |number: u32, gate: &Path| {
        format!(
            r#"{{"task_number":{number},"command":"sh","needs":[],"args":["-c","echo up > {}; exec sleep 1000"]}}"#,
            gate.display()
        )
    };
    let job = world.submit(&format!("[{},{}]", task(1, &one), task(2, &two)), &[]);
    for gate in [&one, &two] {
        assert_eq!(std::fs::read_to_string(gate).unwrap(), "up\n");
    }
    stdout(world.dir(), &["job", "cancel", &job]);
    let (found, _) = world.wait(&job);
    assert_eq!(found["status"], "cancelled", "{found}");
    let signals: Vec<_> =
        found["error"]["tasks"].as_array().unwrap().iter().map(|task| task["signal"].as_i64()).collect();
    assert_eq!(signals, [Some(15), Some(15)], "{found}");
}

#[test]
fn what_a_killed_worker_finished_does_not_run_again() {
    let world = World::new();
    let mut first = world.worker(&["--lease", "1000"]);
    let (runs, plan) = (world.dir().join("runs"), world.dir().join("idempotent.json"));
    // The first task leaves a line for each time that it runs; the second waits for ever the first time.
    let tasks = format!(
        r#"{{"allow_shell_characters":true,"idempotent_tasks":true,"tasks":[
        {{"task_number":1,"command":"sh","args":["-c","echo ran >> {0}; echo one"]}},
        {{"task_number":2,"command":"sh","args":["-c","echo half; if [ $AGQ_ATTEMPT = 1 ]; then exec sleep 20; fi; echo two"]}}]}}"#,
        runs.display()
    );
    std::fs::write(&plan, tasks).unwrap();
    let submit = ["job", "submit", "--plan", plan.to_str().unwrap()];
    let job = stdout(world.dir(), &submit).trim().to_owned();
    first.wait_for("running");
    until(&world, &job, |found| found["progress"]["tasks"][0]["task_number"] == 1);
    first.signal(Signal::KILL);
    let _second = world.worker(&[]);
    let (found, _) = world.wait(&job);
    assert_eq!((found["status"].as_str(), found["losses"].as_i64()), (Some("completed"), Some(1)), "{found}");
    assert_eq!(std::fs::read_to_string(&runs).unwrap(), "ran\n");
    assert_eq!(stdout(world.dir(), &["job", "log", &job]), "one\nhalf\ntwo\n");
    let bytes: Vec<_> =
        found["result"]["tasks"].as_array().unwrap().iter().map(|task| task["stdout_bytes"].as_i64()).collect();
    assert_eq!(bytes, [Some(4), Some(9)], "{found}");
}

#[test]
fn what_an_attempt_finished_stays_when_another_task_fails() {
    let world = World::new();
    let _worker = world.worker(&[]);
    let plan = world.dir().join("idempotent.json");
    let tasks = r#"{"allow_shell_characters":true,"idempotent_tasks":true,"tasks":[
        {"task_number":1,"command":"sh","args":["-c","echo attempt $AGQ_ATTEMPT"]},
        {"task_number":2,"command":"sh","args":["-c","test $AGQ_ATTEMPT = 2"]}]}"#;
    std::fs::write(&plan, tasks).unwrap();
    let job = stdout(world.dir(), &["job", "submit", "--plan", plan.to_str().unwrap()]).trim().to_owned();
    assert_eq!(world.wait(&job).0["status"], "failed");
    stdout(world.dir(), &["job", "retry", &job]);
    assert_eq!(world.wait(&job).0["status"], "completed");
    assert_eq!(stdout(world.dir(), &["job", "log", &job]), "attempt 1\n");
}

#[cfg(target_os = "linux")]
#[test]
fn a_sandbox_bounds_programs_and_leaves_their_errors_as_they_are() {
    let world = World::new();
    let options = "no-new-privs,private-tmp,cpu=60,memory=1GiB,file-size=1MiB,open-files=50,processes=100000";
    let _worker = world.worker(&["--sandbox", options]);
    let script = "grep NoNewPrivs /proc/self/status; ulimit -t; ulimit -v; ulimit -n; ls -ld $TMPDIR; touch $TMPDIR/x";
    let tasks = format!(
        r#"[{{"task_number":1,"command":"sh","args":["-c","{script}"]}},
            {{"task_number":2,"command":"printenv","args":["TMPDIR"]}},
            {{"task_number":3,"command":"no-such-program"}}]"#
    );
    let job = world.submit(&tasks, &[]);
    let (found, _) = world.wait(&job);
    assert_eq!(found["error"]["message"], "task 3 (no-such-program) ended with exit code 127", "{found}");
    let text = stdout(world.dir(), &["job", "log", &job, "--stream", "stderr"]);
    assert_eq!(text, "agq: cannot start 'no-such-program': there is no such program on this worker\n");
    let text = stdout(world.dir(), &["job", "log", &job]);
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("NoNewPrivs:\t1"));
    let limits: Vec<_> = lines.by_ref().take(3).collect();
    assert_eq!(limits, ["60", "1048576", "50"]);
    assert!(lines.next().unwrap().starts_with("drwx------"), "{text:.200}");
    let dir = Path::new(lines.next().unwrap());
    assert!(dir.is_absolute() && !dir.exists(), "{}", dir.display());
    // A program that goes too far is stopped by a signal that says so.
    let job = world.submit(
        r#"[{"task_number":1,"command":"sh","args":["-c","exec dd if=/dev/zero of=$TMPDIR/big bs=2000000 count=2"]}]"#,
        &[],
    );
    assert_eq!(world.wait(&job).0["error"]["tasks"][0]["signal"], 25);
    for (option, why) in [("network=none", "expected no-new-privs"), ("cpu=1,cpu=2", "--sandbox says cpu=1 and cpu=2")]
    {
        let refused = output(world.dir(), &["worker", "--sandbox", option]);
        assert!(!refused.status.success() && String::from_utf8_lossy(&refused.stderr).contains(why), "{refused:?}");
    }
}
