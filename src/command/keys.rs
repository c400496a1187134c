//! Commands on keys of any type.

use agq_resp::{Reply, Request};

use crate::command::{Command, Context, Flags, Group, Outcome, ReadContext, Run};

/// The rows of this file.
pub(super) const COMMANDS: &[Command] =
    &[
        Command::new("DEL", -2, Group::Generic, Flags::WRITE, Run::Write(del)).keys(1, -1, 1).doc(
            "1.0.0",
            "key [key ...]",
            "Removes keys; answers how many there were.",
        ),
        Command::new("EXISTS", -2, Group::Generic, Flags::READONLY.and(Flags::FAST), Run::Read(exists))
            .keys(1, -1, 1)
            .doc("1.0.0", "key [key ...]", "How many of the keys exist, each counted as often as it is named."),
    ];

fn del(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    let mut edit = ctx.edit();
    let mut removed = 0;
    for name in request.iter().skip(1) {
        if let Some(record) = edit.record(name)? {
            edit.delete(name, &record)?;
            removed += 1;
        }
    }
    Ok(Reply::int(removed))
}

fn exists(ctx: &ReadContext<'_>, request: &Request) -> Outcome {
    let mut found = 0;
    for name in request.iter().skip(1) {
        found += i64::from(ctx.view.record(name)?.is_some());
    }
    Ok(Reply::int(found))
}
