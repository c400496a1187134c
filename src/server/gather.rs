//! Where a sync is slow, clients that were just answered and ask again at once should share the next one: whoever misses
//! it waits for two. So a batch waits for them, for a small part of what a sync takes. A fast disk knows no such wait.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::engine::ConnId;
use crate::server::inbox::Inbox;

/// A sync that takes less is not worth waiting for anybody.
const SLOW: Duration = Duration::from_millis(1);
/// The wait, as a part of the last sync.
const PART: u32 = 4;
/// However slow a sync was, nobody waits longer.
const LONGEST: Duration = Duration::from_millis(5);

/// What the last batches tell about the next.
#[derive(Debug, Default)]
pub(super) struct Gather {
    /// What the last sync took; nothing when the last batch needed none.
    sync: Duration,
    /// Batches that were synced slowly, one after the other.
    batch: u64,
    /// Who was answered by the last two of them. Clients that share a sync and those that share the one after it make one group
    /// only if each waits for the other.
    answered: HashMap<ConnId, u64>,
}

impl Gather {
    /// Notes what the sync of a batch took, before its clients are answered.
    pub(super) fn synced(&mut self, took: Duration) {
        self.sync = took;
        self.batch += 1;
        let last = self.batch - 1;
        if took < SLOW { self.answered.clear() } else { self.answered.retain(|_, batch| *batch >= last) }
    }

    /// Notes that a client is answered.
    pub(super) fn answered(&mut self, conn: ConnId) {
        if self.sync >= SLOW {
            self.answered.insert(conn, self.batch);
        }
    }

    /// How long the next batch waits at most; nothing where that is not worth it.
    fn longest(&self) -> Duration {
        if self.sync < SLOW { Duration::ZERO } else { (self.sync / PART).min(LONGEST) }
    }

    /// Lets those who were answered hand in their next units: until as many have come, or the wait is over. The wait is
    /// shorter than the runtime's timers can tell, so other tasks are run until then.
    pub(super) async fn wait(&self, inbox: &Inbox) {
        let longest = self.longest();
        let began = Instant::now();
        while inbox.len() < self.answered.len() && began.elapsed() < longest && !inbox.is_stopping() {
            tokio::task::yield_now().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_slow_syncs_are_waited_for_and_never_long() {
        let longest = |sync_us| {
            let mut gather = Gather::default();
            gather.synced(Duration::from_micros(sync_us));
            gather.longest().as_micros()
        };
        assert_eq!([0, 200, 999].map(longest), [0, 0, 0]);
        assert_eq!([1000, 8000, 40_000, 1_000_000].map(longest), [250, 2000, 5000, 5000]);
    }

    #[test]
    fn those_of_the_last_two_slow_batches_are_waited_for() {
        let mut gather = Gather::default();
        let mut batch = |took_ms, conns: &[ConnId]| {
            gather.synced(Duration::from_millis(took_ms));
            conns.iter().for_each(|conn| gather.answered(*conn));
            gather.answered.len()
        };
        assert_eq!([batch(5, &[1, 2]), batch(5, &[2, 3]), batch(5, &[4]), batch(5, &[4])], [2, 3, 3, 1]);
        assert_eq!([batch(0, &[5]), batch(5, &[6])], [0, 1]);
    }
}
