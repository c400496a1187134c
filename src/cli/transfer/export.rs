//! `agq export`: everything in a store, as lines. The store is read as a start would find it, and stays as it is.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{anyhow, bail};
use clap::Args;
use sha2::{Digest as _, Sha256};

use super::line::{FORMAT, Footer, Header, Line, hex};
use crate::access;
use crate::cli::output::Closed;
use crate::cli::serve::data_dir;
use crate::cli::store::{self, Progress, Watched};
use crate::data::transfer::{self, Item};
use crate::jobs;
use crate::server::lock::{self, Lock};
use crate::storage::files::Disk;
use crate::storage::shadow::ShadowDisk;
use crate::storage::{self, Db, Error, Options};

#[derive(Debug, Clone, Args)]
pub(in crate::cli) struct ExportArgs {
    /// File to write, which must not be there yet [default: standard output]
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// Export keys alone, without jobs, plans, queues, access keys and what belongs to them
    #[arg(long)]
    data_only: bool,
    /// Export one file that is a whole store, a backup say, instead of the store in the folder
    #[arg(long, value_name = "BACKUP")]
    from: Option<PathBuf>,
    /// Folder of the store [default: ~/.agq]
    #[arg(long, env = "AGQ_DATA_DIR", value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

/// Exports a store.
pub(in crate::cli) fn run(args: &ExportArgs) -> anyhow::Result<()> {
    let (shown, _lock, disk) = source(args)?;
    let disk: Arc<dyn Disk> = Arc::new(disk);
    let mut db = Db::open_on(&disk, &Options::new(&shown))?;
    let (time, snapshot) = (db.last_time().0, db.snapshot()?);
    let header = Header { agq_export: FORMAT, version: env!("CARGO_PKG_VERSION").to_owned(), time };
    let progress = Progress::new();
    progress.begin("exported");
    let rows = Watched { rows: &snapshot, progress: &progress };
    let Some(path) = &args.file else {
        return write(io::stdout().lock(), header, &rows, args.data_only);
    };
    let mut new = File::options();
    let file = new.write(true).create_new(true).mode(0o600).open(path);
    let file = file.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => anyhow!("{} is there already: name another file, or remove it", path.display()),
        _ => anyhow!("cannot make {}: {error}", path.display()),
    })?;
    let written = write(&file, header, &rows, args.data_only).and_then(|()| Ok(file.sync_all()?));
    written.and_then(|()| sync_parent(path)).inspect_err(|_| {
        // What failed is told; half an export is of no use.
        let _ = std::fs::remove_file(path);
    })
}

/// Makes a file's name durable.
fn sync_parent(path: &Path) -> anyhow::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    Ok(File::open(parent)?.sync_all()?)
}

/// The store that is exported: its name, the lock of its folder, and its files.
fn source(args: &ExportArgs) -> anyhow::Result<(PathBuf, Option<Lock>, ShadowDisk)> {
    if let Some(file) = &args.from {
        let (file, disk) = store::one_file(file)?;
        return Ok((file, None, disk));
    }
    let dir = data_dir(args.data_dir.as_ref())?;
    if let Some(holder) = lock::holder(&dir)?.filter(|holder| !holder.addresses.is_empty()) {
        bail!(
            "{}; or let the server make a backup and export that: agq export --from \"$(agq backup)\"",
            lock::in_use(&dir, &holder)
        );
    }
    let lock = store::lock(&dir)?;
    let disk = ShadowDisk::of_folder(&dir);
    Ok((dir, Some(lock), disk))
}

/// Writes every line.
fn write(out: impl Write, header: Header, rows: &Watched<'_>, data_only: bool) -> anyhow::Result<()> {
    let out = BufWriter::with_capacity(1 << 16, out);
    let mut lines = Lines { out, sum: Sha256::new(), lines: 0, keys: 0, jobs: 0 };
    match write_lines(&mut lines, header, rows, data_only) {
        Err(jobs::Error::Storage(Error::Io { cause, .. })) if cause.kind() == io::ErrorKind::BrokenPipe => {
            Err(Closed.into())
        }
        written => Ok(written?),
    }
}

fn write_lines(lines: &mut Lines<impl Write>, header: Header, rows: &Watched<'_>, data_only: bool) -> jobs::Result<()> {
    lines.put(&Line::Header(header))?;
    transfer::export(rows, &mut |item| {
        lines.keys += u64::from(matches!(item, Item::Key(_)));
        lines.put(&Line::of(&item))
    })?;
    lines.put_rest("counters", &jobs::transfer::counters(rows, !data_only)?)?;
    if !data_only {
        for key in access::transfer::export(rows)? {
            lines.put_rest(access::transfer::KIND, &key)?;
        }
        jobs::transfer::export(rows, &mut |kind, object| {
            lines.jobs += u64::from(kind == "job");
            Ok(lines.put_rest(kind, &object)?)
        })?;
    }
    Ok(lines.end()?)
}

struct Lines<W: Write> {
    out: BufWriter<W>,
    sum: Sha256,
    lines: u64,
    keys: u64,
    jobs: u64,
}

impl<W: Write> Lines<W> {
    fn put(&mut self, line: &Line) -> storage::Result<()> {
        self.put_text(serde_json::to_vec(line).map_err(|error| failed(error.into()))?)
    }

    /// A line of something else than keys.
    fn put_rest(&mut self, kind: &str, object: &str) -> storage::Result<()> {
        self.put_text(format!("{{\"{kind}\":{object}}}").into_bytes())
    }

    fn put_text(&mut self, mut text: Vec<u8>) -> storage::Result<()> {
        text.push(b'\n');
        self.sum.update(&text);
        self.lines += 1;
        self.out.write_all(&text).map_err(failed)
    }

    fn end(&mut self) -> storage::Result<()> {
        let sha256 = hex(&self.sum.clone().finalize());
        let (lines, keys, jobs) = (self.lines, self.keys, Some(self.jobs));
        self.put(&Line::Footer(Footer { lines, keys, jobs, sha256 }))?;
        self.out.flush().map_err(failed)
    }
}

fn failed(source: io::Error) -> Error {
    Error::Io { what: "writing the export".to_owned(), cause: source }
}
