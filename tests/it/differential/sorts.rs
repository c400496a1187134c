//! SORT.

use proptest::prelude::*;

use super::words::{score, word, words};

/// What is sorted, by what stands elsewhere, and stored again. Nothing whose order is a matter of chance: sets are not
/// asked for the order that they have, and letters decide over weights only in a list short enough for Redis to leave
/// in place what is equal. No number is out of range: Redis then answers an error to the next ones too. No score
/// is -0: in Redis a set that SORT has read keeps its sign, others do not.
pub(super) fn sort_command() -> impl Strategy<Value = Vec<String>> {
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
            .prop_filter("out of range", |command| !command[2].contains("e400") && command[2] != "-0"),
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
