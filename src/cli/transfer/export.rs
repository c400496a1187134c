//! `agq export`: every key of a store, as lines. The store is read as a start would find it, and stays as it is.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail};
use clap::Args;
use sha2::{Digest as _, Sha256};

use super::line::{FORMAT, Footer, Header, Line, hex};
use crate::cli::output::Closed;
use crate::cli::serve::data_dir;
use crate::cli::store::{self, Progress, Watched};
use crate::data::transfer::{self, Item};
use crate::storage::files::Disk;
use crate::storage::shadow::ShadowDisk;
use crate::storage::{self, Db, Error, Options};

#[derive(Debug, Clone, Args)]
pub(in crate::cli) struct ExportArgs {
    /// File to write, which must not be there yet [default: standard output]
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// Leave out jobs, plans, queues and what belongs to them; without this, a store that has some is refused
    #[arg(long)]
    data_only: bool,
    /// Folder of the store [default: ~/.agq]
    #[arg(long, env = "AGQ_DATA_DIR", value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

/// Exports a store.
pub(in crate::cli) fn run(args: &ExportArgs) -> anyhow::Result<()> {
    let dir = data_dir(args.data_dir.as_ref())?;
    let _lock = store::lock(&dir)?;
    let disk: Arc<dyn Disk> = Arc::new(ShadowDisk::of_folder(&dir));
    let mut db = Db::open_on(&disk, &Options::new(&dir))?;
    let (time, snapshot) = (db.last_time().0, db.snapshot()?);
    if !args.data_only && transfer::has_more_than_keys(&snapshot)? {
        bail!(
            "the store has jobs, plans or queues, which an export does not hold yet: copy data.redb after a clean stop \
             to keep them, or export the keys alone with --data-only"
        );
    }
    let header = Header { agq_export: FORMAT, version: env!("CARGO_PKG_VERSION").to_owned(), time };
    let progress = Progress::new();
    progress.begin("exported");
    let rows = Watched { rows: &snapshot, progress: &progress };
    let Some(path) = &args.file else {
        return write(io::stdout().lock(), header, &rows).map(drop);
    };
    let mut new = File::options();
    let file = new.write(true).create_new(true).mode(0o600).open(path);
    let file = file.with_context(|| format!("cannot make {}", path.display()))?;
    let written = write(&file, header, &rows).and_then(|()| Ok(file.sync_all()?));
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

/// Writes header, keys and footer.
fn write(out: impl Write, header: Header, rows: &Watched<'_>) -> anyhow::Result<()> {
    let mut lines = Lines { out: BufWriter::with_capacity(1 << 16, out), sum: Sha256::new(), lines: 0, keys: 0 };
    let written = lines
        .put(&Line::Header(header))
        .and_then(|()| {
            transfer::export(rows, &mut |item| {
                lines.keys += u64::from(matches!(item, Item::Key(_)));
                lines.put(&Line::of(&item))
            })
        })
        .and_then(|()| lines.end());
    match written {
        Err(Error::Io { cause, .. }) if cause.kind() == io::ErrorKind::BrokenPipe => Err(Closed.into()),
        written => Ok(written?),
    }
}

struct Lines<W: Write> {
    out: BufWriter<W>,
    sum: Sha256,
    lines: u64,
    keys: u64,
}

impl<W: Write> Lines<W> {
    fn put(&mut self, line: &Line) -> storage::Result<()> {
        let mut text = serde_json::to_vec(line).map_err(|error| failed(error.into()))?;
        text.push(b'\n');
        self.sum.update(&text);
        self.lines += 1;
        self.out.write_all(&text).map_err(failed)
    }

    fn end(&mut self) -> storage::Result<()> {
        let sha256 = hex(&self.sum.clone().finalize());
        let (lines, keys) = (self.lines, self.keys);
        self.put(&Line::Footer(Footer { lines, keys, sha256 }))?;
        self.out.flush().map_err(failed)
    }
}

fn failed(source: io::Error) -> Error {
    Error::Io { what: "writing the export".to_owned(), cause: source }
}
