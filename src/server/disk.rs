//! Tells the operator, once each time, that room becomes little, that there is none, and that there is some again; and how
//! far the walk through an old file has come.

use std::sync::OnceLock;
use std::time::Instant;

use crate::storage::{Refusal, Stats};

/// A quarter of what there is, at most, is little: more than what is kept free.
const MOST_WARNED: u64 = 4;
/// There is enough again when this part more than the bound is left.
const OVER: u64 = 8;

/// What the operator was told last.
#[derive(Debug)]
pub(super) struct DiskWatch {
    warning: u64,
    low: bool,
    refused: bool,
}

impl DiskWatch {
    /// Warns when less than `warning` bytes are left; 0: never.
    pub(super) fn new(warning: u64) -> DiskWatch {
        DiskWatch { warning, low: false, refused: false }
    }

    /// So many bytes are little.
    pub(super) fn warning(&self) -> u64 {
        self.warning
    }

    /// True when little is left.
    pub(super) fn is_low(&self) -> bool {
        self.low
    }

    /// Looks at the figures of a batch, and logs what has changed.
    pub(super) fn note(&mut self, stats: &Stats, refusal: Option<&Refusal>) {
        let (low, text) = self.find_low(stats);
        match (self.low, low) {
            (false, true) => tracing::warn!("little room is left: {text}. Writes are refused when there is none"),
            (true, false) => tracing::info!("there is room enough again: {text}"),
            _ => {}
        }
        self.low = low;
        match (self.refused, refusal) {
            (false, Some(refusal)) => tracing::error!("commands that add data are refused: {refusal}"),
            (true, None) => tracing::info!("there is room: all commands are taken again"),
            _ => {}
        }
        self.refused = refusal.is_some();
    }

    /// Whether one of the two bounds leaves little, and what is left.
    fn find_low(&self, stats: &Stats) -> (bool, String) {
        let disk = stats.file_system.map(|found| (found.available, found.total, "free on the file system"));
        let max =
            stats.max_file_size.map(|max| (max.saturating_sub(stats.allocated_bytes), max, "left of --max-file-size"));
        let is_low = |left: u64, total: u64| {
            let bound = self.warning.min(total / MOST_WARNED);
            left < if self.low { bound + bound / OVER } else { bound }
        };
        let low = [disk, max].into_iter().flatten().find(|(left, total, _)| is_low(*left, *total));
        if low.is_some() == self.low {
            return (self.low, String::new());
        }
        let tell = |(left, total, what): (u64, u64, &str)| format!("{left} of {total} bytes are {what}");
        (low.is_some(), low.or(max).or(disk).map_or(String::new(), tell))
    }
}

/// Logs how far the walk through the whole file has come, of `done`, 0 to 1.
pub fn log_repair(done: f64) {
    static BEGAN: OnceLock<Instant> = OnceLock::new();
    let took = BEGAN.get_or_init(Instant::now).elapsed().as_secs_f64();
    let percent = done * 100.0;
    if done > 0.0 && took > 0.0 {
        let left = took / done * (1.0 - done);
        tracing::warn!(
            "data.redb was not closed as it should be: all of it is read; {percent:.0} % done, about {left:.0} s left"
        );
    } else {
        tracing::warn!("data.redb was not closed as it should be: all of it is read; {percent:.0} % done");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::FileSystem;

    fn stats(available: u64, allocated_bytes: u64) -> Stats {
        let db =
            crate::storage::Db::open_stepped(&disk(), &crate::storage::Options::new("simulated".as_ref())).unwrap();
        let file_system = Some(FileSystem { available, total: 1000 });
        Stats { file_system, allocated_bytes, max_file_size: Some(2000), ..db.stats() }
    }

    fn disk() -> std::sync::Arc<dyn crate::storage::files::Disk> {
        std::sync::Arc::new(crate::storage::sim_disk::SimDisk::new(1))
    }

    #[test]
    fn little_room_is_told_once_and_again_when_it_is_over() {
        let mut watch = DiskWatch::new(80);
        for (available, allocated, low) in [
            (80, 0, false),
            (79, 0, true),
            (89, 0, true),
            (90, 0, false),
            (500, 1921, true),
            (500, 1911, true),
            (500, 1910, false),
        ] {
            watch.note(&stats(available, allocated), None);
            assert_eq!(watch.is_low(), low, "{available} free, {allocated} taken");
        }
    }

    #[test]
    fn of_a_small_file_system_a_quarter_is_little_and_of_none_nothing() {
        let mut watch = DiskWatch::new(1 << 30);
        watch.note(&stats(251, 0), None);
        assert!(!watch.is_low());
        watch.note(&stats(249, 0), None);
        assert!(watch.is_low());
        let mut watch = DiskWatch::new(0);
        watch.note(&stats(0, 2000), None);
        assert!(!watch.is_low());
    }
}
