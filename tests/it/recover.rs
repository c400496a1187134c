//! A store that must not be opened is not opened, the message says why and what to do, and doing that works.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::support::server::Server;

/// Keys of the store whose log is damaged, each written by a record of its own.
const KEYS: usize = 20;
/// The one whose record is damaged.
const DAMAGED: usize = 12;

fn recover(dir: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_agq"));
    command.arg("recover").arg("--data-dir").arg(dir).args(arguments).output().unwrap()
}

/// What a start says that must fail.
fn refused_start(dir: &Path) -> String {
    let output = Server::command(dir, &[]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    String::from_utf8(output.stderr).unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn value(key: usize) -> String {
    format!("the value of key {key}, which stands nowhere else")
}

#[test]
fn a_second_server_is_told_who_holds_the_data_directory() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::agq_in(dir.path(), &[]);
    let holder = format!("in use by process {} (", server.process());
    let message = refused_start(dir.path());
    assert!(message.contains(&holder) && message.contains("test.sock") && message.contains("--data-dir"), "{message}");
    for arguments in [&[][..], &["--discard-log"]] {
        let output = recover(dir.path(), arguments);
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output.stderr).contains(&holder), "{}", text(&output.stderr));
    }
    assert_eq!(server.connect().call("PING").unwrap().to_string(), "+PONG", "the holder goes on");
    assert!(server.stop());
}

#[test]
fn a_damaged_log_is_refused_until_its_owner_discards_it() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let server = Server::agq_in(dir, &[]);
    let mut wire = server.connect();
    for key in 0..KEYS {
        let set = ["SET", &format!("key{key}"), &value(key)].map(|word| word.as_bytes().to_vec()).to_vec();
        wire.send(&[set]).unwrap();
        assert_eq!(wire.read().unwrap().to_string(), "+OK");
    }
    server.kill();
    let (segment, damaged) = damage(dir);

    for _ in 0..2 {
        let message = refused_start(dir);
        assert!(message.contains("damaged or missing") && message.contains("agq recover --discard-log"), "{message}");
    }
    let plan = recover(dir, &[]);
    let planned = text(&plan.stdout);
    assert!(plan.status.success() && planned.starts_with("Nothing was changed"), "{planned}");
    assert_eq!(std::fs::read(&segment).unwrap(), damaged, "neither a refusal nor a plan changes anything");
    refused_start(dir);

    let done = recover(dir, &["--discard-log"]);
    let told = text(&done.stdout);
    assert!(done.status.success(), "{}", text(&done.stderr));
    let of_copies = |line: &&str| !line.starts_with("copy");
    let planned: Vec<&str> = planned.lines().filter(of_copies).skip(2).collect();
    assert_eq!(planned, told.lines().filter(of_copies).collect::<Vec<_>>(), "what was said before is what is done");
    assert!(told.contains("lost      record ") && told.contains(" that cannot be read\n"), "{told}");
    assert!(told.contains(&format!("lost      {} records from ", KEYS - DAMAGED - 1)), "{told}");
    assert!(told.contains(&format!("{} changed rows of 'keys'\n", KEYS - DAMAGED - 1)), "{told}");
    let copies = told.lines().filter_map(|line| Some(PathBuf::from(line.strip_prefix("copy      ")?)));
    let copies: Vec<Vec<u8>> = copies.map(|copy| std::fs::read(copy).unwrap()).collect();
    assert!(copies.len() == 2 && copies.contains(&damaged), "{told}");

    holds_what_was_before_the_damage(dir);
}

/// Changes a byte of the record that wrote [`DAMAGED`]; returns the segment and what is in it now.
fn damage(dir: &Path) -> (PathBuf, Vec<u8>) {
    let value = value(DAMAGED);
    for name in ["data.redb-log-0", "data.redb-log-1"] {
        let segment = dir.join(name);
        let mut bytes = std::fs::read(&segment).unwrap();
        let Some(at) = bytes.windows(value.len()).position(|bytes| bytes == value.as_bytes()) else { continue };
        bytes[at] ^= 1;
        std::fs::write(&segment, &bytes).unwrap();
        return (segment, bytes);
    }
    panic!("no record of the log holds '{value}'");
}

fn holds_what_was_before_the_damage(dir: &Path) {
    let server = Server::agq_in(dir, &[]);
    let mut wire = server.connect();
    for key in 0..KEYS {
        let expected = if key < DAMAGED { format!("\"{}\"", value(key)) } else { "$-1".to_owned() };
        assert_eq!(wire.call(&format!("GET key{key}")).unwrap().to_string(), expected);
    }
    assert_eq!(wire.call("SET later 1").unwrap().to_string(), "+OK");
    server.kill();
    let server = Server::agq_in(dir, &[]);
    assert_eq!(server.connect().call("GET later").unwrap().to_string(), "\"1\"", "and goes on as a store does");
    assert!(server.stop());
}

#[test]
fn where_there_is_no_store_nothing_is_recovered_or_made() {
    let dir = tempfile::tempdir().unwrap();
    let output = recover(&dir.path().join("missing"), &["--discard-log"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("there is no store in"), "{}", text(&output.stderr));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_store_that_was_closed_has_no_log_to_give_up() {
    let dir = tempfile::tempdir().unwrap();
    assert!(Server::agq_in(dir.path(), &[]).stop());
    let plan = recover(dir.path(), &[]);
    let planned = text(&plan.stdout);
    assert!(plan.status.success() && planned.contains("lost      nothing\n") && !planned.contains("copy"), "{planned}");
}
