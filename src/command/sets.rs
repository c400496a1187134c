//! Commands on sets: members one by one, all of them, and at random.

use agq_resp::{Reply, Request};
use bytes::Bytes;

use crate::command::{Command, CommandError, Context, Flags, Group, Halt, Outcome, ReadContext, Run, args};
use crate::data::{Error, Kind};

/// A read of more members than this leaves the core thread.
pub(super) const HEAVY_MEMBERS: u64 = 10_000;
/// Members at random, with repetition, that one reply may hold.
const MAX_PICKS: i64 = 10_000_000;

const READ: Flags = Flags::READONLY;
const FAST_READ: Flags = Flags::READONLY.and(Flags::FAST);
const FAST_WRITE: Flags = Flags::WRITE.and(Flags::FAST);

/// The rows of this file.
pub(super) const COMMANDS: &[Command] = &[
    row("SADD", -3, FAST_WRITE.and(Flags::DENYOOM), Run::Write(sadd)).doc(
        "1.0.0",
        "key member [member ...]",
        "Adds members to a set; answers how many are new.",
    ),
    row("SREM", -3, FAST_WRITE, Run::Write(srem)).doc(
        "1.0.0",
        "key member [member ...]",
        "Removes members of a set; answers how many there were.",
    ),
    row("SMOVE", 4, FAST_WRITE, Run::Write(smove)).keys(1, 2, 1).doc(
        "1.0.0",
        "source destination member",
        "Moves a member from one set to another; answers whether it was there.",
    ),
    row("SCARD", 2, FAST_READ, Run::Read(scard)).doc("1.0.0", "key", "The number of members of a set."),
    row("SISMEMBER", 3, FAST_READ, Run::Read(sismember)).doc("1.0.0", "key member", "Whether a member is in a set."),
    row("SMISMEMBER", -3, FAST_READ, Run::Read(smismember)).doc(
        "6.2.0",
        "key member [member ...]",
        "For each member whether it is in a set.",
    ),
    row("SMEMBERS", 2, READ, Run::Read(smembers)).heavy(is_large).doc("1.0.0", "key", "All members of a set."),
    row("SPOP", -2, FAST_WRITE, Run::Write(spop)).doc(
        "1.0.0",
        "key [count]",
        "Removes random members of a set and answers them.",
    ),
    row("SRANDMEMBER", -2, READ, Run::Read(srandmember))
        .heavy(picks_many)
        .doc(
            "1.0.0",
            "key [count]",
            "Random members of a set; all different, or, with a negative count, each as often as it comes.",
        )
        .differs("A negative count is -10,000,000 at the least."),
];

const fn row(name: &'static str, arity: i32, flags: Flags, run: Run) -> Command {
    Command::new(name, arity, Group::Set, flags, run).keys(1, 1, 1)
}

fn sadd(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    Ok(Reply::int(ctx.edit().set_add(request.arg(1), request.iter().skip(2))?.cast_signed()))
}

fn srem(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    let mut edit = ctx.edit();
    let Some(set) = edit.set(request.arg(1))? else { return Ok(Reply::int(0)) };
    Ok(Reply::int(edit.set_remove(request.arg(1), &set, request.iter().skip(2), "srem")?.cast_signed()))
}

fn smove(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    let (source, target, member) = (request.arg(1), request.arg(2), request.arg(3));
    let mut edit = ctx.edit();
    let Some(from) = edit.record(source)? else { return Ok(Reply::int(0)) };
    if from.kind != Kind::Set {
        return Err(Error::WrongType.into());
    }
    edit.set(target)?;
    let Some(set) = edit.set(source)? else { return Ok(Reply::int(0)) };
    if source == target {
        return Ok(Reply::int(edit.view().set_has(&set, member)?.into()));
    }
    let removed = edit.set_remove(source, &set, [member], "srem")?;
    if removed > 0 {
        edit.set_add(target, [member])?;
    }
    Ok(Reply::int(removed.cast_signed()))
}

fn scard(ctx: &ReadContext<'_>, request: &Request) -> Outcome {
    Ok(Reply::int(ctx.view.set(request.arg(1))?.map_or(0, |set| set.len().cast_signed())))
}

fn sismember(ctx: &ReadContext<'_>, request: &Request) -> Outcome {
    let Some(set) = ctx.view.set(request.arg(1))? else { return Ok(Reply::int(0)) };
    Ok(Reply::int(ctx.view.set_has(&set, request.arg(2))?.into()))
}

fn smismember(ctx: &ReadContext<'_>, request: &Request) -> Outcome {
    let set = ctx.view.set(request.arg(1))?;
    let mut found = Vec::with_capacity(request.len() - 2);
    for member in request.iter().skip(2) {
        let has = set.as_ref().map_or(Ok(false), |set| ctx.view.set_has(set, member))?;
        found.push(Reply::int(has.into()));
    }
    Ok(Reply::Array(found))
}

fn smembers(ctx: &ReadContext<'_>, request: &Request) -> Outcome {
    let Some(set) = ctx.view.set(request.arg(1))? else { return Ok(members([])) };
    Ok(members(ctx.view.set_members(&set)?))
}

/// Members as a set.
pub(super) fn members(found: impl IntoIterator<Item = Bytes>) -> Reply {
    Reply::Set(found.into_iter().map(Reply::Bulk).collect())
}

fn is_large(ctx: &ReadContext<'_>, request: &Request) -> Result<bool, Halt> {
    Ok(ctx.view.set(request.arg(1))?.is_some_and(|set| set.len() > HEAVY_MEMBERS))
}

fn spop(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    let count = match request.len() {
        2 => None,
        3 => Some(args::count(request.arg(2))?),
        _ => return Err(CommandError::SYNTAX.into()),
    };
    let name = request.arg(1);
    let mut random = ctx.random.fork();
    let mut edit = ctx.edit();
    let Some(set) = edit.set(name)? else { return Ok(if count.is_some() { members([]) } else { Reply::Null }) };
    let Some(count) = count else {
        let member = edit.view().set_pick(&set, &mut random)?;
        edit.set_remove(name, &set, [&member[..]], "spop")?;
        return Ok(Reply::Bulk(member));
    };
    let popped = edit.view().set_sample(&set, count, &mut random)?;
    if count >= set.len() {
        edit.set_delete(name, &set)?;
    } else {
        edit.set_remove(name, &set, popped.iter().map(|member| &member[..]), "spop")?;
    }
    Ok(members(popped))
}

/// The count of a SRANDMEMBER.
fn picks(request: &Request) -> Result<Option<i64>, CommandError> {
    if request.len() > 3 {
        return Err(CommandError::SYNTAX);
    }
    let count = request.get(2).map(random_count).transpose()?;
    count.map_or(Ok(()), repeats)?;
    Ok(count)
}

/// How many elements to pick at random: different ones, or, when it is negative, with repetition.
///
/// # Errors
/// When it is no number, or the smallest one of 64 bits.
pub(super) fn random_count(text: &[u8]) -> Result<i64, CommandError> {
    let count = args::integer(text)?;
    if count == i64::MIN {
        let (low, high) = (-i64::MAX, i64::MAX);
        return Err(CommandError::new(format!("ERR value is out of range, value must between {low} and {high}")));
    }
    Ok(count)
}

/// Checks that one reply may hold so many elements with repetition.
///
/// # Errors
/// When it may not.
pub(super) fn repeats(count: i64) -> Result<(), CommandError> {
    if count >= -MAX_PICKS {
        return Ok(());
    }
    let most = MAX_PICKS;
    let text =
        format!("ERR {count} is out of range: one reply holds {most} random elements at most, ask again for more");
    Err(CommandError::new(text))
}

fn srandmember(ctx: &ReadContext<'_>, request: &Request) -> Outcome {
    let count = picks(request)?;
    let set = ctx.view.set(request.arg(1))?;
    let mut random = fastrand::Rng::with_seed(ctx.seed);
    let Some(count) = count else {
        let Some(set) = set else { return Ok(Reply::Null) };
        return Ok(Reply::Bulk(ctx.view.set_pick(&set, &mut random)?));
    };
    let Some(set) = set else { return Ok(Reply::array([])) };
    if count >= 0 {
        let found = ctx.view.set_sample(&set, count.unsigned_abs(), &mut random)?;
        return Ok(Reply::array(found.into_iter().map(Reply::Bulk)));
    }
    let picks = (0..count.unsigned_abs()).map(|_| Ok(Reply::Bulk(ctx.view.set_pick(&set, &mut random)?)));
    Ok(Reply::Array(picks.collect::<Result<_, Error>>()?))
}

fn picks_many(ctx: &ReadContext<'_>, request: &Request) -> Result<bool, Halt> {
    let Ok(Some(set)) = ctx.view.set(request.arg(1)) else { return Ok(false) };
    // A pick looks at many members, and a sample of a good part of the set at all of them.
    Ok(match picks(request) {
        Ok(Some(count)) if count > 0 => {
            set.len() > HEAVY_MEMBERS && count.unsigned_abs() > (HEAVY_MEMBERS / 32).min(set.len() / 3)
        }
        Ok(Some(count)) => count.unsigned_abs() > HEAVY_MEMBERS / 32,
        _ => false,
    })
}
