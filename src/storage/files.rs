//! The file layer under the log and under redb's backend: the few operations both need, and nothing more.
//!
//! [`RealDisk`] is a folder of the operating system; [`crate::storage::sim_disk::SimDisk`] is one in memory that
//! fails and crashes on demand. Nothing else in this folder opens a file.

use std::fmt::Debug;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The file system that a folder is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileSystem {
    /// Bytes that this user may still allocate.
    pub available: u64,
    /// Bytes that it has in all.
    pub total: u64,
}

/// An open file. Operations at offsets, from any thread.
pub trait DiskFile: Debug + Send + Sync {
    /// Reads up to `out.len()` bytes at `offset`; fewer only at the end of the file.
    ///
    /// # Errors
    /// When the operating system fails the read.
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize>;

    /// Writes all of `bytes` at `offset`, growing the file where it is too short.
    ///
    /// # Errors
    /// When the operating system fails the write; a part of it may have been done.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Cuts or extends the file; what is new reads as zeros.
    ///
    /// # Errors
    /// When the operating system refuses.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// The file's length in bytes.
    ///
    /// # Errors
    /// When the operating system refuses.
    fn len(&self) -> io::Result<u64>;

    /// Bytes that the file takes on the disk; fewer than its length where it is sparse.
    ///
    /// # Errors
    /// When the operating system refuses.
    fn allocated(&self) -> io::Result<u64>;

    /// Gives a range of whole pages back to the file system: they take no space any more and read as zeros; the file's
    /// length stays. False where the file system, or the system, cannot do that.
    ///
    /// # Errors
    /// When the operating system fails it; a part of it may have been done.
    fn give_back(&self, _offset: u64, _len: u64) -> io::Result<bool> {
        Ok(false)
    }

    /// True when the file has no bytes.
    ///
    /// # Errors
    /// When the operating system refuses.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Makes everything written before this call durable, the length included.
    ///
    /// # Errors
    /// Any error means that what was written since the last sync may be lost, and that repeating the call proves
    /// nothing.
    fn sync_data(&self) -> io::Result<()>;
}

/// A folder of files.
pub trait Disk: Debug + Send + Sync {
    /// Opens a file for reading and writing; `None` when there is none of that name.
    ///
    /// # Errors
    /// When the operating system refuses.
    fn open(&self, name: &str) -> io::Result<Option<Arc<dyn DiskFile>>>;

    /// Makes an empty file, in place of one that has the name. Its name is durable after [`Disk::sync_dir`].
    ///
    /// # Errors
    /// When the operating system refuses.
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;

    /// Gives a file another name, replacing a file that has it. Durable after [`Disk::sync_dir`].
    ///
    /// # Errors
    /// When the operating system refuses.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file. Durable after [`Disk::sync_dir`].
    ///
    /// # Errors
    /// When the operating system refuses, or there is no such file.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes the folder's names durable.
    ///
    /// # Errors
    /// When the operating system fails it.
    fn sync_dir(&self) -> io::Result<()>;

    /// The names in the folder, sorted.
    ///
    /// # Errors
    /// When the operating system refuses.
    fn list(&self) -> io::Result<Vec<String>>;

    /// How much room the file system has; `None` where nothing bounds it.
    ///
    /// # Errors
    /// When the operating system does not tell.
    fn space(&self) -> io::Result<Option<FileSystem>>;

    /// How messages name a file of this folder.
    fn describe(&self, name: &str) -> String;
}

/// Makes a folder, and those above it, that only this user can enter, and makes their names durable: a file in a folder
/// whose own name is lost is lost with it. One that is there stays as it is.
///
/// # Errors
/// What the system says.
pub fn make_private_dir(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    let above = dir.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    make_private_dir(above)?;
    match DirBuilder::new().mode(0o700).create(dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => {}
        made => made?,
    }
    File::open(above)?.sync_all()
}

/// A folder of the operating system, readable by its owner alone.
#[derive(Debug)]
pub struct RealDisk {
    dir: PathBuf,
}

impl RealDisk {
    /// The folder `dir`, made when it is not there (mode 0700, the folders above it too).
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn open(dir: &Path) -> io::Result<RealDisk> {
        make_private_dir(dir)?;
        Ok(RealDisk { dir: dir.to_owned() })
    }

    fn options() -> OpenOptions {
        let mut options = File::options();
        options.read(true).write(true).mode(0o600);
        options
    }
}

impl Disk for RealDisk {
    fn open(&self, name: &str) -> io::Result<Option<Arc<dyn DiskFile>>> {
        match Self::options().open(self.dir.join(name)) {
            Ok(file) => Ok(Some(Arc::new(RealFile(file)))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(RealFile(Self::options().create(true).truncate(true).open(self.dir.join(name))?)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.dir.join(from), self.dir.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.dir.join(name))
    }

    fn sync_dir(&self) -> io::Result<()> {
        File::open(&self.dir)?.sync_all()
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            names.extend(entry?.file_name().into_string().ok());
        }
        names.sort();
        Ok(names)
    }

    fn space(&self) -> io::Result<Option<FileSystem>> {
        let found = rustix::fs::statvfs(&self.dir)?;
        let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
        Ok(Some(FileSystem { available: bytes(found.f_bavail), total: bytes(found.f_blocks) }))
    }

    fn describe(&self, name: &str) -> String {
        self.dir.join(name).display().to_string()
    }
}

/// Opens a file of any folder, to be read only.
///
/// # Errors
/// What the system says.
pub fn open_read_only(path: &Path) -> io::Result<Arc<dyn DiskFile>> {
    Ok(Arc::new(RealFile(File::open(path)?)))
}

#[derive(Debug)]
struct RealFile(File);

impl DiskFile for RealFile {
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        let mut done = 0;
        while done < out.len() {
            match self.0.read_at(&mut out[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn allocated(&self) -> io::Result<u64> {
        // Whatever the blocks of the file system are, they are counted in units of 512 bytes.
        Ok(self.0.metadata()?.blocks() * 512)
    }

    #[cfg(target_os = "linux")]
    fn give_back(&self, offset: u64, len: u64) -> io::Result<bool> {
        use rustix::fs::FallocateFlags;
        use rustix::io::Errno;
        let how = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        match rustix::fs::fallocate(&self.0, how, offset, len) {
            Ok(()) => Ok(true),
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        #[cfg(test)]
        crate::storage::injected::point_of_thread();
        self.0.sync_data()
    }
}
