//! Queueing between MULTI and EXEC, and running what was queued as one unit.

use agq_resp::{Reply, Request};
use bytes::Bytes;

use crate::clock::Millis;
use crate::command::{Command, CommandError, Flags, lookup};
use crate::data::Keyspace;
use crate::data::keyspaces::DATABASES;
use crate::engine::dispatch::Step;
use crate::engine::{ConnId, Engine, Unit, gate};
use crate::storage::batch::Mark;
use crate::storage::{self, Batch};

impl Engine {
    /// Queues a command of a connection that has said MULTI, unless it is one that runs at once. `None` when it is to
    /// run now.
    pub(super) fn queue(&mut self, conn: ConnId, command: &Command, request: &Request) -> Option<Reply> {
        let transaction = self.sessions.get_mut(&conn)?.transaction.as_mut()?;
        if command.flags.has(Flags::NOT_QUEUED) {
            return None;
        }
        if command.flags.has(Flags::NO_MULTI) {
            transaction.fail();
            return Some(Reply::error("ERR Command not allowed inside a transaction"));
        }
        Some(match transaction.queue(request) {
            Ok(()) => Reply::simple("QUEUED"),
            Err(error) => error.reply(),
        })
    }

    /// A command was refused at the gate: the transaction it would have stood in is refused too.
    pub(super) fn fail_transaction(&mut self, conn: ConnId) {
        if let Some(transaction) = self.sessions.get_mut(&conn).and_then(|session| session.transaction.as_mut()) {
            transaction.fail();
        }
    }

    /// Runs a command of an EXEC if the connection's key has what it needs now: what ran before it may have changed that.
    fn execute_permitted(
        &mut self,
        batch: &mut Batch<'_>,
        unit: &Unit,
        command: &'static Command,
        request: &Request,
        now: Millis,
    ) -> storage::Result<Step> {
        let Some(session) = self.sessions.get(&unit.conn) else { return Ok(Step::Reply(Reply::Null)) };
        match gate::permit(batch, command, request, session, &self.server, now)? {
            Some(error) => self.refuse(batch, unit.conn, command, request, &error, now).map(Step::Reply),
            None => self.execute(batch, unit, command, request, now, None),
        }
    }

    /// Runs the commands of an EXEC. One that fails is taken back, the others stay, as in Redis; what they write
    /// together must not pass the cap of one unit. Where one finds no room nothing stays: whoever writes two things in one
    /// transaction is not left with half of them by a full disk.
    pub(super) fn run_transaction(
        &mut self,
        batch: &mut Batch<'_>,
        unit: &Unit,
        exec: &Request,
        queued: &[Request],
        now: Millis,
    ) -> storage::Result<Reply> {
        let Some(session) = self.sessions.get(&unit.conn) else { return Ok(Reply::Null) };
        // The server may refuse now what it took when the command was queued.
        let admitted = queued.iter().map(|request| gate::admit(request, session, &self.server));
        let commands = match admitted.collect::<Result<Vec<_>, CommandError>>() {
            Ok(commands) => commands,
            Err(error) => return Ok(discarded(error.0.as_bytes())),
        };
        let began = self.nanos();
        let before = Before {
            mark: batch.mark(),
            database: session.database,
            keyspaces: self.server.keyspaces,
            touched: self.touched.things.len(),
            messages: self.server.messages.len(),
            revoked: self.server.revoked.len(),
        };
        batch.take_lacked_room();
        self.in_transaction = true;
        let ran = self.run_queued(batch, unit, &commands, queued, now);
        self.in_transaction = false;
        self.replied = 0;
        let reply = match ran? {
            Ok(replies) => Reply::Array(replies),
            Err(lacked_room) => {
                self.take_back(batch, unit.conn, &before);
                discarded(&lacked_room)
            }
        };
        batch.release();
        if let Some(command) = lookup(exec.arg(0)) {
            self.note(unit.conn, command, exec, self.nanos() - began, None, now);
        }
        Ok(reply)
    }

    /// The replies of these commands, or the error of the first that found no room.
    fn run_queued(
        &mut self,
        batch: &mut Batch<'_>,
        unit: &Unit,
        commands: &[&'static Command],
        queued: &[Request],
        now: Millis,
    ) -> storage::Result<Result<Vec<Reply>, Bytes>> {
        let mut replies = Vec::with_capacity(queued.len());
        for (command, request) in commands.iter().zip(queued) {
            self.server.facts.commands_processed += 1;
            let reply = match self.execute_permitted(batch, unit, command, request, now)? {
                Step::Reply(reply) => reply,
                Step::Parked(wait) => wait.timeout_reply,
                Step::Ask(ask) => self.ask_within(unit.conn, ask, now),
                // Nothing is read elsewhere within a transaction, and neither EXEC nor SUBSCRIBE is queued.
                Step::Heavy(_) | Step::Execute(_) | Step::Several(_) => Reply::Null,
            };
            if batch.take_lacked_room()
                && let Some(error) = reply.as_error()
            {
                return Ok(Err(error.clone()));
            }
            self.replied += reply.size();
            replies.push(reply);
        }
        Ok(Ok(replies))
    }

    /// Takes back what the commands of an EXEC did to the store and to the connection, and what would be told of it.
    fn take_back(&mut self, batch: &mut Batch<'_>, conn: ConnId, before: &Before) {
        batch.rollback(before.mark);
        self.touched.things.truncate(before.touched);
        self.server.messages.truncate(before.messages);
        self.server.revoked.truncate(before.revoked);
        self.server.keyspaces = before.keyspaces;
        if let Some(session) = self.sessions.get_mut(&conn) {
            session.database = before.database;
        }
    }
}

/// How it stood before an EXEC.
struct Before {
    mark: Mark,
    database: u8,
    keyspaces: [Keyspace; DATABASES],
    touched: usize,
    messages: usize,
    revoked: usize,
}

fn discarded(why: &[u8]) -> Reply {
    Reply::error(format!("EXECABORT Transaction discarded because of: {}", String::from_utf8_lossy(why)))
}
