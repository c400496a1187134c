//! `agq shutdown`: stops the server, at once or when no job runs any more.

use std::process::ExitCode;
use std::time::Duration;

use agq_client::{Client, Error};
use anyhow::anyhow;
use clap::Args;
use serde_json::json;

use super::connect::{LOOK, ServerArgs};
use super::duration::parse_ms;
use super::{exit, output};
use crate::command::MAX_DRAIN_SECONDS;
use crate::server::lock;

/// Flags of `agq shutdown`.
#[derive(Debug, Args)]
pub(super) struct ShutdownArgs {
    /// Let the jobs that run end first: none is granted any more, and the server stops when none runs
    #[arg(long)]
    drain: bool,
    /// Stop after so long although jobs run; their leases stay: 90, 5m, 1h [default: however long they take]
    #[arg(long, value_name = "TIME", requires = "drain", value_parser = parse_timeout)]
    timeout: Option<u64>,
    /// Take a drain back: the server goes on
    #[arg(long, conflicts_with = "drain")]
    abort: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

/// Reads how long a drain may take; as whole seconds.
fn parse_timeout(text: &str) -> Result<u64, String> {
    match parse_ms(text)?.div_ceil(1000) {
        seconds @ 1..=MAX_DRAIN_SECONDS => Ok(seconds),
        _ => Err(format!("expected 1s to {MAX_DRAIN_SECONDS}s, a week")),
    }
}

/// Asks the server to stop, and waits until it has.
pub(super) async fn run(args: &ShutdownArgs) -> anyhow::Result<ExitCode> {
    let (mut client, _) = args.server.connect().await?;
    if args.abort {
        client.call(&["SHUTDOWN", "ABORT"]).await?;
        return told(args.json, "aborted", "the drain is taken back: the server goes on, and grants jobs again");
    }
    let dir = args.server.data_dir()?;
    // Who is asked by its address need not be the one that holds this machine's data directory.
    let holder = if args.server.server.is_none() { lock::holder(&dir)? } else { None };
    let mut words = vec!["SHUTDOWN".to_owned()];
    if args.drain {
        words.push("DRAIN".to_owned());
        words.extend(args.timeout.iter().flat_map(|seconds| ["TIMEOUT".to_owned(), seconds.to_string()]));
        eprintln!(
            "agq: draining; the server stops when no job runs. Interrupting this does not end the drain, 'agq shutdown --abort' \
             does"
        );
    }
    wait_for_end(&mut client, &words).await?;
    while let (Some(before), Some(now)) = (&holder, lock::holder(&dir)?)
        && before.process == now.process
    {
        // The last checkpoint is on its way to the disk.
        tokio::time::sleep(LOOK).await;
    }
    told(args.json, "stopped", "the server has stopped")
}

/// Returns once the server has closed the connection.
async fn wait_for_end(client: &mut Client, words: &[String]) -> anyhow::Result<()> {
    // Longer than any drain.
    client.set_timeout(Duration::from_secs(2 * MAX_DRAIN_SECONDS));
    match client.call(words).await {
        Err(Error::Closed | Error::Io(_)) => Ok(()),
        Err(error) => Err(error.into()),
        Ok(reply) => Err(anyhow!("the server answered {reply:?} and goes on")),
    }
}

fn told(as_json: bool, what: &str, text: &str) -> anyhow::Result<ExitCode> {
    if as_json {
        output::json(&json!({ what: true }))?
    } else {
        output::line(text)?
    }
    Ok(exit::DONE)
}
