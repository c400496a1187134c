//! When a certificate ends: the one thing that is read of it here. Whether it holds is the other side's to find out.

use std::path::Path;

use crate::{Error, files};

/// When the first of a file's certificates to end does, as RFC 3339 writes it (UTC, whole seconds); `None` where one does not say
/// it in a form that RFC 5280 knows. Whether there is such a day is not looked at.
///
/// # Errors
/// When the file is missing or holds no certificate.
pub fn certificates_end(path: &Path) -> Result<Option<String>, Error> {
    let chain = files::certificates("the certificate", path)?;
    Ok(chain.iter().map(|certificate| end_of(certificate)).min().flatten())
}

/// Tags of DER.
const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// The `notAfter` of a certificate: of its first part the fifth field, behind an optional version the fourth, and of that the
/// second.
fn end_of(certificate: &[u8]) -> Option<String> {
    let (_, certificate, _) = element(certificate)?;
    let (_, mut fields, _) = element(certificate)?;
    let (first, _, rest) = element(fields)?;
    if first == VERSION {
        fields = rest;
    }
    // The serial number, the algorithm and who has signed it.
    for _ in 0..3 {
        (_, _, fields) = element(fields)?;
    }
    let (SEQUENCE, validity, _) = element(fields)? else { return None };
    let (_, _, not_after) = element(validity)?;
    let (tag, text, _) = element(not_after)?;
    time(tag, std::str::from_utf8(text).ok()?)
}

/// The first element: its tag, what is in it, and what follows.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (&length, mut rest) = rest.split_first()?;
    let mut length = usize::from(length);
    if length >= 0x80 {
        let (digits, after) = rest.split_at_checked(length - 0x80).filter(|(digits, _)| digits.len() <= 4)?;
        length = digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit));
        rest = after;
    }
    let (content, after) = rest.split_at_checked(length)?;
    Some((tag, content, after))
}

/// `YYMMDDHHMMSSZ`, of 1950 to 2049, or `YYYYMMDDHHMMSSZ`, as RFC 3339 has it.
fn time(tag: u8, text: &str) -> Option<String> {
    let digits = text.strip_suffix('Z').filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))?;
    let century = match (tag, digits.len()) {
        (UTC_TIME, 12) if digits < "50" => "20",
        (UTC_TIME, 12) => "19",
        (GENERALIZED_TIME, 14) => "",
        _ => return None,
    };
    let digits = format!("{century}{digits}");
    let part = |from: usize| &digits[from..from + 2];
    Some(format!("{}-{}-{}T{}:{}:{}Z", &digits[..4], part(4), part(6), part(8), part(10), part(12)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_two_forms() {
        let is = |tag, text: &str, expected: &str| assert_eq!(time(tag, text).as_deref(), Some(expected));
        is(UTC_TIME, "491231235958Z", "2049-12-31T23:59:58Z");
        is(UTC_TIME, "500102030405Z", "1950-01-02T03:04:05Z");
        is(GENERALIZED_TIME, "20500102030405Z", "2050-01-02T03:04:05Z");
        for wrong in ["", "Z", "7001010000Z", "700101000001", "7O0101000000Z", "-00101000000Z", "20500101000000Z"] {
            assert_eq!(time(UTC_TIME, wrong), None, "{wrong}");
        }
        assert_eq!(time(GENERALIZED_TIME, "700101000001Z"), None);
    }

    #[test]
    fn what_is_cut_or_is_no_certificate_says_no_time() {
        let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/it/tls");
        let path = Path::new(dir).join("first.pem");
        let whole = files::certificates("the certificate", &path).unwrap()[0].to_vec();
        let ends = end_of(&whole);
        assert_eq!(ends.as_deref(), Some("2126-11-04T05:20:59Z"));
        assert_eq!(certificates_end(&path).unwrap(), ends);
        assert!((0..whole.len()).all(|length| end_of(&whole[..length]).is_none()), "each length is checked");
        for tag in [0, 0x30, 0xff] {
            assert_eq!(end_of(&[tag; 64]), None);
        }
        assert!(certificates_end(&Path::new(dir).join("first.key")).is_err());
    }
}
