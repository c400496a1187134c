//! `agq queue`: what waits where.

use std::process::ExitCode;

use anyhow::bail;
use clap::{Args, Subcommand};
use serde_json::{Map, Value};

use super::connect::ServerArgs;
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
    /// Count the jobs of all queues by their status.
    Stats {
        /// Print JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        server: ServerArgs,
    },
}

/// Runs one of them.
pub(super) async fn run(args: &QueueArgs) -> anyhow::Result<ExitCode> {
    let Verb::Stats { json, server } = &args.verb;
    let (mut client, _) = server.connect().await?;
    let reply = client.call(&["QUEUE.STATS"]).await?;
    let Some(pairs) = reply.into_map() else { bail!("the server's answer to QUEUE.STATS is no list of pairs") };
    let pairs = pairs.iter().filter_map(|(name, value)| {
        let value = value.as_int().or_else(|| value.as_str()?.parse().ok())?;
        Some((name.as_str()?.to_owned(), value))
    });
    if *json {
        output::json(&Value::Object(pairs.map(|(name, value)| (name, value.into())).collect::<Map<_, _>>()))?;
    } else {
        let mut table = Table::new(&[("what", Align::Left), ("count", Align::Right)]);
        pairs.for_each(|(name, value)| table.row([name, value.to_string()]));
        table.print()?;
    }
    Ok(exit::DONE)
}
