//! Lengths of time as people write them.

/// Reads `90` (seconds), `250ms`, `30s`, `5m`, `2h`, `1d`, or several in a row, as `1h30m`; as milliseconds.
///
/// # Errors
/// What was expected, when it is none of these, or longer than numbers go.
pub(super) fn parse_ms(text: &str) -> Result<u64, String> {
    let expected = || format!("'{text}' is no length of time: expected 90 (seconds), 250ms, 30s, 5m, 2h, 1d or 1h30m");
    if let Ok(seconds) = text.parse::<u64>() {
        return seconds.checked_mul(1_000).ok_or_else(expected);
    }
    let (mut rest, mut total) = (text, 0_u64);
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let letters = rest[digits..].bytes().take_while(u8::is_ascii_alphabetic).count();
        let unit_ms = match &rest[digits..digits + letters] {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(expected()),
        };
        let count: u64 = rest[..digits].parse().map_err(|_| expected())?;
        total = count.checked_mul(unit_ms).and_then(|ms| total.checked_add(ms)).ok_or_else(expected)?;
        rest = &rest[digits + letters..];
    }
    if text.is_empty() { Err(expected()) } else { Ok(total) }
}

/// A length of time as a person reads it: its two largest units.
pub(super) fn show(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{}h{:02}m", seconds / 3_600, seconds / 60 % 60),
        _ => format!("{}d{:02}h", seconds / 86_400, seconds / 3_600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_add_up_and_a_bare_number_is_seconds() {
        assert_eq!(parse_ms("90"), Ok(90_000));
        assert_eq!(parse_ms("250ms"), Ok(250));
        assert_eq!(parse_ms("1h30m"), Ok(5_400_000));
        assert_eq!(parse_ms("1d"), Ok(86_400_000));
        for wrong in ["", "s", "1x", "1h30", "-1", "1.5h", "é", "99999999999999999999", "18446744073709551615d"] {
            assert!(parse_ms(wrong).is_err_and(|error| error.contains("expected 90 (seconds)")), "{wrong}");
        }
    }

    #[test]
    fn lengths_show_their_two_largest_units() {
        let shown = [7, 61, 3_700, 90_000].map(show);
        assert_eq!(shown, ["7s", "1m01s", "1h01m", "1d01h"]);
    }
}
