//! `agq run`: the main job in one command, with a server of its own or with another's.

use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::program::{Running, output, stdout};
use crate::support::server::Server;

/// The repository's root: the examples name their data from there, and tests run there.
fn example(name: &str) -> String {
    format!("{}/examples/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn plan(dir: &Path, name: &str, tasks: &str) -> String {
    let path = dir.join(name);
    std::fs::write(&path, format!(r#"{{"allow_shell_characters":true,"tasks":{tasks}}}"#)).unwrap();
    path.to_str().unwrap().to_owned()
}

fn gate(dir: &Path, name: &str) -> PathBuf {
    let path = dir.join(name);
    rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).unwrap();
    path
}

fn open(gate: &Path, text: &str) {
    std::fs::OpenOptions::new().write(true).open(gate).unwrap().write_all(text.as_bytes()).unwrap();
}

/// Tasks that wait at the gate that the input names.
const WAIT_AT_GATE: &str = r#"[{"task_number":1,"command":"cat","args":["{{input.gate}}"]}]"#;

#[test]
fn the_main_job_runs_without_a_server_and_prints_its_result() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("text");
    std::fs::write(&file, "The queue keeps the note. The note waits; the end.\n").unwrap();
    let input = format!("file={}", file.display());
    for _ in 0..2 {
        let text = stdout(dir.path(), &["run", &example("plans/top-words.json"), "--input", &input]);
        let words: Vec<&str> = text.split_whitespace().collect();
        assert_eq!(words, ["4", "the", "2", "note", "1", "end", "1", "keeps", "1", "queue", "1", "waits"]);
    }
    assert!(dir.path().join("data.redb").exists() && !dir.path().join("agq.sock").exists());
}

#[test]
fn every_example_runs_on_its_sample() {
    let dir = tempfile::tempdir().unwrap();
    let run = |plan: &str, input: &str| {
        let plan = example(plan);
        let text = stdout(dir.path(), &["run", &plan, "--input", input]);
        assert!(!text.trim().is_empty(), "{plan}");
        text
    };
    let sums = run("plans/checksums.json", &format!("folder={}", example("data")));
    assert_eq!(sums.lines().count(), std::fs::read_dir(example("data")).unwrap().count());
    let codes = run("plans/status-codes.json", &format!("log={}", example("data/access.log")));
    assert!(codes.contains("404") && codes.contains("200"), "{codes}");
    // What tasks that run side by side wrote stands in the order of the tasks.
    let log = example("data/access.log");
    let report = run("plans/log-report.json", &format!("log={log}"));
    let mut lines = report.lines();
    let requests = std::fs::read_to_string(&log).unwrap().lines().count();
    assert_eq!(lines.next(), Some(requests.to_string().as_str()), "{report}");
    assert!(lines.next().unwrap().parse::<usize>().is_ok() && lines.next().unwrap().contains(" /"), "{report}");
    assert_eq!(report.lines().last(), Some(format!("counted in {log}").as_str()));
}

#[test]
fn who_stops_reading_does_not_stop_the_jobs() {
    let dir = tempfile::tempdir().unwrap();
    let plan = plan(dir.path(), "plan.json", r#"[{"task_number":1,"command":"sh","args":["-c","{{input.do}}"]}]"#);
    let (gate, done) = (gate(dir.path(), "gate"), dir.path().join("done"));
    let inputs = dir.path().join("inputs.jsonl");
    let second = format!("cat {}; touch {}", gate.display(), done.display());
    std::fs::write(&inputs, format!("{}\n{}\n", json!({"do": "echo first"}), json!({"do": second}))).unwrap();
    let mut run = std::process::Command::new(env!("CARGO_BIN_EXE_agq"))
        .args(["run", &plan, "--inputs", inputs.to_str().unwrap(), "--data-dir", dir.path().to_str().unwrap()])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufReader::new(run.stdout.take().unwrap());
    let mut line = String::new();
    lines.read_line(&mut line).unwrap();
    assert!(line.starts_with("==> "), "{line}");
    drop(lines);
    open(&gate, "go");
    assert!(run.wait().unwrap().success());
    assert!(done.exists());
}

#[test]
fn many_inputs_are_many_jobs_in_their_order() {
    let dir = tempfile::tempdir().unwrap();
    let plan = plan(dir.path(), "plan.json", r#"[{"task_number":1,"command":"sh","args":["-c","exit {{input.n}}"]}]"#);
    let inputs = dir.path().join("inputs.jsonl");
    std::fs::write(&inputs, "{\"n\":0}\n{\"n\":3}\n{\"n\":0}\n").unwrap();
    let output = output(dir.path(), &["run", &plan, "--inputs", inputs.to_str().unwrap(), "--json"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let jobs: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let statuses: Vec<_> = jobs.iter().map(|job| job["status"].as_str().unwrap()).collect();
    assert_eq!(statuses, ["completed", "failed", "completed"]);
    assert_eq!(jobs[1]["error"]["tasks"][0]["exit_code"], 3);
}

#[test]
fn a_plan_that_is_not_sound_is_refused_before_anything_is_made() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let plan = plan(dir.path(), "plan.json", r#"[{"task_number":2,"command":"true"}]"#);
    let refused = output(&data, &["run", &plan]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("task_number"), "{refused:?}");
    assert_eq!(output(&data, &["run"]).status.code(), Some(2), "wrong usage");
    assert_eq!(output(&data, &["ping"]).status.code(), Some(3), "no server");
}

#[test]
fn an_interrupt_cancels_the_jobs() {
    let dir = tempfile::tempdir().unwrap();
    let plan = plan(dir.path(), "plan.json", r#"[{"task_number":1,"command":"sleep","args":["1000"]}]"#);
    let mut run = Running::start(dir.path(), &["run", &plan]);
    let action = action_of(&run.wait_for("action_"));
    run.wait_for("running");
    run.signal(Signal::INT);
    assert_eq!(run.end().0.code(), Some(130));
    let again = output(dir.path(), &["run", "--resume", &action, "--json"]);
    let job: Value = serde_json::from_slice(&again.stdout).unwrap();
    assert_eq!((job["status"].as_str(), again.status.code()), (Some("cancelled"), Some(1)));
}

fn action_of(line: &str) -> String {
    line.split_whitespace().find(|word| word.starts_with("action_")).unwrap().to_owned()
}

#[test]
fn a_killed_run_goes_on_when_it_is_resumed() {
    let dir = tempfile::tempdir().unwrap();
    let tasks = r#"[{"task_number":1,"command":"sh","args":["-c",
        "if [ $AGQ_ATTEMPT = 1 ]; then exec sleep 20; else echo again; fi"]}]"#;
    let plan = plan(dir.path(), "plan.json", tasks);
    let data = dir.path();
    let mut run = Running::start(data, &["run", &plan]);
    let action = action_of(&run.wait_for("action_"));
    run.wait_for("running");
    run.signal(Signal::KILL);
    run.end();
    assert_eq!(stdout(data, &["run", "--resume", &action]), "again\n");
}

#[test]
fn a_second_run_uses_the_first_ones_server_which_stays_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let plan = plan(dir.path(), "plan.json", WAIT_AT_GATE);
    let (one, two) = (gate(dir.path(), "one"), gate(dir.path(), "two"));
    let mut first = Running::start(dir.path(), &["run", &plan, "--input", &format!("gate={}", one.display())]);
    first.wait_for("running");
    let mut second = Running::start(dir.path(), &["run", &plan, "--input", &format!("gate={}", two.display())]);
    second.wait_for("running");
    open(&one, "one");
    first.wait_for("staying");
    open(&two, "two");
    let (status, text) = second.end();
    assert_eq!((status.code(), text.as_str()), (Some(0), "two"));
    let (status, text) = first.end();
    assert_eq!((status.code(), text.as_str()), (Some(0), "one"));
}

#[test]
fn with_a_queue_others_do_the_work() {
    let dir = tempfile::tempdir().unwrap();
    let _server = Server::agq_in(dir.path(), &[]);
    let plan = plan(dir.path(), "plan.json", r#"[{"task_number":1,"command":"printenv","args":["AGQ_QUEUE"]}]"#);
    let mut worker = Running::start(dir.path(), &["worker", "--queue", "texts", "--tools", "printenv"]);
    worker.wait_for("ready");
    assert_eq!(stdout(dir.path(), &["run", &plan, "--queue", "texts"]), "texts\n");
}
