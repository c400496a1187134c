//! What has to hold of all rows, whatever happened.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};

use bytes::Bytes;

use crate::clock::Millis;
use crate::data::{self, Keyspace, Record, View, keyspaces, trash};
use crate::jobs;
use crate::storage::sim::ledger::Stop;
use crate::storage::{Error, Rows, Table};

/// Checks the invariants of the job system and of the keys.
pub(super) fn check(rows: &dyn Rows) -> Result<(), Stop> {
    let mut wrong = jobs::check::check(rows).map_err(|error| match error {
        jobs::Error::Storage(error) => unreadable(error),
        refused => Stop::Broken(format!("the jobs cannot be read: {refused}")),
    })?;
    check_keys(rows, &mut wrong).map_err(|error| match error {
        data::Error::Storage(error) => unreadable(error),
        refused => Stop::Broken(format!("the keys cannot be read: {refused}")),
    })?;
    if wrong.is_empty() { Ok(()) } else { Err(Stop::Broken(format!("what has to hold does not: {wrong:#?}"))) }
}

/// A disk that fails breaks no promise; a row that means nothing does.
fn unreadable(error: Error) -> Stop {
    match error {
        Error::Corrupt { .. } => Stop::Broken(error.to_string()),
        failed => Stop::Failed(failed),
    }
}

/// The counts of keys, and of those that expire, are those of the rows; a key has the deadline that its record says, and
/// no other; an element belongs to somebody.
fn check_keys(rows: &dyn Rows, wrong: &mut Vec<String>) -> crate::data::Result<()> {
    let mut counts: BTreeMap<Keyspace, (u64, u64)> = BTreeMap::new();
    let mut deadlines = BTreeMap::new();
    let mut owned: BTreeMap<(Table, [u8; 8]), u64> = BTreeMap::new();
    for (key, row) in all(rows, Table::Keys)? {
        let record = Record::decode(&row)?;
        let Some((space, name)) = key.split_first_chunk::<4>() else {
            wrong.push(format!("a key of {} bytes", key.len()));
            continue;
        };
        let keyspace = Keyspace::from_be_bytes(*space);
        let count = counts.entry(keyspace).or_default();
        count.0 += 1;
        if let Some(at) = record.deadline {
            count.1 += 1;
            deadlines.insert([&at.0.to_be_bytes()[..], &key].concat(), Bytes::new());
        }
        let length = length(&View { rows, keyspace, now: Millis(0) }, name, &record)?;
        owned.extend(trash::elements_of(&record)?.into_iter().map(|place| (place, length)));
    }
    let shown = keyspaces::load(rows)?;
    for keyspace in shown {
        let view = View { rows, keyspace, now: Millis(0) };
        let (found, counted) = ((view.count()?, view.count_expiring()?), counts.remove(&keyspace).unwrap_or_default());
        if found != counted {
            wrong.push(format!("keyspace {keyspace} says {found:?} keys and expiring ones, and has {counted:?}"));
        }
    }
    // What was flushed is removed in slices: until then its keys stand there, and deadlines that outlive them.
    let stored: BTreeMap<Vec<u8>, Bytes> =
        all(rows, Table::Deadlines)?.into_iter().map(|(key, row)| (key.to_vec(), row)).collect();
    let is_shown = |key: &&Vec<u8>| {
        let space = key.get(8..).and_then(|rest| rest.first_chunk()).copied().map(Keyspace::from_be_bytes);
        space.is_some_and(|space| shown.contains(&space))
    };
    let differing = stored.keys().filter(|key| !deadlines.contains_key(*key));
    let differing = differing.chain(deadlines.keys().filter(|key| !stored.contains_key(*key)));
    wrong.extend(differing.filter(is_shown).map(|key| format!("deadline {} in one place only", key.escape_ascii())));
    check_elements(rows, &owned, wrong)
}

/// Elements belong to a record, which counts them, or to the trash.
fn check_elements(
    rows: &dyn Rows,
    owned: &BTreeMap<(Table, [u8; 8]), u64>,
    wrong: &mut Vec<String>,
) -> crate::data::Result<()> {
    let in_trash: Vec<Bytes> = all(rows, Table::Trash)?.into_iter().map(|(_, row)| row.slice(1..)).collect();
    let tables = [Table::Lists, Table::Hashes, Table::Sets, Table::ZScores, Table::ZMembers, Table::Blobs];
    for table in tables {
        let mut found: BTreeMap<[u8; 8], u64> = BTreeMap::new();
        for (key, _) in all(rows, table)? {
            *found.entry(key.first_chunk().copied().unwrap_or_default()).or_default() += 1;
        }
        for (id, count) in &found {
            if !owned.contains_key(&(table, *id)) && !in_trash.iter().any(|owner| owner[..] == id[..]) {
                wrong.push(format!("{table} has {count} rows of {}, which nobody names", u64::from_be_bytes(*id)));
            }
        }
        // Of a large string the chunks are not counted: those of zeros may be missing.
        for ((_, id), length) in owned.iter().filter(|((of, _), _)| *of == table && table != Table::Blobs) {
            let count = found.get(id).copied().unwrap_or(0);
            if count != *length {
                let id = u64::from_be_bytes(*id);
                wrong.push(format!("{table} has {count} rows of {id}, whose record says {length}"));
            }
        }
    }
    Ok(())
}

/// How many elements a record says it has.
fn length(view: &View<'_>, name: &[u8], record: &Record) -> crate::data::Result<u64> {
    use crate::data::Kind;
    match record.kind {
        Kind::String => View::string_record_len(record),
        Kind::List => view.list_len(name),
        Kind::Hash => view.hash_len(name),
        Kind::Set => view.set(name).map(|set| set.map_or(0, |set| set.len())),
        Kind::SortedSet => view.sorted_set(name).map(|set| set.map_or(0, |set| set.len())),
    }
}

fn all(rows: &dyn Rows, table: Table) -> crate::storage::Result<Vec<(Bytes, Bytes)>> {
    let mut found = Vec::new();
    rows.scan(table, Bound::Unbounded, Bound::Unbounded, false, &mut |key, value| {
        found.push((Bytes::copy_from_slice(key), Bytes::copy_from_slice(value)));
        ControlFlow::Continue(())
    })?;
    Ok(found)
}
