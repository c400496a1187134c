//! COMMAND: the command table, as clients and redis-cli ask for it.

use agq_resp::{Reply, Request};

use crate::command::{Command, CommandError, Context, Flags, Group, Outcome, Run, args, lookup, subcommand, table};

/// The rows of this file.
pub(super) const COMMANDS: &[Command] = &[Command::new("COMMAND", -1, Group::Server, Flags::NONE, Run::Write(command))
    .doc(
        "2.8.13",
        "[COUNT | INFO [name ...] | DOCS [name ...] | LIST]",
        "What commands there are, and how each is called.",
    )
    .differs("Names arity, flags and keys, without key specifications, tips and subcommands; DOCS give all arguments as one text.")];

fn command(_: &mut Context<'_, '_>, request: &Request) -> Outcome {
    let Some(word) = request.get(1) else {
        return Ok(Reply::array(table::all().map(row)));
    };
    match () {
        () if args::is(word, "COUNT") => {
            subcommand::takes(request, 2..=2)?;
            Ok(Reply::int(table::all().count() as i64))
        }
        () if args::is(word, "INFO") && request.len() == 2 => Ok(Reply::array(table::all().map(row))),
        () if args::is(word, "INFO") => {
            let rows = request.iter().skip(2).map(|name| lookup(name).map_or(Reply::Null, row));
            Ok(Reply::array(rows))
        }
        () if args::is(word, "DOCS") && request.len() == 2 => Ok(Reply::map(table::all().map(docs))),
        () if args::is(word, "DOCS") => Ok(Reply::map(request.iter().skip(2).filter_map(lookup).map(docs))),
        () if args::is(word, "LIST") => match request.len() {
            2 => Ok(Reply::array(table::all().map(name))),
            _ => Err(CommandError::SYNTAX.into()),
        },
        () => Err(subcommand::unknown(request).into()),
    }
}

fn name(command: &Command) -> Reply {
    Reply::bulk(command.name.to_ascii_lowercase())
}

fn words(words: impl Iterator<Item = &'static str>) -> Reply {
    Reply::Set(words.map(Reply::simple).collect())
}

/// The ten fields of COMMAND INFO.
fn row(command: &Command) -> Reply {
    let speed = if command.flags.has(Flags::FAST) { "@fast" } else { "@slow" };
    let category = |flag, category| command.flags.has(flag).then_some(category);
    let categories = [
        category(Flags::READONLY, "@read"),
        category(Flags::WRITE, "@write"),
        Some(command.group.acl_category()),
        Some(speed),
        category(Flags::BLOCKING, "@blocking"),
    ];
    Reply::array([
        name(command),
        Reply::int(i64::from(command.arity)),
        words(command.flags.names()),
        Reply::int(command.keys.first as i64),
        Reply::int(i64::from(command.keys.last)),
        Reply::int(if command.keys.first == 0 { 0 } else { command.keys.step as i64 }),
        words(categories.into_iter().flatten()),
        Reply::Set(Vec::new()),
        Reply::Set(Vec::new()),
        Reply::Set(Vec::new()),
    ])
}

fn docs(command: &Command) -> (Reply, Reply) {
    let text = |text: &'static str| Reply::bulk(text);
    let fields = [("summary", command.summary), ("since", command.since), ("group", command.group.name())];
    let mut fields: Vec<(Reply, Reply)> = fields.map(|(field, value)| (text(field), text(value))).into();
    if !command.usage.is_empty() {
        // One argument that reads as all of them: redis-cli shows its name as the hint.
        let argument = [("name", command.usage), ("type", "string")].map(|(field, value)| (text(field), text(value)));
        fields.push((text("arguments"), Reply::array([Reply::map(argument)])));
    }
    (name(command), Reply::map(fields))
}
