//! Proves the invariants of the data types over all rows: every record can be read, its elements are there and no
//! others, and every count is the size of what it counts.
//!
//! It reads everything, trusts no counter, and says in words what does not hold. It runs in bounded memory on any number
//! of keys: rows are streamed, and the owners of elements are taken in turns ([`owners`]). What holds within one type
//! is checked beside the type.

mod owners;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Bound;

use bytes::Bytes;

use crate::data::keys::{count_key, deadline_key, expiring_key, meta_number, record_key, split_deadline_key};
use crate::data::keyspaces::{self, DATABASES};
use crate::data::{Keyspace, Kind, Record, hashes, lists, sets, strings, trash, zsets};
use crate::storage::batch::try_scan;
use crate::storage::{Error, Result, Rows, Table, tables};

/// Findings that are told one by one; of the rest only the number is.
pub(crate) const MOST_TOLD: usize = 1000;

/// What does not hold, a sentence each with table and key; nothing when all is well. Past a thousand findings the last
/// sentence says how many more there are.
///
/// # Errors
/// When the store cannot be read.
pub fn check(rows: &dyn Rows) -> Result<Vec<String>> {
    check_in_turns(rows, owners::AT_ONCE)
}

fn check_in_turns(rows: &dyn Rows, owners_at_once: usize) -> Result<Vec<String>> {
    let mut found = Findings::default();
    let spaces = Spaces::read(rows, &mut found)?;
    let tallies = check_records(rows, &spaces, &mut found)?;
    check_numbers(rows, &spaces, &tallies, &mut found)?;
    check_deadlines(rows, &mut found)?;
    owners::check(rows, owners_at_once, &mut found)?;
    Ok(found.told())
}

/// What was found, told up to a bound and counted beyond it.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    lines: Vec<String>,
    more: u64,
}

impl Findings {
    fn add(&mut self, table: Table, what: fmt::Arguments<'_>) {
        self.note(format_args!("{table}: {what}"));
    }

    /// Notes a finding.
    pub(crate) fn note(&mut self, what: fmt::Arguments<'_>) {
        if self.lines.len() < MOST_TOLD {
            self.lines.push(what.to_string());
        } else {
            self.more += 1;
        }
    }

    /// Notes so many findings that are not told one by one.
    pub(crate) fn note_more(&mut self, more: u64) {
        self.more += more;
    }

    /// Takes a row that cannot be read for a finding; any other error ends the check.
    fn read<T>(&mut self, whose: &dyn fmt::Display, read: Result<T>) -> Result<Option<T>> {
        match read {
            Ok(value) => Ok(Some(value)),
            Err(Error::Corrupt { table, what }) => {
                self.add(table, format_args!("{whose}: {what}"));
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// A sentence for each, and one that says how many more there are.
    pub(crate) fn told(mut self) -> Vec<String> {
        if self.more > 0 {
            self.lines.push(format!("and {} more findings", self.more));
        }
        self.lines
    }
}

/// A name of a database, as findings say it.
#[derive(Debug, Clone, Copy)]
struct Name<'a>(Keyspace, &'a [u8]);

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}' of keyspace {}", self.1.escape_ascii(), self.0)
    }
}

/// The check of one key's value.
pub(in crate::data) struct Checked<'a> {
    /// The store.
    pub(in crate::data) rows: &'a dyn Rows,
    name: Name<'a>,
    kind: Kind,
    found: &'a mut Findings,
}

impl Checked<'_> {
    /// Notes what does not hold in a table.
    pub(in crate::data) fn wrong(&mut self, table: Table, what: fmt::Arguments<'_>) {
        self.found.add(table, format_args!("{} {}: {what}", self.kind.name(), self.name));
    }

    /// Notes a number of rows that is not the one that a record says.
    pub(in crate::data) fn expect_count(&mut self, table: Table, there: u64, said: u64) {
        if there != said {
            self.wrong(table, format_args!("has {there} rows, its record says {said}"));
        }
    }
}

/// What looks at a row: what follows the prefix in its key, and its value.
pub(in crate::data) type VisitRow<'a> = dyn FnMut(&[u8], &[u8]) -> Result<()> + 'a;

/// Visits the rows of a table whose keys begin with `prefix`, until one cannot be read.
pub(in crate::data) fn rows_under(
    rows: &dyn Rows,
    table: Table,
    prefix: &[u8],
    visit: &mut VisitRow<'_>,
) -> Result<()> {
    let end = tables::prefix_end(prefix);
    let end = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
    try_scan(rows, table, (Bound::Included(prefix), end), &mut |key, value| {
        visit(key.get(prefix.len()..).unwrap_or_default(), value)
    })
}

/// The keyspaces that may have keys.
struct Spaces {
    /// Those that databases show.
    shown: BTreeSet<Keyspace>,
    /// Those that are being removed.
    trash: BTreeSet<Keyspace>,
}

impl Spaces {
    fn read(rows: &dyn Rows, found: &mut Findings) -> Result<Spaces> {
        let mut spaces = Spaces { shown: BTreeSet::new(), trash: BTreeSet::new() };
        let last = found.read(&"last_keyspace", meta_number(rows, b"last_keyspace"))?.unwrap_or_default();
        let last = last.max(DATABASES as u64 - 1);
        let loaded = found.read(&"database", keyspaces::load(rows))?;
        for (database, keyspace) in loaded.into_iter().flatten().enumerate() {
            if !spaces.shown.insert(keyspace) {
                let what = format_args!("database {database} has keyspace {keyspace}, as another has");
                found.add(Table::Meta, what);
            }
            if u64::from(keyspace) > last {
                let what = format_args!("database {database} has keyspace {keyspace}, the last one given is {last}");
                found.add(Table::Meta, what);
            }
        }
        rows_under(rows, Table::Trash, &[], &mut |key, row| {
            match trash::Item::read(row) {
                Ok(trash::Item::Keyspace(keyspace)) if spaces.shown.contains(&keyspace) => {
                    let what = format_args!("{} removes keyspace {keyspace}, which a database has", key.escape_ascii());
                    found.add(Table::Trash, what);
                }
                Ok(trash::Item::Keyspace(keyspace)) => drop(spaces.trash.insert(keyspace)),
                // `owners` tells of what cannot be read.
                Ok(trash::Item::Elements(..)) | Err(_) => {}
            }
            Ok(())
        })?;
        Ok(spaces)
    }
}

/// Keys of a keyspace, and how many of them have a deadline.
type Tallies = BTreeMap<Keyspace, (u64, u64)>;

/// Every record can be read, and its value is sound.
fn check_records(rows: &dyn Rows, spaces: &Spaces, found: &mut Findings) -> Result<Tallies> {
    let (mut tallies, mut unknown) = (Tallies::new(), None);
    rows_under(rows, Table::Keys, &[], &mut |key, row| {
        let Some((keyspace, name)) = key.split_first_chunk() else {
            found.add(Table::Keys, format_args!("{} is no keyspace and name", key.escape_ascii()));
            return Ok(());
        };
        let keyspace = Keyspace::from_be_bytes(*keyspace);
        let name = Name(keyspace, name);
        if !spaces.shown.contains(&keyspace) && !spaces.trash.contains(&keyspace) && unknown != Some(keyspace) {
            unknown = Some(keyspace);
            found.add(Table::Keys, format_args!("{name}: no database has this keyspace, and it is not in the trash"));
        }
        let read = Record::decode(&Bytes::copy_from_slice(row));
        let Some(record) = found.read(&name, read)? else { return Ok(()) };
        if spaces.shown.contains(&keyspace) {
            let (keys, expiring) = tallies.entry(keyspace).or_default();
            *keys += 1;
            *expiring += u64::from(record.deadline.is_some());
        }
        let mut checked = Checked { rows, name, kind: record.kind, found: &mut *found };
        if let Some(at) = record.deadline
            && rows.get(Table::Deadlines, &deadline_key(at, keyspace, name.1))?.is_none()
        {
            checked.wrong(Table::Deadlines, format_args!("has no row at {}, its record's deadline", at.0));
        }
        let of_its_kind = match record.kind {
            Kind::String => strings::check(&mut checked, &record),
            Kind::List => lists::check(&mut checked, &record),
            Kind::Hash => hashes::check(&mut checked, &record),
            Kind::SortedSet => zsets::check(&mut checked, &record),
            Kind::Set => sets::check(&mut checked, &record),
        };
        found.read(&name, of_its_kind).map(drop)
    })?;
    Ok(tallies)
}

/// Every number is one, and those of keys are the sizes of what they count.
fn check_numbers(rows: &dyn Rows, spaces: &Spaces, tallies: &Tallies, found: &mut Findings) -> Result<()> {
    rows_under(rows, Table::Meta, &[], &mut |key, row| {
        if row.len() != 8 {
            found.add(Table::Meta, format_args!("'{}' is no number of 8 bytes", key.escape_ascii()));
        }
        let counted = key.strip_prefix(b"count:").or_else(|| key.strip_prefix(b"expiring:"));
        if let Some(keyspace) = counted {
            let keyspace = keyspace.try_into().map(Keyspace::from_be_bytes);
            if !keyspace.is_ok_and(|keyspace| spaces.shown.contains(&keyspace) || spaces.trash.contains(&keyspace)) {
                found.add(Table::Meta, format_args!("'{}' counts keys of no database", key.escape_ascii()));
            }
        }
        if let Some(database) = key.strip_prefix(b"database:") {
            let database = std::str::from_utf8(database).ok().and_then(|database| database.parse::<usize>().ok());
            if database.is_none_or(|database| database >= DATABASES) {
                found.add(Table::Meta, format_args!("'{}' is no database", key.escape_ascii()));
            }
        }
        Ok(())
    })?;
    for keyspace in &spaces.shown {
        let (keys, expiring) = tallies.get(keyspace).copied().unwrap_or_default();
        for (key, there, what) in
            [(count_key(*keyspace), keys, "keys"), (expiring_key(*keyspace), expiring, "keys with a deadline")]
        {
            // What is no number was told above.
            if let Ok(said) = meta_number(rows, &key)
                && said != there
            {
                let what = format_args!("keyspace {keyspace} has {there} {what}, '{}' says {said}", key.escape_ascii());
                found.add(Table::Meta, what);
            }
        }
    }
    Ok(())
}

/// Every deadline is that of a record.
fn check_deadlines(rows: &dyn Rows, found: &mut Findings) -> Result<()> {
    rows_under(rows, Table::Deadlines, &[], &mut |key, value| {
        let Some((at, keyspace, name)) = found.read(&"deadline", split_deadline_key(key))? else { return Ok(()) };
        let row = rows.get(Table::Keys, &record_key(keyspace, name))?;
        let head = row.as_deref().map(crate::data::record::Head::read);
        if !value.is_empty() || !head.is_some_and(|head| head.is_ok_and(|head| head.deadline == Some(at))) {
            let name = Name(keyspace, name);
            found.add(Table::Deadlines, format_args!("{name} at {}: no record has this deadline", at.0));
        }
        Ok(())
    })
}
