//! How much more the store may take: what is free on its file system, or left of `--max-file-size`, less a reserve for
//! what is on its way to the disk and for commands that free space.
//!
//! What is deleted makes room inside `data.redb` that no figure of the operating system shows, and redb tells how much
//! only by walking every tree. So when there is no room outside, what was deleted counts as room, at half its size, and
//! so does what the last window added without the file taking more for it: that went into free pages.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::storage::db::Change;
use crate::storage::files::{Disk, FileSystem};
use crate::storage::write_behind::Applier;
use crate::storage::{Bound, Options, Refusal};

/// The most that is kept free; of a small file system, or a small `--max-file-size`, it is an eighth.
const MOST_RESERVED: u64 = 64 << 20;
const PART_RESERVED: u64 = 8;
/// What the pages of a row take at most, in times of the row.
const PAGES: u64 = 2;
/// Fewer bytes than these are no room.
const LEAST: u64 = 16 << 10;
/// How old the file system's figures may be.
const FRESH: Duration = Duration::from_millis(20);

/// The store's view of what it takes and may take.
#[derive(Debug)]
pub(super) struct Space {
    disk: Arc<dyn Disk>,
    max_file_size: Option<u64>,
    /// Figures younger than this count.
    fresh: Duration,
    looked_at: Option<Instant>,
    file_system: Option<FileSystem>,
    /// Bytes that data.redb and both segments take.
    allocated: u64,
    /// Bytes of log that no checkpoint on the disk covers: their pages are still to come.
    uncovered: u64,
    /// There was no room at the last look.
    short: bool,
    /// Bytes that may be added into pages of data.redb that are thought to be free, where there is no room outside.
    inside: u64,
    /// Bytes added since the last checkpoint began, and before that one, since the store's size was last known.
    added: u64,
    added_before: u64,
    /// What the windows since room became short added, less twice by how much the store grew with them. One window alone
    /// tells nothing: what it finds free is what the one before it gave up.
    balance: i64,
    /// What the store took when a checkpoint had reached the disk last; `None` while one is on its way.
    settled: Settled,
}

/// What the store took at the end of the last checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Settled {
    /// No checkpoint has ended yet.
    Unknown,
    /// So many bytes, and a checkpoint that has begun since may take more.
    At { allocated: u64, draining: bool },
}

/// One of the two bounds.
#[derive(Debug, Clone, Copy)]
struct Limit {
    bound: Bound,
    left: u64,
    reserve: u64,
}

impl Limit {
    fn new(bound: Bound, left: u64, total: u64) -> Limit {
        Limit { bound, left, reserve: reserve(total) }
    }

    /// Bytes that may be added now, the reserve and what is on its way left out. Pages take up to twice what is put into
    /// them: redb rounds a large row up to a power of two.
    fn room(&self, uncovered: u64) -> u64 {
        (self.left.saturating_sub(self.reserve) / PAGES).saturating_sub(uncovered)
    }

    /// Bytes that may be added though none are left but the reserve, should redb not take pages inside the file for them
    /// after all.
    fn room_of_reserve(&self, uncovered: u64) -> u64 {
        let kept = match self.bound {
            Bound::Disk => self.reserve / 4,
            Bound::MaxFileSize => 0,
        };
        (self.left.saturating_sub(kept) / PAGES).saturating_sub(uncovered)
    }

    /// Bytes that may be tried without knowing that pages inside are free: ever fewer, so that what turns out not to have
    /// been free never uses up the reserve.
    fn trial(&self) -> u64 {
        (self.left.saturating_sub(self.reserve / 2) / 4).min(self.reserve / PART_RESERVED)
    }
}

/// What is kept free of so many bytes.
pub(super) fn reserve(total: u64) -> u64 {
    (total / PART_RESERVED).min(MOST_RESERVED)
}

impl Space {
    pub(super) fn new(disk: &Arc<dyn Disk>, options: &Options, applier: Applier) -> Space {
        Space {
            disk: Arc::clone(disk),
            max_file_size: options.max_file_size,
            fresh: if applier == Applier::Thread { FRESH } else { Duration::ZERO },
            looked_at: None,
            file_system: None,
            allocated: 0,
            uncovered: 0,
            short: false,
            inside: 0,
            added: 0,
            added_before: 0,
            balance: 0,
            settled: Settled::Unknown,
        }
    }

    /// True when the figures are old enough to be read again.
    pub(super) fn is_stale(&self) -> bool {
        self.looked_at.is_none_or(|at| at.elapsed() >= self.fresh)
    }

    /// Reads how much is free, given what the files take.
    pub(super) fn look(&mut self, allocated: u64) {
        // A system that does not tell bounds nothing here: a page that finds no room is held all the same.
        self.file_system = self.disk.space().ok().flatten();
        self.allocated = allocated;
        self.looked_at = Some(Instant::now());
    }

    /// Decides whether there is room, with so many bytes of log whose pages are still to come.
    pub(super) fn decide(&mut self, uncovered: u64) {
        self.uncovered = uncovered;
        let Some(limit) = self.tightest() else { return };
        // Room for one row would be gone with the next: what has been refused goes on when there is some more.
        let enough = if self.short { limit.reserve / PART_RESERVED } else { LEAST };
        let short = limit.room(uncovered) < enough;
        if short && !self.short {
            // Whether pages inside the file are free is not known: some are tried.
            self.inside = self.inside.max(limit.trial());
            self.balance = 0;
        }
        self.short = short;
    }

    /// The bound that leaves least.
    fn tightest(&self) -> Option<Limit> {
        let disk = self.file_system.map(|found| Limit::new(Bound::Disk, found.available, found.total));
        let max = self.max_file_size.map(|max| Limit::new(Bound::MaxFileSize, max.saturating_sub(self.allocated), max));
        [disk, max].into_iter().flatten().min_by_key(|limit| limit.left.saturating_sub(limit.reserve))
    }

    /// Bytes that may be added now.
    pub(super) fn room(&self) -> u64 {
        match self.tightest() {
            None => u64::MAX,
            Some(limit) => {
                let inside = self.inside.min(limit.room_of_reserve(self.uncovered));
                let inside = if inside < LEAST { 0 } else { inside };
                // One command may want more than the little that is left outside, though much was deleted.
                if self.short { inside } else { inside.max(limit.room(self.uncovered)) }
            }
        }
    }

    /// Bytes that are kept free.
    pub(super) fn reserve(&self) -> u64 {
        self.tightest().map_or(0, |limit| limit.reserve)
    }

    /// True when there is no room but what pages inside the file may give.
    pub(super) fn is_short(&self) -> bool {
        self.short
    }

    /// True when it is the disk that has no room, and not `--max-file-size` alone.
    pub(super) fn is_disk_short(&self) -> bool {
        self.short && self.tightest().is_some_and(|limit| matches!(limit.bound, Bound::Disk))
    }

    /// Notes rows that went into the open transaction.
    pub(super) fn applied(&mut self, change: Change) {
        self.added += change.added;
        // Also while there is room outside: what was deleted then is inside when there is none any more.
        self.inside = (self.inside + change.freed / 2).saturating_sub(change.added);
    }

    /// Notes that a checkpoint is on its way to the disk.
    pub(super) fn checkpoint_begun(&mut self) {
        self.added_before += std::mem::take(&mut self.added);
        if let Settled::At { draining, .. } = &mut self.settled {
            *draining = true;
        }
    }

    /// Notes that no checkpoint is on its way: what was added before it, and did not make the store larger, went into
    /// pages that were free.
    pub(super) fn checkpoint_drained(&mut self) {
        match self.settled {
            Settled::At { draining: false, .. } => return,
            Settled::At { allocated, draining: true } if self.short => {
                let grown = self.allocated.saturating_sub(allocated);
                let most = self.tightest().map_or(0, |limit| limit.trial());
                // Several checkpoints may have passed between two looks.
                self.balance += self.added_before as i64 - 2 * grown as i64;
                self.balance = self.balance.clamp(-(most as i64), most as i64);
                if self.balance > 0 && self.inside < most {
                    // Less than another trial would never let a command pass that is larger than the last one.
                    self.inside = most;
                    self.balance = 0;
                }
            }
            Settled::At { .. } | Settled::Unknown => {}
        }
        self.added_before = 0;
        self.settled = Settled::At { allocated: self.allocated, draining: false };
    }

    /// Notes that another file has taken the place of data.redb: what was known of the old one's free pages is void.
    pub(super) fn replaced(&mut self) {
        self.looked_at = None;
        (self.inside, self.added_before, self.balance) = (0, 0, 0);
        self.settled = Settled::Unknown;
    }

    /// Why nothing may be added.
    pub(super) fn refusal(&self) -> Refusal {
        let (file, allocated) = (self.disk.describe("data.redb"), self.allocated);
        let limit = self.tightest().unwrap_or(Limit { bound: Bound::Disk, left: u64::MAX, reserve: 0 });
        let Limit { bound, left, reserve } = limit;
        let needed = reserve.saturating_add(self.uncovered.saturating_mul(PAGES));
        let reason = match bound {
            Bound::Disk => format!(
                "the disk is full: {left} bytes are free on the file system of {file}, {needed} are needed for a write that \
                 adds data ({reserve} are kept free, the rest is on its way to the disk). Make room there, or delete data; \
                 reads and commands that free space go on"
            ),
            Bound::MaxFileSize => format!(
                "command not allowed: {file} and its log take {allocated} bytes of the {} of --max-file-size, {left} are \
                 left and {needed} are needed for a write that adds data. Delete data, or start with a larger \
                 --max-file-size; reads and commands that free space go on",
                self.max_file_size.unwrap_or(0)
            ),
        };
        Refusal { bound, reason, everything: false }
    }

    /// Bytes that the files take.
    pub(super) fn allocated(&self) -> u64 {
        self.allocated
    }

    /// Bytes that they may take.
    pub(super) fn max_file_size(&self) -> Option<u64> {
        self.max_file_size
    }

    /// What the file system has.
    pub(super) fn file_system(&self) -> Option<FileSystem> {
        self.file_system
    }
}
