//! Commands on sorted sets.

use agq_resp::{Protocol, Reply, Request};
use bytes::Bytes;

use crate::command::zset_ranges::score_range;
use crate::command::{Command, CommandError, Context, Flags, Group, Halt, Outcome, ReadContext, Run, args};
use crate::data::Error;
use crate::data::notices::Classes;
use crate::data::zsets::{AddRule, Direction, INDEX_SLICE, Presence, Scored, SortedSet};

/// Members that a command may walk over on the core thread.
pub(super) const HEAVY_MEMBERS: u64 = 10_000;

const READ: Flags = Flags::READONLY;
const WRITE: Flags = Flags::WRITE;
const FAST: Flags = Flags::FAST;

/// The rows of this file.
pub(super) const COMMANDS: &[Command] = &[
    Command::new("ZADD", -4, Group::SortedSet, WRITE.and(Flags::DENYOOM).and(FAST), Run::Write(zadd))
        .keys(1, 1, 1)
        .doc(
            "1.2.0",
            "key [NX | XX] [GT | LT] [CH] [INCR] score member [score member ...]",
            "Adds members to a sorted set, or gives them another score.",
        )
        .differs("Scores are decimal numbers; the hexadecimal form of C is refused."),
    Command::new("ZREM", -3, Group::SortedSet, WRITE.and(FAST), Run::Write(zrem)).keys(1, 1, 1).doc(
        "1.2.0",
        "key member [member ...]",
        "Removes members; answers how many there were.",
    ),
    Command::new("ZSCORE", 3, Group::SortedSet, READ.and(FAST), Run::Read(zscore)).keys(1, 1, 1).doc(
        "1.2.0",
        "key member",
        "The score of a member.",
    ),
    Command::new("ZCARD", 2, Group::SortedSet, READ.and(FAST), Run::Read(zcard)).keys(1, 1, 1).doc(
        "1.2.0",
        "key",
        "The number of members.",
    ),
    Command::new("ZCOUNT", 4, Group::SortedSet, READ.and(FAST), Run::Read(zcount))
        .keys(1, 1, 1)
        .prepare(index)
        .heavy(walks_to_places)
        .doc("2.0.0", "key min max", "The number of members with scores in a range."),
    Command::new("ZRANK", 3, Group::SortedSet, READ.and(FAST), Run::Read(zrank))
        .keys(1, 1, 1)
        .prepare(index)
        .heavy(walks_to_places)
        .doc("2.0.0", "key member", "How many members stand before one."),
    Command::new("ZREVRANK", 3, Group::SortedSet, READ.and(FAST), Run::Read(zrevrank))
        .keys(1, 1, 1)
        .prepare(index)
        .heavy(walks_to_places)
        .doc("2.0.0", "key member", "How many members stand before one, from the highest down."),
    Command::new("ZPOPMIN", -2, Group::SortedSet, WRITE.and(FAST), Run::Write(zpopmin)).keys(1, 1, 1).doc(
        "5.0.0",
        "key [count]",
        "Removes and answers the members with the lowest scores.",
    ),
    Command::new("ZPOPMAX", -2, Group::SortedSet, WRITE.and(FAST), Run::Write(zpopmax)).keys(1, 1, 1).doc(
        "5.0.0",
        "key [count]",
        "Removes and answers the members with the highest scores.",
    ),
    Command::new("ZMSCORE", -3, Group::SortedSet, READ.and(FAST), Run::Read(zmscore)).keys(1, 1, 1).doc(
        "6.2.0",
        "key member [member ...]",
        "The scores of members; null for one that is not there.",
    ),
    Command::new("ZINCRBY", 4, Group::SortedSet, WRITE.and(Flags::DENYOOM).and(FAST), Run::Write(zincrby))
        .keys(1, 1, 1)
        .doc("1.2.0", "key increment member", "Adds to the score of a member; answers the sum."),
    Command::new("BZPOPMAX", -3, Group::SortedSet, WRITE.and(FAST).and(Flags::BLOCKING), Run::Write(bzpopmax))
        .keys(1, -2, 1)
        .doc(
            "5.0.0",
            "key [key ...] timeout",
            "Removes and answers the member with the highest score of the first key that has one, and waits for it.",
        ),
    Command::new("BZPOPMIN", -3, Group::SortedSet, WRITE.and(FAST).and(Flags::BLOCKING), Run::Write(bzpopmin))
        .keys(1, -2, 1)
        .doc(
            "5.0.0",
            "key [key ...] timeout",
            "Removes and answers the member with the lowest score of the first key that has one, and waits for it.",
        ),
];

fn zadd(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    let (rule, counts_changed, first) = zadd_options(request)?;
    let pairs = request.len() - first;
    if rule.increment && pairs > 2 {
        return Err(CommandError::new("ERR INCR option supports a single increment-element pair").into());
    }
    let mut members = Vec::with_capacity(pairs / 2);
    for place in (first..request.len()).step_by(2) {
        let score = args::score(request.arg(place)).ok_or(CommandError::NOT_A_FLOAT)?;
        members.push((score, request.bytes(place + 1)));
    }
    let mut edit = ctx.edit();
    let done = edit.zadd(request.arg(1), rule, &members)?;
    if done.added + done.changed > 0 {
        edit.notice(Classes::ZSET, if rule.increment { "zincr" } else { "zadd" }, request.arg(1));
    }
    Ok(match (rule.increment, done.score) {
        (true, Some(score)) => Reply::Double(score),
        (true, None) => Reply::Null,
        (false, _) => Reply::int((done.added + if counts_changed { done.changed } else { 0 }).cast_signed()),
    })
}

/// The options of a ZADD, CH, and where the first score stands. The order of the checks is Redis's.
fn zadd_options(request: &Request) -> Result<(AddRule, bool, usize), CommandError> {
    let (mut only_new, mut only_existing, mut up, mut down) = (false, false, false, false);
    let (mut counts_changed, mut increment) = (false, false);
    let mut first = 2;
    while let Some(word) = request.get(first) {
        let options: [(&str, &mut bool); 6] = [
            ("NX", &mut only_new),
            ("XX", &mut only_existing),
            ("GT", &mut up),
            ("LT", &mut down),
            ("CH", &mut counts_changed),
            ("INCR", &mut increment),
        ];
        let Some((_, option)) = options.into_iter().find(|(name, _)| args::is(word, name)) else { break };
        *option = true;
        first += 1;
    }
    let left = request.len() - first;
    if left == 0 || !left.is_multiple_of(2) {
        return Err(CommandError::SYNTAX);
    }
    if only_new && only_existing {
        return Err(CommandError::new("ERR XX and NX options at the same time are not compatible"));
    }
    if (up && down) || (only_new && (up || down)) {
        return Err(CommandError::new("ERR GT, LT, and/or NX options at the same time are not compatible"));
    }
    let presence = match (only_new, only_existing) {
        (true, _) => Presence::New,
        (_, true) => Presence::Existing,
        _ => Presence::Any,
    };
    let direction = match (up, down) {
        (true, _) => Direction::Up,
        (_, true) => Direction::Down,
        _ => Direction::Any,
    };
    Ok((AddRule { presence, direction, increment }, counts_changed, first))
}

fn zrem(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    Ok(Reply::int(ctx.edit().zrem(request.arg(1), request.iter().skip(2))?.cast_signed()))
}

fn zscore(ctx: &ReadContext<'_>, request: &Request) -> Outcome {
    let Some(set) = ctx.view.sorted_set(request.arg(1))? else { return Ok(Reply::Null) };
    Ok(ctx.view.zscore(&set, request.arg(2))?.map_or(Reply::Null, Reply::Double))
}

fn zcard(ctx: &ReadContext<'_>, request: &Request) -> Outcome {
    Ok(Reply::int(ctx.view.sorted_set(request.arg(1))?.map_or(0, |set| set.len().cast_signed())))
}

fn zcount(ctx: &ReadContext<'_>, request: &Request) -> Outcome {
    let range = score_range(request.arg(2), request.arg(3))?;
    let Some(set) = ctx.view.sorted_set(request.arg(1))? else { return Ok(Reply::int(0)) };
    Ok(Reply::int(ctx.view.zcount(&set, range)?.cast_signed()))
}

/// Ranks are asked for: the set gets its index, if it is large; the engine goes on with what is not done at once.
pub(super) fn index(ctx: &mut Context<'_, '_>, request: &Request) -> Result<(), Halt> {
    let name = request.arg(1);
    let Some(set) = ctx.view().sorted_set(name)? else { return Ok(()) };
    if ctx.edit().zindex(name, &set, INDEX_SLICE)? {
        let key = (ctx.keyspace(), Bytes::copy_from_slice(name));
        if !ctx.server.indexing.contains(&key) {
            ctx.server.indexing.push_back(key);
        }
    }
    Ok(())
}

/// What asks for a place is heavy while a large set has no index.
pub(super) fn walks_to_places(ctx: &ReadContext<'_>, request: &Request) -> Result<bool, Halt> {
    Ok(ctx.view.sorted_set(request.arg(1))?.is_some_and(|set| set.len() > HEAVY_MEMBERS && !set.knows_places()))
}

fn zrank(ctx: &ReadContext<'_>, request: &Request) -> Outcome {
    rank(ctx, request, false)
}

fn zrevrank(ctx: &ReadContext<'_>, request: &Request) -> Outcome {
    rank(ctx, request, true)
}

fn rank(ctx: &ReadContext<'_>, request: &Request, reverse: bool) -> Outcome {
    let Some(set) = ctx.view.sorted_set(request.arg(1))? else { return Ok(Reply::Null) };
    let place = ctx.view.zrank(&set, request.arg(2), reverse)?;
    Ok(place.map_or(Reply::Null, |place| Reply::int(place.cast_signed())))
}

/// True when the set is large and `walks` says that much of it is walked over. A request that is refused is not
/// heavy: its error is quickly found.
pub(super) fn is_heavy(
    ctx: &ReadContext<'_>,
    request: &Request,
    walks: impl Fn(&SortedSet) -> Result<u64, CommandError>,
) -> Result<bool, Halt> {
    match ctx.view.sorted_set(request.arg(1)) {
        Ok(Some(set)) if set.len() > HEAVY_MEMBERS => Ok(walks(&set).is_ok_and(|walks| walks > HEAVY_MEMBERS)),
        _ => Ok(false),
    }
}

fn zmscore(ctx: &ReadContext<'_>, request: &Request) -> Outcome {
    let set = ctx.view.sorted_set(request.arg(1))?;
    let mut scores = Vec::with_capacity(request.len() - 2);
    for member in request.iter().skip(2) {
        let score = set.as_ref().map(|set| ctx.view.zscore(set, member)).transpose()?.flatten();
        scores.push(score.map_or(Reply::Null, Reply::Double));
    }
    Ok(Reply::array(scores))
}

fn zincrby(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    let change = args::score(request.arg(2)).ok_or(CommandError::NOT_A_FLOAT)?;
    let rule = AddRule { presence: Presence::Any, direction: Direction::Any, increment: true };
    let mut edit = ctx.edit();
    let done = edit.zadd(request.arg(1), rule, &[(change, request.bytes(3))])?;
    if done.added + done.changed > 0 {
        edit.notice(Classes::ZSET, "zincr", request.arg(1));
    }
    Ok(done.score.map_or(Reply::Null, Reply::Double))
}

fn zpopmin(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    pop(ctx, request, false)
}

fn zpopmax(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    pop(ctx, request, true)
}

fn pop(ctx: &mut Context<'_, '_>, request: &Request, highest: bool) -> Outcome {
    let count = match request.len() {
        2 => None,
        3 => Some(args::count(request.arg(2))?),
        _ => return Err(CommandError::SYNTAX.into()),
    };
    let protocol = ctx.session.protocol;
    let mut edit = ctx.edit();
    let popped = match edit.sorted_set(request.arg(1))? {
        Some(set) => edit.zpop(request.arg(1), &set, count.unwrap_or(1), highest)?,
        None => Vec::new(),
    };
    Ok(match count {
        None => {
            Reply::array(popped.into_iter().flat_map(|(member, score)| [Reply::Bulk(member), Reply::Double(score)]))
        }
        Some(_) => scored(popped, protocol),
    })
}

fn bzpopmin(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    blocking_pop(ctx, request, false)
}

fn bzpopmax(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    blocking_pop(ctx, request, true)
}

fn blocking_pop(ctx: &mut Context<'_, '_>, request: &Request, highest: bool) -> Outcome {
    let last = request.len() - 1;
    let deadline = args::timeout(request.arg(last), ctx.now)?;
    let mut drained = true;
    for place in 1..last {
        let name = request.arg(place);
        if !ctx.may_be_served_by(name) {
            continue;
        }
        let woken = ctx.woken_by.is_some();
        let mut edit = ctx.edit();
        let set = match edit.sorted_set(name) {
            Ok(Some(set)) => set,
            Ok(None) => continue,
            Err(Error::WrongType) if woken => {
                // Somebody behind may wait for just this type.
                drained = false;
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        let popped = edit.zpop(name, &set, 1, highest)?;
        let reply = popped.into_iter().flat_map(|(member, score)| [Reply::Bulk(member), Reply::Double(score)]);
        return Ok(Reply::array([Reply::bulk(request.bytes(place))].into_iter().chain(reply)));
    }
    Err(ctx.wait_for_keys(request, 1..last, deadline, drained))
}

pub(super) fn member((member, _): Scored) -> Reply {
    Reply::Bulk(member)
}

/// Members with their scores: pairs in RESP3, one after the other in RESP2.
pub(super) fn scored(found: Vec<Scored>, protocol: Protocol) -> Reply {
    let pairs = found.into_iter().map(|(member, score)| [Reply::Bulk(member), Reply::Double(score)]);
    match protocol {
        Protocol::Resp3 => Reply::array(pairs.map(Reply::array)),
        Protocol::Resp2 => Reply::array(pairs.flatten()),
    }
}
