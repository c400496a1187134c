//! The numbers of an array: `0-999%20`, `1,3,5-9:2`.

use std::str::FromStr;

use crate::jobs::actions::MAX_INPUTS;

/// Numbers in the order they were written, and how many of their jobs may run at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Range {
    /// As many as an action takes at most.
    pub(super) numbers: Vec<u64>,
    /// What stands behind `%`.
    pub(super) max_parallel: Option<u64>,
}

impl FromStr for Range {
    type Err = String;

    fn from_str(text: &str) -> Result<Range, String> {
        let (list, max_parallel) = match text.split_once('%') {
            None => (text, None),
            Some((list, most)) => match number(most)? {
                0 => return Err("%0 would run none: give %1 or more, or leave it out".to_owned()),
                most => (list, Some(most)),
            },
        };
        let mut numbers = Vec::new();
        for part in list.split(',') {
            let (from, to, step) = part_of(part)?;
            let count = (to - from) / step + 1;
            if count > (MAX_INPUTS - numbers.len()) as u64 {
                return Err(format!("these are more than {MAX_INPUTS} numbers, the most that one array has"));
            }
            numbers.extend((0..count).map(|at| from + at * step));
        }
        Ok(Range { numbers, max_parallel })
    }
}

/// `7`, `5-9` or `5-9:2`: first, last, step.
fn part_of(part: &str) -> Result<(u64, u64, u64), String> {
    let (span, step) = match part.split_once(':') {
        None => (part, 1),
        Some((span, _)) if !span.contains('-') => {
            return Err(format!("'{part}': a step belongs to a range, as in 0-{span}:2"));
        }
        Some((span, step)) => (span, number(step)?),
    };
    let (from, to) = match span.split_once('-') {
        None => (number(span)?, number(span)?),
        Some((from, to)) => (number(from)?, number(to)?),
    };
    match (from <= to, step) {
        (_, 0) => Err(format!("'{part}': a step of 0 leads nowhere")),
        (false, _) => Err(format!("'{part}' runs backwards: the smaller number comes first")),
        (true, step) => Ok((from, to, step)),
    }
}

fn number(text: &str) -> Result<u64, String> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse::<u64>().ok().filter(|number| digits && *number <= u64::from(u32::MAX));
    number.ok_or_else(|| {
        format!("'{text}' is no number from 0 to {}: expected something like 0-999%20 or 1,3,5-9:2", u32::MAX)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn numbers(text: &str) -> Vec<u64> {
        text.parse::<Range>().unwrap().numbers
    }

    #[test]
    fn lists_ranges_and_steps() {
        assert_eq!(numbers("3"), [3]);
        assert_eq!(numbers("1,3,5-9:2"), [1, 3, 5, 7, 9]);
        assert_eq!(numbers("0-10:4,2"), [0, 4, 8, 2]);
        let range: Range = "0-999%20".parse().unwrap();
        assert_eq!((range.numbers.len(), range.max_parallel), (1_000, Some(20)));
    }

    #[test]
    fn what_is_no_range_is_refused() {
        for (text, word) in [
            ("", "is no number"),
            ("1,", "is no number"),
            ("a-b", "is no number"),
            ("-5", "is no number"),
            ("+5", "is no number"),
            ("9-5", "backwards"),
            ("0-9:0", "leads nowhere"),
            ("3:2", "0-3:2"),
            ("0-9%0", "would run none"),
            ("0-9%", "is no number"),
            ("0-4294967295", "more than 100000"),
            ("0-99998,5,6", "more than 100000"),
        ] {
            let error = text.parse::<Range>().unwrap_err();
            assert!(error.contains(word), "{text}: {error}");
        }
        assert_eq!(numbers("0-99998,5").len(), MAX_INPUTS);
    }

    proptest! {
        #[test]
        fn a_range_holds_what_it_says_in_its_order(
            parts in prop::collection::vec((0_u64..5_000, 0_u64..200, 1_u64..20), 1..8),
            parallel in prop::option::of(1_u64..100),
        ) {
            let text: Vec<String> = parts.iter().map(|(from, more, step)| match (more, step) {
                (0, _) => from.to_string(),
                (more, 1) => format!("{from}-{}", from + more),
                (more, step) => format!("{from}-{}:{step}", from + more),
            }).collect();
            let text = text.join(",") + &parallel.map_or_else(String::new, |most| format!("%{most}"));
            let expected: Vec<u64> = parts
                .iter()
                .flat_map(|(from, more, step)| (*from..=from + more).filter(move |n| (n - from) % step == 0))
                .collect();
            prop_assert_eq!(text.parse::<Range>().unwrap(), Range { numbers: expected, max_parallel: parallel });
        }

        #[test]
        fn nothing_that_is_typed_makes_it_panic(text in "[0-9,:%a-]{0,24}") {
            let _ = text.parse::<Range>();
        }
    }
}
