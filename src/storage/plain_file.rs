//! The backend for redb files that nobody serves from: a backup that is written, one that is looked at.
//!
//! Every operation goes to the file at once; an error is redb's to report, and the file is given up.

use std::io;
use std::sync::Arc;

use redb::{Database, ReadOnlyDatabase};

use crate::storage::Result;
use crate::storage::files::DiskFile;

/// Bytes of redb's page cache for such a file.
const CACHE: usize = 32 << 20;

#[derive(Debug)]
struct PlainFile(Arc<dyn DiskFile>);

/// Opens a file for reading and writing, making a database of an empty one.
///
/// # Errors
/// When redb does not take the file.
pub(super) fn open(file: &Arc<dyn DiskFile>) -> Result<Database> {
    Ok(Database::builder().set_cache_size(CACHE).create_with_backend(PlainFile(Arc::clone(file)))?)
}

/// Opens a file that may be damaged: every page's checksum is verified before any is relied on.
///
/// # Errors
/// When it is damaged so that it cannot be read.
pub(super) fn open_checked(file: &Arc<dyn DiskFile>) -> Result<Database> {
    Ok(Database::builder()
        .set_cache_size(CACHE)
        .set_check_integrity_on_open(true)
        .create_with_backend(PlainFile(Arc::clone(file)))?)
}

/// Opens a file that was closed in good order, and changes nothing in it.
///
/// # Errors
/// When redb does not take the file.
pub(super) fn open_read_only(file: &Arc<dyn DiskFile>) -> Result<ReadOnlyDatabase> {
    Ok(Database::builder().set_cache_size(CACHE).open_read_only_with_backend(PlainFile(Arc::clone(file)))?)
}

impl redb::StorageBackend for PlainFile {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let read = self.0.read_at(offset, out)?;
        if read < out.len() {
            let message = format!("read {read} of {} bytes at {offset}", out.len());
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, message));
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write_at(offset, data)
    }
}
