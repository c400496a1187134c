//! `agq recover`: makes a store open again whose log is lost or damaged, and says what that costs. It works on the
//! files, with no server: it holds the data directory's lock as a server would.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use serde_json::{Map, Value, json};

use super::serve::data_dir;
use super::{output, store};
use crate::storage::files::Disk;
use crate::storage::shadow::ShadowDisk;
use crate::storage::{self, Discarded};

#[derive(Debug, Clone, Args)]
pub(super) struct RecoverArgs {
    /// Give up what cannot be read of the log; without this, say what would be done
    #[arg(long)]
    discard_log: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Folder of the store [default: ~/.agq]
    #[arg(long, env = "AGQ_DATA_DIR", value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

/// Discards the log, or says what that would do.
pub(super) fn run(args: &RecoverArgs) -> anyhow::Result<()> {
    let dir = data_dir(args.data_dir.as_ref())?;
    let _lock = store::lock(&dir)?;
    // Sortable, and never that of copies made before: those are not to be replaced.
    let stamp = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%S.%3fZ").to_string();
    let options = storage::Options::new(&dir);
    let discarded = if args.discard_log {
        storage::discard_log(&options, &stamp)?
    } else {
        // The same is done, and stays in memory.
        let disk: Arc<dyn Disk> = Arc::new(ShadowDisk::of_folder(&dir));
        // Copies of the log there are none, and those that will be made have names of their own.
        Discarded { copies: Vec::new(), ..storage::discard_log_on(&disk, &options, &stamp)? }
    };
    if args.json {
        return output::json(&report_json(&discarded, args.discard_log));
    }
    let intro = if args.discard_log { "" } else { PLAN };
    output::write(format!("{intro}{}", report(&dir, &discarded)))
}

/// Stands above what `--discard-log` would do.
const PLAN: &str = "Nothing was changed. After a crash nothing needs to be: the server reads the log when it starts. Where it refuses to\n\
                    because of its log, --discard-log comes to this:\n";

/// The report as JSON; `changed` is false where nothing was done.
fn report_json(discarded: &Discarded, changed: bool) -> Value {
    let rows: Map<String, Value> =
        discarded.lost_rows.iter().map(|(table, rows)| (table.to_string(), (*rows).into())).collect();
    json!({
        "changed": changed,
        "kept_to_record": discarded.last_kept,
        "replayed": discarded.replayed,
        "unreadable": discarded.unreadable,
        "damaged_records": damaged(discarded),
        "lost_records": discarded.lost,
        "lost_rows": rows,
        "copies": discarded.copies,
    })
}

/// What was kept where, and what is lost.
fn report(dir: &Path, discarded: &Discarded) -> String {
    let mut text = String::new();
    let mut line = |label: &str, what: String| text.push_str(&format!("{label:<9} {what}\n"));
    line(
        "kept",
        format!(
            "data.redb, up to record {}; {} records of the log were put into it",
            discarded.last_kept, discarded.replayed
        ),
    );
    for wrong in &discarded.unreadable {
        line("unread", wrong.clone());
    }
    let damaged = damaged(discarded);
    if !damaged.is_empty() {
        line("lost", format!("{} that cannot be read", records(&damaged)));
    }
    if !discarded.lost.is_empty() {
        line("lost", format!("{} that can be read, but follow a gap", records(&discarded.lost)));
    }
    for (table, rows) in &discarded.lost_rows {
        line("", format!("{rows} changed rows of '{table}'"));
    }
    if damaged.is_empty() && discarded.lost.is_empty() && discarded.unreadable.is_empty() {
        line("lost", "nothing".to_owned());
    }
    for copy in &discarded.copies {
        line("copy", dir.join(copy).display().to_string());
    }
    text
}

/// The records that are missing between the last one kept and the last one read.
fn damaged(discarded: &Discarded) -> Vec<u64> {
    let Some(&last) = discarded.lost.last() else { return Vec::new() };
    (discarded.last_kept + 1..last).filter(|record| discarded.lost.binary_search(record).is_err()).collect()
}

/// `record 7`, or `3 records from 7 to 9`.
fn records(numbers: &[u64]) -> String {
    match numbers {
        [] => "no record".to_owned(),
        [one] => format!("record {one}"),
        [first, .., last] => format!("{} records from {first} to {last}", numbers.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::Table;

    #[test]
    fn the_report_says_what_is_kept_and_what_is_lost() {
        let discarded = Discarded {
            copies: vec!["data.redb-log-0.discarded-x".to_owned()],
            replayed: 3,
            last_kept: 10,
            lost: vec![12, 13, 15],
            lost_rows: vec![(Table::Keys, 4)],
            unreadable: vec!["data.redb-log-1 is missing".to_owned()],
        };
        assert_eq!(
            report(Path::new("/d"), &discarded),
            "kept      data.redb, up to record 10; 3 records of the log were put into it\n\
             unread    data.redb-log-1 is missing\n\
             lost      2 records from 11 to 14 that cannot be read\n\
             lost      3 records from 12 to 15 that can be read, but follow a gap\n          \
             4 changed rows of 'keys'\n\
             copy      /d/data.redb-log-0.discarded-x\n"
        );
        let shown = report_json(&discarded, true);
        assert_eq!((&shown["damaged_records"], &shown["lost_rows"]["keys"]), (&json!([11, 14]), &json!(4)));
        let nothing = report(Path::new("/d"), &Discarded::default());
        assert!(nothing.ends_with("lost      nothing\n"), "{nothing}");
    }
}
