//! Runs one script against one server.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::time::{Duration, Instant};

use super::expect::{Caught, Expect, substitute};
use super::parse::{Action, Script, Step};
use crate::support::server::Server;
use crate::support::wire::{Frame, Wire};

/// How long something that is polled for may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// A connection of the script.
struct Client {
    wire: Wire,
    /// Commands whose replies the script has not read: where they stand, and their words.
    unanswered: VecDeque<(usize, String)>,
}

struct Runner<'a> {
    server: &'a Server,
    /// A connection that the script does not see.
    control: Wire,
    clients: BTreeMap<u32, Client>,
    caught: Caught,
}

/// The session key in scripts that ask for one.
const KEY: &str = "right";

/// Runs a script on an empty server. An error begins with the line that fails.
pub(super) fn run(script: &Script, server: &Server) -> Result<(), String> {
    let mut control = server.connect();
    match control.call("FLUSHALL") {
        Ok(Frame::Line(b'+', _)) => {}
        // A script about the key has a fresh server to itself.
        Ok(Frame::Line(b'-', error)) if error.starts_with(b"NOAUTH") => {
            let given = control.call(&format!("AUTH {KEY}"));
            assert!(matches!(given, Ok(Frame::Line(b'+', _))), "the key of a script's server is '{KEY}'");
        }
        other => return Err(format!("0: FLUSHALL answered {other:?}")),
    }
    let mut runner = Runner { server, control, clients: BTreeMap::new(), caught: Caught::new() };
    let mut steps = script.steps.iter().peekable();
    while let Some(step) = steps.next() {
        let mut batch = Vec::from([step]);
        if let Action::Send(_) = step.action {
            let goes_on = |next: &&Step| next.conn == step.conn && matches!(next.action, Action::Send(_));
            while let Some(next) = steps.next_if(goes_on) {
                batch.push(next);
            }
        }
        if let Err(failure) = runner.step(&batch) {
            return Err(format!("{}: {failure}", step.line));
        }
    }
    runner.finish()
}

impl Runner<'_> {
    /// Does one step, or several commands that go out in one write.
    fn step(&mut self, batch: &[&Step]) -> Result<(), String> {
        let Some(step) = batch.first() else { return Ok(()) };
        match &step.action {
            Action::Send(_) => self.send(batch),
            Action::Expect(expect) => self.expect(step.conn, expect),
            Action::Until(args, expect) => self.until(step.conn, args, expect),
            Action::Blocked(count) => self.wait_for_info("blocked_clients", *count),
            Action::Close => {
                self.clients.remove(&step.conn);
                Ok(())
            }
            Action::Closed => {
                let client = self.client(step.conn);
                client.unanswered.clear();
                client.wire.read_end().map_err(|error| error.to_string())
            }
            Action::Resp3 => match self.client(step.conn).wire.call("HELLO 3") {
                Ok(Frame::Many(b'%', _)) => Ok(()),
                other => Err(format!("HELLO 3 answered {other:?}")),
            },
        }
    }

    fn client(&mut self, conn: u32) -> &mut Client {
        let server = self.server;
        self.clients.entry(conn).or_insert_with(|| Client { wire: server.connect(), unanswered: VecDeque::new() })
    }

    fn send(&mut self, batch: &[&Step]) -> Result<(), String> {
        let mut commands = Vec::new();
        for step in batch {
            let Action::Send(args) = &step.action else { continue };
            let args = self.substituted(args);
            self.client(step.conn).unanswered.push_back((step.line, shown(&args)));
            commands.push(args);
        }
        let conn = batch.first().map_or(1, |step| step.conn);
        self.client(conn).wire.send(&commands).map_err(|error| error.to_string())
    }

    fn substituted(&self, args: &[Vec<u8>]) -> Vec<Vec<u8>> {
        args.iter().map(|arg| substitute(arg, &self.caught)).collect()
    }

    fn expect(&mut self, conn: u32, expect: &Expect) -> Result<(), String> {
        let client = self.client(conn);
        let command = client.unanswered.front().map_or(String::new(), |(_, command)| command.clone());
        let frame = client.wire.read().map_err(|error| vain(&command, expect, error))?;
        if !is_message(&frame) {
            client.unanswered.pop_front();
        }
        if expect.fits(&frame, &mut self.caught) {
            return Ok(());
        }
        Err(format!("> {command}\n    expected {expect}\n    got      {frame}"))
    }

    fn until(&mut self, conn: u32, args: &[Vec<u8>], expect: &Expect) -> Result<(), String> {
        let args = self.substituted(args);
        let began = Instant::now();
        loop {
            let wire = &mut self.client(conn).wire;
            let frame = wire.send(std::slice::from_ref(&args)).and_then(|()| wire.read());
            let frame = frame.map_err(|error| vain(&shown(&args), expect, error))?;
            if expect.fits(&frame, &mut self.caught) {
                return Ok(());
            }
            if began.elapsed() > PATIENCE {
                return Err(format!("? {}\n    expected {expect}\n    still    {frame}", shown(&args)));
            }
            std::thread::yield_now();
        }
    }

    /// Polls a number of INFO's until it is this.
    fn wait_for_info(&mut self, field: &str, wanted: usize) -> Result<(), String> {
        let began = Instant::now();
        let line = format!("{field}:{wanted}\r\n");
        loop {
            let info = match self.control.call("INFO clients") {
                Ok(Frame::Blob(_, text)) => String::from_utf8_lossy(&text).into_owned(),
                other => return Err(format!("INFO answered {other:?}")),
            };
            if info.contains(&line) {
                return Ok(());
            }
            if began.elapsed() > PATIENCE {
                return Err(format!("expected {field}:{wanted}; INFO still says:\n{info}"));
            }
            std::thread::yield_now();
        }
    }

    /// Checks that the script has read every reply, and leaves the server without its connections.
    fn finish(mut self) -> Result<(), String> {
        for (conn, client) in std::mem::take(&mut self.clients) {
            if let Some((line, command)) = client.unanswered.front() {
                return Err(format!("{line}: @{conn} > {command}\n    the script does not read its reply"));
            }
        }
        self.wait_for_info("connected_clients", 1).map_err(|failure| format!("0: {failure}"))
    }
}

/// True for what comes without a command: a push, but for those that answer SUBSCRIBE and its like.
fn is_message(frame: &Frame) -> bool {
    let Frame::Many(b'>', items) = frame else { return false };
    matches!(items.first(), Some(Frame::Blob(_, word)) if !word.ends_with(b"subscribe"))
}

fn vain(command: &str, expect: &Expect, error: io::Error) -> String {
    format!("> {command}\n    expected {expect}\n    got none: {error}")
}

fn shown(args: &[Vec<u8>]) -> String {
    let words: Vec<String> = args.iter().map(|arg| arg.escape_ascii().to_string()).collect();
    words.join(" ")
}
