//! Running one command: all of it, or nothing.

use std::panic::{AssertUnwindSafe, catch_unwind};

use agq_resp::{Reply, Request};

use crate::clock::Millis;
use crate::command::{Command, Context, Flags, Halt};
use crate::data::Touch;
use crate::engine::dispatch::{Step, dispatch};
use crate::engine::heavy::panicked;
use crate::engine::{Engine, Unit};
use crate::storage::{self, Batch};

impl Engine {
    /// Runs a command that passed the gate, and notes how it did.
    pub(super) fn execute(
        &mut self,
        batch: &mut Batch<'_>,
        unit: &Unit,
        command: &'static Command,
        request: &Request,
        now: Millis,
        woken_by: Option<&Touch>,
    ) -> storage::Result<Step> {
        let began = self.nanos();
        let step = self.attempt(batch, unit, command, request, now, woken_by)?;
        let nanos = self.nanos() - began;
        self.note_access(batch, unit.conn, command, request, &step, now)?;
        match &step {
            Step::Reply(reply) => self.note(unit.conn, command, request, nanos, Some(reply), now),
            Step::Several(_) | Step::Ask(_) => self.note(unit.conn, command, request, nanos, None, now),
            // These have not run to their end yet.
            Step::Execute(_) | Step::Parked(_) | Step::Heavy(_) => {}
        }
        Ok(step)
    }

    /// All of a command, or nothing.
    fn attempt(
        &mut self,
        batch: &mut Batch<'_>,
        unit: &Unit,
        command: &'static Command,
        request: &Request,
        now: Millis,
        woken_by: Option<&Touch>,
    ) -> storage::Result<Step> {
        let own_waits = self.own.is_some_and(|own| self.waiters.is_waiting(own));
        self.server.facts.clients = self.sessions.len() - usize::from(self.own.is_some());
        self.server.facts.blocked = self.waiters.len() - usize::from(own_waits);
        let keyspaces_before = self.server.keyspaces;
        self.want_touches();
        let (most, left) = self.may_answer(unit.conn);
        let Some(session) = self.sessions.get_mut(&unit.conn) else { return Ok(Step::Reply(Reply::Null)) };
        let mark = batch.mark();
        batch.set_adds(command.flags.has(Flags::DENYOOM));
        batch.allowance().renew(most, left);
        let (touched_before, messages_before) = (self.touched.things.len(), self.server.messages.len());
        let revoked_before = self.server.revoked.len();
        debug_assert!(self.touched.notices.is_empty(), "notices are told after each command");
        let in_transaction = self.in_transaction;
        let (touched, server, random) = (&mut self.touched, &mut self.server, &mut self.random);
        let (more_behind, seed) = (!unit.requests.is_empty(), random.u64(..));
        let result = catch_unwind(AssertUnwindSafe(|| {
            let mut ctx = Context {
                batch: &mut *batch,
                touched,
                session,
                server,
                random,
                seed,
                now,
                more_behind,
                in_transaction,
                woken_by,
            };
            dispatch(&mut ctx, command, request)
        }));
        batch.set_adds(false);
        let refusal = batch.allowance().refusal();
        batch.allowance().renew(usize::MAX, usize::MAX);
        let failed = match result {
            Ok(Ok(Step::Reply(reply))) if reply.size() > left => Step::Reply(too_large(refusal)),
            Ok(Ok(step)) => {
                self.keep(batch);
                return Ok(step);
            }
            Ok(Err(Halt::Fatal(error))) => return Err(error),
            Ok(Err(Halt::KeepAndBlock(wait))) => {
                self.keep(batch);
                return Ok(Step::Parked(wait));
            }
            Ok(Err(Halt::Execute(queued))) => return Ok(Step::Execute(queued)),
            Ok(Err(Halt::Several(replies))) => return Ok(Step::Several(replies)),
            Ok(Err(Halt::Heavy(run))) => return Ok(Step::Heavy(run)),
            Ok(Err(Halt::Ask(ask))) => return Ok(Step::Ask(ask)),
            Ok(Err(Halt::Block(wait))) => Step::Parked(wait),
            Ok(Err(Halt::Error(error))) => Step::Reply(error.reply()),
            Err(_panic) => Step::Reply(panicked(command.name)),
        };
        batch.rollback(mark);
        self.touched.notices.clear();
        self.keep(batch);
        self.touched.things.truncate(touched_before);
        self.server.messages.truncate(messages_before);
        self.server.revoked.truncate(revoked_before);
        self.server.keyspaces = keyspaces_before;
        Ok(failed)
    }

    /// Keeps what a command wrote; within an EXEC that is one unit with what follows.
    pub(super) fn keep(&mut self, batch: &mut Batch<'_>) {
        self.tell_notices();
        if !self.in_transaction {
            batch.release();
        }
    }

    /// Changes are noted while somebody waits for one or watches for one.
    pub(super) fn want_touches(&mut self) {
        self.touched.wanted = !self.waiters.is_empty() || !self.server.watches.is_empty();
    }
}

/// The answer to a command whose reply would take more than it may.
pub(super) fn too_large(refusal: storage::Error) -> Reply {
    match Halt::from(refusal) {
        Halt::Error(error) => error.reply(),
        _ => Reply::error("ERR the reply is too large"),
    }
}
