//! What connections watch between WATCH and EXEC.
//!
//! A change of a key is noted when it happens ([`Watches::note`]). What no change announces is found at EXEC: a key that
//! expired without being touched, a database that got other content, and domain names, whose stamps are compared.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;

use crate::command::{Context, Halt, views};
use crate::data::{Keyspace, Touch, View};

/// A name that a connection watches.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Watched {
    database: u8,
    keyspace: Keyspace,
    name: Bytes,
    /// The key was there.
    existed: bool,
    /// For what a domain name shows: its stamp.
    stamp: Option<u64>,
}

/// What a name that is watched takes beside its bytes, about.
const WATCHED_BYTES: usize = 380;

/// What one connection watches.
#[derive(Debug, Default)]
struct List {
    names: Vec<Watched>,
    /// Bytes of the names.
    bytes: usize,
}

/// What every connection watches.
#[derive(Debug, Default)]
pub struct Watches {
    by_conn: HashMap<u64, List>,
    by_key: HashMap<Touch, HashSet<u64>>,
    /// Connections whose keys were changed.
    changed: HashSet<u64>,
}

impl Watches {
    /// True when nobody watches anything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_conn.is_empty()
    }

    /// How many names a connection watches.
    #[must_use]
    pub fn count(&self, conn: u64) -> usize {
        self.by_conn.get(&conn).map_or(0, |list| list.names.len())
    }

    /// Bytes of memory that what a connection watches takes, about.
    #[must_use]
    pub fn bytes(&self, conn: u64) -> usize {
        self.by_conn.get(&conn).map_or(0, |list| list.bytes)
    }

    /// Lets a connection watch a name of its database as it is now.
    ///
    /// # Errors
    /// When the store fails.
    pub fn add(&mut self, conn: u64, database: u8, view: &View<'_>, name: Bytes) -> Result<(), Halt> {
        let keyspace = view.keyspace;
        // Asked by key, not of the list of the connection, which may be a million long.
        let conns = self.by_key.entry(Touch::Key(keyspace, name.clone())).or_default();
        if conns.contains(&conn) {
            return Ok(());
        }
        let (existed, stamp) = state(view, database, &name)?;
        conns.insert(conn);
        let list = self.by_conn.entry(conn).or_default();
        list.bytes += name.len() + WATCHED_BYTES;
        list.names.push(Watched { database, keyspace, name, existed, stamp });
        Ok(())
    }

    /// Notes a change.
    pub fn note(&mut self, touch: &Touch) {
        if let Some(conns) = self.by_key.get(touch) {
            self.changed.extend(conns);
        }
    }

    /// True when something that a connection watches was changed, as far as that was announced.
    #[must_use]
    pub fn is_overtaken(&self, conn: u64) -> bool {
        self.changed.contains(&conn)
    }

    /// What a connection watches, if anything, counts as changed.
    pub fn count_as_changed(&mut self, conn: u64) {
        if self.by_conn.contains_key(&conn) {
            self.changed.insert(conn);
        }
    }

    /// A connection watches nothing any more. Returns what it watched.
    fn take(&mut self, conn: u64) -> (Vec<Watched>, bool) {
        let watched = self.by_conn.remove(&conn).unwrap_or_default().names;
        for Watched { keyspace, name, .. } in &watched {
            let key = Touch::Key(*keyspace, name.clone());
            if let Some(conns) = self.by_key.get_mut(&key) {
                conns.remove(&conn);
                if conns.is_empty() {
                    self.by_key.remove(&key);
                }
            }
        }
        (watched, self.changed.remove(&conn))
    }

    /// A connection watches nothing any more.
    pub fn clear(&mut self, conn: u64) {
        self.take(conn);
    }
}

/// Ends a connection's watching; true when something it watched has changed.
///
/// # Errors
/// When the store fails.
pub(super) fn end(ctx: &mut Context<'_, '_>) -> Result<bool, Halt> {
    let (watched, noted) = ctx.server.watches.take(ctx.session.id);
    if noted {
        return Ok(true);
    }
    for Watched { database, keyspace, name, existed, stamp } in watched {
        let now = ctx.server.keyspaces[usize::from(database)];
        let view = View { rows: ctx.batch, keyspace: now, now: ctx.now };
        // Where the database got other content, a key that is in neither has not changed.
        let (exists, new_stamp) = state(&view, database, &name)?;
        if exists != existed || new_stamp != stamp || (now != keyspace && exists) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn state(view: &View<'_>, database: u8, name: &[u8]) -> Result<(bool, Option<u64>), Halt> {
    let stamp = if database == 0 { views::stamp(view, name)? } else { None };
    Ok((view.record(name)?.is_some(), stamp))
}
