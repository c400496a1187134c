//! `agq import`: makes a store of an export. The store is made aside and gets its place when all lines are in it and the
//! footer says that they are all: a failure, or a crash, leaves none.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use sha2::{Digest as _, Sha256};

use super::line::{FORMAT, Footer, Header, Line, hex};
use crate::cli::output;
use crate::cli::serve::data_dir;
use crate::cli::store::Progress;
use crate::clock::Millis;
use crate::data::transfer::{Import, Item};
use crate::server::lock::Lock;
use crate::storage::files::{Disk, RealDisk};
use crate::storage::{Db, Options};

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
    let keys = made.with_context(|| format!("{}: nothing was imported", args.file.display())).inspect_err(|_| {
        // What failed is told; the next import removes what is left.
        let _ = fs::remove_dir_all(&aside);
    })?;
    fs::rename(aside.join("data.redb"), dir.join("data.redb"))?;
    RealDisk::open(&dir)?.sync_dir()?;
    remove(&aside)?;
    output::line(format_args!("{keys} keys are in {} now", dir.display()))
}

fn remove(dir: &Path) -> anyhow::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", dir.display()))
        }
        _ => Ok(()),
    }
}

/// Makes a store of what the lines say, and closes it. Returns how many keys it has.
fn make(dir: &Path, from: impl BufRead) -> anyhow::Result<u64> {
    let progress = Progress::new();
    progress.begin("imported");
    let mut lines = Lines { from, sum: Sha256::new(), line: 0, keys: 0 };
    let header = lines.header()?;
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::open(dir)?);
    let (mut db, mut import) = (Db::open_stepped(&disk, &Options::new(dir))?, Import::default());
    let mut more = true;
    while more {
        let mut batch = db.batch()?;
        while more && batch.rows_written() < BATCH_ROWS && batch.bytes_written() < BATCH_BYTES {
            progress.step();
            let taken = match lines.next()? {
                Some(item) => import.take(&mut batch, item),
                None => {
                    more = false;
                    import.finish(&mut batch)
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
    Ok(lines.keys)
}

struct Lines<R> {
    from: R,
    sum: Sha256,
    /// The number of the last line that was read, from 1 on.
    line: u64,
    keys: u64,
}

impl<R: BufRead> Lines<R> {
    /// The next line, and what came before it.
    fn read(&mut self) -> anyhow::Result<(Line, Sha256)> {
        let mut text = Vec::new();
        self.from.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut text)?;
        self.line += 1;
        let before = self.sum.clone();
        ensure!(text.ends_with(b"\n"), "line {}: the file is cut: no footer, or no end of the line", self.line);
        self.sum.update(&text);
        let line = serde_json::from_slice(&text).with_context(|| format!("line {}", self.line))?;
        Ok((line, before))
    }

    fn header(&mut self) -> anyhow::Result<Header> {
        match self.read()?.0 {
            Line::Header(header) if header.agq_export == FORMAT => Ok(header),
            Line::Header(header) => bail!("it has format {}, this program knows {FORMAT}", header.agq_export),
            _ => bail!("line 1: no header, expected the first line of an export"),
        }
    }

    /// The next item; `None` when the footer is reached, and right.
    fn next(&mut self) -> anyhow::Result<Option<Item>> {
        let (line, before) = self.read()?;
        let Line::Footer(footer) = line else {
            let item = line.item().with_context(|| format!("line {}", self.line))?;
            self.keys += u64::from(matches!(item, Item::Key(_)));
            return Ok(Some(item));
        };
        let expected = Footer { lines: self.line - 1, keys: self.keys, sha256: hex(&before.finalize()) };
        ensure!(footer == expected, "line {}: the footer says {footer:?}, the lines are {expected:?}", self.line);
        let behind = self.from.fill_buf()?.len();
        ensure!(behind == 0, "line {}: something stands behind the footer", self.line + 1);
        Ok(None)
    }
}
