//! Commands on queues.

use agq_resp::{Reply, Request};

use crate::command::{Command, CommandError, Flags, Group, Outcome, ReadContext, Run};
use crate::jobs::{Counts, Id, Status};

const READ: Flags = Flags::READONLY.and(Flags::AGQ);

/// The rows of this file.
pub(super) const COMMANDS: &[Command] = &[
    Command::new("QUEUE.STATS", -1, Group::Queue, READ, Run::Read(stats)).doc(
        "1.0.0",
        "[queue]",
        "How many jobs of all queues, or of one, have which status: names and numbers in turn.",
    ),
    Command::new("QUEUE.LIST", 1, Group::Queue, READ, Run::Read(list)).doc(
        "1.0.0",
        "",
        "Every queue as JSON, with how many of its jobs have which status.",
    ),
];

/// The order in which numbers are shown: what is going on first.
const SHOWN: [Status; 7] = [
    Status::Pending,
    Status::Scheduled,
    Status::Running,
    Status::Waiting,
    Status::Completed,
    Status::Failed,
    Status::Cancelled,
];

fn stats(ctx: &ReadContext<'_>, request: &Request) -> Outcome {
    let view = ctx.jobs();
    let counts = match request.len() {
        1 => view.totals()?,
        2 => view.queue(Id::parse("queue", request.arg(1))?.as_bytes())?.unwrap_or_default().counts,
        _ => return Err(CommandError::arity("queue.stats").into()),
    };
    let number = |count: u64| Reply::int(i64::try_from(count).unwrap_or(i64::MAX));
    let pairs = SHOWN.map(|status| [Reply::bulk(format!("{}_jobs", status.name())), number(counts.of(status))]);
    Ok(Reply::array(pairs.into_iter().flatten()))
}

fn list(ctx: &ReadContext<'_>, _: &Request) -> Outcome {
    let queues = ctx.jobs().queues()?;
    let json = |counts: &Counts| SHOWN.map(|status| format!("\"{}\":{}", status.name(), counts.of(status))).join(",");
    let rows = queues.iter().map(|(name, queue)| {
        Reply::bulk(format!("{{\"queue\":\"{name}\",\"paused\":{},{}}}", queue.paused, json(&queue.counts)))
    });
    Ok(Reply::array(rows))
}
