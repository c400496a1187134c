//! `agq webhook`: who is told of what happens, and how that goes.

use std::path::PathBuf;
use std::process::ExitCode;

use agq_resp::Reply;
use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::connect::{ServerArgs, json, rows};
use super::fields::{cell, short, time};
use super::inputs::read_text;
use super::number::any_number;
use super::output::Colour;
use super::table::{Align, Table};
use super::{exit, output};

/// `agq webhook …`
#[derive(Debug, Args)]
pub(super) struct WebhookArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Send events to a web server from now on; a webhook that is there gets these terms instead of its own.
    Add(Add),
    /// List webhooks, and how far they are behind.
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Show a webhook: its terms, how far it has come, and what went wrong last.
    Get {
        #[command(flatten)]
        named: Named,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Stop its deliveries; it keeps its place among the events.
    Pause(Named),
    /// Let its deliveries go on where they stood.
    Resume(Named),
    /// Remove it.
    Delete(Named),
}

#[derive(Debug, Args)]
struct Add {
    #[command(flatten)]
    named: Named,
    /// Where to send them: an http or https address
    url: String,
    /// Which events: job.completed, action.failed, job.*, *; several times, or with commas
    #[arg(long, value_name = "EVENT", value_delimiter = ',', required = true)]
    events: Vec<String>,
    /// Only events of this queue
    #[arg(long, value_name = "NAME")]
    queue: Option<String>,
    /// File with the secret that deliveries are signed with; '-' for standard input
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// Milliseconds that the web server may take
    #[arg(long, value_name = "MS", value_parser = any_number("milliseconds"))]
    timeout_ms: Option<u64>,
    /// How often an event is tried before it is given up
    #[arg(long, value_name = "N", value_parser = any_number(""))]
    max_attempts: Option<u64>,
}

#[derive(Debug, Args)]
struct Named {
    /// The webhook's id
    id: String,
    #[command(flatten)]
    server: ServerArgs,
}

/// Runs one of them.
pub(super) async fn run(args: &WebhookArgs) -> anyhow::Result<ExitCode> {
    match &args.verb {
        Verb::Add(add) => add.run().await?,
        Verb::List { json, server } => list(*json, server).await?,
        Verb::Get { named, json } => get(named, *json).await?,
        Verb::Pause(named) => drop(named.call("WEBHOOK.PAUSE").await?),
        Verb::Resume(named) => drop(named.call("WEBHOOK.RESUME").await?),
        Verb::Delete(named) => drop(named.call("WEBHOOK.DELETE").await?),
    }
    Ok(exit::DONE)
}

impl Named {
    async fn call(&self, command: &str) -> anyhow::Result<Reply> {
        let (mut client, _) = self.server.connect().await?;
        Ok(client.call(&[command, &self.id]).await?)
    }
}

impl Add {
    async fn run(&self) -> anyhow::Result<()> {
        let mut terms = json!({"url": self.url, "events": self.events});
        if let Some(file) = &self.secret_file {
            // Whoever writes a file ends its line.
            terms["secret"] = read_text(file)?.trim_end_matches(['\r', '\n']).into();
        }
        let more = [
            ("queue", self.queue.clone().map(Value::from)),
            ("timeout_ms", self.timeout_ms.map(Value::from)),
            ("max_attempts", self.max_attempts.map(Value::from)),
        ];
        for (name, value) in more {
            if let Some(value) = value {
                terms[name] = value;
            }
        }
        let (mut client, _) = self.named.server.connect().await?;
        client.call(&["WEBHOOK.PUT", &self.named.id, &terms.to_string()]).await?;
        Ok(())
    }
}

/// What a webhook does, in a word.
fn state(webhook: &Value) -> (&'static str, Colour) {
    let is = |name: &str| webhook[name] == true;
    match () {
        () if webhook.get("refused").is_some() => ("refused", Colour::Red),
        () if is("gone") => ("gone", Colour::Red),
        () if is("paused") => ("paused", Colour::Yellow),
        () if webhook.get("retry_at").is_some() => ("failing", Colour::Red),
        () => ("active", Colour::Green),
    }
}

async fn list(as_json: bool, server: &ServerArgs) -> anyhow::Result<()> {
    let (mut client, _) = server.connect().await?;
    let webhooks = rows(&client.call(&["WEBHOOK.LIST"]).await?)?;
    if as_json {
        return output::json(&webhooks.into());
    }
    let mut table = Table::new(&[
        ("webhook", Align::Left),
        ("state", Align::Left),
        ("behind", Align::Right),
        ("delivered", Align::Right),
        ("given up", Align::Right),
        ("last delivery", Align::Left),
        ("url", Align::Left),
    ]);
    for webhook in &webhooks {
        let plain = |text: String| (text, Colour::Plain);
        let (word, colour) = state(webhook);
        table.painted([
            plain(cell(webhook, "webhook")),
            (word.to_owned(), colour),
            plain(cell(webhook, "behind")),
            plain(cell(webhook, "delivered")),
            plain(cell(webhook, "given_up")),
            plain(time(webhook, "delivered_at")),
            plain(short(&cell(webhook, "url"), 60)),
        ]);
    }
    table.print()
}

async fn get(named: &Named, as_json: bool) -> anyhow::Result<()> {
    let webhook = json(&named.call("WEBHOOK.GET").await?)?;
    if as_json {
        return output::json(&webhook);
    }
    let mut table = Table::new(&[("what", Align::Left), ("value", Align::Left)]);
    for name in webhook.as_object().unwrap_or(&Map::new()).keys() {
        table.row([name.clone(), cell(&webhook, name)]);
    }
    table.print()
}
