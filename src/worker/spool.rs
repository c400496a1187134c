//! A task's stdout, kept on disk for the later tasks that read it.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::jobs::plan::Plan;

/// A file that has no name any more: it is gone when the worker is, however it goes.
#[derive(Debug)]
struct Spool {
    writer: Option<File>,
    /// One for each task that reads it, since each must read from the start.
    readers: VecDeque<File>,
}

impl Spool {
    /// An empty spool in `dir` that `readers` tasks will read.
    fn new(dir: &Path, readers: usize) -> io::Result<Spool> {
        let path = dir.join(format!("agq-{}-{:016x}", std::process::id(), fastrand::u64(..)));
        let writer = File::options().write(true).create_new(true).mode(0o600).open(&path)?;
        let readers: io::Result<_> = (0..readers).map(|_| File::open(&path)).collect();
        std::fs::remove_file(&path)?;
        Ok(Spool { writer: Some(writer), readers: readers? })
    }
}

/// The outputs that later tasks read, by task number.
pub(super) struct Spools(HashMap<u32, Spool>);

impl Spools {
    /// One for each task whose output one of the tasks that run reads.
    pub(super) fn of(plan: &Plan, to_run: &BTreeSet<u32>) -> io::Result<Spools> {
        let mut readers = HashMap::<u32, usize>::new();
        let running = plan.tasks.iter().filter(|task| to_run.contains(&task.task_number));
        for from in running.filter_map(|task| task.input_from_task) {
            *readers.entry(from).or_default() += 1;
        }
        let dir = std::env::temp_dir();
        let make = |(task, count)| Ok((task, Spool::new(&dir, count)?));
        readers.into_iter().map(make).collect::<io::Result<_>>().map(Spools)
    }

    /// Where a task's output goes, besides: nowhere when nobody reads it.
    pub(super) fn writer(&mut self, task: u32) -> Option<File> {
        self.0.get_mut(&task)?.writer.take()
    }

    /// What the next task that reads a task's output reads.
    pub(super) fn reader(&mut self, task: u32) -> Option<File> {
        self.0.get_mut(&task)?.readers.pop_front()
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
        spool.writer.take().unwrap().write_all(b"abc").unwrap();
        for _ in 0..2 {
            let mut text = String::new();
            spool.readers.pop_front().unwrap().read_to_string(&mut text).unwrap();
            assert_eq!(text, "abc");
        }
        assert!(spool.readers.is_empty());
    }
}
