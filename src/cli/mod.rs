//! The `agq` program's commands. Everything below is reached over the wire; only `serve` starts a server.

mod bench;
mod connect;
mod output;
mod serve;
mod table;

use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(
    name = "agq",
    version,
    about = "A durable queue manager that speaks the Redis protocol",
    args_conflicts_with_subcommands = true,
    after_help = EXIT_CODES
)]
struct Cli {
    #[command(flatten)]
    serve: serve::ServeArgs,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Start the server (the default).
    Serve(serve::ServeArgs),
    /// Put load on a server and measure it.
    Bench(bench::BenchArgs),
}

/// What the program's exit codes mean.
const EXIT_CODES: &str = "Exit codes: 0 done; 1 refused, failed, or a job that was waited for did not complete; 2 bad \
                          usage; 3 no server reached.";

/// The server was not reached, or did not let this client in.
const UNREACHABLE: u8 = 3;

/// Runs the program; the exit code says how it went.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli) {
        Ok(code) => code,
        Err(error) if error.is::<output::Closed>() => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("agq: {error:#}");
            if error.is::<connect::Unreachable>() { ExitCode::from(UNREACHABLE) } else { ExitCode::FAILURE }
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.command {
        None => serve::run(&cli.serve).map(|()| ExitCode::SUCCESS),
        Some(Command::Serve(args)) => serve::run(&args).map(|()| ExitCode::SUCCESS),
        Some(Command::Bench(args)) => block_on(bench::run(&args)),
    }
}

/// Runs a client command on this thread.
fn block_on<T>(command: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("cannot start the asynchronous runtime")?.block_on(command)
}
