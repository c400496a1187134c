//! SCAN, HSCAN, SSCAN and ZSCAN: a few keys or elements at a time.

use std::ops::{Bound, ControlFlow};

use agq_resp::{Reply, Request, format_double};
use bytes::Bytes;

use crate::command::cursors::Walk;
use crate::command::{Command, CommandError, Context, Flags, Group, Outcome, Run, args};
use crate::data::Error;
use crate::data::glob::{self, Glob};

/// Keys or elements that one call walks over at most, whatever its COUNT.
const MAX_COUNT: usize = 10_000;

const FORGOTTEN: &str = "COUNT is 10,000 at most, a pattern 1,024 bytes. A cursor that the server has forgotten, as after a restart or when \
                         thousands of others were left unfinished, begins anew: some may then come twice, none is \
                         left out.";

/// The rows of this file.
pub(super) const COMMANDS: &[Command] = &[
    Command::new("SCAN", -2, Group::Generic, Flags::READONLY, Run::Write(scan))
        .doc("2.8.0", "cursor [MATCH pattern] [COUNT count] [TYPE type]", "The keys, a few at a time.")
        .differs(
            "The keys come in the order of their names. COUNT is 10,000 at most, a pattern 1,024 bytes. A cursor that the server has \
             forgotten, as after a restart or when thousands of others were left unfinished, begins anew: keys may \
             then come twice, none is left out.",
        ),
    elements("HSCAN", Group::Hash, Run::Write(hscan))
        .doc(
            "2.8.0",
            "key cursor [MATCH pattern] [COUNT count]",
            "The fields of a hash and their values, a few at a time.",
        )
        .differs(FORGOTTEN),
    elements("SSCAN", Group::Set, Run::Write(sscan))
        .doc("2.8.0", "key cursor [MATCH pattern] [COUNT count]", "The members of a set, a few at a time.")
        .differs("COUNT is 10,000 at most, a pattern 1,024 bytes."),
    elements("ZSCAN", Group::SortedSet, Run::Write(zscan))
        .doc(
            "2.8.0",
            "key cursor [MATCH pattern] [COUNT count]",
            "The members of a sorted set and their scores, a few at a time.",
        )
        .differs(FORGOTTEN),
];

const fn elements(name: &'static str, group: Group, run: Run) -> Command {
    Command::new(name, -3, group, Flags::READONLY, run).keys(1, 1, 1)
}

/// What is asked for.
struct Scan<'a> {
    /// The bytes that a name begins with, and what matches it.
    pattern: Option<(&'a [u8], Glob)>,
    kind: Option<&'a [u8]>,
    count: usize,
}

impl<'a> Scan<'a> {
    /// Reads the options from `place` on; TYPE is one where keys are walked.
    fn read(request: &'a Request, place: usize, has_type: bool) -> Result<Scan<'a>, CommandError> {
        let mut asked = Scan { pattern: None, kind: None, count: 10 };
        let mut options = args::Options::new(request, place);
        while let Some(word) = options.word() {
            if args::is(word, "COUNT") {
                let count = args::integer(options.value()?)?;
                if count < 1 {
                    return Err(CommandError::SYNTAX);
                }
                asked.count = usize::try_from(count).map_or(MAX_COUNT, |count| count.min(MAX_COUNT));
            } else if args::is(word, "MATCH") {
                let pattern = args::pattern(options.value()?)?;
                asked.pattern = Some((glob::literal_prefix(pattern), Glob::new(pattern)));
            } else if args::is(word, "TYPE") && has_type {
                asked.kind = Some(options.value()?);
            } else {
                return Err(CommandError::SYNTAX);
            }
        }
        Ok(asked)
    }

    fn wants(&self, name: &[u8]) -> bool {
        self.pattern.as_ref().is_none_or(|(_, glob)| glob.matches(name))
    }
}

/// A page and the cursor of the next.
fn page(cursor: u64, found: impl IntoIterator<Item = Reply>) -> Reply {
    Reply::array([Reply::bulk(cursor.to_string()), Reply::array(found)])
}

/// Where a call goes on: behind the name that `cursor` stands for.
fn place(ctx: &mut Context<'_, '_>, cursor: u64, walk: Walk) -> Option<Bytes> {
    if cursor == 0 { None } else { ctx.server.cursors.find(cursor, walk) }
}

/// The cursor to go on behind `last`; 0 when there is no more.
fn next(ctx: &mut Context<'_, '_>, cursor: u64, walk: Walk, last: Option<Bytes>) -> u64 {
    last.map_or(0, |last| ctx.server.cursors.keep(walk, last, cursor, ctx.random))
}

/// A cursor as C's strtoul reads one: with a sign or zeros in front, or nothing for 0.
fn parse_cursor(text: &[u8]) -> Result<u64, CommandError> {
    let invalid = || CommandError::new("ERR invalid cursor");
    let text = std::str::from_utf8(text).map_err(|_| invalid())?;
    if text.is_empty() {
        return Ok(0);
    }
    match text.strip_prefix('-') {
        Some(digits) if !digits.starts_with('+') => digits.parse().map(u64::wrapping_neg).map_err(|_| invalid()),
        Some(_) => Err(invalid()),
        None => text.parse().map_err(|_| invalid()),
    }
}

fn scan(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    let cursor = parse_cursor(request.arg(1))?;
    let asked = Scan::read(request, 2, true)?;
    let walk = Walk::Keys(ctx.keyspace());
    let after = place(ctx, cursor, walk);
    let (found, last) = keys(ctx, &asked, after)?;
    Ok(page(next(ctx, cursor, walk, last), found))
}

/// The keys behind `after` that match, and the last name walked over if there may be more behind it.
fn keys(ctx: &Context<'_, '_>, asked: &Scan<'_>, after: Option<Bytes>) -> Result<(Vec<Reply>, Option<Bytes>), Error> {
    let view = ctx.view();
    let prefix = asked.pattern.as_ref().map_or(&b""[..], |(prefix, _)| prefix);
    let from = match &after {
        Some(after) if &after[..] >= prefix => Bound::Excluded(&after[..]),
        _ => Bound::Included(prefix),
    };
    let (mut found, mut walked, mut last) = (Vec::new(), 0, None);
    view.walk(from, &mut |name, head| {
        if !name.starts_with(prefix) {
            return ControlFlow::Break(());
        }
        let is_asked = head.is_live(view.now)
            && asked.kind.is_none_or(|kind| args::is(kind, head.kind.name()))
            && asked.wants(name);
        if is_asked {
            found.push(Reply::bulk(Bytes::copy_from_slice(name)));
        }
        walked += 1;
        if walked < asked.count {
            return ControlFlow::Continue(());
        }
        last = Some(Bytes::copy_from_slice(name));
        ControlFlow::Break(())
    })?;
    Ok((found, last))
}

fn hscan(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    let cursor = parse_cursor(request.arg(2))?;
    let Some(hash) = ctx.view().hash(request.arg(1))? else { return Ok(page(0, [])) };
    let asked = Scan::read(request, 3, false)?;
    let walk = Walk::Elements(hash.id());
    let after = place(ctx, cursor, walk);
    let (entries, more) = ctx.view().hash_page(&hash, after.as_deref(), asked.count)?;
    let last = if more { entries.last().map(|(field, _)| field.clone()) } else { None };
    let next = next(ctx, cursor, walk, last);
    let found = entries.into_iter().filter(|(field, _)| asked.wants(field));
    Ok(page(next, found.flat_map(|(field, value)| [Reply::Bulk(field), Reply::Bulk(value)])))
}

fn zscan(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    let cursor = parse_cursor(request.arg(2))?;
    let Some(set) = ctx.view().sorted_set(request.arg(1))? else { return Ok(page(0, [])) };
    let asked = Scan::read(request, 3, false)?;
    let walk = Walk::Elements(set.id());
    let after = place(ctx, cursor, walk);
    let (scored, more) = ctx.view().zpage(&set, after.as_deref(), asked.count)?;
    let last = if more { scored.last().map(|(member, _)| member.clone()) } else { None };
    let next = next(ctx, cursor, walk, last);
    let found = scored.into_iter().filter(|(member, _)| asked.wants(member));
    // A string in both protocols, as in Redis.
    Ok(page(next, found.flat_map(|(member, score)| [Reply::Bulk(member), Reply::bulk(format_double(score))])))
}

fn sscan(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    let cursor = parse_cursor(request.arg(2))?;
    let view = ctx.view();
    let Some(set) = view.set(request.arg(1))? else { return Ok(page(0, [])) };
    let asked = Scan::read(request, 3, false)?;
    let (members, next) = view.set_page(&set, cursor, asked.count)?;
    Ok(page(next, members.into_iter().filter(|member| asked.wants(member)).map(Reply::Bulk)))
}
