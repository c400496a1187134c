//! Queues among the names of database 0: KEYS, SCAN and DBSIZE list those that are not empty, and none of the millions
//! of jobs.

use agq_resp::{Reply, Request};
use bytes::Bytes;

use crate::access::Role;
use crate::command::views::Answer;
use crate::command::views::name::Name;
use crate::command::views::read::{kind, length};
use crate::command::{Command, Context, Halt, Outcome, ReadContext, Run, args, lookup};
use crate::data::{Kind, glob::Glob};

/// True for the commands that list names.
pub(super) fn lists_names(command: &Command) -> bool {
    matches!(command.name, "KEYS" | "SCAN" | "DBSIZE")
}

/// Runs a command that lists names, with the queues among them.
pub(super) fn answer(ctx: &mut Context<'_, '_>, command: &Command, request: &Request) -> Result<Answer, Halt> {
    match command.run {
        Run::Write(run) => {
            let reply = run(ctx, request)?;
            add_queues(&ctx.reading(), command.name, request, reply).map(Answer::Reply)
        }
        Run::Read(_) => {
            let ctx = ctx.reading();
            if command.is_heavy(&ctx, request)? {
                Ok(Answer::Heavy(read))
            } else {
                read(&ctx, request).map(Answer::Reply)
            }
        }
    }
}

fn read(ctx: &ReadContext<'_>, request: &Request) -> Outcome {
    let Some(Command { run: Run::Read(run), name, .. }) = lookup(request.arg(0)) else { return Ok(Reply::Null) };
    let reply = run(ctx, request)?;
    add_queues(ctx, name, request, reply)
}

fn add_queues(ctx: &ReadContext<'_>, command: &str, request: &Request, reply: Reply) -> Outcome {
    match (command, reply) {
        ("DBSIZE", Reply::Integer(keys)) => Ok(Reply::int(keys + i64::try_from(queues(ctx)?.len()).unwrap_or(0))),
        ("KEYS", Reply::Array(mut keys)) => {
            keys.extend(matching(queues(ctx)?, request.arg(1), None));
            Ok(Reply::Array(keys))
        }
        ("SCAN", Reply::Array(mut page)) => {
            // The last page has the queues.
            if let [Reply::Bulk(cursor), Reply::Array(keys)] = page.as_mut_slice()
                && cursor == "0"
            {
                let (pattern, wanted) = scan_filter(request);
                keys.extend(matching(queues(ctx)?, pattern, wanted));
            }
            Ok(Reply::Array(page))
        }
        (_, reply) => Ok(reply),
    }
}

/// The pattern and the type that a SCAN asks for; its other options were checked by it.
fn scan_filter(request: &Request) -> (&[u8], Option<&[u8]>) {
    let (mut pattern, mut wanted) = (&b"*"[..], None);
    let mut options = args::Options::new(request, 2);
    while let (Some(word), Some(value)) = (options.word(), options.word()) {
        if args::is(word, "MATCH") {
            pattern = value;
        } else if args::is(word, "TYPE") {
            wanted = Some(value);
        }
    }
    (pattern, wanted)
}

fn matching(queues: Vec<(Bytes, Kind)>, pattern: &[u8], wanted: Option<&[u8]>) -> impl Iterator<Item = Reply> {
    let pattern = Glob::new(pattern);
    let fits = move |(name, kind): &(Bytes, Kind)| {
        pattern.matches(name) && wanted.is_none_or(|wanted| wanted.eq_ignore_ascii_case(kind.name().as_bytes()))
    };
    queues.into_iter().filter(fits).map(|(name, _)| Reply::bulk(name))
}

/// The queues that are not empty.
fn queues(ctx: &ReadContext<'_>) -> Result<Vec<(Bytes, Kind)>, Halt> {
    let mut found = Vec::new();
    let sees_all = ctx.access.is_none_or(|key| key.scopes.has_all(Role::Read));
    let queues = ctx.jobs().queues()?.into_iter().filter(|(queue, _)| ctx.shows(&[Role::Read, Role::Work], queue));
    for (queue, _) in queues {
        let text = format!("queue:{queue}");
        found.push((Name::Queue(queue), text));
    }
    if sees_all {
        found.push((Name::Processing, "queue:processing".to_owned()));
        found.push((Name::Scheduled, "queue:scheduled".to_owned()));
    }
    let mut shown = Vec::new();
    for (name, text) in found {
        if length(ctx, &name)? > 0 {
            shown.push((Bytes::from(text), kind(&name)));
        }
    }
    Ok(shown)
}
