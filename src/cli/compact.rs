//! `agq compact`: makes the file of a store as small as what is in it; through the server that serves it, or on the files
//! where none does.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write as _};
use std::path::Path;
use std::process::ExitCode;

use agq_client::{Client, Reply};
use anyhow::{Context as _, bail};
use clap::Args;
use serde_json::json;

use super::backup::{fields, number};
use super::connect::{LOOK, ServerArgs, connect};
use super::store::{self, Progress};
use super::{exit, output};
use crate::server::lock::Lock;
use crate::storage::{self, Compacted};

#[derive(Debug, Clone, Args)]
pub(super) struct CompactArgs {
    /// End the compaction that the server has under way
    #[arg(long)]
    stop: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

/// Compacts a store, or ends its compaction.
pub(super) async fn run(args: &CompactArgs) -> anyhow::Result<ExitCode> {
    let dir = args.server.data_dir()?;
    let options = if args.server.server.is_some() || args.stop {
        args.server.options()?
    } else {
        match store::try_lock(&dir)? {
            Ok(lock) => return tell(args, &on_files(&dir, &lock)?),
            Err(holder) => args.server.options_of_holder(&dir, &holder)?,
        }
    };
    let (mut client, _) = connect(options, args.server.key.is_some()).await?;
    if args.stop {
        client.call(&["COMPACT", "STOP"]).await?;
        match args.json {
            true => output::json(&json!({"stopping": true}))?,
            false => output::line("the compaction ends now; the store is as it was")?,
        }
        return Ok(exit::DONE);
    }
    let begun = begin(&mut client).await?;
    let done = wait(&mut client, begun).await?;
    tell(args, &done)
}

fn on_files(dir: &Path, _lock: &Lock) -> anyhow::Result<Compacted> {
    let progress = Progress::new();
    progress.begin("copied");
    Ok(storage::compact(&storage::Options::new(dir), &mut || progress.step())?)
}

fn tell(args: &CompactArgs, done: &Compacted) -> anyhow::Result<ExitCode> {
    if args.json {
        output::json(&json!({"bytes_before": done.before, "bytes_after": done.after, "rows": done.rows}))?;
    } else {
        let (before, after) = (store::size(done.before), store::size(done.after));
        output::line(format_args!("data.redb had {before} and has {after} now; {} rows were copied", done.rows))?;
    }
    Ok(exit::DONE)
}

/// Asks the server for a compaction: its number.
async fn begin(client: &mut Client) -> anyhow::Result<u64> {
    // In one transaction, so that the number is that of this one.
    client.call(&["MULTI"]).await?;
    client.call(&["COMPACT"]).await?;
    client.call(&["INFO", "persistence"]).await?;
    let Reply::Array(replies) = client.call(&["EXEC"]).await? else { bail!("the server's answer to EXEC is no array") };
    let [begun, info] = &replies[..] else { bail!("the server's answer to EXEC has {} parts, not 2", replies.len()) };
    if let Reply::Error(error) = begun {
        let error = String::from_utf8_lossy(error);
        bail!("{}", error.trim_start_matches("ERR "));
    }
    number(&fields(info)?, "compactions_begun")
}

/// Waits until a compaction has ended: what it won.
///
/// # Errors
/// When it won nothing.
async fn wait(client: &mut Client, wanted: u64) -> anyhow::Result<Compacted> {
    let shows = std::io::stderr().is_terminal();
    loop {
        let fields = fields(&client.call(&["INFO", "persistence"]).await?)?;
        let ended = number(&fields, "compaction_last_number").unwrap_or_default();
        if shows {
            show(&fields, ended >= wanted)?;
        }
        if ended > wanted {
            bail!("the compaction has ended, and so has a later one: see INFO persistence");
        }
        if ended == wanted {
            return match fields.get("compaction_last_error") {
                None => figures(&fields).context("the server's figures of the compaction"),
                Some(error) => bail!("the compaction ended, and the store is as it was: {error}"),
            };
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn show(fields: &BTreeMap<String, String>, ended: bool) -> anyhow::Result<()> {
    let field = |name: &str| fields.get(name).map_or("", String::as_str);
    let text = format!("{} {:>3} %", field("compaction_phase"), field("compaction_progress_percent"));
    eprint!("\r{:<20}", if ended { "" } else { &text });
    if ended {
        eprint!("\r");
    }
    std::io::stderr().flush()?;
    Ok(())
}

fn figures(fields: &BTreeMap<String, String>) -> anyhow::Result<Compacted> {
    Ok(Compacted {
        before: number(fields, "compaction_last_bytes_before")?,
        after: number(fields, "compaction_last_bytes_after")?,
        rows: number(fields, "compaction_last_rows")?,
    })
}
