//! Strings: deadlines, numbers with fractions, and what two have in common.

use proptest::prelude::*;

use super::words::{number, word, words};

pub(super) fn string_command() -> impl Strategy<Value = Vec<String>> {
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
    let when = word(&["1000000", "1000000", "5000000", "0", "-1", "x", "9223372036854775807"]);
    let rule = prop::collection::vec(word(&["NX", "XX", "xx", "FOO"]), 0..2);
    let getex = prop_oneof![
        2 => word(&["PERSIST", "KEEPTTL"]).prop_map(|option| vec![option]),
        3 => (word(&["EX", "PX", "EXAT"]), word(&["1000000", "5000", "0", "-1", "x"])).prop_map(|(a, b)| vec![a, b]),
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
        4 => (word(&["GET", "INCR", "DECR", "STRLEN", "GETDEL", "PERSIST", "TTL", "PTTL", "TYPE", "EXISTS"]), named())
            .prop_map(|(a, b)| vec![a, b]),
        3 => (word(&["INCRBY", "DECRBY", "APPEND"]), named(), text()).prop_map(|(a, b, c)| vec![a, b, c]),
        1 => (word(&["SETEX", "PSETEX"]), named(), word(&["1000000", "0", "x"]), text()).prop_map(|(a, b, c, d)| vec![a, b, c, d]),
        1 => (named(), text(), named(), text()).prop_map(|(a, b, c, d)| vec!["MSET".to_owned(), a, b, c, d]),
        1 => (named(), named()).prop_map(|(a, b)| vec!["MGET".to_owned(), a, b]),
        2 => (named(), named()).prop_map(|(a, b)| vec!["RENAME".to_owned(), a, b]),
        2 => (word(&["EXPIRE", "PEXPIRE", "EXPIREAT", "PEXPIREAT"]), named(), when, rule)
            .prop_map(|(a, b, c, rule)| [a, b, c].into_iter().chain(rule).collect()),
        1 => prop_oneof![
            (word(&["DEL", "UNLINK"]), named(), named()).prop_map(|(a, b, c)| vec![a, b, c]),
            Just(words(&["ZADD", "z", "1", "m"])),
        ],
    ]
}

/// Numbers with fractions: usual ones, hard ones, and none at all.
pub(super) fn float_command() -> impl Strategy<Value = Vec<String>> {
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

/// What strings of few different bytes have in common.
pub(super) fn lcs_command() -> impl Strategy<Value = Vec<String>> {
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
