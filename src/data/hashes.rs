//! Hashes: one row a field under `(id, field)`, and a record that counts them.
//!
//! A hash's record body is `[id u64][length u64]`. Fields are read in the order of their bytes. An empty hash does not
//! exist.

use std::ops::Bound;

use bytes::Bytes;

use crate::data::check::{Checked, rows_under};
use crate::data::extended::Extended;
use crate::data::gather::Gather;
use crate::data::notices::Classes;
use crate::data::strings::parse_integer;
use crate::data::{Edit, Error, Kind, Record, Result, View, keys};
use crate::storage::{self, Rows, Table, tables};

/// What a hash's record says.
#[derive(Debug, Clone, Copy)]
pub struct Hash {
    id: [u8; 8],
    length: u64,
}

impl Hash {
    /// The number that its fields stand under.
    #[must_use]
    pub fn id(&self) -> [u8; 8] {
        self.id
    }

    /// How many fields there are; never 0.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "an empty hash does not exist")]
    pub fn len(&self) -> u64 {
        self.length
    }

    fn of(record: &Record) -> storage::Result<Hash> {
        match record.body.as_chunks::<8>() {
            (&[id, length], []) if length != [0; 8] => Ok(Hash { id, length: u64::from_be_bytes(length) }),
            _ => {
                let what = format!("a hash record of {} bytes", record.body.len());
                Err(storage::Error::corrupt(Table::Keys, what))
            }
        }
    }

    fn body(&self) -> Bytes {
        [self.id, self.length.to_be_bytes()].concat().into()
    }

    fn row(&self, field: &[u8]) -> Vec<u8> {
        [&self.id[..], field].concat()
    }

    fn value(&self, rows: &dyn Rows, field: &[u8]) -> storage::Result<Option<Bytes>> {
        rows.get(Table::Hashes, &self.row(field))
    }
}

/// Checks a hash against its record.
pub(super) fn check(checked: &mut Checked<'_>, record: &Record) -> storage::Result<()> {
    let hash = Hash::of(record)?;
    let mut count = 0;
    rows_under(checked.rows, Table::Hashes, &hash.id, &mut |_, _| {
        count += 1;
        Ok(())
    })?;
    checked.expect_count(Table::Hashes, count, hash.length);
    Ok(())
}

impl View<'_> {
    /// The hash of a key, if the key exists.
    ///
    /// # Errors
    /// [`Error::WrongType`] when the key holds another type.
    pub fn hash(&self, name: &[u8]) -> Result<Option<Hash>> {
        let record = self.record_of(name, Kind::Hash)?;
        Ok(record.as_ref().map(Hash::of).transpose()?)
    }

    /// How many fields a hash has, 0 when it does not exist.
    ///
    /// # Errors
    /// [`Error::WrongType`] when the key holds another type.
    pub fn hash_len(&self, name: &[u8]) -> Result<u64> {
        Ok(self.hash(name)?.map_or(0, |header| header.length))
    }

    /// The values of some fields, in the order asked.
    ///
    /// # Errors
    /// [`Error::WrongType`] when the key holds another type.
    pub fn hash_values<'f>(
        &self,
        name: &[u8],
        fields: impl IntoIterator<Item = &'f [u8]>,
    ) -> Result<Vec<Option<Bytes>>> {
        let header = self.hash(name)?;
        let value = |field| match &header {
            Some(header) => {
                let value = header.value(self.rows, field)?;
                self.rows.collect(value.as_ref().map_or(0, Bytes::len))?;
                Ok(value)
            }
            None => Ok(None),
        };
        fields.into_iter().map(value).collect()
    }

    /// All fields with their values, in the order of the fields' bytes.
    ///
    /// # Errors
    /// [`Error::WrongType`] when the key holds another type.
    pub fn hash_entries(&self, name: &[u8]) -> Result<Vec<(Bytes, Bytes)>> {
        let Some(header) = self.hash(name)? else { return Ok(Vec::new()) };
        let mut texts = Gather::with_capacity(header.length * 2);
        let end = tables::prefix_end(&header.id);
        let end = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        self.rows.scan(Table::Hashes, Bound::Included(&header.id), end, false, &mut |key, value| {
            texts.push(self.rows, key.get(8..).unwrap_or_default())?;
            texts.push(self.rows, value)
        })?;
        let mut texts = texts.texts()?;
        let found = texts.len() as u64 / 2;
        if found != header.length {
            let what = format!("a hash has {found} fields, its record says {}", header.length);
            return Err(storage::Error::corrupt(Table::Hashes, what).into());
        }
        Ok(std::iter::from_fn(|| texts.next().zip(texts.next())).collect())
    }
}

impl View<'_> {
    /// Up to `count` fields behind `after` with their values, in the order of the fields' bytes, and whether more
    /// follow.
    ///
    /// # Errors
    /// When the store fails.
    pub fn hash_page(&self, hash: &Hash, after: Option<&[u8]>, count: usize) -> Result<(Vec<(Bytes, Bytes)>, bool)> {
        self.elements(Table::Hashes, hash.id, after, count)
    }

    /// The fields at some places among all, counted from 0, with their values, in the order of `places`.
    ///
    /// # Errors
    /// When the store fails.
    pub fn hash_at(&self, hash: &Hash, places: &[u64]) -> Result<Vec<(Bytes, Bytes)>> {
        self.elements_at(Table::Hashes, hash.id, places)
    }
}

impl Edit<'_, '_> {
    /// Sets fields, making the hash when it does not exist. Returns how many fields are new. With `only_new`, fields
    /// that are there keep their value.
    ///
    /// # Errors
    /// [`Error::WrongType`] when the key holds another type.
    pub fn hash_set(
        &mut self,
        name: &[u8],
        entries: impl IntoIterator<Item = (Bytes, Bytes)>,
        only_new: bool,
    ) -> Result<u64> {
        let old = self.record_of(name, Kind::Hash)?;
        let mut header = match &old {
            Some(record) => Hash::of(record)?,
            None => Hash { id: keys::next_id(self.batch)?.to_be_bytes(), length: 0 },
        };
        let mut added = 0;
        for (field, value) in entries {
            let is_new = header.value(self.batch, &field)?.is_none();
            added += u64::from(is_new);
            if is_new || !only_new {
                self.batch.put(Table::Hashes, header.row(&field), value)?;
            }
        }
        if added == 0 {
            if !only_new {
                // The record stands as it is, but who watches the key must learn of new values.
                self.touch(name);
            }
            return Ok(0);
        }
        header.length += added;
        self.store_hash(name, old.as_ref(), &header)?;
        Ok(added)
    }

    /// Removes fields; the hash goes with its last one. Returns how many there were.
    ///
    /// # Errors
    /// [`Error::WrongType`] when the key holds another type.
    pub fn hash_remove<'f>(&mut self, name: &[u8], fields: impl IntoIterator<Item = &'f [u8]>) -> Result<u64> {
        let Some(old) = self.record_of(name, Kind::Hash)? else { return Ok(0) };
        let mut header = Hash::of(&old)?;
        let mut removed = 0;
        for field in fields {
            if header.value(self.batch, field)?.is_some() {
                self.batch.remove(Table::Hashes, header.row(field))?;
                removed += 1;
            }
        }
        if removed > 0 {
            self.notice(Classes::HASH, "hdel", name);
            header.length = header
                .length
                .checked_sub(removed)
                .ok_or_else(|| storage::Error::corrupt(Table::Hashes, "a hash has more fields than its record says"))?;
            self.store_hash(name, Some(&old), &header)?;
        }
        Ok(removed)
    }

    /// Adds to the integer in a field, 0 when it is not there. Returns the sum.
    ///
    /// # Errors
    /// [`Error::WrongType`], [`Error::HashValueNotAnInteger`], [`Error::CounterOverflow`].
    pub fn hash_add(&mut self, name: &[u8], field: Bytes, change: i64) -> Result<i64> {
        let value = self.view().hash_values(name, [&field[..]])?.pop().flatten();
        let value = value.map_or(Some(0), |value| parse_integer(&value)).ok_or(Error::HashValueNotAnInteger)?;
        let sum = value.checked_add(change).ok_or(Error::CounterOverflow)?;
        self.hash_set(name, [(field, sum.to_string().into())], false)?;
        self.notice(Classes::HASH, "hincrby", name);
        Ok(sum)
    }

    /// Adds to the number in a field, 0 when it is not there. Returns the sum.
    ///
    /// # Errors
    /// [`Error::WrongType`], [`Error::NotAFloat`], [`Error::HashValueNotAFloat`], [`Error::SumIsInfinite`].
    pub fn hash_add_float(&mut self, name: &[u8], field: Bytes, change: &[u8]) -> Result<Bytes> {
        let value = self.view().hash_values(name, [&field[..]])?.pop().flatten();
        let value = value.unwrap_or(Bytes::from_static(b"0"));
        let sum = Bytes::from(Extended::sum(&value, change, || Error::HashValueNotAFloat)?);
        self.hash_set(name, [(field, sum.clone())], false)?;
        self.notice(Classes::HASH, "hincrbyfloat", name);
        Ok(sum)
    }

    fn store_hash(&mut self, name: &[u8], old: Option<&Record>, header: &Hash) -> Result<()> {
        match old {
            Some(old) if header.length == 0 => {
                self.forget(name, old)?;
                self.notice_gone(name);
                Ok(())
            }
            Some(old) => self.store(name, Some(old), &Record { body: header.body(), ..old.clone() }),
            None => self.store(name, None, &Record::new(Kind::Hash, header.body())),
        }
    }
}
