//! What a store has promised: the rows of every record, and up to which record they must be found.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};

use bytes::Bytes;

use super::{Check, Crash};
use crate::storage::{Db, Error, Rows, Table, WriteSet};

/// Every row that there is.
pub(crate) type State = BTreeMap<(Table, Bytes), Bytes>;

/// The row that the store keeps for itself.
const OWN_ROW: (Table, &[u8]) = (Table::Meta, b"meta");

/// The promise, and the state that follows from it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ledger {
    /// The write set of every record, in order.
    pub(crate) history: Vec<WriteSet>,
    /// The last record that must be found, even after a power cut.
    pub(crate) floor: u64,
    /// The last record that must be found as long as no power cut comes before the next opening.
    pub(crate) written: u64,
    /// The state as the running store should show it.
    pub(crate) state: State,
}

impl Ledger {
    /// A record is about to be written: whatever happens from here on, it may be found. Its number.
    pub(crate) fn write(&mut self, rows: &WriteSet) -> u64 {
        self.history.push(rows.clone());
        self.history.len() as u64
    }

    /// The last record was refused, and must not be found.
    pub(crate) fn take_back(&mut self) {
        self.history.pop();
    }

    /// Everything up to this record is on the disk.
    pub(crate) fn promise(&mut self, seq: u64) {
        self.floor = self.floor.max(seq);
    }

    /// The store shows this from now on.
    pub(crate) fn apply(&mut self, rows: &WriteSet) {
        apply(&mut self.state, rows);
    }

    /// The process ended after its store had written records up to `appended`.
    pub(crate) fn crashed(&mut self, crash: Crash, appended: u64) {
        self.written = match crash {
            Crash::PowerCut => self.floor,
            Crash::Kill => appended,
        };
    }

    /// Checks that an opened store shows a state that was, no older than record `floor`; what was not found never was.
    /// Returns the last record found.
    pub(crate) fn found(&mut self, db: &Db, floor: u64) -> Check<u64> {
        let stats = db.stats();
        let seq = stats.seq;
        if stats.repaired {
            return Err("redb had to walk the whole file".to_owned());
        }
        if seq < floor || seq > self.history.len() as u64 {
            return Err(format!("found record {seq}, promised {floor}, written {}", self.history.len()));
        }
        self.history.truncate(usize::try_from(seq).map_err(|e| e.to_string())?);
        self.state = State::new();
        for rows in &self.history {
            apply(&mut self.state, rows);
        }
        let batch = db.batch().map_err(|error| error.to_string())?;
        match same(&batch, &self.state, &format!("after record {seq}")) {
            // The power may have gone right behind the opening.
            Ok(()) | Err(Stop::Failed(_)) => {}
            Err(Stop::Broken(broken)) => return Err(broken),
        }
        // It is in the file now, and the file was synced.
        (self.floor, self.written) = (seq, seq);
        Ok(seq)
    }
}

/// Why a run stops.
#[derive(Debug)]
pub(crate) enum Stop {
    /// A promise was broken.
    Broken(String),
    /// The store said so.
    Failed(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Stop {
        Stop::Failed(error)
    }
}

fn apply(state: &mut State, rows: &WriteSet) {
    for (table, changes) in rows.iter() {
        for (key, value) in changes {
            match value {
                Some(value) => state.insert((table, key.clone()), value.clone()),
                None => state.remove(&(table, key.clone())),
            };
        }
    }
}

/// Checks that `rows` shows `state` and nothing else.
pub(crate) fn same(rows: &impl Rows, state: &State, what: &str) -> Result<(), Stop> {
    let mut expected = state.iter().peekable();
    let mut wrong = None;
    for table in Table::ALL {
        rows.scan(table, Bound::Unbounded, Bound::Unbounded, false, &mut |key, value| {
            if (table, key) == OWN_ROW {
                return ControlFlow::Continue(());
            }
            let next = expected.next();
            if next.is_some_and(|((wanted, name), row)| (*wanted, &name[..], &row[..]) == (table, key, value)) {
                return ControlFlow::Continue(());
            }
            let wanted = next.map(|((table, key), row)| format!("{table} {}, {} bytes", key.escape_ascii(), row.len()));
            wrong = Some((wanted, format!("{table} {}, {} bytes", key.escape_ascii(), value.len())));
            ControlFlow::Break(())
        })?;
        if let Some((wanted, found)) = wrong {
            let wanted = wanted.unwrap_or_else(|| "nothing more".to_owned());
            return Err(Stop::Broken(format!("{what}: found {found}; expected {wanted}")));
        }
    }
    match expected.next() {
        None => Ok(()),
        Some(((table, key), _)) => {
            Err(Stop::Broken(format!("{what}: {table} {} is missing, and what follows it", key.escape_ascii())))
        }
    }
}
