//! The data directory's lock: one server at a time, and where to find it.
//!
//! `<data-dir>/lock` is held with an advisory lock for as long as the server runs and says who holds it: the process
//! id and the addresses, one a line. A client of the same user reads it to find the server.

use std::fs::{File, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use crate::storage::files::make_private_dir;

/// The lock, held until dropped.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

/// Who holds a data directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Its process id.
    pub process: u32,
    /// Where it listens; empty while it starts.
    pub addresses: Vec<String>,
}

fn lock_path(dir: &Path) -> PathBuf {
    dir.join("lock")
}

impl Lock {
    /// Makes the data directory if need be and takes its lock. `Err(Ok(holder))` says who has it.
    ///
    /// # Errors
    /// When another server holds it, or the directory cannot be used.
    pub fn take(dir: &Path) -> anyhow::Result<Lock> {
        match Lock::try_take(dir)? {
            Ok(lock) => Ok(lock),
            Err(holder) => bail!(in_use(dir, &holder)),
        }
    }

    /// As [`Lock::take`], with the present holder as a value.
    ///
    /// # Errors
    /// When the directory cannot be used.
    pub fn try_take(dir: &Path) -> anyhow::Result<Result<Lock, Holder>> {
        make_private_dir(dir).with_context(|| format!("cannot make the data directory {}", dir.display()))?;
        let path = lock_path(dir);
        let mut file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .with_context(|| format!("cannot open {}", path.display()))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(Err(read_holder(&mut file))),
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("cannot lock {}", path.display()));
            }
        }
        let mut lock = Lock { file };
        lock.announce(&[])?;
        Ok(Ok(lock))
    }

    /// Writes down where the server listens.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn announce(&mut self, addresses: &[String]) -> anyhow::Result<()> {
        let mut text = format!("{}\n", std::process::id());
        for address in addresses {
            text.push_str(address);
            text.push('\n');
        }
        self.file.set_len(0)?;
        self.file.rewind()?;
        self.file.write_all(text.as_bytes())?;
        Ok(())
    }
}

/// Says who holds `dir`, and what to do.
#[must_use]
pub fn in_use(dir: &Path, holder: &Holder) -> String {
    let at = if holder.addresses.is_empty() { "no address yet".into() } else { holder.addresses.join(", ") };
    format!(
        "the data directory {} is in use by process {} ({at}): stop that server, or choose another directory with \
         --data-dir",
        dir.display(),
        holder.process
    )
}

/// Who holds the lock of `dir`, if anybody does.
///
/// # Errors
/// When the lock file cannot be read.
pub fn holder(dir: &Path) -> anyhow::Result<Option<Holder>> {
    let path = lock_path(dir);
    let mut file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("cannot open {}", path.display())),
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(None),
        Err(TryLockError::WouldBlock) => Ok(Some(read_holder(&mut file))),
        Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("cannot lock {}", path.display())),
    }
}

fn read_holder(file: &mut File) -> Holder {
    let mut text = String::new();
    // The holder may be writing at this moment; what is there is as good as it gets.
    let _ = file.rewind();
    let _ = file.read_to_string(&mut text);
    let mut lines = text.lines();
    Holder {
        process: lines.next().and_then(|line| line.parse().ok()).unwrap_or(0),
        addresses: lines.map(str::to_owned).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_taker_is_told_who_holds_it() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(holder(dir.path()).unwrap(), None);
        let mut lock = Lock::take(dir.path()).unwrap();
        lock.announce(&["127.0.0.1:6380".into()]).unwrap();
        let error = Lock::take(dir.path()).unwrap_err().to_string();
        assert!(error.contains(&std::process::id().to_string()) && error.contains("127.0.0.1:6380"), "{error}");
        let found = holder(dir.path()).unwrap().unwrap();
        assert_eq!(found.addresses, ["127.0.0.1:6380"]);
        drop(lock);
        assert_eq!(holder(dir.path()).unwrap(), None);
        Lock::take(dir.path()).unwrap();
    }
}
