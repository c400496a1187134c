//! Counts replies without reading them: a load generator that decoded what it gets would measure itself.

/// Where a stream of replies stands.
#[derive(Debug, Default)]
pub(super) struct Scanner {
    /// Bytes of a string, its line end included, that are still to come.
    skip: usize,
    /// Values that the reply begun still lacks; 0 between replies.
    missing: u64,
    /// The line read so far, where it came in parts.
    line: Vec<u8>,
    /// Errors seen.
    pub(super) errors: u64,
    /// The first error's text.
    pub(super) first_error: Option<String>,
}

impl Scanner {
    /// Takes the next bytes and returns how many replies they completed; `None` when they are no replies.
    pub(super) fn feed(&mut self, mut input: &[u8]) -> Option<u64> {
        let mut done = 0;
        while !input.is_empty() {
            if self.skip > 0 {
                let taken = self.skip.min(input.len());
                self.skip -= taken;
                input = &input[taken..];
                if self.skip == 0 {
                    done += self.value_ended();
                }
                continue;
            }
            let Some(end) = input.iter().position(|&byte| byte == b'\n') else {
                self.line.extend_from_slice(input);
                break;
            };
            let (line, rest) = input.split_at(end + 1);
            input = rest;
            if self.line.is_empty() {
                done += self.line(line)?;
            } else {
                let mut whole = std::mem::take(&mut self.line);
                whole.extend_from_slice(line);
                done += self.line(&whole)?;
                whole.clear();
                self.line = whole;
            }
        }
        Some(done)
    }

    /// One line, with its CR LF; returns 1 when it completes a reply.
    fn line(&mut self, line: &[u8]) -> Option<u64> {
        let body = line.strip_suffix(b"\r\n")?;
        let (&kind, rest) = body.split_first()?;
        match kind {
            b'+' | b':' | b'_' | b'#' | b',' | b'(' => Some(self.value_ended()),
            b'-' => {
                self.errors += 1;
                self.first_error.get_or_insert_with(|| String::from_utf8_lossy(rest).into_owned());
                Some(self.value_ended())
            }
            b'$' | b'=' | b'!' => match length(rest)? {
                None => Some(self.value_ended()),
                Some(bytes) => {
                    self.skip = usize::try_from(bytes).ok()? + 2;
                    Some(0)
                }
            },
            b'*' | b'~' | b'%' => match length(rest)? {
                None | Some(0) => Some(self.value_ended()),
                Some(count) => {
                    let count = if kind == b'%' { count.checked_mul(2)? } else { count };
                    // The aggregate itself is over with its last value.
                    self.missing = self.missing.saturating_sub(1).checked_add(count)?;
                    Some(0)
                }
            },
            _ => None,
        }
    }

    fn value_ended(&mut self) -> u64 {
        self.missing = self.missing.saturating_sub(1);
        u64::from(self.missing == 0)
    }
}

/// A length: `Some(None)` is null, `None` is no length.
fn length(digits: &[u8]) -> Option<Option<u64>> {
    match digits {
        b"-1" => Some(None),
        digits => std::str::from_utf8(digits).ok()?.parse().ok().map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &[u8] = b"+OK\r\n:12\r\n$5\r\na\r\nbc\r\n$-1\r\n*-1\r\n*0\r\n*2\r\n*2\r\n$1\r\nx\r\n:1\r\n$0\r\n\r\n-ERR no\r\n+OK\r\n%1\r\n+a\r\n:1\r\n";

    #[test]
    fn replies_are_counted_however_they_are_cut() {
        for size in 1..STREAM.len() {
            let mut scanner = Scanner::default();
            let count: u64 = STREAM.chunks(size).map(|part| scanner.feed(part).unwrap()).sum();
            assert_eq!((count, scanner.errors), (10, 1), "in parts of {size}");
            assert_eq!(scanner.first_error.as_deref(), Some("ERR no"));
        }
    }

    #[test]
    fn what_is_no_reply_is_refused() {
        for text in ["HTTP/1.1 400 Bad Request\r\n", "$x\r\n", "+OK\n", "\r\n"] {
            assert_eq!(Scanner::default().feed(text.as_bytes()), None, "{text:?}");
        }
    }
}
