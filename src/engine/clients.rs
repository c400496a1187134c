//! What CLIENT does with connections.

use std::fmt::Write as _;

use agq_resp::Reply;

use crate::clock::Millis;
use crate::command::{Ask, Filter, client_line};
use crate::engine::{ConnId, Engine, Output};

impl Engine {
    /// Does what a CLIENT of `conn` asks for.
    pub(super) fn ask(&mut self, conn: ConnId, ask: Ask, now: Millis) -> Reply {
        match ask {
            Ask::List(filter) => self.list_clients(&filter, now),
            Ask::Kill { filter, old } => self.kill_clients(conn, &filter, old),
            Ask::Unblock { conn, with_error } => Reply::int(self.unblock(conn, with_error).into()),
            Ask::Pause { until, all } => {
                self.paused = (until > now).then_some((until, all));
                Reply::ok()
            }
        }
    }

    fn list_clients(&self, filter: &Filter, now: Millis) -> Reply {
        let mut found: Vec<_> = self.sessions.values().filter(|session| filter.fits(session)).collect();
        found.sort_by_key(|session| session.id);
        let mut text = String::new();
        for session in found {
            let counts = self.server.channels.counts(session.id);
            let parked = self.waiters.is_waiting(session.id);
            // Writing into a string does not fail.
            let _ =
                writeln!(text, "{}", client_line(session, now, parked, counts, self.server.watches.count(session.id)));
        }
        Reply::Verbatim { format: *b"txt", text: text.into() }
    }

    fn kill_clients(&mut self, asking: ConnId, filter: &Filter, old: bool) -> Reply {
        let mut killed = 0;
        for session in self.sessions.values_mut().filter(|session| filter.fits(session)) {
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
