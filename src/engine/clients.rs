//! What CLIENT does with connections.

use std::fmt::Write as _;

use agq_resp::{Reply, Request};

use crate::access::AccessKey;
use crate::clock::Millis;
use crate::command::{Ask, Command, Filter, Flags, Held, Needs, Server, Session, Standing, Transaction, client_line};
use crate::engine::dispatch::Step;
use crate::engine::{ConnId, Engine, Output};
use crate::storage::{self, Batch};

impl Engine {
    /// Does what a CLIENT of `conn` asks for.
    pub(super) fn ask(&mut self, conn: ConnId, ask: Ask, now: Millis) -> Reply {
        match ask {
            Ask::List(filter) => self.list_clients(&filter, now),
            Ask::Kill { filter, old } => self.kill_clients(conn, &filter, old, now),
            Ask::Unblock { conn, with_error } => Reply::int(self.unblock(conn, with_error).into()),
            Ask::Pause { until, all } => {
                self.paused = (until > now).then_some((until, all));
                Reply::ok()
            }
        }
    }

    fn list_clients(&self, filter: &Filter, now: Millis) -> Reply {
        let mut found: Vec<_> = self.sessions.values().filter(|session| filter.fits(session, now)).collect();
        found.sort_by_key(|session| session.id);
        let mut text = String::new();
        for session in found {
            // Writing into a string does not fail.
            let _ = writeln!(text, "{}", client_line(session, &self.standing(session.id), now));
        }
        Reply::Verbatim { format: *b"txt", text: text.into() }
    }

    fn standing(&self, conn: ConnId) -> Standing {
        let Server { channels, watches, monitors, held, .. } = &self.server;
        Standing {
            is_parked: self.waiters.is_waiting(conn),
            is_monitor: monitors.contains(&conn),
            is_overtaken: watches.is_overtaken(conn),
            subscriptions: channels.counts(conn),
            kept_bytes: self.kept_beside_queue(conn),
            watches: watches.count(conn),
            held: held.as_ref().map_or_else(Held::default, |held| held(conn)),
        }
    }

    /// Bytes of memory that the engine keeps for a connection, about: what it has queued, what it is subscribed to and
    /// watches, and what a command of it waits for.
    pub(super) fn kept(&self, conn: ConnId) -> usize {
        let queued = self.sessions.get(&conn).and_then(|session| session.transaction.as_ref());
        queued.map_or(0, Transaction::bytes) + self.kept_beside_queue(conn)
    }

    fn kept_beside_queue(&self, conn: ConnId) -> usize {
        self.server.channels.bytes(conn) + self.server.watches.bytes(conn) + self.waiters.bytes(conn)
    }

    /// Takes up a connection. It has the key that its transport vouches for, if that counts; that one was refused goes
    /// into the audit log.
    pub(super) fn open(&mut self, batch: &mut Batch<'_>, mut session: Session, now: Millis) -> storage::Result<()> {
        session.opened = now;
        session.jobs.heard = now;
        if session.is_own {
            self.own = Some(session.id);
        } else {
            self.server.facts.connections_received += 1;
        }
        session.look_up_vouched(batch, now)?;
        if let Some(key) = &session.access {
            self.expect_expiry(key);
        }
        let (conn, refused) = (session.id, session.no_key());
        self.sessions.insert(conn, session);
        match refused {
            Some(error) => self.audit_refusal(batch, conn, None, &error, now),
            None => Ok(()),
        }
    }

    /// Notes when a key that a connection uses expires.
    fn expect_expiry(&mut self, key: &AccessKey) {
        if let Some(at) = key.expires_at {
            self.key_expires = Some(self.key_expires.map_or(at, |first| first.min(at)));
        }
    }

    /// What follows for access keys from a command that ran: an entry in the audit log, connections that end with their
    /// key, the moment when the one that was given expires.
    pub(super) fn note_access(
        &mut self,
        batch: &mut Batch<'_>,
        conn: ConnId,
        command: &Command,
        request: &Request,
        step: &Step,
        now: Millis,
    ) -> storage::Result<()> {
        // All others, by far the most, change nothing of this.
        let may_matter = matches!(command.needs, Needs::Act | Needs::Words { .. }) || command.flags.has(Flags::NO_AUTH);
        if !may_matter {
            return Ok(());
        }
        match step {
            // What became of a change of settings stands there by now.
            Step::Reply(_) if self.server.settings.is_telling() => {}
            Step::Reply(reply) => self.audit_action(batch, conn, command, request, Some(reply), now)?,
            Step::Ask(_) | Step::Several(_) => self.audit_action(batch, conn, command, request, None, now)?,
            // It answers only when it does not stop the server.
            Step::Parked(_) if command.name == "SHUTDOWN" => {
                self.audit_action(batch, conn, command, request, None, now)?;
            }
            Step::Parked(wait) => self.audit_when_changed(conn, request, wait, now),
            Step::Execute(_) | Step::Heavy(_) => {}
        }
        for name in std::mem::take(&mut self.server.revoked) {
            self.end_sessions(Some(conn), |key| key.name == name);
        }
        if let Some(key) = self.sessions.get(&conn).and_then(|session| session.access.clone()) {
            self.expect_expiry(&key);
        }
        Ok(())
    }

    /// Ends the connections whose access key has expired.
    pub(super) fn end_expired(&mut self, now: Millis) {
        if self.key_expires.is_none_or(|at| at > now) {
            return;
        }
        self.end_sessions(None, |key| !key.is_live(now));
        let keys =
            self.sessions.values().filter(|session| !session.closing).filter_map(|session| session.access.as_ref());
        self.key_expires = keys.filter_map(|key| key.expires_at).min();
    }

    /// Ends the connections of some keys at once: nothing more of them runs, waits or is told. The one that asked for it
    /// still has its reply.
    fn end_sessions(&mut self, asking: Option<ConnId>, ends: impl Fn(&AccessKey) -> bool) {
        let of_key = self.sessions.values_mut().filter(|session| session.access.as_deref().is_some_and(&ends));
        let mut ended = Vec::new();
        for session in of_key {
            session.closing = true;
            ended.push(session.id);
        }
        for conn in ended {
            self.waiters.take(conn);
            self.server.watches.clear(conn);
            self.server.channels.leave(conn);
            self.server.monitors.remove(&conn);
            if asking != Some(conn) {
                self.outputs.push(Output::Killed(conn));
            }
        }
    }

    fn kill_clients(&mut self, asking: ConnId, filter: &Filter, old: bool, now: Millis) -> Reply {
        let mut killed = 0;
        for session in self.sessions.values_mut().filter(|session| filter.fits(session, now)) {
            killed += 1;
            session.closing = true;
            if session.id != asking {
                self.outputs.push(Output::Killed(session.id));
            }
        }
        match (old, killed) {
            (true, 0) => Reply::error("ERR No such client"),
            (true, _) => Reply::ok(),
            (false, killed) => Reply::int(killed),
        }
    }

    fn unblock(&mut self, conn: ConnId, with_error: bool) -> bool {
        let Some(mut parked) = self.waiters.take(conn) else { return false };
        if with_error {
            parked.wait.timeout_reply = Reply::error("UNBLOCKED client unblocked via CLIENT UNBLOCK");
        }
        self.unpark(parked);
        true
    }

    /// Until when nothing runs (`true`: not even what only reads) that connections sent, if CLIENT PAUSE says so.
    #[must_use]
    pub fn paused(&self, now: Millis) -> Option<(Millis, bool)> {
        self.paused.filter(|(until, _)| *until > now)
    }
}
