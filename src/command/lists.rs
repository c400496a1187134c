//! Commands on lists.

use agq_resp::{Reply, Request};

use crate::command::{Command, CommandError, Context, Flags, Group, Halt, Outcome, ReadContext, Run, args};
use crate::data::lists::{End, Search};
use crate::data::{self, Kind};

/// A read that walks over more elements than this leaves the core thread.
const HEAVY_ELEMENTS: u64 = 10_000;

const READ: Flags = Flags::READONLY;
const WRITE: Flags = Flags::WRITE;
const WAIT: Flags = Flags::WRITE.and(Flags::BLOCKING);
const ADD: Flags = Flags::WRITE.and(Flags::DENYOOM);

/// The rows of this file.
pub(super) const COMMANDS: &[Command] = &[
    list("LPUSH", -3, ADD.and(Flags::FAST), Run::Write(lpush)).doc(
        "1.0.0",
        "key element [element ...]",
        "Adds elements at the head of a list; answers its length.",
    )
    .differs("On a job queue: gives back jobs that this worker claimed."),
    list("RPUSH", -3, ADD.and(Flags::FAST), Run::Write(rpush)).doc(
        "1.0.0",
        "key element [element ...]",
        "Adds elements at the tail of a list; answers its length.",
    )
    .differs("On a job queue: gives back jobs that this worker claimed."),
    list("LPUSHX", -3, ADD.and(Flags::FAST), Run::Write(lpushx)).doc(
        "2.2.0",
        "key element [element ...]",
        "Adds elements at the head of a list that exists; answers its length.",
    ),
    list("RPUSHX", -3, ADD.and(Flags::FAST), Run::Write(rpushx)).doc(
        "2.2.0",
        "key element [element ...]",
        "Adds elements at the tail of a list that exists; answers its length.",
    ),
    list("LSET", 4, ADD, Run::Write(lset)).doc(
        "1.0.0",
        "key index element",
        "Puts another element at an index; negative ones count from the tail.",
    ),
    list("LINSERT", 5, ADD, Run::Write(linsert)).doc(
        "2.2.0",
        "key BEFORE | AFTER pivot element",
        "Puts an element before or after the first one equal to another; answers the length, or -1 when there is none.",
    ),
    list("LTRIM", 4, WRITE, Run::Write(ltrim)).doc(
        "1.0.0",
        "key start stop",
        "Keeps the elements from one index to another, both included, and removes the others.",
    ),
    list("LPOP", -2, WRITE.and(Flags::FAST), Run::Write(lpop)).doc(
        "1.0.0",
        "key [count]",
        "Takes one element, or up to count, from the head of a list.",
    )
    .differs("Refused on a job queue, whose next job stands at the right."),
    list("RPOP", -2, WRITE.and(Flags::FAST), Run::Write(rpop)).doc(
        "1.0.0",
        "key [count]",
        "Takes one element, or up to count, from the tail of a list.",
    )
    .differs("On a job queue: a claim."),
    list("LLEN", 2, READ.and(Flags::FAST), Run::Read(llen)).doc("1.0.0", "key", "The length of a list."),
    list("LRANGE", 4, READ, Run::Read(lrange)).heavy(lrange_is_heavy).doc(
        "1.0.0",
        "key start stop",
        "The elements from one index to another, both included; negative ones count from the tail.",
    ),
    list("LINDEX", 3, READ, Run::Read(lindex)).doc(
        "1.0.0",
        "key index",
        "The element at an index; negative ones count from the tail.",
    ),
    list("LREM", 4, WRITE, Run::Write(lrem)).doc(
        "1.0.0",
        "key count element",
        "Removes the first count elements that are equal, the last when count is negative, all when it is 0.",
    )
    .differs("On queue:processing: 1 once for a job that was reported."),
    list("LPOS", -3, READ, Run::Read(lpos)).heavy(lpos_is_heavy).doc(
        "6.0.6",
        "key element [RANK rank] [COUNT num-matches] [MAXLEN len]",
        "Where an element stands in a list.",
    ),
    list("LMOVE", 5, ADD, Run::Write(lmove)).keys(1, 2, 1).doc(
        "6.2.0",
        "source destination <LEFT | RIGHT> <LEFT | RIGHT>",
        "Moves an element from an end of a list to an end of another, and answers it.",
    )
    .differs("Out of a job queue, RIGHT LEFT: into queue:processing a claim, into another job queue a move; else refused."),
    list("RPOPLPUSH", 3, ADD, Run::Write(rpoplpush)).keys(1, 2, 1).doc(
        "1.2.0",
        "source destination",
        "Moves an element from the tail of a list to the head of another, and answers it.",
    )
    .differs("Out of a job queue: into queue:processing a claim, into another job queue a move; else refused."),
    list("BLPOP", -3, WAIT, Run::Write(blpop)).keys(1, -2, 1).doc(
        "2.0.0",
        "key [key ...] timeout",
        "Takes an element from the head of the first list that has one; waits for one otherwise.",
    )
    .differs("Refused on a job queue, whose next job stands at the right."),
    list("BRPOP", -3, WAIT, Run::Write(brpop)).keys(1, -2, 1).doc(
        "2.0.0",
        "key [key ...] timeout",
        "Takes an element from the tail of the first list that has one; waits for one otherwise.",
    )
    .differs("On job queues: a claim."),
    list("BLMOVE", 6, WAIT.and(Flags::DENYOOM), Run::Write(blmove)).keys(1, 2, 1).doc(
        "6.2.0",
        "source destination <LEFT | RIGHT> <LEFT | RIGHT> timeout",
        "Moves an element from an end of a list to an end of another; waits for one if there is none.",
    )
    .differs("Out of a job queue, RIGHT LEFT: into queue:processing a claim, into another job queue a move; else refused."),
    list("BRPOPLPUSH", 4, WAIT.and(Flags::DENYOOM), Run::Write(brpoplpush)).keys(1, 2, 1).doc(
        "2.2.0",
        "source destination timeout",
        "Moves an element from the tail of a list to the head of another; waits for one if there is none.",
    )
    .differs("Out of a job queue: into queue:processing a claim, which gives way to the connection's next command; into another \
         job queue a move; else refused."),
];

const fn list(name: &'static str, arity: i32, flags: Flags, run: Run) -> Command {
    Command::new(name, arity, Group::List, flags, run).keys(1, 1, 1)
}

fn lpush(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    push(ctx, request, End::Left)
}

fn rpush(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    push(ctx, request, End::Right)
}

fn push(ctx: &mut Context<'_, '_>, request: &Request, end: End) -> Outcome {
    let values = (2..request.len()).map(|place| request.bytes(place));
    Ok(length(ctx.edit().list_push(request.arg(1), end, values)?))
}

fn lpushx(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    if ctx.view().list_len(request.arg(1))? == 0 { Ok(Reply::int(0)) } else { push(ctx, request, End::Left) }
}

fn rpushx(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    if ctx.view().list_len(request.arg(1))? == 0 { Ok(Reply::int(0)) } else { push(ctx, request, End::Right) }
}

fn lset(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    if ctx.view().list_len(request.arg(1))? == 0 {
        return Err(data::Error::NoSuchKey.into());
    }
    let index = args::integer(request.arg(2))?;
    if ctx.edit().list_set(request.arg(1), index, request.bytes(3))? {
        Ok(Reply::ok())
    } else {
        Err(CommandError::new("ERR index out of range").into())
    }
}

fn ltrim(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    let (start, stop) = (args::integer(request.arg(2))?, args::integer(request.arg(3))?);
    ctx.edit().list_trim(request.arg(1), start, stop)?;
    Ok(Reply::ok())
}

fn lpop(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    pop(ctx, request, End::Left)
}

fn rpop(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    pop(ctx, request, End::Right)
}

fn pop(ctx: &mut Context<'_, '_>, request: &Request, end: End) -> Outcome {
    let name = request.arg(1);
    match request.len() {
        2 => {
            let taken = ctx.edit().list_pop(name, end, 1)?;
            Ok(taken.and_then(|mut taken| taken.pop()).map_or(Reply::Null, Reply::bulk))
        }
        3 => {
            let count = args::integer(request.arg(2)).ok().and_then(|count| u64::try_from(count).ok());
            let count = count.ok_or(CommandError::new("ERR value is out of range, must be positive"))?;
            let taken = ctx.edit().list_pop(name, end, count)?;
            Ok(taken.map_or(Reply::NullArray, |taken| Reply::array(taken.into_iter().map(Reply::bulk))))
        }
        _ => Err(CommandError::arity(if end == End::Left { "lpop" } else { "rpop" }).into()),
    }
}

fn llen(ctx: &ReadContext<'_>, request: &Request) -> Outcome {
    Ok(length(ctx.view.list_len(request.arg(1))?))
}

fn lrange(ctx: &ReadContext<'_>, request: &Request) -> Outcome {
    let (start, stop) = (args::integer(request.arg(2))?, args::integer(request.arg(3))?);
    let elements = ctx.view.list_range(request.arg(1), start, stop)?;
    Ok(Reply::array(elements.into_iter().map(Reply::bulk)))
}

fn lrange_is_heavy(ctx: &ReadContext<'_>, request: &Request) -> Result<bool, Halt> {
    let (start, stop) = (args::integer(request.arg(2))?, args::integer(request.arg(3))?);
    Ok(ctx.view.list_range_len(request.arg(1), start, stop)? > HEAVY_ELEMENTS)
}

fn lindex(ctx: &ReadContext<'_>, request: &Request) -> Outcome {
    let name = request.arg(1);
    // As in Redis, the index is not even looked at when there is no list.
    if ctx.view.list_len(name)? == 0 {
        return Ok(Reply::Null);
    }
    let element = ctx.view.list_at(name, args::integer(request.arg(2))?)?;
    Ok(element.map_or(Reply::Null, Reply::bulk))
}

fn linsert(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    let after = args::is(request.arg(2), "AFTER");
    if !after && !args::is(request.arg(2), "BEFORE") {
        return Err(CommandError::SYNTAX.into());
    }
    let (name, mut edit) = (request.arg(1), ctx.edit());
    if edit.view().list_len(name)? == 0 {
        return Ok(Reply::int(0));
    }
    let length = edit.list_insert(name, after, request.arg(3), request.bytes(4))?;
    Ok(Reply::int(length.map_or(-1, u64::cast_signed)))
}

fn lrem(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    let count = args::integer(request.arg(2))?;
    Ok(length(ctx.edit().list_remove(request.arg(1), count, request.arg(3))?))
}

/// What LPOS was asked: the search, and whether the answer is an array.
pub(super) fn lpos_search(request: &Request) -> Result<(Search<'_>, bool), CommandError> {
    let mut options = args::Options::new(request, 3);
    let (mut rank, mut count, mut compare) = (1, None, 0);
    while let Some(word) = options.word() {
        if args::is(word, "RANK") {
            rank = args::integer(options.value()?)?;
            if rank == 0 {
                return Err(CommandError::new(
                    "ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use \
                     negative to start from the end of the list",
                ));
            }
        } else if args::is(word, "COUNT") {
            count = Some(not_negative(options.value()?, "ERR COUNT can't be negative")?);
        } else if args::is(word, "MAXLEN") {
            compare = not_negative(options.value()?, "ERR MAXLEN can't be negative")?;
        } else {
            return Err(CommandError::SYNTAX);
        }
    }
    let unlimited = |limit: u64| if limit == 0 { u64::MAX } else { limit };
    let search = Search {
        value: request.arg(2),
        skip: rank.unsigned_abs() - 1,
        backwards: rank < 0,
        matches: count.map_or(1, unlimited),
        compare: unlimited(compare),
    };
    Ok((search, count.is_some()))
}

fn not_negative(text: &[u8], error: &'static str) -> Result<u64, CommandError> {
    let number = args::integer(text).ok().and_then(|number| u64::try_from(number).ok());
    number.ok_or(CommandError::new(error))
}

fn lpos(ctx: &ReadContext<'_>, request: &Request) -> Outcome {
    let (search, as_array) = lpos_search(request)?;
    let mut found = ctx.view.list_positions(request.arg(1), &search)?.into_iter().map(length);
    Ok(if as_array { Reply::array(found) } else { found.next().unwrap_or(Reply::Null) })
}

fn lpos_is_heavy(ctx: &ReadContext<'_>, request: &Request) -> Result<bool, Halt> {
    let (search, _) = lpos_search(request)?;
    Ok(ctx.view.list_len(request.arg(1))?.min(search.compare) > HEAVY_ELEMENTS)
}

fn lmove(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    let (from, to) = (end_of(request.arg(3))?, end_of(request.arg(4))?);
    let moved = ctx.edit().list_move(request.arg(1), from, request.arg(2), to)?;
    Ok(moved.map_or(Reply::Null, Reply::bulk))
}

fn rpoplpush(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    let moved = ctx.edit().list_move(request.arg(1), End::Right, request.arg(2), End::Left)?;
    Ok(moved.map_or(Reply::Null, Reply::bulk))
}

fn blpop(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    blocking_pop(ctx, request, End::Left)
}

fn brpop(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    blocking_pop(ctx, request, End::Right)
}

fn blocking_pop(ctx: &mut Context<'_, '_>, request: &Request, end: End) -> Outcome {
    let timeout = request.len() - 1;
    let deadline = args::timeout(request.arg(timeout), ctx.now)?;
    let mut drained = true;
    for place in 1..timeout {
        let name = request.arg(place);
        if !ctx.may_be_served_by(name) {
            continue;
        }
        match ctx.edit().list_pop(name, end, 1) {
            Ok(taken) => {
                if let Some(element) = taken.and_then(|mut taken| taken.pop()) {
                    return Ok(Reply::array([Reply::bulk(request.bytes(place)), Reply::bulk(element)]));
                }
            }
            // Redis lets it wait for the key to become a list; what came may serve those who wait for another type.
            Err(data::Error::WrongType) if ctx.woken_by.is_some() => drained = false,
            Err(error) => return Err(error.into()),
        }
    }
    Err(ctx.wait_for_keys(request, 1..timeout, deadline, drained))
}

fn blmove(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    let (from, to) = (end_of(request.arg(3))?, end_of(request.arg(4))?);
    blocking_move(ctx, request, from, to)
}

fn brpoplpush(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    blocking_move(ctx, request, End::Right, End::Left)
}

fn blocking_move(ctx: &mut Context<'_, '_>, request: &Request, from: End, to: End) -> Outcome {
    let deadline = args::timeout(request.arg(request.len() - 1), ctx.now)?;
    let (source, target) = (request.arg(1), request.arg(2));
    if ctx.woken_by.is_some() && ctx.view().record(source)?.is_some_and(|record| record.kind != Kind::List) {
        return Err(ctx.wait_for_keys(request, 1..2, deadline, false));
    }
    match ctx.edit().list_move(source, from, target, to)? {
        Some(element) => Ok(Reply::bulk(element)),
        None if ctx.in_transaction => Ok(Reply::Null),
        None => Err(ctx.wait_for_keys(request, 1..2, deadline, true)),
    }
}

/// The end that LEFT or RIGHT names.
pub(super) fn end_of(word: &[u8]) -> Result<End, CommandError> {
    if args::is(word, "LEFT") {
        Ok(End::Left)
    } else if args::is(word, "RIGHT") {
        Ok(End::Right)
    } else {
        Err(CommandError::SYNTAX)
    }
}

fn length(count: u64) -> Reply {
    Reply::int(count.cast_signed())
}
