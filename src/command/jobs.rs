//! Commands that submit, show and control jobs. The commands of their workers stand in `work`.

use agq_resp::{Reply, Request};
use bytes::Bytes;

use crate::access::Role;
use crate::command::work::{bounded, unknown_option};
use crate::command::{Command, Context, Flags, Group, Halt, Outcome, ReadContext, Run, Wait, args};
use crate::data::Touch;
use crate::jobs::show::{self, Detail};
use crate::jobs::{Filter, Id, LONGEST_CURSOR, Shows, Status, Submit, time};

const WRITE: Flags = Flags::WRITE.and(Flags::AGQ);
const ADD: Flags = WRITE.and(Flags::DENYOOM);
const READ: Flags = Flags::READONLY.and(Flags::AGQ);

/// Jobs that a list answers with unless told otherwise, and at most.
const LIST_LIMIT: u64 = 1_000;
const MAX_LIST_LIMIT: u64 = 100_000;
/// A list that may look at more jobs than these is read beside the core thread.
const HEAVY_JOBS: u64 = 1_000;
/// The longest wait; 0 waits for ever.
const MAX_WAIT_MS: u64 = 86_400_000;

/// The rows of this file.
pub(super) const COMMANDS: &[Command] = &[
    job("JOB.SUBMIT", 2, ADD, Run::Write(submit)).doc(
        "1.0.0",
        "json",
        "Submits a job, a run of a plan or of a kind of work, and answers its id; the same job_id again is the same job.",
    ),
    job("JOB.MSUBMIT", -2, ADD, Run::Write(msubmit)).doc(
        "1.0.0",
        "json [json ...]",
        "Submits several jobs, all of them or none, and answers their ids.",
    ),
    job("JOB.GET", 2, READ, Run::Read(get)).doc("1.0.0", "job-id", "A job as JSON."),
    job("JOB.STATUS", 2, READ, Run::Read(get)).doc("1.0.0", "job-id", "The same as JOB.GET."),
    job("JOB.LIST", -1, READ, Run::Read(list)).heavy(has_many_jobs).doc(
        "1.0.0",
        "[ACTION id] [STATUS status] [QUEUE queue] [PLAN id] [KIND kind] [KEY key] [LABEL label] [SINCE time] [UNTIL time] \
         [CURSOR cursor] [LIMIT count]",
        "The jobs that meet every condition, in pages: the next cursor, 0 at the end, and jobs as JSON.",
    ),
    job("JOBS.LIST", -1, READ, Run::Read(newest)).heavy(newest_is_heavy).doc(
        "1.0.0",
        "[LIMIT count] [OFFSET count]",
        "All jobs as JSON, newest first.",
    ),
    job("JOB.RESULT", 2, READ, Run::Read(result)).doc(
        "1.0.0",
        "job-id",
        "What a job gave so far: result or error, and its output as text.",
    ),
    job("JOB.WAIT", 3, WRITE.and(Flags::BLOCKING), Run::Write(wait)).doc(
        "1.0.0",
        "job-id milliseconds",
        "Waits until a job has ended and answers it as JSON; null when it has not in time. 0 waits for ever.",
    ),
    job("JOB.CANCEL", 2, WRITE, Run::Write(cancel)).doc(
        "1.0.0",
        "job-id",
        "Cancels a job at once, or tells the worker that runs it to stop.",
    ),
];

const fn job(name: &'static str, arity: i32, flags: Flags, run: Run) -> Command {
    Command::new(name, arity, Group::Job, flags, run)
}

fn submit(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    let submit = Submit::parse(request.arg(1))?;
    Ok(Reply::bulk(ctx.jobs().submit(&submit)?.id.to_string()))
}

fn msubmit(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    let mut ids = Vec::with_capacity(request.len());
    for (at, json) in request.iter().skip(1).enumerate() {
        let submitted = Submit::parse(json).and_then(|submit| ctx.jobs().submit(&submit));
        // One that is refused takes those before it back.
        let submitted = submitted.map_err(|error| error.at(&format!("jobs[{at}]")))?;
        ids.push(Reply::bulk(submitted.id.to_string()));
    }
    Ok(Reply::array(ids))
}

fn get(ctx: &ReadContext<'_>, request: &Request) -> Outcome {
    let view = ctx.jobs();
    let job = view.shown_job(request.arg(1))?;
    Ok(Reply::bulk(view.job_json(&job, Detail::Whole)?))
}

fn result(ctx: &ReadContext<'_>, request: &Request) -> Outcome {
    let view = ctx.jobs();
    let job = view.shown_job(request.arg(1))?;
    Ok(Reply::bulk(view.result_json(&job)?))
}

fn list(ctx: &ReadContext<'_>, request: &Request) -> Outcome {
    let mut options = args::Options::new(request, 1);
    let (mut filter, mut cursor, mut limit) = (Filter::default(), &b"0"[..], LIST_LIMIT);
    while let Some(word) = options.word() {
        let value = options.value()?;
        match word.to_ascii_uppercase().as_slice() {
            b"CURSOR" => cursor = value,
            b"LIMIT" => limit = bounded("LIMIT", value, 1..=MAX_LIST_LIMIT)?,
            _ if condition(&mut filter, word, value)? => {}
            _ => {
                let known = format!("{CONDITIONS}, CURSOR and LIMIT");
                return Err(unknown_option(word, &known));
            }
        }
    }
    let view = ctx.jobs();
    let cursor = ctx.seal.open("JOB.LIST", cursor)?;
    let shows = |queue: &Id| ctx.shows(&[Role::Read], queue);
    let shows: Shows<'_> = if ctx.shows_all(&[Role::Read]) { None } else { Some(&shows) };
    let page = view.list(&filter, &cursor, usize::try_from(limit).unwrap_or(usize::MAX), shows)?;
    let jobs = page.jobs.iter().map(|job| Ok(Reply::bulk(view.job_json(job, Detail::Row)?)));
    let jobs = jobs.collect::<Result<Vec<_>, Halt>>()?;
    let next = match page.next {
        None => "0".to_owned(),
        Some(next) if page.next_is_hidden => ctx.seal.close("JOB.LIST", &next, hidden_width(&filter), ctx.seed),
        Some(next) => next,
    };
    Ok(Reply::array([Reply::bulk(next), Reply::array(jobs)]))
}

/// How long a cursor's place may be beyond what the filter itself tells: the rows of pending jobs of several queues name
/// these.
fn hidden_width(filter: &Filter) -> usize {
    if filter.status == Some(Status::Pending) && filter.queue.is_none() { LONGEST_CURSOR } else { 0 }
}

/// The words of conditions, for errors.
pub(super) const CONDITIONS: &str = "ACTION, STATUS, QUEUE, PLAN, KIND, KEY, LABEL, SINCE, UNTIL";

/// Takes a condition into a filter; false when the word is none.
pub(super) fn condition(filter: &mut Filter, word: &[u8], value: &[u8]) -> Result<bool, Halt> {
    let text = |value: &[u8]| Some(String::from_utf8_lossy(value).into_owned());
    match word.to_ascii_uppercase().as_slice() {
        b"ACTION" => filter.action = Some(Id::parse("ACTION", value)?),
        b"QUEUE" => filter.queue = Some(Id::parse("QUEUE", value)?),
        b"PLAN" => filter.plan = Some(Id::parse("PLAN", value)?),
        b"KIND" => filter.kind = text(value),
        b"KEY" => filter.key = text(value),
        b"LABEL" => filter.label = text(value),
        b"STATUS" => filter.status = Some(status(value)?),
        b"SINCE" => filter.since = Some(time::parse("SINCE", value)?),
        b"UNTIL" => filter.until = Some(time::parse("UNTIL", value)?),
        _ => return Ok(false),
    }
    Ok(true)
}

fn has_many_jobs(ctx: &ReadContext<'_>, _: &Request) -> Result<bool, Halt> {
    Ok(ctx.jobs().totals()?.total() > HEAVY_JOBS)
}

fn status(text: &[u8]) -> Result<Status, Halt> {
    Status::of(text).ok_or_else(|| {
        let known = Status::ALL.map(Status::name).join(", ");
        let found = crate::jobs::error::shown(text);
        crate::jobs::Error::refused(format!("STATUS must be one of {known}, not '{found}'")).into()
    })
}

/// OFFSET and LIMIT of JOBS.LIST.
fn newest_options(request: &Request) -> Result<(u64, u64), Halt> {
    let mut options = args::Options::new(request, 1);
    let (mut limit, mut offset) = (LIST_LIMIT, 0);
    while let Some(word) = options.word() {
        match word.to_ascii_uppercase().as_slice() {
            b"LIMIT" => limit = bounded("LIMIT", options.value()?, 0..=MAX_LIST_LIMIT)?,
            b"OFFSET" => offset = bounded("OFFSET", options.value()?, 0..=u64::from(u32::MAX))?,
            _ => return Err(unknown_option(word, "LIMIT or OFFSET")),
        }
    }
    Ok((offset, limit))
}

fn newest_is_heavy(ctx: &ReadContext<'_>, request: &Request) -> Result<bool, Halt> {
    let (offset, limit) = newest_options(request)?;
    Ok(ctx.jobs().totals()?.total().min(offset.saturating_add(limit)) > HEAVY_JOBS)
}

fn newest(ctx: &ReadContext<'_>, request: &Request) -> Outcome {
    let (offset, limit) = newest_options(request)?;
    let view = ctx.jobs();
    let size = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
    let jobs = view.newest(size(offset), size(limit))?;
    let jobs = jobs.iter().map(|job| Ok(Reply::bulk(view.job_json(job, Detail::Row)?)));
    Ok(Reply::array(jobs.collect::<Result<Vec<_>, Halt>>()?))
}

fn wait(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    let ms = bounded("milliseconds", request.arg(2), 0..=MAX_WAIT_MS)?;
    let jobs = ctx.jobs();
    let view = jobs.view();
    let job = view.shown_job(request.arg(1))?;
    if job.status.is_terminal() {
        return Ok(Reply::bulk(view.job_json(&job, Detail::Whole)?));
    }
    Err(Halt::Block(Wait {
        on: vec![Touch::Job(Bytes::copy_from_slice(job.id.as_bytes()))],
        deadline: (ms > 0).then(|| ctx.now.plus(ms)),
        timeout_reply: Reply::Null,
        drained: false,
        yields: false,
    }))
}

fn cancel(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    Ok(Reply::bulk(show::cancelled_json(&ctx.jobs().cancel(request.arg(1))?)))
}
