//! A client whose calls are written down.

use std::cell::Cell;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::pace::Pace;
use super::record::{Answer, Call, Entry, Outcome, Recorder};
use crate::support::wire::{Frame, Wire};

/// How long a server that is not told to end may take to be there.
const PATIENCE: Duration = Duration::from_secs(60);

/// How to come by connections, in one life of a server.
pub(super) struct Link<'l> {
    pub(super) name: usize,
    pub(super) socket: PathBuf,
    pub(super) recorder: &'l Recorder,
    pub(super) pace: &'l Pace,
    /// The server's number of a connection that has broken.
    broken: Cell<Option<i64>>,
}

/// The connection broke: what the server did with calls that it has not answered is not known.
#[derive(Debug)]
pub(super) struct Broken;

/// A connection.
pub(super) struct Client<'l> {
    link: &'l Link<'l>,
    wire: Wire,
    /// The server's number of this connection.
    id: i64,
}

impl<'l> Link<'l> {
    pub(super) fn new(name: usize, socket: &Path, recorder: &'l Recorder, pace: &'l Pace) -> Link<'l> {
        Link { name, socket: socket.to_owned(), recorder, pace, broken: Cell::new(None) }
    }

    /// A connection that works, or none when the life is over. Whatever an earlier one has asked for has happened by
    /// then, or never will.
    pub(super) fn connect(&'l self) -> Option<Client<'l>> {
        let began = Instant::now();
        while !self.pace.is_over() {
            match self.try_to_connect() {
                Ok(client) => return Some(client),
                Err(Broken) => assert!(began.elapsed() < PATIENCE, "client {} cannot connect", self.name),
            }
            std::thread::yield_now();
        }
        None
    }

    fn try_to_connect(&'l self) -> Result<Client<'l>, Broken> {
        let wire = Wire::connect(&self.socket).map_err(|_| Broken)?;
        let mut client = Client { link: self, wire, id: 0 };
        let Answer::Number(id) = client.aside("CLIENT ID")? else { panic!("a connection has no number") };
        client.id = id;
        if let Some(broken) = self.broken.get() {
            let line = format!("id={broken} ");
            loop {
                let Answer::Text(clients) = client.aside("CLIENT LIST")? else { panic!("CLIENT LIST is no text") };
                if !clients.lines().any(|client| client.starts_with(&line)) {
                    break;
                }
            }
            self.recorder.is_gone(self.name);
            self.broken.set(None);
        }
        Ok(client)
    }
}

impl Client<'_> {
    /// Makes one call. Answers what came of it.
    pub(super) fn call(&mut self, call: Call) -> Result<Outcome, Broken> {
        self.calls(vec![call]).map(|mut outcomes| outcomes.remove(0))
    }

    /// Sends calls at once, and only then waits for what comes of them.
    pub(super) fn calls(&mut self, calls: Vec<Call>) -> Result<Vec<Outcome>, Broken> {
        let Link { name, recorder, pace, .. } = *self.link;
        let mut commands = Vec::new();
        for call in &calls {
            commands.extend(wire_commands(call));
        }
        let begins: Vec<u64> = calls.iter().map(|_| recorder.now()).collect();
        let mut is_broken = self.wire.send(&commands).is_err();
        let mut outcomes = Vec::new();
        for (n, call) in calls.into_iter().enumerate() {
            let mut outcome = Outcome::Unknown;
            if !is_broken {
                match self.outcome(&call) {
                    Ok(known) => outcome = known,
                    Err(_) => is_broken = true,
                }
            }
            let end = if is_broken { u64::MAX } else { recorder.now() };
            let after = n.checked_sub(1).map(|before| begins[before]);
            recorder.note(Entry { client: name, begin: begins[n], end, call, outcome: outcome.clone(), after });
            if !is_broken {
                pace.one();
            }
            outcomes.push(outcome);
        }
        if is_broken {
            self.link.broken.set(Some(self.id));
            return Err(Broken);
        }
        Ok(outcomes)
    }

    /// A command that is no part of the history.
    pub(super) fn aside(&mut self, command: &str) -> Result<Answer, Broken> {
        self.wire.call(command).map(|frame| answer(command.split(' ').next().unwrap(), frame)).map_err(|_| Broken)
    }

    /// Reads what a call is answered.
    fn outcome(&mut self, call: &Call) -> io::Result<Outcome> {
        if !call.is_exec {
            return Ok(outcome(answer(call.name(), self.wire.read()?)));
        }
        let mut refusal = None;
        for _ in 0..=call.commands.len() {
            // MULTI and what is queued: `OK`, `QUEUED`, or a refusal, after which EXEC does nothing. EXEC refuses too what
            // was queued while there was room.
            if let Frame::Line(b'-', text) = self.wire.read()? {
                refusal = Some(String::from_utf8_lossy(&text).into_owned());
            }
        }
        let given = match (self.wire.read()?, refusal) {
            (Frame::Line(b'-', text), refusal) if text.starts_with(b"EXECABORT") => {
                let text = String::from_utf8_lossy(&text);
                let why = text.split_once("because of: ").map_or(&*text, |(_, why)| why);
                Answer::Error(refusal.unwrap_or_else(|| why.to_owned()))
            }
            (Frame::Many(_, frames), None) => {
                let answers = call.commands.iter().zip(frames).map(|(words, frame)| answer(&words[0], frame));
                Answer::Many(answers.collect())
            }
            (frame, _) => answer("EXEC", frame),
        };
        Ok(outcome(given))
    }
}

fn outcome(answer: Answer) -> Outcome {
    match answer {
        Answer::Error(error) if error.starts_with("MISCONF") || error.starts_with("OOM") => Outcome::Refused(error),
        answer => Outcome::Answered(answer),
    }
}

fn wire_commands(call: &Call) -> Vec<Vec<Vec<u8>>> {
    let words = |words: &Vec<String>| words.iter().map(|word| sent(word).into_bytes()).collect::<Vec<_>>();
    let body = call.commands.iter().map(words);
    if !call.is_exec {
        return body.collect();
    }
    let bracket = |word: &str| vec![word.as_bytes().to_vec()];
    std::iter::once(bracket("MULTI")).chain(body).chain(std::iter::once(bracket("EXEC"))).collect()
}

/// What the history says that a command was answered; what has no order in an order of its own.
fn answer(command: &str, frame: Frame) -> Answer {
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let given = match frame {
        Frame::Line(b'+', bytes) if bytes == b"OK" => Answer::Okay,
        Frame::Line(b'-', bytes) => Answer::Error(text(bytes)),
        Frame::Line(b':', bytes) => {
            let digits = text(bytes);
            Answer::Number(digits.parse().unwrap_or_else(|_| panic!("'{digits}' is no number")))
        }
        Frame::Line(b'$' | b'*' | b'_', _) => Answer::Nil,
        Frame::Line(_, bytes) | Frame::Blob(_, bytes) => Answer::Text(noted(&text(bytes))),
        Frame::Many(_, frames) => Answer::Many(frames.into_iter().map(|frame| answer("", frame)).collect()),
    };
    match (command, given) {
        ("SMEMBERS", Answer::Many(mut members)) => {
            members.sort_by_key(Answer::to_string);
            Answer::Many(members)
        }
        ("HGETALL", Answer::Many(words)) => {
            let mut pairs: Vec<&[Answer]> = words.chunks(2).collect();
            pairs.sort_by_key(|pair| pair[0].to_string());
            Answer::Many(pairs.concat())
        }
        (_, given) => given,
    }
}

/// What is sent for a word of a history: `v7*3` stands for `v7*3:xxx`, so that long values are short to write down.
pub(super) fn sent(word: &str) -> String {
    let mut parts = word.split('*');
    let mut whole = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let digits = part.bytes().take_while(u8::is_ascii_digit).count();
        let (len, rest) = part.split_at(digits);
        whole += &format!("*{len}:{}{rest}", "x".repeat(len.parse().unwrap_or(0)));
    }
    whole
}

/// The opposite. What was not sent so stays as it is, and will be found.
fn noted(text: &str) -> String {
    let mut parts = text.split('*');
    let mut short = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let digits = part.bytes().take_while(u8::is_ascii_digit).count();
        let (len, rest) = part.split_at(digits);
        let padding = rest.bytes().skip(1).take_while(|byte| *byte == b'x').count();
        short += &match rest.strip_prefix(':') {
            Some(rest) if len.parse() == Ok(padding) => format!("*{len}{}", &rest[padding..]),
            _ => format!("*{part}"),
        };
    }
    short
}

#[test]
fn long_values_are_written_down_short() {
    for word in ["v1", "v1*3", "v1*3v2v3*0v4*10", "{\"a\":1}"] {
        assert_eq!(noted(&sent(word)), word);
    }
    assert_eq!(sent("v1*3v2"), "v1*3:xxxv2");
    assert_eq!(noted("v1*3:xx"), "v1*3:xx");
}
