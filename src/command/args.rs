//! Reading arguments, with Redis's errors.

use agq_resp::Request;

use crate::clock::Millis;
use crate::command::CommandError;
use crate::data::strings::parse_integer;

/// A 64-bit integer.
///
/// # Errors
/// `ERR value is not an integer or out of range`.
pub fn integer(text: &[u8]) -> Result<i64, CommandError> {
    parse_integer(text).ok_or(CommandError::NOT_AN_INTEGER)
}

/// True when an argument is this option word, in any case.
#[must_use]
pub fn is(text: &[u8], word: &str) -> bool {
    text.eq_ignore_ascii_case(word.as_bytes())
}

/// The arguments from `from` on, one by one, with the option words they may be.
pub struct Options<'a> {
    request: &'a Request,
    next: usize,
}

impl<'a> Options<'a> {
    /// The arguments of `request` from `from` on.
    #[must_use]
    pub fn new(request: &'a Request, from: usize) -> Options<'a> {
        Options { request, next: from }
    }

    /// The next argument.
    pub fn word(&mut self) -> Option<&'a [u8]> {
        let word = self.request.get(self.next)?;
        self.next += 1;
        Some(word)
    }

    /// The next argument, which stays the next.
    #[must_use]
    pub fn peek(&self) -> Option<&'a [u8]> {
        self.request.get(self.next)
    }

    /// The value that must follow an option.
    ///
    /// # Errors
    /// `ERR syntax error` when nothing follows.
    pub fn value(&mut self) -> Result<&'a [u8], CommandError> {
        self.word().ok_or(CommandError::SYNTAX)
    }

    /// Arguments not yet read.
    #[must_use]
    pub fn left(&self) -> usize {
        self.request.len() - self.next
    }
}

/// The moment at which a blocking command that was given `text` seconds gives up; `None` for 0, never.
///
/// # Errors
/// Redis's words for a timeout that is no number, negative or too large.
pub fn timeout(text: &[u8], now: Millis) -> Result<Option<Millis>, CommandError> {
    let seconds = float(text).ok_or(CommandError::new("ERR timeout is not a float or out of range"))?;
    if seconds < 0.0 {
        return Err(CommandError::new("ERR timeout is negative"));
    }
    if seconds == 0.0 {
        return Ok(None);
    }
    let ms = (seconds * 1000.0).ceil();
    if ms > 9.2e18 {
        return Err(CommandError::new("ERR timeout is out of range"));
    }
    Ok(Some(now.plus(ms as u64)))
}

/// A number as Redis reads one: decimal or exponent form, `inf`, `+inf`, `-inf`; no spaces, no NaN.
#[must_use]
pub fn float(text: &[u8]) -> Option<f64> {
    let text = std::str::from_utf8(text).ok()?;
    let number: f64 = text.parse().ok()?;
    (!number.is_nan()).then_some(number)
}

/// A score: as [`float`], but refused when it is too large or too small for a number of 64 bits.
#[must_use]
pub fn score(text: &[u8]) -> Option<f64> {
    let number = float(text)?;
    let says_infinity = text.iter().any(|byte| byte.eq_ignore_ascii_case(&b'n'));
    let mantissa = text.split(|byte| byte.eq_ignore_ascii_case(&b'e')).next().unwrap_or_default();
    let says_zero = !mantissa.iter().any(|byte| (b'1'..=b'9').contains(byte));
    let overflows = number.is_infinite() && !says_infinity;
    let underflows = number == 0.0 && !says_zero;
    (!overflows && !underflows).then_some(number)
}

/// A number of things to take: not negative.
///
/// # Errors
/// `ERR value is out of range, must be positive`.
pub fn count(text: &[u8]) -> Result<u64, CommandError> {
    let refused = CommandError::new("ERR value is out of range, must be positive");
    parse_integer(text).and_then(|count| u64::try_from(count).ok()).ok_or(refused)
}

/// Bytes of a pattern that a client gives at most: what it is held against may be long, and its own length counts as well.
pub const MAX_PATTERN_BYTES: usize = 1024;

/// A glob pattern.
///
/// # Errors
/// When it is too long.
pub fn pattern(text: &[u8]) -> Result<&[u8], CommandError> {
    if text.len() <= MAX_PATTERN_BYTES {
        return Ok(text);
    }
    let bytes = text.len();
    Err(CommandError::new(format!(
        "ERR the pattern has {bytes} bytes, and may have {MAX_PATTERN_BYTES} at most: give a shorter one"
    )))
}

/// How an option word gives a deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExpireUnit {
    ms: i64,
    relative: bool,
}

impl ExpireUnit {
    /// Seconds from now.
    pub const SECONDS: ExpireUnit = ExpireUnit { ms: 1000, relative: true };
    /// Milliseconds from now.
    pub const MILLISECONDS: ExpireUnit = ExpireUnit { ms: 1, relative: true };
    /// Unix seconds.
    pub const UNIX_SECONDS: ExpireUnit = ExpireUnit { ms: 1000, relative: false };
    /// Unix milliseconds.
    pub const UNIX_MILLISECONDS: ExpireUnit = ExpireUnit { ms: 1, relative: false };

    /// The unit of EX, PX, EXAT or PXAT.
    #[must_use]
    pub fn of(word: &[u8]) -> Option<ExpireUnit> {
        let units = [
            ("EX", Self::SECONDS),
            ("PX", Self::MILLISECONDS),
            ("EXAT", Self::UNIX_SECONDS),
            ("PXAT", Self::UNIX_MILLISECONDS),
        ];
        units.into_iter().find(|(name, _)| is(word, name)).map(|(_, unit)| unit)
    }

    /// The moment that `text` names, which must be positive.
    ///
    /// # Errors
    /// `value is not an integer`, or `invalid expire time in '<command>' command`.
    pub fn deadline(self, text: &[u8], now: Millis, command: &str) -> Result<Millis, CommandError> {
        let value = integer(text)?;
        let invalid = || CommandError::new(format!("ERR invalid expire time in '{command}' command"));
        if value <= 0 {
            return Err(invalid());
        }
        self.moment(value, now).ok_or_else(invalid)
    }

    /// The moment that a number of this unit names; the past is the Unix epoch at the earliest. `None` when it
    /// does not fit into 63 bits of milliseconds.
    #[must_use]
    pub fn moment(self, value: i64, now: Millis) -> Option<Millis> {
        let ms = value.checked_mul(self.ms)?;
        let ms = if self.relative { ms.checked_add(now.0.cast_signed())? } else { ms };
        Some(Millis(u64::try_from(ms).unwrap_or(0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_read_as_redis_reads_them() {
        let read = [("1", 1.0), ("-1.5e3", -1500.0), ("inf", f64::INFINITY), ("-Infinity", f64::NEG_INFINITY)];
        for (text, number) in read.into_iter().chain([("0e9", 0.0), ("-0", 0.0), (".5", 0.5), ("5.", 5.0)]) {
            assert_eq!(score(text.as_bytes()), Some(number), "{text}");
        }
        for text in ["", "nan", " 1", "1 ", "1e400", "-1e400", "1e-400", "a", "1,5", "(1"] {
            assert_eq!(score(text.as_bytes()), None, "{text}");
        }
    }
}
