//! COMMAND: the command table, as clients and redis-cli ask for it.

use agq_resp::{Reply, Request};
use bytes::Bytes;

use crate::command::{Command, CommandError, Context, Flags, Group, Outcome, Run, args, lookup, subcommand, table};
use crate::data::glob;

/// The rows of this file.
pub(super) const COMMANDS: &[Command] = &[Command::new(
    "COMMAND",
    -1,
    Group::Server,
    Flags::CONTAINER,
    Run::Write(command),
)
.doc(
    "2.8.13",
    "[COUNT | INFO [name ...] | DOCS [name ...] | LIST [FILTERBY MODULE name | ACLCAT category | PATTERN pattern] | \
         GETKEYS command [argument ...] | GETKEYSANDFLAGS command [argument ...]]",
    "What commands there are, and how each is called.",
)
.differs(
    "Names arity, flags and keys, without key specifications, tips and subcommands; DOCS give all arguments as one \
        text; GETKEYSANDFLAGS tells of keys that they are read or written, not how. A pattern has 1,024 bytes at most.",
)];

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
        () if args::is(word, "LIST") => list(request),
        () if args::is(word, "GETKEYS") => {
            let (_, keys) = keys_of(request)?;
            Ok(Reply::array(keys))
        }
        () if args::is(word, "GETKEYSANDFLAGS") => {
            let (command, keys) = keys_of(request)?;
            let flags: &[&str] =
                if command.flags.has(Flags::READONLY) { &["RO", "access"] } else { &["RW", "access", "update"] };
            let pair = |key| Reply::array([key, words(flags.iter().copied())]);
            Ok(Reply::array(keys.into_iter().map(pair)))
        }
        () => Err(subcommand::unknown(request).into()),
    }
}

/// The names that a LIST asks for.
fn list(request: &Request) -> Outcome {
    if request.len() == 2 {
        return Ok(Reply::array(table::all().map(name)));
    }
    let [filter, kind, value] = [2, 3, 4].map(|place| request.get(place).unwrap_or_default());
    if request.len() != 5 || !args::is(filter, "FILTERBY") {
        return Err(CommandError::SYNTAX.into());
    }
    let lower = |command: &Command| command.name.to_ascii_lowercase();
    let fits: Box<dyn Fn(&&'static Command) -> bool> = match () {
        () if args::is(kind, "MODULE") => Box::new(|_| false),
        () if args::is(kind, "PATTERN") => {
            let value = args::pattern(value)?;
            Box::new(move |command| glob::matches(value, lower(command).as_bytes()))
        }
        () if args::is(kind, "ACLCAT") => {
            let category = format!("@{}", String::from_utf8_lossy(value).to_ascii_lowercase());
            Box::new(move |command| categories(command).any(|found| found == category))
        }
        () => return Err(CommandError::SYNTAX.into()),
    };
    Ok(Reply::array(table::all().filter(fits).map(name)))
}

/// The command that a request asks about, with its arguments, and its keys.
fn keys_of(request: &Request) -> Result<(&'static Command, Vec<Reply>), CommandError> {
    subcommand::takes(request, 4..=usize::MAX)?;
    let asked = Request::from_args(request.iter().skip(2));
    let command = lookup(asked.arg(0)).ok_or(CommandError::new("ERR Invalid command specified"))?;
    if command.keys.first == 0 && command.counted == 0 {
        return Err(CommandError::new("ERR The command has no key arguments"));
    }
    if !command.takes(asked.len()) {
        return Err(CommandError::new("ERR Invalid number of arguments specified for command"));
    }
    if command.counted_keys(&asked).is_none() {
        return Err(CommandError::new("ERR Invalid arguments specified for command"));
    }
    let keys = command.key_names(&asked).map(|key| Reply::bulk(Bytes::copy_from_slice(key))).collect();
    Ok((command, keys))
}

fn name(command: &Command) -> Reply {
    Reply::bulk(command.name.to_ascii_lowercase())
}

fn words(words: impl Iterator<Item = &'static str>) -> Reply {
    Reply::Set(words.map(Reply::simple).collect())
}

/// The ten fields of COMMAND INFO.
fn row(command: &Command) -> Reply {
    Reply::array([
        name(command),
        Reply::int(i64::from(command.arity)),
        words(command.flags.names()),
        Reply::int(command.keys.first as i64),
        Reply::int(i64::from(command.keys.last)),
        Reply::int(if command.keys.first == 0 { 0 } else { command.keys.step as i64 }),
        words(categories(command)),
        Reply::Set(Vec::new()),
        Reply::Set(Vec::new()),
        Reply::Set(Vec::new()),
    ])
}

/// Commands whose ACL categories do not follow from their groups and flags.
const EXCEPTIONS: [(&str, &[&str]); 16] = [
    ("ASKING", &["@fast", "@connection"]),
    ("COMMAND", &["@slow", "@connection"]),
    ("DBSIZE", &["@keyspace", "@read", "@fast"]),
    ("FLUSHALL", &["@keyspace", "@write", "@slow", "@dangerous"]),
    ("FLUSHDB", &["@keyspace", "@write", "@slow", "@dangerous"]),
    ("INFO", &["@slow", "@dangerous"]),
    ("KEYS", &["@keyspace", "@read", "@slow", "@dangerous"]),
    ("LASTSAVE", &["@admin", "@fast", "@dangerous"]),
    ("READONLY", &["@fast", "@connection"]),
    ("READWRITE", &["@fast", "@connection"]),
    ("RESTORE", &["@keyspace", "@write", "@slow", "@dangerous"]),
    ("ROLE", &["@admin", "@fast", "@dangerous"]),
    ("SORT", &["@write", "@set", "@sortedset", "@list", "@slow", "@dangerous"]),
    ("SORT_RO", &["@read", "@set", "@sortedset", "@list", "@slow", "@dangerous"]),
    ("SWAPDB", &["@keyspace", "@write", "@fast", "@dangerous"]),
    ("WAIT", &["@slow", "@connection"]),
];

/// The ACL categories of a command.
pub(super) fn categories(command: &Command) -> impl Iterator<Item = &'static str> {
    let exception = EXCEPTIONS.iter().find(|(name, _)| *name == command.name).map(|(_, categories)| *categories);
    let usual = usual_categories(command).filter(move |_| exception.is_none());
    exception.unwrap_or_default().iter().copied().chain(usual)
}

fn usual_categories(command: &Command) -> impl Iterator<Item = &'static str> {
    let speed = if command.flags.has(Flags::FAST) { "@fast" } else { "@slow" };
    let category = |flag, category| command.flags.has(flag).then_some(category);
    let categories = [
        category(Flags::READONLY, "@read"),
        category(Flags::WRITE, "@write"),
        command.group.acl_category(),
        category(Flags::ADMIN, "@admin"),
        category(Flags::ADMIN, "@dangerous"),
        Some(speed),
        category(Flags::BLOCKING, "@blocking"),
    ];
    categories.into_iter().flatten()
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
