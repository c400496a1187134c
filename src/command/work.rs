//! Commands of those who do the work: claims and reports.

use std::ops::RangeInclusive;

use agq_resp::{Reply, Request};
use bytes::Bytes;

use crate::command::{Command, Context, Flags, Group, Halt, Outcome, Run, Wait, args};
use crate::data::Touch;
use crate::jobs::error::shown;
use crate::jobs::queue_name;
use crate::jobs::report::Failure;
use crate::jobs::{Claim, Error, Id, Job, MAX_DELAY_MS, MAX_LEASE_MS, MIN_LEASE_MS, Stream, Takes, Update};

const WRITE: Flags = Flags::WRITE.and(Flags::AGQ);
const ADD: Flags = WRITE.and(Flags::DENYOOM);

/// The most jobs of one claim, and queues it may name.
const MAX_CLAIM: u64 = 1_000;
const MAX_QUEUES: usize = 256;
/// The longest BLOCK; 0 blocks for ever.
pub(super) const MAX_BLOCK_MS: u64 = 86_400_000;

/// The rows of this file.
pub(super) const COMMANDS: &[Command] = &[
    work("JOB.CLAIM", -4, WRITE.and(Flags::BLOCKING), Run::Write(claim)).doc(
        "1.0.0",
        "worker-id [COUNT count] [LEASE milliseconds] [BLOCK milliseconds] [PLANS] QUEUES queue [queue ...]",
        "Takes jobs off queues, the first queue first, each with a lease and an epoch, and answers them as JSON.",
    ),
    work("JOB.COMPLETE", 4, WRITE, Run::Write(complete)).doc(
        "1.0.0",
        "job-id epoch result-json",
        "Reports that a job is done; the same report again changes nothing.",
    ),
    work("JOB.FAIL", -4, WRITE, Run::Write(fail)).doc(
        "1.0.0",
        "job-id epoch error-json [RETRY-IN milliseconds] [DEAD]",
        "Reports that an attempt failed; the job runs again after its backoff, unless attempts are used up or DEAD.",
    ),
    work("JOB.APPEND", -5, ADD, Run::Write(append)).doc(
        "1.0.0",
        "job-id epoch <stdout | stderr> [TASK number] bytes",
        "Stores some of what a running job wrote.",
    ),
    work("JOB.PROGRESS", 4, ADD, Run::Write(progress)).doc(
        "1.0.0",
        "job-id epoch json",
        "Stores what a worker says of a running job's progress, in place of what it said before.",
    ),
    work("JOB.UPDATE", 3, WRITE, Run::Write(update)).doc(
        "1.0.0",
        "job-id json",
        "Output, progress and the end of an attempt in one report, of which all counts or nothing.",
    ),
    work("JOB.RELEASE", -3, WRITE, Run::Write(release)).doc(
        "1.0.0",
        "job-id epoch [DELAY milliseconds]",
        "Gives a job back, to its old place or to be due later; no failure is counted.",
    ),
    work("JOB.EXTEND", 4, WRITE, Run::Write(extend)).doc(
        "1.0.0",
        "job-id epoch milliseconds",
        "Lengthens a lease to at least so long from now.",
    ),
];

const fn work(name: &'static str, arity: i32, flags: Flags, run: Run) -> Command {
    Command::new(name, arity, Group::Job, flags, run)
}

/// An integer within a range; `name` names it in the error.
pub(super) fn bounded(name: &str, text: &[u8], range: RangeInclusive<u64>) -> Result<u64, Halt> {
    let value = std::str::from_utf8(text).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    match value.and_then(|text| text.parse().ok()) {
        Some(value) if range.contains(&value) => Ok(value),
        _ => Err(Error::refused(format!(
            "{name} must be an integer from {} to {}, not '{}'",
            range.start(),
            range.end(),
            shown(text)
        ))
        .into()),
    }
}

/// Refuses an option word that a command does not have.
pub(super) fn unknown_option(word: &[u8], known: &str) -> Halt {
    Error::refused(format!("'{}' is not an option of this command: known are {known}", shown(word))).into()
}

fn epoch(request: &Request) -> Result<u64, Halt> {
    bounded("epoch", request.arg(2), 0..=u64::MAX)
}

/// What a report answers: `OK`, or that the worker is to stop.
fn answer(job: &Job) -> Reply {
    if job.cancelling { Reply::bulk("{\"cancel\":true}") } else { Reply::ok() }
}

/// What JOB.CLAIM asks for, and how long it waits.
pub(super) fn claim_options(request: &Request, lease_ms: u64) -> Result<(Claim, Option<u64>), Halt> {
    let mut options = args::Options::new(request, 2);
    let mut claim = Claim { count: 1, lease_ms, takes: Takes::Everything, queues: Vec::new() };
    let mut block_ms = None;
    while let Some(word) = options.word() {
        match word.to_ascii_uppercase().as_slice() {
            b"COUNT" => {
                claim.count = usize::try_from(bounded("COUNT", options.value()?, 1..=MAX_CLAIM)?).unwrap_or(1);
            }
            b"LEASE" => claim.lease_ms = bounded("LEASE", options.value()?, MIN_LEASE_MS..=MAX_LEASE_MS)?,
            b"BLOCK" => block_ms = Some(bounded("BLOCK", options.value()?, 0..=MAX_BLOCK_MS)?),
            b"PLANS" => claim.takes = Takes::Plans,
            b"QUEUES" => {
                while let Some(queue) = options.word() {
                    claim.queues.push(queue_name("QUEUES", queue)?);
                }
            }
            _ => return Err(unknown_option(word, "COUNT, LEASE, BLOCK, PLANS and, as the last, QUEUES")),
        }
    }
    match claim.queues.len() {
        0 => Err(Error::refused("JOB.CLAIM must name at least one queue after QUEUES").into()),
        1..=MAX_QUEUES => Ok((claim, block_ms)),
        count => Err(Error::refused(format!("QUEUES names {count} queues, at most {MAX_QUEUES} are taken")).into()),
    }
}

fn claim(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    let worker = Id::parse("worker-id", request.arg(1))?;
    let (claim, block_ms) = claim_options(request, ctx.server.config.jobs.lease_ms)?;
    // A claim that waited and is tried again is no sign of life.
    let is_heard = ctx.woken_by.is_none();
    let grants_nothing = ctx.server.shutdown.grants_nothing();
    let mut jobs = ctx.jobs();
    if is_heard {
        jobs.hear_worker(&worker)?;
    }
    let claimed = jobs.claim(&worker, &claim)?;
    let view = jobs.view();
    let replies = claimed.iter().map(|job| Ok(Reply::bulk(view.claimed_json(job)?)));
    let replies = replies.collect::<Result<Vec<_>, Halt>>()?;
    let drained = view.are_drained(&claim.queues)? || grants_nothing;
    claimed.iter().for_each(|job| ctx.session.jobs.claimed(job));
    match block_ms {
        Some(ms) if replies.is_empty() => Err(Halt::KeepAndBlock(Wait {
            on: claim.queues.iter().map(|queue| Touch::Queue(Bytes::copy_from_slice(queue.as_bytes()))).collect(),
            deadline: (ms > 0).then(|| ctx.now.plus(ms)),
            timeout_reply: Reply::array([]),
            drained,
            yields: false,
        })),
        _ => Ok(Reply::array(replies)),
    }
}

fn complete(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    let job = ctx.jobs().complete(request.arg(1), epoch(request)?, request.arg(3))?;
    ctx.session.jobs.let_go(&job.id);
    Ok(Reply::ok())
}

fn fail(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    let mut options = args::Options::new(request, 4);
    let mut how = Failure::default();
    while let Some(word) = options.word() {
        match word.to_ascii_uppercase().as_slice() {
            b"RETRY-IN" => how.retry_in_ms = Some(bounded("RETRY-IN", options.value()?, 0..=MAX_DELAY_MS)?),
            b"DEAD" => how.dead = true,
            _ => return Err(unknown_option(word, "RETRY-IN and DEAD")),
        }
    }
    if how.dead && how.retry_in_ms.is_some() {
        return Err(Error::refused("RETRY-IN and DEAD contradict each other: give one of them").into());
    }
    let job = ctx.jobs().fail(request.arg(1), epoch(request)?, request.arg(3), how)?;
    ctx.session.jobs.let_go(&job.id);
    Ok(Reply::ok())
}

fn append(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    let stream = Stream::of(request.arg(3)).ok_or_else(|| {
        Error::refused(format!("the stream must be stdout or stderr, not '{}'", shown(request.arg(3))))
    })?;
    let task = match request.len() {
        5 => 0,
        7 if args::is(request.arg(4), "TASK") => bounded("TASK", request.arg(5), 1..=100)?,
        7 => return Err(unknown_option(request.arg(4), "TASK, before the bytes")),
        count => {
            let count = count - 1;
            return Err(Error::refused(format!(
                "JOB.APPEND takes job-id epoch <stdout | stderr> [TASK number] bytes, not {count} arguments"
            ))
            .into());
        }
    };
    let bytes = request.arg(request.len() - 1);
    let task = u32::try_from(task).unwrap_or(0);
    let job = ctx.jobs().append(request.arg(1), epoch(request)?, stream, task, bytes)?;
    Ok(answer(&job))
}

fn progress(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    let job = ctx.jobs().progress(request.arg(1), epoch(request)?, request.arg(3))?;
    Ok(answer(&job))
}

fn update(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    let update = Update::parse(request.arg(2))?;
    let known = ctx.jobs().view().need_job(request.arg(1))?;
    let epoch = update.epoch.or_else(|| ctx.session.jobs.claimed_epoch(&known.id)).ok_or_else(|| {
        let id = &known.id;
        Error::refused(format!(
            "update.epoch is missing: only the connection that claimed job {id}, and has not reported it, may leave it out"
        ))
    })?;
    let job = ctx.jobs().update(request.arg(1), epoch, &update)?;
    if update.ends() {
        ctx.session.jobs.let_go(&job.id);
        return Ok(Reply::ok());
    }
    Ok(answer(&job))
}

fn release(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    let delay_ms = match request.len() {
        3 => None,
        5 if args::is(request.arg(3), "DELAY") => Some(bounded("DELAY", request.arg(4), 0..=MAX_DELAY_MS)?),
        4 if args::is(request.arg(3), "DELAY") => {
            return Err(Error::refused("DELAY must be followed by a number of milliseconds").into());
        }
        _ => return Err(unknown_option(request.arg(3), "DELAY milliseconds")),
    };
    let job = ctx.jobs().release(request.arg(1), epoch(request)?, delay_ms)?;
    ctx.session.jobs.let_go(&job.id);
    Ok(Reply::ok())
}

fn extend(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    let ms = bounded("milliseconds", request.arg(3), MIN_LEASE_MS..=MAX_LEASE_MS)?;
    let job = ctx.jobs().extend(request.arg(1), epoch(request)?, ms)?;
    Ok(answer(&job))
}
