//! `agq queue`: what waits where, and whether it is given out.

use std::process::ExitCode;

use agq_resp::Reply;
use anyhow::bail;
use clap::{Args, Subcommand};
use serde_json::{Map, Value};

use super::connect::{ServerArgs, json, rows};
use super::fields::cell;
use super::job_control::print_progress;
use super::table::{Align, Table};
use super::{exit, output};

/// `agq queue …`
#[derive(Debug, Args)]
pub(super) struct QueueArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List queues, with how many of their jobs have which status.
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Stop claims from a queue; jobs can still be submitted.
    Pause(Named),
    /// Let claims from a queue go on.
    Resume(Named),
    /// Cancel all jobs of a queue that have not started.
    Purge(Named),
    /// Remove a queue, its bounds and its jobs, which must have ended.
    Delete(Named),
    /// Count the jobs of all queues by their status.
    Stats {
        /// Print JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        server: ServerArgs,
    },
}

#[derive(Debug, Args)]
struct Named {
    /// The queue's name
    queue: String,
    #[command(flatten)]
    server: ServerArgs,
}

/// Runs one of them.
pub(super) async fn run(args: &QueueArgs) -> anyhow::Result<ExitCode> {
    match &args.verb {
        Verb::List { json, server } => list(*json, server).await,
        Verb::Pause(named) => named.call("QUEUE.PAUSE").await.map(|_| exit::DONE),
        Verb::Resume(named) => named.call("QUEUE.RESUME").await.map(|_| exit::DONE),
        Verb::Purge(named) => {
            print_progress(&json(&named.call("QUEUE.PURGE").await?)?, "cancelled")?;
            Ok(exit::DONE)
        }
        Verb::Delete(named) => {
            print_progress(&json(&named.call("QUEUE.DELETE").await?)?, "removed")?;
            Ok(exit::DONE)
        }
        Verb::Stats { json, server } => stats(*json, server).await,
    }
}

impl Named {
    async fn call(&self, command: &str) -> anyhow::Result<Reply> {
        let (mut client, _) = self.server.connect().await?;
        Ok(client.call(&[command, &self.queue]).await?)
    }
}

async fn list(as_json: bool, server: &ServerArgs) -> anyhow::Result<ExitCode> {
    let (mut client, _) = server.connect().await?;
    let queues = rows(&client.call(&["QUEUE.LIST"]).await?)?;
    if as_json {
        output::json(&queues.into())?;
        return Ok(exit::DONE);
    }
    let statuses = ["pending", "scheduled", "running", "waiting", "completed", "failed", "cancelled"];
    let columns = std::iter::once(("queue", Align::Left)).chain(statuses.map(|status| (status, Align::Right)));
    let mut table = Table::new(&columns.chain([("paused", Align::Left)]).collect::<Vec<_>>());
    for queue in &queues {
        let paused = if queue["paused"] == true { "yes" } else { "" };
        let counts = statuses.map(|status| cell(queue, status));
        table.row(std::iter::once(cell(queue, "queue")).chain(counts).chain([paused.to_owned()]));
    }
    table.print()?;
    Ok(exit::DONE)
}

async fn stats(as_json: bool, server: &ServerArgs) -> anyhow::Result<ExitCode> {
    let (mut client, _) = server.connect().await?;
    let reply = client.call(&["QUEUE.STATS"]).await?;
    let Some(pairs) = reply.into_map() else { bail!("the server's answer to QUEUE.STATS is no list of pairs") };
    let pairs = pairs.iter().filter_map(|(name, value)| {
        let value = value.as_int().or_else(|| value.as_str()?.parse().ok())?;
        Some((name.as_str()?.to_owned(), value))
    });
    if as_json {
        output::json(&Value::Object(pairs.map(|(name, value)| (name, value.into())).collect::<Map<_, _>>()))?;
    } else {
        let mut table = Table::new(&[("what", Align::Left), ("count", Align::Right)]);
        pairs.for_each(|(name, value)| table.row([name, value.to_string()]));
        table.print()?;
    }
    Ok(exit::DONE)
}
