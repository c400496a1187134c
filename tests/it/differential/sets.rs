//! Sets.

use proptest::prelude::*;

use super::words::{number, word, words};

pub(super) fn set_command() -> impl Strategy<Value = Vec<String>> {
    let named = || word(&["t", "t", "u", "u", "v", "str", "nokey"]);
    let members = || prop::collection::vec(word(&["1", "2", "3", "10", "-1", "m", "n", ""]), 1..5);
    let several = || prop::collection::vec(named(), 1..4);
    let with = |(command, name, more): (String, String, Vec<String>)| {
        [command, name].into_iter().chain(more).collect::<Vec<_>>()
    };
    let card = (number(), several(), prop::collection::vec(prop_oneof![Just("LIMIT".to_owned()), number()], 0..3))
        .prop_map(|(count, keys, more)| {
            ["SINTERCARD".to_owned(), count].into_iter().chain(keys).chain(more).collect::<Vec<_>>()
        });
    prop_oneof![
        5 => (word(&["SADD", "SADD", "SREM", "SMISMEMBER"]), named(), members()).prop_map(with),
        2 => (word(&["SMEMBERS", "SCARD", "DEL", "TYPE"]), named()).prop_map(|(a, b)| vec![a, b]),
        // All of them: which ones come of several is a matter of chance.
        1 => (word(&["SPOP", "SRANDMEMBER"]), named(), word(&["100", "100", "0", "x"])).prop_map(|(a, b, c)| vec![a, b, c]),
        2 => (named(), named(), members())
            .prop_map(|(a, b, mut members)| vec!["SMOVE".to_owned(), a, b, members.swap_remove(0)]),
        3 => (word(&["SINTER", "SUNION", "SDIFF"]), named(), several()).prop_map(with),
        3 => (word(&["SINTERSTORE", "SUNIONSTORE", "SDIFFSTORE"]), named(), several()).prop_map(with),
        1 => (named(), word(&["1", "m", ""])).prop_map(|(a, b)| vec!["SISMEMBER".to_owned(), a, b]),
        1 => card,
        1 => (word(&["SSCAN"]), named(), word(&["0", "x"]), word(&["100", "-1"]))
            .prop_map(|(a, b, c, d)| vec![a, b, c, "COUNT".to_owned(), d]),
        1 => Just(words(&["SET", "str", "x"])),
    ]
}
