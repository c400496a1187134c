//! Domain names in database 0: `job:<id>`, `plan:<id>`, `worker:<id>:…` and `queue:<name>` are views over the domain
//! tables where what they name exists, and ordinary keys' names where not.
//!
//! The engine asks [`concern`] about every command, which is one look at the first bytes of its keys; only where that
//! says yes does [`answer`] look whether a key is a view. Reading commands are answered from the tables. What may be
//! written through a view is the contract with workers that know nothing but lists and strings: [`claims`] and
//! [`reports`]. Every other command on a view is refused with the name of the command to use.

mod claims;
mod list;
mod name;
mod names;
mod read;
mod refuse;
mod reports;
mod scheduled;

use agq_resp::{Reply, Request};
use bytes::Bytes;

use crate::command::{Command, Context, Flags, Halt, Outcome, ReadContext, Session, Wait};
use crate::data::{Touch, View};
use crate::jobs::JobsView;
pub(in crate::command) use name::{JobPart, Name, WorkerPart, has_prefix};

pub(crate) use claims::gives_nil;
pub(super) use claims::ping;

/// What becomes of a command that concerns views.
pub(crate) enum Answer {
    /// None of its keys is a view: it runs as it is.
    Ordinary,
    /// It is done.
    Reply(Reply),
    /// It reads so much that this function should run on a snapshot.
    Heavy(fn(&ReadContext<'_>, &Request) -> Outcome),
}

/// True when a command may meet a view.
pub(crate) fn concern(session: &Session, command: &Command, request: &Request) -> bool {
    if session.database != 0 {
        return false;
    }
    if command.keys.first == 0 && command.counted == 0 {
        return names::lists_names(command);
    }
    command.key_names(request).any(has_prefix)
}

/// Answers a command if one of its keys is a view.
///
/// # Errors
/// When the view does not do that, or as the command itself.
pub(crate) fn answer(ctx: &mut Context<'_, '_>, command: &Command, request: &Request) -> Result<Answer, Halt> {
    if names::lists_names(command) {
        return names::answer(ctx, command, request);
    }
    if command.name == "SET" {
        return reports::set(ctx, request);
    }
    if command.flags.has(Flags::NOT_QUEUED) {
        // WATCH: what it watches may be anything.
        return Ok(Answer::Ordinary);
    }
    let Some((key, name)) = first_view(ctx, command, request)? else { return Ok(Answer::Ordinary) };
    if command.flags.has(Flags::READONLY) {
        let ctx = ctx.reading();
        if read::is_heavy(&ctx, request)? {
            return Ok(Answer::Heavy(read::read));
        }
        return read::read(&ctx, request).map(Answer::Reply);
    }
    let outcome = match command.name {
        "LPOP" | "BLPOP" if matches!(name, Name::Queue(_)) => Err(refuse::left(request)),
        "RPOP" => claims::rpop(ctx, &name, request),
        "BRPOP" => claims::brpop(ctx, request),
        "RPOPLPUSH" | "LMOVE" | "BRPOPLPUSH" | "BLMOVE" => claims::transfer(ctx, command.name, request),
        "LPUSH" | "RPUSH" => reports::push(ctx, &name, request),
        "LREM" => reports::remove(ctx, &name, request),
        _ => Err(refuse::command(&name, key, request)),
    };
    outcome.map(Answer::Reply)
}

fn first_view<'r>(
    ctx: &Context<'_, '_>,
    command: &Command,
    request: &'r Request,
) -> Result<Option<(&'r [u8], Name)>, Halt> {
    first_of(&ctx.view(), command.key_names(request))
}

fn first_of<'r>(
    view: &crate::data::View<'_>,
    keys: impl Iterator<Item = &'r [u8]>,
) -> Result<Option<(&'r [u8], Name)>, Halt> {
    for key in keys {
        if let Some(name) = Name::resolve(view, key)? {
            return Ok(Some((key, name)));
        }
    }
    Ok(None)
}

/// Checks that a name of database 0 is an ordinary key's: what a command of another database puts there must not vanish
/// behind a job or a queue.
///
/// # Errors
/// When it is a view.
pub(super) fn check_ordinary(ctx: &Context<'_, '_>, key: &[u8], request: &Request) -> Result<(), Halt> {
    match Name::resolve(&ctx.database_0(), key)? {
        Some(name) => Err(refuse::command(&name, key, request)),
        None => Ok(()),
    }
}

/// The stamp of what a name of database 0 shows: another one when that has changed; `None` for an ordinary key's name.
///
/// # Errors
/// When the store fails.
pub(super) fn stamp(view: &View<'_>, key: &[u8]) -> Result<Option<u64>, Halt> {
    let jobs = JobsView { rows: view.rows, now: view.now };
    let Some(name) = Name::resolve(view, key)? else { return Ok(None) };
    Ok(Some(match name {
        Name::Job(id, _) => jobs.job_stamp(&id)?,
        Name::Plan(id) => jobs.plan_stamp(&id)?,
        Name::Worker(id, _) => jobs.worker_stamp(&id)?,
        Name::Queue(id) => jobs.queue_stamp(Some(&id))?,
        Name::Processing | Name::Scheduled => jobs.queue_stamp(None)?,
    }))
}

/// A command that parks at a key which may become a queue, at the first submit, waits for that too.
pub(crate) fn wait_for_queues(wait: &mut Wait, command: &Command, request: &Request) {
    for key in command.key_names(request) {
        if let Some(Name::Queue(queue)) = Name::parse(key) {
            let touch = Touch::Queue(Bytes::copy_from_slice(queue.as_bytes()));
            if !wait.on.contains(&touch) {
                wait.on.push(touch);
            }
        }
    }
}
