//! SHUTDOWN: the server stops at once, or drains first: no job is granted any more, and it stops when none runs.

use agq_resp::{Reply, Request};

use crate::clock::Millis;
use crate::command::work::bounded;
use crate::command::{Command, CommandError, Context, Flags, Group, Halt, Outcome, Run, Wait, args};
use crate::data::Touch;
use crate::jobs::{JobsView, Status};

/// The longest TIMEOUT of a drain, in seconds: a week.
pub const MAX_DRAIN_SECONDS: u64 = 604_800;

/// The rows of this file.
pub(super) const COMMANDS: &[Command] = &[Command::new(
    "SHUTDOWN",
    -1,
    Group::Server,
    Flags::ADMIN.and(Flags::NO_MULTI),
    Run::Write(shutdown),
)
.doc(
    "1.0.0",
    "[NOSAVE | SAVE] [NOW] [FORCE] [ABORT] [DRAIN [TIMEOUT seconds]]",
    "Stops the server; answers only when it does not. DRAIN grants no job any more, and stops when none runs or after \
             the time; ABORT takes a drain back.",
)
.differs("Always ends with a checkpoint: what was acknowledged stays, NOSAVE or not. DRAIN is AGQ's own.")];

/// Whether and how the server comes to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Shutdown {
    /// It goes on.
    #[default]
    No,
    /// No job is granted any more; it stops when none runs.
    Draining(Drain),
    /// It stops after this batch.
    Now,
}

/// A drain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drain {
    /// When it stops whatever still runs; `None`: only when nothing does.
    pub deadline: Option<Millis>,
    /// A signal began it: whoever runs the process has decided, and no client takes it back.
    pub by_signal: bool,
}

impl Shutdown {
    /// True when no job may be granted any more.
    #[must_use]
    pub fn grants_nothing(&self) -> bool {
        *self != Shutdown::No
    }

    /// The drain that goes on.
    #[must_use]
    pub fn drain(&self) -> Option<Drain> {
        match self {
            Shutdown::Draining(drain) => Some(*drain),
            Shutdown::No | Shutdown::Now => None,
        }
    }
}

/// What a SHUTDOWN asks for.
enum Asked {
    Stop,
    /// For so many milliseconds at most.
    Drain(Option<u64>),
    Abort,
}

fn parse(request: &Request) -> Result<Asked, Halt> {
    let (mut save, mut drain, mut is_now) = (None, None, false);
    let mut options = args::Options::new(request, 1);
    while let Some(word) = options.word() {
        match word.to_ascii_uppercase().as_slice() {
            b"SAVE" if save != Some(false) => save = Some(true),
            b"NOSAVE" if save != Some(true) => save = Some(false),
            b"NOW" => is_now = true,
            b"FORCE" => {}
            b"ABORT" if request.len() == 2 => return Ok(Asked::Abort),
            b"DRAIN" if drain.is_none() => drain = Some(None),
            b"TIMEOUT" if drain == Some(None) => {
                drain = Some(Some(bounded("TIMEOUT", options.value()?, 1..=MAX_DRAIN_SECONDS)? * 1000));
            }
            _ => return Err(CommandError::SYNTAX.into()),
        }
    }
    match drain {
        None => Ok(Asked::Stop),
        Some(_) if is_now => Err(CommandError::SYNTAX.into()),
        Some(timeout_ms) => Ok(Asked::Drain(timeout_ms)),
    }
}

fn shutdown(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    let asked = parse(request)?;
    let wait = |on| {
        // Waits for nothing else: the connection is closed without a reply when the server stops.
        Err(Halt::Block(Wait { on, deadline: None, timeout_reply: Reply::Null, drained: false, yields: false }))
    };
    match asked {
        Asked::Abort => abort(ctx),
        Asked::Stop => {
            tracing::info!(client = ctx.session.id, "SHUTDOWN: stopping");
            ctx.server.shutdown = Shutdown::Now;
            wait(Vec::new())
        }
        Asked::Drain(_) if ctx.woken_by.is_some() => match ctx.server.shutdown {
            Shutdown::No => Err(CommandError::new(
                "ERR the drain was taken back with SHUTDOWN ABORT: the server goes on, and grants jobs again",
            )
            .into()),
            Shutdown::Draining(_) | Shutdown::Now => wait(vec![Touch::Shutdown]),
        },
        Asked::Drain(timeout_ms) => {
            if ctx.server.shutdown != Shutdown::Now {
                let by_signal = ctx.server.shutdown.drain().is_some_and(|drain| drain.by_signal);
                let deadline = timeout_ms.map(|ms| ctx.now.plus(ms));
                tracing::info!(
                    client = ctx.session.id,
                    timeout_ms,
                    "SHUTDOWN DRAIN: no job is granted any more; the server stops when none runs"
                );
                ctx.server.shutdown = Shutdown::Draining(Drain { deadline, by_signal });
            }
            wait(vec![Touch::Shutdown])
        }
    }
}

/// Takes a drain back: jobs are granted again, to those who wait for them first.
fn abort(ctx: &mut Context<'_, '_>) -> Outcome {
    match ctx.server.shutdown {
        Shutdown::No | Shutdown::Now => return Err(CommandError::new("ERR No shutdown in progress.").into()),
        Shutdown::Draining(Drain { by_signal: true, .. }) => {
            return Err(CommandError::new(
                "ERR the drain was begun by a signal to the process, and no client takes that back: end it at once with \
                 SHUTDOWN, or let it come to its end",
            )
            .into());
        }
        Shutdown::Draining(_) => {}
    }
    let queues = JobsView { rows: ctx.batch, now: ctx.now }.queues()?;
    ctx.server.shutdown = Shutdown::No;
    tracing::info!(client = ctx.session.id, "SHUTDOWN ABORT: the drain is taken back; jobs are granted again");
    ctx.touched.add(|| Touch::Shutdown);
    for (name, _) in queues.iter().filter(|(_, queue)| queue.counts.of(Status::Pending) > 0) {
        ctx.touched.add(|| Touch::Queue(name.as_bytes().to_vec().into()));
    }
    Ok(Reply::ok())
}
