//! Commands of and about workers.

use agq_resp::{Reply, Request};
use bytes::Bytes;

use crate::access::Role;
use crate::command::work::{MAX_BLOCK_MS, bounded, unknown_option};
use crate::command::{Command, Context, Flags, Group, Halt, Outcome, ReadContext, Run, Wait, args, grants};
use crate::data::Touch;
use crate::jobs::workers::{Profile, Tidings, Worker, parse_held};
use crate::jobs::{Id, show};

const WRITE: Flags = Flags::WRITE.and(Flags::AGQ);
const READ: Flags = Flags::READONLY.and(Flags::AGQ);

/// The rows of this file.
pub(super) const COMMANDS: &[Command] = &[
    worker("WORKER.REGISTER", 2, WRITE, Run::Write(register)).doc(
        "1.0.0",
        "json",
        "Registers a worker, or refreshes what is known of it; answers its id and how often it is to be heard.",
    ),
    worker("WORKER.HEARTBEAT", -2, WRITE.and(Flags::BLOCKING), Run::Write(heartbeat)).doc(
        "1.0.0",
        "worker-id [json] [BLOCK milliseconds]",
        "Lengthens the leases of the jobs that it names, else every lease of the worker; answers which of its jobs are to \
         be stopped or are not its own any more.",
    ),
    worker("WORKER.UNREGISTER", 2, WRITE, Run::Write(unregister)).doc(
        "1.0.0",
        "worker-id",
        "Forgets a worker; its jobs go back to their places without a loss. Answers how many.",
    ),
    worker("WORKERS.LIST", 1, READ, Run::Read(list)).doc("1.0.0", "", "Every worker as JSON."),
];

const fn worker(name: &'static str, arity: i32, flags: Flags, run: Run) -> Command {
    Command::new(name, arity, Group::Worker, flags, run)
}

fn register(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    let profile = Profile::parse(request.arg(1))?;
    let settings = ctx.server.config.jobs;
    let (id, worker) = ctx.jobs().register(&profile)?;
    Ok(Reply::bulk(show::registered_json(&id, &worker, &settings)))
}

fn heartbeat(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    let id = Id::parse("worker-id", request.arg(1))?;
    let mut options = args::Options::new(request, 2);
    let (mut held, mut block_ms) = (None, None);
    while let Some(word) = options.word() {
        if word.first() == Some(&b'{') {
            held = parse_held(word)?;
        } else if args::is(word, "BLOCK") {
            block_ms = Some(bounded("BLOCK", options.value()?, 0..=MAX_BLOCK_MS)?);
        } else {
            return Err(unknown_option(word, "a JSON object and BLOCK"));
        }
    }
    let key = ctx.session.access.clone();
    let tidings = ctx.jobs().heartbeat(&id, held.as_deref(), &|job| grants::owns(key.as_deref(), job))?;
    let nothing = Tidings::default();
    match block_ms {
        Some(ms) if tidings == nothing => Err(Halt::KeepAndBlock(Wait {
            on: vec![Touch::Worker(Bytes::copy_from_slice(id.as_bytes()))],
            deadline: (ms > 0).then(|| ctx.now.plus(ms)),
            timeout_reply: Reply::bulk(show::tidings_json(&nothing)),
            drained: false,
            yields: false,
        })),
        _ => Ok(Reply::bulk(show::tidings_json(&tidings))),
    }
}

fn unregister(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    let id = Id::parse("worker-id", request.arg(1))?;
    let key = ctx.session.access.clone();
    let released = ctx.jobs().unregister(&id, &|job| grants::owns(key.as_deref(), job))?;
    Ok(Reply::int(i64::try_from(released).unwrap_or(i64::MAX)))
}

fn list(ctx: &ReadContext<'_>, _: &Request) -> Outcome {
    let view = ctx.jobs();
    let workers = view.workers()?;
    let is_shown = |worker: &Worker| {
        ctx.access.is_none_or(|key| key.scopes.has_all(Role::Read) || worker.access_key.as_ref() == Some(&key.name))
    };
    let workers = workers
        .iter()
        .filter(|(_, worker)| is_shown(worker))
        .map(|(id, worker)| Ok(Reply::bulk(view.worker_json(id, worker)?)));
    Ok(Reply::array(workers.collect::<Result<Vec<_>, Halt>>()?))
}
