//! Inline commands: a line of words, as somebody types it into netcat. The quoting rules are
//! those of Redis (`sdssplitargs`), except that a NUL is an ordinary byte here: Redis takes it for
//! the end of its buffer, and waits.

use crate::error::ProtocolError;
use crate::request::Spans;

/// Splits a line without its end into words. What stands in quotes is unescaped where it is: an
/// escape never gets longer, so the words only move towards the front.
pub(crate) fn split(line: &mut [u8]) -> Result<Spans, ProtocolError> {
    let mut words = Spans::new();
    let mut read = 0;
    let mut write = 0;
    loop {
        while line.get(read).is_some_and(|&byte| is_space(byte)) {
            read += 1;
        }
        if read == line.len() {
            return Ok(words);
        }
        let start = write;
        (read, write) = word(line, read, write)?;
        words.push((start as u32, write as u32));
    }
}

/// Moves one word from `read` to `write`. Returns where the next one is read and written.
fn word(line: &mut [u8], mut read: usize, mut write: usize) -> Result<(usize, usize), ProtocolError> {
    let mut quote = None;
    loop {
        let (byte, used) = match (quote, line.get(read..).unwrap_or_default()) {
            (None, []) => return Ok((read, write)),
            // Of the blanks, a vertical tab and a form feed do not end a word, they only do not
            // start one: Redis asks in two ways.
            (None, [b' ' | b'\t' | b'\r' | b'\n', ..]) => return Ok((read + 1, write)),
            (None, &[open @ (b'"' | b'\''), ..]) => {
                quote = Some(open);
                read += 1;
                continue;
            }
            (None, &[byte, ..]) => (byte, 1),
            (Some(_), []) => return Err(ProtocolError::UnbalancedQuotes),
            (Some(open), &[byte, ref rest @ ..]) if byte == open => {
                return match rest.first() {
                    Some(&next) if !is_space(next) => Err(ProtocolError::UnbalancedQuotes),
                    _ => Ok((read + 1, write)),
                };
            }
            (Some(b'"'), &[byte, ref rest @ ..]) => unescape(byte, rest),
            (Some(_), [b'\\', b'\'', ..]) => (b'\'', 2),
            (Some(_), &[byte, ..]) => (byte, 1),
        };
        line[write] = byte;
        write += 1;
        read += used;
    }
}

/// What `byte` and perhaps some of `rest` stand for between double quotes, and how many bytes do.
fn unescape(byte: u8, rest: &[u8]) -> (u8, usize) {
    match (byte, rest) {
        (b'\\', &[b'x', high, low, ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
            (hex(high) << 4 | hex(low), 4)
        }
        (b'\\', [b'n', ..]) => (b'\n', 2),
        (b'\\', [b'r', ..]) => (b'\r', 2),
        (b'\\', [b't', ..]) => (b'\t', 2),
        (b'\\', [b'b', ..]) => (0x08, 2),
        (b'\\', [b'a', ..]) => (0x07, 2),
        (b'\\', &[other, ..]) => (other, 2),
        _ => (byte, 1),
    }
}

/// The value of a hexadecimal digit.
fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => digit - b'A' + 10,
    }
}

/// C's `isspace`.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Result<Vec<String>, ProtocolError> {
        let mut line = Vec::from(line);
        let spans = split(&mut line)?;
        Ok(spans.iter().map(|&(start, end)| line[start as usize..end as usize].escape_ascii().to_string()).collect())
    }

    /// Each of these was put to a Redis 7.0.15.
    #[test]
    fn words_are_split_and_unquoted_as_in_redis() {
        for (line, expected) in [
            ("", &[][..]),
            (" \t\x0b\x0c ", &[]),
            ("PING", &["PING"]),
            ("\x0bPING  a", &["PING", "a"]),
            ("PING a\x0bb\x0c", &["PING", r"a\x0bb\x0c"]),
            ("PING a\rb\r", &["PING", "a", "b"]),
            (r#"PING "\x41\n\q\xzz""#, &["PING", r"A\nqxzz"]),
            (r#""\r\t\b\a\\\"""#, &[r#"\r\t\x08\x07\\\""#]),
            (r#"PING 'a\'b\n' c"#, &["PING", r"a\'b\\n", "c"]),
            (r#"PI"NG" a'b'"#, &["PING", "ab"]),
            (r#""" ''"#, &["", ""]),
        ] {
            assert_eq!(words(line).unwrap(), expected, "{line:?}");
        }
    }

    #[test]
    fn quotes_that_do_not_close_are_refused() {
        for line in [
            r#"PING "a"#,
            r#"PING 'a"#,
            r#"PING "a"b"#,
            r#"PING 'a''b'"#,
            r#"PING "a\"#,
            r#"PING "a\""#,
            r#"PING 'a\'"#,
        ] {
            assert_eq!(words(line), Err(ProtocolError::UnbalancedQuotes), "{line}");
        }
    }
}
