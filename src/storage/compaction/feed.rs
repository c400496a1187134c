//! What the core and the copy hand to each other: the rows of every batch, views of the store between two of them, and
//! what became of the copy.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{CompactionPhase, CompactionProgress, Ready};
use crate::clock::Millis;
use crate::storage::signals::Signals;
use crate::storage::{Error, Result, Snapshot, WriteSet};

/// Bytes of rows that wait for the copy past which writing units come slower …
const MANY: usize = 16 << 20;
/// … and past which it is given up: it keeps them in memory.
const MOST: usize = 128 << 20;
/// What a row takes beside its key and value.
const ROW: usize = 96;

/// The rows of one batch.
#[derive(Debug)]
pub(super) struct Entry {
    /// Its record in the log.
    pub(super) seq: u64,
    pub(super) time: Millis,
    /// Bytes of the log that end with its record.
    pub(super) log_bytes: u64,
    pub(super) rows: WriteSet,
    bytes: usize,
}

/// The store between two batches.
pub(in crate::storage) struct View {
    pub(super) snapshot: Snapshot,
    /// The last record whose rows it shows.
    pub(super) seq: u64,
}

/// Shared by the core and the copier.
pub(in crate::storage) struct Feed {
    state: Mutex<State>,
    /// Something is there for the copier.
    changed: Condvar,
    /// The store's.
    pub(super) signals: Arc<Signals>,
    wants_view: AtomicBool,
    is_behind: AtomicBool,
    /// Records after this one have to stay in the log.
    keep: AtomicU64,
}

#[derive(Default)]
struct State {
    entries: VecDeque<Entry>,
    bytes: usize,
    view: Option<View>,
    progress: CompactionProgress,
    /// Why it is to end.
    stop: Option<String>,
    outcome: Option<std::result::Result<Box<Ready>, String>>,
}

impl Feed {
    pub(super) fn new(signals: Arc<Signals>) -> Feed {
        Feed {
            state: Mutex::default(),
            changed: Condvar::new(),
            signals,
            wants_view: AtomicBool::new(false),
            is_behind: AtomicBool::new(false),
            keep: AtomicU64::new(u64::MAX),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the rows of a batch that was applied, with the number and the end of its record.
    pub(in crate::storage) fn push(&self, rows: &WriteSet, seq: u64, time: Millis, log_bytes: u64) {
        let row_bytes = |(key, value): (&bytes::Bytes, &Option<bytes::Bytes>)| {
            ROW + key.len() + value.as_ref().map_or(0, bytes::Bytes::len)
        };
        let bytes = rows.iter().flat_map(|(_, changes)| changes).map(row_bytes).sum();
        let mut state = self.state();
        if state.stop.is_some() {
            return;
        }
        state.bytes += bytes;
        state.entries.push_back(Entry { seq, time, log_bytes, rows: rows.clone(), bytes });
        self.is_behind.store(state.bytes > MANY, Ordering::Relaxed);
        // One that takes the file's place needs them all, and will have them in a moment.
        if state.bytes > MOST && state.progress.phase != CompactionPhase::Replacing {
            let reason = format!(
                "more is written than can be copied at the same time ({} MiB of rows wait): compact when less is written",
                MOST >> 20
            );
            self.stop_now(&mut state, reason);
        }
    }

    /// True when writing units should come slower.
    pub(in crate::storage) fn is_behind(&self) -> bool {
        self.is_behind.load(Ordering::Relaxed)
    }

    /// The oldest entry, if its record is `upto` at most.
    pub(super) fn pop(&self, upto: u64) -> Option<Entry> {
        let mut state = self.state();
        state.entries.front().filter(|entry| entry.seq <= upto)?;
        let entry = state.entries.pop_front()?;
        state.bytes -= entry.bytes;
        self.is_behind.store(state.bytes > MANY, Ordering::Relaxed);
        Some(entry)
    }

    /// Asks the core for a view.
    pub(super) fn want_view(&self) {
        if !self.wants_view.swap(true, Ordering::SeqCst) {
            self.signals.wake();
        }
    }

    /// True when the core should hand over a view.
    pub(in crate::storage) fn wants_view(&self) -> bool {
        self.wants_view.load(Ordering::SeqCst)
    }

    /// Hands over a view that shows every record up to `seq`.
    pub(in crate::storage) fn show(&self, snapshot: Snapshot, seq: u64) {
        self.wants_view.store(false, Ordering::SeqCst);
        self.state().view = Some(View { snapshot, seq });
        self.changed.notify_all();
    }

    /// The view that was asked for, once it is there.
    pub(super) fn take_view(&self) -> Option<View> {
        self.state().view.take()
    }

    /// Waits for a view, or for being stopped.
    pub(super) fn wait_for_view(&self) {
        let mut state = self.state();
        while state.view.is_none() && state.stop.is_none() {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Rests, no longer than until it is stopped.
    pub(super) fn rest(&self, pause: Duration) {
        let state = self.state();
        let stopped = self.changed.wait_timeout_while(state, pause, |state| state.stop.is_none());
        drop(stopped.unwrap_or_else(PoisonError::into_inner));
    }

    /// Records up to `seq` need not stay in the log for the copy, those after it have to.
    pub(super) fn keep_after(&self, seq: u64) {
        self.keep.store(seq, Ordering::SeqCst);
    }

    /// The last record that need not stay in the log.
    pub(in crate::storage) fn kept_after(&self) -> u64 {
        self.keep.load(Ordering::SeqCst)
    }

    /// Asks the copier to end; false when it can no more, since the copy is taking the file's place.
    pub(in crate::storage) fn stop(&self, reason: &str) -> bool {
        let mut state = self.state();
        if state.progress.phase == CompactionPhase::Replacing {
            return false;
        }
        self.stop_now(&mut state, reason.to_owned());
        true
    }

    fn stop_now(&self, state: &mut State, reason: String) {
        state.stop.get_or_insert(reason);
        state.entries.clear();
        (state.bytes, state.view) = (0, None);
        self.wants_view.store(false, Ordering::SeqCst);
        self.is_behind.store(false, Ordering::Relaxed);
        self.changed.notify_all();
    }

    /// # Errors
    /// [`Error::Cancelled`] when it was stopped, and what stopped the store if that has.
    pub(super) fn check(&self) -> Result<()> {
        self.signals.check()?;
        if self.state().stop.is_some() { Err(Error::Cancelled) } else { Ok(()) }
    }

    /// From now on it cannot be stopped.
    ///
    /// # Errors
    /// When it was.
    pub(super) fn begin_replacing(&self) -> Result<()> {
        self.signals.check()?;
        let mut state = self.state();
        if state.stop.is_some() {
            return Err(Error::Cancelled);
        }
        state.progress.phase = CompactionPhase::Replacing;
        Ok(())
    }

    /// Notes how far the copy is.
    pub(super) fn tell(&self, change: impl FnOnce(&mut CompactionProgress)) {
        change(&mut self.state().progress);
    }

    /// How far it is.
    pub(in crate::storage) fn progress(&self) -> CompactionProgress {
        self.state().progress
    }

    /// Says what came of it; `error` where nothing did.
    pub(super) fn finish(&self, outcome: Result<Box<Ready>>) {
        let mut state = self.state();
        let outcome = outcome.map_err(|error| state.stop.clone().unwrap_or_else(|| error.to_string()));
        if let Err(reason) = &outcome {
            // Nobody takes what waits any more.
            let reason = reason.clone();
            self.stop_now(&mut state, reason);
        }
        state.outcome = Some(outcome);
        drop(state);
        self.signals.wake();
    }

    /// What came of it, once.
    pub(in crate::storage) fn take_outcome(&self) -> Option<std::result::Result<Box<Ready>, String>> {
        self.state().outcome.take()
    }
}
