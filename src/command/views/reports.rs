//! What workers of the list contract write: their capabilities, the output and the end of a job, and what they take off
//! `queue:processing` or push back.

use agq_resp::{Reply, Request};

use crate::command::views::name::{JobPart, Name, WorkerPart};
use crate::command::views::{Answer, read, refuse};
use crate::command::{CommandError, Context, Halt, Outcome, args};
use crate::jobs::error::shown;
use crate::jobs::report::Failure;
use crate::jobs::workers::Profile;
use crate::jobs::{Error, Id, Job, Status, Stream};

/// The result of a job whose worker says no more than that it is done.
const DONE: &[u8] = b"{\"tasks\":[]}";
/// The error of a job whose worker says no more than that it failed.
const FAILED: &[u8] = b"{\"error\":\"the worker reported 'failed'\"}";

/// SET of a view, or of the place where the view of a job that is gone was.
pub(super) fn set(ctx: &mut Context<'_, '_>, request: &Request) -> Result<Answer, Halt> {
    let key = request.arg(1);
    let Some(name) = Name::resolve(&ctx.view(), key)? else {
        let is_report =
            matches!(Name::parse(key), Some(Name::Job(_, JobPart::Stdout | JobPart::Stderr | JobPart::Status)));
        if !is_report || !ctx.session.jobs.claims || ctx.view().record(key)?.is_some() {
            return Ok(Answer::Ordinary);
        }
        let Some(Name::Job(id, _)) = Name::parse(key) else { return Ok(Answer::Ordinary) };
        return Err(Error::not_found("Job", id.as_bytes()).into());
    };
    let (Name::Job(_, JobPart::Stdout | JobPart::Stderr | JobPart::Status)
    | Name::Worker(_, WorkerPart::Tools | WorkerPart::Tags)) = &name
    else {
        return Err(refuse::command(&name, key, request));
    };
    if request.len() != 3 {
        let key = shown(key);
        return Err(CommandError::new(format!("ERR SET on '{key}' takes a value and no options")).into());
    }
    match &name {
        Name::Job(id, part) => report(ctx, id, *part, request.arg(2))?,
        Name::Worker(id, part) => describe(ctx, id, *part, request.arg(2))?,
        _ => {}
    }
    Ok(Answer::Reply(Reply::ok()))
}

/// Registers or refreshes what a worker can run, or its tags.
fn describe(ctx: &mut Context<'_, '_>, id: &Id, part: WorkerPart, value: &[u8]) -> Result<(), Halt> {
    let text = std::str::from_utf8(value).map_err(|_| {
        Error::refused(format!("a worker's words are text in UTF-8, separated by commas, not '{}'", shown(value)))
    })?;
    let words: Vec<String> =
        text.split(',').map(str::trim).filter(|word| !word.is_empty()).map(str::to_owned).collect();
    let words = Some(words);
    let id = Some(id.clone());
    let profile = match part {
        WorkerPart::Tools => Profile { id, tools: words, ..Profile::default() },
        _ => Profile { id, tags: words, ..Profile::default() },
    };
    profile.check()?;
    ctx.jobs().register(&profile)?;
    ctx.session.jobs.works = true;
    Ok(())
}

fn report(ctx: &mut Context<'_, '_>, id: &Id, part: JobPart, value: &[u8]) -> Result<(), Halt> {
    let job = ctx.jobs().view().need_job(id.as_bytes())?;
    let epoch = own_epoch(ctx, &job)?;
    let stream = match part {
        JobPart::Stdout => Stream::Stdout,
        JobPart::Stderr => Stream::Stderr,
        _ => return end(ctx, &job, epoch, value),
    };
    ctx.jobs().replace_output(id.as_bytes(), epoch, stream, value)?;
    Ok(())
}

fn end(ctx: &mut Context<'_, '_>, job: &Job, epoch: u64, value: &[u8]) -> Result<(), Halt> {
    let id = job.id.as_bytes();
    match value {
        b"completed" => ctx.jobs().complete(id, epoch, DONE)?,
        b"failed" => ctx.jobs().fail(id, epoch, FAILED, Failure::default())?,
        other => {
            let other = shown(other);
            return Err(Error::refused(format!(
                "job:{}:status takes 'completed' or 'failed' of the job's worker, not '{other}'",
                job.id
            ))
            .into());
        }
    };
    // A report that is repeated leaves nothing more to take off the list.
    if matches!(job.status, Status::Running | Status::Pending) {
        ctx.server.reported.add(job.id.clone());
    }
    ctx.session.jobs.let_go(&job.id);
    Ok(())
}

/// The epoch at which this connection may report on a job: its own claim's, or, since such reports bear no epoch, the
/// one that the worker of its id claimed at.
fn own_epoch(ctx: &Context<'_, '_>, job: &Job) -> Result<u64, Halt> {
    let held = ctx.session.jobs.held_epoch(&job.id);
    let worker = ctx.session.jobs.worker(ctx.session.id)?;
    let owns = match held {
        Some(epoch) => epoch == job.epoch,
        None => job.worker.as_ref() == Some(&worker),
    };
    if owns { Ok(job.epoch) } else { Err(Error::Stale { job: job.id.to_string(), epoch: job.epoch }.into()) }
}

/// LREM: a job that was reported may be taken off `queue:processing` once; the report took it off already.
pub(super) fn remove(ctx: &mut Context<'_, '_>, name: &Name, request: &Request) -> Outcome {
    if *name != Name::Processing {
        return Err(refuse::command(name, request.arg(1), request));
    }
    args::integer(request.arg(2))?;
    let Some(id) = Id::sound(request.arg(3)) else { return Ok(Reply::int(0)) };
    let job = ctx.jobs().view().job(id.as_bytes())?;
    if job.is_some_and(|job| job.status == Status::Running) {
        return Err(Error::refused(format!(
            "Job {id} is running: report it with SET job:{id}:status, JOB.COMPLETE or JOB.FAIL, or give it back with \
             JOB.RELEASE"
        ))
        .into());
    }
    Ok(Reply::int(i64::from(ctx.server.reported.take(&id))))
}

/// LPUSH and RPUSH of jobs' ids onto their queue: each is a release.
pub(super) fn push(ctx: &mut Context<'_, '_>, name: &Name, request: &Request) -> Outcome {
    let Name::Queue(queue) = name else { return Err(refuse::command(name, request.arg(1), request)) };
    let mut released = Vec::new();
    for text in request.iter().skip(2) {
        let Some(job) = ctx.jobs().view().job(text)? else {
            let text = shown(text);
            return Err(Error::refused(format!(
                "'{text}' is no job: queue:{queue} takes jobs, made with JOB.SUBMIT or ACTION.SUBMIT"
            ))
            .into());
        };
        if job.queue != *queue {
            return Err(
                Error::refused(format!("Job {} belongs to queue:{}, not queue:{queue}", job.id, job.queue)).into()
            );
        }
        let epoch = own_epoch(ctx, &job)?;
        released.push(ctx.jobs().release(text, epoch, None)?.id);
    }
    for job in &released {
        ctx.session.jobs.let_go(job);
    }
    Ok(Reply::int(read::length(&ctx.reading(), name)?.cast_signed()))
}
