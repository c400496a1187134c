//! What the core and the log's helper thread share: which segments hold bytes that no sync has covered yet, and how
//! long each segment is known to be.
//!
//! With `--durability always` the core itself syncs, before it releases the replies. In the other modes the helper
//! thread does; in every mode it lengthens the segment that is free, so that the core never waits for that.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::storage::archiver::Archiver;
use crate::storage::log::is_full;
use crate::storage::log_segment::{NAMES, Segments, write_zeros};
use crate::storage::signals::Signals;
use crate::storage::{Error, Result};

/// Bytes by which a free segment is lengthened at a time: little enough not to hold up the disk.
const STEP: u64 = 1 << 20;
/// How much longer a segment is made each time it has been filled.
const GROWTH: u64 = 4;

/// The shared part of the log.
#[derive(Debug)]
pub(super) struct LogSync {
    files: Segments,
    signals: Arc<Signals>,
    synced_seq: AtomicU64,
    state: Mutex<State>,
    work: Condvar,
    /// Held through a sync: `synced_seq` rises in order.
    syncing: Mutex<()>,
    /// Held while a segment's length changes.
    extending: Mutex<()>,
    /// Who copies what is on the disk.
    archiver: Option<Arc<Archiver>>,
    /// How long a record may wait for its sync, where the helper thread sees to it.
    interval: Option<Duration>,
}

#[derive(Debug)]
struct State {
    /// Written to since the last sync.
    dirty: [bool; 2],
    /// The segment written last.
    newest: usize,
    /// The last record whose write has returned.
    written_seq: u64,
    /// Bytes of each segment that were written and synced before it was used.
    ready: [u64; 2],
    /// How long each file is.
    len: [u64; 2],
    /// How long a free segment is to become.
    target: [Option<u64>; 2],
    /// When the helper thread has to sync.
    deadline: Option<Instant>,
    /// A sync has failed: no later one means anything.
    failed: bool,
    stop: bool,
}

/// What a sync of the log covers that has begun.
#[derive(Debug)]
pub struct BegunSync {
    /// The last record.
    upto: u64,
    dirty: [bool; 2],
    newest: usize,
}

impl LogSync {
    /// `ready` is the synced length of each file, `seq` the last record that needs no sync any more.
    pub(super) fn new(
        files: Segments,
        ready: [u64; 2],
        seq: u64,
        interval: Option<Duration>,
        signals: Arc<Signals>,
        archiver: Option<Arc<Archiver>>,
    ) -> LogSync {
        let state = State {
            dirty: [false; 2],
            newest: 0,
            written_seq: seq,
            ready,
            len: ready,
            target: [None; 2],
            deadline: None,
            failed: false,
            stop: false,
        };
        LogSync {
            files,
            signals,
            synced_seq: AtomicU64::new(seq),
            state: Mutex::new(state),
            work: Condvar::new(),
            syncing: Mutex::new(()),
            extending: Mutex::new(()),
            archiver,
            interval,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The last record whose write had returned before a sync began that has succeeded.
    pub(super) fn synced_seq(&self) -> u64 {
        self.synced_seq.load(Ordering::Acquire)
    }

    /// Bytes of one file.
    pub(super) fn len(&self, segment: usize) -> u64 {
        self.state().len[segment]
    }

    /// Bytes of the two files.
    pub(super) fn file_bytes(&self) -> u64 {
        self.state().len.iter().sum()
    }

    /// A record's write has returned; `end` is where it ends.
    pub(super) fn wrote(&self, segment: usize, seq: u64, end: u64) {
        let mut state = self.state();
        state.len[segment] = state.len[segment].max(end);
        state.dirty[segment] = true;
        state.newest = segment;
        state.written_seq = seq;
        if let Some(interval) = self.interval
            && state.deadline.is_none()
        {
            state.deadline = Instant::now().checked_add(interval);
            self.work.notify_one();
        }
    }

    /// Makes every record written before this call durable. Covers both segments, the older first, so that no record
    /// is called synced before the ones ahead of it are.
    ///
    /// # Errors
    /// Any error is final: what was written since the last sync may be lost, and a second try would not tell.
    pub(super) fn sync(&self) -> Result<()> {
        let _one = self.syncing.lock().unwrap_or_else(PoisonError::into_inner);
        let begun = self.begin()?;
        self.end(begun)
    }

    /// Begins a sync: what it will cover. [`LogSync::sync`] lets one come after the other.
    pub(super) fn begin(&self) -> Result<BegunSync> {
        let mut state = self.state();
        if state.failed {
            let source = io::Error::other("an earlier sync of the log failed");
            return Err(Error::io("syncing the log", source));
        }
        state.deadline = None;
        Ok(BegunSync { upto: state.written_seq, dirty: std::mem::take(&mut state.dirty), newest: state.newest })
    }

    /// Syncs what a sync covers that has begun.
    pub(super) fn end(&self, begun: BegunSync) -> Result<()> {
        let BegunSync { upto, dirty, newest } = begun;
        for segment in [1 - newest, newest] {
            if dirty[segment] {
                self.files[segment].sync_data().map_err(|source| {
                    // Before anybody else gets to sync: what is dirty no more was never written.
                    self.state().failed = true;
                    Error::io(format!("syncing {}", NAMES[segment]), source)
                })?;
            }
        }
        self.synced_seq.fetch_max(upto, Ordering::AcqRel);
        if let Some(archiver) = &self.archiver {
            archiver.synced(upto);
        }
        Ok(())
    }

    /// Asks the helper thread for a sync at once.
    pub(super) fn request(&self) {
        self.state().deadline = Some(Instant::now());
        self.work.notify_one();
    }

    /// Takes a free segment into use: the bytes it has.
    pub(super) fn take(&self, segment: usize) -> u64 {
        let mut state = self.state();
        state.target[segment] = None;
        state.ready[segment]
    }

    /// Gives a segment back that was filled; it is made longer for its next turn, up to `max_len`.
    pub(super) fn give_back(&self, segment: usize, max_len: u64) {
        let mut state = self.state();
        let ready = state.ready[segment];
        if ready < max_len {
            state.target[segment] = Some(max_len.min(ready * GROWTH));
            self.work.notify_one();
        }
    }

    /// Runs a write that makes a segment longer, while no other length changes.
    pub(super) fn growing<T>(&self, write: impl FnOnce() -> T) -> T {
        let _alone = self.extending.lock().unwrap_or_else(PoisonError::into_inner);
        write()
    }

    /// Lengthens a segment to `to` bytes at once, with zeros that the next sync of its records covers.
    ///
    /// # Errors
    /// [`Error::Full`] when there is no room. Any other error is final.
    pub(super) fn reserve(&self, segment: usize, to: u64) -> Result<()> {
        let _alone = self.extending.lock().unwrap_or_else(PoisonError::into_inner);
        let from = self.len(segment);
        match write_zeros(&*self.files[segment], from, to) {
            Ok(()) => {
                let mut state = self.state();
                state.len[segment] = state.len[segment].max(to);
                Ok(())
            }
            Err(source) if is_full(&source) => Err(Error::Full { file: NAMES[segment].to_owned(), cause: source }),
            Err(source) => {
                let error = Error::io(format!("lengthening {}", NAMES[segment]), source);
                self.signals.stop(error.to_string());
                Err(error)
            }
        }
    }

    /// Lengthens a free segment by one step: zeros, synced. False when there is nothing to lengthen.
    ///
    /// # Errors
    /// When a sync fails; that is final. A full disk only means that the segment stays as it is.
    pub(super) fn lengthen(&self) -> Result<bool> {
        let alone = self.extending.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((segment, from, to)) = self.next_step() else { return Ok(false) };
        let what = |source| Error::io(format!("lengthening {}", NAMES[segment]), source);
        match write_zeros(&*self.files[segment], from, to) {
            Ok(()) => {
                let mut state = self.state();
                state.len[segment] = state.len[segment].max(to);
            }
            Err(error) if is_full(&error) => {
                self.state().target[segment] = None;
                return Ok(true);
            }
            Err(error) => return Err(what(error)),
        }
        // The core may make a segment longer meanwhile: it waits for no sync of this thread's.
        drop(alone);
        self.files[segment].sync_data().map_err(what)?;
        let mut state = self.state();
        // A segment that was taken into use meanwhile keeps the length its header tells.
        if let Some(target) = state.target[segment] {
            state.ready[segment] = to;
            state.target[segment] = Some(target).filter(|target| *target > to);
        }
        Ok(true)
    }

    fn next_step(&self) -> Option<(usize, u64, u64)> {
        let state = self.state();
        (0..2).find_map(|segment| {
            let from = state.ready[segment];
            state.target[segment].map(|target| (segment, from, target.min(from + STEP)))
        })
    }

    /// The helper thread's life: syncs when one is due, else lengthens, else waits.
    fn run(&self) {
        loop {
            let (due, stop) = self.wait_for_work();
            if stop {
                return;
            }
            let result = if due { self.sync() } else { self.lengthen().map(drop) };
            if let Err(error) = result {
                self.signals.stop(error.to_string());
                return;
            }
        }
    }

    /// Waits until a sync is due (true first), a segment is to be lengthened, or the thread is to end (true second).
    fn wait_for_work(&self) -> (bool, bool) {
        let mut state = self.state();
        loop {
            if state.stop {
                return (false, true);
            }
            let wait = state.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if wait == Some(Duration::ZERO) {
                return (true, false);
            }
            if state.target.iter().any(Option::is_some) {
                return (false, false);
            }
            state = match wait {
                None => self.work.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(wait) => self.work.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0,
            };
        }
    }
}

/// The helper thread; ends when this is dropped.
#[derive(Debug)]
pub(super) struct LogThread {
    sync: Arc<LogSync>,
    handle: Option<JoinHandle<()>>,
}

impl LogThread {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the operating system gives no thread.
    pub(super) fn start(sync: Arc<LogSync>) -> Result<LogThread> {
        let shared = Arc::clone(&sync);
        let handle = thread::Builder::new()
            .name("agq-log".to_owned())
            .spawn(move || shared.signals.guard("agq-log", || shared.run()))
            .map_err(|source| Error::io("starting the log's helper thread", source))?;
        Ok(LogThread { sync, handle: Some(handle) })
    }
}

impl Drop for LogThread {
    fn drop(&mut self) {
        self.sync.state().stop = true;
        self.sync.work.notify_one();
        if let Some(handle) = self.handle.take() {
            // A panic of the thread has been printed; there is nobody left to tell.
            let _ = handle.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Weak;

    use super::*;
    use crate::storage::files::{Disk, DiskFile};
    use crate::storage::sim_disk::{Faults, Operation, SimDisk};

    /// A file whose syncs ask whether the core could make a segment longer now.
    #[derive(Debug)]
    struct Asking {
        file: Arc<dyn DiskFile>,
        log: Mutex<Weak<LogSync>>,
        syncs: AtomicU64,
    }

    impl DiskFile for Asking {
        fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
            self.file.read_at(offset, out)
        }

        fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
            self.file.write_at(offset, bytes)
        }

        fn set_len(&self, len: u64) -> io::Result<()> {
            self.file.set_len(len)
        }

        fn len(&self) -> io::Result<u64> {
            self.file.len()
        }

        fn allocated(&self) -> io::Result<u64> {
            self.file.allocated()
        }

        fn sync_data(&self) -> io::Result<()> {
            let log = self.log.lock().unwrap().upgrade().unwrap();
            assert!(log.extending.try_lock().is_ok(), "whoever makes a segment longer waits for this sync");
            assert_eq!(log.len(1), self.file.len()?, "the core would write over what it wrote");
            self.syncs.fetch_add(1, Ordering::Relaxed);
            self.file.sync_data()
        }
    }

    #[test]
    fn the_core_makes_a_segment_longer_while_the_free_one_is_synced() {
        let disk = SimDisk::new(1);
        let asking = NAMES.map(|name| {
            let file = disk.create(name).unwrap();
            Arc::new(Asking { file, log: Mutex::default(), syncs: AtomicU64::new(0) })
        });
        let files = asking.clone().map(|file| file as Arc<dyn DiskFile>);
        write_zeros(&*files[1], 0, STEP).unwrap();
        let log = Arc::new(LogSync::new(files, [0, STEP], 0, None, Arc::default(), None));
        asking.iter().for_each(|file| *file.log.lock().unwrap() = Arc::downgrade(&log));
        log.give_back(1, 2 * STEP);
        while log.lengthen().unwrap() {}
        assert_eq!((log.take(1), asking[1].syncs.load(Ordering::Relaxed)), (2 * STEP, 1));
    }

    #[test]
    fn no_sync_after_a_failed_one_says_that_anything_is_durable() {
        let disk = SimDisk::new(1);
        let files = NAMES.map(|name| disk.create(name).unwrap());
        let sync = LogSync::new(files.clone(), [0; 2], 0, None, Arc::default(), None);
        files[0].write_at(0, &[1]).unwrap();
        sync.wrote(0, 1, 1);
        disk.set_faults(Faults::failing(Operation::Sync, 0));
        assert!(sync.sync().is_err());
        // The disk would say that all is well now.
        assert!(files[0].sync_data().is_ok());
        files[0].write_at(1, &[2]).unwrap();
        sync.wrote(0, 2, 2);
        assert!(sync.sync().unwrap_err().to_string().contains("an earlier sync of the log failed"));
        assert_eq!(sync.synced_seq(), 0);
    }
}
