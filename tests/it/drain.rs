//! A server that drains: jobs that run may end, none is granted, and nothing is lost.

use std::path::Path;

use rustix::process::Signal;

use crate::service::Manager;
use crate::support::program::{Running, agq, json, output, stdout};
use crate::support::wire::Wire;

const SUBMIT: &str = r#"JOB.SUBMIT {"kind":"k","payload":1}"#;

fn serve(dir: &Path, more: &[&str]) -> Running {
    let mut running = Running::spawn(command(dir, more));
    running.wait_for("ready");
    running
}

fn command(dir: &Path, more: &[&str]) -> std::process::Command {
    let socket = dir.join("s").display().to_string();
    agq(dir, &[&["serve", "--bind", "", "--socket", &socket, "--no-auth"], more].concat())
}

fn connect(dir: &Path) -> Wire {
    Wire::connect(&dir.join("s")).unwrap()
}

fn shown(wire: &mut Wire, command: &str) -> String {
    wire.call(command).unwrap().to_string()
}

/// The id and the epoch of a job that is claimed.
fn claim(wire: &mut Wire) -> (String, u64) {
    let told = shown(wire, "JOB.CLAIM w QUEUES ready");
    let quoted = told.replace('\\', "");
    let text = &quoted[quoted.find('{').unwrap_or_else(|| panic!("{told}"))..=quoted.rfind('}').unwrap()];
    let job: serde_json::Value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {told}"));
    (job["job_id"].as_str().unwrap().to_owned(), job["epoch"].as_u64().unwrap())
}

#[test]
fn a_signal_lets_the_jobs_that_run_end_and_the_service_manager_wait() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notify.sock");
    let manager = Manager::new(&path);
    let mut command = command(dir.path(), &["--drain-time", "600"]);
    command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "200000");
    let mut running = Running::spawn(command);
    running.wait_for("ready");
    let mut wire = connect(dir.path());
    shown(&mut wire, SUBMIT);
    shown(&mut wire, SUBMIT);
    let (job, epoch) = claim(&mut wire);
    running.signal(Signal::TERM);
    let line = running.wait_for("SIGTERM");
    assert!(line.contains("draining for 600 s at most"), "{line}");
    let told = manager.wait_for("STOPPING=1");
    assert!(told.contains("STATUS=draining: 1 still running"), "{told}");
    let more = told.lines().find_map(|line| line.strip_prefix("EXTEND_TIMEOUT_USEC=")).unwrap();
    assert!((600_000_000..=630_000_000).contains(&more.parse::<u64>().unwrap()), "{told}");
    // It waits for nothing but the job, and is heard of.
    manager.wait_for("WATCHDOG=1");
    let mut other = connect(dir.path());
    let info = shown(&mut other, "INFO server");
    assert!(info.contains("draining:1") && info.contains("draining_jobs:1"), "{info}");
    assert!(info.contains("shutdown_in_milliseconds:"), "{info}");
    assert_eq!(shown(&mut other, "JOB.CLAIM w QUEUES ready"), "*0");
    assert!(shown(&mut other, "SHUTDOWN ABORT").contains("begun by a signal"));
    shown(&mut other, "SET a 1");
    assert_eq!(shown(&mut other, &format!("JOB.COMPLETE {job} {epoch} 1")), "+OK");
    assert!(manager.wait_for("STOPPING=1").contains("STATUS=stopping"));
    manager.wait_for("EXTEND_TIMEOUT_USEC=");
    let (status, _) = running.end();
    assert!(status.success());

    let running = serve(dir.path(), &[]);
    let mut wire = connect(dir.path());
    assert_eq!(shown(&mut wire, "GET a"), "\"1\"");
    assert!(shown(&mut wire, &format!("JOB.GET {job}")).contains("completed"));
    assert_ne!(claim(&mut wire).0, job, "the one that was not granted");
    running.signal(Signal::TERM);
    assert!(running.end().0.success(), "without a time a signal stops at once, whatever runs");
}

#[test]
fn a_second_signal_stops_at_once_and_the_job_can_be_reported_to_the_next_server() {
    let dir = tempfile::tempdir().unwrap();
    let mut running = serve(dir.path(), &["--drain-time", "600"]);
    let mut wire = connect(dir.path());
    shown(&mut wire, SUBMIT);
    let (job, epoch) = claim(&mut wire);
    running.signal(Signal::INT);
    running.wait_for("draining for 600 s");
    running.signal(Signal::TERM);
    running.wait_for("SIGTERM: stopping");
    assert!(running.end().0.success());
    let running = serve(dir.path(), &[]);
    let mut wire = connect(dir.path());
    assert_eq!(shown(&mut wire, &format!("JOB.COMPLETE {job} {epoch} 1")), "+OK");
    running.signal(Signal::TERM);
    assert!(running.end().0.success());
}

#[test]
fn the_command_line_drains_takes_back_and_waits_for_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let running = serve(dir.path(), &[]);
    let mut wire = connect(dir.path());
    shown(&mut wire, SUBMIT);
    let (job, epoch) = claim(&mut wire);
    let refused = output(dir.path(), &["shutdown", "--abort"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("No shutdown in progress"), "{refused:?}");
    let mut draining = Running::start(dir.path(), &["shutdown", "--drain", "--timeout", "10m"]);
    draining.wait_for("draining");
    // It is asked once it is said.
    while !shown(&mut wire, "INFO server").contains("draining:1") {
        std::thread::yield_now();
    }
    assert!(stdout(dir.path(), &["shutdown", "--abort"]).contains("taken back"));
    draining.wait_for("the drain was taken back");
    assert_eq!(draining.end().0.code(), Some(1));
    assert!(shown(&mut wire, "INFO server").contains("draining:0"));
    let draining = Running::start(dir.path(), &["shutdown", "--drain", "--json"]);
    while !shown(&mut wire, "INFO server").contains("draining:1") {
        std::thread::yield_now();
    }
    assert_eq!(shown(&mut wire, &format!("JOB.COMPLETE {job} {epoch} 1")), "+OK");
    let (status, told) = draining.end();
    assert!(status.success() && told.contains(r#""stopped":true"#), "{told}");
    // It has let go of the folder by now.
    assert!(output(dir.path(), &["check"]).status.success());
    assert!(running.end().0.success());
    assert_eq!(json(dir.path(), &["check", "--json"]).1, Some(0));
}

#[test]
fn a_worker_ends_what_it_runs_while_the_server_drains() {
    let dir = tempfile::tempdir().unwrap();
    let (begun, go) = (dir.path().join("begun"), dir.path().join("go"));
    let running = serve(dir.path(), &["--drain-time", "600"]);
    let worker = Running::start(dir.path(), &["worker", "--concurrency", "1"]);
    let script = format!("echo > {}; while [ ! -e {} ]; do sleep 0.02; done; echo done", begun.display(), go.display());
    let first = stdout(dir.path(), &["add", "--", "sh", "-c", &script]);
    let second = stdout(dir.path(), &["add", "--", "true"]);
    while !begun.exists() {
        std::thread::yield_now();
    }
    running.signal(Signal::TERM);
    let mut wire = connect(dir.path());
    while !shown(&mut wire, "INFO server").contains("draining_jobs:1") {
        std::thread::yield_now();
    }
    std::fs::write(&go, "").unwrap();
    assert!(running.end().0.success());
    let running = serve(dir.path(), &[]);
    let mut wire = connect(dir.path());
    let of = |wire: &mut Wire, job: &str| shown(wire, &format!("JOB.GET {}", job.trim()));
    assert!(of(&mut wire, &first).contains("completed"), "{}", of(&mut wire, &first));
    assert!(stdout(dir.path(), &["log", first.trim()]).contains("done"));
    // The worker has come back by itself.
    stdout(dir.path(), &["wait", second.trim()]);
    worker.signal(Signal::TERM);
    assert!(worker.end().0.success());
    running.signal(Signal::TERM);
    assert!(running.end().0.success());
}
