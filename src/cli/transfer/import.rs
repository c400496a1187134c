//! `agq import`: makes a store of an export. The store is made aside and gets its place when all lines are in it and the
//! footer says that they are all: a failure, or a crash, leaves none.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, anyhow, bail, ensure};
use clap::Args;
use sha2::{Digest as _, Sha256};

use super::line::{FORMAT, Footer, Header, Line, OLDEST, Read, hex, read};
use crate::access;
use crate::cli::output;
use crate::cli::serve::data_dir;
use crate::cli::store::Progress;
use crate::clock::Millis;
use crate::data::transfer::Import;
use crate::jobs;
use crate::server::lock::Lock;
use crate::storage::files::{Disk, RealDisk};
use crate::storage::{Batch, Db, Options};

/// The longest line: a string of the longest length in hexadecimal digits, and its frame.
const LONGEST_LINE: u64 = (1 << 30) + (1 << 20);
/// Rows and bytes of a batch.
const BATCH_ROWS: usize = 2000;
const BATCH_BYTES: usize = 4 << 20;
/// Where the store is made.
const ASIDE: &str = "import.tmp";

#[derive(Debug, Clone, Args)]
pub(in crate::cli) struct ImportArgs {
    /// File that `agq export` has written
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Folder of the store that is made [default: ~/.agq]
    #[arg(long, env = "AGQ_DATA_DIR", value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

/// Imports a file.
pub(in crate::cli) fn run(args: &ImportArgs) -> anyhow::Result<()> {
    let dir = data_dir(args.data_dir.as_ref())?;
    let file = File::open(&args.file).with_context(|| format!("cannot open {}", args.file.display()))?;
    let _lock = Lock::take(&dir)?;
    for name in ["data.redb", "data.redb-log-0", "data.redb-log-1"] {
        if dir.join(name).exists() {
            bail!("there is a store in {} ({name}): import into a folder that has none", dir.display());
        }
    }
    let aside = dir.join(ASIDE);
    remove(&aside)?;
    let made = make(&aside, BufReader::with_capacity(1 << 16, file));
    let Made { keys, jobs } =
        made.with_context(|| format!("{}: nothing was imported", args.file.display())).inspect_err(|_| {
            // What failed is told; the next import removes what is left.
            let _ = fs::remove_dir_all(&aside);
        })?;
    fs::rename(aside.join("data.redb"), dir.join("data.redb"))?;
    RealDisk::open(&dir)?.sync_dir()?;
    remove(&aside)?;
    output::line(format_args!("{keys} keys and {jobs} jobs are in {} now", dir.display()))
}

fn remove(dir: &Path) -> anyhow::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", dir.display()))
        }
        _ => Ok(()),
    }
}

/// What a store was made of.
struct Made {
    keys: u64,
    jobs: u64,
}

/// Makes a store of what the lines say, and closes it.
fn make(dir: &Path, from: impl BufRead) -> anyhow::Result<Made> {
    let progress = Progress::new();
    progress.begin("imported");
    let mut lines = Lines { from, sum: Sha256::new(), line: 0, keys: 0, jobs: 0, text: Vec::new() };
    let header = lines.header()?;
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::open(dir)?);
    let mut db = Db::open_stepped(&disk, &Options::new(dir))?;
    let mut store = Store::new(&header, fastrand::Rng::new());
    let (mut more, mut ended) = (true, false);
    while more {
        let mut batch = db.batch()?;
        while more && batch.rows_written() < BATCH_ROWS && batch.bytes_written() < BATCH_BYTES {
            progress.step();
            let taken = if ended {
                store.finish(&mut batch).map(|done| more = !done)
            } else {
                match lines.next(&header)? {
                    Some(read) => store.take(&mut batch, read),
                    None => {
                        ended = true;
                        Ok(())
                    }
                }
            };
            taken.with_context(|| format!("line {}", lines.line))?;
            batch.release();
        }
        let rows = batch.finish();
        db.append(&rows, Millis(header.time))?;
        db.apply(&rows)?;
        if db.checkpoint_due(0) {
            db.checkpoint()?;
            while db.step()? {}
        }
    }
    db.close()?;
    Ok(Made { keys: lines.keys, jobs: lines.jobs })
}

/// The store that is made, as far as it has come.
pub(super) struct Store {
    format: u32,
    keys: Import,
    rest: jobs::transfer::Import,
    /// Access keys that came.
    access_keys: usize,
    /// Something else than keys has come.
    rest_begun: bool,
}

impl Store {
    pub(super) fn new(header: &Header, random: fastrand::Rng) -> Store {
        let rest = jobs::transfer::Import::new(Millis(header.time), random);
        Store { format: header.agq_export, keys: Import::default(), rest, access_keys: 0, rest_begun: false }
    }

    /// Takes a line.
    ///
    /// # Errors
    /// When it says nothing that may stand there.
    pub(super) fn take(&mut self, batch: &mut Batch<'_>, read: Read<'_>) -> anyhow::Result<()> {
        let (kind, raw) = match read {
            Read::Line(line) => {
                ensure!(!self.rest_begun, "a line of keys behind the line 'counters', expected all keys before it");
                return Ok(self.keys.take(batch, line.item()?)?);
            }
            Read::Rest(kind, raw) => (kind, raw),
        };
        ensure!(self.format > OLDEST, "a line '{kind}', which format {OLDEST} does not have");
        if !self.rest_begun {
            self.keys.finish(batch)?;
            self.rest_begun = true;
        }
        let taken = if kind == access::transfer::KIND {
            self.access_keys += 1;
            access::transfer::import(batch, raw, self.access_keys - 1)
        } else {
            self.rest.take(batch, &kind, raw)
        };
        taken.map_err(plain)
    }

    /// Ends the store, a piece at a time: true when that was all.
    ///
    /// # Errors
    /// When something is missing.
    pub(super) fn finish(&mut self, batch: &mut Batch<'_>) -> anyhow::Result<bool> {
        self.keys.finish(batch)?;
        self.rest.finish(batch).map_err(plain)
    }
}

/// An error without the code that a client would read.
fn plain(error: jobs::Error) -> anyhow::Error {
    let text = error.to_string();
    match text.strip_prefix("ERR ") {
        Some(text) => anyhow!("{text}"),
        None => error.into(),
    }
}

struct Lines<R> {
    from: R,
    sum: Sha256,
    /// The number of the last line that was read, from 1 on.
    line: u64,
    keys: u64,
    jobs: u64,
    /// The last line.
    text: Vec<u8>,
}

impl<R: BufRead> Lines<R> {
    /// Reads the next line. Returns the sum of what came before it.
    fn read(&mut self) -> anyhow::Result<Sha256> {
        // A long one leaves no room behind that nothing needs any more.
        self.text = Vec::new();
        self.from.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut self.text)?;
        self.line += 1;
        let before = self.sum.clone();
        ensure!(self.text.ends_with(b"\n"), "line {}: the file is cut: no footer, or no end of the line", self.line);
        self.sum.update(&self.text);
        Ok(before)
    }

    fn header(&mut self) -> anyhow::Result<Header> {
        self.read()?;
        match read(&self.text).context("line 1")? {
            Read::Line(Line::Header(header)) if (OLDEST..=FORMAT).contains(&header.agq_export) => Ok(header),
            Read::Line(Line::Header(header)) => {
                bail!("it has format {}, this program knows {OLDEST} to {FORMAT}", header.agq_export)
            }
            _ => bail!("line 1: no header, expected the first line of an export"),
        }
    }

    /// The next line; `None` when the footer is reached, and right.
    fn next(&mut self, header: &Header) -> anyhow::Result<Option<Read<'_>>> {
        let before = self.read()?;
        let line = self.line;
        let footer = match read(&self.text).with_context(|| format!("line {line}"))? {
            Read::Line(Line::Footer(footer)) => footer,
            other => {
                self.keys += u64::from(matches!(other, Read::Line(Line::Key(_))));
                self.jobs += u64::from(matches!(&other, Read::Rest(kind, _) if kind == "job"));
                return Ok(Some(other));
            }
        };
        let jobs = (header.agq_export > OLDEST).then_some(self.jobs);
        let expected = Footer { lines: line - 1, keys: self.keys, jobs, sha256: hex(&before.finalize()) };
        let differences = footer.differences(&expected);
        ensure!(
            differences.is_empty(),
            "line {line}: the lines are not those that the footer tells of: {}; import a file that is as it was exported",
            differences.join("; ")
        );
        let behind = self.from.fill_buf()?.len();
        ensure!(behind == 0, "line {}: something stands behind the footer", line + 1);
        Ok(None)
    }
}
