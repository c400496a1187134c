//! Random commands against AGQ and against a real Redis: every reply must be the same, byte by byte.

use std::cell::RefCell;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::script::redis_or_note;
use crate::support::server::Server;
use crate::support::wire::Wire;

/// Few names and values, so that commands meet; now and then a wrong one.
fn word(words: &'static [&'static str]) -> impl Strategy<Value = String> {
    prop::sample::select(words).prop_map(str::to_owned)
}

fn name() -> impl Strategy<Value = String> {
    word(&["a", "a", "a", "b", "b", "h", "s"])
}

fn value() -> impl Strategy<Value = String> {
    word(&["x", "y", "z", "1", "-5", ""])
}

fn number() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => (-6_i64..7).prop_map(|number| number.to_string()),
        1 => word(&["x", "", "9223372036854775807", "-9223372036854775807", "1.5", "+1", "01"]),
    ]
}

fn side() -> impl Strategy<Value = String> {
    word(&["LEFT", "RIGHT", "left", "right", "UP"])
}

/// The options of LPOS.
fn search() -> impl Strategy<Value = Vec<String>> {
    let option = (word(&["RANK", "COUNT", "MAXLEN"]), number()).prop_map(|(option, number)| vec![option, number]);
    prop::collection::vec(option, 0..3).prop_map(|options| options.concat())
}

fn command() -> impl Strategy<Value = Vec<String>> {
    let pushed = prop::collection::vec(value(), 1..6);
    let entries = prop::collection::vec((word(&["f", "g", "n"]), value()), 1..3);
    let field = || word(&["f", "g", "n"]);
    prop_oneof![
        4 => (word(&["LPUSH", "RPUSH"]), name(), pushed).prop_map(|(command, name, mut values)| {
            values.splice(0..0, [command, name]);
            values
        }),
        2 => (word(&["LPOP", "RPOP", "LLEN", "HLEN", "DEL", "TYPE"]), name()).prop_map(|(a, b)| vec![a, b]),
        2 => (word(&["LPOP", "RPOP", "LINDEX"]), name(), number()).prop_map(|(a, b, c)| vec![a, b, c]),
        2 => (name(), number(), number()).prop_map(|(a, b, c)| vec!["LRANGE".to_owned(), a, b, c]),
        3 => (name(), number(), value()).prop_map(|(a, b, c)| vec!["LREM".to_owned(), a, b, c]),
        2 => (name(), value(), search()).prop_map(|(name, value, mut options)| {
            options.splice(0..0, ["LPOS".to_owned(), name, value]);
            options
        }),
        1 => (name(), name(), side(), side()).prop_map(|(a, b, c, d)| vec!["LMOVE".to_owned(), a, b, c, d]),
        1 => (name(), name()).prop_map(|(a, b)| vec!["RPOPLPUSH".to_owned(), a, b]),
        1 => (word(&["BLPOP", "BRPOP"]), name(), name()).prop_map(|(a, b, c)| vec![a, b, c, "0.001".to_owned()]),
        2 => (name(), entries).prop_map(|(name, entries)| {
            let entries = entries.into_iter().flat_map(|(field, value)| [field, value]);
            ["HSET".to_owned(), name].into_iter().chain(entries).collect()
        }),
        1 => (word(&["HGET", "HDEL", "HEXISTS", "HMGET"]), name(), field()).prop_map(|(a, b, c)| vec![a, b, c]),
        1 => (name(), field(), number()).prop_map(|(a, b, c)| vec!["HINCRBY".to_owned(), a, b, c]),
        1 => Just(vec!["SET".to_owned(), "s".to_owned(), "x".to_owned()]),
    ]
}

fn replies(wire: &mut Wire, commands: &[Vec<String>]) -> Vec<String> {
    let bytes = |command: &Vec<String>| command.iter().map(|word| word.clone().into_bytes()).collect();
    wire.call("FLUSHALL").unwrap();
    wire.send(&commands.iter().map(bytes).collect::<Vec<_>>()).unwrap();
    commands.iter().map(|_| wire.read().unwrap().to_string()).collect()
}

#[test]
fn random_commands_are_answered_as_redis_answers_them() {
    let Some(redis) = redis_or_note() else { return };
    let agq = Server::agq(&["--durability", "none"]);
    let (redis, agq) = (RefCell::new(redis.connect()), RefCell::new(agq.connect()));
    let config = Config { cases: 300, failure_persistence: None, ..Config::default() };
    let result = TestRunner::new(config).run(&prop::collection::vec(command(), 1..40), |commands| {
        let expected = replies(&mut redis.borrow_mut(), &commands);
        let found = replies(&mut agq.borrow_mut(), &commands);
        for ((command, expected), found) in commands.iter().zip(expected).zip(found) {
            prop_assert_eq!(found, expected, "{}", command.join(" "));
        }
        Ok(())
    });
    result.unwrap_or_else(|failure| panic!("{failure}"));
}
