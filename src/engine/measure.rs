//! Noting how commands did: for INFO, SLOWLOG and LATENCY, and for connections that watch with MONITOR.

use agq_resp::{Reply, Request};

use crate::clock::Millis;
use crate::command::{Command, lookup, monitor};
use crate::engine::{ConnId, Engine, HeavyRead, Unit};

impl Engine {
    /// The stopwatch.
    pub(super) fn nanos(&self) -> u64 {
        (self.server.config.system.nanos)()
    }

    /// A command ran to its end.
    pub(super) fn note(
        &mut self,
        conn: ConnId,
        command: &Command,
        request: &Request,
        nanos: u64,
        reply: Option<&Reply>,
        now: Millis,
    ) {
        let Some(session) = self.sessions.get(&conn) else { return };
        let error = match reply {
            Some(Reply::Error(text)) => Some(&text[..]),
            _ => None,
        };
        let server = &mut self.server;
        server.statistics.ran(session, command, request, nanos, now, error);
        monitor::tell(&server.monitors, &mut self.shown, session, command, request, now);
    }

    /// Shows the commands that ran to connections that watch.
    pub(super) fn show_commands(&mut self, running: Option<&mut Unit>) {
        self.server.messages.append(&mut self.shown);
        self.send_messages(running);
    }

    /// A read that ran elsewhere has come back.
    pub(super) fn note_heavy(&mut self, read: &HeavyRead, reply: &Reply, now: Millis) {
        if let Some(command) = lookup(read.request.arg(0)) {
            self.note(read.unit.conn, command, &read.request, read.took, Some(reply), now);
        }
    }
}
