//! `agq export` and `agq import`: what goes out comes back, and nothing comes of half a file.

use std::path::Path;
use std::process::Output;

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
    assert!(lines.starts_with(r#"{"header":{"agq_export":1,"#), "{lines}");
    assert!(lines.contains(r#"{"key":{"database":0,"name":{"hex":"ff00"},"type":"string"}}"#), "{lines}");
    assert!(lines.contains(r#"{"members":[["a","1.5"],["b","-inf"]]}"#), "{lines}");
    assert!(lines.contains(r#"{"key":{"database":3,"name":"after","type":"set"}}"#), "{lines}");

    let file = dir.path().join("keys.jsonl");
    let written = output(dir.path(), &["export", file.to_str().unwrap()]);
    assert!(written.status.success(), "{}", text(&written));
    assert_eq!(std::fs::read(&file).unwrap(), exported);
    let again = output(dir.path(), &["export", file.to_str().unwrap()]);
    assert!(!again.status.success() && text(&again).contains("cannot make"), "a file that is there stays");

    let target = other.path().join("new");
    let imported = output(&target, &["import", file.to_str().unwrap()]);
    assert!(imported.status.success() && text(&imported).contains("9 keys are in "), "{}", text(&imported));
    let names: Vec<_> = std::fs::read_dir(&target).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 2, "the lock and the store: {names:?}");
    assert!(output(&target, &["check", "--deep"]).status.success());
    assert_eq!(export(&target), exported, "the same lines");
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
        (exported.replace("\"value\"", "\"VALUE\""), "the footer says"),
        (exported.replace("\"type\":\"hash\"", "\"type\":\"stream\""), "the type 'stream'"),
        (exported.replace("\"agq_export\":1", "\"agq_export\":2"), "it has format 2"),
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

#[test]
fn a_store_with_jobs_is_exported_only_where_they_may_be_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::agq_in(dir.path(), &[]);
    let mut wire = server.connect();
    wire.call("SET key value").unwrap();
    wire.call("JOB.SUBMIT {\"kind\":\"k\",\"payload\":1}").unwrap();
    drop(wire);
    assert!(server.stop());
    let refused = output(dir.path(), &["export"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(refused.stdout.is_empty() && text(&refused).contains("--data-only"), "{}", text(&refused));
    let exported = output(dir.path(), &["export", "--data-only"]);
    assert!(exported.status.success() && text(&exported).contains("\"keys\":1"), "{}", text(&exported));
}
