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
    // Killed: what the archive lacks is in the log, stays there when the file is compacted, and gets there with the next start.
    server.kill();
    program::stdout(dir.path(), &["compact"]);
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

/// In the modes in which replies do not wait for the disk.
#[test]
fn a_moment_is_restored_of_a_store_that_syncs_its_log_later() {
    for durability in ["interval=50", "none"] {
        let (dir, archive) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let archive = archive.path().to_str().unwrap();
        let flags = ["--archive-dir", archive, "--durability", durability];
        let server = Server::agq_in(dir.path(), &flags);
        let mut wire = server.connect();
        say(&mut wire, "SET key first");
        let backup = program::stdout(dir.path(), &["backup"]);
        say(&mut wire, "SET key second");
        let moment = next_moment(&mut wire);
        say(&mut wire, "SET key third");
        // Killed, it may not have synced anything; what it answered is in the log, and the next start archives it.
        server.kill();
        assert!(Server::agq_in(dir.path(), &flags).stop());
        let (_dir, server) = restored(backup.trim(), &["--archive", archive, "--to", &moment]);
        assert_eq!(say(&mut server.connect(), "GET key"), "\"second\"", "{durability}");
        let (_dir, server) = restored(backup.trim(), &["--archive", archive]);
        assert_eq!(say(&mut server.connect(), "GET key"), "\"third\"", "{durability}");
    }
}

/// What stands at the archive's end is told: where it is damaged the restore is refused.
#[test]
fn damage_at_the_archives_end_is_told() {
    let (dir, archive) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let folder = archive.path().to_str().unwrap();
    let server = Server::agq_in(dir.path(), &["--archive-dir", folder]);
    let backup = program::stdout(dir.path(), &["backup"]);
    say(&mut server.connect(), "SET key value");
    assert!(server.stop());
    let piece = archive.path().join(files(archive.path()).pop().unwrap());
    let whole = std::fs::read(&piece).unwrap();
    let listed = || {
        let listed = program::stdout(dir.path(), &["archive", folder, "--json"]);
        let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
        let last = listed["records"].as_array().unwrap().last().cloned().unwrap();
        (last["damaged_behind"].clone(), last["unfinished_bytes_behind"].clone())
    };
    assert_eq!(listed(), (false.into(), 0.into()));
    let again = |what: &[u8], more: &[&str]| {
        std::fs::write(&piece, what).unwrap();
        let target = tempfile::tempdir().unwrap();
        let arguments = [&["restore", backup.trim(), "--archive", folder][..], more].concat();
        let output = program::output(target.path(), &arguments);
        (output.status.success(), [output.stdout, output.stderr].concat())
    };
    let told = |output: &[u8], words: &str| String::from_utf8_lossy(output).contains(words);
    // Behind the last record stands the mark, of 40 bytes: here the record ends in the wrong way.
    let mut damaged = whole.clone();
    damaged[whole.len() - 48] ^= 1;
    let (done, output) = again(&damaged, &[]);
    assert!(!done && told(&output, "damaged in"), "{}", String::from_utf8_lossy(&output));
    assert_eq!(listed().0, true);
    let (done, output) = again(&damaged, &["--stop-at-gap"]);
    assert!(done && told(&output, "gap "), "{}", String::from_utf8_lossy(&output));
    // And here it was still being written.
    let (done, output) = again(&whole[..whole.len() - 48], &[]);
    assert!(done && told(&output, "left out "), "{}", String::from_utf8_lossy(&output));
    assert_ne!(listed().1, 0);
}

/// Every second, by six fields; INFO says when the next one comes.
#[test]
fn backups_begin_at_the_times_of_a_line() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::agq_in(dir.path(), &["--backup-at", "* * * * * *", "--backup-keep", "2"]);
    let mut wire = server.connect();
    while files(&dir.path().join("backups")).iter().filter(|name| name.ends_with(".redb")).count() < 2 {
        say(&mut wire, "PING");
    }
    assert!(say(&mut wire, "INFO persistence").contains("backup_next_time:"));
    assert!(server.stop());
    let both = ["serve", "--backup-at", "@daily", "--backup-every", "1h", "--bind", "127.0.0.1:0"];
    assert!(!program::output(dir.path(), &both).status.success(), "one or the other");
    let wrong = program::output(dir.path(), &["serve", "--backup-at", "61 * * * *", "--bind", "127.0.0.1:0"]);
    let wrong = String::from_utf8_lossy(&wrong.stderr).into_owned();
    assert!(wrong.contains("61") && wrong.contains("minute"), "{wrong}");
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
