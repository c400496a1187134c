//! The pages that are written from tables in the code: docs/commands.md and COMPAT.md from that of commands,
//! docs/jobs-state-machine.md from that of the ways that jobs go.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use agq::command::{Command, Flags, Group, table};
use agq::jobs::{Status, TRANSITIONS};
use anyhow::Context as _;

use crate::Finding;

/// Every command of Redis 7.0, one a line: group, name, version.
const REDIS_COMMANDS: &str = include_str!("../redis-7.0-commands.txt");

/// Writes the pages.
pub(crate) fn write(root: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(root.join("docs")).context("docs")?;
    for (name, text) in pages() {
        let path = root.join(name);
        fs::write(&path, text).with_context(|| path.display().to_string())?;
        println!("wrote {name}");
    }
    Ok(())
}

/// Compares the pages with what the tables say.
pub(crate) fn check(root: &Path) -> anyhow::Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for (name, text) in pages() {
        let found = fs::read_to_string(root.join(name)).unwrap_or_default();
        if found != text {
            let line = 1 + found.lines().zip(text.lines()).take_while(|(a, b)| a == b).count();
            findings.push(Finding::new(Path::new(name), line, "not what the code says: cargo xtask docs"));
        }
    }
    Ok(findings)
}

fn pages() -> [(&'static str, String); 3] {
    let commands: Vec<&Command> = table::all().collect();
    [
        ("docs/commands.md", commands_page(&commands)),
        ("COMPAT.md", compat_page(&commands)),
        ("docs/jobs-state-machine.md", states_page()),
    ]
}

/// Every way that a job can go, and what brings it about.
fn states_page() -> String {
    let mut page = "# The states of a job\n\nWritten by `cargo xtask docs` from `src/jobs/state.rs`: change it there. \
        [jobs.md](jobs.md) says what the states mean.\n\n\
        Every transition writes its event in the same transaction; the engine asserts, and the check of the job system's \
        invariants proves over the events, that no job goes any other way.\n\n\
        | from | to | by |\n| --- | --- | --- |\n"
        .to_owned();
    for way in TRANSITIONS {
        let from = way.from.map_or("–", Status::name);
        let (to, by) = (way.to.name(), way.by);
        // Writing to a string does not fail.
        let _ = writeln!(page, "| {from} | {to} | {by} |");
    }
    page
}

/// A chapter's title: the group's name, with a capital.
fn title(group: Group) -> String {
    let name = group.name().replace('-', " ");
    let (first, rest) = name.split_at(1);
    format!("{}{rest}", first.to_ascii_uppercase())
}

fn commands_page(commands: &[&Command]) -> String {
    let mut groups: BTreeMap<Group, Vec<&Command>> = BTreeMap::new();
    for command in commands {
        groups.entry(command.group).or_default().push(command);
    }
    let mut page = "# Commands\n\nWritten by `cargo xtask docs` from the command table (`src/command/table.rs`): change it there.\n\n\
        Arguments in brackets may be left out; `|` separates what excludes each other; `…` repeats what stands before it.\n\
        A command marked *AGQ* is not part of Redis. [COMPAT.md](../COMPAT.md) lists what Redis has and AGQ has not.\n"
        .to_owned();
    for (group, mut commands) in groups {
        commands.sort_by_key(|command| command.name);
        let _ = writeln!(page, "\n## {}", title(group));
        for command in commands {
            command_section(&mut page, command);
        }
    }
    page
}

fn command_section(page: &mut String, command: &Command) {
    let _ = writeln!(page, "\n### {}\n", command.name);
    let usage = format!("{} {}", command.name, command.usage);
    let _ = writeln!(page, "`{}`\n\n{}", usage.trim_end(), command.summary);
    if let Some(differs) = command.differs {
        let _ = writeln!(page, "\nOther than in Redis: {differs}");
    }
    let origin = if command.flags.has(Flags::AGQ) { "AGQ" } else { "Redis" };
    let mut facts = vec![format!("{origin} {}", command.since), arity(command.arity)];
    let flags: Vec<&str> = command.flags.names().collect();
    if !flags.is_empty() {
        facts.push(flags.join(", "));
    }
    let _ = writeln!(page, "\n*{}*", facts.join(" · "));
}

/// The number of arguments without the name, in words.
fn arity(arity: i32) -> String {
    let arguments = arity.unsigned_abs() - 1;
    let noun = if arguments == 1 { "argument" } else { "arguments" };
    match (arity < 0, arguments) {
        (false, 0) => "no arguments".to_owned(),
        (false, _) => format!("{arguments} {noun}"),
        (true, 0) => "any number of arguments".to_owned(),
        (true, _) => format!("{arguments} {noun} or more"),
    }
}

/// A command of Redis.
/// What is known of clients and job libraries; those that are run stand in tests/clients.
const LIBRARIES: &str = "
## Clients and job libraries

Run unmodified by `tests/clients/run`, with a password and without, over RESP2 and RESP3 where they have both: redis-py 5 and 8,
node-redis 6, ioredis 5 and 6, the `redis` crate 1, and the job libraries arq 0.28 and taskiq-redis 1.2 (list broker, result
backend and list schedule source).

AGQ runs no Lua scripts and has no streams yet. What a library misses by that, as its source has it (not run):

| library | needs |
| --- | --- |
| BullMQ, bee-queue | scripts for every job |
| Celery (kombu 5) | scripts to refresh and sweep bindings; the Redis result backend, for chords |
| dramatiq | a script for every message |
| huey | scripts for its schedule and priorities; the plain queue has none |
| rq | scripts to empty a queue, for the scheduler's lock and for rate limits |
| Sidekiq | a script that takes due jobs off its schedule |
| taskiq-redis, stream broker | streams |
";

struct RedisCommand {
    group: &'static str,
    name: &'static str,
}

fn redis_commands() -> impl Iterator<Item = RedisCommand> {
    REDIS_COMMANDS.lines().filter(|line| !line.starts_with('#')).filter_map(|line| {
        let mut words = line.split_whitespace();
        Some(RedisCommand { group: words.next()?, name: words.next()? })
    })
}

fn compat_page(commands: &[&Command]) -> String {
    let ours: BTreeMap<&str, &Command> = commands.iter().map(|command| (command.name, *command)).collect();
    let mut groups: BTreeMap<&str, Vec<RedisCommand>> = BTreeMap::new();
    for command in redis_commands() {
        groups.entry(command.group).or_default().push(command);
    }
    let known: BTreeSet<&str> = redis_commands().map(|command| command.name).collect();
    let there = known.iter().filter(|name| ours.contains_key(*name)).count();
    let mut page = format!(
        "# What AGQ has of Redis\n\nWritten by `cargo xtask docs` from the command table and the list of the commands of Redis 7.0.15: {there} of \
         {} are there.\nWhat is not there answers `ERR unknown command`, as Redis does for a name it does not know.\n\n\
         \"yes\" means: the same replies and the same errors, byte for byte, as script tests that run against both show.\n\n\
         A command whose reply would be larger than `--max-client-memory` or `--replies-limit` allow is refused with an error and \
         changes nothing; Redis\nruns it and ends the connection.\n",
        known.len()
    );
    for (group, commands) in groups {
        let _ = writeln!(page, "\n## {group}\n\n| command | in AGQ | how it differs |\n| --- | --- | --- |");
        for command in commands {
            let row = ours.get(command.name);
            let (there, differs) = match row.map(|row| row.differs) {
                None => ("no", ""),
                Some(None) => ("yes", ""),
                Some(Some(differs)) => ("differs", differs),
            };
            let _ = writeln!(page, "| {} | {there} | {differs} |", command.name);
        }
    }
    page.push_str(LIBRARIES);
    page.push_str("\n## Not in Redis\n\n[docs/commands.md](docs/commands.md) says what they do.\n\n");
    let own: Vec<&str> = ours.keys().copied().filter(|name| !known.contains(name)).collect();
    page.push_str(&if own.is_empty() { "None.\n".to_owned() } else { format!("{}.\n", own.join(", ")) });
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(name: &'static str, differs: Option<&'static str>) -> Command {
        let run = table::lookup(b"PING").unwrap().run;
        let row = Command::new(name, -2, Group::String, Flags::WRITE, run).doc("1.0.0", "key [x]", "Does it.");
        differs.map_or(row, |how| row.differs(how))
    }

    #[test]
    fn the_list_of_redis_is_whole() {
        assert_eq!(redis_commands().count(), 240);
        assert!(redis_commands().any(|command| command.name == "GET" && command.group == "string"));
    }

    #[test]
    fn a_command_is_there_differs_or_is_missing() {
        let (get, set) = (command("GET", None), command("SET", Some("it is slower")));
        let page = compat_page(&[&get, &set, &command("JOB.GET", None)]);
        assert!(page.contains("2 of 240"), "{page}");
        assert!(page.contains("| GET | yes |  |\n") && page.contains("| SET | differs | it is slower |\n"), "{page}");
        assert!(page.contains("| GETEX | no |  |\n") && page.ends_with("\nJOB.GET.\n"), "{page}");
    }

    #[test]
    fn a_section_says_what_the_row_says() {
        let page = commands_page(&[&command("GET", Some("it is slower."))]);
        let expected = "## String\n\n### GET\n\n`GET key [x]`\n\nDoes it.\n\nOther than in Redis: it is slower.\n\n\
            *Redis 1.0.0 · 1 argument or more · write*\n";
        assert!(page.ends_with(expected), "{page}");
    }
}
