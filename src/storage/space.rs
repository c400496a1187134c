//! How much more the store may take: what is free on its file system, or left of `--max-file-size`, less a reserve for
//! what is on its way to the disk and for commands that free space.
//!
//! What is deleted makes room inside `data.redb` that no figure of the operating system shows. So as room becomes little,
//! free pages are given back to the file system after each checkpoint (`give_back.rs`), and then its figures tell. Until
//! then, and where a file system cannot do that, half of what is free inside counts as room, no more than the reserve
//! covers: redb may take places that no page had before.

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
/// Less than this part of the reserve is worth no checkpoint.
const PART_CROWDED: u64 = 32;
/// Fewer bytes than these are no room.
const LEAST: u64 = 16 << 10;
/// How much is given back at a time, in times of what is kept free: for the room, and for as much again.
const MOST_BACK: u64 = 4;
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
    /// There was little.
    tight: bool,
    /// Bytes that may be added into pages of data.redb that are free, where there is no room outside.
    inside: u64,
    /// Bytes added and freed since the last checkpoint began.
    since: Change,
    /// Bytes freed in the window that it ended: the commit after it saves their pages as free.
    freed: u64,
    /// The last checkpoint after which free pages were given back.
    gave_back: Option<u64>,
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
}

/// What is kept free of so many bytes.
pub(super) fn reserve(total: u64) -> u64 {
    (total / PART_RESERVED).min(MOST_RESERVED)
}

/// Bytes that have to stay free on the store's file system while a copy is written to it too, `step` bytes at a time; `None`
/// where as many are: the room that the copy takes is never missing to clients.
#[must_use]
pub fn needed_beside_a_copy(found: &FileSystem, step: u64) -> Option<u64> {
    let needed = 2 * (reserve(found.total) + step);
    (found.available < needed).then_some(needed)
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
            tight: false,
            inside: 0,
            since: Change::default(),
            freed: 0,
            gave_back: None,
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
        let room = limit.room(uncovered);
        self.short = room < self.enough(&limit);
        self.tight = room < limit.reserve;
    }

    /// Fewer bytes than these are no room. Room for one row would be gone with the next: what has been refused goes on when
    /// there is some more.
    fn enough(&self, limit: &Limit) -> u64 {
        if self.short { limit.reserve / PART_RESERVED } else { LEAST }
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
        // Also while there is room outside: what was deleted then is inside when there is none any more.
        self.inside = (self.inside + change.freed / PAGES).saturating_sub(change.added);
        self.since.added += change.added;
        self.since.freed += change.freed;
    }

    /// Notes how many bytes of free pages the last checkpoint left that take space in data.redb.
    pub(super) fn found_free(&mut self, free: u64) {
        self.inside = ((free + self.freed + self.since.freed) / PAGES).saturating_sub(self.since.added);
    }

    /// Notes that a checkpoint is on its way to the disk.
    pub(super) fn checkpoint_begun(&mut self) {
        self.freed = std::mem::take(&mut self.since).freed;
    }

    /// True when another checkpoint makes room, though nothing was written since the last.
    pub(super) fn wants_checkpoint(&self) -> bool {
        self.tight && self.freed > 0
    }

    /// True when little room is left, and what no checkpoint covers is thought to need more of it than that, or has freed
    /// more: a checkpoint tells how much there is.
    pub(super) fn is_crowded(&self) -> bool {
        let open = self.uncovered.max(self.since.freed);
        self.tight && open > self.room().max(self.reserve() / PART_CROWDED)
    }

    /// How many bytes of free pages to give back, and how many to keep, when that was not done since the checkpoint with
    /// this number, and little room is left.
    pub(super) fn wants_back(&mut self, checkpoint: u64) -> Option<(u64, u64)> {
        if !self.tight || self.gave_back == Some(checkpoint) {
            return None;
        }
        self.gave_back = Some(checkpoint);
        let reserve = self.reserve();
        Some((MOST_BACK * reserve, reserve / PART_RESERVED))
    }

    /// Notes that another file has taken the place of data.redb: what was known of the old one's free pages is void.
    pub(super) fn replaced(&mut self) {
        self.looked_at = None;
        (self.inside, self.freed, self.since, self.gave_back) = (0, 0, Change::default(), None);
    }

    /// Why nothing may be added.
    pub(super) fn refusal(&self) -> Refusal {
        let (file, allocated) = (self.disk.describe("data.redb"), self.allocated);
        let limit = self.tightest().unwrap_or(Limit { bound: Bound::Disk, left: u64::MAX, reserve: 0 });
        let Limit { bound, left, reserve } = limit;
        let on_its_way = self.uncovered.saturating_add(self.enough(&limit)).saturating_mul(PAGES);
        let needed = reserve.saturating_add(on_its_way);
        let inside = match self.room() {
            0 => String::new(),
            room => format!(" (but for {room} bytes, in the place of what was deleted)"),
        };
        let reason = match bound {
            Bound::Disk => format!(
                "the disk is full: {left} bytes are free on the file system of {file}, {needed} are needed for a write that \
                 adds data{inside}: {reserve} are kept free, the rest is for what is on its way to the disk. Make room there, \
                 or delete data; reads and commands that free space go on"
            ),
            Bound::MaxFileSize => format!(
                "{file} and its log take {allocated} bytes of the {} of --max-file-size, {left} are left and {needed} are \
                 needed for a write that adds data{inside}. Delete data, or start with a larger --max-file-size; reads and \
                 commands that free space go on",
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
