//! The backend that redb writes its pages through, so that a checkpoint holds nobody up.
//!
//! A write goes into an overlay and a queue and is done; a sync is a *barrier* in the queue. One thread applies the
//! queue strictly in order: pages differ in size, and a stale small page written after the large one that took its
//! place would corrupt the file. What the file holds at any moment is thus a state that redb itself could have left,
//! and a barrier that has been passed is a sync that has happened.

mod backend;
mod thread;

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub(super) use backend::Backend;
pub(super) use thread::WriteBehindThread;

use crate::storage::files::DiskFile;
use crate::storage::give_back::{GiveBack, give_back};
use crate::storage::log::is_full;
use crate::storage::overlay::Overlay;
use crate::storage::signals::Signals;
use crate::storage::store_file::DATA;
use crate::storage::{Error, Result};

/// Bytes of queued pages past which nothing more should be written. What comes all the same is what redb has in its cache,
/// and one batch.
const BEHIND: usize = 64 << 20;
/// Bytes of queued pages past which they are written though no sync has been asked for. Until then the thread sleeps:
/// a commit hands over its pages without meeting it at the lock for each.
const EAGER: usize = 16 << 20;
/// Operations that the thread takes at a time.
const RUN: usize = 128;
/// Bytes of queued pages that may come together while a write waits for space: what is deleted meanwhile too.
const MOST_HELD: usize = 96 << 20;
/// How often a write that found no space is repeated.
const RETRY: Duration = Duration::from_millis(200);

/// Who applies the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Applier {
    /// A thread.
    Thread,
    /// Whoever waits for it, or calls [`WriteBehind::step`]: a simulation, which needs every run to be the same.
    Caller,
}

/// The queue, its overlay, and the file below.
pub(super) struct WriteBehind {
    file: Arc<dyn DiskFile>,
    signals: Arc<Signals>,
    applier: Applier,
    state: Mutex<State>,
    /// There is something to apply, or the thread is to end.
    work: Condvar,
    /// Something was applied, or the store has stopped.
    progress: Condvar,
    /// As in the state, for the core, which asks often.
    passed: AtomicU64,
    is_held: AtomicBool,
    is_behind: AtomicBool,
}

#[derive(Default)]
struct State {
    queue: VecDeque<(u64, Op)>,
    overlay: Overlay,
    /// Where pages were written since the header was written last, and between that and the time before: redb writes it twice
    /// in a commit, and what was written before the first of them may belong to no durable commit yet.
    uncommitted: [Vec<Range<u64>>; 2],
    /// Free pages are to be given back, and the thread should see to it.
    gives_back: bool,
    /// Bytes of free pages that still take space, as found last, until somebody asks.
    free: Option<u64>,
    /// The length the file will have when the queue is empty.
    len: u64,
    /// Cuts in the queue: behind the shortest of them the file's bytes count no more.
    cuts: VecDeque<(u64, u64)>,
    queued_bytes: usize,
    next_op: u64,
    barriers: u64,
    passed: u64,
    /// Why a write is being repeated, while one is.
    held: Option<String>,
    /// Somebody waits for the queue to move on.
    hurry: bool,
    /// The thread sleeps.
    idle: bool,
    end: bool,
}

#[derive(Clone)]
enum Op {
    Write { offset: u64, data: Arc<[u8]> },
    SetLen(u64),
    Barrier,
    GiveBack(Arc<GiveBack>),
}

impl WriteBehind {
    /// # Errors
    /// When the file's length cannot be read.
    pub(super) fn new(file: Arc<dyn DiskFile>, applier: Applier, signals: Arc<Signals>) -> io::Result<WriteBehind> {
        let state = State { len: file.len()?, ..State::default() };
        Ok(WriteBehind {
            file,
            signals,
            applier,
            state: Mutex::new(state),
            work: Condvar::new(),
            progress: Condvar::new(),
            passed: AtomicU64::new(0),
            is_held: AtomicBool::new(false),
            is_behind: AtomicBool::new(false),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its signals.
    pub(super) fn signals(&self) -> &Arc<Signals> {
        &self.signals
    }

    /// Barriers queued so far; the last of a commit is the count when it has returned.
    pub(super) fn barriers(&self) -> u64 {
        self.state().barriers
    }

    /// Barriers passed so far.
    pub(super) fn passed(&self) -> u64 {
        self.passed.load(Ordering::Acquire)
    }

    /// The file's length once the queue is empty.
    pub(super) fn len(&self) -> u64 {
        self.state().len
    }

    /// What stands in the way while a write waits for space.
    pub(super) fn held(&self) -> Option<String> {
        if self.is_held.load(Ordering::Acquire) { self.state().held.clone() } else { None }
    }

    /// True while a write waits for space.
    pub(super) fn is_held(&self) -> bool {
        self.is_held.load(Ordering::Acquire)
    }

    /// True while so many pages wait that nothing more should be written; it wakes the core when that is over.
    pub(super) fn is_behind(&self) -> bool {
        self.is_behind.load(Ordering::Acquire)
    }

    /// Bytes that wait to be written, and whether they are as many as may come together while a write waits for space.
    pub(super) fn backlog(&self) -> (u64, bool) {
        let queued = self.state().queued_bytes;
        (queued as u64, queued > MOST_HELD)
    }

    /// Gives up to `most` bytes of pages that are free in the last durable commit back to the file system, in the queue's
    /// order, so that what is written into them later is there. `keep` bytes of them stay for what comes next.
    pub(super) fn give_back(&self, most: u64, keep: u64) {
        let mut state = self.state();
        if !std::mem::replace(&mut state.gives_back, true) {
            let uncommitted = state.uncommitted.concat();
            self.push(&mut state, Op::GiveBack(Arc::new(GiveBack { most, keep, uncommitted })));
        }
    }

    /// Bytes of free pages that take space in the file, when that was found out since the last call.
    pub(super) fn take_free(&self) -> Option<u64> {
        self.state().free.take()
    }

    /// Bytes that the file takes on the disk now.
    pub(super) fn allocated(&self) -> io::Result<u64> {
        self.file.allocated()
    }

    /// Waits until a barrier has been passed.
    ///
    /// # Errors
    /// When the store has stopped, or a write finds no space.
    pub(super) fn wait_for(&self, barrier: u64) -> Result<()> {
        self.wait_until(|state| state.passed >= barrier)
    }

    fn wait_until(&self, done: impl Fn(&State) -> bool) -> Result<()> {
        let mut state = self.state();
        loop {
            if done(&state) {
                return Ok(());
            }
            self.signals.check()?;
            if let Some(reason) = &state.held {
                return Err(Error::Full { file: DATA.to_owned(), cause: io::Error::other(reason.clone()) });
            }
            state = self.wait(state);
        }
    }

    /// Lets the queue move on: waits for the thread, or applies one operation.
    fn wait<'a>(&'a self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        match self.applier {
            Applier::Thread => {
                let mut state = state;
                state.hurry = true;
                self.work.notify_one();
                self.progress.wait(state).unwrap_or_else(PoisonError::into_inner)
            }
            Applier::Caller => {
                drop(state);
                self.step();
                self.state()
            }
        }
    }

    fn push(&self, state: &mut State, op: Op) -> u64 {
        let number = state.next_op;
        state.next_op += 1;
        state.barriers += u64::from(matches!(op, Op::Barrier));
        state.queue.push_back((number, op));
        if state.idle && state.is_due() {
            self.work.notify_one();
        }
        number
    }

    /// Applies the first operation of the queue; false when there is none, or the store has stopped.
    pub(super) fn step(&self) -> bool {
        self.apply_run(1)
    }

    /// Applies up to `most` operations in order, no further than to a barrier.
    fn apply_run(&self, most: usize) -> bool {
        let run: Vec<(u64, Op)> = {
            let state = self.state();
            let first_barrier = state.queue.iter().take(most).position(|(_, op)| matches!(op, Op::Barrier));
            let len = first_barrier.map_or(most, |at| at + 1);
            state.queue.iter().take(len).cloned().collect()
        };
        let mut done = 0;
        let mut failed = None;
        for (_, op) in &run {
            if self.signals.stopped().is_some() {
                break;
            }
            let result = match op {
                Op::Write { offset, data } => self.file.write_at(*offset, data),
                Op::SetLen(len) => self.file.set_len(*len),
                Op::Barrier => self.file.sync_data(),
                Op::GiveBack(what) => {
                    let free = give_back(&*self.file, what);
                    self.state().free = free;
                    Ok(())
                }
            };
            if let Err(error) = result {
                failed = Some((op, error));
                break;
            }
            done += 1;
        }
        self.retire(&run[..done]);
        match failed {
            None => done > 0,
            Some((op, error)) => {
                self.fail(op, &error);
                true
            }
        }
    }

    /// Only a write that found no space may be repeated; everything else is final.
    fn fail(&self, op: &Op, error: &io::Error) {
        if is_full(error) && !matches!(op, Op::Barrier) {
            self.state().held = Some(error.to_string());
            self.is_held.store(true, Ordering::Release);
            self.signals.wake();
        } else {
            self.signals.stop(format!("writing data.redb: {error}"));
        }
        self.progress.notify_all();
    }

    /// Takes applied operations off the queue: their bytes are in the file.
    fn retire(&self, run: &[(u64, Op)]) {
        if run.is_empty() {
            return;
        }
        let mut is_news = false;
        let mut state = self.state();
        let goes_on = state.held.take().is_some();
        self.is_held.store(false, Ordering::Release);
        for (number, op) in run {
            state.queue.pop_front();
            match op {
                Op::Write { offset, data } => {
                    state.overlay.retire(*offset, data.len(), *number);
                    state.queued_bytes -= data.len();
                }
                Op::SetLen(_) => {
                    if state.cuts.front().is_some_and(|(cut, _)| cut == number) {
                        state.cuts.pop_front();
                    }
                }
                Op::Barrier => {
                    state.passed += 1;
                    self.passed.store(state.passed, Ordering::Release);
                    is_news = true;
                }
                Op::GiveBack(_) => {
                    state.gives_back = false;
                    is_news = true;
                }
            }
        }
        if state.queued_bytes <= BEHIND {
            is_news |= self.is_behind.swap(false, Ordering::AcqRel);
        }
        let waited_for = state.hurry;
        state.hurry &= !state.queue.is_empty();
        drop(state);
        if waited_for {
            self.progress.notify_all();
        }
        if is_news || goes_on {
            self.signals.wake();
        }
    }
}

impl State {
    /// True when the thread should work: somebody waits, for a sync or for room, enough has come together, or a write
    /// that found no room is to be tried again.
    fn is_due(&self) -> bool {
        self.held.is_some()
            || self.gives_back
            || self.barriers > self.passed
            || self.queued_bytes > EAGER
            || self.hurry && !self.queue.is_empty()
    }
}

impl fmt::Debug for WriteBehind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriteBehind").field("file", &self.file).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
