//! `agq worker` runs jobs; `agq worker list` says who else does.

use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::Value;
use tokio::sync::watch;

use super::connect::{ServerArgs, rows};
use super::fields::{cell, short, time};
use super::number::{any_number, number};
use super::output::Colour;
use super::sandbox::SandboxArgs;
use super::signals::Signals;
use super::table::{Align, Table};
use super::{exit, log, output};
use crate::worker::{self, Config, Phase, on_path};

/// `agq worker …`
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Programs run without a shell, each in a process group of its own, in the folder that the worker was \
                  started in. Their environment holds PATH, HOME and TMPDIR of the worker, what the task's env says, \
                  and AGQ_JOB_ID, AGQ_ACTION_ID, AGQ_PLAN_ID, AGQ_TASK_NUMBER, AGQ_ATTEMPT, AGQ_EPOCH, AGQ_QUEUE and \
                  AGQ_WORKER_ID; nothing else.\n\nThe first SIGTERM or SIGINT drains: no further claims, and what runs \
                  may finish; SIGHUP counts as one. The second stops what runs and gives it back. The third kills it and \
                  leaves at once."
)]
pub(super) struct WorkerArgs {
    #[command(flatten)]
    work: WorkArgs,
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List the workers that the server knows.
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        server: ServerArgs,
    },
}

#[derive(Debug, Args)]
struct WorkArgs {
    #[command(flatten)]
    log: log::LogArgs,
    /// Queue to claim from; may be given several times, the first comes first
    #[arg(
        long = "queue",
        short,
        env = "AGQ_QUEUES",
        value_name = "NAME",
        default_value = "ready",
        value_delimiter = ','
    )]
    queues: Vec<String>,
    #[command(flatten)]
    limits: Limits,
    /// Beginning of the worker's id; every start adds something of its own [default: the host's name]
    #[arg(long, env = "AGQ_WORKER_NAME", value_name = "NAME")]
    name: Option<String>,
    /// Programs that the worker has, for jobs that need them [default: what is on PATH]
    #[arg(long, env = "AGQ_TOOLS", value_name = "NAME,…", value_delimiter = ',')]
    tools: Option<Vec<String>>,
    /// What else distinguishes the worker
    #[arg(long, env = "AGQ_TAGS", value_name = "NAME,…", value_delimiter = ',')]
    tags: Vec<String>,
    /// Seconds that what runs may go on while draining
    #[arg(long, env = "AGQ_DRAIN_GRACE", value_name = "S", default_value_t = 25, value_parser = any_number("seconds"))]
    drain_grace: u64,
    #[command(flatten)]
    server: ServerArgs,
}

/// How a worker runs jobs, for `agq worker` and `agq run` alike.
#[derive(Debug, Clone, Args)]
pub(super) struct Limits {
    /// Jobs to run at a time [default: the number of processors]
    #[arg(long, short = 'c', env = "AGQ_CONCURRENCY", value_name = "N", value_parser = number("", 1..=1024_usize))]
    concurrency: Option<usize>,
    /// Tasks of one job to run at a time, where its plan says what they need [default: the number of processors]
    #[arg(long, env = "AGQ_TASK_CONCURRENCY", value_name = "N", value_parser = number("", 1..=1024_usize))]
    task_concurrency: Option<usize>,
    /// Seconds that a task may run which says nothing about it; 0: for ever
    #[arg(long, env = "AGQ_TASK_TIMEOUT", value_name = "S", default_value_t = 300,
          value_parser = number("seconds", 0..=86_400_u64))]
    task_timeout: u64,
    /// Seconds between SIGTERM and SIGKILL when a program must stop
    #[arg(long, env = "AGQ_KILL_GRACE", value_name = "S", default_value_t = 5,
          value_parser = number("seconds", 0..=86_400_u64))]
    kill_grace: u64,
    /// Milliseconds that a claim holds without a heartbeat [default: the server's, 30000]
    #[arg(long, env = "AGQ_WORKER_LEASE", value_name = "MS", value_parser = number("milliseconds", 1_000..=43_200_000_u64))]
    lease: Option<u64>,
    /// Milliseconds between two heartbeats; never more than a third of a lease [default: the server's, 10000]
    #[arg(long, env = "AGQ_WORKER_HEARTBEAT", value_name = "MS",
          value_parser = number("milliseconds", 1_000..=3_600_000_u64))]
    heartbeat: Option<u64>,
    #[command(flatten)]
    sandbox: SandboxArgs,
}

impl Limits {
    /// Checks what depends on the system.
    ///
    /// # Errors
    /// When it cannot do what is asked for.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        self.sandbox.sandbox().map(drop)
    }

    /// A worker's settings with these limits.
    ///
    /// # Errors
    /// As [`Limits::check`].
    pub(super) fn config(
        &self,
        connect: agq_client::ConnectOptions,
        worker_id: String,
        queues: Vec<String>,
    ) -> anyhow::Result<Config> {
        let processors = || std::thread::available_parallelism().map_or(1, usize::from);
        Ok(Config {
            connect,
            worker_id,
            queues,
            concurrency: self.concurrency.unwrap_or_else(processors),
            task_concurrency: self.task_concurrency.unwrap_or_else(processors),
            tools: on_path(&std::env::var_os("PATH").unwrap_or_default()),
            tags: Vec::new(),
            lease: self.lease.map(Duration::from_millis),
            heartbeat: self.heartbeat.map(Duration::from_millis),
            task_timeout: (self.task_timeout > 0).then(|| Duration::from_secs(self.task_timeout)),
            kill_grace: Duration::from_secs(self.kill_grace),
            drain_grace: Duration::ZERO,
            sandbox: self.sandbox.sandbox()?,
        })
    }
}

/// Works, or lists who does.
pub(super) async fn run(args: &WorkerArgs) -> anyhow::Result<ExitCode> {
    match &args.verb {
        None => work(&args.work).await,
        Some(Verb::List { json, server }) => {
            let (mut client, _) = server.connect().await?;
            let workers = rows(&client.call(&["WORKERS.LIST"]).await?)?;
            if *json {
                output::json(&workers.into())?
            } else {
                print_list(&workers)?
            }
            Ok(exit::DONE)
        }
    }
}

async fn work(args: &WorkArgs) -> anyhow::Result<ExitCode> {
    log::start(&args.log, "info");
    args.limits.check()?;
    let mut signals = Signals::catch()?;
    let (client, options) = args.server.connect().await?;
    drop(client);
    let name = args.name.clone().unwrap_or_else(host_name);
    let mut config = args.limits.config(options, new_id(&name), args.queues.clone())?;
    config.tags.clone_from(&args.tags);
    config.drain_grace = Duration::from_secs(args.drain_grace);
    if let Some(tools) = &args.tools {
        config.tools = tools.iter().filter(|tool| !tool.is_empty()).cloned().collect();
    }
    let (phase, phases) = watch::channel(Phase::Work);
    let asking = async {
        for next in [Phase::Drain, Phase::Stop] {
            let signal = signals.next().await;
            tracing::info!(signal, ?next, "asked to end");
            phase.send_replace(next);
        }
        let signal = signals.next().await;
        tracing::warn!(signal, "leaving at once: what is held goes back when its leases are over");
    };
    tokio::select! {
        outcome = worker::run(config, phases) => outcome?,
        () = asking => return Ok(exit::interrupted()),
    }
    tracing::info!("stopped");
    Ok(exit::DONE)
}

/// An id that no other life of a worker has.
pub(super) fn new_id(name: &str) -> String {
    const MOST: usize = 100;
    let fits = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '_' | '-') { c } else { '-' };
    let name: String = name.chars().take(MOST).map(fits).collect();
    format!("{name}-{:08x}", fastrand::u32(..))
}

fn host_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    if name.is_empty() { "worker".to_owned() } else { name }
}

fn print_list(workers: &[Value]) -> anyhow::Result<()> {
    let columns = ["worker", "status", "last seen", "tools"];
    let mut table = Table::new(&columns.map(|name| (name, Align::Left)));
    for worker in workers {
        let status = cell(worker, "status");
        let colour = Colour::of_status(&status);
        table.painted([
            (cell(worker, "worker_id"), Colour::Plain),
            (status, colour),
            (time(worker, "last_seen"), Colour::Plain),
            (short(&cell(worker, "tools"), 60), Colour::Plain),
        ]);
    }
    table.print()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        args: WorkerArgs,
    }

    #[test]
    fn ids_are_ids_whatever_the_host_is_called() {
        let id = new_id("büro.local");
        assert!(id.starts_with("b-ro-local-") && crate::jobs::plan::check_id(id.as_bytes(), "id").is_ok(), "{id}");
        assert_ne!(new_id("a"), new_id("a"));
    }

    #[test]
    fn flags_are_checked_and_never_ignored() {
        let parse = |words: &[&str]| Cli::try_parse_from(std::iter::once(&"worker").chain(words));
        let cli = parse(&["--queue", "a,b", "-q", "c", "--concurrency", "3", "--tools", "x,y"]).unwrap();
        assert_eq!(cli.args.work.queues, ["a", "b", "c"]);
        assert_eq!(cli.args.work.limits.concurrency, Some(3));
        assert_eq!(cli.args.work.tools.as_deref(), Some(&["x".to_owned(), "y".to_owned()][..]));
        assert!(parse(&["--concurrency", "0"]).is_err());
        assert!(parse(&["--lease", "10"]).is_err());
        assert!(parse(&["--queue", "a", "list"]).is_err());
    }
}
