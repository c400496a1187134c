//! What the operating system knows of this process, for INFO.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use crate::command::ProcessFacts;

/// How old the facts may be.
const MAX_AGE: Duration = Duration::from_secs(1);
/// Ticks a second of the processor times in `/proc`: the same on every Linux that Rust's tier 1 and 2 know.
const TICKS_PER_SECOND: u64 = 100;

/// Nanoseconds since this was first called; 584 years of them fit.
pub(super) fn nanos() -> u64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    START.elapsed().as_nanos() as u64
}

/// Reads the facts, at most once a second.
#[derive(Default)]
pub(super) struct Process {
    read: Option<Instant>,
}

impl Process {
    /// The facts, if those of the last call are too old; `None` within it where the system does not tell.
    pub(super) fn refreshed(&mut self) -> Option<Option<ProcessFacts>> {
        if self.read.is_some_and(|read| read.elapsed() < MAX_AGE) {
            return None;
        }
        self.read = Some(Instant::now());
        let stat = std::fs::read_to_string("/proc/self/stat").ok();
        let status = std::fs::read_to_string("/proc/self/status").ok();
        Some(stat.zip(status).and_then(|(stat, status)| parse(std::process::id(), &stat, &status)))
    }
}

/// A number that changes while the process computes, reads from the disk or writes to it; where the system does not
/// tell, with every call.
pub(super) fn progress() -> u64 {
    let read = |path: &str| std::fs::read_to_string(path).ok();
    let (stat, status, io) = (read("/proc/self/stat"), read("/proc/self/status"), read("/proc/self/io"));
    let facts = stat.zip(status).and_then(|(stat, status)| parse(std::process::id(), &stat, &status));
    let Some(facts) = facts else { return nanos() };
    let bytes = |name: &str| {
        let line = io.as_deref().into_iter().flat_map(str::lines).find_map(|line| line.strip_prefix(name));
        line.and_then(|count| count.trim().parse::<u64>().ok()).unwrap_or(0)
    };
    [facts.cpu_user_ms, facts.cpu_system_ms, bytes("read_bytes:"), bytes("write_bytes:")].iter().sum()
}

fn parse(id: u32, stat: &str, status: &str) -> Option<ProcessFacts> {
    // The program's name stands in brackets and may hold anything, blanks and brackets included.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut times = fields.split_ascii_whitespace().skip(11).map(str::parse::<u64>);
    let (user, system) = (times.next()?.ok()?, times.next()?.ok()?);
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let resident_kib: u64 = resident.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(ProcessFacts {
        id,
        resident_bytes: resident_kib * 1024,
        cpu_user_ms: user * 1000 / TICKS_PER_SECOND,
        cpu_system_ms: system * 1000 / TICKS_PER_SECOND,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_brackets_and_blanks_do_not_shift_the_fields() {
        let stat = "7 (a) (b c) S 1 7 7 0 -1 4194560 100 0 0 0 250 40 0 0 20 0 3 0 12345 1000 200";
        let status = "Name:\ta\nVmPeak:\t 9000 kB\nVmRSS:\t 2048 kB\n";
        let facts = parse(7, stat, status).unwrap();
        assert_eq!((facts.cpu_user_ms, facts.cpu_system_ms, facts.resident_bytes), (2500, 400, 2 << 20));
        assert_eq!(parse(7, "7 (a) S 1", status), None);
    }
}
