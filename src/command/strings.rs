//! Commands on strings.

use agq_resp::{Reply, Request};

use crate::clock::Millis;
use crate::command::{Command, CommandError, Context, Flags, Group, Halt, Outcome, ReadContext, Run, args};
use crate::data::Kind;

const READ: Flags = Flags::READONLY;
const WRITE: Flags = Flags::WRITE;
const ADD: Flags = Flags::WRITE.and(Flags::DENYOOM);
const FAST: Flags = Flags::FAST;

const fn row(name: &'static str, arity: i32, flags: Flags, run: Run) -> Command {
    Command::new(name, arity, Group::String, flags, run).keys(1, 1, 1)
}

/// The rows of this file.
pub(super) const COMMANDS: &[Command] = &[
    row("GET", 2, READ.and(FAST), Run::Read(get)).doc("1.0.0", "key", "The value of a key."),
    row("SET", -3, ADD, Run::Write(set))
        .doc(
            "1.0.0",
            "key value [NX | XX] [GET] [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT \
         unix-time-milliseconds | KEEPTTL]",
            "Sets a key to a value, whatever it held.",
        )
        .differs(
            "A worker's report where the key is worker:<id>:tools or :tags, or :stdout, :stderr or :status of its job.",
        ),
    row("SETEX", 4, ADD, Run::Write(setex)).doc(
        "2.0.0",
        "key seconds value",
        "Sets a key to a value that expires after so many seconds.",
    ),
    row("MGET", -2, READ.and(FAST), Run::Read(mget)).keys(1, -1, 1).doc(
        "1.0.0",
        "key [key ...]",
        "The values of several keys; null for a key that does not exist or holds no string.",
    ),
    row("MSET", -3, ADD, Run::Write(mset)).keys(1, -1, 2).doc(
        "1.0.1",
        "key value [key value ...]",
        "Sets several keys at once.",
    ),
    row("INCR", 2, ADD.and(FAST), Run::Write(incr)).doc("1.0.0", "key", "Adds one to the integer of a key."),
    row("DECR", 2, ADD.and(FAST), Run::Write(decr)).doc("1.0.0", "key", "Takes one from the integer of a key."),
    row("INCRBY", 3, ADD.and(FAST), Run::Write(incrby)).doc(
        "1.0.0",
        "key increment",
        "Adds a number to the integer of a key.",
    ),
    row("DECRBY", 3, ADD.and(FAST), Run::Write(decrby)).doc(
        "1.0.0",
        "key decrement",
        "Takes a number from the integer of a key.",
    ),
    row("APPEND", 3, ADD.and(FAST), Run::Write(append)).doc(
        "2.0.0",
        "key value",
        "Appends to the string of a key; answers its length.",
    ),
    row("STRLEN", 2, READ.and(FAST), Run::Read(strlen)).doc("2.2.0", "key", "The length of a string in bytes."),
    row("GETDEL", 2, WRITE.and(FAST), Run::Write(getdel)).doc(
        "6.2.0",
        "key",
        "Removes a key; answers the string it held.",
    ),
];

fn get(ctx: &ReadContext<'_>, request: &Request) -> Outcome {
    Ok(ctx.view.get(request.arg(1))?.map_or(Reply::Null, Reply::bulk))
}

/// What becomes of a key's deadline when it is set.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Expiry {
    None,
    Keep,
    At(Millis),
}

/// The condition of a SET.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Condition {
    Always,
    IfAbsent,
    IfPresent,
}

fn set(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    let (expiry, condition, answer_old) = set_options(request, ctx.now)?;
    let name = request.arg(1);
    let mut edit = ctx.edit();
    let old = edit.record(name)?;
    let mut reply = Reply::ok();
    if answer_old {
        reply = match &old {
            None => Reply::Null,
            Some(record) if record.kind != Kind::String => return Err(crate::data::Error::WrongType.into()),
            Some(record) => Reply::bulk(edit.view().string_of(record)?),
        };
    }
    let wanted = match condition {
        Condition::Always => true,
        Condition::IfAbsent => old.is_none(),
        Condition::IfPresent => old.is_some(),
    };
    if !wanted {
        return Ok(if answer_old { reply } else { Reply::Null });
    }
    let deadline = match expiry {
        Expiry::None => None,
        Expiry::Keep => old.as_ref().and_then(|record| record.deadline),
        Expiry::At(at) => Some(at),
    };
    edit.set_string(name, old.as_ref(), request.bytes(2), deadline)?;
    Ok(reply)
}

fn set_options(request: &Request, now: Millis) -> Result<(Expiry, Condition, bool), Halt> {
    let mut options = args::Options::new(request, 3);
    let (mut keep, mut expires, mut condition, mut answer_old) = (false, None, Condition::Always, false);
    while let Some(word) = options.word() {
        if args::is(word, "NX") && condition != Condition::IfPresent {
            condition = Condition::IfAbsent;
        } else if args::is(word, "XX") && condition != Condition::IfAbsent {
            condition = Condition::IfPresent;
        } else if args::is(word, "GET") {
            answer_old = true;
        } else if args::is(word, "KEEPTTL") && expires.is_none() {
            keep = true;
        } else if let Some(unit) = args::ExpireUnit::of(word)
            && !keep
            && expires.is_none_or(|(chosen, _)| chosen == unit)
        {
            // Given twice, the last counts, as in Redis.
            expires = Some((unit, options.value()?));
        } else {
            return Err(CommandError::SYNTAX.into());
        }
    }
    let expiry = match expires {
        Some((unit, text)) => Expiry::At(unit.deadline(text, now, "set")?),
        None if keep => Expiry::Keep,
        None => Expiry::None,
    };
    Ok((expiry, condition, answer_old))
}

fn setex(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    let deadline = args::ExpireUnit::SECONDS.deadline(request.arg(2), ctx.now, "setex")?;
    let mut edit = ctx.edit();
    let old = edit.record(request.arg(1))?;
    edit.set_string(request.arg(1), old.as_ref(), request.bytes(3), Some(deadline))?;
    Ok(Reply::ok())
}

fn mget(ctx: &ReadContext<'_>, request: &Request) -> Outcome {
    let mut values = Vec::with_capacity(request.len() - 1);
    for name in request.iter().skip(1) {
        values.push(match ctx.view.record(name)? {
            Some(record) if record.kind == Kind::String => Reply::bulk(ctx.view.string_of(&record)?),
            _ => Reply::Null,
        });
    }
    Ok(Reply::array(values))
}

fn mset(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    if request.len().is_multiple_of(2) {
        return Err(CommandError::arity("mset").into());
    }
    let mut edit = ctx.edit();
    for place in (1..request.len()).step_by(2) {
        let old = edit.record(request.arg(place))?;
        edit.set_string(request.arg(place), old.as_ref(), request.bytes(place + 1), None)?;
    }
    Ok(Reply::ok())
}

fn incr(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    add(ctx, request, 1)
}

fn decr(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    add(ctx, request, -1)
}

fn incrby(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    add(ctx, request, args::integer(request.arg(2))?)
}

fn decrby(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    let change = args::integer(request.arg(2))?;
    add(ctx, request, change.checked_neg().ok_or(CommandError::new("ERR decrement would overflow"))?)
}

fn add(ctx: &mut Context<'_, '_>, request: &Request, change: i64) -> Outcome {
    Ok(Reply::int(ctx.edit().add_to_string(request.arg(1), change)?))
}

fn append(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    Ok(Reply::int(ctx.edit().append_string(request.arg(1), request.bytes(2))?.cast_signed()))
}

fn strlen(ctx: &ReadContext<'_>, request: &Request) -> Outcome {
    Ok(Reply::int(ctx.view.string_len(request.arg(1))?.cast_signed()))
}

fn getdel(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    let mut edit = ctx.edit();
    let Some(record) = edit.record_of(request.arg(1), Kind::String)? else { return Ok(Reply::Null) };
    let value = edit.view().string_of(&record)?;
    edit.delete(request.arg(1), &record)?;
    Ok(Reply::bulk(value))
}
