//! Sets combined: what several have in common, together, or not in common.

use std::ops::Range;

use agq_resp::{Reply, Request};

use crate::command::sets::{HEAVY_MEMBERS, members};
use crate::command::{Command, CommandError, Context, Flags, Group, Halt, Outcome, ReadContext, Run, args};
use crate::data::sets::Combination;

const READ: Flags = Flags::READONLY;
const STORE: Flags = Flags::WRITE.and(Flags::DENYOOM);

/// The rows of this file.
pub(super) const COMMANDS: &[Command] = &[
    row("SINTER", -2, READ, Run::Read(sinter)).doc("1.0.0", "key [key ...]", "The members that all sets have."),
    row("SUNION", -2, READ, Run::Read(sunion)).doc("1.0.0", "key [key ...]", "The members of all sets together."),
    row("SDIFF", -2, READ, Run::Read(sdiff)).doc(
        "1.0.0",
        "key [key ...]",
        "The members of the first set that none of the others has.",
    ),
    Command::new("SINTERCARD", -3, Group::Set, READ, Run::Read(sintercard))
        .keys_counted_at(1)
        .heavy(|ctx, request| is_large(ctx, request, counted_keys(request, 1)?))
        .doc("7.0.0", "numkeys key [key ...] [LIMIT limit]", "How many members all sets have."),
    store("SINTERSTORE", Run::Write(sinterstore)).doc(
        "1.0.0",
        "destination key [key ...]",
        "Puts the members that all sets have into a set; answers how many.",
    ),
    store("SUNIONSTORE", Run::Write(sunionstore)).doc(
        "1.0.0",
        "destination key [key ...]",
        "Puts the members of all sets together into a set; answers how many.",
    ),
    store("SDIFFSTORE", Run::Write(sdiffstore)).doc(
        "1.0.0",
        "destination key [key ...]",
        "Puts the members of the first set that none of the others has into a set; answers how many.",
    ),
];

const fn row(name: &'static str, arity: i32, flags: Flags, run: Run) -> Command {
    Command::new(name, arity, Group::Set, flags, run)
        .keys(1, -1, 1)
        .heavy(|ctx, request| is_large(ctx, request, 1..request.len()))
}

const fn store(name: &'static str, run: Run) -> Command {
    Command::new(name, -3, Group::Set, STORE, run).keys(1, -1, 1)
}

/// True when the sets have so many members together that walking over them leaves the core thread.
fn is_large(ctx: &ReadContext<'_>, request: &Request, keys: Range<usize>) -> Result<bool, Halt> {
    let sets = ctx.view.sets(keys.map(|place| request.arg(place)))?;
    Ok(sets.iter().flatten().map(|set| set.len()).sum::<u64>() > HEAVY_MEMBERS)
}

fn sinter(ctx: &ReadContext<'_>, request: &Request) -> Outcome {
    combined(ctx, request, Combination::Intersection)
}

fn sunion(ctx: &ReadContext<'_>, request: &Request) -> Outcome {
    combined(ctx, request, Combination::Union)
}

fn sdiff(ctx: &ReadContext<'_>, request: &Request) -> Outcome {
    combined(ctx, request, Combination::Difference)
}

fn combined(ctx: &ReadContext<'_>, request: &Request, how: Combination) -> Outcome {
    let sets = ctx.view.sets(request.iter().skip(1))?;
    Ok(members(ctx.view.set_combine(how, &sets, u64::MAX)?))
}

fn sinterstore(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    stored(ctx, request, Combination::Intersection)
}

fn sunionstore(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    stored(ctx, request, Combination::Union)
}

fn sdiffstore(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    stored(ctx, request, Combination::Difference)
}

fn stored(ctx: &mut Context<'_, '_>, request: &Request, how: Combination) -> Outcome {
    let mut edit = ctx.edit();
    let view = edit.view();
    let sets = view.sets(request.iter().skip(2))?;
    let found = view.working(|view| view.set_combine(how, &sets, u64::MAX))?;
    let event = match how {
        Combination::Intersection => "sinterstore",
        Combination::Union => "sunionstore",
        Combination::Difference => "sdiffstore",
    };
    let members = found.iter().map(|member| &member[..]);
    Ok(Reply::int(edit.set_replace(request.arg(1), members, event)?.cast_signed()))
}

fn sintercard(ctx: &ReadContext<'_>, request: &Request) -> Outcome {
    let keys = counted_keys(request, 1)?;
    let mut limit = u64::MAX;
    let mut options = args::Options::new(request, keys.end);
    while let Some(word) = options.word() {
        if !args::is(word, "LIMIT") {
            return Err(CommandError::SYNTAX.into());
        }
        limit = card_limit(options.value()?)?;
    }
    let sets = ctx.view.sets(keys.map(|place| request.arg(place)))?;
    let found = ctx.view.working(|view| view.set_combine(Combination::Intersection, &sets, limit))?;
    Ok(Reply::int(i64::try_from(found.len()).unwrap_or(i64::MAX)))
}

/// The LIMIT of a command that counts what sets have in common; 0 is none.
///
/// # Errors
/// `ERR LIMIT can't be negative`.
pub(super) fn card_limit(text: &[u8]) -> Result<u64, CommandError> {
    let limit = args::count(text).map_err(|_| CommandError::new("ERR LIMIT can't be negative"))?;
    Ok(if limit == 0 { u64::MAX } else { limit })
}

/// The places of the keys whose number stands at `place`.
///
/// # Errors
/// Redis's words for a number that is not positive, or larger than what follows.
pub(super) fn counted_keys(request: &Request, place: usize) -> Result<Range<usize>, CommandError> {
    let count = args::count(request.arg(place)).unwrap_or(0);
    if count == 0 {
        return Err(CommandError::new("ERR numkeys should be greater than 0"));
    }
    match usize::try_from(count) {
        Ok(count) if count < request.len() - place => Ok(place + 1..place + 1 + count),
        _ => Err(CommandError::new("ERR Number of keys can't be greater than number of args")),
    }
}
