//! The signals that ask a client command to end: SIGTERM, SIGINT, and SIGHUP, which a closed terminal sends.

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals that ask a process to end, caught from the moment this is made.
pub(super) struct Signals {
    term: Signal,
    int: Signal,
    /// Not caught where whoever started the process had it ignored, as `nohup` does.
    hang_up: Option<Signal>,
}

impl Signals {
    /// Begins to catch them.
    ///
    /// # Errors
    /// When the system does not allow it.
    pub(super) fn catch() -> anyhow::Result<Signals> {
        let catch = |kind| signal(kind).context("cannot catch signals");
        let hang_up = (!ignores_hang_up()).then(|| catch(SignalKind::hangup())).transpose()?;
        Ok(Signals { term: catch(SignalKind::terminate())?, int: catch(SignalKind::interrupt())?, hang_up })
    }

    /// The next one's name.
    pub(super) async fn next(&mut self) -> &'static str {
        let hang_up = async {
            match &mut self.hang_up {
                Some(signal) => signal.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.term.recv() => "SIGTERM",
            _ = self.int.recv() => "SIGINT",
            _ = hang_up => "SIGHUP",
        }
    }
}

/// Whether this process was started with SIGHUP ignored. Only Linux says so; elsewhere it counts as not ignored.
fn ignores_hang_up() -> bool {
    std::fs::read_to_string("/proc/self/status").is_ok_and(|status| mask_ignores_hang_up(&status))
}

/// Reads the line `SigIgn:` of `/proc/self/status`: signal n is bit n − 1.
fn mask_ignores_hang_up(status: &str) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hang_up_that_is_ignored_is_seen() {
        assert!(mask_ignores_hang_up("Name:\tagq\nSigIgn:\t0000000000001001\n"));
        assert!(!mask_ignores_hang_up("Name:\tagq\nSigIgn:\t0000000000001000\n"));
        assert!(!mask_ignores_hang_up(""));
    }
}
