//! `agq schedule`: jobs that come again and again.

use std::process::ExitCode;

use agq_client::{Client, Reply};
use anyhow::{anyhow, bail};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::connect::{ServerArgs, json, rows, text};
use super::fields::{cell, time};
use super::number::any_number;
use super::schedule_add::{self, AddArgs};
use super::table::{Align, Table};
use super::{exit, output};

/// `agq schedule …`
#[derive(Debug, Args)]
pub(super) struct ScheduleArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Submit a job again and again, and print the schedule's id; one of this id gets the new definition.
    Add(Box<AddArgs>),
    /// List schedules, with what became of their ticks.
    List(Common),
    /// Print a schedule.
    Get(Named),
    /// Print when the next ticks come.
    Next {
        #[command(flatten)]
        named: Named,
        /// Ticks at most
        #[arg(long, short, value_name = "N", default_value_t = 5, value_parser = any_number(""))]
        number: u64,
    },
    /// Stop schedules.
    Pause(Several),
    /// Let schedules go on with the first tick that comes from now on.
    Resume(Several),
    /// Submit a schedule's job now, and print the job's id.
    Run(Named),
    /// Remove schedules; the jobs that they submitted stay.
    Delete(Several),
}

#[derive(Debug, Args)]
struct Common {
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Debug, Args)]
struct Named {
    /// The schedule's id
    id: String,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
struct Several {
    /// The schedules' ids
    #[arg(required = true)]
    ids: Vec<String>,
    #[command(flatten)]
    common: Common,
}

/// Runs one of them.
pub(super) async fn run(args: &ScheduleArgs) -> anyhow::Result<ExitCode> {
    match &args.verb {
        Verb::Add(args) => schedule_add::run(args).await?,
        Verb::List(common) => list(common).await?,
        Verb::Get(named) => {
            let reply = named.call("SCHEDULE.GET", &[]).await?;
            if named.common.json { output::line(text(&reply)?)? } else { print(&json(&reply)?)? }
        }
        Verb::Next { named, number } => {
            let reply = named.call("SCHEDULE.NEXT", &[&number.to_string()]).await?;
            let times = reply.as_array().ok_or_else(|| anyhow!("the server's answer to SCHEDULE.NEXT is no list"))?;
            let times = times.iter().map(text).collect::<anyhow::Result<Vec<_>>>()?;
            if named.common.json { output::json(&json!(times))? } else { print_lines(&times)? }
        }
        Verb::Pause(several) => several.call("SCHEDULE.PAUSE").await?,
        Verb::Resume(several) => several.call("SCHEDULE.RESUME").await?,
        Verb::Run(named) => {
            let reply = named.call("SCHEDULE.RUN", &[]).await?;
            let job = text(&reply)?;
            if named.common.json { output::json(&json!({"job_id": job}))? } else { output::line(job)? }
        }
        Verb::Delete(several) => several.call("SCHEDULE.DELETE").await?,
    }
    Ok(exit::DONE)
}

impl Named {
    async fn call(&self, command: &str, more: &[&str]) -> anyhow::Result<Reply> {
        let (mut client, _) = self.common.server.connect().await?;
        Ok(client.call(&[&[command, self.id.as_str()], more].concat()).await?)
    }
}

impl Several {
    /// Calls the command for each, and prints what it answers where JSON is asked for.
    async fn call(&self, command: &str) -> anyhow::Result<()> {
        let (mut client, _) = self.common.server.connect().await?;
        let mut answers = Vec::with_capacity(self.ids.len());
        for id in &self.ids {
            let reply = client.call(&[command, id]).await?;
            answers.push(json(&reply).unwrap_or_else(|_| json!({"schedule_id": id, "deleted": true})));
        }
        if self.common.json { output::json(&answers.into()) } else { Ok(()) }
    }
}

fn print_lines(lines: &[&str]) -> anyhow::Result<()> {
    lines.iter().try_for_each(output::line)
}

/// All schedules, page by page.
async fn all(client: &mut Client) -> anyhow::Result<Vec<Value>> {
    let (mut schedules, mut cursor) = (Vec::new(), "0".to_owned());
    loop {
        let reply = client.call(&["SCHEDULE.LIST", "CURSOR", &cursor, "LIMIT", "1000"]).await?;
        let Some([next, page]) = reply.as_array() else { bail!("the server's answer to SCHEDULE.LIST is no page") };
        schedules.extend(rows(page)?);
        text(next)?.clone_into(&mut cursor);
        if cursor == "0" {
            return Ok(schedules);
        }
    }
}

async fn list(common: &Common) -> anyhow::Result<()> {
    let (mut client, _) = common.server.connect().await?;
    let schedules = all(&mut client).await?;
    if common.json {
        return output::json(&schedules.into());
    }
    let texts = ["schedule", "cron", "zone", "next", "last"].map(|name| (name, Align::Left));
    let counts = ["fired", "skipped", "missed", "refused"];
    let mut table = Table::new(&[&texts[..], &counts.map(|name| (name, Align::Right))].concat());
    for schedule in &schedules {
        let next = if schedule["paused"] == true { "paused".to_owned() } else { time(schedule, "next_at") };
        let texts = ["schedule_id", "cron", "zone"].map(|name| cell(schedule, name));
        let times = [next, time(schedule, "last_at")];
        table.row(texts.into_iter().chain(times).chain(counts.map(|name| cell(schedule, name))));
    }
    table.print()
}

fn print(schedule: &Value) -> anyhow::Result<()> {
    output::line(format_args!("{}  {}", cell(schedule, "schedule_id"), cell(schedule, "cron")))?;
    let paused = if schedule["paused"] == true { "paused" } else { "" };
    let policies = format!("missed {}, overlapping {}", cell(schedule, "misfire"), cell(schedule, "overlap"));
    let counts = ["fired", "skipped", "missed", "refused"].map(|name| format!("{} {name}", cell(schedule, name)));
    let error = schedule.get("last_error").map(|error| format!("{}: {}", time(error, "at"), cell(error, "error")));
    let lines = [
        ("zone", cell(schedule, "zone")),
        ("from", time(schedule, "start_at")),
        ("until", time(schedule, "end_at")),
        ("ticks", policies),
        ("job", cell(schedule, "job")),
        ("created", time(schedule, "created_at")),
        ("paused", paused.to_owned()),
        ("next", time(schedule, "next_at")),
        ("last", [time(schedule, "last_at"), cell(schedule, "last_job_id")].join(" ").trim().to_owned()),
        ("so far", counts.join(", ")),
        ("error", error.unwrap_or_default()),
    ];
    let told = lines.iter().filter(|(_, value)| !value.is_empty());
    { told }.try_for_each(|(name, value)| output::line(format_args!("{name:<8} {value}")))
}
