//! List pops out of a job queue: each is a claim, for the worker of that connection.

use agq_resp::{Reply, Request};
use bytes::Bytes;

use crate::clock::Millis;
use crate::command::lists::end_of;
use crate::command::views::name::Name;
use crate::command::views::refuse;
use crate::command::{CommandError, Context, Halt, Outcome, Session, Wait, args};
use crate::data::Touch;
use crate::data::lists::End;
use crate::jobs::{Error, Id};

/// While the store refuses writes, a pop gives nil after so long at most, so that the worker asks again.
const REFUSED_WAIT_MS: u64 = 5_000;

/// Where a job that leaves its queue goes.
enum Destination {
    /// To the worker of this connection.
    Processing,
    /// To another queue; nobody claims it.
    Queue(Id),
}

/// True for the pop that is never answered with an error, so that it runs even while the store refuses writes.
pub(crate) fn gives_nil(session: &Session, request: &Request) -> bool {
    session.database == 0
        && request.len() == 4
        && args::is(request.arg(0), "BRPOPLPUSH")
        && request.arg(2) == b"queue:processing"
}

/// A connection says who it is. A worker that is known is refreshed; one that is not is registered only where the
/// connection works, so that a health check makes no worker.
pub(in crate::command) fn ping(ctx: &mut Context<'_, '_>, text: &[u8]) -> Result<(), Halt> {
    let Some(worker) = Id::sound(text) else { return Ok(()) };
    let is_wanted = ctx.session.jobs.works || ctx.jobs().view().worker(text)?.is_some();
    if is_wanted && !ctx.server.refuses_writes() {
        match ctx.jobs().hear_worker(&worker) {
            // A ping is answered whatever becomes of the worker.
            Ok(()) | Err(Error::Refused(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    ctx.session.jobs.worker = Some(worker);
    Ok(())
}

/// RPOP: a claim that leaves the job in no list.
pub(super) fn rpop(ctx: &mut Context<'_, '_>, name: &Name, request: &Request) -> Outcome {
    let Name::Queue(queue) = name else { return Err(refuse::command(name, request.arg(1), request)) };
    let count = match request.len() {
        2 => None,
        3 => {
            let count = args::integer(request.arg(2)).ok().and_then(|count| u64::try_from(count).ok());
            Some(count.ok_or(CommandError::new("ERR value is out of range, must be positive"))?)
        }
        _ => return Err(CommandError::arity("rpop").into()),
    };
    let mut claimed = Vec::new();
    while (claimed.len() as u64) < count.unwrap_or(1) {
        let Some(job) = claim(ctx, queue, false)? else { break };
        claimed.push(Reply::bulk(Bytes::copy_from_slice(job.as_bytes())));
    }
    match count {
        None => Ok(claimed.pop().unwrap_or(Reply::Null)),
        Some(_) if claimed.is_empty() => Ok(Reply::NullArray),
        Some(_) => Ok(Reply::Array(claimed)),
    }
}

/// BRPOP over job queues; queues that do not exist yet are waited for.
pub(super) fn brpop(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    let last = request.len() - 1;
    let deadline = args::timeout(request.arg(last), ctx.now)?;
    let mut queues = Vec::new();
    for place in 1..last {
        queues.push(source(ctx, request.arg(place))?.ok_or_else(|| refuse::multiple(request))?);
    }
    for queue in &queues {
        if let Some(job) = claim(ctx, queue, false)? {
            let key = Reply::bulk(format!("queue:{queue}"));
            return Ok(Reply::array([key, Reply::bulk(Bytes::copy_from_slice(job.as_bytes()))]));
        }
    }
    let drained =
        ctx.server.shutdown.grants_nothing() || queues.len() == 1 && ctx.jobs().view().are_drained(&queues)?;
    Err(Halt::KeepAndBlock(park(ctx, &queues, deadline, drained, false)))
}

/// RPOPLPUSH, LMOVE and their blocking forms out of a job queue, or into one.
pub(super) fn transfer(ctx: &mut Context<'_, '_>, command: &str, request: &Request) -> Outcome {
    let (ends, timeout) = match command {
        "RPOPLPUSH" => (None, None),
        "LMOVE" => (Some((3, 4)), None),
        "BRPOPLPUSH" => (None, Some(3)),
        _ => (Some((3, 4)), Some(5)),
    };
    let (from, to) = match ends {
        None => (End::Right, End::Left),
        Some((from, to)) => (end_of(request.arg(from))?, end_of(request.arg(to))?),
    };
    let deadline = timeout.map(|place| args::timeout(request.arg(place), ctx.now)).transpose()?;
    let destination = destination(ctx, request)?;
    let Some(queue) = source(ctx, request.arg(1))? else { return Err(refuse_source(ctx, request)) };
    if from == End::Left {
        return Err(refuse::left(request));
    }
    if to != End::Left {
        return Err(refuse::destination(request));
    }
    let multiplexes = command == "BRPOPLPUSH" && matches!(destination, Destination::Processing);
    if multiplexes {
        abandon(ctx)?;
        if ctx.more_behind {
            return Ok(Reply::NullArray);
        }
    }
    let moved = match &destination {
        Destination::Processing => claim(ctx, &queue, multiplexes)?,
        Destination::Queue(to) => ctx.jobs().move_between_queues(&queue, to)?,
    };
    match (moved, deadline) {
        (Some(job), _) => Ok(Reply::bulk(Bytes::copy_from_slice(job.as_bytes()))),
        (None, None) => Ok(Reply::Null),
        (None, Some(deadline)) => {
            let queues = [queue];
            let drained = ctx.server.shutdown.grants_nothing() || ctx.jobs().view().are_drained(&queues)?;
            Err(Halt::KeepAndBlock(park(ctx, &queues, deadline, drained, multiplexes)))
        }
    }
}

/// The queue that a key is, or will be once something is submitted to it.
fn source(ctx: &Context<'_, '_>, key: &[u8]) -> Result<Option<Id>, Halt> {
    let view = ctx.view();
    match Name::resolve(&view, key)? {
        Some(Name::Queue(queue)) => Ok(Some(queue)),
        Some(_) => Ok(None),
        None => match Name::parse(key) {
            Some(Name::Queue(queue)) if view.record(key)?.is_none() => Ok(Some(queue)),
            _ => Ok(None),
        },
    }
}

fn refuse_source(ctx: &Context<'_, '_>, request: &Request) -> Halt {
    for key in [request.arg(1), request.arg(2)] {
        match Name::resolve(&ctx.view(), key) {
            Ok(Some(name)) => return refuse::command(&name, key, request),
            Ok(None) => {}
            Err(error) => return error.into(),
        }
    }
    refuse::multiple(request)
}

fn destination(ctx: &Context<'_, '_>, request: &Request) -> Result<Destination, Halt> {
    match Name::resolve(&ctx.view(), request.arg(2))? {
        Some(Name::Processing) => Ok(Destination::Processing),
        Some(Name::Queue(queue)) => Ok(Destination::Queue(queue)),
        _ => Err(refuse::destination(request)),
    }
}

/// The worker's next job of a queue, if there is one that it can run. `multiplexed` claims are those that asking again
/// abandons.
fn claim(ctx: &mut Context<'_, '_>, queue: &Id, multiplexed: bool) -> Result<Option<Id>, Halt> {
    ctx.session.jobs.works = true;
    ctx.session.jobs.claims = true;
    if ctx.server.refuses_writes() {
        return Ok(None);
    }
    let connection = ctx.session.id;
    let worker = ctx.session.jobs.worker(connection)?;
    // Who only looks, and says no name, leaves nothing; a pop that waited and is tried again is no sign of life.
    let is_heard = ctx.session.jobs.worker.is_some() && ctx.woken_by.is_none();
    let mut jobs = ctx.jobs();
    let heard = if is_heard { jobs.hear_worker(&worker) } else { Ok(()) };
    let claimed = match heard.and_then(|()| jobs.claim_for_list(queue, &worker, connection)) {
        // The worker's name is taken by ordinary keys; a pop knows no errors.
        Err(Error::Refused(why)) => {
            tracing::warn!(%worker, why, "a pop out of a job queue finds nothing");
            None
        }
        claimed => claimed?,
    };
    let Some(job) = claimed else { return Ok(None) };
    ctx.session.jobs.hold(&job, multiplexed);
    Ok(Some(job.id))
}

/// What this connection claimed and did not report before it asks again, it never saw.
fn abandon(ctx: &mut Context<'_, '_>) -> Result<(), Halt> {
    if ctx.server.refuses_writes() {
        return Ok(());
    }
    for (job, epoch) in ctx.session.jobs.multiplexed() {
        ctx.jobs().abandon_list_claim(&job, epoch)?;
        ctx.session.jobs.let_go(&job);
    }
    Ok(())
}

fn park(ctx: &Context<'_, '_>, queues: &[Id], deadline: Option<Millis>, drained: bool, yields: bool) -> Wait {
    let again = ctx.server.refuses_writes().then(|| ctx.now.plus(REFUSED_WAIT_MS));
    Wait {
        on: queues.iter().map(|queue| Touch::Queue(Bytes::copy_from_slice(queue.as_bytes()))).collect(),
        deadline: match (deadline, again) {
            (Some(deadline), Some(again)) => Some(deadline.min(again)),
            (deadline, again) => deadline.or(again),
        },
        timeout_reply: Reply::NullArray,
        drained,
        yields,
    }
}
