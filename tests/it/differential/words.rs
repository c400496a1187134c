//! Words that several generators use: few names and values, so that commands meet; now and then a wrong one.

use proptest::prelude::*;

/// Few names and values, so that commands meet; now and then a wrong one.
pub(super) fn word(words: &'static [&'static str]) -> impl Strategy<Value = String> {
    prop::sample::select(words).prop_map(str::to_owned)
}

pub(super) fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

pub(super) fn name() -> impl Strategy<Value = String> {
    word(&["a", "a", "a", "b", "b", "h", "s"])
}

pub(super) fn value() -> impl Strategy<Value = String> {
    word(&["x", "y", "z", "1", "-5", ""])
}

pub(super) fn number() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => (-6_i64..7).prop_map(|number| number.to_string()),
        1 => word(&["x", "", "9223372036854775807", "-9223372036854775807", "1.5", "+1", "01"]),
    ]
}

pub(super) fn member() -> impl Strategy<Value = String> {
    word(&["m", "n", "o", "mm", ""])
}

pub(super) fn score() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => (-3_i64..4).prop_map(|number| number.to_string()),
        2 => word(&["0.5", "-0", "1e3", "inf", "-inf", "+inf", "3.0", "0.1", "1e21", "-1.5e-7"]),
        1 => word(&["x", "", "nan", "1e400", " 1", "1 "]),
    ]
}

pub(super) fn score_bound() -> impl Strategy<Value = String> {
    (word(&["", "", "("]), score()).prop_map(|(open, score)| open + &score)
}
