//! The numbers that INCRBYFLOAT and HINCRBYFLOAT add: x87's extended precision, 64 bits of mantissa, as Redis uses them
//! on x86-64, so that the digits are Redis's.
//!
//! Everything is computed exactly and rounded once, to the nearest, ties to even.

use num_bigint::{BigInt, BigUint, Sign};

use crate::data::{Error, Result};

/// Bits of the mantissa.
const MANTISSA_BITS: u64 = 64;
/// The exponents of the mantissa's last bit.
const MIN_EXPONENT: i64 = -16_445;
const MAX_EXPONENT: i64 = 16_320;
/// A longer text is no number, as in Redis.
const MAX_TEXT: usize = 5 * 1024;
/// Digits behind the point.
const DIGITS: usize = 17;

/// A number: `mantissa × 2^exponent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extended {
    negative: bool,
    mantissa: u64,
    exponent: i64,
}

impl Extended {
    /// Zero.
    pub const ZERO: Extended = Extended { negative: false, mantissa: 0, exponent: 0 };

    /// Reads a decimal number, with or without point and exponent. `None` when it is none, or too large or too small.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Extended> {
        if text.len() >= MAX_TEXT {
            return None;
        }
        let (negative, text) = match text {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            rest => (false, rest),
        };
        let e = text.iter().position(|byte| byte.eq_ignore_ascii_case(&b'e'));
        let (number, exponent) = match e {
            None => (text, 0),
            Some(e) => (&text[..e], parse_exponent(&text[e + 1..])?),
        };
        let point = number.iter().position(|byte| *byte == b'.');
        let fraction = point.map_or(0, |point| number.len() - point - 1);
        let digits: Vec<u8> =
            number.iter().enumerate().filter(|(place, _)| Some(*place) != point).map(|(_, byte)| *byte).collect();
        if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let digits = BigUint::parse_bytes(&digits, 10)?;
        if digits == BigUint::ZERO {
            return Some(Extended { negative, ..Extended::ZERO });
        }
        let exponent = exponent - i64::try_from(fraction).ok()?;
        // Beyond this the longest text cannot bring it back into what can be held.
        let tens = u32::try_from(exponent.unsigned_abs()).ok().filter(|tens| *tens <= 20_000)?;
        let tens = BigUint::from(10_u32).pow(tens);
        let (numerator, denominator) =
            if exponent < 0 { (digits, tens) } else { (digits * tens, BigUint::from(1_u32)) };
        Extended::nearest(negative, &numerator, &denominator, 0).filter(|number| number.mantissa != 0)
    }

    /// True for a text that says infinity.
    #[must_use]
    pub fn is_infinite(text: &[u8]) -> bool {
        let word = text.strip_prefix(b"-").or_else(|| text.strip_prefix(b"+")).unwrap_or(text);
        word.eq_ignore_ascii_case(b"inf") || word.eq_ignore_ascii_case(b"infinity")
    }

    /// The sum of what two texts say, as text.
    ///
    /// # Errors
    /// `refused` for a text that is no number, [`Error::SumIsInfinite`] when an infinity comes of it.
    pub fn sum(text: &[u8], change: &[u8], refused: fn() -> Error) -> Result<String> {
        let read = |text: &[u8], refused: fn() -> Error| match Extended::parse(text) {
            None if Extended::is_infinite(text) => Ok(None),
            None => Err(refused()),
            number => Ok(number),
        };
        let (number, change) = (read(text, refused)?, read(change, || Error::NotAFloat)?);
        let sum = number.zip(change).and_then(|(number, change)| number.plus(change));
        Ok(sum.ok_or(Error::SumIsInfinite)?.text())
    }

    /// The sum; `None` when it is too large.
    #[must_use]
    pub fn plus(self, other: Extended) -> Option<Extended> {
        let exponent = self.exponent.min(other.exponent);
        let exact = |number: Extended| {
            let sign = if number.negative { Sign::Minus } else { Sign::Plus };
            BigInt::from_biguint(sign, BigUint::from(number.mantissa) << (number.exponent - exponent).unsigned_abs())
        };
        let sum = exact(self) + exact(other);
        Extended::nearest(sum.sign() == Sign::Minus, sum.magnitude(), &BigUint::from(1_u32), exponent)
    }

    /// The number nearest to `numerator / denominator × 2^exponent`.
    fn nearest(negative: bool, numerator: &BigUint, denominator: &BigUint, exponent: i64) -> Option<Extended> {
        if *numerator == BigUint::ZERO {
            return Some(Extended::ZERO);
        }
        let bits = |number: &BigUint| i64::try_from(number.bits()).unwrap_or(i64::MAX);
        // So that the quotient has all bits of a mantissa, or one more.
        let mut last = bits(numerator) - bits(denominator) - MANTISSA_BITS.cast_signed();
        last = last.max(MIN_EXPONENT - exponent);
        let mut quotient = divide(numerator, denominator, last);
        if quotient.bits() > MANTISSA_BITS {
            last += 1;
            quotient = divide(numerator, denominator, last);
            if quotient.bits() > MANTISSA_BITS {
                // Rounded up to a power of two.
                quotient >>= 1_u32;
                last += 1;
            }
        }
        let exponent = exponent + last;
        let mantissa = u64::try_from(quotient).ok()?;
        (exponent <= MAX_EXPONENT).then_some(Extended { negative, mantissa, exponent })
    }

    /// The number with 17 digits behind the point at most, as Redis writes it for people.
    #[must_use]
    pub fn text(self) -> String {
        let scaled = BigUint::from(self.mantissa) * BigUint::from(10_u32).pow(DIGITS as u32);
        let digits = divide(&scaled, &BigUint::from(1_u32), -self.exponent).to_string();
        let digits = format!("{digits:0>width$}", width = DIGITS + 1);
        let (whole, fraction) = digits.split_at(digits.len() - DIGITS);
        let fraction = fraction.trim_end_matches('0');
        let sign = if self.negative && (whole != "0" || !fraction.is_empty()) { "-" } else { "" };
        let point = if fraction.is_empty() { "" } else { "." };
        format!("{sign}{whole}{point}{fraction}")
    }
}

/// `numerator / denominator / 2^shift`, rounded to the nearest, ties to even.
fn divide(numerator: &BigUint, denominator: &BigUint, shift: i64) -> BigUint {
    let by = shift.unsigned_abs();
    let (numerator, denominator) = match shift {
        ..0 => (numerator << by, denominator.clone()),
        _ => (numerator.clone(), denominator << by),
    };
    let quotient = &numerator / &denominator;
    let twice = (numerator - &quotient * &denominator) << 1_u32;
    let up = twice > denominator || (twice == denominator && quotient.bit(0));
    if up { quotient + 1_u32 } else { quotient }
}

fn parse_exponent(text: &[u8]) -> Option<i64> {
    let digits = text.strip_prefix(b"-").or_else(|| text.strip_prefix(b"+")).unwrap_or(text);
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    // What does not fit is too large for any number.
    let text = std::str::from_utf8(text).ok()?;
    Some(text.parse::<i64>().unwrap_or(if text.starts_with('-') { i64::MIN / 2 } else { i64::MAX / 2 }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(a: &str, b: &str) -> String {
        Extended::parse(a.as_bytes()).unwrap().plus(Extended::parse(b.as_bytes()).unwrap()).unwrap().text()
    }

    #[test]
    fn sums_are_those_of_redis() {
        for (a, b, expected) in [
            ("10.50", "0.1", "10.6"),
            ("0.1", "0.2", "0.3"),
            ("3", "1.1", "4.1"),
            ("5.0e3", "2.0e2", "5200"),
            ("1", "-1", "0"),
            ("-0", "0", "0"),
            ("1e18", "0.5", "1000000000000000000.5"),
            ("17179869184", "-17179869184.25", "-0.25"),
            ("1e-17", "0", "0.00000000000000001"),
            ("4e-18", "0", "0"),
        ] {
            assert_eq!(sum(a, b), expected, "{a} + {b}");
        }
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for text in ["", "-", ".", "e5", "1e", "1e+", "x", " 1", "1 ", "1e4933", "-1e99999999999999999999", "1e-5000"] {
            assert_eq!(Extended::parse(text.as_bytes()), None, "{text}");
        }
        assert!(Extended::parse(b"1e4932").is_some() && Extended::parse(b"4e-4951").is_some());
        let largest = Extended::parse(b"1.1e4932").unwrap();
        assert_eq!(largest.plus(largest), None);
    }
}
