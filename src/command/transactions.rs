//! MULTI, EXEC, DISCARD, WATCH, UNWATCH.
//!
//! Between MULTI and EXEC the engine queues what a connection sends ([`Transaction`]); EXEC hands the queue back to it
//! ([`Halt::Execute`]), to be run as one unit: nobody else's command runs in between, and one log record holds all of
//! it.

use agq_resp::{Reply, Request};

use crate::command::{Command, CommandError, Context, Flags, Group, Halt, Outcome, Run, watches};
use crate::data::View;

/// Commands that may be queued by one connection …
const MAX_QUEUED: usize = 1_000_000;
/// … and bytes of them.
const MAX_QUEUED_BYTES: usize = 256 << 20;

/// What a queued command takes beside its arguments, about.
const REQUEST_BYTES: usize = 128;

const AT_ONCE: Flags = Flags::FAST.and(Flags::NOT_QUEUED);

/// The rows of this file.
pub(super) const COMMANDS: &[Command] = &[
    Command::new("MULTI", 1, Group::Transactions, AT_ONCE, Run::Write(multi)).doc(
        "1.2.0",
        "",
        "Queues the commands that follow until EXEC or DISCARD.",
    ),
    Command::new("EXEC", 1, Group::Transactions, Flags::NOT_QUEUED, Run::Write(exec)).doc(
        "1.2.0",
        "",
        "Runs the queued commands as one unit; answers nothing, and runs none, when a watched key has changed.",
    ),
    Command::new("DISCARD", 1, Group::Transactions, AT_ONCE, Run::Write(discard)).doc(
        "2.0.0",
        "",
        "Forgets the queued commands and what is watched.",
    ),
    Command::new("WATCH", -2, Group::Transactions, AT_ONCE, Run::Write(watch))
        .keys(1, -1, 1)
        .doc("2.2.0", "key [key ...]", "Lets the next EXEC do nothing if one of the keys changes before it.")
        .differs(
            "Names of jobs, plans, workers and queues can be watched too; a queue counts as changed when its counts, \
             or the first or last of its pending jobs, are others.",
        ),
    Command::new("UNWATCH", 1, Group::Transactions, Flags::FAST, Run::Write(unwatch)).doc(
        "2.2.0",
        "",
        "Watches nothing any more.",
    ),
];

/// What a connection has queued since MULTI.
#[derive(Debug, Clone, Default)]
pub struct Transaction {
    queued: Vec<Request>,
    bytes: usize,
    /// A command was refused: EXEC will be too.
    failed: bool,
}

impl Transaction {
    /// Queues a command.
    ///
    /// # Errors
    /// When there are too many; EXEC is refused then.
    pub fn queue(&mut self, request: &Request) -> Result<(), CommandError> {
        self.bytes += request.iter().map(<[u8]>::len).sum::<usize>();
        if self.queued.len() >= MAX_QUEUED || self.bytes > MAX_QUEUED_BYTES {
            self.fail();
            let text = format!(
                "ERR a transaction holds {MAX_QUEUED} commands and {MAX_QUEUED_BYTES} bytes at most: send fewer before \
                 EXEC"
            );
            return Err(CommandError::new(text));
        }
        // A copy of its own: a handle would keep alive all that came with it.
        self.queued.push(Request::from_args(request.iter()));
        Ok(())
    }

    /// Lets EXEC be refused, and forgets what was queued.
    pub fn fail(&mut self) {
        self.failed = true;
        self.queued = Vec::new();
    }

    /// Bytes of memory that the queue takes, about.
    #[must_use]
    pub fn bytes(&self) -> usize {
        if self.queued.is_empty() { 0 } else { self.bytes + self.queued.len() * REQUEST_BYTES }
    }

    /// How many commands are queued.
    #[must_use]
    pub fn len(&self) -> usize {
        self.queued.len()
    }

    /// True when none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queued.is_empty()
    }
}

fn multi(ctx: &mut Context<'_, '_>, _: &Request) -> Outcome {
    if ctx.session.transaction.is_some() {
        return Err(CommandError::new("ERR MULTI calls can not be nested").into());
    }
    ctx.session.transaction = Some(Transaction::default());
    Ok(Reply::ok())
}

fn exec(ctx: &mut Context<'_, '_>, _: &Request) -> Outcome {
    let Some(transaction) = ctx.session.transaction.take() else {
        return Err(CommandError::new("ERR EXEC without MULTI").into());
    };
    let changed = watches::end(ctx)?;
    if transaction.failed {
        return Err(CommandError::new("EXECABORT Transaction discarded because of previous errors.").into());
    }
    if changed {
        return Ok(Reply::NullArray);
    }
    Err(Halt::Execute(transaction.queued))
}

fn discard(ctx: &mut Context<'_, '_>, _: &Request) -> Outcome {
    if ctx.session.transaction.take().is_none() {
        return Err(CommandError::new("ERR DISCARD without MULTI").into());
    }
    ctx.server.watches.clear(ctx.session.id);
    Ok(Reply::ok())
}

fn watch(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    if ctx.session.transaction.is_some() {
        return Err(CommandError::new("ERR WATCH inside MULTI is not allowed").into());
    }
    for place in 1..request.len() {
        // What has expired is removed now: its removal later would count as a change.
        ctx.edit().record(request.arg(place))?;
        let (keyspace, database) = (ctx.keyspace(), ctx.session.database);
        let view = View { rows: ctx.batch, keyspace, now: ctx.now };
        let name = bytes::Bytes::copy_from_slice(request.arg(place));
        ctx.server.watches.add(ctx.session.id, database, &view, name)?;
    }
    Ok(Reply::ok())
}

fn unwatch(ctx: &mut Context<'_, '_>, _: &Request) -> Outcome {
    ctx.server.watches.clear(ctx.session.id);
    Ok(Reply::ok())
}
