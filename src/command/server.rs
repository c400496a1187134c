//! Commands about the server itself.

use agq_resp::{Reply, Request};

use crate::command::{Command, Flags, Group, Outcome, ReadContext, Run};

/// The rows of this file.
pub(super) const COMMANDS: &[Command] =
    &[Command::new("DBSIZE", 1, Group::Server, Flags::READONLY.and(Flags::FAST), Run::Read(dbsize)).doc(
        "1.0.0",
        "",
        "The number of keys in the selected database.",
    )];

fn dbsize(ctx: &ReadContext<'_>, _: &Request) -> Outcome {
    Ok(Reply::int(ctx.view.count()?.cast_signed()))
}
