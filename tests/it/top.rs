//! `agq top` as text and as JSON, and what the program says of itself to shells and to `man`.

use rustix::process::Signal;

use crate::support::program::{Running, json, output, stdout};
use crate::support::server::Server;

#[test]
fn one_picture_shows_queues_workers_and_what_runs() {
    let dir = tempfile::tempdir().unwrap();
    let _server = Server::agq_in(dir.path(), &[]);
    let mut worker = Running::start(dir.path(), &["worker", "--tools", "sleep", "--tags", "gpu", "-c", "2"]);
    worker.wait_for("ready");
    let job = stdout(dir.path(), &["add", "--", "sleep", "1000"]).trim().to_owned();
    worker.wait_for("running");
    stdout(dir.path(), &["add", "-q", "mail", "true"]);
    stdout(dir.path(), &["queue", "pause", "mail"]);
    let picture = stdout(dir.path(), &["top", "--once"]);
    for word in ["1 pending  1 running", "mail", "paused", "busy", "1/2", "gpu", &job, "sleep 1000", "not known yet"] {
        assert!(picture.contains(word), "{word}:\n{picture}");
    }
    assert!(!picture.contains('\x1b') && !picture.contains("q quit"), "it is text, for no keys:\n{picture}");
    assert_eq!(stdout(dir.path(), &["top"]).lines().count(), picture.lines().count(), "no terminal: one picture");
    let (sample, _) = json(dir.path(), &["top", "--json"]);
    assert_eq!((&sample["jobs"]["pending"], &sample["jobs"]["running"]), (&1.into(), &1.into()));
    assert_eq!(sample["running"][0]["work"], "sleep 1000");
    let listed = stdout(dir.path(), &["job", "list", "--status", "running"]);
    assert!(listed.contains("sleep 1000"), "{listed}");
    worker.signal(Signal::KILL);
    let refused = output(dir.path(), &["top", "--interval", "1ms"]);
    assert_eq!(refused.status.code(), Some(2));
}

#[test]
fn completions_and_manual_pages_are_of_these_commands() {
    let dir = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish"] {
        let script = stdout(dir.path(), &["completions", shell]);
        assert!(script.contains("max-parallel") && script.contains("checkpoint-stall"), "{shell}");
    }
    assert_eq!(output(dir.path(), &["completions", "cmd"]).status.code(), Some(2));
    let page = stdout(dir.path(), &["man"]);
    assert!(page.contains(".TH agq 1") && page.contains("AGQ_CONFIG"), "{page}");
    let pages = dir.path().join("man/man1");
    stdout(dir.path(), &["man", pages.to_str().unwrap()]);
    let read = |name: &str| std::fs::read_to_string(pages.join(name)).unwrap();
    assert!(read("agq-job-submit.1").contains("agq\\-job\\-submit"), "{}", read("agq-job-submit.1"));
    assert!(read("agq-add.1").contains("braces and all"));
    assert!(!pages.join("agq-help.1").exists());
}
