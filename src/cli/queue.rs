//! `agq queue`: what waits where, and whether it is given out.

use std::process::ExitCode;

use agq_resp::Reply;
use anyhow::bail;
use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::connect::{self, ServerArgs, rows};
use super::duration::parse_ms;
use super::fields::cell;
use super::job_control::print_progress;
use super::number::any_number;
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
    /// Bound how many jobs of a queue run at once or start in a time; without a bound, print those in force.
    Limit(LimitArgs),
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
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Debug, Args)]
struct LimitArgs {
    /// Jobs that run at once; 0 for no bound
    #[arg(long, value_name = "N", value_parser = any_number(""))]
    concurrency: Option<u64>,
    /// Jobs of each key that run at once; 0 for no bound
    #[arg(long, value_name = "N", value_parser = any_number(""))]
    key_concurrency: Option<u64>,
    /// Jobs that start in a time, as 10/s, 100/5m or 5/500ms; 0 for no bound
    #[arg(long, value_name = "N/TIME", value_parser = parse_rate)]
    rate: Option<Rate>,
    /// Jobs that may start at once after a pause [default: as many as the rate has]
    #[arg(long, value_name = "N", requires = "rate", value_parser = any_number(""))]
    burst: Option<u64>,
    #[command(flatten)]
    named: Named,
}

/// Jobs in a time; `None` for no bound.
type Rate = Option<(u64, u64)>;

fn parse_rate(text: &str) -> Result<Rate, String> {
    let expected =
        || format!("'{text}' is no rate: expected something like 10/s, 100/5m or 5/500ms, or 0 for no bound");
    if text == "0" {
        return Ok(None);
    }
    let (jobs, time) = text.split_once('/').ok_or_else(expected)?;
    let jobs = jobs.parse().ok().filter(|jobs| *jobs > 0).ok_or_else(expected)?;
    // `10/s` is `10/1s`, while `10/5` would leave open what five.
    let time = if time.starts_with(|c: char| c.is_ascii_alphabetic()) { format!("1{time}") } else { time.to_owned() };
    let per_ms = parse_ms(&time).ok().filter(|ms| *ms > 0 && time.parse::<u64>().is_err());
    Ok(Some((jobs, per_ms.ok_or_else(expected)?)))
}

impl LimitArgs {
    /// The bounds as words of a command.
    fn words(&self) -> Vec<String> {
        let mut words = Vec::new();
        let mut add = |name: &str, value: Option<u64>| {
            words.extend(value.into_iter().flat_map(|value| [name.to_owned(), value.to_string()]));
        };
        add("CONCURRENCY", self.concurrency);
        add("KEY-CONCURRENCY", self.key_concurrency);
        if let Some(rate) = self.rate {
            add("RATE", Some(rate.map_or(0, |(jobs, _)| jobs)));
            add("PER", rate.map(|(_, per_ms)| per_ms));
        }
        add("BURST", self.burst);
        words
    }
}

/// Runs one of them.
pub(super) async fn run(args: &QueueArgs) -> anyhow::Result<ExitCode> {
    match &args.verb {
        Verb::List { json, server } => list(*json, server).await,
        Verb::Pause(named) => named.switch("QUEUE.PAUSE", true).await,
        Verb::Resume(named) => named.switch("QUEUE.RESUME", false).await,
        Verb::Purge(named) => named.change("QUEUE.PURGE", "cancelled").await,
        Verb::Limit(args) => limit(args).await,
        Verb::Delete(named) => named.change("QUEUE.DELETE", "removed").await,
        Verb::Stats { json, server } => stats(*json, server).await,
    }
}

impl Named {
    async fn call(&self, command: &str, more: &[String]) -> anyhow::Result<Reply> {
        let (mut client, _) = self.server.connect().await?;
        let words: Vec<&str> = [command, &self.queue].into_iter().chain(more.iter().map(String::as_str)).collect();
        Ok(client.call(&words).await?)
    }

    async fn switch(&self, command: &str, paused: bool) -> anyhow::Result<ExitCode> {
        self.call(command, &[]).await?;
        if self.json {
            output::json(&json!({"queue": self.queue, "paused": paused}))?;
        }
        Ok(exit::DONE)
    }

    /// Changes many jobs, and says how far that has come.
    async fn change(&self, command: &str, what: &str) -> anyhow::Result<ExitCode> {
        let progress = connect::json(&self.call(command, &[]).await?)?;
        if self.json {
            output::json(&progress)?;
        } else {
            print_progress(&progress, what)?;
        }
        Ok(exit::DONE)
    }
}

async fn limit(args: &LimitArgs) -> anyhow::Result<ExitCode> {
    let limits = connect::json(&args.named.call("QUEUE.LIMIT", &args.words()).await?)?;
    if args.named.json {
        output::json(&limits)?;
        return Ok(exit::DONE);
    }
    let mut table = Table::new(&[("bound", Align::Left), ("jobs", Align::Right), ("per", Align::Left)]);
    for (name, field) in [("concurrency", "concurrency"), ("key concurrency", "key_concurrency")] {
        table.row([name.to_owned(), bound(&limits, field), String::new()]);
    }
    let rate = &limits["rate"];
    let per = if rate.is_null() { String::new() } else { format!("{} ms", cell(rate, "per_ms")) };
    table.row(["rate".to_owned(), bound(rate, "jobs"), per]);
    table.row(["burst".to_owned(), bound(rate, "burst"), String::new()]);
    table.print()?;
    Ok(exit::DONE)
}

/// A bound, or that there is none.
fn bound(limits: &Value, field: &str) -> String {
    Some(cell(limits, field)).filter(|bound| !bound.is_empty()).unwrap_or_else(|| "none".to_owned())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_name_their_time() {
        assert_eq!(parse_rate("10/s"), Ok(Some((10, 1_000))));
        assert_eq!(parse_rate("100/5m"), Ok(Some((100, 300_000))));
        assert_eq!(parse_rate("5/500ms"), Ok(Some((5, 500))));
        assert_eq!(parse_rate("0"), Ok(None));
        for wrong in ["", "10", "10/", "10/5", "0/s", "x/s", "10/0s", "10/x"] {
            assert!(parse_rate(wrong).is_err_and(|error| error.contains("expected something like 10/s")), "{wrong}");
        }
    }
}
