//! What must hold of the rows of each record beside those before it.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::facts::Facts;
use super::job_words::PAIR;
use crate::jobs::events::{Event, Subject};
use crate::storage::sim::Tally;
use crate::storage::sim::ledger::{State, Stop};
use crate::storage::{Batch, Table, WriteSet};

/// Jobs that schedules have submitted, each with its record.
#[derive(Default)]
pub(super) struct Written {
    fired: BTreeMap<String, u64>,
}

impl Written {
    /// Forgets what came after record `found`.
    pub(super) fn lost_after(&mut self, found: u64) {
        self.fired.retain(|_, record| *record <= found);
    }

    /// The clock was set back, with the operator's word for it: ticks may come again.
    pub(super) fn forget_times(&mut self) {
        self.fired.clear();
    }

    /// Checks a record; `before` is what the last one left, `after` shows what it leaves.
    pub(super) fn check(
        &mut self,
        rows: &WriteSet,
        before: &State,
        after: &Batch<'_>,
        record: u64,
        facts: &Facts,
        tally: &mut Tally,
    ) -> Result<(), Stop> {
        let (mut jobs, mut keys) = (BTreeSet::new(), BTreeSet::new());
        for (table, changes) in rows.iter() {
            for (key, new) in changes.iter() {
                let old = before.get(&(table, key.clone()));
                if old.is_none() && matches!(table, Table::Jobs | Table::Keys) {
                    // A row that was not there and is removed was made by the transaction, and removed by somebody after it.
                    if table == Table::Jobs { &mut jobs } else { &mut keys }.extend(pair(key));
                }
                let Some(new) = new else { continue };
                match table {
                    Table::Webhooks => {
                        if let Some(old) = old {
                            let id = String::from_utf8_lossy(key);
                            facts.deliveries.check_place(&id, old, new, after)?;
                        }
                    }
                    Table::Events => self.fire(new, record, tally)?,
                    _ => {}
                }
            }
        }
        tally.count_many("keys and jobs of one transaction", jobs.len() as u64);
        if jobs.symmetric_difference(&keys).all(|name| facts.refused_pairs.contains(name)) {
            return Ok(());
        }
        let text = format!("a transaction makes a key and a job; record {record} has jobs {jobs:?} and keys {keys:?}");
        Err(Stop::Broken(text))
    }

    /// A job that came up: each tick of a schedule submits one.
    fn fire(&mut self, row: &Bytes, record: u64, tally: &mut Tally) -> Result<(), Stop> {
        let event = Event::decode(row)?;
        let Subject::Job { id, .. } = &event.subject else { return Ok(()) };
        if event.from.is_some() || !(id.starts_with("s_") || id.starts_with("t_")) {
            return Ok(());
        }
        tally.count("ticks of schedules");
        match self.fired.insert(id.to_string(), record) {
            None => Ok(()),
            Some(before) => {
                Err(Stop::Broken(format!("the tick of {id} came in record {before}, and again in {record}")))
            }
        }
    }
}

/// The name that a job and a key share, if this is the key of such a row.
fn pair(key: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(key);
    let at = text.rfind(PAIR)?;
    let number = &text[at + PAIR.len()..];
    (!number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())).then(|| text[at..].to_owned())
}
