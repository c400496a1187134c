//! Which keyspace each database shows. FLUSHDB gives a database a new one, SWAPDB exchanges two: both cost two rows
//! however many keys there are.

use crate::data::{Keyspace, keys, trash};
use crate::storage::{self, Batch, Rows, Table};

/// How many databases there are.
pub const DATABASES: usize = 16;

fn database_key(database: usize) -> Vec<u8> {
    format!("database:{database}").into_bytes()
}

/// The keyspace of every database. A database that was never flushed has its own number.
///
/// # Errors
/// When the store fails.
pub fn load(rows: &dyn Rows) -> storage::Result<[Keyspace; DATABASES]> {
    let mut keyspaces = [0; DATABASES];
    for (database, keyspace) in keyspaces.iter_mut().enumerate() {
        let key = database_key(database);
        *keyspace = match rows.get(Table::Meta, &key)? {
            None => database as Keyspace,
            Some(_) => {
                let stored = keys::meta_number(rows, &key)?;
                Keyspace::try_from(stored).map_err(|_| {
                    storage::Error::corrupt(Table::Meta, format!("database {database} has keyspace {stored}"))
                })?
            }
        };
    }
    Ok(keyspaces)
}

/// Gives a database an empty keyspace and detaches the old one. Returns the new one.
///
/// # Errors
/// When the store fails.
pub fn flush(batch: &mut Batch<'_>, database: usize, old: Keyspace) -> storage::Result<Keyspace> {
    let last = keys::meta_number(batch, b"last_keyspace")?.max(DATABASES as u64 - 1);
    let new = Keyspace::try_from(last + 1)
        .map_err(|_| storage::Error::corrupt(Table::Meta, "all 2^32 keyspace numbers are used up"))?;
    batch.put(Table::Meta, &b"last_keyspace"[..], u64::from(new).to_be_bytes().to_vec())?;
    batch.put(Table::Meta, database_key(database), u64::from(new).to_be_bytes().to_vec())?;
    trash::detach_keyspace(batch, old)?;
    Ok(new)
}

/// Swaps the keyspaces of two databases.
///
/// # Errors
/// When the store fails.
pub fn swap(
    batch: &mut Batch<'_>,
    keyspaces: &mut [Keyspace; DATABASES],
    first: usize,
    second: usize,
) -> storage::Result<()> {
    keyspaces.swap(first, second);
    for database in [first, second] {
        let keyspace = u64::from(keyspaces[database]);
        batch.put(Table::Meta, database_key(database), keyspace.to_be_bytes().to_vec())?;
    }
    Ok(())
}
