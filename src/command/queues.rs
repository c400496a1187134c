//! Commands on queues.

use std::ops::ControlFlow;

use agq_resp::{Reply, Request};
use bytes::Bytes;

use crate::access::Role;
use crate::command::work::{bounded, unknown_option};
use crate::command::{Command, CommandError, Context, Flags, Group, Halt, Outcome, ReadContext, Run, args};
use crate::jobs::browse::Lane;
use crate::jobs::show::{self, Detail};
use crate::jobs::{Counts, Error, Id, Limits, Rate, Status, queue_name};

const READ: Flags = Flags::READONLY.and(Flags::AGQ);
const WRITE: Flags = Flags::WRITE.and(Flags::AGQ);

/// The most jobs that one look shows.
const MAX_PEEK: u64 = 1_000;
/// The highest bound of a queue, and the longest time of a rate: a day.
const MAX_BOUND: u64 = 1_000_000_000;
const MAX_PER_MS: u64 = 86_400_000;

/// The rows of this file.
pub(super) const COMMANDS: &[Command] = &[
    Command::new("QUEUE.STATS", -1, Group::Queue, READ, Run::Read(stats)).doc(
        "1.0.0",
        "[queue]",
        "How many jobs of all queues, or of one, have which status: names and numbers in turn.",
    ),
    Command::new("QUEUE.LIST", 1, Group::Queue, READ, Run::Read(list)).doc(
        "1.0.0",
        "",
        "Every queue as JSON, with how many of its jobs have which status.",
    ),
    Command::new("QUEUE.PEEK", -2, Group::Queue, READ, Run::Read(peek)).doc(
        "1.0.0",
        "queue [count]",
        "The first pending jobs of a queue as JSON, 10 unless told: by priority, those first that every worker can run.",
    ),
    Command::new("QUEUE.PAUSE", 2, Group::Queue, WRITE, Run::Write(pause)).doc(
        "1.0.0",
        "queue",
        "Stops claims from a queue. What runs goes on, and jobs can be submitted.",
    ),
    Command::new("QUEUE.RESUME", 2, Group::Queue, WRITE, Run::Write(resume)).doc(
        "1.0.0",
        "queue",
        "Lets claims from a queue go on.",
    ),
    Command::new("QUEUE.PURGE", 2, Group::Queue, WRITE, Run::Write(purge)).doc(
        "1.0.0",
        "queue",
        "Cancels all jobs of a queue that have not started. Answers how many at once, and whether that was all; none of \
         the others starts meanwhile.",
    ),
    Command::new("QUEUE.DELETE", 2, Group::Queue, WRITE, Run::Write(delete)).doc(
        "1.0.0",
        "queue",
        "Removes a queue, its bounds and its jobs, which must have ended. Answers how many at once, and whether that was \
         all.",
    ),
    Command::new("QUEUE.LIMIT", -2, Group::Queue, WRITE, Run::Write(limit)).doc(
        "1.0.0",
        "queue [CONCURRENCY jobs] [KEY-CONCURRENCY jobs] [RATE jobs PER milliseconds [BURST jobs]]",
        "Bounds how many jobs of a queue run at once, of all and of each key, and how many start in a time; 0 removes a \
         bound. Answers the bounds in force.",
    ),
];

/// The order in which numbers are shown: what is going on first.
const SHOWN: [Status; 7] = [
    Status::Pending,
    Status::Scheduled,
    Status::Running,
    Status::Waiting,
    Status::Completed,
    Status::Failed,
    Status::Cancelled,
];

fn stats(ctx: &ReadContext<'_>, request: &Request) -> Outcome {
    let view = ctx.jobs();
    let counts = match request.len() {
        1 => view.totals()?,
        2 => view.queue(Id::parse("queue", request.arg(1))?.as_bytes())?.unwrap_or_default().counts,
        _ => return Err(CommandError::arity("queue.stats").into()),
    };
    let number = |count: u64| Reply::int(i64::try_from(count).unwrap_or(i64::MAX));
    let pairs = SHOWN.map(|status| [Reply::bulk(format!("{}_jobs", status.name())), number(counts.of(status))]);
    Ok(Reply::array(pairs.into_iter().flatten()))
}

fn list(ctx: &ReadContext<'_>, _: &Request) -> Outcome {
    let queues = ctx.jobs().queues()?;
    let json = |counts: &Counts| SHOWN.map(|status| format!("\"{}\":{}", status.name(), counts.of(status))).join(",");
    let shown = queues.iter().filter(|(name, _)| ctx.shows(&[Role::Read], name));
    let rows = shown.map(|(name, queue)| {
        let limits = match limits_json(&queue.limits).as_str() {
            "{}" => String::new(),
            limits => format!("\"limits\":{limits},"),
        };
        let (paused, counts) = (queue.paused, json(&queue.counts));
        Reply::bulk(format!("{{\"queue\":\"{name}\",\"paused\":{paused},{limits}{counts}}}"))
    });
    Ok(Reply::array(rows))
}

fn peek(ctx: &ReadContext<'_>, request: &Request) -> Outcome {
    let queue = queue_name("queue", request.arg(1))?;
    let count = match request.len() {
        2 => 10,
        3 => bounded("count", request.arg(2), 1..=MAX_PEEK)?,
        _ => return Err(CommandError::arity("queue.peek").into()),
    };
    let (view, mut ids) = (ctx.jobs(), Vec::new());
    view.walk(Lane::Pending(&queue), false, &mut |_, id| {
        ids.push(Bytes::copy_from_slice(id));
        if ids.len() as u64 >= count { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    let job = |id: &Bytes| Ok(Reply::bulk(view.job_json(&view.need_job(id)?, Detail::Row)?));
    Ok(Reply::array(ids.iter().map(job).collect::<Result<Vec<_>, Halt>>()?))
}

fn limits_json(limits: &Limits) -> String {
    let bounds = [("concurrency", limits.concurrency), ("key_concurrency", limits.key_concurrency)];
    let mut parts: Vec<String> =
        bounds.iter().filter_map(|(name, bound)| Some(format!("\"{name}\":{}", (*bound)?))).collect();
    if let Some(Rate { jobs, per_ms, burst }) = limits.rate {
        parts.push(format!("\"rate\":{{\"jobs\":{jobs},\"per_ms\":{per_ms},\"burst\":{burst}}}"));
    }
    format!("{{{}}}", parts.join(","))
}

fn pause(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    ctx.jobs().pause_queue(&queue_name("queue", request.arg(1))?, true)?;
    Ok(Reply::ok())
}

fn resume(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    ctx.jobs().pause_queue(&queue_name("queue", request.arg(1))?, false)?;
    Ok(Reply::ok())
}

fn purge(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    let name = queue_name("queue", request.arg(1))?;
    Ok(Reply::bulk(show::progress_json(&ctx.jobs().purge_queue(&name)?)))
}

fn delete(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    let name = queue_name("queue", request.arg(1))?;
    Ok(Reply::bulk(show::progress_json(&ctx.jobs().delete_queue(&name)?)))
}

fn limit(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    let name = queue_name("queue", request.arg(1))?;
    let known = ctx.jobs().view().queue(name.as_bytes())?.unwrap_or_default().limits;
    let limits = limits(known, request)?;
    if limits != known {
        ctx.jobs().limit_queue(&name, limits)?;
    }
    Ok(Reply::bulk(limits_json(&limits)))
}

/// The limits that stand after a QUEUE.LIMIT.
fn limits(mut limits: Limits, request: &Request) -> Result<Limits, Halt> {
    let bound = |name: &str, text: &[u8]| Ok::<_, Halt>(Some(bounded(name, text, 0..=MAX_BOUND)?).filter(|n| *n > 0));
    let mut options = args::Options::new(request, 2);
    let (mut rate, mut per_ms, mut burst) = (None, None, None);
    while let Some(word) = options.word() {
        match word.to_ascii_uppercase().as_slice() {
            b"CONCURRENCY" => limits.concurrency = bound("CONCURRENCY", options.value()?)?,
            b"KEY-CONCURRENCY" => limits.key_concurrency = bound("KEY-CONCURRENCY", options.value()?)?,
            b"RATE" => rate = Some(bounded("RATE", options.value()?, 0..=MAX_BOUND)?),
            b"PER" => per_ms = Some(bounded("PER", options.value()?, 1..=MAX_PER_MS)?),
            b"BURST" => burst = Some(bounded("BURST", options.value()?, 1..=MAX_BOUND)?),
            _ => return Err(unknown_option(word, "CONCURRENCY, KEY-CONCURRENCY, RATE, PER and BURST")),
        }
    }
    limits.rate = match (rate, per_ms, burst) {
        (None, None, None) => limits.rate,
        (Some(0), None, None) => None,
        (Some(0), ..) => return Err(Error::refused("RATE 0 removes the rate: leave PER and BURST out").into()),
        (Some(jobs), Some(per_ms), burst) => Some(Rate { jobs, per_ms, burst: burst.unwrap_or(jobs) }),
        (Some(jobs), None, _) => {
            return Err(
                Error::refused(format!("RATE {jobs} must be followed by PER and a number of milliseconds")).into()
            );
        }
        (None, ..) => return Err(Error::refused("PER and BURST belong to a RATE: give that too").into()),
    };
    Ok(limits)
}
