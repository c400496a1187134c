//! Sorted sets.

use proptest::prelude::*;

use super::words::{member, number, score, score_bound, word, words};

fn zset_name() -> impl Strategy<Value = String> {
    word(&["z", "z", "z", "y", "s"])
}

fn limit() -> impl Strategy<Value = Vec<String>> {
    prop_oneof![
        2 => Just(Vec::new()),
        1 => Just(words(&["WITHSCORES"])),
        1 => (-1_i64..3, -1_i64..3).prop_map(|(a, b)| words(&["LIMIT", &a.to_string(), &b.to_string()])),
    ]
}

pub(super) fn zset_command() -> impl Strategy<Value = Vec<String>> {
    let flags = prop::collection::vec(word(&["NX", "XX", "GT", "LT", "CH", "CH", "INCR"]), 0..3);
    let pairs = prop::collection::vec((score(), member()), 1..4);
    let options = prop::collection::vec(word(&["REV", "WITHSCORES", "BYSCORE"]), 0..3);
    let both = || (score_bound(), score_bound());
    let ends = || word(&["-", "+", "[m", "(m", "[mm", "(n", "[o", "[", "m", ""]);
    let some = || {
        let limit = (-1_i64..3, -1_i64..3).prop_map(|(a, b)| words(&["LIMIT", &a.to_string(), &b.to_string()]));
        prop_oneof![Just(Vec::new()), limit, Just(words(&["WITHSCORES"]))]
    };
    let with_more = |(a, b, c, d, more): (String, String, String, String, Vec<String>)| {
        [a, b, c, d].into_iter().chain(more).collect::<Vec<_>>()
    };
    let reversed = prop_oneof![
        (word(&["ZREVRANGE"]), zset_name(), number(), number(), some()).prop_map(with_more),
        (word(&["ZREVRANGEBYSCORE"]), zset_name(), score_bound(), score_bound(), limit()).prop_map(with_more),
        (zset_name(), score(), member()).prop_map(|(a, b, c)| vec!["ZINCRBY".to_owned(), a, b, c]),
        (zset_name(), number(), number()).prop_map(|(a, b, c)| vec!["ZREMRANGEBYRANK".to_owned(), a, b, c]),
    ];
    // Where scores differ, ranges of members have no meaning: they are asked of a set whose scores are alike.
    let alike = prop_oneof![
        2 => member().prop_map(|member| vec!["ZADD".to_owned(), "lex".to_owned(), "0".to_owned(), member]),
        2 => (word(&["ZRANGEBYLEX", "ZREVRANGEBYLEX"]), Just("lex".to_owned()), ends(), ends(), some())
            .prop_map(with_more),
        1 => (word(&["ZLEXCOUNT", "ZREMRANGEBYLEX"]), ends(), ends())
            .prop_map(|(command, a, b)| vec![command, "lex".to_owned(), a, b]),
    ];
    let reversed = prop_oneof![reversed, alike];
    prop_oneof![
        6 => (zset_name(), flags, pairs).prop_map(|(name, flags, pairs)| {
            let pairs = pairs.into_iter().flat_map(|(score, member)| [score, member]);
            ["ZADD".to_owned(), name].into_iter().chain(flags).chain(pairs).collect()
        }),
        1 => (word(&["ZSCORE", "ZREM", "ZMSCORE", "ZRANK", "ZREVRANK"]), zset_name(), member()).prop_map(|(a, b, c)| vec![a, b, c]),
        2 => (word(&["ZCARD", "ZPOPMIN", "ZPOPMAX", "TYPE", "DEL"]), zset_name()).prop_map(|(a, b)| vec![a, b]),
        1 => (word(&["ZPOPMIN", "ZPOPMAX"]), zset_name(), number()).prop_map(|(a, b, c)| vec![a, b, c]),
        3 => (zset_name(), number(), number(), options)
            .prop_map(|(a, b, c, options)| ["ZRANGE".to_owned(), a, b, c].into_iter().chain(options).collect()),
        3 => (zset_name(), both(), limit())
            .prop_map(|(a, (b, c), limit)| ["ZRANGEBYSCORE".to_owned(), a, b, c].into_iter().chain(limit).collect()),
        2 => (word(&["ZCOUNT", "ZREMRANGEBYSCORE"]), zset_name(), both()).prop_map(|(a, b, (c, d))| vec![a, b, c, d]),
        1 => (word(&["BZPOPMIN", "BZPOPMAX"]), zset_name(), zset_name())
            .prop_map(|(a, b, c)| vec![a, b, c, "0.001".to_owned()]),
        1 => prop_oneof![
            Just(words(&["SET", "s", "x"])),
            (zset_name(), zset_name()).prop_map(|(a, b)| vec!["RENAME".to_owned(), a, b]),
        ],
        4 => reversed,
    ]
}
