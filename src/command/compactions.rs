//! COMPACT, and what is known of compactions: commands ask for one, the core loop makes it.

use agq_resp::{Reply, Request};

use crate::clock::Millis;
use crate::command::{Command, CommandError, Context, Flags, Group, Outcome, Run, args};
use crate::storage::{Bound, Compacted, CompactionProgress};

/// The rows of this file.
pub(super) const COMMANDS: &[Command] = &[Command::new(
    "COMPACT",
    -1,
    Group::Server,
    Flags::ADMIN,
    Run::Write(compact),
)
.doc(
    "1.0.0",
    "[STATUS | STOP]",
    "Makes data.redb as small as what is in it, while the server serves; STATUS tells how far that is, STOP ends it.",
)];

/// What is known of compactions, and what is asked of the core loop.
#[derive(Debug, Clone, Default)]
pub struct Compactions {
    /// The number of the last that was asked for; they are counted from 1 at each start.
    pub begun: u64,
    /// One is to begin after this batch.
    pub asked: bool,
    /// The one that is under way is to end.
    pub stopped: bool,
    /// Set while one is under way.
    pub running: Option<RunningCompaction>,
    /// The last one that ended.
    pub last: Option<EndedCompaction>,
    /// How many failed or were stopped.
    pub failed: u64,
}

/// A compaction that is under way.
#[derive(Debug, Clone, Copy)]
pub struct RunningCompaction {
    /// When it began.
    pub since: Millis,
    /// How far it is.
    pub progress: CompactionProgress,
}

impl RunningCompaction {
    /// How many of the rows that there were are copied, of 100; 100 only once it has ended.
    #[must_use]
    pub fn percent(&self) -> u64 {
        (self.progress.rows * 100 / self.progress.total_rows.max(1)).min(99)
    }
}

/// A compaction that ended.
#[derive(Debug, Clone)]
pub struct EndedCompaction {
    /// Its number.
    pub number: u64,
    /// What it won, or why it ended without.
    pub outcome: Result<Compacted, String>,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
}

impl Compactions {
    /// True while one is under way or about to be.
    #[must_use]
    pub fn in_progress(&self) -> bool {
        self.asked || self.running.is_some()
    }
}

fn compact(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    let is = |word: &str| request.get(1).is_some_and(|given| args::is(given, word));
    match request.len() {
        1 => begin(ctx),
        2 if is("STATUS") => Ok(status(ctx)),
        2 if is("STOP") => stop(ctx),
        _ => Err(CommandError::SYNTAX.into()),
    }
}

fn begin(ctx: &mut Context<'_, '_>) -> Outcome {
    if ctx.server.compactions.in_progress() {
        let error = "ERR a compaction is under way already: COMPACT STATUS tells how far it is, COMPACT STOP ends it";
        return Err(CommandError::new(error).into());
    }
    // A store that is as large as it may be is made smaller by this.
    if let Some(refusal) = ctx.server.refusal.as_ref().filter(|refusal| refusal.bound == Bound::Disk) {
        let error =
            format!("ERR no room to compact: the new file stands beside the old one until it is complete; {refusal}");
        return Err(CommandError::new(error).into());
    }
    ctx.server.compactions.begun += 1;
    ctx.server.compactions.asked = true;
    Ok(Reply::simple("Compaction started"))
}

fn stop(ctx: &mut Context<'_, '_>) -> Outcome {
    let compactions = &mut ctx.server.compactions;
    if !compactions.in_progress() || compactions.stopped {
        return Err(CommandError::new("ERR no compaction is under way").into());
    }
    compactions.stopped = true;
    Ok(Reply::simple("Compaction stopping"))
}

fn status(ctx: &Context<'_, '_>) -> Reply {
    let compactions = &ctx.server.compactions;
    let number = |number: u64| Reply::int(i64::try_from(number).unwrap_or(i64::MAX));
    let mut fields = vec![("number", number(compactions.begun))];
    let state = match (&compactions.running, &compactions.last) {
        (Some(running), _) => running.progress.phase.name(),
        (None, _) if compactions.asked => "asked",
        (None, None) => "none",
        (None, Some(last)) if last.outcome.is_ok() => "done",
        (None, Some(_)) => "failed",
    };
    fields.push(("state", Reply::bulk(state)));
    match (&compactions.running, &compactions.last) {
        (Some(running), _) => fields.extend([
            ("percent", number(running.percent())),
            ("rows", number(running.progress.rows)),
            ("total_rows", number(running.progress.total_rows)),
            ("running_ms", number(ctx.now.since(running.since))),
        ]),
        (None, Some(last)) => {
            fields.push(("took_ms", number(last.took_ms)));
            match &last.outcome {
                Ok(done) => fields.extend([
                    ("rows", number(done.rows)),
                    ("bytes_before", number(done.before)),
                    ("bytes_after", number(done.after)),
                ]),
                Err(error) => fields.push(("error", Reply::bulk(error.clone()))),
            }
        }
        (None, None) => {}
    }
    Reply::map(fields.into_iter().map(|(name, value)| (Reply::bulk(name), value)))
}
