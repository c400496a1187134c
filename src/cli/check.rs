//! `agq check`: what the files of a store are, what a start would do with them, and, with `--deep`, whether everything in
//! it holds. Nothing is changed: a store that a crash left is opened in memory.

use std::ops::{Bound, ControlFlow};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use serde_json::{Map, Value, json};

use super::serve::data_dir;
use super::store::{self, Progress, Watched};
use super::{exit, output};
use crate::storage::files::Disk;
use crate::storage::shadow::ShadowDisk;
use crate::storage::{self, Content, Db, Error, Options, Rows, Segment, Survey, Table};

#[derive(Debug, Clone, Args)]
pub(super) struct CheckArgs {
    /// One file to check, a backup say, instead of the store in the folder
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// Read every page and every row, and prove that everything in the store fits together
    #[arg(long)]
    deep: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Folder of the store [default: ~/.agq]
    #[arg(long, env = "AGQ_DATA_DIR", value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

/// What was seen of a store.
struct Report {
    survey: Survey,
    /// Rows and their bytes in each table, with `--deep`.
    tables: Option<Vec<(Table, u64, u64)>>,
    findings: Vec<String>,
}

/// Checks a store; the exit code says whether all is well.
pub(super) fn run(args: &CheckArgs) -> anyhow::Result<ExitCode> {
    let (shown, lock, disk) = match &args.file {
        Some(file) => {
            let (file, disk) = store::one_file(file)?;
            (file, None, disk)
        }
        None => {
            let dir = data_dir(args.data_dir.as_ref())?;
            let lock = store::lock(&dir)?;
            let disk = ShadowDisk::of_folder(&dir);
            (dir, Some(lock), disk)
        }
    };
    let report = check(Arc::new(disk), &shown, args.deep)?;
    drop(lock);
    match args.json {
        true => output::json(&report.json())?,
        false => output::write(report.text(&shown))?,
    }
    Ok(if report.findings.is_empty() { exit::DONE } else { exit::FAILED })
}

fn check(disk: Arc<dyn Disk>, dir: &Path, deep: bool) -> anyhow::Result<Report> {
    let options = Options::new(dir);
    let progress = Progress::new();
    progress.begin("files");
    let survey = storage::survey(&disk, &options)?;
    let mut findings: Vec<String> = survey.refusal.iter().map(Error::to_string).collect();
    let mut tables = None;
    if deep && survey.refusal.is_none() {
        let mut db = Db::open_on(&disk, &options)?;
        progress.begin("pages");
        match db.verify() {
            Ok(true) => {
                let snapshot = db.snapshot()?;
                tables = Some(check_rows(&snapshot, &progress, &mut findings)?);
            }
            Ok(false) => findings.push("data.redb: pages are damaged, or free ones are taken for used".to_owned()),
            Err(error) => findings.push(format!("data.redb: {error}")),
        }
    }
    Ok(Report { survey, tables, findings })
}

/// Reads every row and proves the invariants of data, access keys and jobs. Answers what each table has.
fn check_rows(
    rows: &dyn Rows,
    progress: &Progress,
    findings: &mut Vec<String>,
) -> anyhow::Result<Vec<(Table, u64, u64)>> {
    let rows = &Watched { rows, progress };
    progress.begin("tables");
    let mut tables = Vec::new();
    for table in Table::ALL {
        let (mut count, mut bytes) = (0, 0);
        rows.scan(table, Bound::Unbounded, Bound::Unbounded, false, &mut |key, value| {
            count += 1;
            bytes += (key.len() + value.len()) as u64;
            ControlFlow::Continue(())
        })?;
        tables.push((table, count, bytes));
    }
    progress.begin("data");
    findings.extend(crate::data::check::check(rows)?);
    progress.begin("access");
    findings.extend(crate::access::check(rows)?);
    progress.begin("jobs");
    match crate::jobs::check::check(rows) {
        Ok(wrong) => findings.extend(wrong),
        Err(crate::jobs::Error::Storage(error @ (Error::Io { .. } | Error::Engine(_)))) => return Err(error.into()),
        // A record that cannot be read; what follows it was not looked at.
        Err(error) => findings.push(format!("jobs: {error}; the rest of the jobs was not checked")),
    }
    Ok(tables)
}

impl Report {
    fn text(&self, shown: &Path) -> String {
        let survey = &self.survey;
        let mut text = String::new();
        let mut line = |label: &str, what: String| text.push_str(&format!("{label:<9} {what}\n"));
        line("store", format!("{:032x} in {}, format {}", survey.store_id, shown.display(), survey.format));
        let closed =
            if survey.needs_log { "not closed: its log is needed" } else { "closed: one file is the whole store" };
        line("state", format!("generation {}, at record {}; {closed}", survey.generation, survey.seq));
        line("file", format!("data.redb, {}", store::size(survey.bytes)));
        if survey.repaired {
            line("", "was not closed in good order and had to be read whole".to_owned());
        }
        for segment in &survey.segments {
            line("log", format!("{}, {}", segment.name, segment_words(segment)));
        }
        if survey.needs_log && survey.refusal.is_none() {
            line("start", format!("will put {} records of the log into data.redb", survey.replayed));
            if let (Some(first), Some(last)) = (survey.cut.first(), survey.cut.last()) {
                let count = survey.cut.len();
                line("", format!("and drop {count} between {first} and {last}, which nobody was promised"));
            }
        }
        for (table, rows, bytes) in self.tables.iter().flatten().filter(|(_, rows, _)| *rows > 0) {
            line("table", format!("{:<10} {rows:>10} rows  {:>10}", table.name(), store::size(*bytes)));
        }
        for finding in &self.findings {
            line("finding", finding.clone());
        }
        let depth = match (&self.tables, self.findings.is_empty()) {
            (Some(_), true) => "every page, every row and every invariant of data, access keys and jobs holds",
            (None, true) => "nothing found; with --deep, every page and row is read",
            (_, false) => "the store is damaged: restore a backup, or keep a copy of the files and tell AGQ's makers",
        };
        line("result", depth.to_owned());
        text
    }

    fn json(&self) -> Value {
        let survey = &self.survey;
        let tables = self.tables.as_ref().map(|tables| {
            let row = |(table, rows, bytes): &(Table, u64, u64)| {
                (table.name().to_owned(), json!({"rows": rows, "bytes": bytes}))
            };
            tables.iter().map(row).collect::<Map<String, Value>>()
        });
        let segment = |segment: &Segment| json!({"file": segment.name, "bytes": segment.bytes, "content": segment_words(segment)});
        json!({
            "store_id": format!("{:032x}", survey.store_id),
            "format": survey.format,
            "generation": survey.generation,
            "bytes": survey.bytes,
            "record": survey.seq,
            "needs_log": survey.needs_log,
            "log": survey.segments.iter().map(segment).collect::<Vec<_>>(),
            "replayed": survey.replayed,
            "dropped": survey.cut,
            "tables": tables,
            "findings": self.findings,
        })
    }
}

fn segment_words(segment: &Segment) -> String {
    let content = match &segment.content {
        Content::Nothing => "nothing in it that counts".to_owned(),
        Content::Records(None) => "no record".to_owned(),
        Content::Records(Some((1, first, _))) => format!("record {first}"),
        Content::Records(Some((count, first, last))) => format!("{count} records between {first} and {last}"),
        Content::Wrong(what) => format!("not usable: {what}"),
    };
    match segment.bytes {
        Some(bytes) => format!("{}, {content}", store::size(bytes)),
        None => content,
    }
}
