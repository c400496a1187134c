//! Random commands against AGQ and against a real Redis: every reply must be the same, byte by byte.
//!
//! `AGQ_DIFFERENTIAL_CASES` gives how many sequences each test tries, `AGQ_DIFFERENTIAL_SEED` where they begin.

use std::cell::RefCell;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::script::redis_or_note;
use crate::support::server::Server;
use crate::support::wire::{Frame, Wire};

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

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn score() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => (-3_i64..4).prop_map(|number| number.to_string()),
        2 => word(&["0.5", "-0", "1e3", "inf", "-inf", "+inf", "3.0", "0.1", "1e21", "-1.5e-7"]),
        1 => word(&["x", "", "nan", "1e400", " 1", "1 "]),
    ]
}

fn score_bound() -> impl Strategy<Value = String> {
    (word(&["", "", "("]), score()).prop_map(|(open, score)| open + &score)
}

fn zset_name() -> impl Strategy<Value = String> {
    word(&["z", "z", "z", "y", "s"])
}

fn member() -> impl Strategy<Value = String> {
    word(&["m", "n", "o", "mm", ""])
}

fn limit() -> impl Strategy<Value = Vec<String>> {
    prop_oneof![
        2 => Just(Vec::new()),
        1 => Just(words(&["WITHSCORES"])),
        1 => (-1_i64..3, -1_i64..3).prop_map(|(a, b)| words(&["LIMIT", &a.to_string(), &b.to_string()])),
    ]
}

fn zset_command() -> impl Strategy<Value = Vec<String>> {
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

fn string_command() -> impl Strategy<Value = Vec<String>> {
    let named = || word(&["k", "k", "n", "n", "z", "nokey"]);
    let text = || prop_oneof![number(), word(&["x", "hello", "9223372036854775800"])];
    let option = prop_oneof![
        4 => word(&["NX", "XX", "GET", "KEEPTTL", "nx", "FOO"]).prop_map(|option| vec![option]),
        1 => (word(&["EX", "PX", "EXAT"]), word(&["1000000", "1000000", "0", "-1", "x", ""]))
            .prop_map(|(option, value)| vec![option, value]),
    ];
    let options = prop::collection::vec(option, 0..3).prop_map(|options| options.concat());
    // The two are asked at different moments, so no reply may hang on a millisecond: what lies in the future is relative
    // and whole seconds, and deadlines are not compared with each other.
    let when = word(&["1000", "1000", "5000", "0", "-1", "x", "9223372036854775807"]);
    let rule = prop::collection::vec(word(&["NX", "XX", "xx", "FOO"]), 0..2);
    let getex = prop_oneof![
        2 => word(&["PERSIST", "KEEPTTL"]).prop_map(|option| vec![option]),
        3 => (word(&["EX", "PX", "EXAT"]), word(&["1000000", "1", "0", "-1", "x"])).prop_map(|(a, b)| vec![a, b]),
    ];
    let getex = prop::collection::vec(getex, 0..3).prop_map(|options| options.concat());
    let parts = prop_oneof![
        2 => (word(&["GETRANGE", "SUBSTR"]), named(), number(), number()).prop_map(|(a, b, c, d)| vec![a, b, c, d]),
        2 => (named(), number(), text()).prop_map(|(a, b, c)| vec!["SETRANGE".to_owned(), a, b, c]),
        2 => (named(), getex).prop_map(|(a, more)| ["GETEX".to_owned(), a].into_iter().chain(more).collect()),
        1 => (word(&["GETSET", "SETNX"]), named(), text()).prop_map(|(a, b, c)| vec![a, b, c]),
        1 => (named(), text(), named(), text()).prop_map(|(a, b, c, d)| vec!["MSETNX".to_owned(), a, b, c, d]),
        1 => (word(&["RENAMENX", "TOUCH"]), named(), named()).prop_map(|(a, b, c)| vec![a, b, c]),
    ];
    prop_oneof![
        4 => parts,
        5 => (named(), text(), options)
            .prop_map(|(name, text, options)| ["SET".to_owned(), name, text].into_iter().chain(options).collect()),
        4 => (word(&["GET", "INCR", "DECR", "STRLEN", "GETDEL", "PERSIST", "TTL", "TYPE", "EXISTS"]), named())
            .prop_map(|(a, b)| vec![a, b]),
        3 => (word(&["INCRBY", "DECRBY", "APPEND"]), named(), text()).prop_map(|(a, b, c)| vec![a, b, c]),
        1 => (named(), word(&["1000", "0", "x"]), text()).prop_map(|(a, b, c)| vec!["SETEX".to_owned(), a, b, c]),
        1 => (named(), text(), named(), text()).prop_map(|(a, b, c, d)| vec!["MSET".to_owned(), a, b, c, d]),
        1 => (named(), named()).prop_map(|(a, b)| vec!["MGET".to_owned(), a, b]),
        2 => (named(), named()).prop_map(|(a, b)| vec!["RENAME".to_owned(), a, b]),
        2 => (word(&["EXPIRE", "EXPIREAT"]), named(), when, rule)
            .prop_map(|(a, b, c, rule)| [a, b, c].into_iter().chain(rule).collect()),
        1 => prop_oneof![
            (word(&["DEL", "UNLINK"]), named(), named()).prop_map(|(a, b, c)| vec![a, b, c]),
            Just(words(&["ZADD", "z", "1", "m"])),
        ],
    ]
}

fn set_command() -> impl Strategy<Value = Vec<String>> {
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
        1 => card,
        1 => (word(&["SSCAN"]), named(), word(&["0", "x"]), word(&["100", "-1"]))
            .prop_map(|(a, b, c, d)| vec![a, b, c, "COUNT".to_owned(), d]),
        1 => Just(words(&["SET", "str", "x"])),
    ]
}

/// Numbers with fractions: usual ones, hard ones, and none at all.
fn float_command() -> impl Strategy<Value = Vec<String>> {
    let number = || {
        prop_oneof![
            4 => (any::<i32>(), 0_usize..12).prop_map(|(number, places)| format!("{:.*}", places, f64::from(number) / 1e6)),
            2 => any::<f64>().prop_filter("", |number| number.is_normal()).prop_map(|number| format!("{number:e}")),
            2 => any::<i64>().prop_map(|number| number.to_string()),
            2 => (any::<u64>(), any::<u64>(), -40_i32..40).prop_map(|(a, b, e)| format!("{a}.{b}e{e}")),
            1 => word(&["0.1", "0.2", "-0.3", "1e-17", "-0", "5e-18", "1e4931", "-1e4932", "1e-4950", "9e4932"]),
            1 => word(&["inf", "-inf", "nan", "x", "", " 1", "1 ", ".5", "5.", ".", "+2", "1e", "1e+2", "--1"]),
        ]
    };
    let named = || word(&["n", "n", "n", "m", "l"]);
    prop_oneof![
        6 => (named(), number()).prop_map(|(a, b)| vec!["INCRBYFLOAT".to_owned(), a, b]),
        6 => (word(&["h", "h", "l"]), word(&["f", "g"]), number())
            .prop_map(|(a, b, c)| vec!["HINCRBYFLOAT".to_owned(), a, b, c]),
        2 => (named(), number()).prop_map(|(a, b)| vec!["SET".to_owned(), a, b]),
        2 => (word(&["h"]), word(&["f", "g"]), number()).prop_map(|(a, b, c)| vec!["HSET".to_owned(), a, b, c]),
        1 => Just(words(&["RPUSH", "l", "x"])),
        1 => word(&["n", "m", "h"]).prop_map(|name| vec!["DEL".to_owned(), name]),
    ]
}

fn bitmap_command() -> impl Strategy<Value = Vec<String>> {
    let named = || word(&["b", "b", "c", "d", "l", "nokey"]);
    let offset = || {
        prop_oneof![
            6 => (0_u64..40).prop_map(|bit| bit.to_string()),
            1 => word(&["#0", "#1", "#3", "-1", "x", "4294967296", "300000"]),
        ]
    };
    let unit =
        || prop_oneof![3 => Just(Vec::new()), 2 => word(&["BIT", "BYTE", "bit", "X"]).prop_map(|unit| vec![unit])];
    let ends = || prop::collection::vec(number(), 0..3);
    let encoding = || word(&["u8", "i8", "u1", "i5", "u13", "i64", "u63", "i33", "u64", "i0", "x", "u"]);
    let amount = || prop_oneof![4 => (-300_i64..300).prop_map(|number| number.to_string()), 1 => number()];
    let operation = prop_oneof![
        3 => (encoding(), offset()).prop_map(|(a, b)| vec!["GET".to_owned(), a, b]),
        4 => (word(&["SET", "INCRBY", "INCRBY"]), encoding(), offset(), amount()).prop_map(|(a, b, c, d)| vec![a, b, c, d]),
        2 => word(&["WRAP", "SAT", "FAIL", "X"]).prop_map(|how| vec!["OVERFLOW".to_owned(), how]),
        1 => word(&["GET", "FOO", "SET"]).prop_map(|word| vec![word]),
    ];
    let operations = prop::collection::vec(operation, 1..4).prop_map(|operations| operations.concat());
    prop_oneof![
        5 => (named(), offset(), word(&["0", "1", "1", "2"])).prop_map(|(a, b, c)| vec!["SETBIT".to_owned(), a, b, c]),
        2 => (named(), offset()).prop_map(|(a, b)| vec!["GETBIT".to_owned(), a, b]),
        3 => (named(), ends(), unit()).prop_map(|(a, ends, unit)| [vec!["BITCOUNT".to_owned(), a], ends, unit].concat()),
        3 => (named(), word(&["0", "1", "2"]), ends(), unit())
            .prop_map(|(a, bit, ends, unit)| [vec!["BITPOS".to_owned(), a, bit], ends, unit].concat()),
        3 => (word(&["AND", "OR", "XOR", "NOT", "NAND"]), named(), prop::collection::vec(named(), 1..4))
            .prop_map(|(how, a, keys)| [vec!["BITOP".to_owned(), how, a], keys].concat()),
        5 => (word(&["BITFIELD", "BITFIELD", "BITFIELD_RO"]), named(), operations)
            .prop_map(|(a, b, operations)| [vec![a, b], operations].concat()),
        2 => (word(&["GET", "STRLEN"]), named()).prop_map(|(a, b)| vec![a, b]),
        1 => (named(), word(&["x", "hello", "\u{ff}"])).prop_map(|(a, b)| vec!["SET".to_owned(), a, b]),
        1 => Just(words(&["RPUSH", "l", "x"])),
    ]
}

/// What strings of few different bytes have in common.
fn lcs_command() -> impl Strategy<Value = Vec<String>> {
    let named = || word(&["a", "a", "b", "b", "c", "l", "nokey"]);
    let text = prop_oneof![
        3 => "[ab]{0,40}",
        2 => "[a-d]{0,150}",
        1 => "[a-z]{0,20}",
    ];
    let option = prop_oneof![
        4 => word(&["IDX", "IDX", "WITHMATCHLEN", "LEN", "idx", "FOO", "MINMATCHLEN"]).prop_map(|option| vec![option]),
        2 => number().prop_map(|least| vec!["MINMATCHLEN".to_owned(), least]),
    ];
    let options = prop::collection::vec(option, 0..3).prop_map(|options| options.concat());
    prop_oneof![
        3 => (word(&["a", "b", "c"]), text.clone()).prop_map(|(a, text)| vec!["SET".to_owned(), a, text]),
        1 => (word(&["a", "b", "c"]), text).prop_map(|(a, text)| vec!["APPEND".to_owned(), a, text]),
        4 => (named(), named(), options).prop_map(|(a, b, options)| [vec!["LCS".to_owned(), a, b], options].concat()),
        1 => Just(words(&["RPUSH", "l", "x"])),
    ]
}

/// Sorted sets combined, and elements of the first of several keys.
fn several_command() -> impl Strategy<Value = Vec<String>> {
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

/// What is sorted, by what stands elsewhere, and stored again. Nothing whose order is a matter of chance: sets are not
/// asked for the order that they have, and letters decide over weights only in a list short enough for Redis to leave
/// in place what is equal. No number is out of range: Redis then answers an error to the next ones too.
fn sort_command() -> impl Strategy<Value = Vec<String>> {
    let element = || word(&["1", "2", "3", "10", "-1", "2.5", " 4", "", "a", "b"]);
    let number = || word(&["1", "2", "3", "10", "-1", "2.5", " 4", ""]);
    let source = || word(&["l", "l", "n", "n", "t", "z", "few", "few", "h_1", "nokey"]);
    let numbered = || prop::collection::vec(number(), 1..6);
    let get = || word(&["#", "w_*", "w_*", "h_*->f", "h_*->", "h_*", "*", "w_1", "w_*->f"]);
    let limit = (-1_i64..5, -1_i64..5).prop_map(|(a, b)| words(&["LIMIT", &a.to_string(), &b.to_string()]));
    let option = prop_oneof![
        3 => word(&["ASC", "DESC", "desc", "ALPHA", "ALPHA"]).prop_map(|option| vec![option]),
        3 => limit,
        3 => get().prop_map(|pattern| vec!["GET".to_owned(), pattern]),
        1 => word(&["w_1", "STORE", "GET", "LIMIT"]).prop_map(|word| vec![word]),
    ];
    let options = move || prop::collection::vec(option.clone(), 0..4).prop_map(|options| options.concat());
    let sort = || word(&["SORT", "SORT", "SORT_RO"]);
    let by_number = (sort(), source(), word(&["w_*", "h_*->f"]), prop::collection::vec(get(), 0..2)).prop_map(
        |(command, name, by, get)| {
            let get = get.into_iter().flat_map(|pattern| ["GET".to_owned(), pattern]);
            [command, name, "BY".to_owned(), by].into_iter().chain(get).collect::<Vec<_>>()
        },
    );
    let by_letters = (sort(), Just(words(&["few", "BY", "w_*", "ALPHA"])), options())
        .prop_map(|(command, by, options)| [vec![command], by, options].concat());
    let in_order = (sort(), word(&["l", "n", "z", "few"]), Just(words(&["BY", "nosort"])), options())
        .prop_map(|(command, name, by, options)| [vec![command, name], by, options].concat());
    let stored = (source(), word(&["l", "n", "t", "z", "w_1"]), options()).prop_map(|(name, target, options)| {
        [vec!["SORT".to_owned(), name], options, vec!["STORE".to_owned(), target]].concat()
    });
    prop_oneof![
        4 => (word(&["l"]), prop::collection::vec(element(), 1..6))
            .prop_map(|(name, elements)| [vec!["RPUSH".to_owned(), name], elements].concat()),
        4 => numbered().prop_map(|elements| [words(&["RPUSH", "n"]), elements].concat()),
        2 => numbered().prop_map(|elements| [words(&["SADD", "t"]), elements].concat()),
        2 => (score(), number()).prop_map(|(score, member)| vec!["ZADD".to_owned(), "z".to_owned(), score, member])
            .prop_filter("out of range", |command| !command[2].contains("e400")),
        3 => (word(&["w_1", "w_2", "w_a", "w_", "w_10"]), element()).prop_map(|(a, b)| vec!["SET".to_owned(), a, b]),
        2 => (word(&["h_1", "h_2", "h_-1"]), number())
            .prop_map(|(a, b)| vec!["HSET".to_owned(), a, "f".to_owned(), b]),
        2 => Just(words(&["SORT", "l", "BY", "nosort", "LIMIT", "0", "6", "STORE", "few"])),
        6 => (sort(), source(), options()).prop_map(|(command, name, options)| [vec![command, name], options].concat()),
        4 => by_number,
        3 => by_letters,
        3 => in_order,
        3 => stored,
        2 => word(&["l", "n", "z"]).prop_map(|name| vec!["DEL".to_owned(), name]),
        1 => word(&["l", "n", "few"]).prop_map(|name| [words(&["LRANGE"]), vec![name], words(&["0", "-1"])].concat()),
    ]
}

/// Keys that go to other databases, and databases that change places.
fn database_command() -> impl Strategy<Value = Vec<String>> {
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

/// Commands whose replies have no order.
const UNORDERED: [&str; 8] = ["SMEMBERS", "SINTER", "SUNION", "SDIFF", "SPOP", "SRANDMEMBER", "SSCAN", "KEYS"];

/// A reply as text; what has no order is put into one.
fn text(command: &[String], mut reply: Frame) -> String {
    // The replies of a transaction are compared whatever order each has in itself.
    if UNORDERED.contains(&command[0].as_str()) || command[0] == "EXEC" {
        sort(&mut reply);
    }
    reply.to_string()
}

fn sort(frame: &mut Frame) {
    if let Frame::Many(_, items) = frame {
        items.iter_mut().for_each(sort);
        items.sort_by_key(Frame::to_string);
    }
}

/// What is sent: some of the commands in a transaction, all in one version of the protocol.
#[derive(Debug, Clone)]
struct Sequence {
    commands: Vec<Vec<String>>,
    resp3: bool,
}

fn sequence(command: impl Strategy<Value = Vec<String>>) -> impl Strategy<Value = Sequence> {
    let transaction = prop::option::weighted(0.3, (0_usize..40, 0_usize..20));
    let parts = (prop::collection::vec(command, 1..40), transaction, any::<bool>());
    parts.prop_map(|(mut commands, transaction, resp3)| {
        if let Some((from, length)) = transaction {
            let from = from.min(commands.len());
            commands.insert(from, words(&["MULTI"]));
            commands.insert((from + 1 + length).min(commands.len()), words(&["EXEC"]));
        }
        Sequence { commands, resp3 }
    })
}

fn replies(wire: &mut Wire, Sequence { commands, resp3 }: &Sequence) -> Vec<String> {
    let bytes = |command: &Vec<String>| command.iter().map(|word| word.clone().into_bytes()).collect();
    wire.call("FLUSHALL").unwrap();
    wire.call(if *resp3 { "HELLO 3" } else { "HELLO 2" }).unwrap();
    wire.send(&commands.iter().map(bytes).collect::<Vec<_>>()).unwrap();
    commands.iter().map(|command| text(command, wire.read().unwrap())).collect()
}

#[test]
fn random_commands_are_answered_as_redis_answers_them() {
    compare(command());
}

#[test]
fn sorted_sets_are_answered_as_redis_answers_them() {
    compare(zset_command());
}

#[test]
fn strings_and_deadlines_are_answered_as_redis_answers_them() {
    compare(string_command());
}

#[test]
fn sets_are_answered_as_redis_answers_them() {
    compare(set_command());
}

#[test]
fn combinations_are_answered_as_redis_answers_them() {
    compare(several_command());
}

#[test]
fn bitmaps_are_answered_as_redis_answers_them() {
    compare(bitmap_command());
}

#[test]
fn fractions_are_answered_as_redis_answers_them() {
    compare(float_command());
}

#[test]
fn common_subsequences_are_answered_as_redis_answers_them() {
    compare(lcs_command());
}

#[test]
fn sorts_are_answered_as_redis_answers_them() {
    compare(sort_command());
}

#[test]
fn databases_are_answered_as_redis_answers_them() {
    compare(database_command());
}

fn compare(command: impl Strategy<Value = Vec<String>>) {
    let Some(redis) = redis_or_note() else { return };
    let agq = Server::agq(&["--durability", "none"]);
    // Redis ends waits ten times a second unless told otherwise, which is most of the time that this would take.
    redis.connect().call("CONFIG SET hz 500").unwrap();
    let (redis, agq) = (RefCell::new(redis.connect()), RefCell::new(agq.connect()));
    let given = |name: &str| std::env::var(name).ok().map(|value| value.parse().expect("a number"));
    let cases = given("AGQ_DIFFERENTIAL_CASES").map_or(3000, |cases| u32::try_from(cases).expect("fewer cases"));
    let seed: u64 = given("AGQ_DIFFERENTIAL_SEED").unwrap_or_else(|| std::process::id().into());
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let random = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed.to_le_bytes(); 4].concat());
    let result = TestRunner::new_with_rng(config, random).run(&sequence(command), |sent| {
        let expected = replies(&mut redis.borrow_mut(), &sent);
        let found = replies(&mut agq.borrow_mut(), &sent);
        for ((command, expected), found) in sent.commands.iter().zip(expected).zip(found) {
            prop_assert_eq!(found, expected, "{}", command.join(" "));
        }
        Ok(())
    });
    result.unwrap_or_else(|failure| panic!("with the seed {seed}: {failure}"));
}
