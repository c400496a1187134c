//! What an operator should see to before it stops something: found between batches, shown by INFO, and logged once when it
//! begins and once when it is over. What is told of disk, archive and backups where it happens is not logged again.
//!
//! Nothing polls for it: an idle server looks when it wakes for something else, or is asked.

mod kinds;
#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use crate::clock::Millis;
use crate::command::backups::Backups;
use crate::command::warnings::Warning;
use crate::storage::{Refusal, Stats};

/// Texts with numbers are made anew so often.
const REFRESH: Duration = Duration::from_secs(1);
/// The part with which a sync counts in their average.
const SYNC_PART: u32 = 16;

/// Everything that is looked at.
pub(super) struct Figures<'a> {
    pub(super) now: Millis,
    /// When the server started.
    pub(super) started: Millis,
    pub(super) stats: &'a Stats,
    pub(super) shortage: Option<&'a Refusal>,
    /// There is less room left than this; see [`super::disk::DiskWatch`].
    pub(super) disk_is_low: bool,
    pub(super) disk_warning: u64,
    pub(super) backups: &'a Backups,
    /// When a second backup should have begun by itself since the newest.
    pub(super) backup_overdue: Option<Millis>,
    pub(super) clients: usize,
    pub(super) max_clients: usize,
    /// Bytes that all clients hold, and may hold; 0: as many as they like.
    pub(super) client_memory: usize,
    pub(super) max_client_memory: usize,
    /// Open files, and how many there may be.
    pub(super) open_files: u64,
    pub(super) max_open_files: Option<u64>,
    /// By how many milliseconds time is ahead of the system's clock.
    pub(super) clock_ahead_ms: u64,
    /// When the certificate that clients are greeted with ends.
    pub(super) certificate_ends: Option<Millis>,
}

/// What is remembered between two looks.
#[derive(Debug, Default)]
struct Memory {
    /// What a sync takes, on average of the last few.
    sync: Duration,
    /// Gaps of the archive that were seen, and the number of the last backup that may lie before the last of them.
    gaps: (u64, u64),
    /// Bytes of log that may wait for the archive.
    archive_max_lag: u64,
}

/// What finds warnings.
#[derive(Debug)]
pub(super) struct Watch {
    memory: Memory,
    present: Vec<Warning>,
    refreshed: Instant,
}

impl Watch {
    /// With so many bytes of log that may wait for the archive.
    pub(super) fn new(archive_max_lag: u64) -> Watch {
        let memory = Memory { archive_max_lag, ..Memory::default() };
        Watch { memory, present: Vec::new(), refreshed: Instant::now() }
    }

    /// Notes what a sync took.
    pub(super) fn synced(&mut self, took: Duration) {
        let sync = &mut self.memory.sync;
        *sync = *sync - *sync / SYNC_PART + took / SYNC_PART;
    }

    /// Looks at all figures, and logs what has begun and what is over. The warnings where they are to be shown anew.
    pub(super) fn look(&mut self, figures: &Figures<'_>) -> Option<Vec<Warning>> {
        self.memory.note_gaps(figures);
        let refreshes = self.refreshed.elapsed() >= REFRESH;
        let mut changed = refreshes && !self.present.is_empty();
        if refreshes {
            self.refreshed = Instant::now();
        }
        for kind in &kinds::ALL {
            let at = self.present.iter().position(|warning| warning.name == kind.name);
            match (at, (kind.is_there)(figures, &self.memory, at.is_some())) {
                (None, false) => continue,
                (None, true) => {
                    let text = one_line(&(kind.tell)(figures, &self.memory));
                    if !kind.is_logged {
                        tracing::warn!(warning = kind.name, "{text}");
                    }
                    self.present.push(Warning { name: kind.name, since: figures.now, text });
                    changed = true;
                }
                (Some(at), true) if refreshes => {
                    self.present[at].text = one_line(&(kind.tell)(figures, &self.memory));
                }
                (Some(_), true) => {}
                (Some(at), false) => {
                    let Warning { text, .. } = self.present.remove(at);
                    if !kind.is_logged {
                        tracing::info!(warning = kind.name, "over: {text}");
                    }
                    changed = true;
                }
            }
        }
        changed.then(|| self.present.clone())
    }
}

impl Memory {
    /// A backup that begins after a gap makes up for it.
    fn note_gaps(&mut self, figures: &Figures<'_>) {
        let gaps = figures.stats.archive.as_ref().map_or(0, |archive| archive.gaps);
        if gaps > self.gaps.0 {
            self.gaps = (gaps, figures.backups.begun);
        }
    }
}

fn one_line(text: &str) -> String {
    text.replace(['\r', '\n'], " ")
}
