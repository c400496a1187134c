//! The short verbs: `agq add`, `array`, `follow`, `log`, `wait`, `cancel`, `retry`, with real programs.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use crate::support::program::{Running, agq, json, stdout};
use crate::support::server::Server;
use crate::support::world::World;

#[test]
fn a_command_is_added_and_followed_to_its_own_exit_code() {
    let world = World::new();
    let _worker = world.worker(&["--concurrency", "4"]);
    let (code, out, err) = world.outcome(&["add", "--follow", "--", "sh", "-c", "echo out; echo err >&2; exit 7"]);
    assert_eq!((code, out.as_str()), (Some(7), "out\n"));
    assert!(err.contains("err\n") && err.contains("ended with exit code 7"), "{err}");
    let job = world.run(&["add", "sh", "-c", "echo again; kill -9 $$"]);
    assert_eq!(world.outcome(&["follow", &job]).0, Some(137));
    assert_eq!(world.outcome(&["wait", &job]).0, Some(137), "a wait for one job gives its code too");
    assert_eq!(world.run(&["log", &job]), "again");
    let missing = world.outcome(&["follow", "nothing"]);
    assert!(missing.0 == Some(1) && missing.2.contains("no job and no action has the id nothing"), "{missing:?}");
}

#[test]
fn what_is_typed_is_what_runs() {
    let world = World::new();
    let _worker = world.worker(&["--concurrency", "4"]);
    let words = ["{{input.x}}", "a;b|c & $HOME `x`", "../up", "two\nlines", "{}", "-v", "ä"];
    let args = [&["add", "--follow", "-e", "GREETING=hi=there", "--", "printf", "%s\\n"][..], &words].concat();
    assert_eq!(world.run(&args), words.join("\n"));
    assert_eq!(world.run(&["add", "-f", "-e", "GREETING=hi=there", "printenv", "GREETING"]), "hi=there");
}

#[test]
fn options_become_terms_of_the_job() {
    let world = World::new();
    let first = world.run(&["add", "-q", "q", "--unique", "u", "true"]);
    let args =
        ["add", "-q", "q", "--priority", "8", "--attempts", "3", "--timeout", "90", "--label", "night", "--label"];
    let second = world.run(&[&args[..], &["b", "--after", &first, "--of-key", "k", "--", "true"]].concat());
    let job = world.job(&second);
    let shown = ["status", "queue", "priority", "attempts", "timeout_ms", "key"].map(|name| job[name].to_string());
    assert_eq!(shown, ["\"waiting\"", "\"q\"", "8", "3", "90000", "\"k\""]);
    assert_eq!(job["labels"], serde_json::json!(["night", "b"]));
    assert_eq!(world.run(&["add", "-q", "q", "--unique", "u", "--on-conflict", "return", "true"]), first);
    let later = world.run(&["add", "--delay", "1h", "true"]);
    assert_eq!(world.job(&later)["status"], "scheduled");
    let refused = world.outcome(&["add", "--delay", "soon", "true"]);
    assert!(refused.0 == Some(2) && refused.2.contains("no length of time"), "{refused:?}");
}

#[test]
fn output_comes_while_the_job_runs() {
    let world = World::new();
    let _worker = world.worker(&["--concurrency", "4"]);
    let fifo = world.dir().join("gate");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).unwrap();
    let script = format!("echo begun; cat {}", fifo.display());
    let job = world.run(&["add", "sh", "-c", &script]);
    let mut follow = agq(world.dir(), &["log", "-f", &job]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(follow.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "begun", "it is there before the job has ended");
    std::fs::write(&fifo, "through\n").unwrap();
    assert_eq!(lines.next().unwrap().unwrap(), "through");
    assert_eq!(follow.wait().unwrap().code(), Some(0));
}

#[test]
fn an_array_runs_a_command_for_each_value() {
    let world = World::new();
    let action = world.run(&["array", "1,3-7:2%2", "--", "sh", "-c", "echo {}/$0; exit $(({} / 7))", "n{}"]);
    let shown = json(world.dir(), &["action", "get", &action, "--json"]).0;
    assert_eq!((&shown["summary"]["jobs_total"], &shown["max_parallel"]), (&4.into(), &2.into()));
    let _worker = world.worker(&["--concurrency", "4"]);
    let (code, out, err) = world.outcome(&["follow", &action]);
    assert_eq!(code, Some(1), "one of its jobs has failed");
    for line in ["1/n1\n", "3/n3\n", "5/n5\n"] {
        assert!(out.contains(line), "{out}");
    }
    assert!(err.contains("3 completed, 1 failed"), "{err}");
    let values = world.run(&["array", "--", "echo", "{}", ":::", "a b", "c"]);
    assert_eq!(world.outcome(&["wait", &values, &action]).0, Some(1));
    assert_eq!(world.outcome(&["wait", &values]).0, Some(0));
    assert!(world.run(&["follow", &values]).contains("a b\n"));
    let file = world.dir().join("values");
    std::fs::write(&file, "x\ny\n").unwrap();
    let from_file = world.run(&["array", "--from-file", file.to_str().unwrap(), "--json", "--", "echo", "{}"]);
    assert_eq!(serde_json::from_str::<serde_json::Value>(&from_file).unwrap()["jobs_created"], 2);
    for (wrong, word) in [("9-1", "backwards"), ("0-999999", "more than 100000"), ("x", "is no number")] {
        let refused = world.outcome(&["array", wrong, "--", "true"]);
        assert!(refused.0 == Some(2) && refused.2.contains(word), "{refused:?}");
    }
}

#[test]
fn jobs_and_actions_are_cancelled_and_run_again_alike() {
    let world = World::new();
    let job = world.run(&["add", "-q", "q", "true"]);
    let action = world.run(&["array", "0-2", "-q", "q", "--", "echo", "{}"]);
    let (code, out, err) = world.outcome(&["cancel", &job, "nothing", &action]);
    assert_eq!((code, out.as_str()), (Some(1), "3 jobs cancelled\n"));
    assert!(err.contains("no job and no action has the id nothing"), "{err}");
    assert_eq!(world.outcome(&["wait", &job, &action]).0, Some(1));
    let dry_run = world.outcome(&["retry", "--cancelled", "--queue", "q", "--dry-run"]);
    assert_eq!((dry_run.0, dry_run.1.lines().count()), (Some(0), 4), "{dry_run:?}");
    assert!(dry_run.2.contains("4 jobs would run again"), "{dry_run:?}");
    assert_eq!(world.job(&job)["status"], "cancelled", "a dry run changes nothing");
    let (results, code) = json(world.dir(), &["retry", &job, "--json"]);
    assert_eq!((&results[0]["run_again"], code), (&true.into(), Some(0)));
    assert_eq!(world.job(&job)["status"], "pending");
    assert_eq!(world.outcome(&["wait", "--timeout", "1ms", &job]).0, Some(4));
}

#[test]
fn queues_are_bounded_and_say_so() {
    let world = World::new();
    let args = ["queue", "limit", "mail", "--concurrency", "4", "--rate", "10/5m", "--burst", "2", "--json"];
    let (limits, _) = json(world.dir(), &args);
    let rate = serde_json::json!({"jobs": 10, "per_ms": 300_000, "burst": 2});
    assert_eq!(limits, serde_json::json!({"concurrency": 4, "rate": rate}));
    let (limits, _) = json(world.dir(), &["queue", "limit", "mail", "--concurrency", "0", "--json"]);
    assert_eq!(limits, serde_json::json!({"rate": rate}));
    let shown = world.run(&["queue", "limit", "mail"]);
    assert!(shown.contains("none") && shown.contains("300000 ms"), "{shown}");
    assert_eq!(world.run(&["queue", "pause", "mail", "--json"]), r#"{"paused":true,"queue":"mail"}"#);
    assert_eq!(world.run(&["queue", "purge", "mail", "--json"]), r#"{"changed":0,"finished":true}"#);
}

#[test]
fn a_follower_goes_on_when_its_server_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::agq_in(dir.path(), &[]);
    let socket = format!("unix:{}", dir.path().join("test.sock").display());
    let mut worker = Running::start(dir.path(), &["worker", "--tools", "sh", "--server", &socket]);
    worker.wait_for("ready");
    let fifo = dir.path().join("gate");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).unwrap();
    let script = format!("echo before; cat {}; exit 5", fifo.display());
    let job = stdout(dir.path(), &["add", "sh", "-c", &script]);
    let follow = ["follow", job.trim(), "--server", &socket];
    let mut follow = agq(dir.path(), &follow).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(follow.stdout.take().unwrap()).lines();
    let mut errors = BufReader::new(follow.stderr.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "before");
    server.kill();
    assert!(errors.next().unwrap().unwrap().contains("looking for the server"));
    let _server = Server::agq_in(dir.path(), &[]);
    std::fs::write(&fifo, "behind\n").unwrap();
    assert_eq!(lines.next().unwrap().unwrap(), "behind", "nothing is printed twice");
    assert_eq!(follow.wait().unwrap().code(), Some(5));
}
