//! Ranges of sorted sets, by place, score or member, from either end.

use std::ops::Bound;

use agq_resp::{Reply, Request};
use bytes::Bytes;

use crate::command::zsets::{HEAVY_MEMBERS, index, is_heavy, member, scored};
use crate::command::{Command, CommandError, Context, Flags, Group, Halt, Outcome, ReadContext, Run, args};
use crate::data::zsets::{MemberRange, ScoreRange, Scored, SortedSet, Window};
use crate::data::{Error, View};

/// Members that a range may pass over without an index.
const FAR: u64 = 1000;

/// Reads a range out of a request.
type Parse = fn(&Request) -> Result<Range, CommandError>;

/// The rows of this file.
pub(super) const COMMANDS: &[Command] = &[
    range("ZRANGE", Run::Read(zrange))
        .doc(
            "1.2.0",
            "key start stop [BYSCORE | BYLEX] [REV] [LIMIT offset count] [WITHSCORES]",
            "The members in a range of places, scores or members.",
        )
        .heavy(|ctx, request| walks_far(ctx, request, parse_zrange))
        .prepare(|ctx, request| index_far(ctx, request, parse_zrange)),
    range("ZREVRANGE", Run::Read(zrevrange))
        .doc("1.2.0", "key start stop [WITHSCORES]", "The members in a range of places from the highest down.")
        .heavy(|ctx, request| walks_far(ctx, request, parse_zrevrange))
        .prepare(|ctx, request| index_far(ctx, request, parse_zrevrange)),
    range("ZRANGEBYSCORE", Run::Read(zrangebyscore))
        .doc("1.0.5", "key min max [WITHSCORES] [LIMIT offset count]", "The members with scores in a range.")
        .heavy(|ctx, request| walks_far(ctx, request, parse_zrangebyscore))
        .prepare(|ctx, request| index_far(ctx, request, parse_zrangebyscore)),
    range("ZREVRANGEBYSCORE", Run::Read(zrevrangebyscore))
        .doc(
            "2.2.0",
            "key max min [WITHSCORES] [LIMIT offset count]",
            "The members with scores in a range, from the highest down.",
        )
        .heavy(|ctx, request| walks_far(ctx, request, parse_zrevrangebyscore))
        .prepare(|ctx, request| index_far(ctx, request, parse_zrevrangebyscore)),
    range("ZRANGEBYLEX", Run::Read(zrangebylex))
        .doc(
            "2.8.9",
            "key min max [LIMIT offset count]",
            "The members in a range of their bytes, where scores are equal.",
        )
        .heavy(|ctx, request| walks_far(ctx, request, parse_zrangebylex))
        .prepare(|ctx, request| index_far(ctx, request, parse_zrangebylex)),
    range("ZREVRANGEBYLEX", Run::Read(zrevrangebylex))
        .doc(
            "2.8.9",
            "key max min [LIMIT offset count]",
            "The members in a range of their bytes from the last to the first, where scores are equal.",
        )
        .heavy(|ctx, request| walks_far(ctx, request, parse_zrevrangebylex))
        .prepare(|ctx, request| index_far(ctx, request, parse_zrevrangebylex)),
    Command::new("ZLEXCOUNT", 4, Group::SortedSet, Flags::READONLY.and(Flags::FAST), Run::Read(zlexcount))
        .keys(1, 1, 1)
        .doc("2.8.9", "key min max", "The number of members in a range of their bytes, where scores are equal.")
        .prepare(|ctx, request| match ctx.view().sorted_set(request.arg(1))? {
            Some(set) if ctx.view().zonly_score(&set)?.is_some() => index(ctx, request),
            _ => Ok(()),
        })
        .heavy(|ctx, request| {
            let set = ctx.view.sorted_set(request.arg(1))?.filter(|set| set.len() > HEAVY_MEMBERS);
            let Some(set) = set else { return Ok(false) };
            Ok(!set.knows_places() || ctx.view.zonly_score(&set)?.is_none())
        }),
    Command::new("ZREMRANGEBYRANK", 4, Group::SortedSet, Flags::WRITE, Run::Write(zremrangebyrank)).keys(1, 1, 1).doc(
        "2.0.0",
        "key start stop",
        "Removes the members in a range of places; answers how many there were.",
    ),
    Command::new("ZREMRANGEBYSCORE", 4, Group::SortedSet, Flags::WRITE, Run::Write(zremrangebyscore))
        .keys(1, 1, 1)
        .doc("1.2.0", "key min max", "Removes the members with scores in a range; answers how many there were."),
    Command::new("ZREMRANGEBYLEX", 4, Group::SortedSet, Flags::WRITE, Run::Write(zremrangebylex)).keys(1, 1, 1).doc(
        "2.8.9",
        "key min max",
        "Removes the members in a range of their bytes, where scores are equal; answers how many there were.",
    ),
];

const fn range(name: &'static str, run: Run) -> Command {
    Command::new(name, -4, Group::SortedSet, Flags::READONLY, run).keys(1, 1, 1)
}

fn walks_far(ctx: &ReadContext<'_>, request: &Request, parse: Parse) -> Result<bool, Halt> {
    is_heavy(ctx, request, |set| {
        let range = parse(request)?;
        let one_score = || matches!(ctx.view.zonly_score(set), Ok(Some(_)));
        let skips_by_index = set.knows_places() && (!matches!(range.span, Span::Members(_)) || one_score());
        Ok(range.walks(set).saturating_add(if skips_by_index { 0 } else { range.skips(set) }))
    })
}

/// A range that begins far from where the set does, so that its index helps, makes that.
fn index_far(ctx: &mut Context<'_, '_>, request: &Request, parse: Parse) -> Result<(), Halt> {
    let range = parse(request)?;
    let Some(set) = ctx.view().sorted_set(request.arg(1))? else { return Ok(()) };
    let helps = !matches!(range.span, Span::Members(_)) || ctx.view().zonly_score(&set)?.is_some();
    if helps && range.skips(&set) > FAR { index(ctx, request) } else { Ok(()) }
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
            Span::Scores(_) => self.window.take,
            // How far it skips counts where there is no index, or scores differ.
            Span::Members(_) => self.window.take,
            Span::Places(start, stop) => match places(start, stop, set.len()) {
                Some((start, stop)) => stop - start + 1,
                None => 0,
            },
        }
    }

    /// How many members stand before those that it takes, from the nearer end where that is known.
    fn skips(&self, set: &SortedSet) -> u64 {
        match self.span {
            Span::Scores(_) | Span::Members(_) => self.window.skip.min(set.len()),
            Span::Places(start, stop) => {
                places(start, stop, set.len()).map_or(0, |(start, stop)| start.min(set.len() - 1 - stop))
            }
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

impl Range {
    /// The members with their scores, in the order of the range.
    pub(super) fn members(&self, view: &View<'_>, name: &[u8]) -> Result<Vec<Scored>, Error> {
        let Some(set) = view.sorted_set(name)? else { return Ok(Vec::new()) };
        match &self.span {
            Span::Places(start, stop) => match places(*start, *stop, set.len()) {
                Some((start, stop)) => view.zrange(&set, start, stop, self.window.reverse),
                None => Ok(Vec::new()),
            },
            Span::Scores(range) => view.zrange_by_score(&set, *range, self.window),
            Span::Members(range) => {
                let members = view.zrange_by_member(&set, range, self.window)?;
                let score = |member: Bytes| Ok(view.zscore(&set, &member)?.map(|score| (member, score)));
                members.into_iter().filter_map(|member| score(member).transpose()).collect()
            }
        }
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

fn zrevrange(ctx: &ReadContext<'_>, request: &Request) -> Outcome {
    parse_zrevrange(request)?.read(ctx, request.arg(1))
}

fn zrevrangebyscore(ctx: &ReadContext<'_>, request: &Request) -> Outcome {
    parse_zrevrangebyscore(request)?.read(ctx, request.arg(1))
}

fn zrangebylex(ctx: &ReadContext<'_>, request: &Request) -> Outcome {
    parse_zrangebylex(request)?.read(ctx, request.arg(1))
}

fn zrevrangebylex(ctx: &ReadContext<'_>, request: &Request) -> Outcome {
    parse_zrevrangebylex(request)?.read(ctx, request.arg(1))
}

fn zlexcount(ctx: &ReadContext<'_>, request: &Request) -> Outcome {
    let (span, window) = member_span(request.arg(2), request.arg(3), window(None, false))?;
    let Some(set) = ctx.view.sorted_set(request.arg(1))? else { return Ok(Reply::int(0)) };
    let Span::Members(range) = span else { return Ok(Reply::int(0)) };
    if window.take == 0 {
        return Ok(Reply::int(0));
    }
    Ok(Reply::int(ctx.view.zcount_by_member(&set, &range)?.cast_signed()))
}

fn zremrangebyrank(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    let (start, stop) = (args::integer(request.arg(2))?, args::integer(request.arg(3))?);
    let mut edit = ctx.edit();
    let Some(set) = edit.sorted_set(request.arg(1))? else { return Ok(Reply::int(0)) };
    let Some((start, stop)) = places(start, stop, set.len()) else { return Ok(Reply::int(0)) };
    Ok(Reply::int(edit.zremove_places(request.arg(1), &set, start, stop)?.cast_signed()))
}

fn zremrangebyscore(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    let range = score_range(request.arg(2), request.arg(3))?;
    Ok(Reply::int(ctx.edit().zremove_by_score(request.arg(1), range)?.cast_signed()))
}

fn zremrangebylex(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    let (span, window) = member_span(request.arg(2), request.arg(3), window(None, false))?;
    let mut edit = ctx.edit();
    let Some(set) = edit.sorted_set(request.arg(1))? else { return Ok(Reply::int(0)) };
    match span {
        Span::Members(range) if window.take > 0 => {
            Ok(Reply::int(edit.zremove_by_member(request.arg(1), &set, &range)?.cast_signed()))
        }
        _ => Ok(Reply::int(0)),
    }
}

/// What a range may be counted in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    Places,
    Score,
    Member,
}

pub(super) fn parse_zrange(request: &Request) -> Result<Range, CommandError> {
    parse(request, None, None, false)
}

pub(super) fn parse_zrangebyscore(request: &Request) -> Result<Range, CommandError> {
    parse(request, Some(By::Score), Some(false), false)
}

/// What follows the destination of a ZRANGESTORE, read as a ZRANGE; only scores are not asked for.
pub(super) fn parse_stored(request: &Request) -> Result<Range, CommandError> {
    parse(&Request::from_args(request.iter().skip(1)), None, None, true)
}

fn parse_zrevrange(request: &Request) -> Result<Range, CommandError> {
    parse(request, Some(By::Places), Some(true), false)
}

fn parse_zrevrangebyscore(request: &Request) -> Result<Range, CommandError> {
    parse(request, Some(By::Score), Some(true), false)
}

fn parse_zrangebylex(request: &Request) -> Result<Range, CommandError> {
    parse(request, Some(By::Member), Some(false), false)
}

fn parse_zrevrangebylex(request: &Request) -> Result<Range, CommandError> {
    parse(request, Some(By::Member), Some(true), false)
}

/// Reads a range; what the command's name does not say, options may. The order of the checks is Redis's.
fn parse(request: &Request, by: Option<By>, reverse: Option<bool>, stores: bool) -> Result<Range, CommandError> {
    let (mut chosen, mut turned, mut limit, mut with_scores) = (by, reverse, None, false);
    let mut options = args::Options::new(request, 4);
    while let Some(word) = options.word() {
        if args::is(word, "WITHSCORES") && !stores {
            with_scores = true;
        } else if args::is(word, "LIMIT") && options.left() >= 2 {
            limit = Some((args::integer(options.value()?)?, args::integer(options.value()?)?));
        } else if args::is(word, "REV") && turned.is_none() {
            turned = Some(true);
        } else if args::is(word, "BYSCORE") && chosen.is_none() {
            chosen = Some(By::Score);
        } else if args::is(word, "BYLEX") && chosen.is_none() {
            chosen = Some(By::Member);
        } else {
            return Err(CommandError::SYNTAX);
        }
    }
    let (by, reverse) = (chosen.unwrap_or(By::Places), turned.unwrap_or(false));
    // A count of -1 is what Redis takes for no LIMIT at all.
    if limit.is_some_and(|(_, count)| count != -1) && by == By::Places {
        return Err(CommandError::new(
            "ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX",
        ));
    }
    if with_scores && by == By::Member {
        return Err(CommandError::new("ERR syntax error, WITHSCORES not supported in combination with BYLEX"));
    }
    let (low, high) = if reverse { (3, 2) } else { (2, 3) };
    let (low, high) = (request.arg(low), request.arg(high));
    let window = window(limit, reverse);
    let (span, window) = match by {
        By::Places => (Span::Places(args::integer(request.arg(2))?, args::integer(request.arg(3))?), window),
        By::Score => (Span::Scores(score_range(low, high)?), window),
        By::Member => member_span(low, high, window)?,
    };
    Ok(Range { span, window, with_scores })
}

/// The members from `low` to `high`; nothing lies above `+` or below `-`.
fn member_span(low: &[u8], high: &[u8], window: Window) -> Result<(Span, Window), CommandError> {
    let take = if low == b"+" || high == b"-" { 0 } else { window.take };
    let span = Span::Members(MemberRange { min: member_bound(low)?, max: member_bound(high)? });
    Ok((span, Window { take, ..window }))
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
