//! Several databases.

use proptest::prelude::*;

use super::words::{member, value, word, words};

/// Keys that go to other databases, and databases that change places.
pub(super) fn database_command() -> impl Strategy<Value = Vec<String>> {
    let named = || word(&["a", "a", "b", "c", "nokey"]);
    let index = || word(&["0", "1", "1", "2", "2", "15", "16", "-1", "x"]);
    let option = prop_oneof![
        2 => Just(words(&["REPLACE"])),
        2 => index().prop_map(|index| vec!["DB".to_owned(), index]),
        1 => word(&["DB", "WHAT"]).prop_map(|word| vec![word]),
    ];
    let options = prop::collection::vec(option, 0..3).prop_map(|options| options.concat());
    prop_oneof![
        2 => (named(), value()).prop_map(|(a, b)| vec!["SET".to_owned(), a, b]),
        2 => (word(&["RPUSH", "SADD"]), named(), value()).prop_map(|(a, b, c)| vec![a, b, c]),
        2 => (word(&["HSET"]), named(), value(), value()).prop_map(|(a, b, c, d)| vec![a, b, c, d]),
        2 => (named(), member()).prop_map(|(a, b)| vec!["ZADD".to_owned(), a, "1".to_owned(), b]),
        5 => (named(), named(), options).prop_map(|(a, b, options)| [vec!["COPY".to_owned(), a, b], options].concat()),
        4 => (named(), index()).prop_map(|(a, b)| vec!["MOVE".to_owned(), a, b]),
        2 => (index(), index()).prop_map(|(a, b)| vec!["SWAPDB".to_owned(), a, b]),
        3 => word(&["0", "1", "2"]).prop_map(|index| vec!["SELECT".to_owned(), index]),
        2 => (word(&["TYPE", "GET", "LLEN", "HLEN", "SMEMBERS", "ZCARD", "DEL", "TTL"]), named())
            .prop_map(|(a, b)| vec![a, b]),
        1 => named().prop_map(|name| [words(&["LRANGE"]), vec![name], words(&["0", "-1"])].concat()),
        1 => (named(), value()).prop_map(|(a, b)| vec!["HGET".to_owned(), a, b]),
        1 => word(&["DBSIZE", "FLUSHDB"]).prop_map(|command| vec![command]),
        1 => named().prop_map(|name| vec!["EXPIRE".to_owned(), name, "1000".to_owned()]),
    ]
}
