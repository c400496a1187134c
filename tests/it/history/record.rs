//! What a history consists of: who called what, from when to when, and what came of it. It can be written as text, a
//! line for each call, and read again: that is how it is kept when something is wrong, and how the tests of the checkers
//! give wrong ones.
//!
//! ```text
//! 3..9 c1 SET g:text v1 => OK
//! 4..6 c2 EXEC{ INCR g:count ; RPUSH g:left v2 } => [:1 :1]
//! 7..12 c3 EXEC(g:text="v1"){ SET g:text v3 } => nil
//! 8..20 c4 RPOP g:left => ?
//! ```
//!
//! Times are numbers of one counter that all clients share, so that of two calls one is known to end before the other
//! begins exactly when it did. `?` is a call without an answer: its connection broke. It may have happened at any time
//! until its connection was gone or its server ended, or never. `!` and an error is a call that was refused: it did not happen.

use std::fmt;
use std::iter::Peekable;
use std::str::SplitWhitespace;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// What a client was answered.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Answer {
    Okay,
    Nil,
    Number(i64),
    Text(String),
    Many(Vec<Answer>),
    Error(String),
}

impl Answer {
    pub(super) fn text(text: impl Into<String>) -> Answer {
        Answer::Text(text.into())
    }

    /// The texts of an answer of several; nothing else counts.
    pub(super) fn texts(&self) -> impl Iterator<Item = &str> {
        let answers = if let Answer::Many(answers) = self { &answers[..] } else { &[] };
        answers.iter().filter_map(|answer| if let Answer::Text(text) = answer { Some(&**text) } else { None })
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Answer::Okay => write!(f, "OK"),
            Answer::Nil => write!(f, "nil"),
            Answer::Number(number) => write!(f, ":{number}"),
            Answer::Text(text) => write!(f, "\"{text}\""),
            Answer::Error(text) => write!(f, "-{}", text.replace(' ', "_")),
            Answer::Many(answers) => {
                write!(f, "[")?;
                for (n, answer) in answers.iter().enumerate() {
                    write!(f, "{}{answer}", if n == 0 { "" } else { " " })?;
                }
                write!(f, "]")
            }
        }
    }
}

/// What a client asked for: one command, or the body of an EXEC.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Call {
    pub(super) commands: Vec<Vec<String>>,
    pub(super) is_exec: bool,
    /// A key that the connection watches, and the value that it has read since.
    pub(super) watch: Option<(String, Answer)>,
}

impl Call {
    /// A command, its words divided by blanks.
    pub(super) fn one(command: &str) -> Call {
        Call { commands: vec![words(command)], is_exec: false, watch: None }
    }

    /// A transaction of such commands.
    pub(super) fn exec(commands: Vec<String>) -> Call {
        Call { commands: commands.iter().map(|command| words(command)).collect(), is_exec: true, watch: None }
    }

    pub(super) fn name(&self) -> &str {
        if self.is_exec { "EXEC" } else { &self.commands[0][0] }
    }

    pub(super) fn word(&self, n: usize) -> &str {
        &self.commands[0][n]
    }
}

fn words(command: &str) -> Vec<String> {
    command.split_whitespace().map(str::to_owned).collect()
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.commands.iter().map(|words| words.join(" ")).collect::<Vec<_>>().join(" ; ");
        match (&self.watch, self.is_exec) {
            (_, false) => write!(f, "{text}"),
            (None, true) => write!(f, "EXEC{{ {text} }}"),
            (Some((key, value)), true) => write!(f, "EXEC({key}={value}){{ {text} }}"),
        }
    }
}

/// What came of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    Answered(Answer),
    /// The server said that it would not do it, and changed nothing.
    Refused(String),
    Unknown,
}

/// A call of a history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) client: usize,
    pub(super) begin: u64,
    /// When it was over; of a call without an answer, when nothing could come of it any more.
    pub(super) end: u64,
    pub(super) call: Call,
    pub(super) outcome: Outcome,
    /// The begin of the call that the same connection had sent before it, without waiting for the answer.
    pub(super) after: Option<u64>,
}

impl Entry {
    pub(super) fn answer(&self) -> Option<&Answer> {
        if let Outcome::Answered(answer) = &self.outcome { Some(answer) } else { None }
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{} c{} {}", self.begin, self.end, self.client, self.call)?;
        if let Some(after) = self.after {
            write!(f, " after {after}")?;
        }
        match &self.outcome {
            Outcome::Answered(answer) => write!(f, " => {answer}"),
            Outcome::Refused(error) => write!(f, " => !{}", error.replace(' ', "_")),
            Outcome::Unknown => write!(f, " => ?"),
        }
    }
}

/// Reads a history that was written as text; empty lines and those that begin with `#` count for nothing.
///
/// # Errors
/// The line that is none, and why.
pub(super) fn parse(text: &str) -> Result<Vec<Entry>, String> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| parse_line(line).ok_or_else(|| format!("'{line}' is no call of a history"))).collect()
}

fn parse_line(line: &str) -> Option<Entry> {
    let (head, outcome) = line.split_once(" => ")?;
    let (times, rest) = head.split_once(' ')?;
    let (begin, end) = times.split_once("..")?;
    let (client, rest) = rest.split_once(' ')?;
    let (call, after) = match rest.rsplit_once(" after ") {
        Some((call, after)) => (call, Some(after.parse().ok()?)),
        None => (rest, None),
    };
    let outcome = match outcome {
        "?" => Outcome::Unknown,
        _ if outcome.starts_with('!') => Outcome::Refused(outcome[1..].replace('_', " ")),
        _ => Outcome::Answered(parse_answer(outcome)?),
    };
    Some(Entry {
        client: client.strip_prefix('c')?.parse().ok()?,
        begin: begin.parse().ok()?,
        end: end.parse().ok()?,
        call: parse_call(call)?,
        outcome,
        after,
    })
}

fn parse_call(text: &str) -> Option<Call> {
    let Some(text) = text.strip_prefix("EXEC") else { return Some(Call::one(text)) };
    let (watch, body) = text.split_once("{ ")?;
    let watch = match watch.strip_prefix('(') {
        Some(watch) => {
            let (key, value) = watch.strip_suffix(')')?.split_once('=')?;
            Some((key.to_owned(), parse_answer(value)?))
        }
        None => None,
    };
    let commands = body.strip_suffix(" }")?.split(" ; ").map(words).collect();
    Some(Call { commands, is_exec: true, watch })
}

fn parse_answer(text: &str) -> Option<Answer> {
    let spaced = text.replace('[', " [ ").replace(']', " ] ");
    // Only JSON has brackets within a text, and no history that is read has such JSON.
    let mut words = spaced.split_whitespace().peekable();
    let answer = next_answer(&mut words)?;
    words.next().is_none().then_some(answer)
}

fn next_answer(words: &mut Peekable<SplitWhitespace<'_>>) -> Option<Answer> {
    let word = words.next()?;
    Some(match (word, word.as_bytes()[0]) {
        ("OK", _) => Answer::Okay,
        ("nil", _) => Answer::Nil,
        ("[", _) => {
            let mut answers = Vec::new();
            while *words.peek()? != "]" {
                answers.push(next_answer(words)?);
            }
            words.next();
            Answer::Many(answers)
        }
        (_, b':') => Answer::Number(word[1..].parse().ok()?),
        (_, b'-') => Answer::Error(word[1..].replace('_', " ")),
        (_, b'"') => Answer::text(word[1..].strip_suffix('"')?),
        _ => return None,
    })
}

/// Where clients write down what they do.
#[derive(Default)]
pub(super) struct Recorder {
    now: AtomicU64,
    entries: Mutex<Vec<Entry>>,
}

impl Recorder {
    /// The next moment.
    pub(super) fn now(&self) -> u64 {
        self.now.fetch_add(1, Ordering::SeqCst)
    }

    /// Notes a call that is over, or whose connection broke.
    pub(super) fn note(&self, entry: Entry) {
        self.entries.lock().unwrap().push(entry);
    }

    /// A client's broken connection is gone: nothing can come of what it has asked for any more.
    pub(super) fn is_gone(&self, client: usize) {
        let mut entries = self.entries.lock().unwrap();
        let end = self.now();
        let open = entries.iter_mut().filter(|entry| entry.client == client && entry.end == u64::MAX);
        open.for_each(|entry| entry.end = end);
    }

    /// Hands over what was noted, once the server is gone: nothing can come of a call without an answer any more.
    pub(super) fn close(&self) -> Vec<Entry> {
        let end = self.now();
        let mut entries = std::mem::take(&mut *self.entries.lock().unwrap());
        entries.iter_mut().filter(|entry| entry.end == u64::MAX).for_each(|entry| entry.end = end);
        entries.sort_by_key(|entry| entry.begin);
        entries
    }
}

#[test]
fn what_is_written_can_be_read_again() {
    let text = "3..9 c1 SET g:text v1 => OK\n\
                4..6 c2 EXEC{ INCR g:count ; RPUSH g:left v2 } => [:-1 [\"v2\" nil]]\n\
                7..12 c3 EXEC(g:text=\"v1\"){ SET g:text v3 } => nil\n\
                8..20 c4 RPOP g:left after 7 => ?\n\
                9..10 c4 SET a b => !MISCONF_full\n\
                11..13 c4 JOB.COMPLETE j 1 {\"a\":1} => -STALE_job_j";
    let entries = parse(text).unwrap();
    assert_eq!(entries.iter().map(Entry::to_string).collect::<Vec<_>>().join("\n"), text);
    assert_eq!(entries[3].outcome, Outcome::Unknown);
    assert!(parse("3.9 c1 GET a => OK").is_err() && parse("3..9 c1 GET a => [OK").is_err());
}
