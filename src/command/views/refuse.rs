//! What a view cannot do, and which command does it.

use agq_resp::Request;

use crate::command::views::name::{Name, WorkerPart};
use crate::command::{CommandError, Halt, lookup};
use crate::jobs::error::shown;

/// A command that this view does not answer.
pub(super) fn command(name: &Name, key: &[u8], request: &Request) -> Halt {
    let command = shown(request.arg(0)).to_ascii_uppercase();
    let removes = matches!(
        command.as_str(),
        "DEL" | "UNLINK" | "GETDEL" | "GETEX" | "EXPIRE" | "PEXPIRE" | "EXPIREAT" | "PEXPIREAT"
    );
    let pushes = matches!(command.as_str(), "LPUSH" | "RPUSH" | "LPUSHX" | "RPUSHX" | "ZADD");
    let reads = lookup(request.arg(0)).is_some_and(|row| row.flags.has(crate::command::Flags::READONLY));
    let (what, instead) = match name {
        Name::Job(..) if reads => ("a job", "GET, JOB.GET or JOB.RESULT"),
        Name::Job(..) if removes => ("a job", "JOB.CANCEL"),
        Name::Job(..) => ("a job", "JOB.SUBMIT, JOB.COMPLETE, JOB.FAIL or JOB.CANCEL"),
        Name::Plan(_) if reads => ("a plan", "GET or PLAN.GET"),
        Name::Plan(_) if removes => ("a plan", "PLAN.DELETE"),
        Name::Plan(_) => ("a plan", "PLAN.SUBMIT"),
        Name::Worker(..) if reads => ("a worker", "GET or WORKERS.LIST"),
        Name::Worker(..) if removes => ("a worker", "WORKER.UNREGISTER"),
        Name::Worker(_, WorkerPart::Tools | WorkerPart::Tags) => ("a worker", "SET or WORKER.REGISTER"),
        Name::Worker(..) => ("a worker", "WORKER.REGISTER or WORKER.HEARTBEAT"),
        Name::Queue(_) if pushes => ("a job queue", "JOB.SUBMIT or ACTION.SUBMIT"),
        Name::Queue(_) if reads => ("a job queue", "LLEN, LRANGE, LINDEX, LPOS or QUEUE.STATS"),
        Name::Queue(_) if removes => ("a job queue", "JOB.CANCEL for each of its jobs"),
        Name::Queue(_) => ("a job queue", "JOB.CLAIM"),
        Name::Processing if reads => ("the running jobs", "LLEN, LRANGE, LINDEX, LPOS or QUEUE.STATS"),
        Name::Processing => ("the running jobs", "JOB.COMPLETE, JOB.FAIL or JOB.RELEASE"),
        Name::Scheduled if pushes => ("the scheduled jobs", "JOB.SUBMIT with delay_ms or run_at"),
        Name::Scheduled if reads => ("the scheduled jobs", "ZCARD, ZSCORE, ZCOUNT, ZRANGE or ZRANGEBYSCORE"),
        Name::Scheduled => ("the scheduled jobs", "JOB.CANCEL or JOB.CLAIM"),
    };
    let key = shown(key);
    CommandError::new(format!("ERR {command} cannot be used on {what} ('{key}'): use {instead}")).into()
}

/// A command with several keys of which some are views and some are not.
pub(super) fn multiple(request: &Request) -> Halt {
    let command = shown(request.arg(0)).to_ascii_uppercase();
    CommandError::new(format!(
        "ERR {command} cannot be used on jobs, plans, workers and their queues together with ordinary keys: use GET, \
         EXISTS, JOB.GET or PLAN.GET for them"
    ))
    .into()
}

/// A pop from the left of a job queue.
pub(super) fn left(request: &Request) -> Halt {
    let command = shown(request.arg(0)).to_ascii_uppercase();
    CommandError::new(format!(
        "ERR {command} cannot take from the left of a job queue: the next job stands at its right; use RPOP, BRPOP, \
         BRPOPLPUSH or JOB.CLAIM"
    ))
    .into()
}

/// A move out of a job queue to where no job can be.
pub(super) fn destination(request: &Request) -> Halt {
    let to = shown(request.get(2).unwrap_or_default());
    CommandError::new(format!(
        "ERR jobs move RIGHT to LEFT, from a job queue into queue:processing (a claim) or into another job queue; \
         '{to}' is neither, or the ends are others"
    ))
    .into()
}
