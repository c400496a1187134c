//! What redb says of its own file.

use crate::storage::{Db, Error, Result};

impl Db {
    /// Walks the whole file: every page's checksum, and what redb knows to be free. Right after an opening only. False
    /// when something was wrong and could be mended, which on a shadow happens in memory.
    ///
    /// # Errors
    /// When the file is damaged beyond that, or cannot be read.
    pub fn verify(&mut self) -> Result<bool> {
        if self.applied_seq != self.meta.seq {
            return Err(Error::Stopped { reason: "a store is verified right after it was opened".to_owned() });
        }
        if let Some(txn) = self.txn.take() {
            txn.abort()?;
        }
        let database = self.database.as_mut().ok_or_else(|| Error::Stopped { reason: "it is closed".to_owned() })?;
        let clean = database.check_integrity()?;
        self.txn = Some(database.begin_write()?);
        Ok(clean)
    }
}
