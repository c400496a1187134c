//! The backend for redb files that nobody serves from: a backup that is written, one that is looked at.
//!
//! Every operation goes to the file at once; an error is redb's to report, and the file is given up.

use std::fmt;
use std::io;
use std::sync::Arc;

use redb::{Database, ReadOnlyDatabase};

use crate::storage::Result;
use crate::storage::files::DiskFile;

/// Bytes of redb's page cache for such a file.
const CACHE: usize = 32 << 20;

struct PlainFile {
    file: Arc<dyn DiskFile>,
    /// Asked before each read.
    go_on: Box<dyn Fn() -> Result<()> + Send + Sync>,
}

impl PlainFile {
    fn new(file: &Arc<dyn DiskFile>) -> PlainFile {
        PlainFile { file: Arc::clone(file), go_on: Box::new(|| Ok(())) }
    }
}

impl fmt::Debug for PlainFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PlainFile").field(&self.file).finish()
    }
}

/// Opens a file for reading and writing, making a database of an empty one.
///
/// # Errors
/// When redb does not take the file.
pub(super) fn open(file: &Arc<dyn DiskFile>) -> Result<Database> {
    Ok(Database::builder().set_cache_size(CACHE).create_with_backend(PlainFile::new(file))?)
}

/// The same, for work that may be stopped: once `go_on` fails, so does every read of a page. Checking a whole file is one
/// call to redb, which takes seconds where the file is large.
///
/// # Errors
/// When redb does not take the file.
pub(super) fn open_while(
    file: &Arc<dyn DiskFile>,
    go_on: impl Fn() -> Result<()> + Send + Sync + 'static,
) -> Result<Database> {
    let backend = PlainFile { file: Arc::clone(file), go_on: Box::new(go_on) };
    Ok(Database::builder().set_cache_size(CACHE).create_with_backend(backend)?)
}

/// Opens a file that may be damaged: every page's checksum is verified before any is relied on. It may be stopped as with
/// [`open_while`].
///
/// # Errors
/// When it is damaged so that it cannot be read.
pub(super) fn open_checked(
    file: &Arc<dyn DiskFile>,
    go_on: impl Fn() -> Result<()> + Send + Sync + 'static,
) -> Result<Database> {
    let backend = PlainFile { file: Arc::clone(file), go_on: Box::new(go_on) };
    Ok(Database::builder().set_cache_size(CACHE).set_check_integrity_on_open(true).create_with_backend(backend)?)
}

/// Opens a file that was closed in good order, and changes nothing in it.
///
/// # Errors
/// When redb does not take the file.
pub(super) fn open_read_only(file: &Arc<dyn DiskFile>) -> Result<ReadOnlyDatabase> {
    Ok(Database::builder().set_cache_size(CACHE).open_read_only_with_backend(PlainFile::new(file))?)
}

impl redb::StorageBackend for PlainFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        (self.go_on)().map_err(io::Error::other)?;
        let read = self.file.read_at(offset, out)?;
        if read < out.len() {
            let message = format!("read {read} of {} bytes at {offset}", out.len());
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, message));
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.file.write_at(offset, data)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use redb::TableDefinition;

    use super::*;
    use crate::storage::Error;
    use crate::storage::files::Disk;
    use crate::storage::sim_disk::SimDisk;

    const TABLE: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("t");

    #[test]
    fn a_check_that_is_stopped_reads_no_further() {
        let file = SimDisk::new(1).create("data").unwrap();
        let (left, after) = (Arc::new(AtomicUsize::new(usize::MAX)), Arc::new(AtomicUsize::new(0)));
        let (counter, more) = (Arc::clone(&left), Arc::clone(&after));
        let go_on = move || match counter.load(Ordering::Relaxed) {
            0 => {
                more.fetch_add(1, Ordering::Relaxed);
                Err(Error::Cancelled)
            }
            reads => {
                counter.store(reads - 1, Ordering::Relaxed);
                Ok(())
            }
        };
        let mut database = open_while(&file, go_on.clone()).unwrap();
        // More than the cache takes: most of it has to be read back.
        for part in 0..48 {
            let txn = database.begin_write().unwrap();
            let mut table = txn.open_table(TABLE).unwrap();
            for key in 0..256 {
                table.insert(part * 256 + key, &[1; 4000][..]).unwrap();
            }
            drop(table);
            txn.commit().unwrap();
        }
        assert!(database.check_integrity().unwrap());
        left.store(100, Ordering::Relaxed);
        database.check_integrity().unwrap_err();
        assert!((1..10).contains(&after.load(Ordering::Relaxed)), "{after:?} reads after it was stopped");
        // The same where it is checked while it is opened.
        left.store(usize::MAX, Ordering::Relaxed);
        drop(database);
        open_checked(&file, go_on.clone()).unwrap().close().unwrap();
        left.store(100, Ordering::Relaxed);
        after.store(0, Ordering::Relaxed);
        open_checked(&file, go_on).map(drop).unwrap_err();
        assert!((1..10).contains(&after.load(Ordering::Relaxed)), "{after:?} reads after it was stopped");
    }
}
