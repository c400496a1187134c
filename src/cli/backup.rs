//! `agq backup`: asks the server for a backup, waits for it, and fetches it where both are on one machine.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write as _};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use agq_client::{Client, Reply};
use anyhow::{Context as _, bail};
use clap::Args;
use serde_json::json;

use super::connect::{LOOK, ServerArgs};
use super::{exit, output};
use crate::storage;
use crate::storage::files::{RealDisk, open_read_only};

#[derive(Debug, Args)]
pub(super) struct BackupArgs {
    /// File or folder of this machine to copy the backup to [default: it stays in the server's folder of backups alone]
    #[arg(value_name = "DEST")]
    to: Option<PathBuf>,
    /// Cancel the backup that the server is writing
    #[arg(long, conflicts_with = "to")]
    cancel: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

/// Makes a backup, or cancels one.
pub(super) async fn run(args: &BackupArgs) -> anyhow::Result<ExitCode> {
    if let Some(to) = &args.to {
        check_free(to)?;
    }
    let (mut client, _) = args.server.connect().await?;
    if args.cancel {
        client.call(&["BGSAVE", "CANCEL"]).await?;
        match args.json {
            true => output::json(&json!({"cancelled": true}))?,
            false => output::line("the backup is cancelled")?,
        }
        return Ok(exit::DONE);
    }
    let number = begin(&mut client).await?;
    let done = wait(&mut client, number).await?;
    let file = match &args.to {
        None => PathBuf::from(&done["backup_last_file"]),
        Some(to) => fetch(Path::new(&done["backup_last_file"]), to)?,
    };
    let figure = |name: &str| done.get(name).and_then(|text| text.parse::<u64>().ok()).unwrap_or_default();
    let (rows, bytes) = (figure("backup_last_rows"), figure("backup_last_bytes"));
    let (snapshot_ms, growth) = (figure("backup_last_snapshot_ms"), figure("backup_last_growth_bytes"));
    if args.json {
        output::json(&json!({
            "file": file, "rows": rows, "bytes": bytes, "snapshot_ms": snapshot_ms, "store_growth_bytes": growth,
        }))?;
    } else {
        output::line(file.display())?;
        eprintln!(
            "agq: {rows} rows in {bytes} bytes, verified; the snapshot lived for {snapshot_ms} ms, and the store's file \
             grew by {growth} bytes meanwhile"
        );
    }
    Ok(exit::DONE)
}

/// Asks for a backup: its number.
async fn begin(client: &mut Client) -> anyhow::Result<u64> {
    // In one transaction, so that the number is that of this backup.
    client.call(&["MULTI"]).await?;
    client.call(&["BGSAVE"]).await?;
    client.call(&["INFO", "persistence"]).await?;
    let Reply::Array(replies) = client.call(&["EXEC"]).await? else { bail!("the server's answer to EXEC is no array") };
    let [saved, info] = &replies[..] else { bail!("the server's answer to EXEC has {} parts, not 2", replies.len()) };
    if let Reply::Error(error) = saved {
        let error = String::from_utf8_lossy(error);
        bail!("{}: wait for it, or end it with 'agq backup --cancel'", error.trim_start_matches("ERR "));
    }
    number(&fields(info)?, "backups_begun")
}

/// Waits until a backup has ended: what INFO says then.
///
/// # Errors
/// When it failed.
async fn wait(client: &mut Client, wanted: u64) -> anyhow::Result<BTreeMap<String, String>> {
    let shows = std::io::stderr().is_terminal();
    loop {
        let fields = fields(&client.call(&["INFO", "persistence"]).await?)?;
        let ended = number(&fields, "backup_last_number").unwrap_or_default();
        if shows {
            let percent = fields.get("backup_progress_percent").map_or("", String::as_str);
            eprint!("\r{}", if ended < wanted { format!("{percent:>3} %") } else { "      \r".to_owned() });
            std::io::stderr().flush()?;
        }
        if ended > wanted {
            bail!("the backup has ended, and so has a later one: see the server's folder of backups");
        }
        if ended == wanted {
            return match fields.get("backup_last_error") {
                None => Ok(fields),
                Some(error) => bail!("the backup failed: {error}"),
            };
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// The lines of an INFO section.
pub(super) fn fields(info: &Reply) -> anyhow::Result<BTreeMap<String, String>> {
    let text = info.as_str().context("the server's answer to INFO is no text")?;
    let lines = text.lines().filter_map(|line| line.split_once(':'));
    Ok(lines.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
}

pub(super) fn number(fields: &BTreeMap<String, String>, name: &str) -> anyhow::Result<u64> {
    let text = fields.get(name).with_context(|| format!("the server's INFO has no '{name}'"))?;
    text.parse().with_context(|| format!("the server's INFO says '{name}:{text}'"))
}

/// # Errors
/// When what is to be a folder is none, or a file is there already: a backup replaces none.
fn check_free(to: &Path) -> anyhow::Result<()> {
    if to.is_dir() {
        return Ok(());
    }
    // A path that ends so names a folder, and nothing else makes one of this name.
    if [&b"/"[..], b"/."].iter().any(|end| to.as_os_str().as_encoded_bytes().ends_with(end)) {
        bail!("there is no folder {}: make it first, or name a file, without the '/' at the end", to.display());
    }
    // A link that leads nowhere is there, too.
    if to.symlink_metadata().is_ok() {
        bail!("{} is there already: name another file, or a folder", to.display());
    }
    Ok(())
}

/// Copies a backup from the server's folder, proves the copy to be whole, and only then gives it its name.
fn fetch(from: &Path, to: &Path) -> anyhow::Result<PathBuf> {
    let stays = || format!("the backup is whole and stands on the server's machine as {}", from.display());
    let file = open_read_only(from).with_context(|| format!("{}; it cannot be read from here", stays()))?;
    let name = from.file_name().context("the server named a backup without a name")?;
    check_free(to).with_context(stays)?;
    let to = if to.is_dir() { to.join(name) } else { to.to_owned() };
    check_free(&to).with_context(stays)?;
    let to = std::path::absolute(&to)?;
    let (Some(dir), Some(name)) = (to.parent(), to.file_name().and_then(|name| name.to_str())) else {
        bail!("{} names no file; {}", to.display(), stays())
    };
    if !dir.is_dir() {
        bail!("there is no folder {}; {}", dir.display(), stays());
    }
    let disk = RealDisk::open(dir)?;
    storage::copy_backup(&file, &from.display().to_string(), &disk, name, &mut |_| ControlFlow::Continue(()))
        .with_context(stays)?;
    Ok(to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backup_replaces_no_file_and_makes_no_folder() {
        let dir = tempfile::tempdir().unwrap();
        let refusal = |name: &str| check_free(&dir.path().join(name)).map_err(|error| error.to_string());
        assert_eq!(refusal("new.redb"), Ok(()));
        assert_eq!(refusal(""), Ok(()), "the folder itself");
        assert!(refusal("bk/").unwrap_err().starts_with("there is no folder"));
        assert!(refusal("bk/.").unwrap_err().starts_with("there is no folder"));
        std::fs::write(dir.path().join("bk"), "a backup").unwrap();
        assert!(refusal("bk").unwrap_err().contains("is there already"));
        assert!(refusal("bk/").unwrap_err().starts_with("there is no folder"), "a file is no folder");
        std::os::unix::fs::symlink("nowhere", dir.path().join("link")).unwrap();
        assert!(refusal("link").unwrap_err().contains("is there already"));
    }
}
