//! A store without a server, for tests of the data types.

use agq::clock::Millis;
use agq::data::{Edit, Touched};
use agq::storage::{Db, Options};
use tempfile::TempDir;

/// A store in a folder of its own.
pub(crate) struct Store {
    db: Db,
    now: Millis,
    _dir: TempDir,
}

impl Store {
    /// An empty store.
    pub(crate) fn new() -> Store {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::open(&Options::new(dir.path())).unwrap();
        Store { db, now: Millis(1_800_000_000_000), _dir: dir }
    }

    /// Runs something in one batch, whose rows are then in the store.
    pub(crate) fn batch<T>(&mut self, work: impl FnOnce(&mut Edit<'_, '_>) -> T) -> T {
        self.now = self.now.plus(1);
        let mut touched = Touched::default();
        let mut batch = self.db.batch().unwrap();
        let result = work(&mut Edit { batch: &mut batch, keyspace: 0, now: self.now, touched: &mut touched });
        let rows = batch.finish();
        self.db.append(&rows, self.now).unwrap();
        self.db.flush().unwrap();
        self.db.apply(&rows).unwrap();
        result
    }
}
