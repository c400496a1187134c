//! The files of a store, for the commands that work without a server: which folder, whose lock, how far it is.

use std::cell::Cell;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::bail;
use bytes::Bytes;

use super::duration;
use crate::server::lock::{self, Holder, Lock};
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
    check_is_store(dir)?;
    Lock::take(dir)
}

/// As [`lock`], with who has it as a value.
///
/// # Errors
/// When there is no store in it.
pub(super) fn try_lock(dir: &Path) -> anyhow::Result<Result<Lock, Holder>> {
    check_is_store(dir)?;
    Lock::try_take(dir)
}

/// # Errors
/// When there is no store in a folder, with what there is of one.
pub(super) fn check_is_store(dir: &Path) -> anyhow::Result<()> {
    if !dir.join("data.redb").is_file() {
        storage::check_is_new(&ShadowDisk::of_folder(dir))?;
        bail!("there is no store in {}: choose its folder with --data-dir", dir.display());
    }
    Ok(())
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
    /// When what is going on began.
    began: Cell<Instant>,
    width: Cell<usize>,
}

impl Progress {
    pub(super) fn new() -> Progress {
        let begun = std::io::stderr().is_terminal().then(Instant::now);
        let began = Cell::new(Instant::now());
        Progress { what: Cell::new(""), done: Cell::new(0), told: Cell::new(begun), began, width: Cell::new(0) }
    }

    /// Begins with something else.
    pub(super) fn begin(&self, what: &'static str) {
        self.what.set(what);
        self.done.set(0);
        self.began.set(Instant::now());
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

    /// So much of a total of something is done, and so many bytes.
    pub(super) fn part(&self, what: &'static str, (done, total): (u64, u64), bytes: u64) {
        if self.what.get() != what {
            self.begin(what);
        }
        if self.told.get().is_some_and(|told| told.elapsed() >= PROGRESS) {
            self.told.set(Some(Instant::now()));
            self.tell(format_args!("{}", part_words(what, (done, total), bytes, self.began.get().elapsed())));
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

/// `verifying: 45 %, 1.2 GiB, about 12s left`; how long it takes is guessed from what is done.
fn part_words(what: &str, (done, total): (u64, u64), bytes: u64, elapsed: Duration) -> String {
    let part = done.min(total) as f64 / total.max(1) as f64;
    let mut words = format!("{what}: {:.0} %, {}", (part * 100.0).floor(), size(bytes));
    if part > 0.0 {
        let left = elapsed.as_secs_f64() * (1.0 - part) / part;
        words.push_str(&format!(", about {} left", duration::show(left.ceil() as u64)));
    }
    words
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
    use std::time::Duration;

    use super::*;
    use crate::clock::Millis;
    use crate::storage::{Db, Options};

    #[test]
    fn progress_says_how_much_is_done_and_how_long_the_rest_takes() {
        let after = |done, seconds| part_words("verifying", (done, 200), done << 20, Duration::from_secs(seconds));
        assert_eq!(after(0, 1), "verifying: 0 %, 0 bytes");
        assert_eq!(after(50, 10), "verifying: 25 %, 50.0 MiB, about 30s left");
        assert_eq!(after(199, 600), "verifying: 99 %, 199.0 MiB, about 4s left");
        assert_eq!(after(200, 600), "verifying: 100 %, 200.0 MiB, about 0s left");
        assert_eq!(part_words("copying", (0, 0), 0, Duration::ZERO), "copying: 0 %, 0 bytes");
    }

    #[test]
    fn sizes_have_one_digit_behind_the_point() {
        let sizes = [17, 1024, 1536, (4 << 20) + 1, 5 << 30];
        assert_eq!(sizes.map(size), ["17 bytes", "1.0 KiB", "1.5 KiB", "4.0 MiB", "5.0 GiB"]);
    }

    #[test]
    fn a_log_without_its_store_is_not_called_an_empty_folder() {
        let dir = tempfile::tempdir().unwrap();
        let refusal = || lock(dir.path()).unwrap_err().to_string();
        assert!(refusal().starts_with("there is no store in"));
        let mut db = Db::open(&Options::new(dir.path())).unwrap();
        let mut batch = db.batch().unwrap();
        batch.put(Table::Keys, &b"a"[..], &b"value"[..]).unwrap();
        let rows = batch.finish();
        db.append(&rows, Millis(1)).unwrap();
        db.flush().unwrap();
        drop(db);
        std::fs::remove_file(dir.path().join("data.redb")).unwrap();
        let log = dir.path().join("data.redb-log-0");
        let expected = format!("found the log {} without data.redb; expected both, or neither", log.display());
        assert!(refusal().contains(&expected), "{}", refusal());
        assert!(log.is_file(), "and is left where it is");
    }
}
