//! Lists, and some of hashes.

use proptest::prelude::*;

use super::words::{name, number, value, word};

fn side() -> impl Strategy<Value = String> {
    word(&["LEFT", "RIGHT", "left", "right", "UP"])
}

/// The options of LPOS.
fn search() -> impl Strategy<Value = Vec<String>> {
    let option = (word(&["RANK", "COUNT", "MAXLEN"]), number()).prop_map(|(option, number)| vec![option, number]);
    prop::collection::vec(option, 0..3).prop_map(|options| options.concat())
}

pub(super) fn command() -> impl Strategy<Value = Vec<String>> {
    let pushed = prop::collection::vec(value(), 1..6);
    let entries = prop::collection::vec((word(&["f", "g", "n"]), value()), 1..3);
    let field = || word(&["f", "g", "n"]);
    prop_oneof![
        4 => (word(&["LPUSH", "RPUSH", "LPUSH", "RPUSH", "LPUSHX", "RPUSHX"]), name(), pushed).prop_map(|(command, name, mut values)| {
            values.splice(0..0, [command, name]);
            values
        }),
        2 => (word(&["LPOP", "RPOP", "LLEN", "HLEN", "DEL", "TYPE"]), name()).prop_map(|(a, b)| vec![a, b]),
        2 => (word(&["LPOP", "RPOP", "LINDEX"]), name(), number()).prop_map(|(a, b, c)| vec![a, b, c]),
        2 => (name(), number(), number()).prop_map(|(a, b, c)| vec!["LRANGE".to_owned(), a, b, c]),
        2 => (word(&["LSET", "LTRIM"]), name(), number(), number()).prop_map(|(a, b, c, d)| vec![a, b, c, d]),
        3 => (name(), number(), value()).prop_map(|(a, b, c)| vec!["LREM".to_owned(), a, b, c]),
        3 => (name(), word(&["BEFORE", "AFTER"]), value(), value())
            .prop_map(|(a, b, c, d)| vec!["LINSERT".to_owned(), a, b, c, d]),
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
