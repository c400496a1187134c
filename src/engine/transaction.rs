//! Queueing between MULTI and EXEC, and running what was queued as one unit.

use agq_resp::{Reply, Request};

use crate::clock::Millis;
use crate::command::{Command, CommandError, Flags, lookup};
use crate::engine::dispatch::Step;
use crate::engine::{ConnId, Engine, Unit, gate};
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
    /// together must not pass the cap of one unit.
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
            Err(error) => {
                return Ok(Reply::error(format!("EXECABORT Transaction discarded because of: {}", error.0)));
            }
        };
        let began = self.nanos();
        let mut replies = Vec::with_capacity(queued.len());
        self.in_transaction = true;
        for (command, request) in commands.into_iter().zip(queued) {
            self.server.facts.commands_processed += 1;
            let step = self.execute_permitted(batch, unit, command, request, now);
            replies.push(match step {
                Ok(Step::Reply(reply)) => reply,
                Ok(Step::Parked(wait)) => wait.timeout_reply,
                Ok(Step::Ask(ask)) => self.ask(unit.conn, ask, now),
                // Nothing is read elsewhere within a transaction, and neither EXEC nor SUBSCRIBE is queued.
                Ok(Step::Heavy(_) | Step::Execute(_) | Step::Several(_)) => Reply::Null,
                Err(error) => {
                    self.in_transaction = false;
                    return Err(error);
                }
            });
        }
        self.in_transaction = false;
        batch.release();
        if let Some(command) = lookup(exec.arg(0)) {
            self.note(unit.conn, command, exec, self.nanos() - began, None, now);
        }
        Ok(Reply::Array(replies))
    }
}
