//! Commands on hashes.

use agq_resp::{Reply, Request};

use crate::command::{Command, CommandError, Context, Flags, Group, Halt, Outcome, ReadContext, Run, args};
use crate::data::extended::Extended;
use crate::data::notices::Classes;

/// A read of more fields than this leaves the core thread.
const HEAVY_FIELDS: u64 = 10_000;

const READ: Flags = Flags::READONLY;
const FAST_READ: Flags = Flags::READONLY.and(Flags::FAST);
const FAST_ADD: Flags = Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST);

/// The rows of this file.
pub(super) const COMMANDS: &[Command] = &[
    hash("HSET", -4, FAST_ADD, Run::Write(hset)).doc(
        "2.0.0",
        "key field value [field value ...]",
        "Sets fields of a hash; answers how many are new.",
    ),
    hash("HMSET", -4, FAST_ADD, Run::Write(hmset)).doc(
        "2.0.0",
        "key field value [field value ...]",
        "Sets fields of a hash.",
    ),
    hash("HSETNX", 4, FAST_ADD, Run::Write(hsetnx)).doc(
        "2.0.0",
        "key field value",
        "Sets a field of a hash unless it is there.",
    ),
    hash("HGET", 3, FAST_READ, Run::Read(hget)).doc("2.0.0", "key field", "The value of a field."),
    hash("HMGET", -3, FAST_READ, Run::Read(hmget)).doc("2.0.0", "key field [field ...]", "The values of fields."),
    hash("HDEL", -3, Flags::WRITE.and(Flags::FAST), Run::Write(hdel)).doc(
        "2.0.0",
        "key field [field ...]",
        "Removes fields of a hash; answers how many there were.",
    ),
    hash("HGETALL", 2, READ, Run::Read(hgetall)).heavy(is_heavy).doc(
        "2.0.0",
        "key",
        "All fields of a hash with their values.",
    ),
    hash("HLEN", 2, FAST_READ, Run::Read(hlen)).doc("2.0.0", "key", "The number of fields of a hash."),
    hash("HSTRLEN", 3, FAST_READ, Run::Read(hstrlen)).doc("3.2.0", "key field", "The length of a field's value."),
    hash("HEXISTS", 3, FAST_READ, Run::Read(hexists)).doc("2.0.0", "key field", "Whether a field is there."),
    hash("HINCRBY", 4, FAST_ADD, Run::Write(hincrby)).doc(
        "2.0.0",
        "key field increment",
        "Adds to the integer in a field of a hash.",
    ),
    hash("HINCRBYFLOAT", 4, FAST_ADD, Run::Write(hincrbyfloat))
        .doc(
            "2.6.0",
            "key field increment",
            "Adds to the number in a field of a hash, with a fraction; answers the sum.",
        )
        .differs("Numbers are decimal; the hexadecimal form of C is refused."),
    hash("HKEYS", 2, READ, Run::Read(hkeys)).heavy(is_heavy).doc("2.0.0", "key", "All fields of a hash."),
    hash("HVALS", 2, READ, Run::Read(hvals)).heavy(is_heavy).doc("2.0.0", "key", "All values of a hash."),
];

const fn hash(name: &'static str, arity: i32, flags: Flags, run: Run) -> Command {
    Command::new(name, arity, Group::Hash, flags, run).keys(1, 1, 1)
}

fn hset(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    Ok(Reply::int(set(ctx, request, "hset")?.cast_signed()))
}

fn hmset(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    set(ctx, request, "hmset")?;
    Ok(Reply::ok())
}

fn set(ctx: &mut Context<'_, '_>, request: &Request, command: &str) -> Result<u64, Halt> {
    if !request.len().is_multiple_of(2) {
        return Err(CommandError::arity(command).into());
    }
    let entries = (2..request.len()).step_by(2).map(|place| (request.bytes(place), request.bytes(place + 1)));
    let mut edit = ctx.edit();
    let added = edit.hash_set(request.arg(1), entries, false)?;
    edit.notice(Classes::HASH, "hset", request.arg(1));
    Ok(added)
}

fn hsetnx(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    let mut edit = ctx.edit();
    let added = edit.hash_set(request.arg(1), [(request.bytes(2), request.bytes(3))], true)?;
    if added > 0 {
        edit.notice(Classes::HASH, "hset", request.arg(1));
    }
    Ok(Reply::int(added.cast_signed()))
}

fn hget(ctx: &ReadContext<'_>, request: &Request) -> Outcome {
    Ok(value(ctx, request)?.map_or(Reply::Null, Reply::bulk))
}

fn value(ctx: &ReadContext<'_>, request: &Request) -> Result<Option<bytes::Bytes>, Halt> {
    Ok(ctx.view.hash_values(request.arg(1), [request.arg(2)])?.pop().flatten())
}

fn hmget(ctx: &ReadContext<'_>, request: &Request) -> Outcome {
    let values = ctx.view.hash_values(request.arg(1), request.iter().skip(2))?;
    Ok(Reply::array(values.into_iter().map(|value| value.map_or(Reply::Null, Reply::bulk))))
}

fn hdel(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    let removed = ctx.edit().hash_remove(request.arg(1), request.iter().skip(2))?;
    Ok(Reply::int(removed.cast_signed()))
}

fn hgetall(ctx: &ReadContext<'_>, request: &Request) -> Outcome {
    let entries = ctx.view.hash_entries(request.arg(1))?;
    Ok(Reply::map(entries.into_iter().map(|(field, value)| (Reply::bulk(field), Reply::bulk(value)))))
}

fn hkeys(ctx: &ReadContext<'_>, request: &Request) -> Outcome {
    let entries = ctx.view.hash_entries(request.arg(1))?;
    Ok(Reply::array(entries.into_iter().map(|(field, _)| Reply::bulk(field))))
}

fn hvals(ctx: &ReadContext<'_>, request: &Request) -> Outcome {
    let entries = ctx.view.hash_entries(request.arg(1))?;
    Ok(Reply::array(entries.into_iter().map(|(_, value)| Reply::bulk(value))))
}

fn is_heavy(ctx: &ReadContext<'_>, request: &Request) -> Result<bool, Halt> {
    Ok(ctx.view.hash_len(request.arg(1))? > HEAVY_FIELDS)
}

fn hlen(ctx: &ReadContext<'_>, request: &Request) -> Outcome {
    Ok(Reply::int(ctx.view.hash_len(request.arg(1))?.cast_signed()))
}

fn hstrlen(ctx: &ReadContext<'_>, request: &Request) -> Outcome {
    let length = value(ctx, request)?.map_or(0, |value| value.len());
    Ok(Reply::int(i64::try_from(length).unwrap_or(i64::MAX)))
}

fn hexists(ctx: &ReadContext<'_>, request: &Request) -> Outcome {
    Ok(Reply::int(value(ctx, request)?.is_some().into()))
}

fn hincrby(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    let change = args::integer(request.arg(3))?;
    Ok(Reply::int(ctx.edit().hash_add(request.arg(1), request.bytes(2), change)?))
}

fn hincrbyfloat(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    let change = request.arg(3);
    if Extended::is_infinite(change) {
        return Err(CommandError::new("ERR value is NaN or Infinity").into());
    }
    if Extended::parse(change).is_none() {
        return Err(CommandError::NOT_A_FLOAT.into());
    }
    Ok(Reply::Bulk(ctx.edit().hash_add_float(request.arg(1), request.bytes(2), change)?))
}
