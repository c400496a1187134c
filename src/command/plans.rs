//! Commands on plans.

use std::ops::ControlFlow;

use agq_resp::{Reply, Request};
use serde::Serialize;

use crate::command::work::bounded;
use crate::command::{Command, CommandError, Context, Flags, Group, Halt, Outcome, ReadContext, Run, args};
use crate::data::glob;
use crate::jobs::error::shown;
use crate::jobs::plan::Plan;
use crate::jobs::{names, plan_store, time};

const WRITE: Flags = Flags::WRITE.and(Flags::AGQ);
const READ: Flags = Flags::READONLY.and(Flags::AGQ);
/// Plans that PLAN.LIST answers with unless told otherwise.
const LIST_LIMIT: u64 = 1000;

/// The rows of this file.
pub(super) const COMMANDS: &[Command] = &[
    Command::new("PLAN.SUBMIT", 2, Group::Plan, WRITE.and(Flags::DENYOOM), Run::Write(submit)).doc(
        "1.0.0",
        "json",
        "Stores a plan and answers its id; the same content again is the same plan.",
    ),
    Command::new("PLAN.GET", 2, Group::Plan, READ, Run::Read(get)).doc("1.0.0", "plan-id", "A plan's JSON."),
    Command::new("PLAN.LIST", -1, Group::Plan, READ, Run::Read(list)).doc(
        "1.0.0",
        "[pattern] [LIMIT count] [OFFSET count]",
        "The plans in the order of their ids: id, description, number of tasks, time of submission. A pattern has 1,024 \
         bytes at most.",
    ),
    Command::new("PLAN.DELETE", 2, Group::Plan, WRITE, Run::Write(delete)).doc(
        "1.0.0",
        "plan-id",
        "Removes a plan that no job which has not ended uses.",
    ),
    Command::new("PLAN.VALIDATE", 2, Group::Plan, READ, Run::Read(validate)).doc(
        "1.0.0",
        "json",
        "Checks a plan as PLAN.SUBMIT would, and answers the id it would get; stores nothing.",
    ),
];

fn submit(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    let plan = Plan::parse(request.arg(1))?;
    let id = plan.id();
    if plan_store::load(ctx.batch, id.as_bytes())?.is_none() {
        names::check_free(&ctx.database_0(), &names::of_plan(&id))?;
    }
    Ok(Reply::bulk(plan_store::submit(ctx.batch, &plan, false, ctx.now)?))
}

fn get(ctx: &ReadContext<'_>, request: &Request) -> Outcome {
    let id = request.arg(1);
    let stored = plan_store::need(ctx.view.rows, id)?;
    Ok(Reply::bulk(stored.json(&shown(id))))
}

/// A plan in PLAN.LIST; what is unknown is null.
#[derive(Serialize)]
struct Listed<'a> {
    plan_id: &'a str,
    description: Option<String>,
    task_count: u16,
    created_at: String,
}

fn list(ctx: &ReadContext<'_>, request: &Request) -> Outcome {
    let (pattern, limit, offset) = list_options(request)?;
    let (mut passed, mut found) = (0, Vec::new());
    plan_store::scan(ctx.view.rows, &mut |id, stored| {
        if found.len() as u64 >= limit {
            return ControlFlow::Break(());
        }
        if glob::matches(pattern, id.as_bytes()) {
            passed += 1;
            if passed > offset {
                let created_at = time::rfc3339(stored.created_at);
                let task_count = stored.task_count;
                let row = Listed { plan_id: id, description: stored.description, task_count, created_at };
                found.push(Reply::bulk(serde_json::to_string(&row).unwrap_or_default()));
            }
        }
        ControlFlow::Continue(())
    })?;
    Ok(Reply::array(found))
}

fn list_options(request: &Request) -> Result<(&[u8], u64, u64), Halt> {
    let (mut pattern, mut limit, mut offset) = (None, None, None);
    let mut options = args::Options::new(request, 1);
    while let Some(word) = options.word() {
        let place = if args::is(word, "LIMIT") && limit.is_none() && options.left() > 0 {
            &mut limit
        } else if args::is(word, "OFFSET") && offset.is_none() && options.left() > 0 {
            &mut offset
        } else if pattern.is_none() {
            pattern = Some(args::pattern(word)?);
            continue;
        } else {
            let word = shown(word);
            return Err(CommandError::new(format!(
                "ERR PLAN.LIST does not know '{word}' here: expected [pattern] [LIMIT count] [OFFSET count]"
            ))
            .into());
        };
        let name = String::from_utf8_lossy(word).to_ascii_uppercase();
        *place = Some(bounded(&name, options.value()?, 0..=u64::from(u32::MAX))?);
    }
    Ok((pattern.unwrap_or(b"*"), limit.unwrap_or(LIST_LIMIT), offset.unwrap_or(0)))
}

fn delete(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    plan_store::delete(ctx.batch, request.arg(1))?;
    Ok(Reply::ok())
}

fn validate(_: &ReadContext<'_>, request: &Request) -> Outcome {
    Ok(Reply::bulk(Plan::parse(request.arg(1))?.id()))
}
