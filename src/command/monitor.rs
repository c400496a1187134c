//! MONITOR: every command, as it runs, to connections that watch.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt::Write as _;

use agq_resp::{Reply, Request};
use bytes::Bytes;

use crate::clock::Millis;
use crate::command::{Command, CommandError, Context, Flags, Group, Message, Messages, Outcome, Run, Session, args};

/// The rows of this file.
pub(super) const COMMANDS: &[Command] = &[Command::new("MONITOR", 1, Group::Server, Flags::ADMIN, Run::Write(monitor))
    .doc("1.0.0", "", "Sends the connection every command that runs from now on, until RESET.")
    .differs("A line's time is that of the batch that the command ran in.")];

fn monitor(ctx: &mut Context<'_, '_>, _: &Request) -> Outcome {
    if ctx.in_transaction {
        return Err(CommandError::new("ERR MONITOR isn't allowed for DENY BLOCKING client").into());
    }
    ctx.server.monitors.insert(ctx.session.id);
    Ok(Reply::ok())
}

/// Shows a command that ran to those who watch, unless it is one for operators, as in Redis.
pub(crate) fn tell(
    monitors: &BTreeSet<u64>,
    messages: &mut Messages,
    session: &Session,
    command: &Command,
    request: &Request,
    now: Millis,
) {
    if monitors.is_empty() || command.flags.has(Flags::ADMIN) {
        return;
    }
    let (seconds, millis, database) = (now.0 / 1000, now.0 % 1000, session.database);
    let mut line = format!("{seconds}.{millis:03}000 [{database} ");
    match session.address.strip_suffix(":0") {
        Some(path) => line.extend(["unix:", path]),
        None => line.push_str(&session.address),
    }
    line.push(']');
    // Settings are for operators, whose commands are not told of.
    for argument in shown(request, |_| false) {
        line.push(' ');
        quote(&mut line, &argument);
    }
    let line = Bytes::from(line);
    messages.extend(monitors.iter().map(|to| Message { to: *to, push: Reply::Simple(line.clone()) }));
}

/// The arguments that people may see: not the keys that let a client in, nor what webhooks are signed with. Of CONFIG SET
/// the values of what `is_setting` says yes to: what is none may be somebody's password.
pub(crate) fn shown(request: &Request, is_setting: impl Fn(&[u8]) -> bool) -> impl Iterator<Item = Cow<'_, [u8]>> {
    let secret = Secret::of(request);
    request.iter().enumerate().map(move |(place, argument)| {
        let hidden = match secret {
            Secret::Nothing => false,
            Secret::From(first) => place >= first,
            Secret::Values(first) => {
                place >= first && (place - first).is_multiple_of(2) && !is_setting(request.arg(place - 1))
            }
        };
        if hidden { Cow::Borrowed(&b"(redacted)"[..]) } else { Cow::Borrowed(argument) }
    })
}

/// Subcommands of CONFIG and ACL that are given nothing to hide. All others, which may be misspelt, are.
const HARMLESS: [&str; 15] = [
    "GET",
    "RESETSTAT",
    "REWRITE",
    "HELP",
    "CAT",
    "DELUSER",
    "GENPASS",
    "GETUSER",
    "LIST",
    "LOAD",
    "LOG",
    "SAVE",
    "USERS",
    "WHOAMI",
    "DRYRUN",
];

/// Which arguments nobody may see.
#[derive(Clone, Copy)]
enum Secret {
    Nothing,
    /// All from a place on.
    From(usize),
    /// From a place on every other one, each behind the name of a setting.
    Values(usize),
}

impl Secret {
    fn of(request: &Request) -> Secret {
        // Where the command's name stands: some commands are given another, with its arguments.
        let mut first = 0;
        loop {
            let is = |place, name| request.get(first + place).is_some_and(|word| args::is(word, name));
            let is_harmless = || HARMLESS.iter().any(|name| is(1, name));
            return match () {
                () if is(0, "AUTH") => Secret::From(first + 1),
                () if is(0, "HELLO") => Secret::From(first + login(request, first)),
                () if is(0, "WEBHOOK.PUT") => Secret::From(first + 2),
                () if is(0, "ACL") && is(1, "DRYRUN") => {
                    first += 3;
                    continue;
                }
                () if is(0, "COMMAND") && (is(1, "GETKEYS") || is(1, "GETKEYSANDFLAGS")) => {
                    first += 2;
                    continue;
                }
                () if is(0, "ACL") && !is_harmless() => Secret::From(first + 2),
                // A name without a value: which is which, nobody knows.
                () if is(0, "CONFIG") && !is_harmless() && !(request.len() - first).is_multiple_of(2) => {
                    Secret::From(first + 2)
                }
                () if is(0, "CONFIG") && !is_harmless() => Secret::Values(first + 3),
                () => Secret::Nothing,
            };
        }
    }
}

/// Where the user and the key of a HELLO at `first` begin, counted from there: behind its AUTH, which may also be the name
/// that SETNAME gives; what is neither is not shown, it may be a misspelt AUTH.
fn login(request: &Request, first: usize) -> usize {
    let is = |place, name| request.get(first + place).is_some_and(|word| args::is(word, name));
    let mut place = if is(1, "AUTH") { 1 } else { 2 };
    while is(place, "SETNAME") {
        place += 2;
    }
    if is(place, "AUTH") { place + 1 } else { place }
}

/// Writes a text in quotes, so that it stands in a line.
pub(crate) fn quote(line: &mut String, text: &[u8]) {
    line.push('"');
    for byte in text {
        match byte {
            b'\\' | b'"' => line.extend(['\\', *byte as char]),
            b'\n' => line.push_str("\\n"),
            b'\r' => line.push_str("\\r"),
            b'\t' => line.push_str("\\t"),
            7 => line.push_str("\\a"),
            8 => line.push_str("\\b"),
            b' '..=b'~' => line.push(*byte as char),
            // Writing into a string does not fail.
            byte => drop(write!(line, "\\x{byte:02x}")),
        }
    }
    line.push('"');
}
