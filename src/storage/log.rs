//! The commit log: what makes a batch durable with one small write and one sync.
//!
//! Two segment files take turns. Records go into the *active* one; when it is full the other one takes over, and the
//! full one is *sealed* until a checkpoint that has reached the disk covers its last record: then it is free. What a
//! record or a segment looks like is said in [`super::log_record`] and [`super::log_segment`].

use std::sync::Arc;

use crate::clock::Millis;
use crate::storage::archiver::Archiver;
use crate::storage::log_record::{self, CycleSeed, RecordHead};
use crate::storage::log_segment::{CycleHeader, NAMES, RECORDS, Segments};
use crate::storage::log_sync::LogSync;
use crate::storage::store_file::random;
use crate::storage::{Error, Result, WriteSet};

/// What a record needs is reserved in multiples of so many bytes.
const RESERVE_STEP: u64 = 256 << 10;

/// Whose log it is: stands in every header.
#[derive(Debug, Clone, Copy)]
pub(super) struct Identity {
    pub(super) store_id: u128,
    pub(super) run_id: u64,
    pub(super) generation: u64,
}

/// What a segment is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// No record in it is needed any more.
    Free,
    /// Records are appended to it.
    Active,
    /// Full; its last record has this sequence number.
    Sealed(u64),
}

/// The log of one run.
#[derive(Debug)]
pub(super) struct Log {
    identity: Identity,
    files: Segments,
    states: [State; 2],
    /// The segment that is written, when a record has been.
    active: Option<usize>,
    seed: CycleSeed,
    /// Where the next record goes in the active segment.
    offset: u64,
    /// Bytes the active segment had when its cycle began; a record beyond them grows it.
    room: u64,
    /// Cycles begun in this run.
    cycles: u64,
    /// The last record appended.
    seq: u64,
    /// Bytes of records appended in this run.
    bytes: u64,
    /// The record being written; kept for its capacity.
    buffer: Vec<u8>,
    sync: Arc<LogSync>,
    archiver: Option<Arc<Archiver>>,
}

impl Log {
    /// A log whose segments hold nothing that is needed; the next record is `seq + 1`.
    pub(super) fn new(
        identity: Identity,
        files: Segments,
        seq: u64,
        sync: Arc<LogSync>,
        archiver: Option<Arc<Archiver>>,
    ) -> Log {
        Log {
            identity,
            files,
            states: [State::Free; 2],
            active: None,
            seed: CycleSeed::new(0, 0, 0),
            offset: 0,
            room: 0,
            cycles: 0,
            seq,
            bytes: 0,
            buffer: Vec::new(),
            sync,
            archiver,
        }
    }

    /// The last record appended.
    pub(super) fn seq(&self) -> u64 {
        self.seq
    }

    /// Bytes of records appended in this run.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Writes one record. It is durable after the next sync that begins now.
    ///
    /// # Errors
    /// [`Error::Full`] when the segment had to grow and could not: nothing is kept of the record, and the log goes on.
    /// Any other error is final.
    pub(super) fn append(&mut self, rows: &WriteSet, time: Millis) -> Result<()> {
        let mut record = std::mem::take(&mut self.buffer);
        let result = self.append_buffered(&mut record, rows, time);
        record.shrink_to(4 << 20);
        self.buffer = record;
        result
    }

    fn append_buffered(&mut self, record: &mut Vec<u8>, rows: &WriteSet, time: Millis) -> Result<()> {
        log_record::encode(record, rows)?;
        let len = record.len() as u64;
        let active = self.make_room(len)?;
        let head = RecordHead { seq: self.seq + 1, synced_seq: self.sync.synced_seq(), time };
        log_record::seal(record, self.seed, self.offset, &head);
        let grows = self.offset + len > self.room;
        let written = if grows {
            self.sync.growing(|| self.files[active].write_at(self.offset, record))
        } else {
            self.files[active].write_at(self.offset, record)
        };
        if let Err(source) = written {
            let file = NAMES[active].to_owned();
            return Err(if grows && is_full(&source) {
                Error::Full { file, cause: source }
            } else {
                Error::io(format!("writing a record of {len} bytes to {file}"), source)
            });
        }
        self.seq = head.seq;
        self.offset += len;
        self.bytes += len;
        self.sync.wrote(active, head.seq, self.offset);
        Ok(())
    }

    /// The segment the next record goes to: the active one, or the other when it is full and the other is free.
    fn make_room(&mut self, len: u64) -> Result<usize> {
        let Some(active) = self.active else { return self.begin_cycle(0) };
        if self.offset + len <= self.room {
            return Ok(active);
        }
        let other = 1 - active;
        if self.states[other] != State::Free {
            return Ok(active);
        }
        self.begin_cycle(other)?;
        self.states[active] = State::Sealed(self.seq);
        Ok(other)
    }

    /// Where a record that finds no room in the active segment will begin: the segment, and the place in it.
    fn next_place(&self) -> (usize, u64) {
        match self.active {
            None => (0, RECORDS),
            Some(active) if self.states[1 - active] == State::Free => (1 - active, RECORDS),
            Some(active) => (active, self.offset),
        }
    }

    /// Bytes that the next record may have without a file becoming longer.
    pub(super) fn ready(&self) -> u64 {
        let (segment, from) = self.next_place();
        let next = self.sync.len(segment).saturating_sub(from);
        next.max(self.active.map_or(0, |_| self.room.saturating_sub(self.offset)))
    }

    /// Makes sure that a record of `len` bytes can be written, by lengthening the file it will go to: from then on it is
    /// certain not to meet a full disk. Returns [`Log::ready`].
    ///
    /// # Errors
    /// [`Error::Full`] when there is no room: the log is as it was. Any other error is final.
    pub(super) fn reserve(&self, len: u64) -> Result<u64> {
        let ready = self.ready();
        if len <= ready {
            return Ok(ready);
        }
        let (segment, from) = self.next_place();
        self.sync.reserve(segment, (from + len).next_multiple_of(RESERVE_STEP))?;
        Ok(self.ready())
    }

    fn begin_cycle(&mut self, segment: usize) -> Result<usize> {
        let len = self.sync.take(segment);
        let header = CycleHeader {
            store_id: self.identity.store_id,
            run_id: self.identity.run_id,
            generation: self.identity.generation,
            cycle: self.cycles + 1,
            salt: random()?,
            first_seq: self.seq + 1,
            len,
        };
        header
            .write(&*self.files[segment])
            .map_err(|source| Error::io(format!("writing the header of {}", NAMES[segment]), source))?;
        self.cycles += 1;
        self.seed = header.seed();
        if let Some(archiver) = &self.archiver {
            archiver.begin_cycle(segment, self.seed, header.first_seq, self.bytes);
        }
        self.offset = RECORDS;
        self.room = len;
        self.states[segment] = State::Active;
        self.active = Some(segment);
        Ok(segment)
    }

    /// Frees what a checkpoint that has reached the disk covers, and the archive has.
    pub(super) fn release(&mut self, drained_seq: u64, max_len: u64) {
        debug_assert!(
            drained_seq <= self.seq,
            "no checkpoint covers more than there is: {drained_seq} of {}",
            self.seq
        );
        let drained_seq = drained_seq.min(self.archived());
        for segment in 0..self.states.len() {
            if matches!(self.states[segment], State::Sealed(last) if last <= drained_seq) {
                self.states[segment] = State::Free;
                self.sync.give_back(segment, max_len);
            }
        }
    }

    /// The last record that need not be kept for the archive.
    fn archived(&self) -> u64 {
        self.archiver.as_ref().map_or(u64::MAX, |archiver| archiver.archived())
    }

    /// True when a checkpoint that covers records after `checkpointed` would make room: a segment is sealed, or the
    /// active one has grown.
    pub(super) fn wants_checkpoint(&self, checkpointed: u64) -> bool {
        self.states.iter().any(|state| matches!(state, State::Sealed(last) if *last > checkpointed))
            || (self.offset > self.room && self.seq > checkpointed && !self.waits_for_archive())
    }

    /// True when a segment is kept for the archive alone: no checkpoint makes room then.
    fn waits_for_archive(&self) -> bool {
        self.states.iter().any(|state| matches!(state, State::Sealed(last) if *last > self.archived()))
    }

    /// Bytes of the two files.
    pub(super) fn file_bytes(&self) -> u64 {
        self.sync.file_bytes()
    }
}

/// True when the disk or the quota is full, or the file as large as this process may make it.
pub(super) fn is_full(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}
