//! Whole numbers within bounds, as flags take them.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

/// Reads a number of something, such as seconds, within bounds; what it is of may be left empty.
pub(super) fn number<T>(
    of: &'static str,
    range: RangeInclusive<T>,
) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync + 'static
where
    T: FromStr + PartialOrd + Display + Clone + Send + Sync + 'static,
{
    move |text| {
        let found = text.parse().ok().filter(|number| range.contains(number));
        found.ok_or_else(|| {
            let of = if of.is_empty() { String::new() } else { format!(" of {of}") };
            format!("expected a whole number{of} from {} to {}", range.start(), range.end())
        })
    }
}

/// As [`number`], with no bound but the type's.
pub(super) fn any_number(of: &'static str) -> impl Fn(&str) -> Result<u64, String> + Clone + Send + Sync + 'static {
    number(of, 0..=u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_number_within_the_bounds_is_told_what_was_expected() {
        let lease = number("seconds", 1..=43_200_u64);
        assert_eq!((lease("1"), lease("43200")), (Ok(1), Ok(43_200)));
        for wrong in ["0", "43201", "x", "", "-1", "1.5", "99999999999999999999999"] {
            assert_eq!(lease(wrong).unwrap_err(), "expected a whole number of seconds from 1 to 43200", "{wrong}");
        }
        assert_eq!(number("", 0..=9_u8)("10").unwrap_err(), "expected a whole number from 0 to 9");
        assert!(any_number("seconds")("0").is_ok());
    }
}
