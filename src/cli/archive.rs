//! `agq archive`: which moments can be restored, from which backups.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use super::output;
use super::restore::{moment, open_folder, time};
use super::table::{Align, Table};
use crate::clock::Millis;
use crate::storage::files::{Disk, RealDisk};
use crate::storage::{self, Backup, Behind, Range};

#[derive(Debug, Args)]
pub(super) struct ArchiveArgs {
    /// Folder of the archive
    #[arg(value_name = "DIR")]
    archive: PathBuf,
    /// Folder of backups, to see what can be restored from each
    #[arg(long, value_name = "DIR")]
    backups: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// A backup, and the latest moment that can be restored from it.
struct Base {
    name: String,
    backup: Backup,
    reaches: Millis,
}

/// Prints what the archive holds, and what can be restored.
pub(super) fn run(args: &ArchiveArgs) -> anyhow::Result<()> {
    let ranges = storage::archive_ranges(&open_folder(&args.archive)?)?;
    let bases = match &args.backups {
        Some(dir) => bases(&open_folder(dir)?, &ranges)?,
        None => Vec::new(),
    };
    if args.json {
        let ranges: Vec<Value> = ranges.iter().map(range_json).collect();
        let backups: Vec<Value> = bases.iter().map(base_json).collect();
        return output::json(&json!({"records": ranges, "backups": backups}));
    }
    let columns = ["store", "first record", "time", "last record", "time", ""].map(|name| (name, Align::Left));
    let mut table = Table::new(&columns);
    for range in &ranges {
        let behind = match range.behind {
            Behind::Nothing => String::new(),
            Behind::Unfinished { bytes } => format!("{bytes} bytes behind it were still being written"),
            Behind::Damaged => "the next record is damaged".to_owned(),
        };
        let (first, last) = (range.first, range.last);
        let store = store(range.store_id);
        table.row([store, first.0.to_string(), time(first.1), last.0.to_string(), time(last.1), behind]);
    }
    table.print()?;
    if args.backups.is_some() {
        output::line("")?;
        let columns = ["backup", "store", "record", "restores from", "up to"].map(|name| (name, Align::Left));
        let mut table = Table::new(&columns);
        for base in bases {
            let Backup { store_id, seq, time: from, .. } = base.backup;
            table.row([base.name, store(store_id), seq.to_string(), time(from), time(base.reaches)]);
        }
        table.print()?;
    }
    Ok(())
}

/// Every backup of a folder; what is none is passed over.
fn bases(disk: &RealDisk, ranges: &[Range]) -> anyhow::Result<Vec<Base>> {
    let mut bases = Vec::new();
    for name in disk.list()?.into_iter().filter(|name| name.ends_with(".redb")) {
        let Some(file) = disk.open(&name)? else { continue };
        let Ok(backup) = storage::look_at(&file, &name) else { continue };
        let on_top = ranges.iter().find(|range| {
            range.store_id == backup.store_id && range.first.0 <= backup.seq + 1 && range.last.0 > backup.seq
        });
        let reaches = on_top.map_or(backup.time, |range| range.last.1);
        bases.push(Base { name, backup, reaches });
    }
    Ok(bases)
}

fn store(id: u128) -> String {
    format!("{id:032x}")
}

fn range_json(range: &Range) -> Value {
    json!({
        "store_id": store(range.store_id),
        "first_record": range.first.0,
        "first_time": moment(range.first.1),
        "last_record": range.last.0,
        "last_time": moment(range.last.1),
        "damaged_behind": range.behind == Behind::Damaged,
        "unfinished_bytes_behind": match range.behind {
            Behind::Unfinished { bytes } => bytes,
            Behind::Nothing | Behind::Damaged => 0,
        },
    })
}

fn base_json(base: &Base) -> Value {
    json!({
        "file": base.name,
        "store_id": store(base.backup.store_id),
        "record": base.backup.seq,
        "from": moment(base.backup.time),
        "to": moment(base.reaches),
    })
}
