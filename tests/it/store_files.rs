//! `agq check` and `agq compact`, on stores as they are left: after a crash, after a clean stop, damaged.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Output;
use std::sync::atomic::{AtomicBool, Ordering};

use agq::clock::Millis;
use agq::storage::{Db, Options, Table};

use crate::support::program::{agq, output};
use crate::support::server::Server;

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// The files of a store.
fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let names = ["data.redb", "data.redb-log-0", "data.redb-log-1"];
    names.iter().map(|name| ((*name).to_owned(), std::fs::read(dir.join(name)).unwrap())).collect()
}

/// Puts something of everything into a store.
fn fill(server: &Server) {
    let mut wire = server.connect();
    for line in [
        "SET text value PX 100000",
        "RPUSH list a b c d",
        "LREM list 1 b",
        "ZADD zset 1 a 2 b",
        "HSET hash f v",
        "SADD set x y",
        "SETRANGE large 100000 end",
        "JOB.SUBMIT {\"kind\":\"k\",\"payload\":{\"n\":1}}",
        "JOB.SUBMIT {\"kind\":\"k\",\"payload\":{\"n\":2},\"delay_ms\":100000}",
        "JOB.CLAIM w1 QUEUES ready",
        "DEL set",
    ] {
        let reply = wire.call(line).unwrap().to_string();
        assert!(!reply.starts_with('-'), "{line}: {reply}");
    }
}

#[test]
fn a_store_that_a_crash_left_is_checked_and_stays_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let server = Server::agq_in(dir, &[]);
    fill(&server);
    let refused = output(dir, &["check"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused).contains(&format!("in use by process {}", server.process())), "{}", text(&refused));
    server.kill();
    let before = files(dir);
    let quick = text(&output(dir, &["check"]));
    assert!(quick.contains("not closed: its log is needed") && quick.contains("records between 1 and"), "{quick}");
    assert!(quick.contains("records of the log into data.redb"), "{quick}");
    let deep = output(dir, &["check", "--deep"]);
    assert!(
        deep.status.success() && text(&deep).contains("every invariant of data, access keys and jobs holds"),
        "{}",
        text(&deep)
    );
    assert_eq!(files(dir), before, "nothing was changed");
    assert_eq!(Server::agq_in(dir, &[]).connect().call("GET text").unwrap().to_string(), "\"value\"");
}

#[test]
fn one_file_is_checked_alone_when_it_is_a_whole_store() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::agq_in(dir.path(), &[]);
    fill(&server);
    let copy = dir.path().join("copy.redb");
    std::fs::copy(dir.path().join("data.redb"), &copy).unwrap();
    let alone = agq(dir.path(), &["check"]).arg(&copy).output().unwrap();
    assert_eq!(alone.status.code(), Some(1), "its log is needed and not there");
    assert!(text(&alone).contains("finding") && text(&alone).contains("data.redb-log-0"), "{}", text(&alone));
    assert!(server.stop());
    std::fs::copy(dir.path().join("data.redb"), &copy).unwrap();
    let whole = agq(dir.path(), &["check", "--deep"]).arg(&copy).output().unwrap();
    assert!(whole.status.success() && text(&whole).contains("one file is the whole store"), "{}", text(&whole));
}

#[test]
fn what_does_not_fit_together_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let server = Server::agq_in(dir, &[]);
    fill(&server);
    assert!(server.stop());
    let mut db = Db::open(&Options::new(dir)).unwrap();
    let mut batch = db.batch().unwrap();
    batch.put(Table::Hashes, [&[9; 8][..], b"field"].concat(), &b"value"[..]).unwrap();
    batch.put(Table::Queues, &b"broken"[..], &b"\xff"[..]).unwrap();
    let rows = batch.finish();
    db.append(&rows, Millis(1)).unwrap();
    db.flush().unwrap();
    db.apply(&rows).unwrap();
    db.close().unwrap();
    assert_eq!(output(dir, &["check"]).status.code(), Some(0), "only --deep reads rows");
    let deep = output(dir, &["check", "--deep"]);
    assert_eq!(deep.status.code(), Some(1));
    let told = text(&deep);
    assert!(told.contains("finding   hashes: ") && told.contains("which nobody owns"), "{told}");
    assert!(told.contains("finding   jobs: corrupt row in table 'queues'"), "{told}");
    let json = output(dir, &["check", "--deep", "--json"]);
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json["findings"].as_array().unwrap().len(), 2);
    assert_eq!(json["tables"]["hashes"]["rows"], 2);
}

#[test]
fn a_damaged_page_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let server = Server::agq_in(dir, &[]);
    let mut wire = server.connect();
    wire.call("SET needle haystack-needle-haystack").unwrap();
    drop(wire);
    assert!(server.stop());
    let file = dir.join("data.redb");
    let mut bytes = std::fs::read(&file).unwrap();
    // Whatever page of whichever commit it stands in.
    let places: Vec<usize> =
        bytes.windows(15).enumerate().filter(|(_, part)| *part == b"haystack-needle").map(|(at, _)| at).collect();
    assert!(!places.is_empty());
    places.iter().for_each(|at| bytes[*at] ^= 1);
    std::fs::write(&file, &bytes).unwrap();
    let deep = output(dir, &["check", "--deep"]);
    assert_eq!(deep.status.code(), Some(1));
    assert!(text(&deep).contains("finding   data.redb: "), "{}", text(&deep));
    assert_eq!(std::fs::read(&file).unwrap(), bytes, "and left as it is");
}

#[test]
fn a_served_store_is_compacted_under_writes() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let server = Server::agq_in(dir, &[]);
    fill(&server);
    let mut wire = server.connect();
    let value = "v".repeat(10_000);
    for key in 0..600 {
        wire.call(&format!("SET {{n}}key{key} {value}")).unwrap();
    }
    for key in 0..570 {
        wire.call(&format!("DEL {{n}}key{key}")).unwrap();
    }
    let stop = AtomicBool::new(false);
    let mut writer = server.connect();
    let (json, written) = std::thread::scope(|scope| {
        let writing = scope.spawn(|| {
            let running = (0..).take_while(|_| !stop.load(Ordering::Relaxed));
            running.fold(0, |_, n| {
                assert_eq!(writer.call(&format!("SET written{} {n}", n % 500)).unwrap().to_string(), "+OK");
                n
            })
        });
        let json = output(dir, &["compact", "--json"]);
        stop.store(true, Ordering::Relaxed);
        (json, writing.join().unwrap())
    });
    assert!(json.status.success(), "{}", text(&json));
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    let [before, after] = ["bytes_before", "bytes_after"].map(|field| json[field].as_u64().unwrap());
    assert!(after * 3 < before, "{json}");
    let status = wire.call("COMPACT STATUS").unwrap().to_string();
    assert!(status.contains("\"done\""), "{status}");
    assert_eq!(wire.call("COMPACT STOP").unwrap().to_string(), "-ERR no compaction is under way");
    let refused = output(dir, &["compact", "--stop"]);
    assert!(text(&refused).contains("no compaction is under way"), "{}", text(&refused));
    // What was acknowledged is in the new file and its log.
    server.kill();
    assert!(output(dir, &["check", "--deep"]).status.success());
    let server = Server::agq_in(dir, &[]);
    let mut wire = server.connect();
    assert_eq!(wire.call(&format!("GET written{}", written % 500)).unwrap().to_string(), format!("\"{written}\""));
    assert_eq!(wire.call("STRLEN {n}key599").unwrap().to_string(), ":10000");
    assert_eq!(wire.call("LRANGE list 0 -1").unwrap().to_string(), "*3 \"a\" \"c\" \"d\"");
    assert!(server.stop());
    assert!(!dir.join("data.redb-compact.tmp").exists());
}

#[test]
fn a_compacted_store_is_smaller_and_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let server = Server::agq_in(dir, &[]);
    fill(&server);
    let mut wire = server.connect();
    let value = "v".repeat(10_000);
    for key in 0..300 {
        wire.call(&format!("SET key{key} {value}")).unwrap();
    }
    wire.call("FLUSHDB").unwrap();
    fill(&server);
    server.kill();
    let json = output(dir, &["compact", "--json"]);
    assert!(json.status.success(), "{}", text(&json));
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    let after = std::fs::metadata(dir.join("data.redb")).unwrap().len();
    assert_eq!(json["bytes_after"].as_u64(), Some(after));
    assert!(json["bytes_before"].as_u64().unwrap() >= after, "{json}");
    assert!(output(dir, &["check", "--deep"]).status.success());
    let server = Server::agq_in(dir, &[]);
    assert_eq!(server.connect().call("LRANGE list 0 -1").unwrap().to_string(), "*3 \"a\" \"c\" \"d\"");
    assert!(server.stop());
}
