//! Reading through views: what keys of any type and strings answer; lists and sorted sets stand beside it.

use agq_resp::{Reply, Request};
use bytes::Bytes;

use crate::clock::Millis;
use crate::command::views::name::{JobPart, Name, WorkerPart};
use crate::command::views::{list, refuse, scheduled};
use crate::command::{Halt, Outcome, ReadContext};
use crate::data::{Error, Kind};
use crate::jobs::show::Detail;
use crate::jobs::{Id, Job, Status, Stream, plan_store};

/// Runs a reading command of whose keys at least one is a view.
pub(super) fn read(ctx: &ReadContext<'_>, request: &Request) -> Outcome {
    let command = request.arg(0).to_ascii_uppercase();
    if command == b"EXISTS" || command == b"TOUCH" {
        return exists(ctx, request);
    }
    let Some(name) = Name::resolve(&ctx.view, request.arg(1))? else {
        // Another of its keys is a view, and none of the commands below has several.
        return Err(refuse::multiple(request));
    };
    match command.as_slice() {
        b"GET" => match text(ctx, &name)? {
            Some(text) => Ok(Reply::bulk(text)),
            None if kind(&name) == Kind::String => Ok(Reply::Null),
            None => Err(Error::WrongType.into()),
        },
        b"TYPE" => Ok(if is_there(ctx, &name)? { Reply::simple(kind(&name).name()) } else { Reply::simple("none") }),
        b"TTL" => Ok(Reply::int(lifetime(ctx, &name)?.map_or(-2, |left| left.map_or(-1, |ms| (ms + 500) / 1000)))),
        b"EXPIRETIME" | b"PEXPIRETIME" => {
            let at = |ms: i64| ctx.view.now.0.cast_signed() + ms;
            let told = |ms: i64| if command[0] == b'P' { at(ms) } else { (at(ms) + 500) / 1000 };
            Ok(Reply::int(lifetime(ctx, &name)?.map_or(-2, |left| left.map_or(-1, told))))
        }
        b"PTTL" => Ok(Reply::int(lifetime(ctx, &name)?.map_or(-2, |left| left.unwrap_or(-1)))),
        b"LLEN" | b"LRANGE" | b"LINDEX" | b"LPOS" => list::read(ctx, &name, &command, request),
        b"ZCARD" | b"ZSCORE" | b"ZCOUNT" | b"ZRANGE" | b"ZRANGEBYSCORE" => {
            scheduled::read(ctx, &name, &command, request)
        }
        _ => Err(refuse::command(&name, request.arg(1), request)),
    }
}

/// Tells from counts whether a read walks over so many rows that it should leave the core thread.
pub(super) fn is_heavy(ctx: &ReadContext<'_>, request: &Request) -> Result<bool, Halt> {
    /// More rows than this are walked over elsewhere.
    const HEAVY_ROWS: u64 = 10_000;
    let command = request.arg(0);
    let walks = [&b"LRANGE"[..], b"LINDEX", b"LPOS", b"ZCOUNT", b"ZRANGE", b"ZRANGEBYSCORE"];
    if !walks.iter().any(|name| command.eq_ignore_ascii_case(name)) {
        return Ok(false);
    }
    let Some(name) = Name::resolve(&ctx.view, request.arg(1))? else { return Ok(false) };
    let length = length(ctx, &name)?;
    let near = list::walks(request, length).unwrap_or(length);
    Ok(length.min(near) > HEAVY_ROWS)
}

/// The type that TYPE answers for a view that exists.
pub(super) fn kind(name: &Name) -> Kind {
    match name {
        Name::Queue(_) | Name::Processing => Kind::List,
        Name::Scheduled => Kind::SortedSet,
        Name::Job(..) | Name::Plan(_) | Name::Worker(..) => Kind::String,
    }
}

/// How many jobs a list or sorted set shows.
pub(super) fn length(ctx: &ReadContext<'_>, name: &Name) -> Result<u64, Halt> {
    let jobs = ctx.jobs();
    Ok(match name {
        Name::Queue(queue) => jobs.queue(queue.as_bytes())?.map_or(0, |queue| queue.counts.of(Status::Pending)),
        Name::Processing => jobs.totals()?.of(Status::Running),
        Name::Scheduled => jobs.totals()?.of(Status::Scheduled),
        _ => 0,
    })
}

fn exists(ctx: &ReadContext<'_>, request: &Request) -> Outcome {
    let mut found = 0;
    for key in request.iter().skip(1) {
        found += i64::from(match Name::resolve(&ctx.view, key)? {
            Some(name) => is_there(ctx, &name)?,
            None => ctx.view.record(key)?.is_some(),
        });
    }
    Ok(Reply::int(found))
}

/// True when a view shows something now: an empty queue does not exist, nor does what a job has not got.
fn is_there(ctx: &ReadContext<'_>, name: &Name) -> Result<bool, Halt> {
    match name {
        Name::Queue(_) | Name::Processing | Name::Scheduled => Ok(length(ctx, name)? > 0),
        Name::Job(id, JobPart::Stdout | JobPart::Stderr) => Ok(ctx.jobs().output_totals(id, stream(name))?.written > 0),
        Name::Job(_, JobPart::Whole | JobPart::Status) | Name::Plan(_) => Ok(true),
        Name::Job(..) | Name::Worker(..) => Ok(text(ctx, name)?.is_some()),
    }
}

/// Milliseconds until a view ceases to exist by itself; `Some(None)` when it does not, `None` when it is not there.
fn lifetime(ctx: &ReadContext<'_>, name: &Name) -> Result<Option<Option<i64>>, Halt> {
    if !is_there(ctx, name)? {
        return Ok(None);
    }
    let end = match name {
        Name::Worker(id, WorkerPart::Alive) => ctx.jobs().worker(id.as_bytes())?.map(|worker| worker.alive_until()),
        Name::Job(id, _) => ctx.jobs().job(id.as_bytes())?.and_then(|job| job.remove_at),
        _ => None,
    };
    Ok(Some(end.map(|end: Millis| end.since(ctx.view.now).cast_signed())))
}

fn stream(name: &Name) -> Stream {
    if matches!(name, Name::Job(_, JobPart::Stderr)) { Stream::Stderr } else { Stream::Stdout }
}

/// What GET answers: `None` for lists and sorted sets, and for what is not there.
pub(super) fn text(ctx: &ReadContext<'_>, name: &Name) -> Result<Option<Bytes>, Halt> {
    match name {
        Name::Job(id, part) => match ctx.jobs().job(id.as_bytes())? {
            Some(job) => job_text(ctx, &job, *part),
            None => Ok(None),
        },
        Name::Plan(id) => Ok(plan_store::load(ctx.view.rows, id.as_bytes())?.map(|plan| plan.json(id).into())),
        Name::Worker(id, part) => worker_text(ctx, id, *part),
        Name::Queue(_) | Name::Processing | Name::Scheduled => Ok(None),
    }
}

fn job_text(ctx: &ReadContext<'_>, job: &Job, part: JobPart) -> Result<Option<Bytes>, Halt> {
    let jobs = ctx.jobs();
    Ok(match part {
        JobPart::Whole => Some(jobs.job_json(job, Detail::Whole)?.into()),
        JobPart::Metadata => jobs.meta(job)?,
        JobPart::Status => Some(Bytes::from_static(job.status.name().as_bytes())),
        JobPart::Worker => job.worker.as_ref().map(|worker| Bytes::copy_from_slice(worker.as_bytes())),
        JobPart::Stdout | JobPart::Stderr => {
            let stream = if part == JobPart::Stdout { Stream::Stdout } else { Stream::Stderr };
            let output = jobs.output(&job.id, stream)?;
            (!output.is_empty()).then(|| output.into())
        }
    })
}

fn worker_text(ctx: &ReadContext<'_>, id: &Id, part: WorkerPart) -> Result<Option<Bytes>, Halt> {
    let jobs = ctx.jobs();
    let Some(worker) = jobs.worker(id.as_bytes())? else { return Ok(None) };
    let listed = |words: &[String]| (!words.is_empty()).then(|| words.join(",").into());
    Ok(match part {
        WorkerPart::Metadata => Some(jobs.worker_json(id, &worker)?.into()),
        WorkerPart::Tools => listed(&worker.tools),
        WorkerPart::Tags => listed(&worker.tags),
        WorkerPart::Alive if worker.alive_until() > ctx.view.now => Some(worker.last_seen.0.to_string().into()),
        WorkerPart::Alive => None,
    })
}
