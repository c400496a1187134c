//! Proves that every row of access keys and of the audit log means something, and that keys and their ids lead to each
//! other.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};

use bytes::Bytes;

use crate::access::audit::Entry;
use crate::access::keys::{AccessKey, BY_ID, BY_NAME};
use crate::access::secret::KeyId;
use crate::storage::{Error, Result, Rows, Table};

/// Findings that are told one by one; of the rest only the number is.
const MOST_TOLD: usize = 1000;

/// What does not hold, a sentence each; nothing when all is well.
///
/// # Errors
/// When the store cannot be read.
pub fn check(rows: &dyn Rows) -> Result<Vec<String>> {
    let mut found = Vec::new();
    let mut add = |key: &[u8], what: &str| found.push(format!("{}: row {}: {what}", Table::Access, key.escape_ascii()));
    let mut named: BTreeMap<Bytes, KeyId> = BTreeMap::new();
    let mut ids: BTreeMap<Bytes, Bytes> = BTreeMap::new();
    rows.scan(Table::Access, Bound::Unbounded, Bound::Unbounded, false, &mut |key, row| {
        let row = Bytes::copy_from_slice(row);
        let read = match key.split_first() {
            Some((&BY_NAME, name)) => AccessKey::decode(name, &row).map(|key| {
                named.insert(Bytes::copy_from_slice(name), key.id);
            }),
            Some((&BY_ID, id)) => {
                ids.insert(Bytes::copy_from_slice(id), row);
                Ok(())
            }
            _ => Entry::decode_row(key, &row).map(drop),
        };
        match read {
            Ok(()) => {}
            Err(Error::Corrupt { what, .. }) => add(key, &what),
            Err(error) => add(key, &error.to_string()),
        }
        ControlFlow::Continue(())
    })?;
    for (id, name) in &ids {
        if named.get(name).is_none_or(|of_key| of_key[..] != id[..]) {
            add(&[&[BY_ID][..], id].concat(), &format!("there is no key '{}' of this id", name.escape_ascii()));
        }
    }
    for (name, id) in &named {
        if ids.get(&id[..]) != Some(name) {
            add(&[&[BY_NAME][..], name].concat(), "the id of this key does not lead to it");
        }
    }
    if let Some(more) = found.len().checked_sub(MOST_TOLD).filter(|more| *more > 0) {
        found.truncate(MOST_TOLD);
        found.push(format!("and {more} more findings"));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::audit::{self, Ring};
    use crate::access::{Role, Scopes, create};
    use crate::clock::Millis;
    use crate::jobs::Id;
    use crate::storage::{Batch, Db, Options};

    fn put_samples(batch: &mut Batch<'_>) {
        for (name, number) in [("ci", 1), ("night", 2)] {
            let mut scopes = Scopes::default();
            scopes.add(Role::Submit, b"build-*").unwrap();
            let name = Id::sound(name.as_bytes()).unwrap();
            let at = Millis(5);
            let key = AccessKey { name, id: [number; 8], hash: [9; 32], created_at: at, expires_at: None, scopes };
            create(batch, &key).unwrap();
        }
        let entry = Entry {
            at: Millis(6),
            key: "ci".to_owned(),
            connection: 3,
            address: "127.0.0.1:4000".to_owned(),
            command: "FLUSHALL".to_owned(),
            outcome: "NOPERM".to_owned(),
        };
        audit::add(batch, Ring::Actions, &entry).unwrap();
        audit::add(batch, Ring::Refusals, &entry).unwrap();
    }

    #[test]
    fn sound_rows_give_no_finding_and_each_kind_of_damage_gives_one() {
        let row = |first: u8, rest: &[u8]| [&[first], rest].concat();
        let refusal = || row(Ring::Refusals as u8, &1_u64.to_be_bytes());
        let damages = [
            ("the id of this key does not lead to it", row(BY_ID, &[1; 8]), None),
            ("there is no key 'ci' of this id", row(BY_NAME, b"ci"), None),
            ("there is no key 'night' of this id", row(BY_ID, &[3; 8]), Some(b"night".to_vec())),
            ("of this id", row(BY_ID, &[2; 7]), Some(b"night".to_vec())),
            ("row \\x00odd", row(BY_NAME, b"odd"), Some(vec![1, 2])),
            ("row \\x03", refusal(), Some(vec![])),
            ("of no ring", row(9, &1_u64.to_be_bytes()), Some(vec![1])),
            ("of no ring", row(Ring::Actions as u8, b"short"), Some(vec![1])),
        ];
        for (expected, key, value) in damages {
            let dir = tempfile::tempdir().unwrap();
            let db = Db::open(&Options::new(dir.path())).unwrap();
            let mut batch = db.batch().unwrap();
            put_samples(&mut batch);
            assert_eq!(check(&batch).unwrap(), [""; 0]);
            let value: Option<Vec<u8>> = value;
            match value {
                Some(value) => batch.put(Table::Access, key, value).unwrap(),
                None => batch.remove(Table::Access, key).unwrap(),
            }
            let found = check(&batch).unwrap();
            assert!(found.len() == 1 && found[0].contains(expected), "{expected}: {found:?}");
        }
    }
}
