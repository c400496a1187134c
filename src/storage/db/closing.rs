//! Ending: in good order, or as a kill would.

use crate::storage::log_segment::erase_header;
use crate::storage::{Db, Error, Result};

impl Db {
    /// Makes a checkpoint and closes: `data.redb` alone is then the whole database.
    ///
    /// # Errors
    /// When something fails; the log then still has everything. [`Error::Full`]: the disk is full, and the files are as a
    /// kill would leave them.
    pub fn close(mut self) -> Result<()> {
        let closed = self.try_close();
        self.stop_on_error(closed)
    }

    /// Puts everything into the archive. False when that is not possible now.
    fn archive_all(&mut self) -> Result<bool> {
        let Some(archiver) = self.archiver.clone() else { return Ok(true) };
        self.sync_log()?;
        Ok(archiver.finish())
    }

    fn try_close(&mut self) -> Result<()> {
        self.end_compaction()?;
        self.check_held()?;
        let archived = self.archive_all()?;
        // Where the archive lacks something the log is kept for it: the next opening copies it.
        self.commit(Some(!archived))?;
        self.pages.wait_for(self.pages.barriers())?;
        // Aborted, there is nothing in it: redb closes only when no transaction is open.
        if let Some(txn) = self.txn.take() {
            txn.abort()?;
        }
        if let Some(database) = self.database.take() {
            database.close()?;
        }
        if !archived {
            tracing::error!(
                "the archive does not have all that the log has: the log is kept, and copied at the next start"
            );
            return Ok(());
        }
        for segment in &self.segments {
            erase_header(&**segment).map_err(|source| Error::io("emptying the log", source))?;
        }
        Ok(())
    }
}

impl Drop for Db {
    fn drop(&mut self) {
        // Whoever drops a store without closing it wants what a kill leaves: redb's destructor would commit.
        self.signals.stop("it was closed");
    }
}
