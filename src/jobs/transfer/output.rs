//! What a job wrote: pieces of its streams, behind the job, in the words of JOB.LOG.

use crate::jobs::error::{Error, Result};
use crate::jobs::job::Job;
use crate::jobs::json::Object;
use crate::jobs::output::{Totals, chunk_key, split_chunk};
use crate::jobs::rows::data_key;
use crate::jobs::show::Json;
use crate::jobs::transfer::export::Take;
use crate::jobs::transfer::{bytes_json, each_under, need, put_count, take_bytes, take_count, take_small, take_word};
use crate::jobs::{Id, Jobs, JobsView, Stream};
use crate::storage::{Error as StorageError, Table};

const STREAMS: [Stream; 2] = [Stream::Stdout, Stream::Stderr];

fn name(stream: Stream) -> &'static str {
    match stream {
        Stream::Stdout => "stdout",
        Stream::Stderr => "stderr",
    }
}

/// Hands out the pieces of a job's streams. Where something was dropped, the next piece begins behind it.
pub(super) fn export(view: &JobsView<'_>, job: &Job, take: &mut Take<'_>) -> Result<()> {
    for stream in STREAMS {
        let totals = view.output_totals(&job.id, stream)?;
        let (mut offset, mut dropped) = (0, totals.written - totals.kept);
        // Behind the row of the totals.
        each_under(view.rows, Table::JobData, &data_key(&job.id, &[stream as u8]), &mut |key, chunk| {
            let Some(number) = chunk_number(&job.id, stream, key)? else { return Ok(()) };
            if number >= totals.head_end {
                offset += std::mem::take(&mut dropped);
            }
            let (task, bytes) = split_chunk(chunk)?;
            let mut out = Json::new();
            out.text("stream", name(stream));
            put_count(&mut out, "task", task.into());
            out.number("offset", offset);
            out.raw("bytes", &bytes_json(bytes));
            offset += bytes.len() as u64;
            take("output", out.finish())
        })?;
    }
    Ok(())
}

/// The number of a chunk; `None` for the totals.
fn chunk_number(id: &Id, stream: Stream, key: &[u8]) -> Result<Option<u32>> {
    let front = data_key(id, &[stream as u8]).len();
    match key.get(front..) {
        Some([]) => Ok(None),
        Some(&[a, b, c, d]) => Ok(Some(u32::from_be_bytes([a, b, c, d]))),
        _ => Err(StorageError::corrupt(Table::JobData, format!("a chunk at {}", key.escape_ascii())).into()),
    }
}

/// The output of the job whose pieces come.
pub(super) struct Written {
    id: Id,
    streams: [Course; 2],
}

/// How far a stream has come.
struct Course {
    stream: Stream,
    totals: Totals,
    /// Bytes that are missing before the pieces from `head_end` on.
    dropped: Option<u64>,
    /// Each chunk's number, task and length.
    chunks: Vec<(u32, u32, u64)>,
}

impl Written {
    pub(super) fn new(id: Id, written: [u64; 2]) -> Written {
        let [stdout, stderr] = STREAMS;
        let course = |stream, written| Course {
            stream,
            totals: Totals { written, ..Totals::default() },
            dropped: None,
            chunks: Vec::new(),
        };
        Written { id, streams: [course(stdout, written[0]), course(stderr, written[1])] }
    }

    /// Takes a piece into the batch.
    pub(super) fn take(&mut self, jobs: &mut Jobs<'_, '_>, from: &mut Object<'_>) -> Result<()> {
        let stream = take_word(from, "stream", &STREAMS, name)?;
        let stream = need(from, "stream", stream)?;
        let (task, offset) = (take_small(from, "task")?, take_count(from, "offset")?);
        let bytes = take_bytes(from, "bytes")?;
        let bytes = need(from, "bytes", bytes)?;
        let course = &mut self.streams[usize::from(stream == Stream::Stderr)];
        let number = course.take(&self.id, task, offset, bytes.len() as u64)?;
        let chunk = [&task.to_be_bytes()[..], &bytes].concat();
        Ok(jobs.batch.put(Table::JobData, chunk_key(&self.id, stream, number), chunk)?)
    }

    /// All pieces have come.
    pub(super) fn finish(self, jobs: &mut Jobs<'_, '_>) -> Result<()> {
        for course in self.streams {
            if let Some(totals) = course.finish(&self.id, jobs.settings.max_output / 2)? {
                let key = data_key(&self.id, &[course.stream as u8]);
                jobs.batch.put(Table::JobData, key, totals.encode())?;
            }
        }
        Ok(())
    }
}

impl Course {
    /// Checks where a piece lies. Returns its chunk's number.
    fn take(&mut self, id: &Id, task: u32, offset: u64, length: u64) -> Result<u32> {
        let expected = self.totals.kept + self.dropped.unwrap_or(0);
        let refused = |why: String| Err(Error::refused(format!("output of job {id}: {why}")));
        if length == 0 {
            return refused("output.bytes has none".to_owned());
        }
        if offset < expected || offset > expected && self.dropped.is_some() {
            return refused(format!(
                "output.offset is {offset}, expected {expected}: pieces follow each other, with one gap at most"
            ));
        }
        if offset > expected {
            self.dropped = Some(offset - expected);
            (self.totals.head_end, self.totals.tail) = (self.totals.next, self.totals.next);
        }
        if offset.checked_add(length).is_none_or(|end| end > self.totals.written) {
            let (stream, written) = (name(self.stream), self.totals.written);
            return refused(format!("a piece ends behind the {written} bytes that job.{stream}_bytes says"));
        }
        let number = self.totals.next;
        self.totals.next = number.checked_add(1).ok_or_else(|| Error::refused("output has over 2^32 pieces"))?;
        self.totals.kept += length;
        self.chunks.push((number, task, length));
        Ok(number)
    }

    /// What is known of the stream; `None` when nothing was written.
    fn finish(&self, id: &Id, half: u64) -> Result<Option<Totals>> {
        let mut totals = self.totals;
        match self.dropped {
            Some(dropped) if totals.kept + dropped != totals.written => {
                let (stream, seen) = (name(self.stream), totals.kept + dropped);
                let written = totals.written;
                return Err(Error::refused(format!(
                    "output of job {id}: job.{stream}_bytes is {written}, its pieces end at {seen}"
                )));
            }
            Some(_) => {}
            // What is missing came last.
            None if totals.truncated() => (totals.head_end, totals.tail) = (totals.next, totals.next),
            None => totals.divide(&self.chunks, half),
        }
        Ok((totals.written > 0).then_some(totals))
    }
}
