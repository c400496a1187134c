//! Lists of jobs: newest first, by status, by action; with a cursor, in bounded slices.

use std::ops::{Bound, ControlFlow};

use bytes::Bytes;

use crate::jobs::error::{Error, Result, shown};
use crate::jobs::job::{Job, Status, Work};
use crate::jobs::rows::{Timer, action_prefix, id_of, pending_prefix, split_pending_value};
use crate::jobs::{Id, JobsView};
use crate::storage::{self, Table, tables};

/// Jobs that one call looks at; what is left is found from the cursor on.
const LOOKED_AT: usize = 10_000;
/// How many rows of an index are copied at once, at least.
const CHUNK: usize = 100;

/// Which jobs are wanted; every condition that is given must hold.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Jobs of this action.
    pub action: Option<Id>,
    /// Jobs with this status.
    pub status: Option<Status>,
    /// Jobs of this queue.
    pub queue: Option<Id>,
    /// Jobs of this plan.
    pub plan: Option<Id>,
    /// Jobs of this kind.
    pub kind: Option<String>,
    /// Jobs of this key.
    pub key: Option<String>,
    /// Jobs with this label.
    pub label: Option<String>,
}

/// Some jobs of a list.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// The jobs.
    pub jobs: Vec<Job>,
    /// Where to go on; `None` at the end.
    pub next: Option<String>,
}

impl Filter {
    fn admits(&self, job: &Job) -> bool {
        let action = self.action.as_ref().is_none_or(|wanted| job.action.as_ref().is_some_and(|(id, _)| id == wanted));
        let kind = match (&self.kind, &job.work) {
            (None, _) => true,
            (Some(wanted), Work::Kind(kind)) => wanted == kind,
            (Some(_), Work::Plan(_)) => false,
        };
        action
            && kind
            && self.status.is_none_or(|wanted| job.status == wanted)
            && self.queue.as_ref().is_none_or(|wanted| job.queue == *wanted)
            && self.plan.as_ref().is_none_or(|wanted| job.plan() == Some(wanted))
            && self.key.as_ref().is_none_or(|wanted| job.key.as_ref() == Some(wanted))
            && self.label.as_ref().is_none_or(|wanted| job.labels.contains(wanted))
    }

    /// The narrowest index that holds every wanted job: its table, prefix, and whether it is read backwards.
    fn index(&self) -> (Table, Vec<u8>, bool) {
        let timers = |kind: Timer, reverse| (Table::Timers, vec![kind as u8], reverse);
        match (&self.action, self.status) {
            (Some(action), _) => (Table::JobIndex, action_prefix(action), false),
            (None, Some(Status::Waiting)) => (Table::JobIndex, b"h".to_vec(), false),
            (None, Some(Status::Scheduled)) => timers(Timer::Due, false),
            (None, Some(Status::Pending)) => {
                (Table::Pending, self.queue.as_ref().map(pending_prefix).unwrap_or_default(), false)
            }
            (None, Some(Status::Running)) => timers(Timer::Lease, false),
            (None, Some(Status::Completed)) => timers(Timer::RemoveCompleted, true),
            (None, Some(Status::Failed)) => timers(Timer::RemoveFailed, true),
            (None, Some(Status::Cancelled)) => timers(Timer::RemoveCancelled, true),
            (None, None) => (Table::JobIndex, b"n".to_vec(), true),
        }
    }
}

/// The id in a row of an index.
fn indexed_id(table: Table, value: &[u8]) -> storage::Result<Bytes> {
    match table {
        Table::Pending => Ok(Bytes::copy_from_slice(split_pending_value(value)?.1.as_bytes())),
        _ => Ok(Bytes::copy_from_slice(id_of(table, value)?.as_bytes())),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &[u8]) -> Option<Vec<u8>> {
    let digits = std::str::from_utf8(text).ok().filter(|text| text.is_ascii() && text.len() % 2 == 0)?;
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).ok()).collect()
}

impl JobsView<'_> {
    /// Jobs that a filter admits, from a cursor on (`0`: from the beginning), up to `limit`. A page may be short, or
    /// empty, and yet have a next one: a call looks at a bounded number of jobs.
    ///
    /// # Errors
    /// When the cursor is not one that a page gave.
    pub fn list(&self, filter: &Filter, cursor: &[u8], limit: usize) -> Result<Page> {
        let (table, prefix, reverse) = filter.index();
        let after = match cursor {
            b"0" | b"" => None,
            text => Some(from_hex(text).filter(|key| key.starts_with(&prefix)).ok_or_else(|| {
                Error::refused(format!("CURSOR must be 0 or what the page before answered, not '{}'", shown(text)))
            })?),
        };
        let mut page = Page::default();
        let (mut last, mut looked_at) = (after, 0);
        while looked_at < LOOKED_AT {
            let wanted = limit.max(CHUNK).min(LOOKED_AT - looked_at);
            let rows = self.index_rows_after(table, &prefix, reverse, last.as_deref(), (0, wanted))?;
            let ended = rows.len() < wanted;
            looked_at += rows.len();
            for (key, value) in rows {
                let job = self.indexed_job(&indexed_id(table, &value)?)?;
                if filter.admits(&job) {
                    page.jobs.push(job);
                }
                if page.jobs.len() >= limit {
                    page.next = Some(hex(&key));
                    return Ok(page);
                }
                last = Some(key.to_vec());
            }
            if ended {
                return Ok(page);
            }
        }
        page.next = last.map(|last| hex(&last));
        Ok(page)
    }

    fn index_rows_after(
        &self,
        table: Table,
        prefix: &[u8],
        reverse: bool,
        after: Option<&[u8]>,
        (offset, limit): (usize, usize),
    ) -> Result<Vec<(Bytes, Bytes)>> {
        let end = tables::prefix_end(prefix);
        let end = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let (from, to) = match (after, reverse) {
            (None, _) => (Bound::Included(prefix), end),
            (Some(after), false) => (Bound::Excluded(after), end),
            (Some(after), true) => (Bound::Included(prefix), Bound::Excluded(after)),
        };
        let (mut passed, mut found) = (0, Vec::new());
        if limit == 0 {
            return Ok(found);
        }
        self.rows.scan(table, from, to, reverse, &mut |key, value| {
            if passed < offset {
                passed += 1;
                return ControlFlow::Continue(());
            }
            found.push((Bytes::copy_from_slice(key), Bytes::copy_from_slice(value)));
            if found.len() >= limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        Ok(found)
    }

    /// All jobs, newest first, without the first `offset`.
    ///
    /// # Errors
    /// When the store fails.
    pub fn newest(&self, offset: usize, limit: usize) -> Result<Vec<Job>> {
        let rows = self.index_rows_after(Table::JobIndex, b"n", true, None, (offset, limit))?;
        rows.iter().map(|(_, id)| self.indexed_job(id)).collect()
    }
}
