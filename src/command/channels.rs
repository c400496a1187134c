//! Who is subscribed to what, and who gets a message.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use agq_resp::Reply;
use bytes::Bytes;

use crate::command::{Message, Messages};
use crate::data::glob;

/// What can be subscribed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Topic {
    /// A channel.
    Channel,
    /// Every channel whose name matches a pattern.
    Pattern,
    /// A shard channel, which knows its own messages only.
    Shard,
}

/// All subscriptions.
#[derive(Debug, Default)]
pub struct Channels {
    by_name: BTreeMap<(Topic, Bytes), BTreeSet<u64>>,
    by_conn: HashMap<u64, Subscriptions>,
}

/// What one connection is subscribed to.
#[derive(Debug, Default)]
struct Subscriptions {
    names: BTreeSet<(Topic, Bytes)>,
    /// How many channels, patterns and shard channels: counted as they come and go, since a connection may have a
    /// million, and is told their number with each.
    counts: [usize; 3],
    /// Bytes of the names.
    bytes: usize,
}

/// What a subscription takes beside its name, about.
const SUBSCRIPTION_BYTES: usize = 360;

impl Channels {
    /// Subscribes a connection; false when it was already.
    pub fn subscribe(&mut self, conn: u64, topic: Topic, name: Bytes) -> bool {
        let key = (topic, name);
        let of_conn = self.by_conn.entry(conn).or_default();
        if of_conn.names.insert(key.clone()) {
            of_conn.counts[topic as usize] += 1;
            of_conn.bytes += key.1.len() + SUBSCRIPTION_BYTES;
        }
        self.by_name.entry(key).or_default().insert(conn)
    }

    /// Ends a subscription; false when there was none.
    pub fn unsubscribe(&mut self, conn: u64, topic: Topic, name: Bytes) -> bool {
        let key = (topic, name);
        let Some(conns) = self.by_name.get_mut(&key) else { return false };
        let was = conns.remove(&conn);
        if conns.is_empty() {
            self.by_name.remove(&key);
        }
        if let Some(of_conn) = self.by_conn.get_mut(&conn) {
            if of_conn.names.remove(&key) {
                of_conn.counts[topic as usize] -= 1;
                of_conn.bytes -= key.1.len() + SUBSCRIPTION_BYTES;
            }
            if of_conn.names.is_empty() {
                self.by_conn.remove(&conn);
            }
        }
        was
    }

    /// Ends all subscriptions of a connection.
    pub fn leave(&mut self, conn: u64) {
        let names = self.by_conn.get(&conn).map(|of_conn| of_conn.names.clone()).unwrap_or_default();
        for (topic, name) in names {
            self.unsubscribe(conn, topic, name);
        }
    }

    /// What a connection is subscribed to.
    #[must_use]
    pub fn of(&self, conn: u64, topic: Topic) -> Vec<Bytes> {
        let names = self.by_conn.get(&conn).into_iter().flat_map(|of_conn| &of_conn.names);
        names.filter(|(of, _)| *of == topic).map(|(_, name)| name.clone()).collect()
    }

    /// How many channels, patterns and shard channels have subscribers.
    #[must_use]
    pub fn totals(&self) -> [usize; 3] {
        let count = |topic| self.by_name.keys().filter(|(of, _)| *of == topic).count();
        [Topic::Channel, Topic::Pattern, Topic::Shard].map(count)
    }

    /// How many subscriptions a connection has: shard channels, or channels and patterns together, as Redis counts.
    #[must_use]
    pub fn count(&self, conn: u64, topic: Topic) -> usize {
        let [channels, patterns, shards] = self.counts(conn);
        if topic == Topic::Shard { shards } else { channels + patterns }
    }

    /// How many channels, patterns and shard channels a connection is subscribed to.
    #[must_use]
    pub fn counts(&self, conn: u64) -> [usize; 3] {
        self.by_conn.get(&conn).map_or([0; 3], |of_conn| of_conn.counts)
    }

    /// Bytes of memory that the subscriptions of a connection take, about.
    #[must_use]
    pub fn bytes(&self, conn: u64) -> usize {
        if self.by_conn.is_empty() { 0 } else { self.by_conn.get(&conn).map_or(0, |of_conn| of_conn.bytes) }
    }

    /// True when a connection is subscribed to anything.
    #[must_use]
    pub fn has(&self, conn: u64) -> bool {
        self.by_conn.contains_key(&conn)
    }

    /// True when nobody is subscribed to anything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_conn.is_empty()
    }

    /// The names of a topic that somebody is subscribed to.
    pub fn names(&self, topic: Topic) -> impl Iterator<Item = &Bytes> {
        self.by_name.keys().filter(move |(of, _)| *of == topic).map(|(_, name)| name)
    }

    /// How many are subscribed to a name.
    #[must_use]
    pub fn subscribers(&self, topic: Topic, name: &[u8]) -> usize {
        self.by_name.get(&(topic, Bytes::copy_from_slice(name))).map_or(0, BTreeSet::len)
    }

    /// Adds a message for everybody who is subscribed to a channel; answers how many there are.
    pub fn publish(&self, topic: Topic, channel: &Bytes, text: &Bytes, out: &mut Messages) -> usize {
        let mut subscribers = 0;
        if self.by_name.is_empty() {
            return 0;
        }
        let [channel, text] = [channel, text].map(|part| Reply::Bulk(part.clone()));
        let word = if topic == Topic::Shard { "smessage" } else { "message" };
        let name = channel.as_bytes().cloned().unwrap_or_default();
        if let Some(conns) = self.by_name.get(&(topic, name.clone())) {
            let push = Reply::Push(vec![Reply::bulk(word), channel.clone(), text.clone()]);
            subscribers += conns.len();
            out.extend(conns.iter().map(|to| Message { to: *to, push: push.clone() }));
        }
        if topic == Topic::Channel {
            for ((_, pattern), conns) in self.patterns().filter(|((_, pattern), _)| glob::matches(pattern, &name)) {
                let parts = vec![Reply::bulk("pmessage"), Reply::Bulk(pattern.clone()), channel.clone(), text.clone()];
                let push = Reply::Push(parts);
                subscribers += conns.len();
                out.extend(conns.iter().map(|to| Message { to: *to, push: push.clone() }));
            }
        }
        subscribers
    }

    fn patterns(&self) -> impl Iterator<Item = (&(Topic, Bytes), &BTreeSet<u64>)> {
        let from = (Topic::Pattern, Bytes::new());
        self.by_name.range(from..).take_while(|((topic, _), _)| *topic == Topic::Pattern)
    }
}
