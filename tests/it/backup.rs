//! Backups of a server that serves, restoring them, and restoring a moment from the archive, as an operator does.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::program;
use crate::support::server::Server;
use crate::support::wire::Wire;

const PAIRS: usize = 50;

fn restored(backup: &str, more: &[&str]) -> (tempfile::TempDir, Server) {
    let dir = tempfile::tempdir().unwrap();
    let arguments = [&["restore", backup][..], more].concat();
    program::stdout(dir.path(), &arguments);
    let server = Server::agq_in(dir.path(), &[]);
    (dir, server)
}

fn say(wire: &mut Wire, command: &str) -> String {
    wire.call(command).unwrap().to_string()
}

/// Fills the store so that a backup at a low rate takes a while.
fn fill(wire: &mut Wire, values: usize) {
    for n in 0..values {
        let set = [b"SET".to_vec(), format!("filler{n}").into_bytes(), vec![b'x'; 16 << 10]].to_vec();
        wire.send(&[set]).unwrap();
        assert_eq!(wire.read().unwrap().to_string(), "+OK");
    }
}

fn files(dir: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn a_backup_under_writes_is_one_moment() {
    let (dir, copies) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let server = Server::agq_in(dir.path(), &["--backup-rate", "4MiB"]);
    fill(&mut server.connect(), 64);
    let stop = AtomicBool::new(false);
    let mut wire = server.connect();
    let copy = copies.path().join("copy.redb");
    let copy = copy.to_str().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in (0_usize..).take_while(|_| !stop.load(Ordering::Relaxed)) {
                let pair = n % PAIRS;
                say(&mut wire, "MULTI");
                say(&mut wire, &format!("SET left{pair} {n}"));
                say(&mut wire, &format!("SET right{pair} {n}"));
                say(&mut wire, "EXEC");
            }
        });
        program::stdout(dir.path(), &["backup", copy]);
        stop.store(true, Ordering::Relaxed);
    });
    let refused = program::output(dir.path(), &["backup", copy]);
    assert!(!refused.status.success(), "a backup replaces no file");
    let (_dir, server) = restored(copy, &[]);
    let mut wire = server.connect();
    for pair in 0..PAIRS {
        assert_eq!(say(&mut wire, &format!("GET left{pair}")), say(&mut wire, &format!("GET right{pair}")));
    }
    assert_eq!(say(&mut wire, "STRLEN filler63"), ":16384");
}

#[test]
fn a_kill_during_a_backup_leaves_none_and_the_next_one_works() {
    let dir = tempfile::tempdir().unwrap();
    let backups = dir.path().join("backups");
    let server = Server::agq_in(dir.path(), &["--backup-rate", "64KiB"]);
    let mut wire = server.connect();
    fill(&mut wire, 32);
    assert_eq!(say(&mut wire, "BGSAVE"), "+Background saving started");
    assert!(say(&mut wire, "BGSAVE").contains("already in progress"));
    while files(&backups).is_empty() {
        say(&mut wire, "PING");
    }
    server.kill();
    let left = files(&backups);
    assert!(left.iter().all(|name| name.ends_with(".tmp")), "{left:?}");

    let server = Server::agq_in(dir.path(), &["--backup-keep", "2"]);
    for _ in 0..3 {
        program::stdout(dir.path(), &["backup"]);
    }
    let kept = files(&backups);
    assert!(kept.len() == 2 && kept.iter().all(|name| name.ends_with(".redb")), "{kept:?}");
    assert!(server.stop());

    // One that is being written neither holds up a stop nor survives it.
    let server = Server::agq_in(dir.path(), &["--backup-rate", "64KiB"]);
    assert_eq!(say(&mut server.connect(), "BGSAVE"), "+Background saving started");
    assert!(server.stop());
    assert_eq!(files(&backups).len(), 2);
}

#[test]
fn a_moment_is_restored_and_claims_of_before_are_stale() {
    let (dir, archive) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let archive = archive.path().to_str().unwrap();
    let server = Server::agq_in(dir.path(), &["--archive-dir", archive]);
    let mut wire = server.connect();
    let job = program::stdout(dir.path(), &["add", "--", "true"]);
    say(&mut wire, "SET key first");
    say(&mut wire, "WORKER.REGISTER w {}");
    let claimed = say(&mut wire, "JOB.CLAIM w QUEUES ready");
    assert!(claimed.contains("epoch") && claimed.contains(job.trim()), "{claimed}");
    let backup = program::stdout(dir.path(), &["backup"]);
    say(&mut wire, "SET key second");
    let moment = next_moment(&mut wire);
    say(&mut wire, "SET key third");
    // Killed: what the archive lacks is in the log, and gets there with the next start.
    server.kill();
    assert!(Server::agq_in(dir.path(), &["--archive-dir", archive]).stop());

    let (_dir, server) = restored(backup.trim(), &["--archive", archive, "--to", &moment]);
    let mut wire = server.connect();
    assert_eq!(say(&mut wire, "GET key"), "\"second\"");
    let refused = say(&mut wire, &format!("JOB.COMPLETE {} 1 {{}}", job.trim()));
    assert!(refused.contains("STALE"), "{refused}");

    let (_dir, server) = restored(backup.trim(), &["--archive", archive]);
    assert_eq!(say(&mut server.connect(), "GET key"), "\"third\"");
    let (_dir, server) = restored(backup.trim(), &[]);
    assert_eq!(say(&mut server.connect(), "GET key"), "\"first\"");

    let folder = dir.path().join("backups");
    let listed = program::stdout(dir.path(), &["archive", archive, "--backups", folder.to_str().unwrap(), "--json"]);
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    assert!(listed["records"].as_array().unwrap().len() == 1, "no gap: {listed}");
    assert!(listed["backups"][0]["to"].as_str() > listed["backups"][0]["from"].as_str(), "{listed}");
}

/// The moment of the last batch, in Unix seconds; the next batch has a later one.
fn next_moment(wire: &mut Wire) -> String {
    let now = |wire: &mut Wire| {
        let reply = say(wire, "TIME");
        let digits: Vec<u64> =
            reply.split(|c: char| !c.is_ascii_digit()).filter_map(|part| part.parse().ok()).collect();
        let [.., seconds, micros] = digits[..] else { panic!("{reply}") };
        (seconds, micros / 1000)
    };
    let moment = now(wire);
    while now(wire) == moment {}
    format!("{}.{:03}", moment.0, moment.1)
}
