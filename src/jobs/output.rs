//! What a running job wrote: two streams, in chunks that each know their task, of which head and tail are kept when
//! there is more than the operator keeps.
//!
//! Rows of `job_data`: (job, stream) → totals; (job, stream, n u32) → `[task u32][bytes]`. `n` ascends; a chunk is
//! filled up to [`CHUNK_BYTES`] before the next begins, so that a job that writes byte by byte has few rows.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};

use bytes::Bytes;

use crate::data::Touch;
use crate::jobs::codec::{Reader, Writer};
use crate::jobs::error::Result;
use crate::jobs::job::Job;
use crate::jobs::rows::{data_key, data_prefix};
use crate::jobs::{Id, Jobs, JobsView};
use crate::storage::{self, Rows, Table, tables};

const VERSION: u8 = 1;
/// Chunks shorter than this grow.
const CHUNK_BYTES: usize = 4 << 10;
/// What is appended at once is cut into pieces of this size.
const PIECE_BYTES: usize = 64 << 10;

/// An output stream; the numbers are part of the key format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Stream {
    /// Standard output.
    Stdout = 16,
    /// Standard error.
    Stderr = 17,
}

impl Stream {
    /// The stream of a word.
    #[must_use]
    pub fn of(name: &[u8]) -> Option<Stream> {
        match name {
            b"stdout" => Some(Stream::Stdout),
            b"stderr" => Some(Stream::Stderr),
            _ => None,
        }
    }
}

/// What is known of a stream besides its chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// Bytes that were written.
    pub written: u64,
    /// Bytes that are kept.
    pub kept: u64,
    /// The next chunk's number.
    pub(super) next: u32,
    /// Chunks below this are the head, which stays.
    pub(super) head_end: u32,
    /// The first chunk of the tail.
    pub(super) tail: u32,
}

impl Totals {
    /// True when something in the middle was dropped.
    #[must_use]
    pub fn truncated(&self) -> bool {
        self.kept < self.written
    }

    /// Divides a stream that is whole into head and tail anew: the head is what stands within its first half.
    pub(super) fn divide(&mut self, chunks: &[(u32, u32, u64)], half: u64) {
        let mut end = 0;
        let first_behind = chunks.iter().find(|(_, _, bytes)| {
            end += bytes;
            end > half
        });
        self.head_end = first_behind.map_or(self.next, |(number, ..)| *number);
        self.tail = self.head_end;
    }

    pub(super) fn encode(&self) -> Bytes {
        let mut out = Writer::new(VERSION);
        for number in [self.written, self.kept] {
            out.number(number);
        }
        for number in [self.next, self.head_end, self.tail] {
            out.number(u64::from(number));
        }
        out.finish()
    }

    pub(super) fn decode(row: &Bytes) -> storage::Result<Totals> {
        let mut from = Reader::new(Table::JobData, row, VERSION)?;
        let (written, kept) = (from.number()?, from.number()?);
        let (next, head_end, tail) = (from.small()?, from.small()?, from.small()?);
        from.finish()?;
        Ok(Totals { written, kept, next, head_end, tail })
    }
}

pub(super) fn chunk_key(id: &Id, stream: Stream, n: u32) -> Vec<u8> {
    let mut part = vec![stream as u8];
    part.extend_from_slice(&n.to_be_bytes());
    data_key(id, &part)
}

pub(super) fn split_chunk(chunk: &[u8]) -> storage::Result<(u32, &[u8])> {
    let (task, bytes) = chunk
        .split_first_chunk()
        .ok_or_else(|| storage::Error::corrupt(Table::JobData, format!("a chunk of {} bytes", chunk.len())))?;
    Ok((u32::from_be_bytes(*task), bytes))
}

impl JobsView<'_> {
    /// How much a job wrote to a stream.
    ///
    /// # Errors
    /// When the store fails.
    pub fn output_totals(&self, id: &Id, stream: Stream) -> Result<Totals> {
        let row = self.rows.get(Table::JobData, &data_key(id, &[stream as u8]))?;
        Ok(row.as_ref().map(Totals::decode).transpose()?.unwrap_or_default())
    }

    /// What is kept of a stream, in order.
    ///
    /// # Errors
    /// When the store fails.
    pub fn output(&self, id: &Id, stream: Stream) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        let (from, to) = (chunk_key(id, stream, 0), chunk_key(id, stream, u32::MAX));
        let mut failed = None;
        self.rows.scan(Table::JobData, Bound::Included(&from), Bound::Included(&to), false, &mut |_, chunk| {
            match split_chunk(chunk) {
                Ok((_, bytes)) => out.extend_from_slice(bytes),
                Err(error) => {
                    failed = Some(error);
                    return ControlFlow::Break(());
                }
            }
            ControlFlow::Continue(())
        })?;
        failed.map_or(Ok(out), |error| Err(error.into()))
    }
}

impl Jobs<'_, '_> {
    /// Appends to a stream of a running job.
    pub(super) fn append_output(&mut self, job: &mut Job, stream: Stream, task: u32, bytes: &[u8]) -> Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        if !job.has_output {
            let old = job.clone();
            job.has_output = true;
            self.write(Some(&old), job)?;
        }
        let mut totals = self.view().output_totals(&job.id, stream)?;
        for piece in bytes.chunks(PIECE_BYTES) {
            self.append_piece(&job.id, stream, task, piece, &mut totals)?;
        }
        self.batch.put(Table::JobData, data_key(&job.id, &[stream as u8]), totals.encode())?;
        self.touched.add(|| Touch::Job(Bytes::copy_from_slice(job.id.as_bytes())));
        Ok(())
    }

    /// Gives a running job the whole output of a stream in place of what it has; of what is too much, head and tail.
    pub(super) fn replace_stream(&mut self, job: &mut Job, stream: Stream, bytes: &[u8]) -> Result<()> {
        let old = self.view().output_totals(&job.id, stream)?;
        if old.written > 0 {
            for n in (0..old.head_end).chain(old.tail..old.next) {
                self.batch.remove(Table::JobData, chunk_key(&job.id, stream, n))?;
            }
            self.batch.remove(Table::JobData, data_key(&job.id, &[stream as u8]))?;
        }
        let most = usize::try_from(self.settings.max_output).unwrap_or(usize::MAX);
        if bytes.len() <= most {
            return self.append_output(job, stream, 0, bytes);
        }
        // What would be dropped anyway is never written, so that one report of any size stays within a write set.
        let half = most / 2;
        self.append_output(job, stream, 0, &bytes[..half])?;
        self.append_output(job, stream, 0, &bytes[bytes.len() - (most - half)..])?;
        let mut totals = self.view().output_totals(&job.id, stream)?;
        totals.written += (bytes.len() - most) as u64;
        Ok(self.batch.put(Table::JobData, data_key(&job.id, &[stream as u8]), totals.encode())?)
    }

    fn append_piece(&mut self, id: &Id, stream: Stream, task: u32, piece: &[u8], totals: &mut Totals) -> Result<()> {
        totals.written += piece.len() as u64;
        totals.kept += piece.len() as u64;
        let half = self.settings.max_output / 2;
        let in_head = totals.head_end == totals.next && !totals.truncated();
        // The last chunk grows while it is short and of the same task; the head's last one only while the head does.
        let last = totals.next.checked_sub(1).filter(|last| in_head || *last >= totals.tail);
        let last = match last {
            Some(n) => self.batch.get(Table::JobData, &chunk_key(id, stream, n))?.map(|chunk| (n, chunk)),
            None => None,
        };
        let grows = match &last {
            Some((_, chunk)) => split_chunk(chunk)?.0 == task && chunk.len() + piece.len() <= CHUNK_BYTES,
            None => false,
        };
        let (n, chunk) = match last.filter(|_| grows) {
            Some((n, chunk)) => (n, [&chunk[..], piece].concat()),
            None => (totals.next, [&task.to_be_bytes()[..], piece].concat()),
        };
        self.batch.put(Table::JobData, chunk_key(id, stream, n), chunk)?;
        if !grows {
            totals.next = n + 1;
            if in_head && totals.kept <= half.max(piece.len() as u64) {
                totals.head_end = totals.next;
                totals.tail = totals.next;
            }
        }
        self.drop_middle(id, stream, totals)
    }

    /// Drops the oldest chunks of the tail until no more is kept than allowed; the newest chunk stays.
    fn drop_middle(&mut self, id: &Id, stream: Stream, totals: &mut Totals) -> Result<()> {
        while totals.kept > self.settings.max_output && totals.tail + 1 < totals.next {
            let key = chunk_key(id, stream, totals.tail);
            totals.tail += 1;
            // What tasks that run again wrote before is gone already.
            let Some(chunk) = self.batch.get(Table::JobData, &key)? else { continue };
            totals.kept -= split_chunk(&chunk)?.1.len() as u64;
            self.batch.remove(Table::JobData, key)?;
        }
        Ok(())
    }

    /// Removes from a stream what all tasks wrote but those that `wrote` names, each with how many bytes it wrote, as
    /// far as that is known. Returns true when something is left.
    pub(super) fn keep_output(&mut self, id: &Id, stream: Stream, wrote: &BTreeMap<u32, u64>) -> Result<bool> {
        let mut totals = self.view().output_totals(id, stream)?;
        let (mut kept, mut removed) = (Vec::new(), Vec::new());
        let (from, to) = (chunk_key(id, stream, 0), chunk_key(id, stream, u32::MAX));
        let mut failed = None;
        self.batch.scan(Table::JobData, Bound::Included(&from), Bound::Included(&to), false, &mut |key, chunk| {
            let number = key.last_chunk().map_or(0, |number| u32::from_be_bytes(*number));
            match split_chunk(chunk) {
                Ok((task, bytes)) if wrote.contains_key(&task) => kept.push((number, task, bytes.len() as u64)),
                Ok(_) => removed.push(Bytes::copy_from_slice(key)),
                Err(error) => failed = Some(error),
            }
            if failed.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        failed.map_or(Ok(()), Err)?;
        for key in removed {
            self.batch.remove(Table::JobData, key)?;
        }
        // Of what was dropped from the middle, so much is theirs.
        let kept_of = |of: u32| kept.iter().filter(|(_, task, _)| *task == of).map(|(_, _, bytes)| bytes).sum();
        let missing = wrote.iter().map(|(task, bytes)| bytes.saturating_sub(kept_of(*task)));
        let dropped = missing.fold(0, u64::saturating_add).min(totals.written - totals.kept);
        totals.kept = kept.iter().map(|(_, _, bytes)| bytes).sum();
        totals.written = totals.kept + dropped;
        if dropped == 0 {
            totals.divide(&kept, self.settings.max_output / 2);
        }
        let key = data_key(id, &[stream as u8]);
        match totals.written {
            0 => self.batch.remove(Table::JobData, key)?,
            _ => self.batch.put(Table::JobData, key, totals.encode())?,
        }
        Ok(totals.written > 0)
    }

    /// Removes the output of earlier attempts.
    pub(super) fn clear_output(&mut self, id: &Id) -> Result<()> {
        while self.remove_data(id, &[Stream::Stdout as u8], 1_000)? == 1_000 {}
        Ok(())
    }

    /// Removes up to `limit` rows beside a job's record, from a part on. Returns how many.
    pub(super) fn remove_data(&mut self, id: &Id, from: &[u8], limit: usize) -> Result<usize> {
        let start = data_key(id, from);
        let end = tables::prefix_end(&data_prefix(id));
        let end = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let mut keys = Vec::new();
        self.batch.scan(Table::JobData, Bound::Included(&start), end, false, &mut |key, _| {
            keys.push(Bytes::copy_from_slice(key));
            if keys.len() >= limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        let removed = keys.len();
        for key in keys {
            self.batch.remove(Table::JobData, key)?;
        }
        Ok(removed)
    }
}
