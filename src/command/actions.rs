//! Commands on actions.

use agq_resp::{Reply, Request};

use crate::command::{Command, Context, Flags, Group, Outcome, ReadContext, Run};
use crate::jobs::actions::SubmitAction;
use crate::jobs::{Id, show};

const ADD: Flags = Flags::WRITE.and(Flags::AGQ).and(Flags::DENYOOM);
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
