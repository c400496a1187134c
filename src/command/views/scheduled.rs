//! `queue:scheduled` as a sorted set: job ids by due time in Unix milliseconds.

use std::ops::{Bound, ControlFlow};

use agq_resp::{Reply, Request};
use bytes::Bytes;

use crate::clock::Millis;
use crate::command::views::name::Name;
use crate::command::views::read;
use crate::command::zset_ranges::{Range, Span, parse_zrange, parse_zrangebyscore, places, score_range};
use crate::command::zsets::scored;
use crate::command::{CommandError, Halt, Outcome, ReadContext};
use crate::data::Error;
use crate::data::zsets::ScoreRange;
use crate::jobs::Status;
use crate::jobs::browse::Lane;

/// The lane of all scheduled jobs.
const ALL: Lane<'static> = Lane::Scheduled(Millis(0), Millis::MAX);

/// ZCARD, ZSCORE, ZCOUNT, ZRANGE and ZRANGEBYSCORE.
pub(super) fn read(ctx: &ReadContext<'_>, name: &Name, command: &[u8], request: &Request) -> Outcome {
    if *name != Name::Scheduled {
        return Err(Error::WrongType.into());
    }
    match command {
        b"ZCARD" => Ok(Reply::int(read::length(ctx, name)?.cast_signed())),
        b"ZSCORE" => {
            let job = ctx.jobs().job(request.arg(2))?.filter(|job| job.status == Status::Scheduled);
            Ok(job.and_then(|job| job.run_at).map_or(Reply::Null, |at| Reply::Double(at.0 as f64)))
        }
        b"ZCOUNT" => {
            let mut count = 0;
            if let Some(lane) = lane(score_range(request.arg(2), request.arg(3))?) {
                ctx.jobs().walk(lane, false, &mut |_, _| {
                    count += 1;
                    ControlFlow::Continue(())
                })?;
            }
            Ok(Reply::int(count))
        }
        b"ZRANGE" => range(ctx, name, &parse_zrange(request)?),
        _ => range(ctx, name, &parse_zrangebyscore(request)?),
    }
}

/// The jobs whose due times, which are whole milliseconds, lie within a range of scores; `None` when none can.
fn lane(range: ScoreRange) -> Option<Lane<'static>> {
    let from = match range.min {
        Bound::Included(score) => score.ceil(),
        Bound::Excluded(score) => score.floor() + 1.0,
        Bound::Unbounded => 0.0,
    };
    let to = match range.max {
        Bound::Included(score) => score.floor(),
        Bound::Excluded(score) => score.ceil() - 1.0,
        Bound::Unbounded => f64::INFINITY,
    };
    // The conversion saturates at both ends.
    (to >= 0.0 && from <= to).then_some(Lane::Scheduled(Millis(from as u64), Millis(to as u64)))
}

fn range(ctx: &ReadContext<'_>, name: &Name, range: &Range) -> Outcome {
    let (lane, skip, take) = match &range.span {
        Span::Places(start, stop) => match places(*start, *stop, read::length(ctx, name)?) {
            Some((start, stop)) => (ALL, start, stop - start + 1),
            None => return Ok(Reply::array([])),
        },
        Span::Scores(scores) => match lane(*scores) {
            Some(lane) => (lane, range.window.skip, range.window.take),
            None => return Ok(Reply::array([])),
        },
        Span::Members(_) => {
            let text = "ERR queue:scheduled is ordered by due time, not by member: use ZRANGE by index or with BYSCORE";
            return Err(CommandError::new(text).into());
        }
    };
    let found = walk(ctx, lane, range.window.reverse, skip, take)?;
    if range.with_scores {
        return Ok(scored(found, ctx.protocol));
    }
    Ok(Reply::array(found.into_iter().map(|(id, _)| Reply::bulk(id))))
}

fn walk(
    ctx: &ReadContext<'_>,
    lane: Lane<'_>,
    reverse: bool,
    mut skip: u64,
    take: u64,
) -> Result<Vec<(Bytes, f64)>, Halt> {
    let mut found = Vec::new();
    if take == 0 {
        return Ok(found);
    }
    ctx.jobs().walk(lane, reverse, &mut |at, id| {
        if skip > 0 {
            skip -= 1;
            return ControlFlow::Continue(());
        }
        found.push((Bytes::copy_from_slice(id), at.0 as f64));
        if found.len() as u64 >= take { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    Ok(found)
}
