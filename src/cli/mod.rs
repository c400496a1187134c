//! The `agq` program's commands. Everything is reached over the wire: only `serve`, and `run` where there is none, start
//! a server. `check`, `export`, `import`, `recover`, `restore` and `archive` work on files.

mod action;
mod add;
mod archive;
mod array;
mod backup;
mod backup_times;
mod bench;
mod check;
mod client_limits;
mod compact;
mod config;
mod connect;
mod duration;
mod exit;
mod fields;
mod follow;
mod ids;
mod inputs;
mod job;
mod job_control;
mod job_output;
mod job_submit;
mod key;
mod log;
mod number;
mod output;
mod pages;
mod parameters;
mod ping;
mod plan;
mod queue;
mod recover;
mod reload;
mod restore;
mod run;
mod sandbox;
mod schedule;
mod schedule_add;
mod serve;
mod serve_backups;
mod serve_jobs;
mod serve_store;
mod serve_tls;
mod shutdown;
mod signals;
mod size;
mod steering;
mod store;
mod table;
mod top;
mod transfer;
mod wait;
mod webhook;
mod words;
mod work;
mod worker;

#[cfg(any(test, feature = "fuzzing"))]
pub use config::fuzz_settings;
#[cfg(any(test, feature = "fuzzing"))]
pub use transfer::fuzz_transfer;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(
    name = "agq",
    version,
    about = "A durable queue manager that speaks the Redis protocol",
    args_conflicts_with_subcommands = true,
    after_help = exit::HELP
)]
struct Cli {
    #[command(flatten)]
    serve: serve::ServeArgs,
    /// File of settings [default: agq.toml in the data directory, if there is one]
    #[arg(long, global = true, env = "AGQ_CONFIG", value_name = "FILE", help_heading = "Server")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Start the server (the default).
    Serve(serve::ServeArgs),
    /// Submit a command as a job and print its id.
    Add(add::AddArgs),
    /// Submit a command over many values, a job for each, and print the action's id.
    Array(array::ArrayArgs),
    /// Print what a job or an action writes, as it comes; the exit code is the job's.
    Follow(follow::FollowArgs),
    /// Print what a job wrote.
    Log(follow::LogArgs),
    /// Wait until jobs and actions have ended; the exit code says how.
    Wait(wait::WaitArgs),
    /// Cancel jobs and actions.
    Cancel(ids::IdsArgs),
    /// Run jobs and actions again that have failed.
    Retry(job_control::RetryArgs),
    /// Run a plan over its inputs and print what comes out.
    Run(run::RunArgs),
    /// Run jobs for a server.
    Worker(worker::WorkerArgs),
    /// Store and look at plans.
    Plan(plan::PlanArgs),
    /// Submit and look at actions: one plan over many inputs.
    Action(action::ActionArgs),
    /// Submit, look at, wait for, cancel and mend jobs.
    Job(job::JobArgs),
    /// Look at queues, pause and purge them.
    Queue(queue::QueueArgs),
    /// Tell web servers of what happens to jobs and actions.
    Webhook(webhook::WebhookArgs),
    /// Submit jobs again and again, by a cron line.
    Schedule(schedule::ScheduleArgs),
    /// Make, list and revoke access keys, each of which may do a part of things.
    Key(key::KeyArgs),
    /// Print what administrators did and what was refused to whom.
    Audit(key::AuditArgs),
    /// Watch queues, workers and running jobs.
    Top(top::TopArgs),
    /// Ask whether the server is there.
    Ping(ping::PingArgs),
    /// Stop a server, at once or when no job runs any more.
    Shutdown(shutdown::ShutdownArgs),
    /// Put load on a server and measure it.
    Bench(bench::BenchArgs),
    /// Print every setting in force, and where it comes from.
    Config(config::ConfigArgs),
    /// Print a script with which a shell completes this program's commands.
    Completions(pages::CompletionsArgs),
    /// Print or write manual pages.
    Man(pages::ManArgs),
    /// Make a backup of a running server's store.
    Backup(backup::BackupArgs),
    /// Make a backup a store again, in an empty data directory.
    Restore(restore::RestoreArgs),
    /// Print which moments can be restored from an archive.
    Archive(archive::ArchiveArgs),
    /// Make a store open again whose log is lost or damaged.
    Recover(recover::RecoverArgs),
    /// Look at the files of a store, and prove that all in it fits together.
    Check(check::CheckArgs),
    /// Make the file of a store as small as what is in it.
    Compact(compact::CompactArgs),
    /// Write everything in a store as lines of JSON.
    Export(transfer::ExportArgs),
    /// Make a store of what an export has written.
    Import(transfer::ImportArgs),
    /// Become a program in a sandbox: what the worker starts.
    #[command(name = crate::worker::HELPER, hide = true)]
    Sandboxed(sandbox::HelperArgs),
}

/// Runs the program; the exit code says how it went.
#[must_use]
pub fn main() -> ExitCode {
    let (cli, config) = match config::parse(std::env::args_os()) {
        Ok(parsed) => parsed,
        Err(error) => {
            eprintln!("agq: {error:#}");
            return exit::usage();
        }
    };
    match dispatch(cli, &config) {
        Ok(code) => code,
        Err(error) if error.is::<output::Closed>() => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("agq: {error:#}");
            if error.is::<connect::Unreachable>() { exit::unreachable() } else { ExitCode::FAILURE }
        }
    }
}

fn dispatch(cli: Cli, config: &config::Config) -> anyhow::Result<ExitCode> {
    match cli.command {
        None => serve::run(&cli.serve, config).map(|()| ExitCode::SUCCESS),
        Some(Command::Serve(args)) => serve::run(&args, config).map(|()| ExitCode::SUCCESS),
        Some(Command::Add(args)) => block_on(add::run(&args)),
        Some(Command::Array(args)) => block_on(array::run(&args)),
        Some(Command::Follow(args)) => block_on(follow::run(&args)),
        Some(Command::Log(args)) => block_on(follow::log(&args)),
        Some(Command::Wait(args)) => block_on(wait::run(&args)),
        Some(Command::Cancel(args)) => block_on(args.change(ids::CANCEL)),
        Some(Command::Retry(args)) => block_on(job_control::retry(&args)),
        Some(Command::Run(args)) => block_on(run::run(&args, config)),
        Some(Command::Worker(args)) => block_on(worker::run(&args)),
        Some(Command::Plan(args)) => block_on(plan::run(&args)),
        Some(Command::Action(args)) => block_on(action::run(&args)),
        Some(Command::Job(args)) => block_on(job::run(&args)),
        Some(Command::Queue(args)) => block_on(queue::run(&args)),
        Some(Command::Webhook(args)) => block_on(webhook::run(&args)),
        Some(Command::Schedule(args)) => block_on(schedule::run(&args)),
        Some(Command::Key(args)) => block_on(key::run(&args)),
        Some(Command::Audit(args)) => block_on(key::audit(&args)),
        Some(Command::Top(args)) => block_on(top::run(&args)),
        Some(Command::Ping(args)) => block_on(ping::run(&args)),
        Some(Command::Shutdown(args)) => block_on(shutdown::run(&args)),
        Some(Command::Bench(args)) => block_on(bench::run(&args)),
        Some(Command::Config(args)) => config::run(&args, config),
        Some(Command::Completions(args)) => pages::completions(&args).map(|()| ExitCode::SUCCESS),
        Some(Command::Man(args)) => pages::man(&args).map(|()| ExitCode::SUCCESS),
        Some(Command::Backup(args)) => block_on(backup::run(&args)),
        Some(Command::Restore(args)) => restore::run(&args).map(|()| ExitCode::SUCCESS),
        Some(Command::Archive(args)) => archive::run(&args).map(|()| ExitCode::SUCCESS),
        Some(Command::Recover(args)) => recover::run(&args).map(|()| ExitCode::SUCCESS),
        Some(Command::Check(args)) => check::run(&args),
        Some(Command::Compact(args)) => block_on(compact::run(&args)),
        Some(Command::Export(args)) => transfer::export(&args).map(|()| ExitCode::SUCCESS),
        Some(Command::Import(args)) => transfer::import(&args).map(|()| ExitCode::SUCCESS),
        Some(Command::Sandboxed(args)) => sandbox::run(&args),
    }
}

/// Runs a client command on this thread.
fn block_on<T>(command: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("cannot start the asynchronous runtime")?;
    let outcome = runtime.block_on(command);
    // A thread that still writes to a reader who has stopped reading is not waited for.
    runtime.shutdown_background();
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_servers_flags_are_not_ignored_in_front_of_a_command() {
        assert!(Cli::try_parse_from(["agq", "--data-dir", "x", "ping"]).is_err());
        assert!(Cli::try_parse_from(["agq", "ping", "--data-dir", "x"]).is_ok());
    }
}
