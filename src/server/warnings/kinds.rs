//! The kinds of warnings: when each begins and is over, and what it says.

use std::time::Duration;

use crate::clock::Millis;
use crate::command::backups::Ended;
use crate::server::warnings::{Figures, Memory};

/// Syncs that take longer, on average of the last few, are slow.
const SLOW_SYNC: Duration = Duration::from_millis(100);
/// How far time may be ahead of the system's clock, in milliseconds.
const CLOCK_AHEAD_MS: u64 = 2_000;
/// A certificate that ends sooner is warned of.
const CERTIFICATE_MS: u64 = 14 * 86_400_000;

/// A kind of warning.
pub(super) struct Kind {
    pub(super) name: &'static str,
    /// Whether it is there; the last word says whether it was at the last look, so that it does not come and go.
    pub(super) is_there: fn(&Figures<'_>, &Memory, bool) -> bool,
    pub(super) tell: fn(&Figures<'_>, &Memory) -> String,
    /// The log is told of it where it happens.
    pub(super) is_logged: bool,
}

/// Every kind, in the order in which a look finds them.
pub(super) static ALL: [Kind; 13] = [
    Kind {
        name: "disk_low",
        is_there: |it, _, _| it.disk_is_low && it.shortage.is_none(),
        tell: tell_disk,
        is_logged: true,
    },
    Kind {
        name: "disk_full",
        is_there: |it, _, _| it.shortage.is_some(),
        tell: |it, _| it.shortage.map_or(String::new(), |shortage| shortage.reason.clone()),
        is_logged: true,
    },
    Kind {
        name: "slow_syncs",
        is_there: |_, memory, was| memory.sync >= if was { SLOW_SYNC / 2 } else { SLOW_SYNC },
        tell: |_, memory| {
            format!(
                "syncs of the log take {} ms on average of the last few, which every write waits for ({} ms is slow): look at \
                 what else uses the disk, and at its health",
                memory.sync.as_millis(),
                SLOW_SYNC.as_millis()
            )
        },
        is_logged: false,
    },
    Kind {
        name: "archive_failed",
        is_there: |it, _, _| it.stats.archive.as_ref().is_some_and(|archive| archive.error.is_some()),
        tell: |it, _| {
            let archive = it.stats.archive.as_ref();
            let error = archive.and_then(|archive| archive.error.as_deref()).unwrap_or_default();
            let lag = archive.map_or(0, |archive| archive.lag_bytes);
            format!(
                "the archive does not go on: {error}; {lag} bytes of log wait for it. See to the folder of --archive-dir"
            )
        },
        is_logged: true,
    },
    Kind { name: "archive_lag", is_there: lags, tell: tell_lag, is_logged: false },
    Kind {
        name: "archive_gap",
        is_there: |it, memory, _| {
            let made_up = |last: &Ended| last.outcome.is_ok() && last.number > memory.gaps.1;
            memory.gaps.0 > 0 && !it.backups.last.as_ref().is_some_and(made_up)
        },
        tell: |_, memory| {
            format!(
                "the archive has {} gaps: no moment behind the last can be restored until there is a backup; make one, with 'agq \
                 backup', once the archive works",
                memory.gaps.0
            )
        },
        is_logged: true,
    },
    Kind {
        name: "backup_failed",
        is_there: |it, _, _| failed_backup(it).is_some(),
        tell: |it, _| {
            let error = failed_backup(it).unwrap_or_default();
            format!("the last backup failed: {error}. See to that, and make one with 'agq backup'")
        },
        is_logged: true,
    },
    Kind { name: "backup_overdue", is_there: |it, _, _| overdue(it), tell: tell_overdue, is_logged: false },
    Kind {
        name: "clock_behind",
        is_there: |it, _, was| it.clock_ahead_ms >= if was { CLOCK_AHEAD_MS / 2 } else { CLOCK_AHEAD_MS },
        tell: |it, _| {
            format!(
                "the system's clock was set back: it is {} ms behind the server's time, which runs a tenth slower until they agree. \
                 If the system's clock is the wrong one, correct it",
                it.clock_ahead_ms
            )
        },
        is_logged: false,
    },
    Kind {
        name: "certificate_ends",
        is_there: |it, _, _| it.certificate_ends.is_some_and(|at| at.since(it.now) < CERTIFICATE_MS),
        tell: tell_certificate,
        is_logged: false,
    },
    Kind {
        name: "open_files",
        is_there: |it, _, was| it.max_open_files.is_some_and(|limit| is_near(it.open_files, limit, was, (8, 7))),
        tell: |it, _| {
            format!(
                "{} of the {} open files that this process may have are in use: raise LimitNOFILE or ulimit -n, or lower \
                 --max-clients",
                it.open_files,
                it.max_open_files.unwrap_or_default()
            )
        },
        is_logged: false,
    },
    Kind {
        name: "clients",
        is_there: |it, _, was| is_near(it.clients as u64, it.max_clients as u64, was, (9, 8)),
        tell: |it, _| {
            format!(
                "{} of the {} clients that --max-clients allows are connected, and more are refused: raise it, or find who opens so \
                 many with CLIENT LIST",
                it.clients, it.max_clients
            )
        },
        is_logged: false,
    },
    Kind {
        name: "client_memory",
        is_there: |it, _, was| is_near(it.client_memory as u64, it.max_client_memory as u64, was, (8, 6)),
        tell: |it, _| {
            format!(
                "clients hold {} of the {} bytes of --max-client-memory, past which the one that holds most is ended: raise it, or \
                 find who takes no replies with CLIENT LIST",
                it.client_memory, it.max_client_memory
            )
        },
        is_logged: false,
    },
];

/// True past `begin` of ten parts of the bound, until it is under `end` of them again.
fn is_near(value: u64, bound: u64, was: bool, (begin, end): (u64, u64)) -> bool {
    let tenths = bound.saturating_mul(if was { end } else { begin });
    bound > 0 && value.saturating_mul(10) >= tenths.max(1)
}

fn tell_disk(it: &Figures<'_>, _: &Memory) -> String {
    let disk = it.stats.file_system.map_or(String::new(), |found| {
        format!("{} of {} bytes are free on the file system", found.available, found.total)
    });
    let max = it.stats.max_file_size.map_or(String::new(), |max| {
        format!("{} of {max} bytes are left of --max-file-size", max.saturating_sub(it.stats.allocated_bytes))
    });
    let and = if disk.is_empty() || max.is_empty() { "" } else { ", " };
    format!(
        "little room is left: {disk}{and}{max}; --disk-warning is {} bytes. Make room, or delete data: writes are refused when \
         there is none",
        it.disk_warning
    )
}

fn lags(it: &Figures<'_>, memory: &Memory, was: bool) -> bool {
    it.stats.archive.as_ref().is_some_and(|archive| is_near(archive.lag_bytes, memory.archive_max_lag, was, (5, 2)))
}

fn tell_lag(it: &Figures<'_>, memory: &Memory) -> String {
    format!(
        "{} bytes of log wait for the archive; with the {} of --archive-max-lag records are given up, or writes wait with \
         --archive-required: look at the disk of --archive-dir",
        it.stats.archive.as_ref().map_or(0, |archive| archive.lag_bytes),
        memory.archive_max_lag
    )
}

/// Why the last backup failed; one that was called off has not.
fn failed_backup<'a>(it: &Figures<'a>) -> Option<&'a str> {
    let error = it.backups.last.as_ref()?.outcome.as_ref().err()?;
    (*error != crate::storage::Error::Cancelled.to_string()).then_some(error)
}

/// A second backup should have begun by itself since the newest.
fn overdue(it: &Figures<'_>) -> bool {
    it.backup_overdue.is_some_and(|at| it.now > at)
}

fn tell_overdue(it: &Figures<'_>, _: &Memory) -> String {
    let hours = |at: Millis| format!("{:.1} hours", it.now.since(at) as f64 / 3_600_000.0);
    let newest = match it.backups.newest {
        Some(at) => format!("the newest backup is {} old", hours(at)),
        None => format!("there is no backup, and the server is up for {}", hours(it.started)),
    };
    format!(
        "{newest}: by --backup-every or --backup-at two should have begun since; see why the last ones failed or took so long"
    )
}

fn tell_certificate(it: &Figures<'_>, _: &Memory) -> String {
    let left = it.certificate_ends.map_or(0, |at| at.since(it.now));
    match left {
        0 => "the certificate of --tls-cert has expired: clients refuse it. Put a new one there, and send SIGHUP"
            .to_owned(),
        left => format!(
            "the certificate of --tls-cert ends in {:.1} days: put a new one there, and send SIGHUP",
            left as f64 / 86_400_000.0
        ),
    }
}
