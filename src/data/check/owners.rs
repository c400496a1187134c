//! Every id belongs to one key or to one row of the trash, and every element stands under an id that is owned.
//!
//! The owners are taken in turns, in the order of their ids: those of a turn fit into a bounded list, which costs a walk
//! over the records; then the ids that the tables of elements have are compared with it, one look for each id.

use std::collections::{BTreeSet, BinaryHeap};
use std::ops::Bound;

use bytes::Bytes;

use crate::data::check::{Findings, Name, rows_under};
use crate::data::keys::meta_number;
use crate::data::{Keyspace, Kind, Record, trash};
use crate::storage::{Result, Rows, Table, tables};

/// Owners of a turn: 64 MiB of them.
pub(super) const AT_ONCE: usize = 4 << 20;

/// Tables whose keys begin with an id.
const ELEMENTS: [Table; 8] = [
    Table::Blobs,
    Table::Lists,
    Table::Holes,
    Table::Hashes,
    Table::ZScores,
    Table::ZMembers,
    Table::Sets,
    Table::Counts,
];

/// An id that is in use, by elements of a kind; `None`: as the number of a row of the trash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Owner {
    id: u64,
    kind: Option<Kind>,
}

impl Ord for Owner {
    fn cmp(&self, other: &Owner) -> std::cmp::Ordering {
        let order = |owner: &Owner| (owner.id, owner.kind.map(|kind| kind as u8));
        order(self).cmp(&order(other))
    }
}

impl PartialOrd for Owner {
    fn partial_cmp(&self, other: &Owner) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// Checks ids and elements, `at_once` owners a turn, two at least.
pub(super) fn check(rows: &dyn Rows, at_once: usize, found: &mut Findings) -> Result<()> {
    rows_under(rows, Table::Trash, &[], &mut |key, row| {
        found.read(&key.escape_ascii(), trash::Item::read(row))?;
        if key.len() != 8 {
            found.add(Table::Trash, format_args!("{} is no number of 8 bytes", key.escape_ascii()));
        }
        Ok(())
    })?;
    let last_given = found.read(&"next_id", meta_number(rows, b"next_id"))?;
    let mut from = Some(0);
    while let Some(first) = from {
        let (owners, end) = turn(rows, first, at_once)?;
        check_ids(rows, &owners, last_given, found)?;
        for table in ELEMENTS {
            check_elements(rows, table, (first, end), &owners, found)?;
        }
        from = end;
    }
    Ok(())
}

/// The owners from an id on, in the order of their ids, as many as a turn takes, and the id that the next turn begins
/// with; `None` when this is the last.
fn turn(rows: &dyn Rows, first: u64, at_once: usize) -> Result<(Vec<Owner>, Option<u64>)> {
    let (mut least, mut end) = (BinaryHeap::new(), None::<u64>);
    visit_owners(rows, &mut |owner, _| {
        if owner.id < first || end.is_some_and(|end| owner.id >= end) {
            return;
        }
        least.push(owner);
        // All owners of an id are of one turn, and a turn has one id at least.
        while least.len() > at_once
            && let Some(last) = least.peek().map(|owner: &Owner| owner.id)
            && least.iter().any(|owner| owner.id != last)
        {
            end = Some(last);
            while least.peek().is_some_and(|owner| owner.id == last) {
                least.pop();
            }
        }
    })?;
    Ok((least.into_sorted_vec(), end))
}

/// Visits every id that is in use, with who uses it, in words.
fn visit_owners(rows: &dyn Rows, visit: &mut dyn FnMut(Owner, &dyn Fn() -> String)) -> Result<()> {
    rows_under(rows, Table::Keys, &[], &mut |key, row| {
        // What cannot be read was told where records are checked.
        let Ok(record) = Record::decode(&Bytes::copy_from_slice(row)) else { return Ok(()) };
        let Ok(elements) = trash::elements_of(&record) else { return Ok(()) };
        if let (Some((_, id)), Some((keyspace, name))) = (elements.first(), key.split_first_chunk()) {
            let name = Name(Keyspace::from_be_bytes(*keyspace), name);
            let owner = Owner { id: u64::from_be_bytes(*id), kind: Some(record.kind) };
            visit(owner, &|| format!("{} {name}", record.kind.name()));
        }
        Ok(())
    })?;
    rows_under(rows, Table::Trash, &[], &mut |key, row| {
        let tell = || format!("the trash's row {}", key.escape_ascii());
        if let Ok(number) = key.try_into() {
            visit(Owner { id: u64::from_be_bytes(number), kind: None }, &tell);
        }
        if let Ok(trash::Item::Elements(kind, id)) = trash::Item::read(row) {
            visit(Owner { id: u64::from_be_bytes(id), kind: Some(kind) }, &tell);
        }
        Ok(())
    })
}

/// Every id was given, and to one owner. Who they are is looked up only when something is wrong.
fn check_ids(rows: &dyn Rows, owners: &[Owner], last_given: Option<u64>, found: &mut Findings) -> Result<()> {
    let mut wrong: BTreeSet<u64> =
        owners.windows(2).filter(|two| two[0].id == two[1].id).map(|two| two[0].id).collect();
    let is_given = |id: u64| id > 0 && last_given.is_none_or(|last| id <= last);
    wrong.extend(owners.iter().map(|owner| owner.id).filter(|id| !is_given(*id)));
    if wrong.is_empty() {
        return Ok(());
    }
    visit_owners(rows, &mut |owner, who| {
        if wrong.contains(&owner.id) {
            let table = if owner.kind.is_some() { Table::Keys } else { Table::Trash };
            let (id, last) = (owner.id, last_given.unwrap_or_default());
            let what = if is_given(id) { "has another owner too" } else { "was never given" };
            found.add(table, format_args!("{}: its id {id} {what} (last given: {last})", who()));
        }
    })
}

/// Every id that a table has rows of, from the first of a turn up to, not including, its end, has an owner whose
/// elements stand there.
fn check_elements(
    rows: &dyn Rows,
    table: Table,
    (first, end): (u64, Option<u64>),
    owners: &[Owner],
    found: &mut Findings,
) -> Result<()> {
    // From the very beginning, so that keys too short for an id are seen too.
    let mut from = if first == 0 { Vec::new() } else { first.to_be_bytes().to_vec() };
    let end = end.map(u64::to_be_bytes);
    let end = end.as_ref().map_or(Bound::Unbounded, |end| Bound::Excluded(&end[..]));
    while let Some((key, _)) = rows.first(table, Bound::Included(&from), end, false)? {
        let Some(id) = key.first_chunk::<8>() else {
            found.add(table, format_args!("{} has no id", key.escape_ascii()));
            from = [&key[..], &[0]].concat();
            continue;
        };
        let number = u64::from_be_bytes(*id);
        let of_id = owners.partition_point(|owner| owner.id < number);
        let mut of_id = owners[of_id..].iter().take_while(|owner| owner.id == number).peekable();
        if of_id.peek().is_none() {
            found.add(table, format_args!("{} stands under the id {number}, which nobody owns", key.escape_ascii()));
        } else if !of_id.any(|owner| owner.kind.is_some_and(|kind| trash::element_tables(kind).contains(&table))) {
            found.add(table, format_args!("{} is no element of what owns the id {number}", key.escape_ascii()));
        }
        let Some(next) = tables::prefix_end(id) else { break };
        from = next;
    }
    Ok(())
}
