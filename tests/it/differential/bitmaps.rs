//! Bitmaps.

use proptest::prelude::*;

use super::words::{number, word, words};

pub(super) fn bitmap_command() -> impl Strategy<Value = Vec<String>> {
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
