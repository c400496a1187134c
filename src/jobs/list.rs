//! Lists of jobs: by status, queue, plan, kind, key, label, action and time, through the narrowest index that there is for
//! what is asked; with a cursor, in bounded slices.

use std::ops::{Bound, ControlFlow};

use bytes::Bytes;

use crate::clock::Millis;
use crate::data::keys::meta_number;
use crate::jobs::codec::{Reader, Writer};
use crate::jobs::error::{Error, Result, shown};
use crate::jobs::job::{Job, Status, Work};
use crate::jobs::rows::{
    NUMBERS, Timer, action_prefix, alike_prefix, id_of, number_key, pending_prefix, split_pending_value,
};
use crate::jobs::{Id, JobsView, plan_store};
use crate::storage::{self, Table, tables};

/// The longest cursor: of the row of a pending job.
pub const LONGEST_CURSOR: usize = 576;
/// Jobs that one call looks at; what is left is found from the cursor on.
const LOOKED_AT: usize = 10_000;
/// How many rows of an index are copied at once, at least.
const CHUNK: usize = 100;

/// Which jobs are wanted; every condition that is given must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
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
    /// Jobs that were submitted at this moment or later.
    pub since: Option<Millis>,
    /// Jobs that were submitted before this moment.
    pub until: Option<Millis>,
}

/// An index that holds every wanted job.
struct Index {
    /// Names the index in a cursor.
    tag: u8,
    table: Table,
    prefix: Vec<u8>,
    reverse: bool,
}

impl Index {
    /// True when its rows end with the jobs' numbers, which rise with time.
    fn is_by_number(&self) -> bool {
        matches!(self.tag, b'n' | b'q' | b'p' | b'c' | b'y' | b'l')
    }
}

impl Filter {
    pub(super) fn write(&self, out: &mut Writer) {
        let ids = [&self.action, &self.queue, &self.plan].map(|id| id.as_ref().map(|id| &**id));
        let words = [&self.kind, &self.key, &self.label].map(|word| word.as_deref());
        for text in ids.into_iter().chain(words) {
            out.strings(text.as_slice());
        }
        out.byte(self.status.map_or(u8::MAX, |status| status as u8));
        for at in [self.since, self.until] {
            out.byte(u8::from(at.is_some()));
            out.number(at.unwrap_or(Millis(0)).0);
        }
    }

    pub(super) fn read(from: &mut Reader<'_>) -> storage::Result<Filter> {
        let mut text = || match from.strings()? {
            words if words.len() > 1 => Err(from.corrupt("a filter has two words where one may stand")),
            mut words => Ok::<_, storage::Error>(words.pop()),
        };
        let id = |word: Option<String>| word.map(|word| Id::stored(Table::JobIndex, word.as_bytes())).transpose();
        let (action, queue, plan) = (id(text()?)?, id(text()?)?, id(text()?)?);
        let (kind, key, label) = (text()?, text()?, text()?);
        let status = match from.byte()? {
            u8::MAX => None,
            number => Some(*Status::ALL.get(usize::from(number)).ok_or_else(|| from.corrupt("an unknown status"))?),
        };
        let mut at = || match (from.byte()?, from.number()?) {
            (0, 0) => Ok(None),
            (1, at) => Ok(Some(Millis(at))),
            _ => Err(from.corrupt("a moment that is neither there nor absent")),
        };
        Ok(Filter { action, status, queue, plan, kind, key, label, since: at()?, until: at()? })
    }
}

/// Tells of which queues a reader is shown jobs; `None`: of all.
pub type Shows<'a> = Option<&'a dyn Fn(&Id) -> bool>;

/// Some jobs of a list.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// The jobs.
    pub jobs: Vec<Job>,
    /// Where to go on; `None` at the end.
    pub next: Option<String>,
    /// That may be the place of a job which the reader is not shown: it tells of the job's queue and key.
    pub next_is_hidden: bool,
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
            && self.since.is_none_or(|since| job.created_at >= since)
            && self.until.is_none_or(|until| job.created_at < until)
    }

    /// Every index that holds all wanted jobs: those first that are narrow whatever they hold, of the others the more
    /// telling ones last.
    fn indexes(&self) -> Vec<Index> {
        let alike =
            |tag, word: &str| Index { tag, table: Table::JobIndex, prefix: alike_prefix(tag, word), reverse: true };
        let mut indexes = Vec::new();
        indexes.extend(self.action.as_ref().map(|action| Index {
            tag: b'a',
            table: Table::JobIndex,
            prefix: action_prefix(action),
            reverse: false,
        }));
        indexes.extend(self.key.as_ref().map(|key| alike(b'y', key)));
        indexes.extend(self.label.as_ref().map(|label| alike(b'l', label)));
        indexes.push(Index { tag: b'n', table: Table::JobIndex, prefix: b"n".to_vec(), reverse: true });
        indexes.extend(self.plan.as_ref().map(|plan| alike(b'p', plan)));
        indexes.extend(self.kind.as_ref().map(|kind| alike(b'c', kind)));
        indexes.extend(self.queue.as_ref().map(|queue| alike(b'q', queue)));
        indexes.extend(self.status.map(|status| self.of_status(status)));
        indexes
    }

    fn of_status(&self, status: Status) -> Index {
        let timers = |tag, kind: Timer, reverse| Index { tag, table: Table::Timers, prefix: vec![kind as u8], reverse };
        match status {
            Status::Waiting => Index { tag: b'w', table: Table::JobIndex, prefix: b"h".to_vec(), reverse: false },
            Status::Scheduled => timers(b's', Timer::Due, false),
            Status::Pending => {
                let prefix = self.queue.as_ref().map(pending_prefix).unwrap_or_default();
                Index { tag: b'e', table: Table::Pending, prefix, reverse: false }
            }
            Status::Running => timers(b'r', Timer::Lease, false),
            Status::Completed => timers(b'd', Timer::RemoveCompleted, true),
            Status::Failed => timers(b'f', Timer::RemoveFailed, true),
            Status::Cancelled => timers(b'x', Timer::RemoveCancelled, true),
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

/// What pairs of hexadecimal digits say; `None` where something else is among them.
#[must_use]
pub fn from_hex(digits: &[u8]) -> Option<Vec<u8>> {
    let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (pairs, []) = digits.as_chunks::<2>() else { return None };
    pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect()
}

impl JobsView<'_> {
    /// The index that a listing goes through for a reader who is not shown everything. It does not depend on counts, which
    /// would tell, by the order of the list, how many hidden jobs there are.
    fn most_telling(filter: &Filter) -> Result<Index> {
        let rank = |index: &Index| match index.tag {
            b'a' | b'y' | b'l' => 0,
            b'e' if filter.queue.is_some() => 1,
            b'q' => 2,
            b'p' => 3,
            b'c' | b'n' => 5,
            _ => 4,
        };
        // Of several the last one.
        filter.indexes().into_iter().rev().min_by_key(rank).ok_or_else(|| Error::refused("no index"))
    }

    /// The index that a listing goes through: the one with the fewest jobs, as far as that is counted.
    fn narrowest(&self, filter: &Filter) -> Result<Index> {
        let totals = self.totals()?;
        let queue = filter.queue.as_ref().map(|queue| self.queue(queue.as_bytes())).transpose()?.flatten();
        let queue = queue.unwrap_or_default();
        let mut best: Option<(u64, Index)> = None;
        for index in filter.indexes() {
            let size = match (index.tag, filter.status) {
                // Those with a key or a label are not counted, and seldom many.
                (b'a' | b'y' | b'l', _) => return Ok(index),
                (b'p', _) => filter
                    .plan
                    .as_ref()
                    .map_or(Ok(0), |plan| plan_store::usage(self.rows, plan).map(|usage| usage.jobs))?,
                (b'c' | b'n', _) => totals.total(),
                (b'q', _) => queue.counts.total(),
                (b'e', Some(status)) if filter.queue.is_some() => queue.counts.of(status),
                (_, status) => status.map_or(u64::MAX, |status| totals.of(status)),
            };
            if best.as_ref().is_none_or(|(least, _)| size <= *least) {
                best = Some((size, index));
            }
        }
        best.map(|(_, index)| index).ok_or_else(|| Error::refused("no index"))
    }

    /// The number of the first job that was submitted at a moment or later.
    fn number_at(&self, at: Millis) -> Result<u64> {
        let (mut low, mut high) = (0, meta_number(self.rows, NUMBERS)? + 1);
        while low < high {
            let middle = low + (high - low) / 2;
            let from = number_key(middle);
            let end = tables::prefix_end(b"n");
            let end = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
            match self.rows.first(Table::JobIndex, Bound::Included(&from), end, false)? {
                Some((_, id)) if self.indexed_job(&id)?.created_at < at => low = middle + 1,
                _ => high = middle,
            }
        }
        Ok(low)
    }

    /// Jobs that a filter admits, from a cursor on (`0`: from the beginning), up to `limit`. A page may be short, or
    /// empty, and yet have a next one: a call looks at a bounded number of jobs.
    ///
    /// Jobs that the reader is not shown are as if they were not there, but that they are looked at.
    ///
    /// # Errors
    /// When the cursor is not one that a page of the same filter gave.
    pub fn list(&self, filter: &Filter, cursor: &[u8], limit: usize, shows: Shows<'_>) -> Result<Page> {
        self.list_within(filter, cursor, (limit, LOOKED_AT), shows)
    }

    /// The same, looking at so many jobs at most.
    pub(super) fn list_within(
        &self,
        filter: &Filter,
        cursor: &[u8],
        (limit, most): (usize, usize),
        shows: Shows<'_>,
    ) -> Result<Page> {
        let (index, mut last) = self.begin(filter, cursor, shows.is_none())?;
        let mut page = Page::default();
        let is_shown = |queue: &Id| shows.is_none_or(|shows| shows(queue));
        if !filter.queue.as_ref().is_none_or(is_shown) {
            return Ok(page);
        }
        let mut looked_at = 0;
        let cursor = |key: &[u8]| format!("{}{}", index.tag as char, hex(key));
        while looked_at < most {
            let wanted = limit.max(CHUNK).min(most - looked_at);
            let rows =
                self.index_rows_after(index.table, &index.prefix, index.reverse, last.as_deref(), (0, wanted))?;
            let ended = rows.len() < wanted;
            looked_at += rows.len();
            for (key, value) in rows {
                let job = self.indexed_job(&indexed_id(index.table, &value)?)?;
                if index.is_by_number() && filter.since.is_some_and(|since| job.created_at < since) {
                    return Ok(page);
                }
                if filter.admits(&job) && is_shown(&job.queue) {
                    page.jobs.push(job);
                }
                if page.jobs.len() >= limit {
                    page.next = Some(cursor(&key));
                    return Ok(page);
                }
                last = Some(key.to_vec());
            }
            if ended {
                return Ok(page);
            }
        }
        page.next = last.map(|last| cursor(&last));
        page.next_is_hidden = shows.is_some();
        Ok(page)
    }

    /// The index of a listing, and the row behind which it goes on.
    fn begin(&self, filter: &Filter, cursor: &[u8], counts: bool) -> Result<(Index, Option<Vec<u8>>)> {
        let foreign =
            || Error::refused(format!("CURSOR must be 0 or what the page before answered, not '{}'", shown(cursor)));
        match cursor {
            b"0" | b"" => {
                let index = if counts { self.narrowest(filter)? } else { Self::most_telling(filter)? };
                let until = filter.until.filter(|_| index.is_by_number());
                let after = until.map(|until| Ok::<_, Error>(self.number_at(until)?.to_be_bytes())).transpose()?;
                let after = after.map(|number| [&index.prefix[..], &number].concat());
                Ok((index, after))
            }
            [tag, key @ ..] => {
                let index = filter.indexes().into_iter().find(|index| index.tag == *tag).ok_or_else(foreign)?;
                let key = from_hex(key).filter(|key| key.starts_with(&index.prefix)).ok_or_else(foreign)?;
                Ok((index, Some(key)))
            }
        }
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
