//! What goes into the audit log: what administrators do, and what is refused, the latter at a bounded rate.
//!
//! A refusal that has no place any more in its minute is counted, and one entry at the minute's end says how many there
//! were: nobody fills the disk, or slows the others down by more than the refusal itself, by asking for what is refused.

use std::borrow::Cow;

use agq_resp::{Reply, Request};

use crate::access::audit::{self, Entry, Ring};
use crate::clock::Millis;
use crate::command::{Begun, Command, CommandError, Needs, NotSet, Server, Wait, args, config, lookup, monitor};
use crate::data::Touch;
use crate::engine::{ConnId, Engine};
use crate::storage::{self, Batch};

/// Refusals that are written in a minute, one by one.
const REFUSALS: u32 = 60;
const WINDOW_MS: u64 = 60_000;
/// Characters of a command that are kept, and of one argument.
const COMMAND_CHARS: usize = 512;
const ARGUMENT_BYTES: usize = 128;
/// In place of a command, for what a connection is refused before its first.
const CONNECTING: &str = "(connecting)";

/// How many refusals were written of late.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    /// Since when they are counted.
    since: Option<Millis>,
    written: u32,
    /// Those that were only counted.
    counted: u64,
}

impl Refusals {
    /// When those that were only counted are to be told.
    fn next(&self) -> Option<Millis> {
        self.since.filter(|_| self.counted > 0).map(|since| since.plus(WINDOW_MS))
    }

    /// Begins a new minute if the last is over. Returns how many were only counted in that.
    fn turn(&mut self, now: Millis) -> Option<u64> {
        if self.since.is_some_and(|since| now < since.plus(WINDOW_MS)) {
            return None;
        }
        let counted = self.counted;
        *self = Refusals { since: Some(now), written: 0, counted: 0 };
        (counted > 0).then_some(counted)
    }
}

/// True for what an administrator does, as against what one looks at.
fn is_action(command: &Command, request: &Request) -> bool {
    match command.needs {
        Needs::Act => true,
        Needs::Words { free, looks } => {
            let word = request.get(1).unwrap_or_default();
            if args::is(word, "LOG") {
                return request.get(2).is_some_and(|word| args::is(word, "RESET"));
            }
            !free.iter().chain(looks).any(|name| args::is(word, name))
        }
        _ => false,
    }
}

/// The command in a line, without secrets and payloads, shortened: all the words of one for administrators, the name and
/// what it is about of others, since what follows is data that the store was not to have.
fn told(server: &Server, request: &Request) -> String {
    let is_for_admins = lookup(request.arg(0))
        .is_some_and(|command| matches!(command.needs, Needs::Act | Needs::Look | Needs::Words { .. }));
    let words = if is_for_admins { usize::MAX } else { 2 };
    let mut line = String::new();
    for argument in monitor::shown(request, |name| config::is_setting(server, name)).take(words) {
        let argument = if argument.starts_with(b"{") { Cow::Borrowed(&b"{...}"[..]) } else { argument };
        if !line.is_empty() {
            line.push(' ');
        }
        monitor::quote(&mut line, &argument[..argument.len().min(ARGUMENT_BYTES)]);
        if argument.len() > ARGUMENT_BYTES {
            line.push('…');
        }
        if let Some((end, _)) = line.char_indices().nth(COMMAND_CHARS) {
            line.truncate(end);
            line.push('…');
            break;
        }
    }
    line
}

impl Engine {
    fn entry(&self, conn: ConnId, request: Option<&Request>, outcome: String, now: Millis) -> Entry {
        let (key, address) = match self.sessions.get(&conn) {
            Some(session) if session.authenticated => (session.user().to_owned(), session.address.clone()),
            Some(session) => (String::new(), session.address.clone()),
            None => (String::new(), String::new()),
        };
        let command = request.map_or_else(|| CONNECTING.to_owned(), |request| told(&self.server, request));
        Entry { at: now, key, connection: conn, address, command, outcome }
    }

    /// Notes what an administrator did, or tried to: the outcome stands in it.
    pub(super) fn audit_action(
        &mut self,
        batch: &mut Batch<'_>,
        conn: ConnId,
        command: &Command,
        request: &Request,
        reply: Option<&Reply>,
        now: Millis,
    ) -> storage::Result<()> {
        if matches!(reply, Some(Reply::Error(_))) && matches!(command.name, "AUTH" | "HELLO") {
            return self.audit_failed_login(batch, conn, request, reply, now);
        }
        if !is_action(command, request) || self.own == Some(conn) || self.server.refusal.is_some() {
            return Ok(());
        }
        let outcome = match reply {
            Some(Reply::Error(text)) => String::from_utf8_lossy(text).into_owned(),
            _ => "ok".to_owned(),
        };
        let entry = self.entry(conn, Some(request), outcome, now);
        self.write_entry(batch, Ring::Actions, &entry)
    }

    /// Keeps the entry of a command that waits for a change of settings until that has ended: it may be made when nobody
    /// waits for it any more.
    pub(super) fn audit_when_changed(&mut self, conn: ConnId, request: &Request, wait: &Wait, now: Millis) {
        for touch in &wait.on {
            if let Touch::Settings(number) = touch {
                let entry = self.entry(conn, Some(request), String::new(), now);
                self.server.settings.begun.entry(*number).or_default().entry = Some(entry);
            }
        }
    }

    /// A change of settings was made, or not: what follows from that, for whoever asked, and for the audit log.
    pub(super) fn settings_changed(
        &mut self,
        batch: &mut Batch<'_>,
        number: u64,
        outcome: Result<(), NotSet>,
        now: Millis,
    ) -> storage::Result<()> {
        let Begun { tuned, entry } = self.server.settings.begun.remove(&number).unwrap_or_default();
        if outcome.is_ok() {
            tuned.apply(&mut self.server, &mut self.touched);
        }
        if let Some(entry) = entry.filter(|_| self.server.refusal.is_none()) {
            let outcome = outcome.as_ref().map_or_else(|refused| refused.error().0.into_owned(), |()| "ok".to_owned());
            self.write_entry(batch, Ring::Actions, &Entry { at: now, outcome, ..entry })?;
        }
        self.server.settings.tell(number, outcome);
        self.touched.things.push(Touch::Settings(number));
        self.wake(batch, now)?;
        self.server.settings.forget(number);
        Ok(())
    }

    /// A key that was wrong is a refusal; other errors of these commands are not.
    fn audit_failed_login(
        &mut self,
        batch: &mut Batch<'_>,
        conn: ConnId,
        request: &Request,
        reply: Option<&Reply>,
        now: Millis,
    ) -> storage::Result<()> {
        match reply {
            Some(Reply::Error(text)) if text.starts_with(b"WRONGPASS") => {
                let error = CommandError::new(String::from_utf8_lossy(text).into_owned());
                self.audit_refusal(batch, conn, Some(request), &error, now)
            }
            _ => Ok(()),
        }
    }

    /// Notes what was refused: a command, or, where there is none, to come in.
    pub(super) fn audit_refusal(
        &mut self,
        batch: &mut Batch<'_>,
        conn: ConnId,
        request: Option<&Request>,
        error: &CommandError,
        now: Millis,
    ) -> storage::Result<()> {
        self.tell_counted_refusals(batch, now)?;
        if self.refusals.written >= REFUSALS || self.server.refusal.is_some() {
            self.refusals.counted += 1;
            return Ok(());
        }
        self.refusals.written += 1;
        let entry = self.entry(conn, request, error.0.to_string(), now);
        self.write_entry(batch, Ring::Refusals, &entry)
    }

    /// When the audit log has something to tell by itself; not while nothing can be written.
    pub(super) fn next_audit(&self) -> Option<Millis> {
        self.refusals.next().filter(|_| self.server.refusal.is_none())
    }

    /// Writes an entry; one that finds no room in the unit it belongs to is told to the server's own log alone.
    fn write_entry(&mut self, batch: &mut Batch<'_>, ring: Ring, entry: &Entry) -> storage::Result<()> {
        match audit::add(batch, ring, entry) {
            Err(error) if error.is_refusal() => {
                let Entry { key, address, command, outcome, .. } = entry;
                tracing::warn!(%error, key, address, command, outcome, "an entry of the audit log was not written");
            }
            written => written?,
        }
        self.keep(batch);
        Ok(())
    }

    /// The same, when nobody is refused anything any more.
    pub(super) fn tell_counted_refusals_if_due(&mut self, batch: &mut Batch<'_>, now: Millis) -> storage::Result<()> {
        match self.next_audit() {
            Some(at) if at <= now => self.tell_counted_refusals(batch, now),
            _ => Ok(()),
        }
    }

    /// At the end of a minute: says how many refusals were only counted in it.
    pub(super) fn tell_counted_refusals(&mut self, batch: &mut Batch<'_>, now: Millis) -> storage::Result<()> {
        if self.server.refusal.is_some() {
            return Ok(());
        }
        let Some(counted) = self.refusals.turn(now) else { return Ok(()) };
        let outcome = format!("{counted} more refusals, which were only counted");
        let entry = Entry {
            at: now,
            key: String::new(),
            connection: 0,
            address: String::new(),
            command: String::new(),
            outcome,
        };
        self.write_entry(batch, Ring::Refusals, &entry)
    }
}
