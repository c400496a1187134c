//! The rows of access keys: one by name, and one by public id that leads to it.

use std::ops::{Bound, ControlFlow};
use std::sync::Arc;

use bytes::Bytes;

use crate::access::scopes::{Role, Scopes};
use crate::access::secret::{Hash, KeyId, Secret};
use crate::clock::Millis;
use crate::jobs::codec::{Reader, Writer};
use crate::jobs::{Error, Id, Result};
use crate::storage::{self, Batch, Rows, Table};

const VERSION: u8 = 1;
/// What rows begin with, by what they hold. The audit log's begin with higher numbers.
pub(super) const BY_NAME: u8 = 0;
pub(super) const BY_ID: u8 = 1;
/// The most keys.
pub const MAX_KEYS: usize = 10_000;

/// A key, and what it may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessKey {
    /// Its name: who it is given to.
    pub name: Id,
    /// The public part of its secret.
    pub id: KeyId,
    /// The hash of its secret.
    pub hash: Hash,
    /// When it was made.
    pub created_at: Millis,
    /// From then on it no longer counts.
    pub expires_at: Option<Millis>,
    /// What it may do.
    pub scopes: Scopes,
}

impl AccessKey {
    /// True while it counts.
    #[must_use]
    pub fn is_live(&self, now: Millis) -> bool {
        self.expires_at.is_none_or(|at| now < at)
    }

    fn encode(&self) -> Bytes {
        let mut out = Writer::new(VERSION);
        self.id.iter().chain(&self.hash).for_each(|byte| out.byte(*byte));
        out.number(self.created_at.0);
        out.byte(u8::from(self.expires_at.is_some()));
        self.expires_at.iter().for_each(|at| out.number(at.0));
        out.number(self.scopes.iter().count() as u64);
        for scope in self.scopes.iter() {
            out.byte(scope.role as u8);
            out.bytes(scope.pattern.as_bytes());
        }
        out.finish()
    }

    pub(super) fn decode(name: &[u8], row: &Bytes) -> storage::Result<AccessKey> {
        let mut from = Reader::new(Table::Access, row, VERSION)?;
        let name = Id::sound(name).ok_or_else(|| from.corrupt("its name is none"))?;
        let (mut id, mut hash) = (KeyId::default(), Hash::default());
        for byte in id.iter_mut().chain(&mut hash) {
            *byte = from.byte()?;
        }
        let created_at = Millis(from.number()?);
        let expires_at = match from.byte()? {
            0 => None,
            1 => Some(Millis(from.number()?)),
            _ => return Err(from.corrupt("neither yes nor no")),
        };
        let mut scopes = Scopes::default();
        for _ in 0..from.number()? {
            let role = Role::from_number(from.byte()?).ok_or_else(|| from.corrupt("an unknown role"))?;
            let pattern = from.bytes()?;
            scopes.add(role, &pattern).map_err(|why| from.corrupt(&why))?;
        }
        from.finish()?;
        Ok(AccessKey { name, id, hash, created_at, expires_at, scopes })
    }
}

fn name_row(name: &[u8]) -> Vec<u8> {
    [&[BY_NAME], name].concat()
}

fn id_row(id: &KeyId) -> Vec<u8> {
    [&[BY_ID][..], id].concat()
}

/// The key of a name, whether it still counts or not.
///
/// # Errors
/// When the store fails.
pub fn find(rows: &dyn Rows, name: &[u8]) -> storage::Result<Option<AccessKey>> {
    rows.get(Table::Access, &name_row(name))?.map(|row| AccessKey::decode(name, &row)).transpose()
}

/// The key of a secret, if it still counts.
///
/// # Errors
/// When the store fails.
pub fn find_by_secret(rows: &dyn Rows, secret: &Secret, now: Millis) -> storage::Result<Option<Arc<AccessKey>>> {
    let Some(name) = rows.get(Table::Access, &id_row(&secret.id()))? else { return Ok(None) };
    let key = find(rows, &name)?;
    let lost = || storage::Error::corrupt(Table::Access, format!("there is no key '{}'", name.escape_ascii()));
    let key = key.ok_or_else(lost)?;
    Ok((secret.fits(&key.hash) && key.is_live(now)).then(|| Arc::new(key)))
}

/// Every key, in the order of names.
///
/// # Errors
/// When the store fails.
pub fn list(rows: &dyn Rows) -> storage::Result<Vec<AccessKey>> {
    let mut keys = Vec::new();
    let (from, to) = ([BY_NAME], [BY_ID]);
    rows.scan(Table::Access, Bound::Included(&from), Bound::Excluded(&to), false, &mut |name, row| {
        keys.push(AccessKey::decode(name.get(1..).unwrap_or_default(), &Bytes::copy_from_slice(row)));
        ControlFlow::Continue(())
    })?;
    keys.into_iter().collect()
}

/// True when there is a key.
///
/// # Errors
/// When the store fails.
pub fn has_keys(rows: &dyn Rows) -> storage::Result<bool> {
    let (from, to) = ([BY_NAME], [BY_ID]);
    Ok(rows.first(Table::Access, Bound::Included(&from), Bound::Excluded(&to), false)?.is_some())
}

/// Stores a new key.
///
/// # Errors
/// When there is one of its name, which would go on under other terms, or there are too many.
pub fn create(batch: &mut Batch<'_>, key: &AccessKey) -> Result<()> {
    if list(batch)?.len() >= MAX_KEYS {
        return Err(Error::refused(format!("there are {MAX_KEYS} keys, no more are taken: revoke some")));
    }
    insert(batch, key)
}

/// Stores a key that is like none of those that there are.
///
/// # Errors
/// When it has the session key's name, or there is one of its name or its id.
pub(super) fn insert(batch: &mut Batch<'_>, key: &AccessKey) -> Result<()> {
    let name = &key.name;
    if &**name == "default" {
        return Err(Error::refused("the name 'default' is that of the session key: choose another"));
    }
    if find(batch, name.as_bytes())?.is_some() {
        return Err(Error::refused(format!(
            "there is a key '{name}': KEY.REVOKE {name} first, or choose another name"
        )));
    }
    if batch.get(Table::Access, &id_row(&key.id))?.is_some() {
        return Err(Error::refused("the new key's id is taken already, by chance: try again"));
    }
    batch.put(Table::Access, name_row(name.as_bytes()), key.encode())?;
    Ok(batch.put(Table::Access, id_row(&key.id), Bytes::copy_from_slice(name.as_bytes()))?)
}

/// Removes a key.
///
/// # Errors
/// `Key not found` when there is none of this name.
pub fn revoke(batch: &mut Batch<'_>, name: &[u8]) -> Result<AccessKey> {
    let key = find(batch, name)?.ok_or_else(|| Error::not_found("Key", name))?;
    batch.remove(Table::Access, name_row(name))?;
    batch.remove(Table::Access, id_row(&key.id))?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_round_trip_and_what_is_not_exact_is_corrupt() {
        let mut scopes = Scopes::default();
        scopes.add(Role::Admin, b"").unwrap();
        scopes.add(Role::Work, b"build-*").unwrap();
        for expires_at in [None, Some(Millis(77))] {
            let key = AccessKey {
                name: Id::sound(b"ci").unwrap(),
                id: [7; 8],
                hash: [9; 32],
                created_at: Millis(5),
                expires_at,
                scopes: scopes.clone(),
            };
            let row = key.encode();
            assert_eq!(AccessKey::decode(b"ci", &row).unwrap(), key);
            assert!(AccessKey::decode(b"ci", &row.slice(..row.len() - 1)).is_err());
            assert!(AccessKey::decode(b"ci", &[&row[..], &[0]].concat().into()).is_err());
            assert!(AccessKey::decode(b"c i", &row).is_err());
        }
    }
}
