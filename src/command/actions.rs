//! Commands on actions.

use agq_resp::{Reply, Request};

use crate::access::Role;
use crate::command::pages::Listing;
use crate::command::work::unknown_option;
use crate::command::{Command, Context, Flags, Group, Outcome, ReadContext, Run, args};
use crate::jobs::actions::SubmitAction;
use crate::jobs::{Id, show};

const WRITE: Flags = Flags::WRITE.and(Flags::AGQ);
const ADD: Flags = WRITE.and(Flags::DENYOOM);
const READ: Flags = Flags::READONLY.and(Flags::AGQ);

/// The rows of this file.
pub(super) const COMMANDS: &[Command] = &[
    Command::new("ACTION.SUBMIT", 2, Group::Action, ADD, Run::Write(submit)).doc(
        "1.0.0",
        "json",
        "Submits one plan over many inputs, a job for each, and answers all ids; the same action_id again is the same \
         action.",
    ),
    Command::new("ACTION.GET", 2, Group::Action, READ, Run::Read(get)).doc(
        "1.0.0",
        "action-id",
        "An action as JSON: its status, how many of its jobs have which, and its first 100 jobs.",
    ),
    Command::new("ACTION.STATUS", 2, Group::Action, READ, Run::Read(get)).doc(
        "1.0.0",
        "action-id",
        "The same as ACTION.GET.",
    ),
    Command::new("ACTION.CANCEL", 2, Group::Action, WRITE, Run::Write(cancel)).doc(
        "1.0.0",
        "action-id",
        "Cancels all jobs of an action that have not ended. Answers how many at once, and whether that was all; none of the \
         others starts meanwhile.",
    ),
    Command::new("ACTION.RETRY", -2, Group::Action, ADD, Run::Write(retry)).doc(
        "1.0.0",
        "action-id [CANCELLED]",
        "Runs the jobs of an action again that have failed, or were cancelled too. Answers how many at once, and whether \
         that was all.",
    ),
    Command::new("ACTION.LIST", -1, Group::Action, READ, Run::Read(list)).doc(
        "1.0.0",
        "[CURSOR cursor] [LIMIT count]",
        "The actions in the order of their ids, in pages: the next cursor, 0 at the end, and actions as JSON.",
    ),
];

fn submit(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    let submit = SubmitAction::parse(request.arg(1))?;
    let submitted = ctx.jobs().submit_action(&submit)?;
    Ok(Reply::bulk(show::submitted_json(&submitted)))
}

fn get(ctx: &ReadContext<'_>, request: &Request) -> Outcome {
    let view = ctx.jobs();
    let action = view.need_action(request.arg(1))?;
    let id = Id::parse("action-id", request.arg(1))?;
    Ok(Reply::bulk(view.action_json(&id, &action)?))
}

fn list(ctx: &ReadContext<'_>, request: &Request) -> Outcome {
    let view = ctx.jobs();
    let listing = Listing {
        name: "ACTION.LIST",
        read: &|after, limit| view.actions(after, limit),
        shows: &|_, action| Ok(ctx.shows(&[Role::Read], &action.queue)),
        json: &|id, action| view.action_json(id, action),
    };
    listing.page(ctx, request)
}

fn cancel(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    let id = Id::parse("action-id", request.arg(1))?;
    Ok(Reply::bulk(show::progress_json(&ctx.jobs().cancel_action(&id)?)))
}

fn retry(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    let id = Id::parse("action-id", request.arg(1))?;
    let cancelled = match request.len() {
        2 => false,
        3 if args::is(request.arg(2), "CANCELLED") => true,
        _ => return Err(unknown_option(request.arg(2), "CANCELLED")),
    };
    Ok(Reply::bulk(show::progress_json(&ctx.jobs().retry_action(&id, cancelled)?)))
}
