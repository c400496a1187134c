//! Access keys as plain values, out of a store and into another: what `agq export` writes and `agq import` reads. A
//! secret is its hash, as in the store.

use serde::Serialize;
use serde_json::value::RawValue;

use crate::access::keys::{AccessKey, MAX_KEYS, insert, list};
use crate::access::scopes::{Role, Scopes};
use crate::jobs::json::Object;
use crate::jobs::{Error, Id, Result, time};
use crate::storage::{self, Batch, Rows};

/// The word for an access key among the kinds of values.
pub const KIND: &str = "access_key";

#[derive(Serialize)]
struct KeyLine<'a> {
    name: &'a str,
    id: String,
    /// SHA-256 of the secret's whole text.
    hash: String,
    created_at: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<u64>,
    scopes: Vec<ScopeLine<'a>>,
}

#[derive(Serialize)]
struct ScopeLine<'a> {
    role: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pattern: &'a str,
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Every key as an object of JSON, in the order of names.
///
/// # Errors
/// When the store fails.
pub fn export(rows: &dyn Rows) -> storage::Result<Vec<String>> {
    let line = |key: &AccessKey| {
        let scopes = key.scopes.iter();
        let line = KeyLine {
            name: &key.name,
            id: hex(&key.id),
            hash: hex(&key.hash),
            created_at: key.created_at.0,
            expires_at: key.expires_at.map(|at| at.0),
            scopes: scopes.map(|scope| ScopeLine { role: scope.role.word(), pattern: &scope.pattern }).collect(),
        };
        // Strings and integers under string keys have JSON.
        serde_json::to_string(&line).unwrap_or_default()
    };
    Ok(list(rows)?.iter().map(line).collect())
}

/// Takes a key into the batch; `before` came before it.
///
/// # Errors
/// When it is not sound, or there is one like it.
pub fn import(batch: &mut Batch<'_>, raw: &RawValue, before: usize) -> Result<()> {
    let mut from = Object::of(raw, KIND)?;
    let missing = |field: &str| Error::refused(format!("{KIND}.{field} is missing"));
    let name = from.string("name")?.ok_or_else(|| missing("name"))?;
    let name = Id::parse("access_key.name", name.as_bytes())?;
    let created_at = from.take("created_at").ok_or_else(|| missing("created_at"))?;
    let expires_at = from.take("expires_at").map(|raw| time::read(raw, "access_key.expires_at")).transpose()?;
    let key = AccessKey {
        name,
        id: digits(&mut from, "id")?,
        hash: digits(&mut from, "hash")?,
        created_at: time::read(created_at, "access_key.created_at")?,
        expires_at,
        scopes: scopes(&mut from)?,
    };
    from.finish()?;
    if before >= MAX_KEYS {
        return Err(Error::refused(format!("there are more than {MAX_KEYS} access keys")));
    }
    insert(batch, &key)
}

fn scopes(from: &mut Object<'_>) -> Result<Scopes> {
    let mut scopes = Scopes::default();
    for (place, raw) in from.array("scopes")?.unwrap_or_default().into_iter().enumerate() {
        let path = format!("{KIND}.scopes[{place}]");
        let mut scope = Object::of(raw, &path)?;
        let word = scope.string("role")?.unwrap_or_default();
        let Some(role) = Role::of(word.as_bytes()) else {
            let known = Role::ALL.map(Role::word).join(", ");
            return Err(Error::refused(format!("{path}.role must be one of {known}, not '{word:.40}'")));
        };
        let pattern = scope.string("pattern")?.unwrap_or_default();
        scope.finish()?;
        if role == Role::Admin && !pattern.is_empty() {
            return Err(Error::refused(format!("{path}.pattern is not for ADMIN")));
        }
        scopes.add(role, pattern.as_bytes()).map_err(|why| Error::refused(format!("{path}: {why}")))?;
    }
    Ok(scopes)
}

/// So many bytes, in hexadecimal digits.
fn digits<const N: usize>(from: &mut Object<'_>, field: &str) -> Result<[u8; N]> {
    let text = from.string(field)?.unwrap_or_default();
    let wrong = || Error::refused(format!("{KIND}.{field} must be {} hexadecimal digits, not '{text:.80}'", 2 * N));
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return Err(wrong()) };
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let bytes: Option<Vec<u8>> = pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect();
    bytes.and_then(|bytes| bytes.try_into().ok()).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::check;
    use crate::clock::Millis;
    use crate::storage::{Db, Options};

    fn with_batch(test: impl FnOnce(&mut Batch<'_>)) {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::open(&Options::new(dir.path())).unwrap();
        test(&mut db.batch().unwrap());
    }

    fn take(batch: &mut Batch<'_>, text: &str) -> Result<()> {
        import(batch, serde_json::from_str(text).unwrap(), 0)
    }

    #[test]
    fn keys_come_back() {
        let mut lines = Vec::new();
        with_batch(|batch| {
            for (name, number) in [("ci", 1), ("night", 2)] {
                let mut scopes = Scopes::default();
                scopes.add(Role::Submit, "build-\u{e9}*".as_bytes()).unwrap();
                scopes.add(Role::Admin, b"").unwrap();
                let name = Id::sound(name.as_bytes()).unwrap();
                let expires_at = (number == 2).then_some(Millis(77));
                let key =
                    AccessKey { name, id: [number; 8], hash: [254; 32], created_at: Millis(5), expires_at, scopes };
                insert(batch, &key).unwrap();
            }
            lines = export(batch).unwrap();
        });
        with_batch(|batch| {
            lines.iter().for_each(|line| take(batch, line).unwrap());
            assert_eq!(export(batch).unwrap(), lines);
            assert_eq!(check(batch).unwrap(), [""; 0]);
            let again = take(batch, &lines[0]).unwrap_err().to_string();
            assert!(again.contains("there is a key 'ci'"), "{again}");
        });
    }

    #[test]
    fn what_is_wrong_is_named() {
        let hash = "ab".repeat(32);
        let key =
            |more: &str| format!(r#"{{"name":"a","id":"0011223344556677","hash":"{hash}","created_at":1{more}}}"#);
        let cases = [
            (key("").replace("0011", "00x1"), "access_key.id must be 16 hexadecimal digits, not '00x1"),
            (key("").replace("\"a\"", "\"a b\""), "access_key.name must be "),
            (key("").replace(",\"created_at\":1", ""), "access_key.created_at is missing"),
            (key(r#","scopes":[{"role":"KING"}]"#), "access_key.scopes[0].role must be one of ADMIN, "),
            (key(r#","scopes":[{"role":"WORK"}]"#), "access_key.scopes[0]: the pattern of WORK must be"),
            (key(r#","scopes":[{"role":"ADMIN","pattern":"a"}]"#), "access_key.scopes[0].pattern is not for ADMIN"),
            (key(r#","secret":"a""#), "access_key.secret is not a known field"),
        ];
        for (text, expected) in cases {
            with_batch(|batch| {
                let error = take(batch, &text).unwrap_err().to_string();
                assert!(error.contains(expected), "{error}, not {expected}");
            });
        }
    }
}
