//! Commands of those who look after jobs: run again, run now, remove; the feed of events and the logs.

use agq_resp::{Reply, Request};
use bytes::Bytes;

use crate::access::Role;
use crate::command::grants;
use crate::command::jobs::{CONDITIONS, condition};
use crate::command::work::{MAX_BLOCK_MS, bounded, unknown_option};
use crate::command::{Command, Context, Flags, Group, Halt, Outcome, Run, Wait, args};
use crate::data::Touch;
use crate::jobs::{Error, Filter, LogCursor, Stream, show, show_feed};

const WRITE: Flags = Flags::WRITE.and(Flags::AGQ);
const WAIT: Flags = WRITE.and(Flags::BLOCKING);

/// The most events of one reading, and how many it brings unless told.
const MAX_EVENTS: u64 = 10_000;
const EVENTS: u64 = 100;

/// The rows of this file.
pub(super) const COMMANDS: &[Command] = &[
    job("JOB.RETRY", -2, WRITE.and(Flags::DENYOOM), Run::Write(retry)).doc(
        "1.0.0",
        "<job-id | WHERE [STATUS <failed | cancelled>] [QUEUE queue] [ACTION id] [PLAN id] [KIND kind] [KEY key] [LABEL \
         label] [SINCE time] [UNTIL time] [DRY-RUN]>",
        "Runs a job again that has failed or was cancelled, its attempts and losses counted anew, or all that meet \
         every condition: those that have failed, unless STATUS says otherwise. DRY-RUN only says which.",
    ),
    job("JOB.PROMOTE", 2, WRITE, Run::Write(promote)).doc("1.0.0", "job-id", "Lets a scheduled job run now."),
    job("JOB.DELETE", 2, WRITE, Run::Write(delete)).doc(
        "1.0.0",
        "job-id",
        "Removes a job that has ended, with all that it left.",
    ),
    job("JOB.LOG", -2, WAIT, Run::Write(log)).doc(
        "1.0.0",
        "job-id [FROM place] [FOLLOW milliseconds]",
        "What a job wrote from a place on: the place to go on from, the job's status, and pieces of stream, task, offset \
         and bytes. FOLLOW waits for more, so long at most, unless the job has ended.",
    ),
    job("EVENTS.READ", -3, WAIT, Run::Write(events)).doc(
        "1.0.0",
        "FROM seq [COUNT count] [BLOCK milliseconds]",
        "Transitions of jobs and actions as JSON, from a number on: the number to go on from, and the events. FROM $ answers the next \
         number and no events.",
    ),
];

const fn job(name: &'static str, arity: i32, flags: Flags, run: Run) -> Command {
    Command::new(name, arity, Group::Job, flags, run)
}

fn retry(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    if request.len() == 2 {
        ctx.jobs().retry(request.arg(1))?;
        return Ok(Reply::ok());
    }
    if !args::is(request.arg(1), "WHERE") {
        return Err(Error::refused("JOB.RETRY takes one job's id, or WHERE and conditions").into());
    }
    let (filter, dry_run) = retry_where(request)?;
    Ok(Reply::bulk(match dry_run {
        true => show::preview_json(&ctx.jobs().view().preview_retry(&filter)?),
        false => show::progress_json(&ctx.jobs().retry_all(&filter)?),
    }))
}

/// The conditions of JOB.RETRY WHERE, and whether it only says what it would do.
pub(super) fn retry_where(request: &Request) -> Result<(Filter, bool), Halt> {
    let mut options = args::Options::new(request, 2);
    let (mut filter, mut dry_run) = (Filter::default(), false);
    while let Some(word) = options.word() {
        dry_run |= args::is(word, "DRY-RUN");
        if !args::is(word, "DRY-RUN") && !condition(&mut filter, word, options.value()?)? {
            return Err(unknown_option(word, &format!("{CONDITIONS} and DRY-RUN")));
        }
    }
    Ok((filter, dry_run))
}

fn promote(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    ctx.jobs().promote(request.arg(1))?;
    Ok(Reply::ok())
}

fn delete(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    ctx.jobs().delete(request.arg(1))?;
    Ok(Reply::ok())
}

fn log(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    let mut options = args::Options::new(request, 2);
    let (mut from, mut follow_ms) = (LogCursor::default(), None);
    while let Some(word) = options.word() {
        match word.to_ascii_uppercase().as_slice() {
            b"FROM" => from = LogCursor::parse(options.value()?)?,
            b"FOLLOW" => follow_ms = Some(bounded("FOLLOW", options.value()?, 0..=MAX_BLOCK_MS)?),
            _ => return Err(unknown_option(word, "FROM and FOLLOW")),
        }
    }
    let jobs = ctx.jobs();
    let view = jobs.view();
    let job = view.shown_job(request.arg(1))?;
    let log = view.log(&job, from)?;
    let answer = |pieces: Vec<Reply>| {
        Reply::array([Reply::bulk(log.next.to_string()), Reply::bulk(job.status.name()), Reply::array(pieces)])
    };
    if let Some(ms) = follow_ms.filter(|_| log.pieces.is_empty() && !job.status.is_terminal()) {
        return Err(Halt::Block(Wait {
            on: vec![Touch::Job(Bytes::copy_from_slice(job.id.as_bytes()))],
            deadline: (ms > 0).then(|| ctx.now.plus(ms)),
            timeout_reply: answer(Vec::new()),
            drained: false,
            yields: false,
        }));
    }
    let number = |number: u64| Reply::int(i64::try_from(number).unwrap_or(i64::MAX));
    let pieces = log.pieces.iter().map(|piece| {
        let stream = if piece.stream == Stream::Stdout { "stdout" } else { "stderr" };
        let (task, offset) = (number(piece.task.into()), number(piece.offset));
        Reply::array([Reply::bulk(stream), task, offset, Reply::bulk(piece.bytes.clone())])
    });
    Ok(answer(pieces.collect()))
}

fn events(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    let mut options = args::Options::new(request, 1);
    let (mut from, mut count, mut block_ms) = (None, EVENTS, None);
    while let Some(word) = options.word() {
        match word.to_ascii_uppercase().as_slice() {
            b"FROM" => from = Some(options.value()?),
            b"COUNT" => count = bounded("COUNT", options.value()?, 1..=MAX_EVENTS)?,
            b"BLOCK" => block_ms = Some(bounded("BLOCK", options.value()?, 0..=MAX_BLOCK_MS)?),
            _ => return Err(unknown_option(word, "FROM, COUNT and BLOCK")),
        }
    }
    let answer = |next: u64, events: Vec<Reply>| {
        Reply::array([Reply::int(i64::try_from(next).unwrap_or(i64::MAX)), Reply::array(events)])
    };
    let jobs = ctx.jobs();
    let view = jobs.view();
    let from = match from {
        None => {
            return Err(Error::refused("EVENTS.READ must say FROM which number: 0, or what it answered before").into());
        }
        Some(b"$") if block_ms.is_some() => {
            return Err(
                Error::refused("FROM $ answers at once: ask it without BLOCK, and go on from its answer").into()
            );
        }
        Some(b"$") => return Ok(answer(view.next_event()?, Vec::new())),
        Some(text) => bounded("FROM", text, 0..=u64::MAX)?,
    };
    let events = view.events(from, usize::try_from(count).unwrap_or(usize::MAX))?;
    let access = ctx.session.access.as_deref();
    let shown = events.iter().filter(|(_, event)| grants::shows(access, &[Role::Read], &event.queue));
    let next = events.last().map_or(from, |(number, _)| number + 1);
    match block_ms {
        Some(ms) if events.is_empty() => Err(Halt::Block(Wait {
            on: vec![Touch::Events],
            deadline: (ms > 0).then(|| ctx.now.plus(ms)),
            timeout_reply: answer(next, Vec::new()),
            drained: false,
            yields: false,
        })),
        _ => {
            Ok(answer(next, shown.map(|(number, event)| Reply::bulk(show_feed::event_json(*number, event))).collect()))
        }
    }
}
