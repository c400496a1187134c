//! Running a unit: its commands one after the other, each through the gate, until it ends, waits or has done enough for
//! one batch.

use std::sync::Arc;

use agq_resp::{Protocol, Reply, Request};

use crate::clock::Millis;
use crate::command::{Ask, Command, CommandError, Replies, lookup};
use crate::data::Keyspace;
use crate::engine::dispatch::Step;
use crate::engine::execute::too_large;
use crate::engine::waiters::Parked;
use crate::engine::{ConnId, Engine, Finished, HeavyRead, Output, Unit, gate};
use crate::storage::{self, Batch, Share};

/// A unit whose replies pass this many bytes ends early: the rest runs once the client has taken them.
const REPLY_BYTES: usize = 1 << 20;

/// A unit in a batch of so many rows or bytes ends early too: its rest comes with a later batch, so that one pipeline
/// does not hold up everybody for as long as all of it takes, nor fill the memory.
const BATCH_ROWS: usize = 8192;
pub(super) const BATCH_BYTES: usize = 16 << 20;

/// A command that waits for no more things than this is not counted: telling of each would cost more than it tells.
const FEW_THINGS: usize = 16;

impl Engine {
    pub(super) fn run_ready(&mut self, batch: &mut Batch<'_>, now: Millis) -> storage::Result<()> {
        while let Some(unit) = self.ready.pop_front() {
            self.run_unit(batch, unit, now)?;
        }
        Ok(())
    }

    fn run_unit(&mut self, batch: &mut Batch<'_>, mut unit: Unit, now: Millis) -> storage::Result<()> {
        while let Some(request) = unit.requests.pop_front() {
            let Some(session) = self.sessions.get(&unit.conn) else { return Ok(()) };
            if session.closing {
                break;
            }
            let step = self.run_command(batch, &unit, &request, now)?;
            self.send_messages(Some(&mut unit));
            match step {
                Step::Reply(reply) => self.answer(&mut unit, &reply),
                Step::Several(replies) => replies.iter().for_each(|reply| self.answer(&mut unit, reply)),
                Step::Ask(ask) => {
                    let reply = self.ask_within(unit.conn, ask, now);
                    self.answer(&mut unit, &reply);
                }
                Step::Execute(queued) => {
                    let reply = self.run_transaction(batch, &unit, &request, &queued, now)?;
                    self.answer(&mut unit, &reply);
                }
                Step::Parked(wait) => {
                    self.answer_so_far(&mut unit);
                    let (conn, things) = (unit.conn, wait.on.len());
                    self.waiters.park(Parked { unit, request, wait });
                    if things > FEW_THINGS {
                        self.outputs.push(Output::Keeps(conn, self.kept(conn)));
                    }
                    return self.wake(batch, now);
                }
                Step::Heavy(run) => {
                    self.answer_so_far(&mut unit);
                    let (keyspace, protocol) = self.selected(unit.conn);
                    let (seed, seal) = (self.random.u64(..), self.server.seal);
                    let nanos = self.server.config.system.nanos;
                    let Some(session) = self.sessions.get(&unit.conn) else { return Ok(()) };
                    let access = session.access.clone();
                    // What the server reads itself counts for no client.
                    let all = if session.is_own { &Arc::default() } else { &self.reading };
                    let (most, _) = self.may_answer(unit.conn);
                    let share = Share::new(most, all);
                    let took = 0;
                    let read = HeavyRead {
                        unit,
                        request,
                        run,
                        keyspace,
                        now,
                        protocol,
                        access,
                        seed,
                        seal,
                        nanos,
                        most,
                        share,
                        took,
                    };
                    self.heavy.push(read);
                    return Ok(());
                }
            }
            self.show_commands(Some(&mut unit));
            self.wake(batch, now)?;
            let gave_wrong_key = self.sessions.get(&unit.conn).is_some_and(|session| session.wrong_key.is_some());
            let full = batch.rows_written() >= BATCH_ROWS || batch.bytes_written() >= BATCH_BYTES;
            if full || gave_wrong_key || unit.out.len() >= REPLY_BYTES {
                break;
            }
        }
        let Some(session) = self.sessions.get_mut(&unit.conn) else { return Ok(()) };
        if unit.requests.is_empty()
            && let Some(text) = unit.protocol_error.take()
        {
            session.closing = true;
            Reply::error(text).encode(session.protocol, &mut unit.out);
        }
        let Unit { conn, requests: rest, protocol_error, out } = unit;
        let mut finished = Finished {
            conn,
            out,
            rest,
            protocol_error,
            closing: session.closing,
            authenticated: session.authenticated,
            subscribed: session.subscriptions > 0 || self.server.monitors.contains(&conn),
            wrong_key: session.wrong_key.take(),
            kept: 0,
        };
        finished.kept = self.kept(conn);
        self.outputs.push(Output::Finished(finished));
        Ok(())
    }

    pub(super) fn selected(&self, conn: ConnId) -> (Keyspace, Protocol) {
        self.sessions.get(&conn).map_or((0, Protocol::Resp2), |session| {
            (self.server.keyspaces[usize::from(session.database)], session.protocol)
        })
    }

    pub(super) fn answer(&mut self, unit: &mut Unit, reply: &Reply) {
        let Some(session) = self.sessions.get_mut(&unit.conn) else { return };
        if session.wrong_key.is_some() && !unit.out.is_empty() {
            // The answer to a wrong key may be held back, and nothing else with it.
            self.outputs.push(Output::Pushed(unit.conn, unit.out.split()));
        }
        match session.replies {
            Replies::Off if !matches!(reply, Reply::Push(_)) => {}
            Replies::SkipNext => session.replies = Replies::On,
            Replies::On | Replies::Off => reply.encode(session.protocol, &mut unit.out),
        }
    }

    /// Does what a CLIENT asks for, and answers it when a reply may take that; what finds no room at all is not done.
    pub(super) fn ask_within(&mut self, conn: ConnId, ask: Ask, now: Millis) -> Reply {
        let (most, left) = self.may_answer(conn);
        // What is more than a list is answered with no more than this, so nothing is done that is then refused.
        if Reply::ok().size() <= left {
            let reply = self.ask(conn, ask, now);
            if reply.size() <= left {
                return reply;
            }
        }
        too_large(storage::Error::ReplyTooLarge { most })
    }

    /// Bytes that a reply to a client may take, and those that are left of them for the next command.
    pub(super) fn may_answer(&self, conn: ConnId) -> (usize, usize) {
        let is_own = self.sessions.get(&conn).is_some_and(|session| session.is_own);
        let most = if is_own { usize::MAX } else { self.server.sends.reply };
        (most, most.saturating_sub(self.replied))
    }

    /// Answers a parked command that gives up; what follows it runs before the batch ends.
    pub(super) fn unpark(&mut self, mut parked: Parked) {
        self.answer(&mut parked.unit, &parked.wait.timeout_reply);
        self.ready.push_back(parked.unit);
    }

    fn run_command(
        &mut self,
        batch: &mut Batch<'_>,
        unit: &Unit,
        request: &Request,
        now: Millis,
    ) -> storage::Result<Step> {
        self.server.facts.commands_processed += 1;
        let Some(session) = self.sessions.get_mut(&unit.conn) else { return Ok(Step::Reply(Reply::Null)) };
        let queues = session.transaction.is_some();
        let command = match gate::admit(request, session, &self.server) {
            Ok(command) => command,
            Err(error) => {
                self.server.statistics.rejected(lookup(request.arg(0)), error.0.as_bytes());
                if gate::is_http(request) {
                    session.closing = true;
                    return Ok(Step::Several(Vec::new()));
                }
                self.fail_transaction(unit.conn);
                return Ok(Step::Reply(error.reply()));
            }
        };
        if let Some(error) = gate::permit(batch, command, request, session, &self.server, now)? {
            self.fail_transaction(unit.conn);
            return self.refuse(batch, unit.conn, command, request, &error, now).map(Step::Reply);
        }
        session.note_command(command, request);
        if queues && let Some(reply) = self.queue(unit.conn, command, request) {
            return Ok(Step::Reply(reply));
        }
        self.execute(batch, unit, command, request, now, None)
    }

    /// Answers what a key has no permissions for.
    pub(super) fn refuse(
        &mut self,
        batch: &mut Batch<'_>,
        conn: ConnId,
        command: &'static Command,
        request: &Request,
        error: &CommandError,
        now: Millis,
    ) -> storage::Result<Reply> {
        self.server.statistics.rejected(Some(command), error.0.as_bytes());
        self.audit_refusal(batch, conn, Some(request), error, now)?;
        Ok(error.reply())
    }
}
