//! A task's stdout, kept on disk for the later tasks that read it.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// A file that has no name any more: it is gone when the worker is, however it goes.
#[derive(Debug)]
pub(super) struct Spool {
    writer: File,
    /// One for each task that reads it, since each must read from the start.
    readers: VecDeque<File>,
}

impl Spool {
    /// An empty spool in `dir` that `readers` tasks will read.
    pub(super) fn new(dir: &Path, readers: usize) -> io::Result<Spool> {
        let path = dir.join(format!("agq-{}-{:016x}", std::process::id(), fastrand::u64(..)));
        let writer = File::options().write(true).create_new(true).mode(0o600).open(&path)?;
        let readers: io::Result<_> = (0..readers).map(|_| File::open(&path)).collect();
        std::fs::remove_file(&path)?;
        Ok(Spool { writer, readers: readers? })
    }

    /// Where the output goes.
    pub(super) fn writer(&mut self) -> &mut File {
        &mut self.writer
    }

    /// What the next task reads.
    pub(super) fn reader(&mut self) -> Option<File> {
        self.readers.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    #[test]
    fn every_reader_reads_all_and_nothing_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let mut spool = Spool::new(dir.path(), 2).unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        spool.writer().write_all(b"abc").unwrap();
        for _ in 0..2 {
            let mut text = String::new();
            spool.reader().unwrap().read_to_string(&mut text).unwrap();
            assert_eq!(text, "abc");
        }
        assert!(spool.reader().is_none());
    }
}
