//! How many files the process may have open, which bounds how many connections.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors for everything but clients: the store, listeners, webhooks, the runtime.
const RESERVED: u64 = 64;

/// Raises the process's limit of open files as far as so many connections need and the system allows. Returns how many
/// connections there is room for: fewer than were asked for where the system does not allow more, which is logged.
#[must_use]
pub fn connections_allowed(asked: usize) -> usize {
    let needed = (asked as u64).saturating_add(RESERVED);
    let limits = getrlimit(Resource::Nofile);
    let unlimited = u64::MAX;
    if limits.current.unwrap_or(unlimited) >= needed {
        return asked;
    }
    let wanted = needed.min(limits.maximum.unwrap_or(unlimited));
    let raised = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: limits.maximum });
    let current = if raised.is_ok() { wanted } else { limits.current.unwrap_or(unlimited) };
    let room = room(asked, current);
    if room < asked {
        tracing::warn!(
            asked,
            room,
            open_files = current,
            "the system allows this process too few open files for --max-clients: {room} connections are accepted at a \
             time; raise its limit (ulimit -n, LimitNOFILE) to {needed}, or ask for fewer"
        );
    }
    room
}

/// Connections that there is room for.
fn room(asked: usize, open_files: u64) -> usize {
    let most = open_files.saturating_sub(RESERVED).max(1);
    usize::try_from(most).unwrap_or(usize::MAX).min(asked)
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
}
