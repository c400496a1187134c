//! `agq run`: submits a plan over its inputs, works it here, and prints what came out: the main job in one command.
//!
//! The jobs stand in a queue of this run's own, so that it neither runs strangers' jobs nor waits for strangers. With
//! `--queue` it only submits and watches.

mod host;
mod pick;
pub(super) mod watch;

use std::cell::Cell;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use agq_client::{Client, ConnectOptions};
use anyhow::{Context as _, bail};
use clap::Args;
use serde_json::Value;
use tokio::sync::watch as phase_watch;
use tokio::task::JoinHandle;

use super::action::{Bounds, Settings, Submission, plan_of_file};
use super::config::Config;
use super::connect::{self, Reader, ServerArgs, is_lost, json};
use super::fields::cell;
use super::inputs::InputArgs;
use super::job::jobs_of;
use super::signals::Signals;
use super::worker::{Limits, new_id};
use super::{exit, log};
use crate::jobs::PRIVATE_PREFIX;
use crate::worker::{self, Phase};
use host::{Attached, Host};
use watch::{Totals, Watch};

/// The id of a run's own worker begins like this.
const WORKER: &str = "run";

/// Flags of `agq run`.
#[derive(Debug, Args)]
#[command(
    after_help = "Without --server it uses the server that holds the data directory, or else runs one itself for \
                        as long as it takes. Ctrl-C cancels the jobs; after a crash 'agq run --resume ID' goes on.\n\n\
                        Example: agq run examples/plans/top-words.json --input file=README.md"
)]
pub(super) struct RunArgs {
    /// File with the plan's JSON; '-' for standard input
    #[arg(value_name = "PLAN", required_unless_present = "resume")]
    plan: Option<PathBuf>,
    #[command(flatten)]
    inputs: InputArgs,
    /// Submit to this queue and leave the work to its workers [default: a queue of its own, worked here]
    #[arg(long, short, value_name = "NAME", conflicts_with_all = ["concurrency", "task_concurrency", "task_timeout", "kill_grace", "lease", "heartbeat", "sandbox"])]
    queue: Option<String>,
    #[command(flatten)]
    limits: Limits,
    /// Go on with an action that an earlier run began
    #[arg(long, value_name = "ACTION", conflicts_with_all = ["plan", "pairs", "inputs", "queue"])]
    resume: Option<String>,
    /// Print a JSON object for each job, one a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    log: log::LogArgs,
    #[command(flatten)]
    server: ServerArgs,
}

/// What this run is about.
struct Action {
    id: String,
    plan_id: String,
    jobs: Vec<String>,
    /// The queue to work, if it is this run's own.
    private_queue: Option<String>,
}

/// Runs it all.
pub(super) async fn run(args: &RunArgs, config: &Config) -> anyhow::Result<ExitCode> {
    log::start(&args.log, "warn");
    // What is wrong with the flags, the plan's file or the inputs is said before a server is started.
    args.limits.check()?;
    let submission = match &args.plan {
        Some(file) => Some(Prepared::read(args, file)?),
        None => None,
    };
    let mut signals = Signals::catch()?;
    let Attached { client, options, host } = host::attach(&args.server, config).await?;
    let outcome = with_server(args, submission, client, &options, &mut signals).await;
    let left = match host {
        Some(host) => leave(host, &options, &mut signals).await,
        None => Ok(()),
    };
    // What went wrong first says most.
    outcome.and_then(|code| left.map(|()| code))
}

/// The server of this process goes when nobody needs it any more, however this run went, or when it is told to.
async fn leave(host: Host, options: &ConnectOptions, signals: &mut Signals) -> anyhow::Result<()> {
    let alone = tokio::select! {
        alone = host.wait_for_others(options) => alone,
        _ = signals.next() => Ok(()),
    };
    host.stop().await.and(alone)
}

async fn with_server(
    args: &RunArgs,
    submission: Option<Prepared>,
    mut client: Client,
    options: &ConnectOptions,
    signals: &mut Signals,
) -> anyhow::Result<ExitCode> {
    let action = match (&submission, &args.resume) {
        (Some(prepared), _) => prepared.submit(&mut client).await?,
        (None, Some(id)) => {
            let mut reader = Reader::new(client, options.clone());
            let action = resume(&mut reader, id).await?;
            (client, _) = reader.into_parts();
            action
        }
        (None, None) => bail!("a plan's file or --resume is needed"),
    };
    eprintln!("agq: action {} of {} job(s)", action.id, action.jobs.len());
    let plan = watch::plan_of(&mut client, &action.plan_id).await?;
    let worker = action.private_queue.as_ref().map(|queue| Worker::start(args, options, queue)).transpose()?;
    let watch = Watch { action: &action.id, jobs: &action.jobs, plan: &plan, json: args.json, unread: Cell::default() };
    let (code, totals) = follow(&watch, client, options, worker, signals).await?;
    if action.jobs.len() > 1 {
        eprintln!("agq: action {}: {}", action.id, describe(totals));
    }
    Ok(code)
}

/// The totals in words.
pub(super) fn describe(totals: Totals) -> String {
    format!("{} completed, {} failed, {} cancelled", totals.completed, totals.failed, totals.cancelled)
}

/// Watches until all jobs have ended. The first signal cancels them, the second ends the watching.
async fn follow(
    watch: &Watch<'_>,
    mut client: Client,
    options: &ConnectOptions,
    mut worker: Option<Worker>,
    signals: &mut Signals,
) -> anyhow::Result<(ExitCode, Totals)> {
    let mut totals = Totals::default();
    let way_out = format!("'agq run --resume {}' goes on", watch.action);
    let signalled = tokio::select! {
        watched = persist(watch, &mut client, options, &mut totals, &way_out) => {
            watched?;
            false
        }
        failed = failure_of(&mut worker) => return Err(failed),
        signal = signals.next() => {
            eprintln!("agq: {signal}: cancelling; once more to leave at once");
            true
        }
    };
    if signalled {
        // The watching was cut off in the middle of an exchange: what follows goes over another connection.
        client = Client::connect(options).await?;
        cancel(&mut client, watch.jobs).await?;
        tokio::select! {
            watched = persist(watch, &mut client, options, &mut totals, &way_out) => watched?,
            _ = signals.next() => {}
        }
    }
    if let Some(worker) = worker {
        worker.stop().await?;
    }
    let code = match totals {
        _ if signalled => exit::interrupted(),
        Totals { failed: 0, cancelled: 0, .. } => exit::DONE,
        _ => exit::FAILED,
    };
    Ok((code, totals))
}

/// Watches on when the server was away for a while, a restart for example; its jobs are still there. `way_out` says what
/// to do when it stays away.
///
/// # Errors
/// When it is away for longer, or says what makes no sense.
pub(super) async fn persist(
    watch: &Watch<'_>,
    client: &mut Client,
    options: &ConnectOptions,
    totals: &mut Totals,
    way_out: &str,
) -> anyhow::Result<()> {
    loop {
        let lost = match watch.run(client, totals).await {
            Err(error) if error.downcast_ref().is_some_and(is_lost) => error,
            watched => return watched,
        };
        *client = connect::again(options, &lost, &format!("the jobs are kept: {way_out}")).await?;
    }
}

/// Resolves when the worker ends by itself, which it has no reason to.
async fn failure_of(worker: &mut Option<Worker>) -> anyhow::Error {
    let Some(worker) = worker else { return std::future::pending().await };
    match (&mut worker.task).await {
        Ok(Ok(())) => anyhow::anyhow!("the worker ended early"),
        Ok(Err(error)) => error.into(),
        Err(error) => error.into(),
    }
}

/// Cancels every job that has not ended.
async fn cancel(client: &mut Client, jobs: &[String]) -> anyhow::Result<()> {
    let commands: Vec<Vec<&str>> = jobs.iter().map(|id| vec!["JOB.CANCEL", id]).collect();
    // Jobs that have ended refuse, and may.
    client.pipeline(&commands).await?;
    Ok(())
}

/// The worker of a run's own queue.
struct Worker {
    phase: phase_watch::Sender<Phase>,
    task: JoinHandle<Result<(), worker::Error>>,
}

impl Worker {
    fn start(args: &RunArgs, options: &ConnectOptions, queue: &str) -> anyhow::Result<Worker> {
        let config = args.limits.config(options.clone(), new_id(WORKER), vec![queue.to_owned()])?;
        let (phase, phases) = phase_watch::channel(Phase::Work);
        Ok(Worker { task: tokio::spawn(worker::run(config, phases)), phase })
    }

    /// Stops what runs and waits until nothing does.
    async fn stop(self) -> anyhow::Result<()> {
        self.phase.send_replace(Phase::Stop);
        Ok(self.task.await??)
    }
}

/// A submission, read and ready.
struct Prepared {
    action_id: String,
    json: String,
    private_queue: Option<String>,
}

impl Prepared {
    fn read(args: &RunArgs, file: &std::path::Path) -> anyhow::Result<Prepared> {
        let unique = unique();
        let action_id = format!("action_{unique}");
        let private_queue = args.queue.is_none().then(|| format!("{PRIVATE_PREFIX}{unique}"));
        let settings = Settings { queue: args.queue.clone().or(private_queue.clone()), ..Settings::default() };
        let inputs = args.inputs.read()?;
        let plan = plan_of_file(file)?;
        let bounds = Bounds::default();
        let submission =
            Submission { action_id: Some(&action_id), plan, inputs: &inputs, settings: &settings, bounds: &bounds };
        let json = serde_json::to_string(&submission)?;
        Ok(Prepared { action_id, json, private_queue })
    }

    async fn submit(&self, client: &mut Client) -> anyhow::Result<Action> {
        let answer = json(&client.call(&["ACTION.SUBMIT", &self.json]).await?)?;
        let jobs = answer["job_ids"].as_array().context("the server does not say which jobs it made")?;
        Ok(Action {
            id: self.action_id.clone(),
            plan_id: cell(&answer, "plan_id"),
            jobs: jobs.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            private_queue: self.private_queue.clone(),
        })
    }
}

/// What an earlier run began: its jobs, in the order of their inputs.
async fn resume(reader: &mut Reader, id: &str) -> anyhow::Result<Action> {
    let action = json(&reader.call(&["ACTION.GET", id]).await?)?;
    let jobs = jobs_of(reader, id).await?;
    let queue = jobs.first().map(|job| cell(job, "queue")).filter(|queue| queue.starts_with(PRIVATE_PREFIX));
    if queue.is_some() {
        release(reader.client(), &jobs).await?;
    }
    Ok(Action {
        id: id.to_owned(),
        plan_id: cell(&action, "plan_id"),
        jobs: jobs.iter().map(|job| cell(job, "job_id")).collect(),
        private_queue: queue,
    })
}

/// The worker of the run that is gone holds its last jobs until their leases are over: it is told off now. If it lives
/// after all, its reports are refused, and it stops what it runs.
async fn release(client: &mut Client, jobs: &[Value]) -> anyhow::Result<()> {
    let running = jobs.iter().filter(|job| cell(job, "status") == "running").map(|job| cell(job, "worker_id"));
    let workers: BTreeSet<String> = running.filter(|worker| worker.starts_with(&format!("{WORKER}-"))).collect();
    let commands: Vec<Vec<String>> =
        workers.into_iter().map(|worker| vec!["WORKER.UNREGISTER".to_owned(), worker]).collect();
    // One that the server does not know holds nothing.
    client.pipeline(&commands).await?;
    Ok(())
}

/// Digits that begin with the time, and that no other run has.
fn unique() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("{:012x}{:016x}", now.as_millis(), fastrand::u64(..))
}
