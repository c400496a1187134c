//! Commands on sorted sets.

use std::ops::Bound;

use agq_resp::{Protocol, Reply, Request};
use bytes::Bytes;

use crate::command::{Command, CommandError, Context, Flags, Group, Halt, Outcome, ReadContext, Run, args};
use crate::data::Error;
use crate::data::zsets::{AddRule, Direction, MemberRange, Presence, ScoreRange, Scored, SortedSet, Window};

/// Members that a command may walk over on the core thread.
const HEAVY_MEMBERS: u64 = 10_000;

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
        .doc("2.0.0", "key min max", "The number of members with scores in a range.")
        .heavy(|ctx, request| is_heavy(ctx, request, |_| Ok(u64::MAX))),
    Command::new("ZRANGE", -4, Group::SortedSet, READ, Run::Read(zrange))
        .keys(1, 1, 1)
        .doc(
            "1.2.0",
            "key start stop [BYSCORE | BYLEX] [REV] [LIMIT offset count] [WITHSCORES]",
            "The members in a range of places, scores or members.",
        )
        .heavy(|ctx, request| is_heavy(ctx, request, |set| parse_zrange(request).map(|range| range.walks(set)))),
    Command::new("ZRANGEBYSCORE", -4, Group::SortedSet, READ, Run::Read(zrangebyscore))
        .keys(1, 1, 1)
        .doc("1.0.5", "key min max [WITHSCORES] [LIMIT offset count]", "The members with scores in a range.")
        .heavy(|ctx, request| is_heavy(ctx, request, |set| parse_zrangebyscore(request).map(|range| range.walks(set)))),
    Command::new("ZPOPMIN", -2, Group::SortedSet, WRITE.and(FAST), Run::Write(zpopmin)).keys(1, 1, 1).doc(
        "5.0.0",
        "key [count]",
        "Removes and answers the members with the lowest scores.",
    ),
    Command::new("BZPOPMIN", -3, Group::SortedSet, WRITE.and(FAST).and(Flags::BLOCKING), Run::Write(bzpopmin))
        .keys(1, -2, 1)
        .doc(
            "5.0.0",
            "key [key ...] timeout",
            "Removes and answers the member with the lowest score of the first key that has one, and waits for it.",
        ),
    Command::new("ZREMRANGEBYSCORE", 4, Group::SortedSet, WRITE, Run::Write(zremrangebyscore)).keys(1, 1, 1).doc(
        "1.2.0",
        "key min max",
        "Removes the members with scores in a range; answers how many there were.",
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
    let done = ctx.edit().zadd(request.arg(1), rule, &members)?;
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

/// A range as ZRANGE and ZRANGEBYSCORE know it.
pub(super) struct Range {
    pub(super) span: Span,
    pub(super) window: Window,
    pub(super) with_scores: bool,
}

/// What a range is counted in.
pub(super) enum Span {
    /// Places, negative ones from the end.
    Places(i64, i64),
    Scores(ScoreRange),
    Members(MemberRange),
}

impl Range {
    /// How many members it walks over at most.
    fn walks(&self, set: &SortedSet) -> u64 {
        match self.span {
            Span::Scores(_) | Span::Members(_) => self.window.skip.saturating_add(self.window.take),
            Span::Places(start, stop) => match places(start, stop, set.len()) {
                Some((start, stop)) => (stop + 1).min(set.len() - start),
                None => 0,
            },
        }
    }

    fn read(&self, ctx: &ReadContext<'_>, name: &[u8]) -> Outcome {
        let Some(set) = ctx.view.sorted_set(name)? else { return Ok(Reply::array([])) };
        let found = match &self.span {
            Span::Places(start, stop) => match places(*start, *stop, set.len()) {
                Some((start, stop)) => ctx.view.zrange(&set, start, stop, self.window.reverse)?,
                None => Vec::new(),
            },
            Span::Scores(range) => ctx.view.zrange_by_score(&set, *range, self.window)?,
            Span::Members(range) => {
                let found = ctx.view.zrange_by_member(&set, range, self.window)?;
                return Ok(Reply::array(found.into_iter().map(Reply::Bulk)));
            }
        };
        Ok(if self.with_scores { scored(found, ctx.protocol) } else { Reply::array(found.into_iter().map(member)) })
    }
}

/// The places of a range in a set of `len` members; `None` when there are none.
pub(super) fn places(start: i64, stop: i64, len: u64) -> Option<(u64, u64)> {
    let place = |index: i64| {
        if index < 0 { len.checked_sub(index.unsigned_abs()) } else { Some(index.unsigned_abs()) }
    };
    let (start, stop) = (place(start).unwrap_or(0), place(stop)?.min(len.checked_sub(1)?));
    (start <= stop).then_some((start, stop))
}

fn zrange(ctx: &ReadContext<'_>, request: &Request) -> Outcome {
    parse_zrange(request)?.read(ctx, request.arg(1))
}

fn zrangebyscore(ctx: &ReadContext<'_>, request: &Request) -> Outcome {
    parse_zrangebyscore(request)?.read(ctx, request.arg(1))
}

pub(super) fn parse_zrange(request: &Request) -> Result<Range, CommandError> {
    let (mut by_score, mut by_member, mut reverse, mut with_scores) = (false, false, false, false);
    let mut limit = None;
    let mut options = args::Options::new(request, 4);
    while let Some(word) = options.word() {
        if args::is(word, "WITHSCORES") {
            with_scores = true;
        } else if args::is(word, "LIMIT") && options.left() >= 2 {
            limit = Some((args::integer(options.value()?)?, args::integer(options.value()?)?));
        } else if args::is(word, "REV") && !reverse {
            reverse = true;
        } else if args::is(word, "BYSCORE") && !by_member && !by_score {
            by_score = true;
        } else if args::is(word, "BYLEX") && !by_score && !by_member {
            by_member = true;
        } else {
            return Err(CommandError::SYNTAX);
        }
    }
    if limit.is_some() && !by_score && !by_member {
        return Err(CommandError::new(
            "ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX",
        ));
    }
    if with_scores && by_member {
        return Err(CommandError::new("ERR syntax error, WITHSCORES not supported in combination with BYLEX"));
    }
    let (low, high) = if reverse { (3, 2) } else { (2, 3) };
    let (low, high) = (request.arg(low), request.arg(high));
    let mut window = window(limit, reverse);
    let span = if by_score {
        Span::Scores(score_range(low, high)?)
    } else if by_member {
        if low == b"+" || high == b"-" {
            window.take = 0;
        }
        Span::Members(MemberRange { min: member_bound(low)?, max: member_bound(high)? })
    } else {
        Span::Places(args::integer(request.arg(2))?, args::integer(request.arg(3))?)
    };
    Ok(Range { span, window, with_scores })
}

pub(super) fn parse_zrangebyscore(request: &Request) -> Result<Range, CommandError> {
    let (mut limit, mut with_scores) = (None, false);
    let mut options = args::Options::new(request, 4);
    while let Some(word) = options.word() {
        if args::is(word, "WITHSCORES") {
            with_scores = true;
        } else if args::is(word, "LIMIT") && options.left() >= 2 {
            limit = Some((args::integer(options.value()?)?, args::integer(options.value()?)?));
        } else {
            return Err(CommandError::SYNTAX);
        }
    }
    let span = Span::Scores(score_range(request.arg(2), request.arg(3))?);
    Ok(Range { span, window: window(limit, false), with_scores })
}

/// LIMIT offset count: a negative count takes all, a negative offset leaves nothing.
fn window(limit: Option<(i64, i64)>, reverse: bool) -> Window {
    match limit {
        None => Window { reverse, ..Window::ALL },
        Some((offset, count)) => match u64::try_from(offset) {
            Ok(skip) => Window { reverse, skip, take: u64::try_from(count).unwrap_or(u64::MAX) },
            Err(_) => Window { reverse, skip: 0, take: 0 },
        },
    }
}

/// Two scores, each inclusive or after `(` exclusive.
pub(super) fn score_range(min: &[u8], max: &[u8]) -> Result<ScoreRange, CommandError> {
    let bound = |text: &[u8]| {
        let exclusive = text.strip_prefix(b"(");
        let number = match exclusive.unwrap_or(text) {
            // C's strtod reads nothing as 0 and passes over blanks in front, and so does Redis here.
            b"" => Some(0.0),
            text => args::float(text.trim_ascii_start()),
        };
        let number = number.ok_or(CommandError::new("ERR min or max is not a float"))?;
        Ok::<_, CommandError>(if exclusive.is_some() { Bound::Excluded(number) } else { Bound::Included(number) })
    };
    Ok(ScoreRange { min: bound(min)?, max: bound(max)? })
}

/// `[member`, `(member`, or `-` and `+` for the ends; the caller knows that nothing lies above `+` or below `-`.
fn member_bound(text: &[u8]) -> Result<Bound<Bytes>, CommandError> {
    match text {
        b"-" | b"+" => Ok(Bound::Unbounded),
        [b'[', member @ ..] => Ok(Bound::Included(Bytes::copy_from_slice(member))),
        [b'(', member @ ..] => Ok(Bound::Excluded(Bytes::copy_from_slice(member))),
        _ => Err(CommandError::new("ERR min or max not valid string range item")),
    }
}

/// True when the set is large and `walks` says that much of it is walked over. A request that is refused is not
/// heavy: its error is quickly found.
fn is_heavy(
    ctx: &ReadContext<'_>,
    request: &Request,
    walks: impl Fn(&SortedSet) -> Result<u64, CommandError>,
) -> Result<bool, Halt> {
    match ctx.view.sorted_set(request.arg(1)) {
        Ok(Some(set)) if set.len() > HEAVY_MEMBERS => Ok(walks(&set).is_ok_and(|walks| walks > HEAVY_MEMBERS)),
        _ => Ok(false),
    }
}

fn zpopmin(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    let count = match request.len() {
        2 => None,
        3 => Some(args::count(request.arg(2))?),
        _ => return Err(CommandError::SYNTAX.into()),
    };
    let protocol = ctx.session.protocol;
    let mut edit = ctx.edit();
    let popped = match edit.sorted_set(request.arg(1))? {
        Some(set) => edit.zpop(request.arg(1), &set, count.unwrap_or(1), false)?,
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
        let popped = edit.zpop(name, &set, 1, false)?;
        let reply = popped.into_iter().flat_map(|(member, score)| [Reply::Bulk(member), Reply::Double(score)]);
        return Ok(Reply::array([Reply::bulk(request.bytes(place))].into_iter().chain(reply)));
    }
    Err(ctx.wait_for_keys(request, 1..last, deadline, drained))
}

fn zremrangebyscore(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    let range = score_range(request.arg(2), request.arg(3))?;
    Ok(Reply::int(ctx.edit().zremove_by_score(request.arg(1), range)?.cast_signed()))
}

fn member((member, _): Scored) -> Reply {
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
