//! Reads a script: lines of commands and expectations.

use std::collections::VecDeque;

use super::expect::{Expect, Order};

/// A script.
#[derive(Debug, Default)]
pub(super) struct Script {
    /// What to do, in order.
    pub(super) steps: Vec<Step>,
    /// It does not hold for Redis.
    pub(super) agq_only: bool,
    /// More arguments for the `agq` it runs against.
    pub(super) server_arguments: Vec<String>,
}

/// One thing to do.
#[derive(Debug)]
pub(super) struct Step {
    /// The line it stands on.
    pub(super) line: usize,
    /// The connection it is about.
    pub(super) conn: u32,
    /// What to do.
    pub(super) action: Action,
}

/// What a step does.
#[derive(Debug)]
pub(super) enum Action {
    /// Send a command; with those right before it on the same connection in one write.
    Send(Vec<Vec<u8>>),
    /// Read a reply, which must fit.
    Expect(Expect),
    /// Send a command again and again until the reply fits.
    Until(Vec<Vec<u8>>, Expect),
    /// Hang up.
    Close,
    /// Wait for the server to hang up.
    Closed,
    /// Speak RESP3 from here on.
    Resp3,
    /// Wait until so many connections are blocked.
    Blocked(usize),
}

impl Script {
    /// Reads a script; an error begins with the number of its line.
    pub(super) fn parse(text: &str) -> Result<Script, String> {
        let mut script = Script::default();
        let mut lines: VecDeque<(usize, &str)> = (1..).zip(text.lines().map(str::trim)).collect();
        let mut until: Option<(usize, u32, Vec<Vec<u8>>)> = None;
        while let Some((line, text)) = lines.pop_front() {
            if let Some(comment) = text.strip_prefix('#') {
                script.read_comment(comment.trim());
                continue;
            }
            let (conn, verb) = split_connection(text).map_err(|error| format!("{line}: {error}"))?;
            if let Some(first) = verb.strip_prefix('<') {
                let mut tokens = Tokens { lines: VecDeque::from([(line, first)]), line, rest: "" };
                while let Some(more) = lines.front().and_then(|(_, text)| continuation(text, conn)) {
                    let at = lines.pop_front().map_or(line, |(at, _)| at);
                    tokens.lines.push_back((at, more));
                }
                while let Some(at) = tokens.next_line() {
                    let expect = tokens.frame().map_err(|error| format!("{at}: {error}"))?;
                    let step = match until.take() {
                        Some((line, conn, args)) => Step { line, conn, action: Action::Until(args, expect) },
                        None => Step { line: at, conn, action: Action::Expect(expect) },
                    };
                    script.steps.push(step);
                }
            } else if let Some((line, ..)) = until {
                return Err(format!("{line}: a '?' must be followed by the reply it waits for"));
            } else if let Some(command) = verb.strip_prefix('?') {
                until = Some((line, conn, words(command).map_err(|error| format!("{line}: {error}"))?));
            } else if !text.is_empty() {
                let action = action(verb).map_err(|error| format!("{line}: {error}"))?;
                script.steps.push(Step { line, conn, action });
            }
        }
        match until {
            Some((line, ..)) => Err(format!("{line}: a '?' must be followed by the reply it waits for")),
            None => Ok(script),
        }
    }

    fn read_comment(&mut self, comment: &str) {
        if comment == "agq only" {
            self.agq_only = true;
        } else if let Some(arguments) = comment.strip_prefix("server:") {
            self.server_arguments = arguments.split_whitespace().map(str::to_owned).collect();
        }
    }
}

/// Takes `@2` off a line; a line without one is about connection 1.
fn split_connection(text: &str) -> Result<(u32, &str), String> {
    let Some(rest) = text.strip_prefix('@') else { return Ok((1, text)) };
    let (number, verb) = rest.split_once(' ').ok_or("a connection's number must be followed by what to do")?;
    let number = number.parse().map_err(|_| format!("'{number}' is not the number of a connection"))?;
    Ok((number, verb.trim_start()))
}

/// The rest of a line that goes on with the replies of a connection.
fn continuation(text: &str, conn: u32) -> Option<&str> {
    match split_connection(text) {
        Ok((number, verb)) if number == conn => verb.strip_prefix('<'),
        _ => None,
    }
}

fn action(verb: &str) -> Result<Action, String> {
    if let Some(command) = verb.strip_prefix('>') {
        return Ok(Action::Send(words(command)?));
    }
    match verb.split_once(' ').unwrap_or((verb, "")) {
        ("close", "") => Ok(Action::Close),
        ("closed", "") => Ok(Action::Closed),
        ("resp3", "") => Ok(Action::Resp3),
        ("blocked", count) => Ok(Action::Blocked(count.parse().map_err(|_| format!("'{count}' is not a number"))?)),
        _ => Err(format!("'{verb}' is neither a command (>), a reply (<), nor close, closed, resp3 or blocked")),
    }
}

/// The words of a command: bare, "with escapes" or 'raw'.
fn words(text: &str) -> Result<Vec<Vec<u8>>, String> {
    let mut rest = text.trim();
    let mut words = Vec::new();
    while !rest.is_empty() {
        let word = match rest.as_bytes()[0] {
            b'"' => quoted(&mut rest)?,
            b'\'' => {
                let (word, after) = rest[1..].split_once('\'').ok_or("a ' is not closed")?;
                rest = after;
                word.as_bytes().to_vec()
            }
            _ => bare(&mut rest).as_bytes().to_vec(),
        };
        if !rest.is_empty() && !rest.starts_with(char::is_whitespace) {
            return Err(format!("a blank is missing before '{rest}'"));
        }
        words.push(word);
        rest = rest.trim_start();
    }
    if words.is_empty() { Err("the command is missing".to_owned()) } else { Ok(words) }
}

/// Takes a word up to the next blank off `rest`.
fn bare<'a>(rest: &mut &'a str) -> &'a str {
    let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
    let (word, after) = rest.split_at(end);
    *rest = after;
    word
}

/// Takes a string with escapes off `rest`, which begins with its quotation mark.
fn quoted(rest: &mut &str) -> Result<Vec<u8>, String> {
    let bytes = rest.as_bytes();
    let mut out = Vec::new();
    let mut at = 1;
    loop {
        match *bytes.get(at).ok_or("a \" is not closed")? {
            b'"' => {
                *rest = &rest[at + 1..];
                return Ok(out);
            }
            b'\\' => {
                let escaped = *bytes.get(at + 1).ok_or("a \" is not closed")?;
                out.push(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'\\' | b'"' => escaped,
                    b'x' => {
                        let digits = rest.get(at + 2..at + 4).ok_or("\\x needs two digits")?;
                        at += 2;
                        u8::from_str_radix(digits, 16).map_err(|_| format!("'\\x{digits}' is no byte"))?
                    }
                    _ => return Err(format!("unknown escape '\\{}'", escaped as char)),
                });
                at += 2;
            }
            byte => {
                out.push(byte);
                at += 1;
            }
        }
    }
}

/// The frames of consecutive lines.
struct Tokens<'a> {
    lines: VecDeque<(usize, &'a str)>,
    line: usize,
    rest: &'a str,
}

impl Tokens<'_> {
    /// Goes to where the next frame begins: its line, or `None` when there is none.
    fn next_line(&mut self) -> Option<usize> {
        self.rest = self.rest.trim_start();
        while self.rest.is_empty() {
            let (line, text) = self.lines.pop_front()?;
            self.line = line;
            self.rest = text.trim_start();
        }
        Some(self.line)
    }

    fn frame(&mut self) -> Result<Expect, String> {
        if self.next_line().is_none() {
            return Err("the reply is not complete".to_owned());
        }
        let kind = self.rest.as_bytes()[0];
        let after = self.rest.get(1..).ok_or("a reply begins with a character of RESP")?;
        match kind {
            b'"' => Ok(Expect::Blob(b'$', quoted(&mut self.rest)?)),
            b'=' if after.starts_with('"') => {
                self.rest = after;
                Ok(Expect::Blob(b'=', quoted(&mut self.rest)?))
            }
            b'~' if after.starts_with('"') => {
                self.rest = after;
                Ok(Expect::BlobLike(quoted(&mut self.rest)?))
            }
            b'+' | b'-' => {
                self.rest = "";
                Ok(match after.strip_prefix('~') {
                    Some(pattern) => Expect::LineLike(kind, pattern.to_owned()),
                    None => Expect::Line(kind, after.to_owned()),
                })
            }
            _ => {
                let word = &bare(&mut self.rest)[1..];
                self.word(kind, word)
            }
        }
    }

    fn word(&mut self, kind: u8, word: &str) -> Result<Expect, String> {
        match (kind, word) {
            (b'.', "") => Ok(Expect::Any),
            (b'=', name) if !name.is_empty() => Ok(Expect::Catch(name.to_owned())),
            (b'$' | b'*', "-1") => Ok(Expect::Line(kind, word.to_owned())),
            (b':' | b',', "~") => Ok(Expect::LineLike(kind, "*".to_owned())),
            (b':', range) if range.contains("..") => {
                let bounds = range.split_once("..").and_then(|(from, to)| Some((from.parse().ok()?, to.parse().ok()?)));
                let (from, to) = bounds.ok_or_else(|| format!("'{range}' is not a range of integers"))?;
                Ok(Expect::IntegerIn(from, to))
            }
            (b':' | b',' | b'#' | b'_' | b'(', text) => Ok(Expect::Line(kind, text.to_owned())),
            (b'*' | b'%' | b'~' | b'>', count) => self.aggregate(kind, count),
            _ => Err(format!("'{}{word}' is no reply", kind as char)),
        }
    }

    fn aggregate(&mut self, kind: u8, count: &str) -> Result<Expect, String> {
        let (order, digits) = match (kind, count.strip_prefix('?'), count.strip_prefix('%')) {
            (b'*', Some(digits), _) => (Order::Groups(1), digits),
            (b'*', _, Some(digits)) => (Order::Groups(2), digits),
            (b'%', ..) => (Order::Groups(2), count),
            (b'~', ..) => (Order::Groups(1), count),
            _ => (Order::Fixed, count),
        };
        let count: usize = digits.parse().map_err(|_| format!("'{digits}' is not a number of items"))?;
        let items = if order == Order::Groups(2) { count * 2 } else { count };
        let items = (0..items).map(|_| self.frame()).collect::<Result<_, _>>()?;
        Ok(Expect::Many(kind, order, items))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replies(text: &str) -> Vec<String> {
        let script = Script::parse(text).unwrap();
        let expects = script.steps.iter().filter_map(|step| match &step.action {
            Action::Expect(expect) => Some(expect.to_string()),
            _ => None,
        });
        expects.collect()
    }

    #[test]
    fn replies_may_stand_on_one_line_or_on_several() {
        let expected = ["*2 \"a\" *1 :1", "+OK", "-ERR no such key"];
        assert_eq!(replies("< *2 \"a\" *1 :1\n< +OK\n< -ERR no such key"), expected);
        assert_eq!(replies("< *2\n<   \"a\"\n<   *1\n<     :1\n< +OK\n< -ERR no such key"), expected);
    }

    #[test]
    fn every_kind_of_reply_is_read() {
        for reply in [
            "$-1",
            "*-1",
            "_",
            ":~",
            ":1..9",
            ",1.5",
            "#t",
            "*?2 :1 :2",
            "*%1 \"k\" \"v\"",
            "%1 \"k\" .",
            "~2 :1 :2",
            ">1 \"m\"",
            "=id",
            "=\"txt:x\"",
            "~\"a*\"",
            "-~ERR *",
            "+~O*",
            "\"\\x00\\\"\"",
        ] {
            assert_eq!(replies(&format!("< {reply}")), [reply]);
        }
    }

    #[test]
    fn commands_are_cut_into_words() {
        let word = |text: &[u8]| text.to_vec();
        assert_eq!(
            words(r#"SET "a b\x00" '{"x": 1}' c"#).unwrap(),
            [word(b"SET"), word(b"a b\0"), word(br#"{"x": 1}"#), word(b"c")]
        );
    }

    #[test]
    fn mistakes_name_their_line() {
        for (text, error) in [
            ("> PING\nfoo", "2: 'foo' is neither"),
            ("> GET \"a", "1: a \" is not closed"),
            ("> X\n< *2 :1", "2: the reply is not complete"),
            ("? X\n> Y", "1: a '?' must be followed"),
            ("@x > X", "1: 'x' is not the number"),
        ] {
            let found = Script::parse(text).unwrap_err();
            assert!(found.starts_with(error), "{found}");
        }
    }
}
