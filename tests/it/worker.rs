//! `agq worker` with real programs: results, failures, timeouts, cancels, drains, and what a killed worker leaves.

use std::io::Write;
use std::path::{Path, PathBuf};

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::program::{Running, json, output, stdout};
use crate::support::server::Server;

/// A server and the folder it serves.
struct World {
    dir: TempDir,
    _server: Server,
}

impl World {
    fn new() -> World {
        let dir = tempfile::tempdir().unwrap();
        let server = Server::agq_in(dir.path(), &[]);
        World { dir, _server: server }
    }

    fn dir(&self) -> &Path {
        self.dir.path()
    }

    fn worker(&self, args: &[&str]) -> Running {
        let mut worker = Running::start(self.dir(), &[&["worker", "--tools", "sh"], args].concat());
        worker.wait_for("ready");
        worker
    }

    /// Submits a plan of these tasks and returns the job's id.
    fn submit(&self, tasks: &str, more: &[&str]) -> String {
        let plan = self.plan(tasks);
        let plan = plan.to_str().unwrap();
        stdout(self.dir(), &[&["job", "submit", "--plan", plan], more].concat()).trim().to_owned()
    }

    fn plan(&self, tasks: &str) -> PathBuf {
        let path = self.dir().join("plan.json");
        std::fs::write(&path, format!(r#"{{"allow_shell_characters":true,"tasks":{tasks}}}"#)).unwrap();
        path
    }

    fn wait(&self, job: &str) -> (Value, Option<i32>) {
        json(self.dir(), &["job", "wait", job, "--timeout", "60", "--json"])
    }
}

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
    let _worker = world.worker(&[]);
    let job = world.submit(
        r#"[{"task_number":1,"command":"sh","args":["-c","echo oops >&2; exit 3"]},
            {"task_number":2,"command":"true"}]"#,
        &[],
    );
    let (found, code) = world.wait(&job);
    assert_eq!((found["status"].as_str(), code), (Some("failed"), Some(1)), "{found}");
    assert_eq!(found["error"]["message"], "task 1 (sh) ended with exit code 3");
    assert_eq!(found["error"]["tasks"].as_array().unwrap().len(), 1);
    assert_eq!(stdout(world.dir(), &["job", "log", &job, "--stream", "stderr"]), "oops\n");
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
