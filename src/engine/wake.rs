//! Trying parked commands again when something they wait for is touched.

use crate::clock::Millis;
use crate::command::lookup;
use crate::data::Touch;
use crate::engine::dispatch::Step;
use crate::engine::waiters::Parked;
use crate::engine::{ConnId, Engine, gate};
use crate::storage::{self, Batch};

/// What a parked command's new attempt says of those behind it.
#[derive(PartialEq, Eq)]
enum Retried {
    /// There may be something for them.
    Open,
    /// There is nothing.
    Drained,
}

impl Engine {
    /// Runs parked commands whose things were touched, oldest first, until nothing that was touched is waited for.
    pub(super) fn wake(&mut self, batch: &mut Batch<'_>, now: Millis) -> storage::Result<()> {
        let mut next = 0;
        while let Some(touch) = self.touched.things.get(next).cloned() {
            next += 1;
            self.server.watches.note(&touch);
            self.wake_one(batch, &touch, now)?;
        }
        self.touched.things.clear();
        Ok(())
    }

    fn wake_one(&mut self, batch: &mut Batch<'_>, touch: &Touch, now: Millis) -> storage::Result<()> {
        if let Touch::Keyspace(keyspace) = touch {
            // The database shows another keyspace now: what waits there has to wait for other things.
            for (turn, conn) in self.waiters.waiting_in(*keyspace) {
                self.retry(batch, touch, (turn, conn), now)?;
            }
            return Ok(());
        }
        let mut after = 0;
        while let Some((turn, conn)) = self.waiters.next_waiting(touch, after) {
            after = turn;
            if self.retry(batch, touch, (turn, conn), now)? == Retried::Drained {
                break;
            }
        }
        Ok(())
    }

    /// Runs a parked command again.
    fn retry(
        &mut self,
        batch: &mut Batch<'_>,
        touch: &Touch,
        (turn, conn): (u64, ConnId),
        now: Millis,
    ) -> storage::Result<Retried> {
        let Some(mut parked) = self.waiters.take(conn) else { return Ok(Retried::Open) };
        // It passed the gate when it came; that there is little room now is no reason to leave it empty-handed.
        let Some(command) = lookup(parked.request.arg(0)) else { return Ok(Retried::Open) };
        // Its key is asked again: whose the thing is may have changed, or the key is gone.
        let Some(session) = self.sessions.get(&conn) else { return Ok(Retried::Open) };
        if let Some(error) = gate::permit(batch, command, &parked.request, session, &self.server, now)? {
            let reply = self.refuse(batch, conn, command, &parked.request, &error, now)?;
            self.answer(&mut parked.unit, &reply);
            self.ready.push_back(parked.unit);
            return Ok(Retried::Open);
        }
        match self.execute(batch, &parked.unit, command, &parked.request, now, Some(touch))? {
            Step::Reply(reply) => {
                self.answer(&mut parked.unit, &reply);
                self.ready.push_back(parked.unit);
            }
            Step::Parked(wait) => {
                let drained = wait.drained;
                self.waiters.put_back(turn, Parked { wait: parked.wait.renewed(wait), ..parked });
                if drained {
                    return Ok(Retried::Drained);
                }
            }
            Step::Heavy(_) | Step::Execute(_) | Step::Several(_) | Step::Ask(_) => self.unpark(parked),
        }
        Ok(Retried::Open)
    }
}
