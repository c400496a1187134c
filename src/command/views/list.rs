//! Queues as lists: the tail is the job that is claimed next, as with LPUSH and BRPOPLPUSH.

use std::ops::ControlFlow;

use agq_resp::{Reply, Request};
use bytes::Bytes;

use crate::command::lists::lpos_search;
use crate::command::views::name::Name;
use crate::command::views::read;
use crate::command::{Halt, Outcome, ReadContext, args};
use crate::data::Error;
use crate::jobs::browse::Lane;

/// LLEN, LRANGE, LINDEX and LPOS.
pub(super) fn read(ctx: &ReadContext<'_>, name: &Name, command: &[u8], request: &Request) -> Outcome {
    let Some(lane) = lane(name) else { return Err(Error::WrongType.into()) };
    let length = read::length(ctx, name)?;
    match command {
        b"LLEN" => Ok(Reply::int(length.cast_signed())),
        b"LINDEX" => {
            let index = args::integer(request.arg(2))?;
            Ok(elements(ctx, lane, length, index, index)?.pop().map_or(Reply::Null, Reply::bulk))
        }
        b"LRANGE" => {
            let (start, stop) = (args::integer(request.arg(2))?, args::integer(request.arg(3))?);
            Ok(Reply::array(elements(ctx, lane, length, start, stop)?.into_iter().map(Reply::bulk)))
        }
        _ => positions(ctx, lane, length, request),
    }
}

fn lane(name: &Name) -> Option<Lane<'_>> {
    match name {
        Name::Queue(queue) => Some(Lane::Pending(queue)),
        Name::Processing => Some(Lane::Running),
        _ => None,
    }
}

/// The places of Redis's inclusive, signed range, counted from the head: the first, and how many.
fn range(length: u64, start: i64, stop: i64) -> (u64, u64) {
    let place = |index: i64| {
        if index >= 0 { Some(index.cast_unsigned()) } else { length.checked_sub(index.unsigned_abs()) }
    };
    let start = place(start).unwrap_or(0);
    let end = place(stop).map_or(0, |stop| stop.saturating_add(1).min(length));
    (start, end.saturating_sub(start))
}

/// How many rows LRANGE, LINDEX and ZRANGE by index walk over; `None` where the arguments do not tell.
pub(super) fn walks(request: &Request, length: u64) -> Option<u64> {
    if request.arg(0).eq_ignore_ascii_case(b"LPOS") || request.len() > 4 {
        return None;
    }
    let index = |place: usize| request.get(place).and_then(|text| args::integer(text).ok());
    let first = index(2)?;
    let (start, count) = range(length, first, if request.len() > 3 { index(3)? } else { first });
    let after = length.saturating_sub(start.saturating_add(count));
    Some(count + start.min(after))
}

/// The ids at the places of a range, walked to from the nearer end. A place beyond either end is left out.
fn elements(ctx: &ReadContext<'_>, lane: Lane<'_>, length: u64, start: i64, stop: i64) -> Result<Vec<Bytes>, Halt> {
    let (start, count) = range(length, start, stop);
    let mut found = Vec::new();
    if count == 0 {
        return Ok(found);
    }
    let after = length - start - count;
    // The head of the list is the end of the lane.
    let from_head = start <= after;
    let mut skip = start.min(after);
    ctx.jobs().walk(lane, from_head, &mut |_, id| {
        if skip > 0 {
            skip -= 1;
            return ControlFlow::Continue(());
        }
        found.push(Bytes::copy_from_slice(id));
        if found.len() as u64 == count { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    if !from_head {
        found.reverse();
    }
    Ok(found)
}

fn positions(ctx: &ReadContext<'_>, lane: Lane<'_>, length: u64, request: &Request) -> Outcome {
    let (search, as_array) = lpos_search(request)?;
    let (mut place, mut skip, mut found) = (0, search.skip, Vec::new());
    ctx.jobs().walk(lane, !search.backwards, &mut |_, id| {
        if place >= search.compare || found.len() as u64 >= search.matches {
            return ControlFlow::Break(());
        }
        if id == search.value {
            if skip > 0 {
                skip -= 1;
            } else {
                let from_head = if search.backwards { length - 1 - place } else { place };
                found.push(Reply::int(from_head.cast_signed()));
            }
        }
        place += 1;
        ControlFlow::Continue(())
    })?;
    Ok(if as_array { Reply::array(found) } else { found.into_iter().next().unwrap_or(Reply::Null) })
}
