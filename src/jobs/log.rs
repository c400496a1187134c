//! A job's output as a log that can be read from a place on, and followed while it grows.

use std::fmt;
use std::ops::{Bound, ControlFlow};

use bytes::Bytes;

use crate::jobs::error::{Error, Result, shown};
use crate::jobs::output::{chunk_key, split_chunk};
use crate::jobs::{Job, JobsView, Stream};
use crate::storage::{self, Table};

/// Bytes that one reading brings, about.
const PAGE_BYTES: usize = 1 << 20;

/// How far a log was read: of which attempt, and bytes of each stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LogCursor {
    attempt: u32,
    stdout: u64,
    stderr: u64,
}

impl fmt::Display for LogCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.attempt, self.stdout, self.stderr)
    }
}

impl LogCursor {
    /// Reads what [`LogCursor`] shows; `0` is the beginning.
    ///
    /// # Errors
    /// When it is neither.
    pub fn parse(text: &[u8]) -> Result<LogCursor> {
        let parts = std::str::from_utf8(text).ok().map(|text| text.split('-').collect::<Vec<_>>());
        let cursor = match parts.as_deref() {
            Some(["0"]) => Some(LogCursor::default()),
            Some([attempt, stdout, stderr]) => (|| {
                let (attempt, stdout, stderr) = (attempt.parse().ok()?, stdout.parse().ok()?, stderr.parse().ok()?);
                Some(LogCursor { attempt, stdout, stderr })
            })(),
            _ => None,
        };
        cursor.ok_or_else(|| {
            Error::refused(format!("FROM must be 0 or what the reading before answered, not '{}'", shown(text)))
        })
    }
}

/// A piece of output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Where it went.
    pub stream: Stream,
    /// The task that wrote it; 0 when that was not said.
    pub task: u32,
    /// Its place in the stream. What lies between it and the piece before was dropped.
    pub offset: u64,
    /// What was written.
    pub bytes: Bytes,
}

/// Some of a job's output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// Where to go on.
    pub next: LogCursor,
    /// The pieces, each stream in order.
    pub pieces: Vec<Piece>,
}

impl JobsView<'_> {
    /// What a job wrote from a place on, about a megabyte. An attempt that began since is read from its beginning.
    ///
    /// # Errors
    /// When the store fails.
    pub fn log(&self, job: &Job, from: LogCursor) -> Result<Log> {
        let mut next = match from.attempt == job.starts {
            true => from,
            false => LogCursor { attempt: job.starts, ..LogCursor::default() },
        };
        let (mut pieces, mut room) = (Vec::new(), PAGE_BYTES);
        for (stream, place) in [(Stream::Stdout, &mut next.stdout), (Stream::Stderr, &mut next.stderr)] {
            self.read_stream(job, stream, place, &mut room, &mut pieces)?;
        }
        Ok(Log { next, pieces })
    }

    fn read_stream(
        &self,
        job: &Job,
        stream: Stream,
        place: &mut u64,
        room: &mut usize,
        pieces: &mut Vec<Piece>,
    ) -> Result<()> {
        let totals = self.output_totals(&job.id, stream)?;
        if totals.written <= *place || *room == 0 {
            return Ok(());
        }
        let dropped = totals.written - totals.kept;
        let (from, to) = (chunk_key(&job.id, stream, 0), chunk_key(&job.id, stream, u32::MAX));
        let mut offset = 0;
        let mut failed: Option<storage::Error> = None;
        self.rows.scan(Table::JobData, Bound::Included(&from), Bound::Included(&to), false, &mut |key, chunk| {
            let number = key.last_chunk().map_or(0, |number| u32::from_be_bytes(*number));
            let (task, bytes) = match split_chunk(chunk) {
                Ok(chunk) => chunk,
                Err(error) => {
                    failed = Some(error);
                    return ControlFlow::Break(());
                }
            };
            // What was dropped lies between head and tail.
            let begins = if number >= totals.head_end { offset + dropped } else { offset };
            offset += bytes.len() as u64;
            let passed = usize::try_from(place.saturating_sub(begins)).unwrap_or(usize::MAX);
            if passed < bytes.len() {
                let taken = &bytes[passed..];
                let bytes = Bytes::copy_from_slice(&taken[..taken.len().min(*room)]);
                *place = begins + (passed + bytes.len()) as u64;
                *room -= bytes.len();
                pieces.push(Piece { stream, task, offset: begins + passed as u64, bytes });
            }
            if *room == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        failed.map_or(Ok(()), |error| Err(error.into()))
    }
}
