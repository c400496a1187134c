//! Copies the log into the archive while it is written, behind everybody's back.
//!
//! It reads the segments' own files, up to the last record known to be on the disk, and tells how far the archive has
//! come: no segment is used again before that. So the archive never holds a record that a crash can take back, and none
//! is lost that the disk of the archive was too slow or too full for, as long as the log may grow. Past
//! [`ArchiveOptions::max_lag`] either no writing unit is taken, or the records are given up, which is a gap that is told.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::storage::archive::Writer;
use crate::storage::log_record::{ALIGN, CycleSeed, HEADER, RecordHead, record_len, verify_at};
use crate::storage::log_segment::{NAMES, RECORDS, Segments};
use crate::storage::signals::Signals;
use crate::storage::{Error, Result};

/// How long records gather before they are copied: the archive lags so far behind at least.
const INTERVAL: Duration = Duration::from_secs(1);
/// Bytes of records copied at a time.
const BATCH: usize = 4 << 20;

/// What an operator chooses of the archive.
#[derive(Debug, Clone)]
pub struct ArchiveOptions {
    /// Its folder.
    pub dir: PathBuf,
    /// Bytes of log that may wait for it.
    pub max_lag: u64,
    /// What happens when more would: true, writes wait; false, records are given up.
    pub required: bool,
}

/// The archive's figures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchiveStats {
    /// The last record that is in it, or was given up.
    pub seq: u64,
    /// Bytes of log that wait for it.
    pub lag_bytes: u64,
    /// Times that records were given up.
    pub gaps: u64,
    /// Why it does not go on, while it does not.
    pub error: Option<String>,
}

/// One cycle of a segment.
#[derive(Debug, Clone, Copy)]
struct Cycle {
    segment: usize,
    seed: CycleSeed,
    first_seq: u64,
    /// Bytes of records that this run had appended before it.
    bytes_before: u64,
}

#[derive(Debug, Default)]
struct State {
    cycles: VecDeque<Cycle>,
    /// Records up to this one are given up.
    skipped: u64,
    gaps: u64,
    error: Option<String>,
    stop: bool,
}

/// Where the copying stands.
#[derive(Debug)]
struct Cursor {
    writer: Writer,
    next_seq: u64,
    /// The cycle that is read, by its first record, and the place of the next record in it.
    cycle: Option<u64>,
    offset: u64,
}

/// The archiver of one run, shared with its thread.
#[derive(Debug)]
pub(super) struct Archiver {
    files: Segments,
    signals: Arc<Signals>,
    max_lag: u64,
    required: bool,
    lets_pass: AtomicBool,
    state: Mutex<State>,
    cursor: Mutex<Cursor>,
    work: Condvar,
    synced: AtomicU64,
    archived: AtomicU64,
    archived_bytes: AtomicU64,
    is_idle: AtomicBool,
}

impl Archiver {
    /// The archive has, or has been told to do without, every record up to `seq`.
    pub(super) fn new(
        options: &ArchiveOptions,
        writer: Writer,
        files: Segments,
        seq: u64,
        signals: Arc<Signals>,
    ) -> Archiver {
        Archiver {
            files,
            signals,
            max_lag: options.max_lag,
            required: options.required,
            lets_pass: AtomicBool::new(false),
            state: Mutex::default(),
            cursor: Mutex::new(Cursor { writer, next_seq: seq + 1, cycle: None, offset: RECORDS }),
            work: Condvar::new(),
            synced: AtomicU64::new(seq),
            archived: AtomicU64::new(seq),
            archived_bytes: AtomicU64::new(0),
            is_idle: AtomicBool::new(false),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The last record that the log need not keep any more.
    pub(super) fn archived(&self) -> u64 {
        self.archived.load(Ordering::SeqCst)
    }

    /// True when more log waits than may, of `bytes` appended in this run.
    fn is_behind(&self, bytes: u64) -> bool {
        bytes.saturating_sub(self.archived_bytes.load(Ordering::SeqCst)) > self.max_lag
    }

    /// True when no writing unit may be taken before the archive has come further.
    pub(super) fn holds_writes(&self, bytes: u64) -> bool {
        self.required && !self.lets_pass.load(Ordering::Relaxed) && self.is_behind(bytes)
    }

    /// True when records are to be given up.
    pub(super) fn must_give_up(&self, bytes: u64) -> bool {
        !self.required && self.is_behind(bytes)
    }

    /// Holds up no writing unit any more.
    pub(super) fn let_pass(&self) {
        self.lets_pass.store(true, Ordering::Relaxed);
    }

    pub(super) fn stats(&self, bytes: u64) -> ArchiveStats {
        let state = self.state();
        ArchiveStats {
            seq: self.archived(),
            lag_bytes: bytes.saturating_sub(self.archived_bytes.load(Ordering::SeqCst)),
            gaps: state.gaps,
            error: state.error.clone(),
        }
    }

    /// A cycle begins: its records begin with `first_seq`, after `bytes_before` bytes of this run.
    pub(super) fn begin_cycle(&self, segment: usize, seed: CycleSeed, first_seq: u64, bytes_before: u64) {
        self.state().cycles.push_back(Cycle { segment, seed, first_seq, bytes_before });
    }

    /// Records up to `seq` are on the disk.
    pub(super) fn synced(&self, seq: u64) {
        self.synced.fetch_max(seq, Ordering::SeqCst);
        if self.is_idle.swap(false, Ordering::SeqCst) {
            // The thread has let go of the lock once it waits.
            drop(self.state());
            self.work.notify_one();
        }
    }

    /// Gives up the records up to `seq`, which a checkpoint covers, so that their segment can be used again.
    pub(super) fn skip(&self, seq: u64, bytes: u64) {
        let mut state = self.state();
        let first = self.archived() + 1;
        state.skipped = seq;
        state.gaps += 1;
        self.archived.fetch_max(seq, Ordering::SeqCst);
        self.archived_bytes.fetch_max(bytes, Ordering::SeqCst);
        let reason = state.error.as_deref().unwrap_or("its disk is too slow");
        tracing::error!(
            "records {first} to {seq} are NOT in the archive ({reason}): no moment after record {first} can be restored \
             until the next backup; make one as soon as the archive works again"
        );
    }

    /// Copies what there is to copy, some MiB at most. False when nothing was there.
    ///
    /// # Errors
    /// When the archive cannot be written or the log not be read. The next call tries again.
    pub(super) fn step(&self) -> Result<bool> {
        let mut cursor = self.cursor.lock().unwrap_or_else(PoisonError::into_inner);
        let result = self.copy(&mut cursor);
        if let Err(error) = &result {
            let before = self.state().error.replace(error.to_string());
            if before.is_none() {
                tracing::error!(%error, "the archive does not go on; the log keeps what is missing in it, and grows");
            }
        }
        result
    }

    fn copy(&self, cursor: &mut Cursor) -> Result<bool> {
        let upto = self.synced.load(Ordering::SeqCst);
        let skipped = self.state().skipped;
        if cursor.next_seq <= skipped {
            cursor.next_seq = skipped + 1;
            cursor.writer.end_piece();
        }
        let mut copied = 0;
        while cursor.next_seq <= upto && copied < BATCH {
            let Some(cycle) = self.cycle_of(cursor.next_seq) else { break };
            if cursor.cycle != Some(cycle.first_seq) {
                (cursor.cycle, cursor.offset) = (Some(cycle.first_seq), RECORDS);
            }
            let Some((head, record)) = self.read(&cycle, cursor.offset)? else {
                if self.state().skipped >= cursor.next_seq {
                    // Its segment was taken into use again while it was read.
                    cursor.cycle = None;
                    return Ok(true);
                }
                let what = format!("reading record {} of {}", cursor.next_seq, NAMES[cycle.segment]);
                return Err(Error::io(what, std::io::Error::other("it does not verify")));
            };
            cursor.offset += record.len() as u64;
            if head.seq == cursor.next_seq {
                cursor.writer.append(&head, &record).inspect_err(|_| self.rewind(cursor))?;
                cursor.next_seq += 1;
            }
            copied += record.len();
        }
        if copied == 0 {
            return Ok(false);
        }
        cursor.writer.sync().inspect_err(|_| self.rewind(cursor))?;
        let bytes = cursor.cycle.and_then(|first| self.bytes_at(first, cursor.offset));
        self.archived.fetch_max(cursor.next_seq - 1, Ordering::SeqCst);
        self.archived_bytes.fetch_max(bytes.unwrap_or_default(), Ordering::SeqCst);
        if self.state().error.take().is_some() {
            tracing::info!("the archive goes on; it has the records up to {}", cursor.next_seq - 1);
        }
        self.signals.wake();
        Ok(true)
    }

    /// Goes back to the first record that is not durable in the archive.
    fn rewind(&self, cursor: &mut Cursor) {
        (cursor.next_seq, cursor.cycle) = (self.archived() + 1, None);
    }

    /// The cycle that holds a record; those before it are forgotten.
    fn cycle_of(&self, seq: u64) -> Option<Cycle> {
        let mut state = self.state();
        let archived = self.archived();
        while state.cycles.get(1).is_some_and(|next| next.first_seq <= seq.min(archived + 1)) {
            state.cycles.pop_front();
        }
        state.cycles.iter().rfind(|cycle| cycle.first_seq <= seq).copied()
    }

    fn bytes_at(&self, first_seq: u64, offset: u64) -> Option<u64> {
        let state = self.state();
        let cycle = state.cycles.iter().find(|cycle| cycle.first_seq == first_seq)?;
        Some(cycle.bytes_before + offset - RECORDS)
    }

    /// The record at an offset; `None` when none verifies there.
    fn read(&self, cycle: &Cycle, offset: u64) -> Result<Option<(RecordHead, Vec<u8>)>> {
        let file = &self.files[cycle.segment];
        let io = |source| Error::io(format!("reading {}", NAMES[cycle.segment]), source);
        let mut record = vec![0; HEADER];
        if file.read_at(offset, &mut record).map_err(io)? < HEADER {
            return Ok(None);
        }
        let len = record_len(&record);
        debug_assert!(len.is_multiple_of(ALIGN));
        // A length from a header that was overwritten meanwhile may be anything.
        if offset + len as u64 > file.len().map_err(io)? {
            return Ok(None);
        }
        record.resize(len, 0);
        file.read_at(offset, &mut record).map_err(io)?;
        Ok(verify_at(&record, cycle.seed, offset).map(|head| (head, record)))
    }

    /// Copies everything that is on the disk. False when that is not possible now.
    pub(super) fn finish(&self) -> bool {
        loop {
            match self.step() {
                Ok(true) => {}
                Ok(false) => break,
                Err(_) => return false,
            }
        }
        // So that what stands behind the last record, and says that it is on the disk, is there itself.
        let mut cursor = self.cursor.lock().unwrap_or_else(PoisonError::into_inner);
        if cursor.writer.sync().is_err() {
            self.rewind(&mut cursor);
            return false;
        }
        self.archived() >= self.synced.load(Ordering::SeqCst)
    }

    /// The thread's life.
    fn run(&self) {
        loop {
            let mut state = self.state();
            while !state.stop && self.synced.load(Ordering::SeqCst) <= self.archived() {
                self.is_idle.store(true, Ordering::SeqCst);
                if self.synced.load(Ordering::SeqCst) > self.archived() {
                    break;
                }
                state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            self.is_idle.store(false, Ordering::SeqCst);
            let gather = self.work.wait_timeout_while(state, INTERVAL, |state| !state.stop);
            let stop = gather.unwrap_or_else(PoisonError::into_inner).0.stop;
            if stop || self.signals.check().is_err() {
                return;
            }
            // A failure is kept for whoever asks; the next turn tries again.
            while self.step().is_ok_and(|more| more) {}
        }
    }
}

/// The thread; ends when this is dropped.
#[derive(Debug)]
pub(super) struct ArchiverThread {
    archiver: Arc<Archiver>,
    handle: Option<JoinHandle<()>>,
}

impl ArchiverThread {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the operating system gives no thread.
    pub(super) fn start(archiver: &Arc<Archiver>) -> Result<ArchiverThread> {
        let shared = Arc::clone(archiver);
        let handle = thread::Builder::new()
            .name("agq-archive".to_owned())
            .spawn(move || shared.signals.guard("agq-archive", || shared.run()))
            .map_err(|source| Error::io("starting the archive's thread", source))?;
        Ok(ArchiverThread { archiver: Arc::clone(archiver), handle: Some(handle) })
    }
}

impl Drop for ArchiverThread {
    fn drop(&mut self) {
        self.archiver.state().stop = true;
        self.archiver.work.notify_one();
        if let Some(handle) = self.handle.take() {
            // A panic of the thread has been printed; there is nobody left to tell.
            let _ = handle.join();
        }
    }
}
