//! Parked commands: a FIFO for each thing they wait for, and their deadlines in order.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;

use agq_resp::Request;

use crate::clock::Millis;
use crate::command::Wait;
use crate::data::{Keyspace, Touch};
use crate::engine::{ConnId, Unit};

/// A command that waits, with the unit it stands in.
pub(super) struct Parked {
    /// What follows the command in its pipeline, and the replies before it.
    pub(super) unit: Unit,
    /// The command.
    pub(super) request: Request,
    /// What it waits for.
    pub(super) wait: Wait,
}

/// What a thing that is waited for takes beside its name, about.
const WAITED_BYTES: usize = 300;

/// All parked commands; a connection has at most one.
#[derive(Default)]
pub(super) struct Waiters {
    by_conn: HashMap<ConnId, (u64, Parked)>,
    /// For each thing, who waits for it by the turn at which it was parked.
    by_thing: HashMap<Touch, BTreeMap<u64, ConnId>>,
    by_deadline: BTreeSet<(Millis, ConnId)>,
    last_turn: u64,
}

impl Waiters {
    /// How many commands are parked.
    pub(super) fn len(&self) -> usize {
        self.by_conn.len()
    }

    /// True when none is.
    pub(super) fn is_empty(&self) -> bool {
        self.by_conn.is_empty()
    }

    /// Parks a command behind all others.
    pub(super) fn park(&mut self, parked: Parked) {
        self.last_turn += 1;
        self.put_back(self.last_turn, parked);
    }

    /// Parks a command at the place it had.
    pub(super) fn put_back(&mut self, turn: u64, parked: Parked) {
        let conn = parked.unit.conn;
        for thing in &parked.wait.on {
            self.by_thing.entry(thing.clone()).or_default().insert(turn, conn);
        }
        if let Some(deadline) = parked.wait.deadline {
            self.by_deadline.insert((deadline, conn));
        }
        let previous = self.by_conn.insert(conn, (turn, parked));
        debug_assert!(previous.is_none(), "a connection parks one command at a time");
    }

    /// Takes a connection's parked command out.
    pub(super) fn take(&mut self, conn: ConnId) -> Option<Parked> {
        let (turn, parked) = self.by_conn.remove(&conn)?;
        for thing in &parked.wait.on {
            if let Some(queue) = self.by_thing.get_mut(thing) {
                queue.remove(&turn);
                if queue.is_empty() {
                    self.by_thing.remove(thing);
                }
            }
        }
        if let Some(deadline) = parked.wait.deadline {
            self.by_deadline.remove(&(deadline, conn));
        }
        Some(parked)
    }

    /// Takes a connection's parked command out if it gives way to the next command of its connection.
    pub(super) fn take_yielding(&mut self, conn: ConnId) -> Option<Parked> {
        let (_, parked) = self.by_conn.get(&conn)?;
        if parked.wait.yields { self.take(conn) } else { None }
    }

    /// Takes out a command whose deadline has passed, the earliest first. In its own millisecond it may still be a part of
    /// one too early, as the deadline was reckoned from a time without that part.
    pub(super) fn take_expired(&mut self, now: Millis) -> Option<Parked> {
        let &(deadline, conn) = self.by_deadline.first()?;
        if deadline >= now { None } else { self.take(conn) }
    }

    /// Takes out every command that waits for a thing of a kind, oldest first.
    pub(super) fn take_all(&mut self, is_meant: impl Fn(&Touch) -> bool) -> Vec<Parked> {
        let meant = self.by_thing.iter().filter(|(thing, _)| is_meant(thing));
        let turns: BTreeMap<u64, ConnId> =
            meant.flat_map(|(_, queue)| queue.iter().map(|(turn, conn)| (*turn, *conn))).collect();
        turns.into_values().filter_map(|conn| self.take(conn)).collect()
    }

    /// Bytes of memory that what a connection's command waits for takes, about.
    pub(super) fn bytes(&self, conn: ConnId) -> usize {
        if self.by_conn.is_empty() {
            return 0;
        }
        let things = self.by_conn.get(&conn).map_or(&[][..], |(_, parked)| &parked.wait.on);
        let name = |thing: &Touch| match thing {
            Touch::Key(_, name) | Touch::Queue(name) | Touch::Job(name) | Touch::Worker(name) => name.len(),
            _ => 0,
        };
        things.iter().map(|thing| WAITED_BYTES + name(thing)).sum()
    }

    /// True when a command of a connection waits.
    pub(super) fn is_waiting(&self, conn: ConnId) -> bool {
        self.by_conn.contains_key(&conn)
    }

    /// When the next parked command gives up.
    pub(super) fn next_deadline(&self) -> Option<Millis> {
        self.by_deadline.first().map(|(deadline, _)| deadline.plus(1))
    }

    /// Those that wait for any key of a keyspace, oldest first.
    pub(super) fn waiting_in(&self, keyspace: Keyspace) -> BTreeMap<u64, ConnId> {
        let things = self.by_thing.iter();
        let queues = things.filter(|(thing, _)| matches!(thing, Touch::Key(of, _) if *of == keyspace));
        queues.flat_map(|(_, queue)| queue.iter().map(|(turn, conn)| (*turn, *conn))).collect()
    }

    /// The first that waits for `thing` and was parked after turn `after`.
    pub(super) fn next_waiting(&self, thing: &Touch, after: u64) -> Option<(u64, ConnId)> {
        let queue = self.by_thing.get(thing)?;
        queue.range((Bound::Excluded(after), Bound::Unbounded)).next().map(|(turn, conn)| (*turn, *conn))
    }
}
