//! Values in the form of Redis's DUMP: `[type u8][value][version u16 LE][CRC-64 of all before it, LE]`.
//!
//! What comes in may be anything that Redis 7.0 or an older one writes: every encoding of the five types, packed and
//! compressed ones included, up to version 10. What goes out is the plain form of each type, which all of them read.
//! A payload comes from a stranger: nothing is believed of it before it was looked at, and nothing is reserved for
//! what it only claims to hold. Streams and the values of modules are refused.

mod crc64;
mod listpack;
mod lzf;
mod packed;
mod reader;
mod writer;
mod ziplist;

use bytes::Bytes;

use crate::clock::Millis;
use crate::data::lists::End;
use crate::data::zsets::AddRule;
use crate::data::{Edit, Error, Kind, Record, Result, View};
use crc64::crc64;

/// The version of the format that is written, and the highest that is read: that of Redis 7.0.
const VERSION: u16 = 10;
/// Bytes behind the value: version and checksum.
const FOOTER: usize = 2 + 8;

/// What a payload holds. A collection may be damaged: its elements may be none, or one may stand there twice.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A string.
    String(Bytes),
    /// The elements of a list, from its head.
    List(Vec<Bytes>),
    /// The members of a set.
    Set(Vec<Bytes>),
    /// The fields of a hash with their values.
    Hash(Vec<(Bytes, Bytes)>),
    /// The members of a sorted set with their scores, none of which is NaN.
    SortedSet(Vec<(f64, Bytes)>),
}

/// The payload of a value.
#[must_use]
pub fn encode(value: &Value) -> Vec<u8> {
    seal(writer::value(value))
}

/// Puts version and checksum behind what is to be read as a value.
#[must_use]
pub fn seal(mut value: Vec<u8>) -> Vec<u8> {
    value.extend_from_slice(&VERSION.to_le_bytes());
    let sum = crc64(&value);
    value.extend_from_slice(&sum.to_le_bytes());
    value
}

/// The value of a payload. What follows the value is passed over, as Redis does.
///
/// # Errors
/// [`Error::BadDumpFooter`] and [`Error::BadDump`]; [`TooLarge`](crate::storage::Error::TooLarge) when it holds more
/// than one command may write.
pub fn decode(payload: &Bytes) -> Result<Value> {
    let at = payload.len().checked_sub(FOOTER).ok_or(Error::BadDumpFooter)?;
    let (summed, sum) = payload.split_last_chunk().ok_or(Error::BadDumpFooter)?;
    let version = summed.get(at..).and_then(|version| version.try_into().ok()).ok_or(Error::BadDumpFooter)?;
    if u16::from_le_bytes(version) > VERSION || crc64(summed) != u64::from_le_bytes(*sum) {
        return Err(Error::BadDumpFooter);
    }
    reader::value(payload.slice(..at))
}

impl View<'_> {
    /// The value of a key that exists.
    ///
    /// # Errors
    /// When the store fails.
    pub fn value(&self, name: &[u8], record: &Record) -> Result<Value> {
        Ok(match record.kind {
            Kind::String => Value::String(self.string_of(record)?),
            Kind::List => Value::List(self.list_range(name, 0, -1)?),
            Kind::Hash => Value::Hash(self.hash_entries(name)?),
            Kind::Set => Value::Set(self.set(name)?.map_or(Ok(Vec::new()), |set| self.set_members(&set))?),
            Kind::SortedSet => {
                let set = self.sorted_set(name)?;
                // From the highest down, as Redis writes them: it adds them at the front when it reads them again.
                let scored = set.map_or(Ok(Vec::new()), |set| self.zrange(&set, 0, u64::MAX, true))?;
                Value::SortedSet(scored.into_iter().map(|(member, score)| (score, member)).collect())
            }
        })
    }
}

impl Edit<'_, '_> {
    /// Puts a value under a name, in place of `old`; notices are left to the command. What was written before an error
    /// must be taken back.
    ///
    /// # Errors
    /// [`Error::BadDump`] when an element stands there twice; [`TooLarge`](crate::storage::Error::TooLarge).
    pub fn put_value(
        &mut self,
        name: &[u8],
        old: Option<&Record>,
        value: Value,
        deadline: Option<Millis>,
    ) -> Result<()> {
        let noticed = self.touched.notices.len();
        if let Some(old) = old {
            self.delete(name, old)?;
        }
        self.put_new_value(name, value, deadline)?;
        self.touched.notices.truncate(noticed);
        Ok(())
    }

    fn put_new_value(&mut self, name: &[u8], value: Value, deadline: Option<Millis>) -> Result<()> {
        let (given, added) = match value {
            Value::String(value) => return self.set_string(name, None, value, deadline),
            Value::List(elements) => (elements.len(), self.list_push(name, End::Right, elements)?),
            Value::Set(members) => (members.len(), self.set_add(name, members.iter().map(|member| &member[..]))?),
            Value::Hash(entries) => (entries.len(), self.hash_set(name, entries, false)?),
            Value::SortedSet(scored) => (scored.len(), self.zadd(name, AddRule::default(), &scored)?.added),
        };
        if added == 0 || added != given as u64 {
            return Err(Error::BadDump);
        }
        match (deadline, self.record(name)?) {
            (Some(_), Some(record)) => self.set_deadline(name, record, deadline),
            _ => Ok(()),
        }
    }
}
