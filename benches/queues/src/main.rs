//! How fast jobs are submitted, claimed and completed, every step durable: AGQ as ratios to its own SET in the same run,
//! and side by side with other queues, in turns on the same disk.
//!
//! ```sh
//! cargo build --release && cargo run --release --manifest-path benches/queues/Cargo.toml -- own
//! cargo run --release --manifest-path benches/queues/Cargo.toml -- peers
//! ```
//!
//! `peers` measures those of beanstalkd, redis-server, PostgreSQL and RabbitMQ that are installed, and says which are not.
//! Prints Markdown tables: docs/performance.md has them.

mod agq;
mod beanstalk;
mod load;
mod own;
mod peers;
mod postgres;
mod queue;
mod rabbit;
mod redis;
mod server;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(about = "Measures job queues", version)]
struct Cli {
    #[command(subcommand)]
    what: What,
    #[command(flatten)]
    options: Options,
}

#[derive(Debug, Subcommand)]
enum What {
    /// AGQ's jobs, as ratios to its own SET.
    Own {
        /// Jobs that wait in the long queue
        #[arg(long, value_name = "N", default_value_t = 5_000_000)]
        waiting: usize,
    },
    /// AGQ and other queues.
    Peers,
}

#[derive(Debug, Clone, Args)]
struct Options {
    /// Seconds of each measurement
    #[arg(long, global = true, value_name = "S", default_value_t = 5)]
    seconds: u64,
    /// Rounds; compared are medians
    #[arg(long, global = true, value_name = "N", default_value_t = 3)]
    rounds: usize,
    /// Connections that work at a time
    #[arg(long, global = true, value_name = "N", default_value_t = 64)]
    connections: usize,
    /// The program to measure
    #[arg(long, global = true, value_name = "FILE", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/release/agq"))]
    agq: PathBuf,
    /// Folder on the disk to measure with
    #[arg(long, global = true, value_name = "DIR", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target"))]
    dir: PathBuf,
}

impl Options {
    fn time(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }
}

fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    let folder = tempfile::tempdir_in(&cli.options.dir).with_context(|| cli.options.dir.display().to_string())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = tokio::task::LocalSet::new();
    runtime.block_on(local.run_until(async {
        match cli.what {
            What::Own { waiting } => own::run(&cli.options, folder.path(), waiting).await,
            What::Peers => peers::run(&cli.options, folder.path()).await,
        }
    }))
}
