//! Why the server ends connections: how often each happened, for INFO, and a line in the log, but not one for each.

use std::time::{Duration, Instant};

use crate::command::Endings as Counts;
use crate::engine::ConnId;

/// Between two lines of one kind: whoever makes connections by the thousand fills no disk with them.
const QUIET: Duration = Duration::from_secs(10);

/// Why a connection was refused or ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// There are too many.
    Refused,
    /// It gave no key in time.
    AuthTimeout,
    /// Its request did not come in time.
    RequestTimeout,
    /// It said nothing for long.
    IdleTimeout,
    /// It took nothing of what waited for it for long.
    WriteTimeout,
    /// Too much waited for it.
    Output,
    /// All held too much, and it most.
    Memory,
    /// It gave a wrong key: counted, and not ended.
    WrongKey,
}

/// What happened since the start.
#[derive(Default)]
pub(super) struct Endings {
    counts: Counts,
    /// When each kind was logged last.
    logged: [Option<Instant>; 8],
}

impl Ended {
    /// What the log says.
    fn text(self) -> &'static str {
        match self {
            Ended::Refused => "connections are refused: there are as many as --max-clients allows",
            Ended::AuthTimeout => "a connection is ended: it gave no key within --auth-timeout",
            Ended::RequestTimeout => "a connection is ended: its request was not complete within --request-timeout",
            Ended::IdleTimeout => "a connection is ended: it said nothing for --idle-timeout",
            Ended::WriteTimeout => "a connection is ended: it took none of its replies for --write-timeout",
            Ended::Output => "a connection is ended: more waited for it than --replies-limit or --messages-limit allow",
            Ended::Memory => "a connection is ended: it held most of what is more than --max-client-memory",
            Ended::WrongKey => "a client gave a wrong key",
        }
    }
}

impl Endings {
    /// Counts one, and says so unless that was said just now.
    pub(super) fn note(&mut self, conn: ConnId, why: Ended) {
        let (count, logged) = match why {
            Ended::Refused => (&mut self.counts.refused, &mut self.logged[0]),
            Ended::AuthTimeout => (&mut self.counts.auth_timeouts, &mut self.logged[1]),
            Ended::RequestTimeout => (&mut self.counts.request_timeouts, &mut self.logged[2]),
            Ended::IdleTimeout => (&mut self.counts.idle_timeouts, &mut self.logged[3]),
            Ended::WriteTimeout => (&mut self.counts.write_timeouts, &mut self.logged[4]),
            Ended::Output => (&mut self.counts.output, &mut self.logged[5]),
            Ended::Memory => (&mut self.counts.evicted, &mut self.logged[6]),
            Ended::WrongKey => (&mut self.counts.wrong_keys, &mut self.logged[7]),
        };
        *count += 1;
        if logged.is_some_and(|at| at.elapsed() < QUIET) {
            tracing::debug!(conn, "{}", why.text());
        } else {
            *logged = Some(Instant::now());
            tracing::warn!(conn, since_start = *count, "{}", why.text());
        }
    }

    /// How often each happened.
    pub(super) fn counts(&self) -> Counts {
        self.counts
    }
}
