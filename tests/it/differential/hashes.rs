//! Hashes.

use proptest::prelude::*;

use super::words::{number, word, words};

pub(super) fn hash_command() -> impl Strategy<Value = Vec<String>> {
    let named = || word(&["h", "h", "h", "g", "s", "nokey"]);
    let field = || word(&["f", "g", "n", "", "long field"]);
    let fields = || prop::collection::vec(field(), 1..4);
    let value = || prop_oneof![2 => number(), 1 => word(&["x", "", "some text"])];
    let entries = prop::collection::vec(
        prop_oneof![9 => (field(), value()).prop_map(|(a, b)| vec![a, b]), 1 => field().prop_map(|a| vec![a])],
        1..4,
    );
    let with = |(command, name, more): (String, String, Vec<String>)| {
        [command, name].into_iter().chain(more).collect::<Vec<_>>()
    };
    prop_oneof![
        5 => (word(&["HSET", "HSET", "HMSET"]), named(), entries.prop_map(|entries| entries.concat())).prop_map(with),
        2 => (named(), field(), value()).prop_map(|(a, b, c)| vec!["HSETNX".to_owned(), a, b, c]),
        3 => (word(&["HGET", "HSTRLEN", "HEXISTS", "HDEL"]), named(), field()).prop_map(|(a, b, c)| vec![a, b, c]),
        2 => (word(&["HMGET", "HDEL"]), named(), fields()).prop_map(with),
        3 => (word(&["HKEYS", "HVALS", "HGETALL", "HLEN"]), named()).prop_map(|(a, b)| vec![a, b]),
        2 => (named(), field(), number()).prop_map(|(a, b, c)| vec!["HINCRBY".to_owned(), a, b, c]),
        1 => (named(), named()).prop_map(|(a, b)| vec!["RENAME".to_owned(), a, b]),
        1 => (word(&["DEL", "TYPE"]), named()).prop_map(|(a, b)| vec![a, b]),
        1 => Just(words(&["SET", "s", "x"])),
    ]
}
