//! What the store refuses while there is no room, and what goes on: a reserve in the log and among the pages that wait to
//! be written is kept for what frees space.

use crate::storage::store_file::DATA;
use crate::storage::{Bound, Db, Error, Refusal, Result};

/// The most of log, in bytes, that is made ready for commands that free space when room becomes short …
const LOG_RESERVE: u64 = 8 << 20;
/// … and the part of what is kept free that it may take. Both segments come to have it.
const LOG_PART: u64 = 8;
/// With less than this left of it no command that writes begins.
const LEAST_LOG: u64 = 64 << 10;

impl Db {
    /// Finds out how much room there is. Before each batch: [`Db::refusal`] and the batch go by what is found.
    ///
    /// # Errors
    /// When the operating system does not tell, or the log fails.
    pub fn look_at_space(&mut self) -> Result<()> {
        self.settle();
        let stale = self.space.is_stale();
        if stale {
            let io = |source| Error::io("asking how much the store takes on the disk", source);
            let mut allocated = self.pages.allocated().map_err(io)?;
            for segment in &self.segments {
                allocated += segment.allocated().map_err(io)?;
            }
            self.space.look(allocated);
            if let Some(free) = self.pages.take_free() {
                self.space.found_free(free);
            }
        }
        self.space.decide(self.checkpoints.uncovered(self.log.bytes(), self.pages.passed()));
        if let Some((most, keep)) = self.space.wants_back(self.checkpoints.made) {
            self.pages.give_back(most, keep);
        }
        if stale && self.space.is_short() && !self.pages.is_held() {
            match self.log.reserve(LOG_RESERVE.min(self.space.reserve() / LOG_PART)) {
                // There is none for a reserve either: the log has what it has.
                Ok(_) | Err(Error::Full { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Why nothing that adds data may run now, if so, or nothing that writes at all; reads may.
    #[must_use]
    pub fn refusal(&self) -> Option<Refusal> {
        match self.pages.held() {
            Some(held) => Some(self.held_refusal(&held)),
            None => (self.space.room() == 0).then(|| self.space.refusal()),
        }
    }

    /// Why what adds data is refused, though some of it may still go in the place of what was deleted: what an operator has
    /// to know.
    #[must_use]
    pub fn shortage(&self) -> Option<Refusal> {
        self.refusal().or_else(|| self.space.is_short().then(|| self.space.refusal()))
    }

    /// True while a page waits for space: no checkpoint is made, and nothing may be written that can wait.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.pages.is_held()
    }

    fn held_refusal(&self, held: &str) -> Refusal {
        let (waiting, pages_full) = self.pages.backlog();
        let everything = pages_full || self.log.ready() < LEAST_LOG;
        let free = self
            .space
            .file_system()
            .map_or(String::new(), |found| format!(" and {} are free on its file system", found.available));
        let goes_on = if everything { "reads go on" } else { "reads and commands that free space go on" };
        let reason = format!(
            "the disk is full: {DATA} cannot grow: {held}; {waiting} bytes wait to be written{free}. Make room there: what waits is tried again \
             by itself; {goes_on}"
        );
        Refusal { bound: Bound::Disk, reason, everything }
    }

    /// # Errors
    /// [`Error::Full`] while a page waits for space.
    pub(super) fn check_held(&self) -> Result<()> {
        match self.pages.held() {
            None => Ok(()),
            Some(reason) => Err(Error::Full { file: DATA.to_owned(), cause: std::io::Error::other(reason) }),
        }
    }
}
