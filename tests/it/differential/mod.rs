//! Random commands against AGQ and against a real Redis: every reply must be the same, byte by byte.
//!
//! `AGQ_DIFFERENTIAL_CASES` gives how many sequences each test tries, `AGQ_DIFFERENTIAL_SEED` where they begin.

mod bitmaps;
mod connections;
mod databases;
mod hashes;
mod inspect;
mod lists;
mod sets;
mod several;
mod sorts;
mod strings;
mod words;
mod zsets;

use std::cell::RefCell;
use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use crate::script::redis_or_note;
use crate::support::random;
use crate::support::server::Server;
use crate::support::wire::{Frame, Wire};
use words::words;

/// Commands whose replies have no order.
const UNORDERED: [&str; 10] =
    ["SMEMBERS", "SINTER", "SUNION", "SDIFF", "SPOP", "SRANDMEMBER", "SSCAN", "HKEYS", "HVALS", "HGETALL"];

/// A reply as text; what has no order is put into one.
fn text(command: &[String], mut reply: Frame) -> String {
    // The replies of a transaction are compared whatever order each has in itself.
    if UNORDERED.contains(&command[0].as_str()) || command[0] == "EXEC" {
        sort(&mut reply);
    }
    if ["PTTL", "EXEC"].contains(&command[0].as_str()) {
        round(&mut reply);
    }
    reply.to_string()
}

fn sort(frame: &mut Frame) {
    if let Frame::Many(_, items) = frame {
        items.iter_mut().for_each(sort);
        items.sort_by_key(Frame::to_string);
    }
}

/// A time to live in milliseconds is rounded: the two were asked at different moments.
fn round(frame: &mut Frame) {
    match frame {
        Frame::Line(b':', digits) => {
            let number = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse::<i64>().ok());
            if let Some(number) = number.filter(|number| *number > 1000) {
                *digits = (number.saturating_add(500) / 1000 * 1000).to_string().into_bytes();
            }
        }
        Frame::Many(_, items) => items.iter_mut().for_each(round),
        _ => {}
    }
}

/// What is sent: some of the commands in a transaction, all in one version of the protocol.
#[derive(Debug, Clone)]
struct Sequence {
    commands: Vec<Vec<String>>,
    resp3: bool,
    /// Whether all that is there in the end is compared too.
    inspected: bool,
}

fn sequence(command: impl Strategy<Value = Vec<String>>) -> impl Strategy<Value = Sequence> {
    let transaction = prop::option::weighted(0.3, (0_usize..40, 0_usize..20));
    let parts = (prop::collection::vec(command, 1..40), transaction, any::<bool>(), prop::bool::weighted(0.2));
    parts.prop_map(|(mut commands, transaction, resp3, inspected)| {
        if let Some((from, length)) = transaction {
            let from = from.min(commands.len());
            commands.insert(from, words(&["MULTI"]));
            commands.insert((from + 1 + length).min(commands.len()), words(&["EXEC"]));
        }
        Sequence { commands, resp3, inspected }
    })
}

fn replies(wire: &mut Wire, Sequence { commands, resp3, .. }: &Sequence) -> Vec<String> {
    let bytes = |command: &Vec<String>| command.iter().map(|word| word.clone().into_bytes()).collect();
    wire.call("FLUSHALL").unwrap();
    wire.call(if *resp3 { "HELLO 3" } else { "HELLO 2" }).unwrap();
    wire.send(&commands.iter().map(bytes).collect::<Vec<_>>()).unwrap();
    commands.iter().map(|command| text(command, wire.read().unwrap())).collect()
}

#[test]
fn random_commands_are_answered_as_redis_answers_them() {
    compare(lists::command());
}

#[test]
fn hashes_are_answered_as_redis_answers_them() {
    compare(hashes::hash_command());
}

#[test]
fn sorted_sets_are_answered_as_redis_answers_them() {
    compare(zsets::zset_command());
}

#[test]
fn strings_and_deadlines_are_answered_as_redis_answers_them() {
    compare(strings::string_command());
}

#[test]
fn sets_are_answered_as_redis_answers_them() {
    compare(sets::set_command());
}

#[test]
fn combinations_are_answered_as_redis_answers_them() {
    compare(several::several_command());
}

#[test]
fn bitmaps_are_answered_as_redis_answers_them() {
    compare(bitmaps::bitmap_command());
}

#[test]
fn fractions_are_answered_as_redis_answers_them() {
    compare(strings::float_command());
}

#[test]
fn common_subsequences_are_answered_as_redis_answers_them() {
    compare(strings::lcs_command());
}

#[test]
fn sorts_are_answered_as_redis_answers_them() {
    compare(sorts::sort_command());
}

#[test]
fn databases_are_answered_as_redis_answers_them() {
    compare(databases::database_command());
}

fn compare(command: impl Strategy<Value = Vec<String>>) {
    let Some(redis) = redis_or_note() else { return };
    let agq = Server::agq(&["--durability", "none"]);
    // Redis ends waits ten times a second unless told otherwise, which is most of the time that this would take.
    redis.connect().call("CONFIG SET hz 500").unwrap();
    let (redis, agq) = (RefCell::new(redis.connect()), RefCell::new(agq.connect()));
    let (mut runner, seed) = random::differential(3000);
    let result = runner.run(&sequence(command), |sent| {
        let expected = replies(&mut redis.borrow_mut(), &sent);
        let found = replies(&mut agq.borrow_mut(), &sent);
        for ((command, expected), found) in sent.commands.iter().zip(expected).zip(found) {
            prop_assert_eq!(found, expected, "{}", command.join(" "));
        }
        if sent.inspected {
            let compared = inspect::compare(&mut redis.borrow_mut(), &mut agq.borrow_mut());
            prop_assert_eq!(compared, Ok(()));
        }
        Ok(())
    });
    result.unwrap_or_else(|failure| panic!("with the seed {seed}: {failure}"));
}

#[test]
fn every_command_of_the_types_is_compared() {
    let mut runner = TestRunner::deterministic();
    let mut compared: BTreeSet<String> = inspect::COMPARED.into_iter().map(str::to_owned).collect();
    let generators = [
        lists::command().boxed(),
        hashes::hash_command().boxed(),
        zsets::zset_command().boxed(),
        strings::string_command().boxed(),
        strings::float_command().boxed(),
        strings::lcs_command().boxed(),
        sets::set_command().boxed(),
        several::several_command().boxed(),
        bitmaps::bitmap_command().boxed(),
        sorts::sort_command().boxed(),
        databases::database_command().boxed(),
        connections::command().boxed(),
    ];
    for generator in generators {
        for _ in 0..5000 {
            compared.insert(generator.new_tree(&mut runner).unwrap().current()[0].to_uppercase());
        }
    }
    let server = Server::agq(&["--durability", "none"]);
    let mut wire = server.connect();
    for category in ["string", "list", "hash", "sortedset", "set", "bitmap", "keyspace", "transaction"] {
        let listed = wire.call(&format!("COMMAND LIST FILTERBY ACLCAT {category}")).unwrap();
        let Frame::Many(_, listed) = listed else { panic!("{listed}") };
        assert!(!listed.is_empty());
        let missing = |name: &Frame| {
            let Frame::Blob(_, name) = name else { panic!("{name}") };
            let name = String::from_utf8(name.to_ascii_uppercase()).unwrap();
            // What OBJECT answers follows from how values are stored, which scripts compare where it is alike.
            (name != "OBJECT" && !compared.contains(&name)).then_some(name)
        };
        assert_eq!(listed.iter().filter_map(missing).collect::<Vec<_>>(), [""; 0], "{category}");
    }
}
