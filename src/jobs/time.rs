//! Times as clients read and write them: out RFC 3339 in UTC with milliseconds, in that or Unix milliseconds.

use serde_json::value::RawValue;

use crate::clock::Millis;
use crate::jobs::error::{Error, Result, shown};
use crate::jobs::json;

/// `2026-11-23T21:48:41.007Z`. Times beyond the year 9999 are given as its last millisecond.
#[must_use]
pub fn rfc3339(at: Millis) -> String {
    let ms = i64::try_from(at.0).ok();
    let timestamp = ms.and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok()).unwrap_or(jiff::Timestamp::MAX);
    format!("{timestamp:.3}")
}

/// `20261123T214841Z`, in seconds: a moment as a part of an id.
#[must_use]
pub(super) fn compact(at: Millis) -> String {
    rfc3339(at).chars().take("2026-11-23T21:48:41".len()).filter(|c| !matches!(c, '-' | ':')).chain(['Z']).collect()
}

/// Reads a moment: a string in RFC 3339, or a number of Unix milliseconds.
///
/// # Errors
/// When it is neither.
pub fn read(raw: &RawValue, path: &str) -> Result<Millis> {
    let text = raw.get();
    if let Ok(ms) = text.parse() {
        return Ok(Millis(ms));
    }
    let parsed = json::string(raw, path).ok().and_then(|text| from_rfc3339(&text));
    parsed.ok_or_else(|| wrong(path, text.as_bytes()))
}

/// The same for a word of a command.
///
/// # Errors
/// When it is neither.
pub fn parse(name: &str, word: &[u8]) -> Result<Millis> {
    let text = std::str::from_utf8(word).ok();
    let parsed = text.and_then(|text| text.parse().ok().map(Millis).or_else(|| from_rfc3339(text)));
    parsed.ok_or_else(|| wrong(name, word))
}

fn from_rfc3339(text: &str) -> Option<Millis> {
    let timestamp = text.parse::<jiff::Timestamp>().ok()?;
    u64::try_from(timestamp.as_millisecond()).ok().map(Millis)
}

fn wrong(name: &str, found: &[u8]) -> Error {
    let found = shown(found);
    Error::refused(format!("{name} must be an RFC 3339 time or Unix milliseconds from 1970 on, not {found}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_round_trip() {
        assert_eq!(rfc3339(Millis(0)), "1970-01-01T00:00:00.000Z");
        assert_eq!(rfc3339(Millis(1_800_000_000_007)), "2027-01-15T08:00:00.007Z");
        assert!(rfc3339(Millis::MAX).starts_with("9999-12-3"));
        assert_eq!(compact(Millis(1_800_000_000_007)), "20270115T080000Z");
        for text in ["1800000000007", "\"2027-01-15T08:00:00.007Z\"", "\"2027-01-15T09:00:00.007+01:00\""] {
            let raw: &RawValue = serde_json::from_str(text).unwrap();
            assert_eq!(read(raw, "run_at").unwrap(), Millis(1_800_000_000_007));
        }
        for text in ["-1", "1.5", "\"yesterday\"", "\"1969-01-01T00:00:00Z\"", "[]"] {
            let raw: &RawValue = serde_json::from_str(text).unwrap();
            assert!(read(raw, "run_at").unwrap_err().to_string().starts_with("ERR run_at must be"), "{text}");
        }
    }
}
