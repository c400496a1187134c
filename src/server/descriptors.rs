//! File descriptors: each connection takes one. The limit is raised as far as the system allows, and how many are in use is
//! known, so that a warning comes before clients are turned away.

use std::cell::Cell;
use std::os::fd::{AsRawFd as _, RawFd};
use std::time::{Duration, Instant};

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

/// Knows how many are in use.
pub(super) struct Descriptors {
    /// So many may be open; `None` where there is no limit.
    limit: Option<u64>,
    in_use: Cell<u64>,
    looked: Cell<Instant>,
}

/// The system is asked so often at most.
const LOOK: Duration = Duration::from_secs(1);

impl Descriptors {
    pub(super) fn new() -> Descriptors {
        let limit = getrlimit(Resource::Nofile).current;
        Descriptors { limit, in_use: Cell::default(), looked: Cell::new(Instant::now()) }
    }

    /// Notes one that was opened just now: the system gives out the lowest number that is free, so as many are in use.
    pub(super) fn note(&self, opened: RawFd) {
        self.in_use.set(u64::try_from(opened).unwrap_or(0) + 1);
    }

    /// How many are in use, as of the last second or the last connection.
    pub(super) fn in_use(&self) -> u64 {
        if self.looked.get().elapsed() >= LOOK {
            self.looked.set(Instant::now());
            // The lowest number that is free, for a moment.
            match rustix::io::dup(std::io::stderr()) {
                Ok(free) => self.in_use.set(u64::try_from(free.as_raw_fd()).unwrap_or(0)),
                Err(_none_is_free) => self.in_use.set(self.limit.unwrap_or_else(|| self.in_use.get())),
            }
        }
        self.in_use.get()
    }

    /// How many there may be.
    pub(super) fn limit(&self) -> Option<u64> {
        self.limit
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
    fn as_many_are_in_use_as_have_lower_numbers() {
        let descriptors = Descriptors::new();
        descriptors.note(99);
        assert_eq!(descriptors.in_use(), 100, "the system is not asked for each batch");
        descriptors.looked.set(Instant::now().checked_sub(2 * LOOK).unwrap());
        assert!((3..100).contains(&descriptors.in_use()), "{}", descriptors.in_use());
    }
}
