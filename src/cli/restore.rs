//! `agq restore`: makes a backup a store again, in an empty data directory. It works on the files, with no server: it
//! holds the data directory's lock as a server would.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;
use serde_json::json;

use super::output;
use super::serve::data_dir;
use super::store::{Progress, Watched};
use crate::clock::Millis;
use crate::server::lock::Lock;
use crate::storage::files::{RealDisk, open_read_only};
use crate::storage::{self, Batch, Error, Phase, Replay, Restore, Restored, Table};
use crate::{access, data, jobs};

#[derive(Debug, Args)]
pub(super) struct RestoreArgs {
    /// The backup, or the data.redb of a store that was stopped
    #[arg(value_name = "FILE")]
    backup: PathBuf,
    /// Folder of the archive whose records are put on top of the backup
    #[arg(long, value_name = "DIR")]
    archive: Option<PathBuf>,
    /// Moment to restore: RFC 3339, as 2026-11-28T05:30:00Z, or Unix seconds [default: the last in the archive]
    #[arg(long, value_name = "TIME", requires = "archive", value_parser = parse_time)]
    to: Option<Millis>,
    /// Where a record of the archive is missing or damaged, be content with those before it
    #[arg(long, requires = "archive")]
    stop_at_gap: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Empty folder to restore into [default: ~/.agq]
    #[arg(long, env = "AGQ_DATA_DIR", value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

/// Restores.
pub(super) fn run(args: &RestoreArgs) -> anyhow::Result<()> {
    let dir = data_dir(args.data_dir.as_ref())?;
    let name = args.backup.display().to_string();
    let backup = open_read_only(&args.backup).with_context(|| format!("cannot read the backup {name}"))?;
    let _lock = Lock::take(&dir)?;
    let disk = RealDisk::open(&dir).with_context(|| format!("cannot use the data directory {}", dir.display()))?;
    let mut stale = 0;
    let progress = Progress::new();
    let mut finish = |batch: &mut Batch<'_>| finish(batch, &progress, &mut stale);
    let mut watch = |now: &storage::Progress| {
        let what = match now.phase {
            Phase::Fetching | Phase::Copying => "copying",
            Phase::Verifying => "verifying",
            Phase::Replaying => "replaying the archive",
        };
        progress.part(what, (now.done, now.total), now.bytes);
        ControlFlow::Continue(())
    };
    let archive = args.archive.as_deref().map(open_folder).transpose()?;
    let replay = archive.as_ref().map(|archive| Replay {
        archive,
        to: args.to.unwrap_or(Millis::MAX),
        stop_at_gap: args.stop_at_gap,
    });
    let what = Restore { backup: &backup, name: &name, replay };
    let restored = storage::restore(&disk, &what, &mut finish, &mut watch)?;
    drop(progress);
    let has_key = dir.join("session.key").exists();
    if args.json {
        return output::json(&json!({
            "data_dir": dir,
            "store_id": format!("{:032x}", restored.store_id),
            "rows": restored.backup.rows,
            "last_record": restored.seq,
            "time": moment(restored.time),
            "has_session_key": has_key,
            "replayed_records": restored.replayed,
            "gap": restored.gap,
            "unfinished": restored.unfinished,
            "claims_ended": stale,
        }));
    }
    output::write(report(&dir.display().to_string(), &restored, stale, has_key))
}

/// A folder that has to be there.
pub(super) fn open_folder(dir: &Path) -> anyhow::Result<RealDisk> {
    if !dir.is_dir() {
        bail!("there is no folder {}", dir.display());
    }
    RealDisk::open(dir).with_context(|| format!("cannot use the folder {}", dir.display()))
}

/// Reads a moment: RFC 3339, or Unix seconds, with a fraction if need be.
fn parse_time(text: &str) -> Result<Millis, String> {
    let expected = || format!("'{text}' is no moment: expected RFC 3339, as 2026-11-28T05:30:00Z, or Unix seconds");
    if let Ok(at) = text.parse::<jiff::Timestamp>() {
        return u64::try_from(at.as_millisecond()).map(Millis).map_err(|_| expected());
    }
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(seconds) || !digits(fraction) {
        return Err(expected());
    }
    let ms: u64 = format!("{fraction:0<3}")[..3].parse().map_err(|_| expected())?;
    let seconds: u64 = seconds.parse().map_err(|_| expected())?;
    seconds.checked_mul(1000).and_then(|all| all.checked_add(ms)).map(Millis).ok_or_else(expected)
}

/// The last changes before the store has its name: all invariants hold, and old claims count no more.
fn finish(batch: &mut Batch<'_>, progress: &Progress, stale: &mut u64) -> storage::Result<()> {
    let wrong = |what: String| Error::corrupt(Table::Jobs, what);
    let rows = Watched { rows: &*batch, progress };
    progress.begin("checking data");
    let mut found = data::check::check(&rows)?;
    progress.begin("checking access keys");
    found.extend(access::check(&rows)?);
    progress.begin("checking jobs");
    found.extend(jobs::check::check(&rows).map_err(|error| wrong(error.to_string()))?);
    if let Some(first) = found.first() {
        return Err(wrong(format!("{first} ({} such findings)", found.len())));
    }
    jobs::begin_incarnation(batch)?;
    let now = u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap_or_default();
    *stale = jobs::refuse_old_claims(batch, Millis(now)).map_err(|error| wrong(error.to_string()))?;
    Ok(())
}

fn report(dir: &str, restored: &Restored, stale: u64, has_key: bool) -> String {
    let time = time(restored.time);
    let mut text = format!(
        "restored  {} rows and {} later records into {dir}\n\
         state     of {time}, record {} of the store {:032x}\n\
         store     {:032x}: a store of its own from here on\n",
        restored.backup.rows, restored.replayed, restored.seq, restored.backup.store_id, restored.store_id
    );
    if let Some(gap) = &restored.gap {
        text.push_str(&format!("gap       {gap}\n"));
    }
    if let Some(unfinished) = &restored.unfinished {
        text.push_str(&format!("left out  {unfinished}\n"));
    }
    if stale > 0 {
        text.push_str(&format!(
            "claims    {stale} of that time count no more: their jobs go to other workers once the leases are over\n"
        ));
    }
    if !has_key {
        text.push_str(
            "key       session.key is not in a backup: copy the old one into the folder before the start, or clients need\n          \
             the one that is made then\n",
        );
    }
    text
}

/// A time as a person reads it, in UTC; a store without a batch is as it was made.
pub(super) fn time(time: Millis) -> String {
    moment(time).unwrap_or_else(|| "the beginning".to_owned())
}

/// The same for programs; `None` for a store without a batch.
pub(super) fn moment(time: Millis) -> Option<String> {
    let at = i64::try_from(time.0).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    at.filter(|_| time.0 > 0).map(|at| at.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    use crate::storage::Backup;

    #[test]
    fn a_restore_says_of_when_it_is_and_that_the_session_key_is_another() {
        let restored = |ms| {
            let time = Millis(ms);
            let backup = Backup {
                store_id: 1,
                seq: 0,
                time,
                rows: 2,
                row_bytes: 9,
                file_bytes: 99,
                snapshot_lived: Duration::ZERO,
            };
            Restored { backup, store_id: 3, seq: 0, time, replayed: 0, gap: None, unfinished: None }
        };
        let text = report("/d", &restored(0), 0, false);
        assert!(text.contains("state     of the beginning, record 0"), "{text}");
        assert!(text.contains("key       session.key is not in a backup: copy the old one"), "{text}");
        assert_eq!(moment(Millis(0)), None);
        let text = report("/d", &restored(1_795_843_036_000), 0, true);
        assert!(text.contains("state     of 2026-11-28T05:17:16.000Z") && !text.contains("session.key"), "{text}");
    }

    #[test]
    fn moments_are_rfc_3339_or_unix_seconds() {
        let wanted = Ok(Millis(1_795_843_036_000));
        assert_eq!(parse_time("2026-11-28T05:17:16Z"), wanted);
        assert_eq!(parse_time("2026-11-28T06:17:16+01:00"), wanted);
        assert_eq!(parse_time("1795843036"), wanted);
        assert_eq!(parse_time("1795843036.5"), Ok(Millis(1_795_843_036_500)));
        for wrong in ["", "now", "2026-11-28", "-1", "1.", "1.x", "99999999999999999999"] {
            assert!(parse_time(wrong).is_err_and(|error| error.contains("RFC 3339")), "{wrong}");
        }
    }
}
