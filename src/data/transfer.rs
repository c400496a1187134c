//! Keys as a sequence of plain values, out of a store and into an empty one: what `agq export` writes and `agq import`
//! reads. A key comes first, its content follows in parts of bounded size.

use bytes::Bytes;

use crate::clock::Millis;
use crate::data::check::rows_under;
use crate::data::keyspaces::{self, DATABASES};
use crate::data::lists::End;
use crate::data::sets::Set;
use crate::data::zsets::{AddRule, score_of_row};
use crate::data::{Edit, Kind, Record, Touched, strings, trash};
use crate::storage::{self, Batch, Error, Rows, Table};

/// Bytes of content after which a part ends.
const PART_BYTES: usize = 64 << 10;
/// Elements after which it does.
const PART_ELEMENTS: usize = 1000;

/// A key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// The number of its database.
    pub database: usize,
    /// Its name.
    pub name: Bytes,
    /// The type of its value.
    pub kind: Kind,
    /// When it ceases to exist.
    pub deadline: Option<Millis>,
}

/// A piece of what a store's keys are.
#[derive(Debug, Clone, PartialEq)]
pub enum Item {
    /// A key; its content follows.
    Key(Key),
    /// Bytes of a string, from a place on. What nothing is said of up to the last part are zeros.
    Bytes(u64, Bytes),
    /// Elements of a list, from the head on, or members of a set.
    Elements(Vec<Bytes>),
    /// Fields of a hash, with their values.
    Fields(Vec<(Bytes, Bytes)>),
    /// Members of a sorted set, with their scores.
    Members(Vec<(Bytes, f64)>),
}

/// What takes the items.
pub type Take<'a> = dyn FnMut(Item) -> storage::Result<()> + 'a;

/// Hands out every key of every database, in the order of databases and names; keys that have expired and are not yet
/// removed are among them.
///
/// # Errors
/// When the store fails, a row cannot be read, or `take` fails.
pub fn export(rows: &dyn Rows, take: &mut Take<'_>) -> storage::Result<()> {
    for (database, keyspace) in keyspaces::load(rows)?.into_iter().enumerate() {
        rows_under(rows, Table::Keys, &keyspace.to_be_bytes(), &mut |name, row| {
            let record = Record::decode(&Bytes::copy_from_slice(row))?;
            let (kind, deadline) = (record.kind, record.deadline);
            take(Item::Key(Key { database, name: Bytes::copy_from_slice(name), kind, deadline }))?;
            export_content(rows, &record, take)
        })?;
    }
    Ok(())
}

fn export_content(rows: &dyn Rows, record: &Record, take: &mut Take<'_>) -> storage::Result<()> {
    let elements = trash::elements_of(record)?;
    // The first table of a kind has the elements in their order, but for sorted sets.
    let Some((table, id)) = elements.first().copied() else {
        return if record.body.is_empty() { Ok(()) } else { take(Item::Bytes(0, record.body.clone())) };
    };
    let copy = Bytes::copy_from_slice;
    match record.kind {
        Kind::String => rows_under(rows, table, &id, &mut |key, chunk| {
            let begins = strings::chunk_begins(&[&id[..], key].concat());
            let begins =
                begins.ok_or_else(|| Error::corrupt(table, format!("a chunk under {}", key.escape_ascii())))?;
            take(Item::Bytes(begins, copy(chunk)))
        }),
        Kind::List => {
            in_parts(rows, table, &id, &mut |_, value| Ok(copy(value)), &mut |part| take(Item::Elements(part)))
        }
        Kind::Set => {
            let mut member = |key: &[u8], _: &[u8]| Ok(copy(Set::split(&[&id[..], key].concat())?.1));
            in_parts(rows, table, &id, &mut member, &mut |part| take(Item::Elements(part)))
        }
        Kind::Hash => {
            let mut field = |field: &[u8], value: &[u8]| Ok((copy(field), copy(value)));
            in_parts(rows, table, &id, &mut field, &mut |part| take(Item::Fields(part)))
        }
        Kind::SortedSet => {
            let mut member = |member: &[u8], row: &[u8]| Ok((copy(member), score_of_row(row)?));
            in_parts(rows, Table::ZMembers, &id, &mut member, &mut |part| take(Item::Members(part)))
        }
    }
}

/// Makes a value of what a key has behind an id, and of its row.
type ReadRow<'a, T> = dyn FnMut(&[u8], &[u8]) -> storage::Result<T> + 'a;

/// Reads the rows under an id and hands them out in parts.
fn in_parts<T>(
    rows: &dyn Rows,
    table: Table,
    id: &[u8; 8],
    read: &mut ReadRow<'_, T>,
    take: &mut dyn FnMut(Vec<T>) -> storage::Result<()>,
) -> storage::Result<()> {
    let (mut part, mut bytes) = (Vec::new(), 0);
    rows_under(rows, table, id, &mut |key, value| {
        part.push(read(key, value)?);
        bytes += key.len() + value.len();
        if bytes < PART_BYTES && part.len() < PART_ELEMENTS {
            return Ok(());
        }
        bytes = 0;
        take(std::mem::take(&mut part))
    })?;
    if part.is_empty() { Ok(()) } else { take(part) }
}

/// Why an item cannot be taken into a store.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// It is not what may stand there.
    #[error("{0}")]
    Item(String),
    /// The value cannot be held.
    #[error(transparent)]
    Data(#[from] crate::data::Error),
}

/// Puts items into an empty store, in the order in which [`export`] hands them out or any other of the keys.
#[derive(Debug, Default)]
pub struct Import {
    /// The key whose content comes, and whether some has come.
    open: Option<(Key, bool)>,
    touched: Touched,
}

impl Import {
    /// Takes an item into the batch.
    ///
    /// # Errors
    /// [`Refused`] when it does not follow what came before, or cannot be held; the batch must then be given up.
    pub fn take(&mut self, batch: &mut Batch<'_>, item: Item) -> Result<(), Refused> {
        let Some((key, begun)) = &mut self.open else {
            return match item {
                Item::Key(key) => self.begin(batch, key),
                _ => Err(Refused::Item("content comes before any key".to_owned())),
            };
        };
        if let Item::Key(next) = item {
            self.finish(batch)?;
            return self.begin(batch, next);
        }
        let mut edit = edit(batch, key.database, &mut self.touched);
        let (name, expected, repeated) = (&key.name, key.kind, "an element that was there already");
        *begun = true;
        let is_new = match (expected, item) {
            (Kind::String, Item::Bytes(at, bytes)) => {
                edit.write_string_part(name, at, &bytes)?;
                !bytes.is_empty()
            }
            (Kind::List, Item::Elements(elements)) => {
                let count = elements.len();
                edit.list_push(name, End::Right, elements)?;
                count > 0
            }
            (Kind::Set, Item::Elements(members)) => {
                let added = edit.set_add(name, members.iter().map(|member| &member[..]))?;
                added > 0 && added == members.len() as u64
            }
            (Kind::Hash, Item::Fields(fields)) => {
                let count = fields.len() as u64;
                let added = edit.hash_set(name, fields, true)?;
                added > 0 && added == count
            }
            (Kind::SortedSet, Item::Members(members)) => {
                if members.iter().any(|(_, score)| score.is_nan()) {
                    return Err(Refused::Item("a score that is not a number".to_owned()));
                }
                let members: Vec<_> = members.into_iter().map(|(member, score)| (score, member)).collect();
                let added = edit.zadd(name, AddRule::default(), &members)?.added;
                added > 0 && added == members.len() as u64
            }
            (kind, _) => return Err(Refused::Item(format!("content that is not that of a {}", kind.name()))),
        };
        if is_new { Ok(()) } else { Err(Refused::Item(format!("{repeated}, or nothing"))) }
    }

    fn begin(&mut self, batch: &mut Batch<'_>, key: Key) -> Result<(), Refused> {
        if key.database >= DATABASES {
            return Err(Refused::Item(format!("database {}, there are {DATABASES} from 0 on", key.database)));
        }
        if key.deadline.is_some_and(|at| at.0 == 0) {
            return Err(Refused::Item("a key that expires at 0".to_owned()));
        }
        let mut edit = edit(batch, key.database, &mut self.touched);
        if edit.record(&key.name)?.is_some() {
            return Err(Refused::Item(format!("the key '{}' a second time", key.name.escape_ascii())));
        }
        if key.kind == Kind::String {
            edit.set_string(&key.name, None, Bytes::new(), None)?;
        }
        self.open = Some((key, false));
        Ok(())
    }

    /// Ends the last key.
    ///
    /// # Errors
    /// [`Refused`] when it has no content.
    pub fn finish(&mut self, batch: &mut Batch<'_>) -> Result<(), Refused> {
        let Some((key, begun)) = self.open.take() else { return Ok(()) };
        if !begun && key.kind != Kind::String {
            return Err(Refused::Item(format!("the {} '{}' is empty", key.kind.name(), key.name.escape_ascii())));
        }
        let mut edit = edit(batch, key.database, &mut self.touched);
        if let (Some(_), Some(record)) = (key.deadline, edit.record(&key.name)?) {
            edit.set_deadline(&key.name, record, key.deadline)?;
        }
        Ok(())
    }
}

/// A database of a store in which nothing was ever flushed, at a moment at which nothing has expired.
fn edit<'a, 'txn>(batch: &'a mut Batch<'txn>, database: usize, touched: &'a mut Touched) -> Edit<'a, 'txn> {
    Edit { batch, keyspace: database as crate::data::Keyspace, now: Millis(0), touched }
}

#[cfg(test)]
mod tests;
