//! The files of a store, for the commands that work without a server: which folder, whose lock, how far it is.

use std::cell::Cell;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::bail;
use bytes::Bytes;

use crate::server::lock::{self, Lock};
use crate::storage::batch::KeyBound;
use crate::storage::shadow::ShadowDisk;
use crate::storage::{self, Rows, Table, Visit};

/// Between two lines of progress.
const PROGRESS: Duration = Duration::from_millis(500);

/// Takes the lock of a folder that holds a store.
///
/// # Errors
/// When there is no store in it, or somebody has it.
pub(super) fn lock(dir: &Path) -> anyhow::Result<Lock> {
    if !dir.join("data.redb").is_file() {
        bail!("there is no store in {}: choose its folder with --data-dir", dir.display());
    }
    Lock::take(dir)
}

/// One file that is a whole store, to be read only.
///
/// # Errors
/// When there is none, or a server writes it.
pub(super) fn one_file(file: &Path) -> anyhow::Result<(PathBuf, ShadowDisk)> {
    let file = std::path::absolute(file)?;
    if !file.is_file() {
        bail!("there is no file {}", file.display());
    }
    // A file that a server writes cannot be read beside it.
    if let Some(dir) = file.parent().filter(|_| file.ends_with("data.redb"))
        && let Some(holder) = lock::holder(dir)?
    {
        bail!(lock::in_use(dir, &holder));
    }
    let disk = ShadowDisk::of_file(&file);
    Ok((file, disk))
}

/// `4.0 MiB`, or `17 bytes`.
pub(super) fn size(bytes: u64) -> String {
    let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
    match units.into_iter().find(|(shift, _)| bytes >> shift > 0) {
        Some((shift, unit)) => {
            let tenths = (u128::from(bytes) * 10) >> shift;
            format!("{}.{} {unit}", tenths / 10, tenths % 10)
        }
        None => format!("{bytes} bytes"),
    }
}

/// Tells on standard error how far something is, where a person looks there.
#[derive(Debug)]
pub(super) struct Progress {
    what: Cell<&'static str>,
    done: Cell<u64>,
    told: Cell<Option<Instant>>,
    width: Cell<usize>,
}

impl Progress {
    pub(super) fn new() -> Progress {
        let begun = std::io::stderr().is_terminal().then(Instant::now);
        Progress { what: Cell::new(""), done: Cell::new(0), told: Cell::new(begun), width: Cell::new(0) }
    }

    /// Begins with something else.
    pub(super) fn begin(&self, what: &'static str) {
        self.what.set(what);
        self.done.set(0);
        if self.told.get().is_some() {
            self.tell(format_args!("{what} …"));
        }
    }

    /// One row more.
    pub(super) fn step(&self) {
        self.done.set(self.done.get() + 1);
        // The clock is not asked for every row.
        if self.done.get().is_multiple_of(1024) && self.told.get().is_some_and(|told| told.elapsed() >= PROGRESS) {
            self.told.set(Some(Instant::now()));
            self.tell(format_args!("{}: {} rows", self.what.get(), self.done.get()));
        }
    }

    fn tell(&self, text: std::fmt::Arguments<'_>) {
        let text = text.to_string();
        // Where nobody reads it there is nobody to tell.
        let _ = write!(std::io::stderr(), "\r{text:<width$}", width = self.width.replace(text.chars().count()));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.width.get() > 0 {
            let _ = write!(std::io::stderr(), "\r{:<width$}\r", "", width = self.width.get());
        }
    }
}

/// Rows that tell how many of them were read.
pub(super) struct Watched<'a> {
    pub(super) rows: &'a dyn Rows,
    pub(super) progress: &'a Progress,
}

impl Rows for Watched<'_> {
    fn get(&self, table: Table, key: &[u8]) -> storage::Result<Option<Bytes>> {
        self.progress.step();
        self.rows.get(table, key)
    }

    fn scan(
        &self,
        table: Table,
        from: KeyBound<'_>,
        to: KeyBound<'_>,
        reverse: bool,
        visit: &mut Visit<'_>,
    ) -> storage::Result<()> {
        self.rows.scan(table, from, to, reverse, &mut |key, value| {
            self.progress.step();
            visit(key, value)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn sizes_have_one_digit_behind_the_point() {
        let sizes = [17, 1024, 1536, (4 << 20) + 1, 5 << 30];
        assert_eq!(sizes.map(size), ["17 bytes", "1.0 KiB", "1.5 KiB", "4.0 MiB", "5.0 GiB"]);
    }
}
