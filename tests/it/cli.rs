//! The client commands against a running server: what people and programs see, and exit codes.

use crate::support::program::{agq, json, output, stdout};
use crate::support::server::Server;

#[test]
fn plans_are_stored_listed_and_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let _server = Server::agq_in(dir.path(), &[]);
    let plan = dir.path().join("plan.json");
    std::fs::write(&plan, r#"{"plan_id":"greet","tasks":[{"task_number":1,"command":"echo","args":["hi"]}]}"#).unwrap();
    let plan = plan.to_str().unwrap();
    assert_eq!(stdout(dir.path(), &["plan", "validate", plan]), "greet\n");
    assert_eq!(stdout(dir.path(), &["plan", "submit", plan]), "greet\n");
    let (plans, _) = json(dir.path(), &["plan", "list", "--json"]);
    assert_eq!(plans[0]["plan_id"], "greet");
    let shown = stdout(dir.path(), &["plan", "get", "greet"]);
    assert!(shown.contains("echo hi") && !shown.contains('\x1b'), "{shown}");
    stdout(dir.path(), &["plan", "delete", "greet"]);
    let missing = output(dir.path(), &["plan", "get", "greet"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&missing.stderr).contains("Plan not found: greet"), "{missing:?}");
}

#[test]
fn jobs_are_listed_counted_and_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let _server = Server::agq_in(dir.path(), &[]);
    let submit = |kind: &str| stdout(dir.path(), &["job", "submit", "--kind", kind, "--payload", "[1.50]"]);
    let (mail, _) = (submit("mail"), submit("fax"));
    let (list, _) = json(dir.path(), &["job", "list", "--kind", "mail", "--json"]);
    assert_eq!(list["jobs"].as_array().unwrap().len(), 1);
    assert_eq!(list["jobs"][0]["job_id"], mail.trim());
    let (stats, _) = json(dir.path(), &["queue", "stats", "--json"]);
    assert_eq!(stats["pending_jobs"], 2);
    let waited = output(dir.path(), &["job", "wait", mail.trim(), "--timeout", "0"]);
    assert_eq!(waited.status.code(), Some(4), "{waited:?}");
    assert!(stdout(dir.path(), &["job", "get", mail.trim()]).contains("mail"));
    stdout(dir.path(), &["job", "cancel", mail.trim()]);
    assert_eq!(output(dir.path(), &["job", "wait", mail.trim()]).status.code(), Some(1));
}

#[test]
fn an_action_is_submitted_from_standard_input() {
    let dir = tempfile::tempdir().unwrap();
    let _server = Server::agq_in(dir.path(), &[]);
    let plan = dir.path().join("plan.json");
    std::fs::write(&plan, r#"{"tasks":[{"task_number":1,"command":"echo","args":["{{input.n}}"]}]}"#).unwrap();
    let inputs = dir.path().join("inputs");
    std::fs::write(&inputs, "{\"n\":1}\n{\"n\":2}\n").unwrap();
    let mut command = agq(dir.path(), &["action", "submit", plan.to_str().unwrap(), "--inputs", "-"]);
    let done = command.stdin(std::fs::File::open(&inputs).unwrap()).output().unwrap();
    assert!(done.status.success(), "{done:?}");
    let id = String::from_utf8(done.stdout).unwrap();
    let (action, _) = json(dir.path(), &["action", "get", id.trim(), "--json"]);
    assert_eq!(action["summary"]["jobs_pending"], 2);
    assert!(stdout(dir.path(), &["action", "get", id.trim()]).contains("2 pending"));
}

#[test]
fn a_reader_that_has_gone_is_no_error() {
    let dir = tempfile::tempdir().unwrap();
    let _server = Server::agq_in(dir.path(), &[]);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let status = agq(dir.path(), &["ping"]).stdout(writer).status().unwrap();
    assert_eq!(status.code(), Some(0));
}

#[test]
fn the_load_generator_measures_what_it_was_asked_to() {
    let dir = tempfile::tempdir().unwrap();
    let _server = Server::agq_in(dir.path(), &[]);
    let bench =
        ["bench", "set", "get", "-n", "2000", "--clients", "8", "--pipeline", "4", "--fill", "-r", "100", "--json"];
    let (tests, _) = json(dir.path(), &bench);
    let tests = tests.as_array().unwrap();
    assert_eq!(tests.iter().map(|test| test["test"].as_str().unwrap()).collect::<Vec<_>>(), ["set", "get"]);
    for test in tests {
        assert_eq!(test["requests"], 2000);
        assert!(
            test["p50_ms"].as_f64() <= test["p99_ms"].as_f64() && test["p99_ms"].as_f64() <= test["max_ms"].as_f64()
        );
    }
    let failed = output(dir.path(), &["bench", "-n", "10", "--", "LPUSH", "bench:key:000000000001", "x"]);
    assert_eq!(failed.status.code(), Some(1), "a rate of errors is no measurement: {failed:?}");
}

#[test]
fn jobs_and_queues_are_mended() {
    let dir = tempfile::tempdir().unwrap();
    let _server = Server::agq_in(dir.path(), &[]);
    let run = |args: &[&str]| stdout(dir.path(), args).trim().to_owned();
    let job = run(&["job", "submit", "--kind", "a", "-q", "mail"]);
    assert_eq!(run(&["queue", "purge", "mail"]), "1 jobs cancelled");
    assert_eq!(run(&["job", "retry", "--cancelled", "-q", "mail", "--dry-run"]), job);
    assert_eq!(run(&["job", "retry", "--cancelled", "-q", "mail"]), "1 jobs run again");
    run(&["queue", "pause", "mail"]);
    assert!(run(&["queue", "list"]).contains("yes"));
    run(&["queue", "resume", "mail"]);
    run(&["job", "cancel", &job]);
    run(&["job", "delete", &job]);
    assert_eq!(run(&["queue", "delete", "mail"]), "0 jobs removed");
    let refused = output(dir.path(), &["job", "promote", "none"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("ERR Job not found: none"));
    let vague = output(dir.path(), &["job", "retry"]);
    assert!(String::from_utf8_lossy(&vague.stderr).contains("say which jobs"));
}

#[test]
fn schedules_are_made_looked_at_and_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let _server = Server::agq_in(dir.path(), &[]);
    let run = |args: &[&str]| stdout(dir.path(), args).trim().to_owned();
    let plan = dir.path().join("plan.json");
    std::fs::write(&plan, r#"{"tasks":[{"task_number":1,"command":"date","args":[]}]}"#).unwrap();
    let add = ["schedule", "add", "0 7 * * 1-5", "Europe/Berlin", plan.to_str().unwrap()];
    let schedule = run(&add);
    assert_eq!(run(&add), schedule, "the same again is the same schedule");
    assert!(run(&["schedule", "list"]).contains("Europe/Berlin"));
    let (list, _) = json(dir.path(), &["schedule", "list", "--json"]);
    assert_eq!(list[0]["schedule_id"], schedule);
    let (times, _) = json(dir.path(), &["schedule", "next", &schedule, "-n", "3", "--json"]);
    assert!(times.as_array().unwrap().iter().all(|time| time.as_str().unwrap().ends_with(":00:00.000Z")), "{times}");
    run(&["schedule", "pause", &schedule]);
    assert!(run(&["schedule", "get", &schedule]).contains("paused"));
    let (resumed, _) = json(dir.path(), &["schedule", "resume", &schedule, "--json"]);
    assert_eq!(resumed[0]["next_at"], times[0]);
    let job = run(&["schedule", "run", &schedule]);
    assert!(run(&["job", "get", &job]).contains("pending"));
    run(&["schedule", "delete", &schedule]);
    let refused = output(dir.path(), &["schedule", "add", "0 7 31 2 *", "UTC", "--kind", "a", "--id", "x"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("'0 7 31 2 *' never comes"), "{refused:?}");
    assert_eq!(run(&["schedule", "list", "--json"]), "[]");
}
