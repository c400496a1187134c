//! Numbers as Redis writes and reads them.

use std::fmt::Write;

/// The integer that `text` spells the one way Redis accepts (`string2ll`): no sign but `-`, no
/// leading zero, no blank, and within 64 bits. `None` for any other text.
pub fn parse_integer(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    match digits {
        [b'0'] if !negative => return Some(0),
        // 19 digits may exceed an i64, but not the i128 below.
        [b'1'..=b'9', ..] if digits.len() <= 19 => {}
        _ => return None,
    }
    let mut value: i128 = 0;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        value = value * 10 + i128::from(digit - b'0');
    }
    i64::try_from(if negative { -value } else { value }).ok()
}

/// A double as Redis 7.0 writes it, a score for one: C's `%.17g`, and `inf`, `-inf` and `nan`.
///
/// So 3.0 is `3`, 0.1 is `0.10000000000000001`, and 1e21 is `1e+21`: every double reads back as
/// itself, but not always in its shortest form.
pub fn format_double(value: f64) -> String {
    let mut text = String::with_capacity(24);
    write_double(value, &mut text);
    text
}

/// The integers below this have at most 17 digits, so `%.17g` writes them out.
const FIRST_WITH_EXPONENT: f64 = 1e17;

/// Appends what [`format_double`] returns.
pub(crate) fn write_double(value: f64, out: &mut String) {
    if value.is_nan() {
        out.push_str("nan");
    } else if value.is_infinite() {
        out.push_str(if value > 0.0 { "inf" } else { "-inf" });
    } else if value == value.trunc() && value.abs() < FIRST_WITH_EXPONENT && value != 0.0 {
        out.push_str(itoa::Buffer::new().format(value as i64));
    } else {
        write_general(value, out);
    }
}

/// `%.17g` of a finite double: 17 significant digits without trailing zeros, with an exponent if
/// it is under -4 or over 16.
fn write_general(value: f64, out: &mut String) {
    // "d.dddddddddddddddde-324", exactly rounded, ties to even, as in C.
    let mut scientific = ScientificText::default();
    // Cannot fail: the longest text fits.
    let _ = write!(scientific, "{:.16e}", value.abs());
    let (mantissa, exponent) = scientific.text().split_once('e').unwrap_or_default();
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let (first, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let fraction = fraction.trim_end_matches('0');

    if value.is_sign_negative() {
        out.push('-');
    }
    if (-4..0).contains(&exponent) {
        out.push_str("0.");
        out.extend((1..-exponent).map(|_| '0'));
        out.push_str(first);
        out.push_str(fraction);
    } else if (0..17).contains(&exponent) {
        let whole = usize::try_from(exponent).unwrap_or(0);
        let (whole_digits, rest) = fraction.split_at(whole.min(fraction.len()));
        out.push_str(first);
        out.push_str(whole_digits);
        out.extend((whole_digits.len()..whole).map(|_| '0'));
        if !rest.is_empty() {
            out.push('.');
            out.push_str(rest);
        }
    } else {
        out.push_str(first);
        if !fraction.is_empty() {
            out.push('.');
            out.push_str(fraction);
        }
        out.push_str(if exponent < 0 { "e-" } else { "e+" });
        if exponent.abs() < 10 {
            out.push('0');
        }
        out.push_str(itoa::Buffer::new().format(exponent.abs()));
    }
}

/// Room for the longest `{:.16e}` of a double, so that formatting one allocates nothing.
#[derive(Default)]
struct ScientificText {
    bytes: [u8; 32],
    len: usize,
}

impl ScientificText {
    fn text(&self) -> &str {
        str::from_utf8(&self.bytes[..self.len]).unwrap_or_default()
    }
}

impl Write for ScientificText {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let end = self.len + text.len();
        let room = self.bytes.get_mut(self.len..end).ok_or(std::fmt::Error)?;
        room.copy_from_slice(text.as_bytes());
        self.len = end;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Each of these is what ZSCORE of a Redis 7.0.15 answered, in RESP2 and in RESP3.
    #[test]
    fn doubles_are_written_as_redis_writes_scores() {
        for (value, expected) in [
            (0.1, "0.10000000000000001"),
            (1e21, "1e+21"),
            (3.0, "3"),
            (1e-7, "9.9999999999999995e-08"),
            (1.1, "1.1000000000000001"),
            (5e-324, "4.9406564584124654e-324"),
            (f64::MAX, "1.7976931348623157e+308"),
            (123456789012345680.0, "1.2345678901234568e+17"),
            (123456789012345.0 + 0.125, "123456789012345.12"),
            (123456789012345.0 + 0.375, "123456789012345.38"),
            (1e16, "10000000000000000"),
            (1e17, "1e+17"),
            (99999999999999990.0, "99999999999999984"),
            (0.0, "0"),
            (0.0001, "0.0001"),
            (0.00001234, "1.234e-05"),
            (12345.678, "12345.678"),
            (100000.0, "100000"),
            (1e100, "1e+100"),
            (-1.5, "-1.5"),
            (-1e-300, "-1e-300"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
        ] {
            assert_eq!(format_double(value), expected);
        }
        assert_eq!(format_double(-0.0), "-0");
        assert_eq!(format_double(f64::NAN), "nan");
    }

    #[test]
    fn integers_are_read_as_redis_reads_them() {
        for (text, expected) in [
            ("0", Some(0)),
            ("-1", Some(-1)),
            ("9223372036854775807", Some(i64::MAX)),
            ("-9223372036854775808", Some(i64::MIN)),
            ("9223372036854775808", None),
            ("-9223372036854775809", None),
            ("99999999999999999999999999999999999999999", None),
            ("", None),
            ("-", None),
            ("-0", None),
            ("+1", None),
            ("01", None),
            (" 1", None),
            ("1 ", None),
            ("1a", None),
        ] {
            assert_eq!(parse_integer(text.as_bytes()), expected, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn a_double_reads_back_as_itself(value in any::<f64>()) {
            let text = format_double(value);
            prop_assert_eq!(text.parse::<f64>().unwrap().to_bits() , value.to_bits());
        }

        #[test]
        fn an_integer_reads_back_as_itself(value in any::<i64>()) {
            prop_assert_eq!(parse_integer(value.to_string().as_bytes()), Some(value));
        }
    }
}
