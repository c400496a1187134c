//! BGSAVE and LASTSAVE, and what is known of backups: commands ask for one, the core loop makes it.

use agq_resp::{Reply, Request};

use crate::clock::Millis;
use crate::command::{Command, CommandError, Context, Flags, Group, Outcome, Run, args};

/// The rows of this file.
pub(super) const COMMANDS: &[Command] = &[
    Command::new("BGSAVE", -1, Group::Server, Flags::ADMIN, Run::Write(background_save))
        .doc(
            "1.0.0",
            "[SCHEDULE | CANCEL]",
            "Writes a backup into the server's folder of backups, while it serves; CANCEL ends the one that is being written.",
        )
        .differs("Each backup is a file of its own, a store of AGQ; CANCEL as in Valkey."),
    Command::new("LASTSAVE", 1, Group::Server, Flags::FAST, Run::Write(last_save)).doc(
        "1.0.0",
        "",
        "When the last backup was done or SAVE was asked for last, in Unix seconds; the start before that.",
    ),
];

/// What is known of backups, and what is asked of the core loop.
#[derive(Debug, Clone, Default)]
pub struct Backups {
    /// The number of the last that was asked for or begun; they are counted from 1 at each start.
    pub begun: u64,
    /// One is to be begun after this batch.
    pub asked: bool,
    /// The one that is being written is to end.
    pub cancelled: bool,
    /// Set while one is being written.
    pub running: Option<Running>,
    /// The last one that ended.
    pub last: Option<Ended>,
    /// When the state of the newest one was taken, of those before the start too.
    pub newest: Option<Millis>,
    /// How many were made.
    pub made: u64,
    /// How many failed or were cancelled.
    pub failed: u64,
    /// When the next begins by itself.
    pub next: Option<Millis>,
}

/// A backup that is being written.
#[derive(Debug, Clone, Copy)]
pub struct Running {
    /// When it began.
    pub since: Millis,
    /// How much of the work is done, of 100.
    pub percent: u64,
}

/// A backup that ended.
#[derive(Debug, Clone)]
pub struct Ended {
    /// Its number.
    pub number: u64,
    /// Its file's path, or why there is none.
    pub outcome: Result<String, String>,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
    /// How long its snapshot lived, in milliseconds.
    pub snapshot_ms: u64,
    /// By how many bytes the store's file grew meanwhile.
    pub growth_bytes: u64,
    /// Bytes of its file.
    pub file_bytes: u64,
    /// Rows in it.
    pub rows: u64,
}

impl Backups {
    /// True while one is written or about to be.
    #[must_use]
    pub fn in_progress(&self) -> bool {
        self.asked || self.running.is_some()
    }

    /// Asks for one.
    pub fn ask(&mut self) {
        self.begun += 1;
        self.asked = true;
    }
}

fn background_save(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    let is = |word: &str| request.get(1).is_some_and(|given| args::is(given, word));
    if request.len() > 2 || request.len() == 2 && !is("SCHEDULE") && !is("CANCEL") {
        return Err(CommandError::SYNTAX.into());
    }
    let backups = &mut ctx.server.backups;
    match (is("CANCEL"), backups.in_progress()) {
        (true, true) => {
            backups.cancelled = true;
            Ok(Reply::simple("Background saving cancelled"))
        }
        (true, false) => {
            Err(CommandError::new("ERR Background saving is currently not in progress or scheduled").into())
        }
        (false, true) => Err(CommandError::new("ERR Background save already in progress").into()),
        (false, false) => {
            backups.ask();
            let told = if ctx.in_transaction { "Background saving scheduled" } else { "Background saving started" };
            Ok(Reply::simple(told))
        }
    }
}

fn last_save(ctx: &mut Context<'_, '_>, _: &Request) -> Outcome {
    Ok(Reply::int((ctx.server.facts.last_save.0 / 1000).cast_signed()))
}
