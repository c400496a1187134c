//! What takes several keys.

use proptest::prelude::*;

use super::words::{member, number, score, score_bound, value, word, words};

/// Sorted sets combined, and elements of the first of several keys.
pub(super) fn several_command() -> impl Strategy<Value = Vec<String>> {
    let named = || word(&["z", "z", "y", "y", "t", "l", "k", "nokey"]);
    let keys = || prop::collection::vec(named(), 1..4);
    let counted = |wrong: String, keys: Vec<String>| {
        let count = if wrong.is_empty() { keys.len().to_string() } else { wrong };
        [count].into_iter().chain(keys).collect::<Vec<_>>()
    };
    let wrong = || word(&["", "", "", "", "", "", "", "0", "-1", "x", "9"]);
    let counted = move || (wrong(), keys()).prop_map(move |(wrong, keys)| counted(wrong, keys));
    let option = prop_oneof![
        2 => Just(words(&["WITHSCORES"])),
        2 => prop::collection::vec(score(), 1..4).prop_map(|weights| [words(&["WEIGHTS"]), weights].concat()),
        2 => word(&["SUM", "MIN", "max", "AVG"]).prop_map(|how| vec!["AGGREGATE".to_owned(), how]),
        1 => number().prop_map(|limit| vec!["LIMIT".to_owned(), limit]),
    ];
    let options = prop::collection::vec(option, 0..3).prop_map(|options| options.concat());
    let combined = (word(&["ZUNION", "ZINTER", "ZDIFF", "ZINTERCARD"]), counted(), options.clone())
        .prop_map(|(command, keys, options)| [vec![command], keys, options].concat());
    let stored = (word(&["ZUNIONSTORE", "ZINTERSTORE", "ZDIFFSTORE"]), named(), counted(), options)
        .prop_map(|(command, name, keys, options)| [vec![command, name], keys, options].concat());
    let count = || prop_oneof![2 => Just(Vec::new()), 1 => number().prop_map(|count| vec!["COUNT".to_owned(), count])];
    let side = || word(&["MIN", "MAX", "LEFT", "RIGHT", "right"]);
    let pop = (word(&["LMPOP", "ZMPOP"]), counted(), side(), count())
        .prop_map(|(command, keys, side, count)| [vec![command], keys, vec![side], count].concat());
    let blocking = (word(&["BLMPOP", "BZMPOP"]), word(&["0.001", "0.001", "x", "-1"]), counted(), side(), count())
        .prop_map(|(command, wait, keys, side, count)| [vec![command, wait], keys, vec![side], count].concat());
    let range_options = prop::collection::vec(word(&["REV", "BYSCORE", "WITHSCORES"]), 0..2);
    let range = (named(), named(), score_bound(), score_bound(), range_options)
        .prop_map(|(a, b, c, d, options)| [vec!["ZRANGESTORE".to_owned(), a, b, c, d], options].concat());
    prop_oneof![
        6 => (named(), score(), member()).prop_map(|(a, b, c)| vec!["ZADD".to_owned(), a, b, c]),
        3 => (word(&["t", "z"]), member()).prop_map(|(a, b)| vec!["SADD".to_owned(), a, b]),
        4 => (word(&["RPUSH", "LPUSH"]), word(&["l", "k"]), value()).prop_map(|(a, b, c)| vec![a, b, c]),
        2 => (word(&["l", "k"]), word(&["BEFORE", "AFTER", "AFTER", "IN"]), value(), value())
            .prop_map(|(a, b, c, d)| vec!["LINSERT".to_owned(), a, b, c, d]),
        1 => (word(&["l", "k"]), number(), value()).prop_map(|(a, b, c)| vec!["LREM".to_owned(), a, b, c]),
        1 => word(&["l", "k"]).prop_map(|a| [words(&["LRANGE"]), vec![a], words(&["0", "-1"])].concat()),
        2 => named().prop_map(|a| [words(&["ZRANGE"]), vec![a], words(&["0", "-1", "WITHSCORES"])].concat()),
        4 => combined,
        3 => stored,
        3 => pop,
        1 => blocking,
        1 => range,
        1 => named().prop_map(|name| vec!["DEL".to_owned(), name]),
    ]
}
