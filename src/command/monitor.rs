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
    for argument in shown(request) {
        line.push(' ');
        quote(&mut line, &argument);
    }
    let line = Bytes::from(line);
    messages.extend(monitors.iter().map(|to| Message { to: *to, push: Reply::Simple(line.clone()) }));
}

/// The arguments that people may see: not the keys that let a client in, nor what webhooks are signed with.
pub(crate) fn shown(request: &Request) -> impl Iterator<Item = Cow<'_, [u8]>> {
    let is = |place, name| request.get(place).is_some_and(|word| args::is(word, name));
    let secret = if is(0, "AUTH") {
        1..request.len()
    } else if is(0, "HELLO") {
        let place = (2..request.len()).find(|place| is(*place, "AUTH"));
        place.map_or(0..0, |place| place + 1..place + 3)
    } else if is(0, "WEBHOOK.PUT") {
        2..request.len()
    } else {
        0..0
    };
    request.iter().enumerate().map(move |(place, argument)| {
        if secret.contains(&place) { Cow::Borrowed(&b"(redacted)"[..]) } else { Cow::Borrowed(argument) }
    })
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
