//! File descriptors: each connection takes one. The limit is raised as far as the system allows, and what comes near it is
//! said before clients are turned away.

use std::cell::Cell;
use std::os::fd::RawFd;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors for everything but clients: the store, listeners, webhooks, the runtime.
const RESERVED: u64 = 64;

/// Raises this process's limit to the highest that it may have. Programs that it starts inherit it: it is for a process
/// that starts none.
pub fn raise_limit() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return;
    }
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }) {
        tracing::warn!(%error, limit = limit.current, "the limit of open files cannot be raised");
    }
}

/// How many of so many connections there is room for.
#[must_use]
pub fn connections_allowed(asked: usize) -> usize {
    getrlimit(Resource::Nofile).current.map_or(asked, |open_files| room(asked, open_files))
}

/// Says so when there is room for fewer connections than were asked for.
pub fn warn_of_little_room(asked: usize, room: usize) {
    if room < asked {
        let needed = asked as u64 + RESERVED;
        tracing::warn!(
            asked,
            room,
            "the system allows this process too few open files for --max-clients: {room} connections are accepted at a \
             time; raise its limit (ulimit -n, LimitNOFILE) to {needed}, or ask for fewer"
        );
    }
}

fn room(asked: usize, open_files: u64) -> usize {
    let most = open_files.saturating_sub(RESERVED).max(1);
    usize::try_from(most).unwrap_or(usize::MAX).min(asked)
}

/// Watches how many are in use.
pub(super) struct Descriptors {
    /// So many may be open; `None` where there is no limit.
    limit: Option<u64>,
    warned: Cell<bool>,
}

impl Descriptors {
    pub(super) fn new() -> Descriptors {
        Descriptors { limit: getrlimit(Resource::Nofile).current, warned: Cell::new(false) }
    }

    /// Notes one that was opened just now: the system gives out the lowest number that is free, so as many are in use.
    pub(super) fn note(&self, opened: RawFd) {
        let in_use = u64::try_from(opened).unwrap_or(0) + 1;
        let Some(limit) = self.limit else { return };
        match is_near(in_use, limit, self.warned.get()) {
            Some(true) => tracing::warn!(
                in_use,
                limit,
                "over 80 % of the open files that this process may have are in use: raise LimitNOFILE or ulimit -n, or \
                 lower --max-clients"
            ),
            Some(false) => {
                tracing::info!(in_use, limit, "open files are under 70 % of what this process may have again")
            }
            None => return,
        }
        self.warned.set(!self.warned.get());
    }
}

/// Whether it came near the limit (`true`) or away from it (`false`) since the last word; `None` where nothing changed.
fn is_near(in_use: u64, limit: u64, warned: bool) -> Option<bool> {
    match warned {
        false if in_use.saturating_mul(10) > limit.saturating_mul(8) => Some(true),
        true if in_use.saturating_mul(10) < limit.saturating_mul(7) => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_for_clients_is_set_aside() {
        assert_eq!(room(10_000, 1024), 960);
        assert_eq!(room(10, 1024), 10);
        assert_eq!(room(10, 3), 1, "somebody has to be able to look");
    }

    #[test]
    fn it_is_said_once_for_each_change() {
        assert_eq!(is_near(800, 1000, false), None);
        assert_eq!(is_near(801, 1000, false), Some(true));
        assert_eq!(is_near(999, 1000, true), None);
        assert_eq!(is_near(700, 1000, true), None);
        assert_eq!(is_near(699, 1000, true), Some(false));
    }
}
