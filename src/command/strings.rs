//! Commands on strings.

use agq_resp::{Reply, Request};

use crate::clock::Millis;
use crate::command::{Command, CommandError, Context, Flags, Group, Halt, Outcome, ReadContext, Run, args};
use crate::data::notices::Classes;
use crate::data::{Kind, View};

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
    row("INCRBYFLOAT", 3, ADD.and(FAST), Run::Write(incrbyfloat))
        .doc("2.6.0", "key increment", "Adds to the number of a key, with a fraction; answers the sum.")
        .differs("Numbers are decimal; the hexadecimal form of C is refused."),
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
    row("GETEX", -2, WRITE.and(FAST), Run::Write(getex)).doc(
        "6.2.0",
        "key [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds | PERSIST]",
        "The value of a key, whose deadline may be set or taken away by it.",
    ),
    row("GETSET", 3, ADD.and(FAST), Run::Write(getset)).doc(
        "1.0.0",
        "key value",
        "Sets a key to a value; answers the string it held.",
    ),
    row("SETNX", 3, ADD.and(FAST), Run::Write(setnx)).doc(
        "1.0.0",
        "key value",
        "Sets a key to a value unless it exists; answers whether it did.",
    ),
    row("PSETEX", 4, ADD, Run::Write(psetex)).doc(
        "2.6.0",
        "key milliseconds value",
        "Sets a key to a value that expires after so many milliseconds.",
    ),
    row("MSETNX", -3, ADD, Run::Write(msetnx)).keys(1, -1, 2).doc(
        "1.0.1",
        "key value [key value ...]",
        "Sets several keys at once, unless one of them exists; answers whether it did.",
    ),
    row("GETRANGE", 4, READ, Run::Read(getrange)).doc(
        "2.4.0",
        "key start end",
        "A part of a string, by the places of its first and last byte; negative ones count from the end.",
    ),
    row("SUBSTR", 4, READ, Run::Read(getrange)).doc("1.0.0", "key start end", "The same as GETRANGE."),
    row("SETRANGE", 4, ADD, Run::Write(setrange)).doc(
        "2.2.0",
        "key offset value",
        "Writes over a part of a string, filling a gap with zero bytes; answers its length.",
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
    edit.notice(Classes::STRING, "set", name);
    if matches!(expiry, Expiry::At(_)) {
        edit.notice(Classes::GENERIC, "expire", name);
    }
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
    set_until(ctx, request, deadline)
}

fn psetex(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    let deadline = args::ExpireUnit::MILLISECONDS.deadline(request.arg(2), ctx.now, "psetex")?;
    set_until(ctx, request, deadline)
}

fn set_until(ctx: &mut Context<'_, '_>, request: &Request, deadline: Millis) -> Outcome {
    let mut edit = ctx.edit();
    let old = edit.record(request.arg(1))?;
    edit.set_string(request.arg(1), old.as_ref(), request.bytes(3), Some(deadline))?;
    edit.notice(Classes::STRING, "set", request.arg(1));
    edit.notice(Classes::GENERIC, "expire", request.arg(1));
    Ok(Reply::ok())
}

fn mget(ctx: &ReadContext<'_>, request: &Request) -> Outcome {
    let mut values = Vec::with_capacity(request.len() - 1);
    for name in request.iter().skip(1) {
        values.push(match ctx.view.record(name)? {
            Some(record) if record.kind == Kind::String => {
                let length = View::string_record_len(&record)?;
                ctx.view.rows.collect(usize::try_from(length).unwrap_or(usize::MAX))?;
                Reply::bulk(ctx.view.string_of(&record)?)
            }
            _ => Reply::Null,
        });
    }
    Ok(Reply::array(values))
}

fn mset(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    set_several(ctx, request, "mset", false)?;
    Ok(Reply::ok())
}

fn msetnx(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    Ok(Reply::int(set_several(ctx, request, "msetnx", true)?.into()))
}

/// Sets all keys, or with `only_new` none where one of them exists; answers whether it did.
fn set_several(ctx: &mut Context<'_, '_>, request: &Request, command: &str, only_new: bool) -> Result<bool, Halt> {
    if request.len().is_multiple_of(2) {
        return Err(CommandError::arity(command).into());
    }
    let places = (1..request.len()).step_by(2);
    let mut edit = ctx.edit();
    if only_new {
        for place in places.clone() {
            if edit.record(request.arg(place))?.is_some() {
                return Ok(false);
            }
        }
    }
    for place in places {
        let old = edit.record(request.arg(place))?;
        edit.set_string(request.arg(place), old.as_ref(), request.bytes(place + 1), None)?;
        edit.notice(Classes::STRING, "set", request.arg(place));
    }
    Ok(true)
}

fn setnx(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    let mut edit = ctx.edit();
    if edit.record(request.arg(1))?.is_some() {
        return Ok(Reply::int(0));
    }
    edit.set_string(request.arg(1), None, request.bytes(2), None)?;
    edit.notice(Classes::STRING, "set", request.arg(1));
    Ok(Reply::int(1))
}

fn getset(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    let mut edit = ctx.edit();
    let old = edit.record_of(request.arg(1), Kind::String)?;
    let value = old.as_ref().map(|record| edit.view().string_of(record)).transpose()?;
    edit.set_string(request.arg(1), old.as_ref(), request.bytes(2), None)?;
    edit.notice(Classes::STRING, "set", request.arg(1));
    Ok(value.map_or(Reply::Null, Reply::bulk))
}

fn getex(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    let mut options = args::Options::new(request, 2);
    let (mut persist, mut expires) = (false, None);
    while let Some(word) = options.word() {
        if args::is(word, "PERSIST") && expires.is_none() {
            persist = true;
        } else if let Some(unit) = args::ExpireUnit::of(word)
            && !persist
            && expires.is_none_or(|(chosen, _)| chosen == unit)
        {
            expires = Some((unit, options.value()?));
        } else {
            return Err(CommandError::SYNTAX.into());
        }
    }
    let now = ctx.now;
    let mut edit = ctx.edit();
    let Some(record) = edit.record_of(request.arg(1), Kind::String)? else { return Ok(Reply::Null) };
    let value = edit.view().string_of(&record)?;
    match expires {
        Some((unit, text)) => {
            let deadline = unit.deadline(text, now, "getex")?;
            if deadline <= now {
                edit.delete(request.arg(1), &record)?;
                edit.notice_gone(request.arg(1));
            } else {
                edit.set_deadline(request.arg(1), record, Some(deadline))?;
                edit.notice(Classes::GENERIC, "expire", request.arg(1));
            }
        }
        None if persist && record.deadline.is_some() => {
            edit.set_deadline(request.arg(1), record, None)?;
            edit.notice(Classes::GENERIC, "persist", request.arg(1));
        }
        None => {}
    }
    Ok(Reply::bulk(value))
}

fn getrange(ctx: &ReadContext<'_>, request: &Request) -> Outcome {
    let (start, end) = (args::integer(request.arg(2))?, args::integer(request.arg(3))?);
    let Some(record) = ctx.view.record_of(request.arg(1), Kind::String)? else { return Ok(Reply::bulk("")) };
    let length = View::string_record_len(&record)?.cast_signed();
    if start < 0 && end < 0 && start > end {
        return Ok(Reply::bulk(""));
    }
    let from_end = |place: i64| if place < 0 { place.saturating_add(length).max(0) } else { place };
    let (start, end) = (from_end(start), from_end(end).min(length - 1));
    if start > end {
        return Ok(Reply::bulk(""));
    }
    Ok(Reply::bulk(ctx.view.string_part(&record, start.cast_unsigned(), end.cast_unsigned() + 1)?))
}

fn setrange(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    let offset = args::integer(request.arg(2))?;
    let offset = u64::try_from(offset).map_err(|_| CommandError::new("ERR offset is out of range"))?;
    let mut edit = ctx.edit();
    let length = edit.write_string_part(request.arg(1), offset, &request.bytes(3))?;
    if !request.arg(3).is_empty() {
        edit.notice(Classes::STRING, "setrange", request.arg(1));
    }
    Ok(Reply::int(length.cast_signed()))
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

fn incrbyfloat(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    Ok(Reply::Bulk(ctx.edit().add_float_to_string(request.arg(1), request.arg(2))?))
}

fn append(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    let mut edit = ctx.edit();
    let length = edit.append_string(request.arg(1), request.bytes(2))?;
    edit.notice(Classes::STRING, "append", request.arg(1));
    Ok(Reply::int(length.cast_signed()))
}

fn strlen(ctx: &ReadContext<'_>, request: &Request) -> Outcome {
    Ok(Reply::int(ctx.view.string_len(request.arg(1))?.cast_signed()))
}

fn getdel(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    let mut edit = ctx.edit();
    let Some(record) = edit.record_of(request.arg(1), Kind::String)? else { return Ok(Reply::Null) };
    let value = edit.view().string_of(&record)?;
    edit.delete(request.arg(1), &record)?;
    edit.notice_gone(request.arg(1));
    Ok(Reply::bulk(value))
}
