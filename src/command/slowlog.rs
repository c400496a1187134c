//! SLOWLOG: the commands that took longest, of late.

use std::borrow::Cow;
use std::collections::VecDeque;

use agq_resp::{Reply, Request};
use bytes::Bytes;

use crate::clock::Millis;
use crate::command::{Command, CommandError, Context, Flags, Group, Outcome, Run, Session, args, monitor, subcommand};

/// The rows of this file.
pub(super) const COMMANDS: &[Command] =
    &[Command::new("SLOWLOG", -2, Group::Server, Flags::ADMIN.and(Flags::CONTAINER), Run::Write(slowlog)).doc(
        "2.2.12",
        "GET [count] | LEN | RESET",
        "The commands that took longer than slowlog-log-slower-than microseconds, newest first.",
    )];

/// Arguments that are kept of a command, and bytes of each, as in Redis.
const ARGUMENTS: usize = 32;
const ARGUMENT_BYTES: usize = 128;

/// The commands that took long, of late.
#[derive(Debug)]
pub struct SlowLog {
    entries: VecDeque<Entry>,
    next_id: i64,
    /// A command that took so many microseconds is kept; negative: none is.
    pub slower_than: i64,
    /// Commands that are kept.
    pub longest: usize,
}

#[derive(Debug)]
struct Entry {
    id: i64,
    at: Millis,
    micros: u64,
    arguments: Vec<Bytes>,
    address: String,
    name: Bytes,
}

impl Default for SlowLog {
    fn default() -> SlowLog {
        SlowLog { entries: VecDeque::new(), next_id: 0, slower_than: 10_000, longest: 128 }
    }
}

impl SlowLog {
    /// Keeps a command that ran, if it took long.
    pub fn add(&mut self, session: &Session, request: &Request, nanos: u64, now: Millis) {
        let micros = nanos / 1000;
        if u64::try_from(self.slower_than).is_ok_and(|slow| micros >= slow) {
            let entry = Entry {
                id: self.next_id,
                at: now,
                micros,
                arguments: shortened(request),
                address: session.address.clone(),
                name: session.name.clone(),
            };
            self.next_id += 1;
            self.entries.push_front(entry);
        }
        self.entries.truncate(self.longest);
    }
}

/// The arguments as they are kept.
fn shortened(request: &Request) -> Vec<Bytes> {
    let shown = if request.len() > ARGUMENTS { ARGUMENTS - 1 } else { request.len() };
    let short = |argument: Cow<'_, [u8]>| match argument.len().checked_sub(ARGUMENT_BYTES) {
        None | Some(0) => Bytes::copy_from_slice(&argument),
        Some(more) => {
            let text = format!("... ({more} more bytes)");
            [&argument[..ARGUMENT_BYTES], text.as_bytes()].concat().into()
        }
    };
    let mut kept: Vec<Bytes> = monitor::shown(request, |_| false).take(shown).map(short).collect();
    if shown < request.len() {
        kept.push(format!("... ({} more arguments)", request.len() - shown).into());
    }
    kept
}

fn slowlog(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    let is = |name| args::is(request.arg(1), name);
    let log = &mut ctx.server.statistics.slow;
    match () {
        () if is("GET") && request.len() > 3 => Err(subcommand::unknown_or_arity(request).into()),
        () if is("GET") => {
            let count = request.get(2).map_or(Ok(10), args::integer).ok().filter(|count| *count >= -1);
            let count = count.ok_or(CommandError::new("ERR count should be greater than or equal to -1"))?;
            let count = usize::try_from(count).unwrap_or(usize::MAX);
            Ok(Reply::array(log.entries.iter().take(count).map(reply)))
        }
        () if is("LEN") => {
            subcommand::takes(request, 2..=2)?;
            Ok(Reply::int(log.entries.len() as i64))
        }
        () if is("RESET") => {
            subcommand::takes(request, 2..=2)?;
            log.entries.clear();
            Ok(Reply::ok())
        }
        () => Err(subcommand::unknown(request).into()),
    }
}

fn reply(entry: &Entry) -> Reply {
    Reply::array([
        Reply::int(entry.id),
        Reply::int((entry.at.0 / 1000).cast_signed()),
        Reply::int(entry.micros.cast_signed()),
        Reply::array(entry.arguments.iter().cloned().map(Reply::bulk)),
        Reply::bulk(entry.address.clone()),
        Reply::bulk(entry.name.clone()),
    ])
}
