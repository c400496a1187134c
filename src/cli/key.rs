//! `agq key`: access keys, each for somebody who may do a part of things; `agq audit`: what was done and refused.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::connect::{ServerArgs, rows};
use super::duration::parse_ms;
use super::fields::{cell, short, time};
use super::number::number;
use super::output::{Colour, write};
use super::table::{Align, Table};
use super::{exit, output};

/// `agq key …`
#[derive(Debug, Args)]
pub(super) struct KeyArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Make a key and print its secret, which is never shown again.
    Create(Create),
    /// List keys and what each may do.
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Remove a key and end its connections at once.
    Revoke {
        /// The key's name
        name: String,
        #[command(flatten)]
        server: ServerArgs,
    },
}

#[derive(Debug, Args)]
#[command(
    after_help = "Patterns are globs: 'build-*', '*'. Each option may be given several times, or with commas.\n\n  agq key \
                  create ci --submit 'build-*' --read 'build-*'\n  agq key create builder --work 'build-*' --expires 90d"
)]
struct Create {
    /// Its name: who it is given to
    name: String,
    /// It may do everything
    #[arg(long)]
    admin: bool,
    /// Queues to which it may submit jobs, and whose jobs it may cancel, retry and remove
    #[arg(long, value_name = "QUEUES", value_delimiter = ',')]
    submit: Vec<String>,
    /// Queues whose jobs it may claim; it touches only those that were claimed with it
    #[arg(long, value_name = "QUEUES", value_delimiter = ',')]
    work: Vec<String>,
    /// Queues whose jobs it may see, with what they were given and gave
    #[arg(long, value_name = "QUEUES", value_delimiter = ',')]
    read: Vec<String>,
    /// Keys that it may read and change
    #[arg(long, value_name = "PATTERN", value_delimiter = ',')]
    keys: Vec<String>,
    /// Keys that it may read
    #[arg(long, value_name = "PATTERN", value_delimiter = ',')]
    read_keys: Vec<String>,
    /// Keys that it may change, without reading them
    #[arg(long, value_name = "PATTERN", value_delimiter = ',')]
    write_keys: Vec<String>,
    /// Channels that it may publish and subscribe to
    #[arg(long, value_name = "PATTERN", value_delimiter = ',')]
    channels: Vec<String>,
    /// How long it counts: 90d, 12h [default: until it is revoked]
    #[arg(long, value_name = "TIME", value_parser = parse_ms)]
    expires: Option<u64>,
    #[command(flatten)]
    server: ServerArgs,
}

/// Runs one of them.
pub(super) async fn run(args: &KeyArgs) -> anyhow::Result<ExitCode> {
    match &args.verb {
        Verb::Create(create) => create.run().await?,
        Verb::List { json, server } => list(*json, server).await?,
        Verb::Revoke { name, server } => {
            let (mut client, _) = server.connect().await?;
            client.call(&["KEY.REVOKE", name]).await?;
        }
    }
    Ok(exit::DONE)
}

impl Create {
    /// The words of KEY.CREATE.
    fn command(&self) -> Vec<String> {
        let mut words = vec!["KEY.CREATE".to_owned(), self.name.clone()];
        if self.admin {
            words.push("ADMIN".to_owned());
        }
        let scopes = [
            ("SUBMIT", &self.submit),
            ("WORK", &self.work),
            ("READ", &self.read),
            ("KEYS", &self.keys),
            ("READ-KEYS", &self.read_keys),
            ("WRITE-KEYS", &self.write_keys),
            ("CHANNELS", &self.channels),
        ];
        for (role, patterns) in scopes {
            words.extend(patterns.iter().flat_map(|pattern| [role.to_owned(), pattern.clone()]));
        }
        words.extend(self.expires.into_iter().flat_map(|ms| ["EXPIRES".to_owned(), ms.to_string()]));
        words
    }

    async fn run(&self) -> anyhow::Result<()> {
        let command = self.command();
        anyhow::ensure!(
            command.len() > 2 + if self.expires.is_some() { 2 } else { 0 },
            "say what the key may do: --submit, --work, --read, --keys, --channels or --admin"
        );
        let (mut client, _) = self.server.connect().await?;
        let reply = client.call(&command).await?;
        let secret = reply.as_str().with_context(|| "KEY.CREATE answered no secret".to_owned())?;
        write(format!("{secret}\n"))
    }
}

async fn list(as_json: bool, server: &ServerArgs) -> anyhow::Result<()> {
    let (mut client, _) = server.connect().await?;
    let keys = rows(&client.call(&["KEY.LIST"]).await?)?;
    if as_json {
        return output::json(&keys.into());
    }
    let columns = ["key", "state", "created", "expires", "may"].map(|name| (name, Align::Left));
    let mut table = Table::new(&columns);
    for key in &keys {
        let plain = |text: String| (text, Colour::Plain);
        let state = if key["expired"] == true { ("expired", Colour::Red) } else { ("active", Colour::Green) };
        let scopes = key["scopes"].as_array().into_iter().flatten().filter_map(Value::as_str);
        table.painted([
            plain(cell(key, "key")),
            (state.0.to_owned(), state.1),
            plain(time(key, "created_at")),
            plain(time(key, "expires_at")),
            plain(scopes.collect::<Vec<_>>().join(", ")),
        ]);
    }
    table.print()
}

/// `agq audit`
#[derive(Debug, Args)]
pub(super) struct AuditArgs {
    /// The most entries to print, the newest first
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = number("", 0..=usize::MAX))]
    limit: usize,
    /// Only what was refused
    #[arg(long)]
    refused: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

/// Prints the audit log.
pub(super) async fn audit(args: &AuditArgs) -> anyhow::Result<ExitCode> {
    let (mut client, _) = args.server.connect().await?;
    let (mut cursor, mut entries) = ("0".to_owned(), Vec::new());
    while entries.len() < args.limit {
        let page = client.call(&["AUDIT.LIST", "CURSOR", &cursor, "LIMIT", "1000"]).await?;
        let parts = page.as_array().and_then(|parts| Some((parts.first()?.as_str()?, parts.get(1)?)));
        let (next, found) = parts.with_context(|| format!("AUDIT.LIST answered {page:?}"))?;
        entries.extend(rows(found)?.into_iter().filter(|entry| !args.refused || entry["kind"] == "refusal"));
        next.clone_into(&mut cursor);
        if cursor == "0" {
            break;
        }
    }
    entries.truncate(args.limit);
    if args.json {
        return output::json(&json!(entries)).map(|()| exit::DONE);
    }
    let columns = ["time", "key", "from", "command", "outcome"].map(|name| (name, Align::Left));
    let mut table = Table::new(&columns);
    for entry in &entries {
        let colour = if entry["kind"] == "refusal" { Colour::Red } else { Colour::Plain };
        let cells = [time(entry, "at"), cell(entry, "key"), cell(entry, "address"), short(&cell(entry, "command"), 60)];
        let cells = cells.into_iter().map(|text| (text, Colour::Plain));
        table.painted(cells.chain([(short(&cell(entry, "outcome"), 100), colour)]));
    }
    table.print().map(|()| exit::DONE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        create: Create,
    }

    #[test]
    fn options_become_scopes() {
        let words = ["key", "ci", "--submit", "a,b", "--read-keys", "c*", "--work", "*", "--expires", "1h"];
        assert_eq!(
            Line::parse_from(words).create.command().join(" "),
            "KEY.CREATE ci SUBMIT a SUBMIT b WORK * READ-KEYS c* EXPIRES 3600000"
        );
    }
}
