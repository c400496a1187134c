//! Commands on schedules.

use agq_resp::{Reply, Request};

use crate::access::Role;
use crate::command::pages::Listing;
use crate::command::work::bounded;
use crate::command::{Command, Context, Flags, Group, Outcome, ReadContext, Run};
use crate::jobs::schedules::schedule_id;
use crate::jobs::show::schedule_json;
use crate::jobs::{Definition, time};

const WRITE: Flags = Flags::WRITE.and(Flags::AGQ);
const ADD: Flags = WRITE.and(Flags::DENYOOM);
const READ: Flags = Flags::READONLY.and(Flags::AGQ);

/// The most ticks that are told in advance.
const MAX_NEXT: u64 = 100;

/// The rows of this file.
pub(super) const COMMANDS: &[Command] = &[
    schedule("SCHEDULE.PUT", 3, ADD, Run::Write(put)).doc(
        "1.0.0",
        "schedule-id json",
        "Makes a schedule, which submits a job at each tick of a cron line, or puts another definition in its place. \
         Answers it as JSON, without the job.",
    ),
    schedule("SCHEDULE.GET", 2, READ, Run::Read(get)).doc(
        "1.0.0",
        "schedule-id",
        "A schedule as JSON: its definition, its next and last tick, and what became of those that have come.",
    ),
    schedule("SCHEDULE.LIST", -1, READ, Run::Read(list)).doc(
        "1.0.0",
        "[CURSOR cursor] [LIMIT count]",
        "The schedules in the order of their ids, in pages: the next cursor, 0 at the end, and schedules as JSON, without \
         their jobs.",
    ),
    schedule("SCHEDULE.NEXT", 3, READ, Run::Read(next)).doc(
        "1.0.0",
        "schedule-id count",
        "The times of the next ticks of a schedule, 100 at most; of a paused one, those that came if it were resumed now.",
    ),
    schedule("SCHEDULE.PAUSE", 2, WRITE, Run::Write(pause)).doc(
        "1.0.0",
        "schedule-id",
        "Stops a schedule. Answers it as JSON, without the job.",
    ),
    schedule("SCHEDULE.RESUME", 2, WRITE, Run::Write(resume)).doc(
        "1.0.0",
        "schedule-id",
        "Lets a schedule go on with the first tick that comes from now on. Answers it as JSON, without the job.",
    ),
    schedule("SCHEDULE.RUN", 2, ADD, Run::Write(run)).doc(
        "1.0.0",
        "schedule-id",
        "Submits a schedule's job now, paused or not, and answers its id; the ticks go on as they would.",
    ),
    schedule("SCHEDULE.DELETE", 2, WRITE, Run::Write(delete)).doc(
        "1.0.0",
        "schedule-id",
        "Removes a schedule; the jobs that it submitted stay.",
    ),
];

const fn schedule(name: &'static str, arity: i32, flags: Flags, run: Run) -> Command {
    Command::new(name, arity, Group::Schedule, flags, run)
}

fn put(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    let id = schedule_id(request.arg(1))?;
    let definition = Definition::parse(request.arg(2))?;
    let schedule = ctx.jobs().put_schedule(&id, &definition)?;
    Ok(Reply::bulk(schedule_json(&id, &schedule, None)))
}

fn get(ctx: &ReadContext<'_>, request: &Request) -> Outcome {
    let view = ctx.jobs();
    let schedule = view.need_schedule(request.arg(1))?;
    let id = schedule_id(request.arg(1))?;
    Ok(Reply::bulk(schedule_json(&id, &schedule, Some(&view.schedule_job(&id)?))))
}

fn list(ctx: &ReadContext<'_>, request: &Request) -> Outcome {
    const SHOWN_TO: &[Role] = &[Role::Read, Role::Submit];
    let view = ctx.jobs();
    let shows_all = ctx.shows_all(SHOWN_TO);
    let listing = Listing {
        name: "SCHEDULE.LIST",
        read: &|after, limit| view.schedules(after, limit),
        shows: &|id, _| {
            Ok(shows_all || view.schedule_queue(id.as_bytes())?.is_none_or(|queue| ctx.shows(SHOWN_TO, &queue)))
        },
        json: &|id, schedule| Ok(schedule_json(id, schedule, None)),
    };
    listing.page(ctx, request)
}

fn next(ctx: &ReadContext<'_>, request: &Request) -> Outcome {
    let count = bounded("count", request.arg(2), 1..=MAX_NEXT)?;
    let view = ctx.jobs();
    let schedule = view.need_schedule(request.arg(1))?;
    let ticks = view.next_ticks(&schedule, usize::try_from(count).unwrap_or(usize::MAX))?;
    Ok(Reply::array(ticks.into_iter().map(|tick| Reply::bulk(time::rfc3339(tick)))))
}

fn pause(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    let (id, schedule) = ctx.jobs().pause_schedule(request.arg(1), true)?;
    Ok(Reply::bulk(schedule_json(&id, &schedule, None)))
}

fn resume(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    let (id, schedule) = ctx.jobs().pause_schedule(request.arg(1), false)?;
    Ok(Reply::bulk(schedule_json(&id, &schedule, None)))
}

fn run(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    Ok(Reply::bulk(ctx.jobs().run_schedule_now(request.arg(1))?.id.to_string()))
}

fn delete(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    ctx.jobs().delete_schedule(request.arg(1))?;
    Ok(Reply::ok())
}
