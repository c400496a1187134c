//! Keys copied and moved, also to another database, databases swapped, and a key at random.

use std::ops::{Bound, ControlFlow};

use agq_resp::{Reply, Request};
use bytes::Bytes;

use crate::command::{Command, CommandError, Context, Flags, Group, Outcome, ReadContext, Run, args, views};
use crate::data::keyspaces::{self, DATABASES};
use crate::data::notices::Classes;
use crate::data::{Edit, Touch};

/// Keys that RANDOMKEY walks over on the core thread.
const HEAVY_KEYS: u64 = 10_000;

/// The rows of this file.
pub(super) const COMMANDS: &[Command] = &[
    Command::new("COPY", -3, Group::Generic, Flags::WRITE.and(Flags::DENYOOM), Run::Write(copy)).keys(1, 2, 1).doc(
        "6.2.0",
        "source destination [DB destination-db] [REPLACE]",
        "Copies a key with its elements and its deadline; answers whether it did.",
    ),
    Command::new("MOVE", 3, Group::Generic, Flags::WRITE.and(Flags::FAST), Run::Write(move_key)).keys(1, 1, 1).doc(
        "1.0.0",
        "key db",
        "Moves a key to another database, unless there is one of that name; answers whether it did.",
    ),
    Command::new("SWAPDB", 3, Group::Server, Flags::WRITE.and(Flags::FAST), Run::Write(swapdb))
        .doc("4.0.0", "index1 index2", "Swaps the keys of two databases, at once, however many they are.")
        .differs("Jobs, plans, workers and queues stay where they are: in database 0."),
    Command::new("RANDOMKEY", 1, Group::Generic, Flags::READONLY, Run::Read(randomkey))
        .heavy(|ctx, _| Ok(ctx.view.count()? > HEAVY_KEYS))
        .doc("1.0.0", "", "A key at random.")
        .differs("Walks over the keys up to the one that it picks."),
];

/// The number of a database.
fn database(text: &[u8]) -> Result<usize, CommandError> {
    let index = args::integer(text)?;
    let index = usize::try_from(index).ok().filter(|index| *index < DATABASES);
    index.ok_or(CommandError::new("ERR DB index is out of range"))
}

fn same_object() -> CommandError {
    CommandError::new("ERR source and destination objects are the same")
}

fn copy(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    let (source, target) = (request.arg(1), request.arg(2));
    let (mut to, mut replace) = (usize::from(ctx.session.database), false);
    let mut options = args::Options::new(request, 3);
    while let Some(word) = options.word() {
        if args::is(word, "REPLACE") {
            replace = true;
        } else if args::is(word, "DB") && options.left() > 0 {
            to = database(options.value()?)?;
        } else {
            return Err(CommandError::SYNTAX.into());
        }
    }
    if to == usize::from(ctx.session.database) && source == target {
        return Err(same_object().into());
    }
    if to == 0 {
        views::check_ordinary(ctx, target, request)?;
    }
    let keyspace = ctx.server.keyspaces[to];
    let Some(record) = ctx.edit().record(source)? else { return Ok(Reply::int(0)) };
    let mut edit = Edit { keyspace, ..ctx.edit() };
    let old = edit.record(target)?;
    if old.is_some() && !replace {
        return Ok(Reply::int(0));
    }
    let copied = edit.duplicate(&record)?;
    edit.replace(target, old.as_ref(), &copied)?;
    edit.notice(Classes::GENERIC, "copy_to", target);
    Ok(Reply::int(1))
}

fn move_key(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    let (name, to) = (request.arg(1), database(request.arg(2))?);
    if to == usize::from(ctx.session.database) {
        return Err(same_object().into());
    }
    if to == 0 {
        views::check_ordinary(ctx, name, request)?;
    }
    let keyspace = ctx.server.keyspaces[to];
    let Some(record) = ctx.edit().record(name)? else { return Ok(Reply::int(0)) };
    if (Edit { keyspace, ..ctx.edit() }).record(name)?.is_some() {
        return Ok(Reply::int(0));
    }
    let mut edit = ctx.edit();
    edit.forget(name, &record)?;
    edit.notice(Classes::GENERIC, "move_from", name);
    let mut edit = Edit { keyspace, ..ctx.edit() };
    edit.store(name, None, &record)?;
    edit.notice(Classes::GENERIC, "move_to", name);
    Ok(Reply::int(1))
}

fn swapdb(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    let index = |place, which: &str| {
        let index = args::integer(request.arg(place));
        index.map_err(|_| CommandError::new(format!("ERR invalid {which} DB index")))
    };
    let (first, second) = (index(1, "first")?, index(2, "second")?);
    let in_range = |index: i64| usize::try_from(index).ok().filter(|index| *index < DATABASES);
    let out_of_range = || CommandError::new("ERR DB index is out of range");
    let (first, second) = (in_range(first).ok_or_else(out_of_range)?, in_range(second).ok_or_else(out_of_range)?);
    if first == second {
        return Ok(Reply::ok());
    }
    keyspaces::swap(ctx.batch, &mut ctx.server.keyspaces, first, second)?;
    for database in [first, second] {
        let keyspace = ctx.server.keyspaces[database];
        ctx.touched.add(|| Touch::Keyspace(keyspace));
    }
    Ok(Reply::ok())
}

fn randomkey(ctx: &ReadContext<'_>, _: &Request) -> Outcome {
    let count = ctx.view.count()?;
    let place = if count == 0 { 0 } else { fastrand::Rng::with_seed(ctx.seed).u64(..count) };
    let (mut walked, mut found) = (0, None);
    ctx.view.walk(Bound::Unbounded, &mut |name, head| {
        // The first that is there from that place on, or the last before it.
        if head.is_live(ctx.view.now) {
            found = Some(Bytes::copy_from_slice(name));
        }
        walked += 1;
        if walked > place && found.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    Ok(found.map_or(Reply::Null, Reply::Bulk))
}
