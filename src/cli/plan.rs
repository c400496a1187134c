//! `agq plan`: plans are stored once and run often.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::json;

use super::connect::{ServerArgs, json, text};
use super::fields::{cell, short, time};
use super::inputs::read_text;
use super::number::any_number;
use super::table::{Align, Table};
use super::{exit, output};
use crate::jobs::plan::Plan;

/// `agq plan …`
#[derive(Debug, Args)]
pub(super) struct PlanArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Store a plan and print its id.
    Submit {
        /// File with the plan's JSON; '-' for standard input
        file: PathBuf,
        #[command(flatten)]
        common: Common,
    },
    /// Check a plan without storing it, and without a server; prints the id it would get.
    Validate {
        /// File with the plan's JSON; '-' for standard input
        file: PathBuf,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Print a plan.
    Get {
        /// The plan's id
        id: String,
        #[command(flatten)]
        common: Common,
    },
    /// List plans.
    List {
        /// Only ids like this: '*' stands for any text
        #[arg(default_value = "*")]
        pattern: String,
        /// Plans at most
        #[arg(long, default_value_t = 1000, value_parser = any_number(""))]
        limit: u64,
        /// Plans to pass over
        #[arg(long, default_value_t = 0, value_parser = any_number(""))]
        offset: u64,
        #[command(flatten)]
        common: Common,
    },
    /// Delete a plan that no unfinished job uses.
    Delete {
        /// The plan's id
        id: String,
        #[command(flatten)]
        common: Common,
    },
}

#[derive(Debug, Args)]
struct Common {
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

/// Runs one of them.
pub(super) async fn run(args: &PlanArgs) -> anyhow::Result<ExitCode> {
    match &args.verb {
        Verb::Submit { file, common } => {
            let plan = read_text(file)?;
            let (mut client, _) = common.server.connect().await?;
            let reply = client.call(&["PLAN.SUBMIT", &plan]).await?;
            print_id(text(&reply)?, common.json)?;
        }
        Verb::Validate { file, json } => {
            let plan = Plan::parse(read_text(file)?.as_bytes())?;
            print_id(&plan.id(), *json)?;
        }
        Verb::Get { id, common } => {
            let (mut client, _) = common.server.connect().await?;
            let plan = client.call(&["PLAN.GET", id]).await?;
            if common.json { output::line(text(&plan)?)? } else { print_plan(&json(&plan)?)? }
        }
        Verb::List { pattern, limit, offset, common } => {
            let (mut client, _) = common.server.connect().await?;
            let (limit, offset) = (limit.to_string(), offset.to_string());
            let reply = client.call(&["PLAN.LIST", pattern, "LIMIT", &limit, "OFFSET", &offset]).await?;
            let plans = super::connect::rows(&reply)?;
            if common.json { output::json(&plans.into())? } else { print_list(&plans)? }
        }
        Verb::Delete { id, common } => {
            let (mut client, _) = common.server.connect().await?;
            client.call(&["PLAN.DELETE", id]).await?;
            if common.json {
                output::json(&json!({"plan_id": id, "deleted": true}))?
            }
        }
    }
    Ok(exit::DONE)
}

fn print_id(id: &str, as_json: bool) -> anyhow::Result<()> {
    if as_json { output::json(&json!({"plan_id": id})) } else { output::line(id) }
}

fn print_list(plans: &[serde_json::Value]) -> anyhow::Result<()> {
    let mut table = Table::new(&[
        ("plan", Align::Left),
        ("tasks", Align::Right),
        ("created", Align::Left),
        ("description", Align::Left),
    ]);
    for plan in plans {
        let description = short(&cell(plan, "description"), 60);
        table.row([cell(plan, "plan_id"), cell(plan, "task_count"), time(plan, "created_at"), description]);
    }
    table.print()
}

fn print_plan(plan: &serde_json::Value) -> anyhow::Result<()> {
    output::line(format_args!("{}  {}", cell(plan, "plan_id"), cell(plan, "plan_description")))?;
    let mut table = Table::new(&[
        ("task", Align::Right),
        ("stdin", Align::Right),
        ("needs", Align::Left),
        ("timeout", Align::Right),
        ("command", Align::Left),
    ]);
    for task in plan["tasks"].as_array().into_iter().flatten() {
        let words = std::iter::once(&task["command"]).chain(task["args"].as_array().into_iter().flatten());
        let words: Vec<&str> = words.filter_map(serde_json::Value::as_str).collect();
        let command = words.join(" ");
        let needs = match task["needs"].as_array() {
            None => String::new(),
            Some(needs) if needs.is_empty() => "none".to_owned(),
            Some(needs) => needs.iter().map(serde_json::Value::to_string).collect::<Vec<_>>().join(","),
        };
        let (number, stdin) = (cell(task, "task_number"), cell(task, "input_from_task"));
        table.row([number, stdin, needs, cell(task, "timeout_secs"), command]);
    }
    table.print()
}
