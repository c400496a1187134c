//! `agq export` and `agq import`: what goes out comes back, and nothing comes of half a file.

use std::path::Path;
use std::process::Output;

use sha2::{Digest as _, Sha256};

use crate::support::program::output;
use crate::support::server::Server;

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Puts keys of every type into a store and leaves it as a crash does.
fn fill(dir: &Path) {
    let server = Server::agq_in(dir, &[]);
    let mut wire = server.connect();
    for line in [
        "SET text value PX 10000000",
        "RPUSH list a b c d",
        "LREM list 1 b",
        "ZADD zset 1.5 a -inf b",
        "HSET hash f v",
        "SADD set x y",
        "SETRANGE large 100000 end",
        "SET empty x",
        "SETRANGE empty 0 y",
    ] {
        let reply = wire.call(line).unwrap().to_string();
        assert!(!reply.starts_with('-'), "{line}: {reply}");
    }
    wire.send(&[vec![b"SET".to_vec(), b"\xff\x00".to_vec(), b"\x80".to_vec()]]).unwrap();
    assert_eq!(wire.read().unwrap().to_string(), "+OK");
    for line in ["SELECT 3", "SADD other m", "FLUSHDB", "SADD after m"] {
        wire.call(line).unwrap();
    }
    server.kill();
}

fn export(dir: &Path) -> Vec<u8> {
    let exported = output(dir, &["export"]);
    assert!(exported.status.success(), "{}", text(&exported));
    exported.stdout
}

#[test]
fn a_store_comes_back_from_its_export() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fill(dir.path());
    let exported = export(dir.path());
    let lines = String::from_utf8(exported.clone()).unwrap();
    assert!(lines.starts_with(r#"{"header":{"agq_export":2,"#), "{lines}");
    assert!(lines.contains(r#"{"key":{"database":0,"name":{"hex":"ff00"},"type":"string"}}"#), "{lines}");
    assert!(lines.contains(r#"{"members":[["a","1.5"],["b","-inf"]]}"#), "{lines}");
    assert!(lines.contains(r#"{"key":{"database":3,"name":"after","type":"set"}}"#), "{lines}");

    let file = dir.path().join("keys.jsonl");
    let written = output(dir.path(), &["export", file.to_str().unwrap()]);
    assert!(written.status.success(), "{}", text(&written));
    assert_eq!(std::fs::read(&file).unwrap(), exported);
    let again = output(dir.path(), &["export", file.to_str().unwrap()]);
    assert!(!again.status.success() && text(&again).contains("is there already: name another"), "it stays");

    let target = other.path().join("new");
    let imported = output(&target, &["import", file.to_str().unwrap()]);
    assert!(imported.status.success() && text(&imported).contains("9 keys and 0 jobs are in "), "{}", text(&imported));
    let names: Vec<_> = std::fs::read_dir(&target).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 2, "the lock and the store: {names:?}");
    assert!(output(&target, &["check", "--deep"]).status.success());
    let again = String::from_utf8(export(&target)).unwrap();
    let counters = |text: &str| text.lines().filter(|line| line.starts_with("{\"counters\"")).count();
    assert_eq!(counters(&again), 1);
    assert_eq!(keys_of(&again), keys_of(&lines), "the same lines");
    let refused = output(&target, &["import", file.to_str().unwrap()]);
    assert!(!refused.status.success() && text(&refused).contains("there is a store in"), "{}", text(&refused));
    let server = Server::agq_in(&target, &[]);
    assert_eq!(server.connect().call("LRANGE list 0 -1").unwrap().to_string(), "*3 \"a\" \"c\" \"d\"");
    assert!(server.stop());
}

#[test]
fn nothing_comes_of_a_file_that_is_not_whole() {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path());
    let exported = String::from_utf8(export(dir.path())).unwrap();
    let lines: Vec<&str> = exported.lines().collect();
    let without = |line: usize| {
        let kept = lines.iter().enumerate().filter(|(place, _)| *place != line).map(|(_, line)| format!("{line}\n"));
        kept.collect::<String>()
    };
    let list = lines.iter().position(|line| line.starts_with(r#"{"elements":["a","c""#)).unwrap();
    let cases = [
        (exported[..exported.len() / 2].to_owned(), "the file is cut"),
        (without(lines.len() - 1), "the file is cut"),
        (without(0), "line 1: no header"),
        (without(list), "the list 'list' is empty"),
        (
            exported.replace("\"value\"", "\"VALUE\""),
            "the lines are not those that the footer tells of: sha256: found ",
        ),
        (exported.replace("\"type\":\"hash\"", "\"type\":\"stream\""), "the type 'stream'"),
        (exported.replace("\"agq_export\":2", "\"agq_export\":3"), "it has format 3, this program knows 1 to 2"),
        (exported.replace("\"agq_export\":2", "\"agq_export\":1"), "a line 'counters', which format 1 does not have"),
        (exported.replace("{\"counters\":{", "{\"jobs\":{},\"counters\":{"), "a second field 'counters'"),
        (exported.replace("{\"counters\":{", "{\"queues\":{"), "'queues' is no kind of line"),
        (format!("{exported}\n"), "something stands behind the footer"),
    ];
    for (text_of_file, expected) in cases {
        let target = dir.path().join("target");
        let file = dir.path().join("broken.jsonl");
        std::fs::write(&file, text_of_file).unwrap();
        let refused = output(&target, &["import", file.to_str().unwrap()]);
        assert_eq!(refused.status.code(), Some(1), "{expected}");
        let told = text(&refused);
        assert!(told.contains(expected) && told.contains("nothing was imported"), "{told}, not {expected}");
        let names: Vec<_> = std::fs::read_dir(&target).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["lock"], "{expected}");
    }
}

/// The lines of keys.
fn keys_of(exported: &str) -> Vec<&str> {
    let of_keys = ["key", "bytes", "elements", "fields", "members"].map(|kind| format!("{{\"{kind}\":"));
    exported.lines().filter(|line| of_keys.iter().any(|begin| line.starts_with(begin))).collect()
}

/// What `agq import` makes of a file of these lines, in a folder of its own.
fn import(dir: &Path, exported: &str) -> Output {
    let file = dir.join("export.jsonl");
    std::fs::write(&file, exported).unwrap();
    output(&dir.join("new"), &["import", file.to_str().unwrap()])
}

fn sum(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn the_example_of_the_page_is_an_export() {
    let dir = tempfile::tempdir().unwrap();
    let page = include_str!("../../docs/export.md");
    let example = page.split("```json\n").nth(1).unwrap().split("```").next().unwrap();
    let footer = example.find("{\"footer\"").unwrap();
    let whole = example.replace('…', &sum(&example[..footer]));
    let imported = import(dir.path(), &whole);
    assert!(text(&imported).contains("5 keys and 1 jobs are in "), "{}", text(&imported));
    let target = dir.path().join("new");
    assert!(output(&target, &["check", "--deep"]).status.success());
    assert!(String::from_utf8(export(&target)).unwrap().contains(r#"{"job":{"job_id":"first","#));
}

#[test]
fn an_export_of_format_1_is_imported() {
    let dir = tempfile::tempdir().unwrap();
    // As the first version wrote it.
    let lines = concat!(
        "{\"header\":{\"agq_export\":1,\"version\":\"0.1.0\",\"time\":1700000000000}}\n",
        "{\"key\":{\"database\":0,\"name\":\"greeting\",\"type\":\"string\"}}\n",
        "{\"bytes\":{\"at\":0,\"bytes\":\"hello\"}}\n",
    );
    let footer = format!("{{\"footer\":{{\"lines\":3,\"keys\":1,\"sha256\":\"{}\"}}}}\n", sum(lines));
    let imported = import(dir.path(), &format!("{lines}{footer}"));
    assert!(imported.status.success(), "{}", text(&imported));
    let server = Server::agq_in(&dir.path().join("new"), &[]);
    assert_eq!(server.connect().call("GET greeting").unwrap().to_string(), "\"hello\"");
    assert!(server.stop());
}

#[test]
fn jobs_come_back_and_claims_of_before_are_stale() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::agq_in(dir.path(), &[]);
    let mut wire = server.connect();
    let mut call = |line: &[&str]| {
        wire.send(&[line.iter().map(|word| word.as_bytes().to_vec()).collect()]).unwrap();
        let reply = wire.read().unwrap().to_string();
        assert!(!reply.starts_with('-'), "{line:?}: {reply}");
        reply
    };
    call(&["SET", "key", "value"]);
    call(&["JOB.SUBMIT", r#"{"job_id":"held","kind":"k","payload":{"n":1.10}}"#]);
    call(&["JOB.CLAIM", "w", "QUEUES", "ready"]);
    call(&["JOB.SUBMIT", r#"{"job_id":"next","kind":"k","priority":9,"after":["held"]}"#]);
    call(&["QUEUE.LIMIT", "other", "CONCURRENCY", "3"]);
    call(&["KEY.CREATE", "ci", "SUBMIT", "build-*"]);
    call(&[
        "WEBHOOK.PUT",
        "hook",
        r#"{"url":"http://127.0.0.1:9/","events":["job.failed"],"secret":"0123456789abcdef"}"#,
    ]);
    // A running server is not read beside: the way to export it is said.
    let refused = output(dir.path(), &["export"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused).contains("agq export --from \"$(agq backup)\""), "{}", text(&refused));
    let backup = output(dir.path(), &["backup"]);
    assert!(backup.status.success(), "{}", text(&backup));
    let backup = String::from_utf8(backup.stdout).unwrap();
    let live = output(dir.path(), &["export", "--from", backup.trim()]);
    assert!(live.status.success(), "{}", text(&live));
    server.kill();

    let exported = String::from_utf8(export(dir.path())).unwrap();
    let jobs_of = |text: &str| {
        let lines = text.lines().filter(|line| line.starts_with("{\"job\":")).map(str::to_owned);
        lines.collect::<Vec<_>>()
    };
    let live = String::from_utf8(live.stdout).unwrap();
    assert_eq!(jobs_of(&live), jobs_of(&exported));
    assert!(exported.contains(r#""payload":{"n":1.10}"#) && exported.contains(r#""secret":"0123456789abcdef""#));
    let data_only = output(dir.path(), &["export", "--data-only"]);
    let data_only = text(&data_only);
    assert!(data_only.contains("\"jobs\":0") && !data_only.contains("{\"job\"") && !data_only.contains("access_key"));

    let imported = import(dir.path(), &exported);
    assert!(text(&imported).contains("1 keys and 2 jobs are in "), "{}", text(&imported));
    let target = dir.path().join("new");
    let checked = output(&target, &["check", "--deep"]);
    assert!(checked.status.success(), "{}", text(&checked));
    let server = Server::agq_in(&target, &[]);
    let mut wire = server.connect();
    let stale = wire.call("JOB.COMPLETE held 1 {}").unwrap().to_string();
    assert!(stale.starts_with("-STALE job held is at epoch 4294967297"), "{stale}");
    let claimed = wire.call("JOB.CLAIM w QUEUES ready").unwrap().to_string();
    assert!(claimed.contains(r#"\"job_id\":\"held\",\"epoch\":4294967298"#), "{claimed}");
    assert!(wire.call("KEY.LIST").unwrap().to_string().contains("build-*"));
    assert!(wire.call("JOB.GET next").unwrap().to_string().contains("waiting"));
    assert!(server.stop());

    let line = exported.lines().position(|line| line.contains(r#""job_id":"next""#)).unwrap() + 1;
    std::fs::remove_dir_all(&target).unwrap();
    let wrong = import(dir.path(), &exported.replace(r#""waits_for":["held"]"#, r#""waits_for":["gone"]"#));
    let expected = format!("line {line}: job.waits_for[0] names job gone, expected one of job.after");
    let told = text(&wrong).replace(": nothing was imported", "");
    assert!(told.contains(&expected), "{told}, not {expected}");
    assert!(!target.join("data.redb").exists());
}
