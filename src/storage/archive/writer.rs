//! Who writes the archive's pieces.

use std::sync::Arc;

use crate::clock::Millis;
use crate::storage::archive::read::Archive;
use crate::storage::archive::{HEADER, MARK, MARK_SEQ, PIECE, PieceHeader, piece_name};
use crate::storage::files::{Disk, DiskFile};
use crate::storage::log_record::{CycleSeed, RecordHead, seal};
use crate::storage::store_file::random;
use crate::storage::{Error, Result};

/// Appends records to an archive.
#[derive(Debug)]
pub(in crate::storage) struct Writer {
    disk: Arc<dyn Disk>,
    store_id: u128,
    run_id: u64,
    generation: u64,
    open: Option<Open>,
    /// The last record known to be on the disk in the archive; 0 before the first sync.
    synced_seq: u64,
    /// The pieces begun, for whoever writes records a second time.
    made: Vec<String>,
    buffer: Vec<u8>,
}

#[derive(Debug)]
struct Open {
    file: Arc<dyn DiskFile>,
    name: String,
    seed: CycleSeed,
    len: u64,
    next_seq: u64,
    /// The last record's time.
    time: Millis,
}

impl Writer {
    pub(in crate::storage) fn new(disk: &Arc<dyn Disk>, store_id: u128, run_id: u64, generation: u64) -> Writer {
        Writer {
            disk: Arc::clone(disk),
            store_id,
            run_id,
            generation,
            open: None,
            synced_seq: 0,
            made: Vec::new(),
            buffer: Vec::new(),
        }
    }

    /// Appends one record, as it stands in the log. Durable after the next [`Writer::sync`].
    ///
    /// # Errors
    /// When it cannot be written: the piece is given up, and the next record begins another.
    pub(in crate::storage) fn append(&mut self, head: &RecordHead, record: &[u8]) -> Result<()> {
        let open = self.open.take().filter(|open| open.len < PIECE && open.next_seq == head.seq);
        let mut open = match open {
            Some(open) => open,
            None => self.begin(head.seq)?,
        };
        self.buffer.clear();
        self.buffer.extend_from_slice(record);
        seal(&mut self.buffer, open.seed, open.len, &RecordHead { synced_seq: self.synced_seq, ..*head });
        let written = open.file.write_at(open.len, &self.buffer);
        written.map_err(|source| Error::io(format!("writing {}", self.disk.describe(&open.name)), source))?;
        open.len += self.buffer.len() as u64;
        (open.next_seq, open.time) = (open.next_seq + 1, head.time);
        self.buffer.shrink_to(4 << 20);
        self.open = Some(open);
        Ok(())
    }

    /// Removes the pieces whose records, from `seq` on, this writer has written anew and synced.
    ///
    /// # Errors
    /// When one cannot be removed.
    pub(in crate::storage) fn replace_from(&self, seq: u64) -> Result<()> {
        for (first_seq, name) in Archive::of_store(&*self.disk, self.store_id)?.names() {
            if first_seq >= seq && !self.made.iter().any(|made| made == name) {
                let io = |source| Error::io(format!("removing {}", self.disk.describe(name)), source);
                self.disk.remove(name).map_err(io)?;
            }
        }
        self.disk.sync_dir().map_err(|source| Error::io(format!("syncing {}", self.disk.describe("")), source))
    }

    fn begin(&mut self, first_seq: u64) -> Result<Open> {
        let name = piece_name(self.store_id, first_seq);
        self.made.push(name.clone());
        let header = PieceHeader {
            store_id: self.store_id,
            run_id: self.run_id,
            generation: self.generation,
            salt: random()?,
            first_seq,
        };
        let make = || -> std::io::Result<Arc<dyn DiskFile>> {
            let file = self.disk.create(&name)?;
            file.write_at(0, &header.encode())?;
            // Before anything stands behind it: a header that does not verify is damaged then.
            file.sync_data()?;
            self.disk.sync_dir()?;
            Ok(file)
        };
        let file = make().map_err(|source| Error::io(format!("making {}", self.disk.describe(&name)), source))?;
        Ok(Open { file, name, seed: header.seed(), len: HEADER as u64, next_seq: first_seq, time: Millis(0) })
    }

    /// Makes every appended record durable, and says so behind the last one. A second call makes that durable too.
    ///
    /// # Errors
    /// When that fails: the piece is given up, since a second try would prove nothing.
    pub(in crate::storage) fn sync(&mut self) -> Result<()> {
        let Some(open) = &self.open else { return Ok(()) };
        if let Err(source) = open.file.sync_data() {
            let error = Error::io(format!("syncing {}", self.disk.describe(&open.name)), source);
            self.open = None;
            return Err(error);
        }
        self.synced_seq = open.next_seq - 1;
        let mut mark = [0; MARK];
        let head = RecordHead { seq: MARK_SEQ, synced_seq: self.synced_seq, time: open.time };
        seal(&mut mark, open.seed, open.len, &head);
        // The records are on the disk whatever becomes of it; where it cannot be written, the next record finds out.
        let _ = open.file.write_at(open.len, &mark);
        Ok(())
    }

    /// Ends the piece: the next record begins another.
    pub(in crate::storage) fn end_piece(&mut self) {
        self.open = None;
    }
}
