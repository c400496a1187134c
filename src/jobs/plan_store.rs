//! Plans in the store, and how many jobs use each.
//!
//! Table `plans`: id → `[version u8][flags u8][created_at_ms u64][task_count u16][description u16 length + 1, 0 for
//! none][description][canonical JSON]`; and `00`, id → `[version u8][open jobs u64][jobs u64][schedules u64]`, a row of
//! its own since every submit and ending touches it. Ids hold no zero byte, so the two never meet.

use std::ops::{Bound, ControlFlow};

use bytes::{Buf, BufMut, Bytes};

use crate::clock::Millis;
use crate::jobs::error::{Error, Result, shown};
use crate::jobs::plan::{self, Plan};
use crate::storage::{self, Batch, Rows, Table};

const VERSION: u8 = 1;
const USAGE_VERSION: u8 = 2;
const USAGE_BYTES: usize = 25;
const INLINE: u8 = 1;
/// Version, flags, time, tasks, length of the description.
const HEADER_BYTES: usize = 14;
/// What comes before the id in the key of a usage row.
pub(super) const USAGE: u8 = 0;

/// A plan as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// It came with a job, an action or a schedule, and goes with the last of them.
    pub inline: bool,
    /// When it was first submitted.
    pub created_at: Millis,
    /// How many tasks it has.
    pub task_count: u16,
    /// What it is for, in its author's words.
    pub description: Option<String>,
    /// Its canonical JSON, without the id.
    pub canonical: Bytes,
}

/// What uses a plan.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Jobs that are not terminal.
    pub open: u64,
    /// All jobs that are kept.
    pub jobs: u64,
    /// Schedules.
    pub schedules: u64,
}

impl Stored {
    pub(super) fn encode(&self) -> Vec<u8> {
        let description = self.description.as_deref().unwrap_or_default();
        let mut out = Vec::with_capacity(HEADER_BYTES + description.len() + self.canonical.len());
        out.put_slice(&[VERSION, if self.inline { INLINE } else { 0 }]);
        out.put_u64(self.created_at.0);
        out.put_u16(self.task_count);
        // A description has at most 1024 bytes.
        let length = self.description.as_ref().map_or(0, |text| u16::try_from(text.len() + 1).unwrap_or(u16::MAX));
        out.put_u16(length);
        out.put_slice(description.as_bytes());
        out.put_slice(&self.canonical);
        out
    }

    pub(super) fn decode(row: &Bytes) -> storage::Result<Stored> {
        let corrupt = || {
            let head = row[..row.len().min(HEADER_BYTES)].escape_ascii();
            storage::Error::corrupt(Table::Plans, format!("a plan of {} bytes begins with {head}", row.len()))
        };
        let mut rest = row.clone();
        if rest.len() < HEADER_BYTES || rest.get_u8() != VERSION {
            return Err(corrupt());
        }
        let flags = rest.get_u8();
        let created_at = Millis(rest.get_u64());
        let task_count = rest.get_u16();
        let length = usize::from(rest.get_u16());
        if flags & !INLINE != 0 || rest.len() <= length {
            return Err(corrupt());
        }
        let description = match length.checked_sub(1) {
            None => None,
            Some(length) => Some(String::from_utf8(rest.split_to(length).to_vec()).map_err(|_| corrupt())?),
        };
        Ok(Stored { inline: flags & INLINE != 0, created_at, task_count, description, canonical: rest })
    }

    /// The plan itself.
    ///
    /// # Errors
    /// When what is stored is no plan.
    pub fn plan(&self) -> Result<Plan> {
        Plan::parse(&self.canonical)
            .map_err(|error| storage::Error::corrupt(Table::Plans, format!("a stored plan is refused: {error}")).into())
    }

    /// Its JSON with its id, as GET and PLAN.GET show it.
    #[must_use]
    pub fn json(&self, id: &str) -> String {
        plan::with_id(id, &String::from_utf8_lossy(&self.canonical))
    }
}

fn usage_key(id: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + id.len());
    key.push(USAGE);
    key.extend_from_slice(id.as_bytes());
    key
}

/// A plan.
///
/// # Errors
/// When the store fails.
pub fn load(rows: &dyn Rows, id: &[u8]) -> storage::Result<Option<Stored>> {
    if id.first() == Some(&USAGE) {
        return Ok(None);
    }
    rows.get(Table::Plans, id)?.as_ref().map(Stored::decode).transpose()
}

/// True when there is such a plan.
///
/// # Errors
/// When the store fails.
pub fn exists(rows: &dyn Rows, id: &[u8]) -> storage::Result<bool> {
    Ok(id.first() != Some(&USAGE) && rows.get(Table::Plans, id)?.is_some())
}

/// A plan that must be there.
///
/// # Errors
/// `Plan not found` when it is not.
pub fn need(rows: &dyn Rows, id: &[u8]) -> Result<Stored> {
    load(rows, id)?.ok_or_else(|| Error::not_found("Plan", id))
}

/// Stores a plan, unless it is there already. Returns its id.
///
/// An `inline` plan goes with what used it last; one that is submitted by itself later stays.
///
/// # Errors
/// When its id has other content.
pub fn submit(batch: &mut Batch<'_>, plan: &Plan, inline: bool, now: Millis) -> Result<String> {
    let id = plan.id();
    let canonical = Bytes::from(plan.canonical());
    let stored = match load(batch, id.as_bytes())? {
        Some(found) if found.canonical != canonical => {
            return Err(Error::refused(format!(
                "Plan {id} exists with other content: choose another id, or PLAN.DELETE it first"
            )));
        }
        Some(found) if found.inline && !inline => Stored { inline: false, ..found },
        Some(_) => return Ok(id),
        None => Stored {
            inline,
            created_at: now,
            // A plan has at most 100 tasks.
            task_count: u16::try_from(plan.tasks.len()).unwrap_or(u16::MAX),
            description: plan.description.clone(),
            canonical,
        },
    };
    batch.put(Table::Plans, id.clone().into_bytes(), stored.encode())?;
    Ok(id)
}

/// What uses a plan.
///
/// # Errors
/// When the store fails.
pub fn usage(rows: &dyn Rows, id: &str) -> storage::Result<Usage> {
    let Some(row) = rows.get(Table::Plans, &usage_key(id))? else { return Ok(Usage::default()) };
    let corrupt = || storage::Error::corrupt(Table::Plans, format!("the use of plan {id} is a row of {}", row.len()));
    let mut rest = row.clone();
    if rest.len() != USAGE_BYTES || rest.get_u8() != USAGE_VERSION {
        return Err(corrupt());
    }
    let usage = Usage { open: rest.get_u64(), jobs: rest.get_u64(), schedules: rest.get_u64() };
    if usage.open > usage.jobs || usage == Usage::default() { Err(corrupt()) } else { Ok(usage) }
}

/// Counts jobs that came, ended or went: `open` those that are not terminal, `jobs` all that are kept. An inline plan
/// goes with what used it last.
///
/// # Errors
/// When the store fails, or a count would fall below zero.
pub fn count(batch: &mut Batch<'_>, id: &str, open: i64, jobs: i64) -> storage::Result<()> {
    count_all(batch, id, [open, jobs, 0])
}

/// Counts a schedule that came or went, as [`count`] counts jobs.
///
/// # Errors
/// When the store fails, or the count would fall below zero.
pub fn count_schedule(batch: &mut Batch<'_>, id: &str, change: i64) -> storage::Result<()> {
    count_all(batch, id, [0, 0, change])
}

fn count_all(batch: &mut Batch<'_>, id: &str, changes: [i64; 3]) -> storage::Result<()> {
    let before = usage(batch, id)?;
    let counts = [before.open, before.jobs, before.schedules].into_iter().zip(changes);
    let counts: Option<Vec<u64>> = counts.map(|(count, change)| count.checked_add_signed(change)).collect();
    let Some(&[open, jobs, schedules]) = counts.as_deref() else {
        let change = format!("plan {id} has {before:?}, and would change by {changes:?}");
        return Err(storage::Error::corrupt(Table::Plans, change));
    };
    debug_assert!(open <= jobs, "plan {id} would have {open} open jobs of {jobs}");
    if jobs == 0 && schedules == 0 {
        batch.remove(Table::Plans, usage_key(id))?;
        if load(batch, id.as_bytes())?.is_some_and(|stored| stored.inline) {
            batch.remove(Table::Plans, id.as_bytes().to_vec())?;
        }
        return Ok(());
    }
    let mut row = Vec::with_capacity(USAGE_BYTES);
    row.put_u8(USAGE_VERSION);
    [open, jobs, schedules].into_iter().for_each(|count| row.put_u64(count));
    batch.put(Table::Plans, usage_key(id), row)
}

/// Removes a plan.
///
/// # Errors
/// When there is none, or a job that is not terminal or a schedule uses it.
pub fn delete(batch: &mut Batch<'_>, id: &[u8]) -> Result<()> {
    need(batch, id)?;
    let name = shown(id);
    let usage = usage(batch, &name)?;
    if usage.open > 0 {
        let jobs = usage.open;
        return Err(Error::refused(format!(
            "Plan {name} is in use by {jobs} jobs that have not ended: wait for them or cancel them first"
        )));
    }
    if usage.schedules > 0 {
        let schedules = usage.schedules;
        return Err(Error::refused(format!(
            "Plan {name} is in use by {schedules} schedules: SCHEDULE.DELETE them first, or SCHEDULE.PUT another plan there"
        )));
    }
    Ok(batch.remove(Table::Plans, id.to_vec())?)
}

/// Visits the plans in the order of their ids.
///
/// # Errors
/// When the store fails.
pub fn scan(rows: &dyn Rows, visit: &mut dyn FnMut(&str, Stored) -> ControlFlow<()>) -> storage::Result<()> {
    let mut failed = None;
    rows.scan(
        Table::Plans,
        Bound::Included(&[USAGE + 1]),
        Bound::Unbounded,
        false,
        &mut |id, row| match Stored::decode(&Bytes::copy_from_slice(row)) {
            Ok(stored) => visit(&String::from_utf8_lossy(id), stored),
            Err(error) => {
                failed = Some(error);
                ControlFlow::Break(())
            }
        },
    )?;
    failed.map_or(Ok(()), Err)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_round_trip_and_damage_is_found() {
        for description in [None, Some(String::new()), Some("what for".to_owned())] {
            for inline in [false, true] {
                let canonical = Bytes::from_static(b"{}");
                let stored = Stored {
                    inline,
                    created_at: Millis(5),
                    task_count: 3,
                    description: description.clone(),
                    canonical,
                };
                let row = Bytes::from(stored.encode());
                assert_eq!(Stored::decode(&row).unwrap(), stored);
                for length in 0..row.len() - 1 {
                    assert!(Stored::decode(&row.slice(..length)).is_err(), "{length}");
                }
            }
        }
        let wrong_flag = [&[VERSION, 2][..], &[0; 12], b"{}"].concat();
        assert!(Stored::decode(&wrong_flag.into()).is_err());
    }
}
