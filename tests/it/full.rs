//! The real server on a file system that fills up, and under a limit on the size of files.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::server::Server;
use crate::support::wire::Wire;

fn shown(wire: &mut Wire, command: &str) -> String {
    wire.call(command).unwrap().to_string()
}

fn set(wire: &mut Wire, n: u32) -> String {
    let words = [b"SET".to_vec(), format!("key:{n}").into_bytes(), vec![b'x'; 100_000]];
    wire.send(&[words.to_vec()]).unwrap();
    wire.read().unwrap().to_string()
}

/// Writes until it is refused: how many writes were taken, and the refusal.
fn fill(wire: &mut Wire) -> (u32, String) {
    fill_from(wire, 0)
}

fn fill_from(wire: &mut Wire, first: u32) -> (u32, String) {
    for n in first..first + 10_000 {
        let reply = set(wire, n);
        if reply != "+OK" {
            return (n - first, reply);
        }
    }
    panic!("never full")
}

/// Writes until so many writes were taken in all, those refused tried again: room comes as checkpoints reach the disk.
fn fill_up(wire: &mut Wire, first: u32, wanted: u32) {
    let began = Instant::now();
    let mut taken = 0;
    while taken < wanted {
        let (more, refusal) = fill_from(wire, first + taken);
        taken += more;
        assert!(began.elapsed() < Duration::from_secs(60), "{taken} of {wanted} writes were taken; then {refusal}");
        // A command lets the server look at what is free now.
        shown(wire, "PING");
    }
}

/// Fills a store, deletes the first half of what is in it, writes as much, and does that again after a restart.
fn deletes_make_room(dir: &Path, flags: &[&str]) {
    let server = Server::agq_in(dir, flags);
    let mut wire = server.connect();
    let (taken, refusal) = fill(&mut wire);
    assert!(taken > 50 && refusal.starts_with(['-']), "{taken}: {refusal}");
    let half = taken / 2;
    let enough = half - half / 4;
    (0..half).for_each(|n| assert_eq!(shown(&mut wire, &format!("DEL key:{n}")), ":1"));
    fill_up(&mut wire, taken, enough);
    (half..taken).for_each(|n| assert_eq!(shown(&mut wire, &format!("DEL key:{n}")), ":1"));
    server.kill();

    let server = Server::agq_in(dir, flags);
    let mut wire = server.connect();
    fill_up(&mut wire, 2 * taken, enough);
    assert_eq!(shown(&mut wire, "EXISTS key:0"), ":0");
    assert_eq!(shown(&mut wire, &format!("STRLEN key:{}", 2 * taken)), ":100000");
    assert!(server.stop());
}

/// A small file system in memory; unmounted when this is dropped.
struct Mounted<'a>(&'a Path);

impl Mounted<'_> {
    /// `None`, with a note, where this user cannot mount one.
    fn new<'a>(dir: &'a Path, size: &str) -> Option<Mounted<'a>> {
        let options = format!("size={size}");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(dir).output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(Mounted(dir));
        }
        println!("skipped: no file system can be mounted here");
        None
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0).status();
    }
}

#[test]
fn a_full_file_system_refuses_what_adds_data_serves_the_rest_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let Some(_mounted) = Mounted::new(dir.path(), "48m") else { return };
    let server = Server::agq_in(dir.path(), &[]);
    let mut wire = server.connect();
    let (taken, refusal) = fill(&mut wire);
    assert!(taken > 50 && refusal.starts_with("-MISCONF"), "{taken}: {refusal}");
    assert!(refusal.contains("are free on the file system of") && refusal.contains("Make room there"), "{refusal}");
    // One value found no room; a smaller one might.
    let info = shown(&mut wire, "INFO persistence");
    assert!(info.contains("disk_state:full") || info.contains("disk_state:low"), "{info}");
    // Others take the rest: a page that is written finds no room.
    let rest = dir.path().join("others");
    let _ = std::fs::write(&rest, vec![1; 64 << 20]);
    assert_eq!(shown(&mut wire, "STRLEN key:1"), ":100000");
    assert_eq!(shown(&mut wire, "DEL key:1"), ":1");
    assert!(set(&mut wire, 1).starts_with("-MISCONF"));
    server.kill();

    std::fs::remove_file(rest).unwrap();
    let server = Server::agq_in(dir.path(), &[]);
    let mut wire = server.connect();
    assert_eq!(shown(&mut wire, "DBSIZE"), format!(":{}", taken - 1));
    assert_eq!(shown(&mut wire, "EXISTS key:1"), ":0");
}

#[test]
fn a_backup_takes_nothing_of_what_is_kept_free_for_the_store() {
    let dir = tempfile::tempdir().unwrap();
    let Some(_mounted) = Mounted::new(dir.path(), "64m") else { return };
    let server = Server::agq_in(dir.path(), &["--checkpoint-size", "1MiB"]);
    let mut wire = server.connect();
    // About as much as a backup may write beside it, and then it is given up.
    (0..170).for_each(|n| assert_eq!(set(&mut wire, n), "+OK"));
    assert_eq!(shown(&mut wire, "BGSAVE"), "+Background saving started");
    let began = Instant::now();
    let info = loop {
        let info = shown(&mut wire, "INFO persistence");
        assert!(!info.contains("disk_state:full"), "{info}");
        assert_eq!(set(&mut wire, 1), "+OK");
        if info.contains("backup_last_error") {
            break info;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "{info}");
    };
    assert!(info.contains("there is no room for") && info.contains("--backup-dir"), "{info}");
    let left = std::fs::read_dir(dir.path().join("backups")).unwrap().count();
    assert_eq!(left, 0, "what was written of it is removed");
}

#[test]
fn deletes_make_room_for_as_much_on_a_full_file_system() {
    let dir = tempfile::tempdir().unwrap();
    let Some(_mounted) = Mounted::new(dir.path(), "64m") else { return };
    deletes_make_room(dir.path(), &["--checkpoint-size", "1MiB"]);
}

#[test]
fn deletes_make_room_for_as_much_within_max_file_size() {
    let dir = tempfile::tempdir().unwrap();
    deletes_make_room(dir.path(), &["--max-file-size", "64MiB", "--checkpoint-size", "1MiB"]);
}

#[test]
fn a_limit_on_the_size_of_files_is_a_full_disk_and_a_stop_says_what_it_left() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let server = Server::command(&data, &[]);
    // In the shell's blocks of 512 bytes or of a kilobyte: 8 or 16 MiB. The server itself sees to the signal.
    let mut limited = Command::new("sh");
    limited.args(["-c", "ulimit -f 16384; exec \"$0\" \"$@\""]).arg(server.get_program()).args(server.get_args());
    limited.env_remove("AGQ_SESSION_KEY").env("AGQ_LOG", "info").stderr(std::process::Stdio::piped());
    let server = Server::start(&mut limited, &data);
    let mut wire = server.connect();
    let (taken, refusal) = fill(&mut wire);
    assert!(taken > 10 && refusal.starts_with("-MISCONF"), "{taken}: {refusal}");
    assert_eq!(shown(&mut wire, "STRLEN key:1"), ":100000");
    assert_eq!(shown(&mut wire, "DEL key:1"), ":1");
    assert!(!server.stop(), "a stop without a clean close tells so by its exit code");

    let server = Server::agq_in(&data, &[]);
    let mut wire = server.connect();
    assert_eq!(shown(&mut wire, "DBSIZE"), format!(":{}", taken - 1));
    assert_eq!(set(&mut wire, 1), "+OK");
    assert!(server.stop());
}

#[test]
fn a_start_without_room_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::command(&dir.path().join("data"), &[]);
    let mut limited = Command::new("sh");
    limited.args(["-c", "ulimit -f 20; exec \"$0\" \"$@\""]).arg(server.get_program()).args(server.get_args());
    let ended = limited.output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(1), "{said}");
    assert_eq!(said.matches("no space for more in data.redb").count(), 1, "{said}");
    assert!(said.contains("Make room there and start again"), "{said}");
}

#[test]
fn max_file_size_refuses_in_its_own_words_and_a_bound_without_room_is_refused() {
    let server = Server::agq(&["--max-file-size", "64MiB", "--checkpoint-size", "1MiB"]);
    let mut wire = server.connect();
    let (taken, refusal) = fill(&mut wire);
    assert!(taken > 100 && refusal.starts_with("-OOM command not allowed"), "{taken}: {refusal}");
    assert!(refusal.contains("67108864 of --max-file-size"), "{refusal}");
    assert_eq!(shown(&mut wire, "CONFIG GET max-file-size"), r#"*2 "max-file-size" "67108864""#);

    let dir = tempfile::tempdir().unwrap();
    let output = crate::support::program::output(
        dir.path(),
        &["serve", "--max-file-size", "65MiB", "--checkpoint-size", "32MiB"],
    );
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && text.contains("leaves no room for data"), "{text}");
}
