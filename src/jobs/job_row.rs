//! The row of a job: `[version][status][reason][flags][which optional fields][numbers and names][optional fields]`.

use bytes::Bytes;

use crate::clock::Millis;
use crate::jobs::Id;
use crate::jobs::codec::{Reader, Writer};
use crate::jobs::job::{AfterPolicy, Backoff, Body, Job, Lease, Reason, Status, Work};
use crate::storage::{Result, Table};

const VERSION: u8 = 4;

const CANCELLING: u8 = 1;
const HAS_OUTPUT: u8 = 2;
const IS_PLAN: u8 = 4;
const IS_PLAIN: u8 = 8;
const HAS_DEPENDENTS: u8 = 16;
const FLAGS: u8 = 31;

/// How many optional fields there are: bits 0 to 24 say which stand in the row, in this order.
const OPTIONAL: u32 = 25;

/// The row of a job.
pub(super) fn encode(job: &Job) -> Bytes {
    let mut out = Writer::new(VERSION);
    out.byte(job.status as u8);
    out.byte(job.reason as u8);
    let (is_plan, work) = match &job.work {
        Work::Plan(id) => (IS_PLAN, &**id),
        Work::Kind(kind) => (0, &**kind),
    };
    let cancelling = if job.cancelling { CANCELLING } else { 0 };
    let has_output = if job.has_output { HAS_OUTPUT } else { 0 };
    let is_plain = if job.is_plain { IS_PLAIN } else { 0 };
    let has_dependents = if job.has_dependents { HAS_DEPENDENTS } else { 0 };
    out.byte(is_plan | cancelling | has_output | is_plain | has_dependents);
    out.number(u64::from(present(job)));
    for number in [job.number, job.place] {
        out.number(number);
    }
    out.bytes(job.queue.as_bytes());
    out.bytes(work.as_bytes());
    out.byte(job.priority);
    for number in [job.attempts, job.max_losses, job.starts, job.failures, job.losses] {
        out.number(u64::from(number));
    }
    out.number(job.epoch);
    out.number(job.created_at.0);
    encode_optional(job, &mut out);
    out.finish()
}

fn present(job: &Job) -> u32 {
    let fields: [bool; OPTIONAL as usize] = [
        job.failures_before > 0 || job.losses_before > 0,
        job.abandons > 0,
        job.run_at.is_some(),
        job.started_at.is_some(),
        job.ended_at.is_some(),
        job.remove_at.is_some(),
        job.retention_ms.is_some(),
        job.timeout_ms.is_some(),
        job.expires_at.is_some(),
        job.backoff != Backoff::Default,
        job.lease.is_some(),
        job.worker.is_some(),
        job.action.is_some(),
        job.key.is_some(),
        job.unique_key.is_some(),
        !job.labels.is_empty(),
        !job.requires.is_empty(),
        job.input.is_some(),
        job.meta.is_some(),
        job.result.is_some(),
        job.error.is_some(),
        job.progress.is_some(),
        job.submission.is_some(),
        job.after.is_some(),
        job.claimed_with.is_some(),
    ];
    fields.iter().enumerate().map(|(bit, present)| u32::from(*present) << bit).sum()
}

fn encode_optional(job: &Job, out: &mut Writer) {
    if job.failures_before > 0 || job.losses_before > 0 {
        out.number(u64::from(job.failures_before));
        out.number(u64::from(job.losses_before));
    }
    if job.abandons > 0 {
        out.number(u64::from(job.abandons));
    }
    let moments = [job.run_at, job.started_at, job.ended_at, job.remove_at].map(|at| at.map(|at| at.0));
    let numbers = [job.retention_ms, job.timeout_ms, job.expires_at.map(|at| at.0)];
    for number in moments.into_iter().chain(numbers).flatten() {
        out.number(number);
    }
    if job.backoff != Backoff::Default {
        job.backoff.write(out);
    }
    if let Some(lease) = &job.lease {
        for number in [lease.deadline.0, lease.length_ms, lease.claim, lease.list_connection] {
            out.number(number);
        }
    }
    if let Some(worker) = &job.worker {
        out.bytes(worker.as_bytes());
    }
    if let Some((action, place)) = &job.action {
        out.bytes(action.as_bytes());
        out.number(*place);
    }
    for text in [&job.key, &job.unique_key].into_iter().flatten() {
        out.bytes(text.as_bytes());
    }
    if !job.labels.is_empty() {
        out.strings(&job.labels);
    }
    if !job.requires.is_empty() {
        out.strings(&job.requires);
    }
    for body in [&job.input, &job.meta, &job.result, &job.error, &job.progress].into_iter().flatten() {
        encode_body(body, out);
    }
    for byte in job.submission.iter().flatten() {
        out.byte(*byte);
    }
    if let Some(after) = &job.after {
        encode_body(after, out);
        out.number(u64::from(job.after_left));
        out.byte(job.after_policy as u8);
    }
    if let Some(key) = &job.claimed_with {
        out.bytes(key.as_bytes());
    }
}

fn encode_body(body: &Body, out: &mut Writer) {
    match body {
        Body::Inline(bytes) => {
            out.byte(0);
            out.bytes(bytes);
        }
        Body::Stored(length) => {
            out.byte(1);
            out.number(*length);
        }
    }
}

/// Reads the row of job `id`.
pub(super) fn decode(id: Id, row: &Bytes) -> Result<Job> {
    let mut from = Reader::new(Table::Jobs, row, VERSION)?;
    let status = from.byte()?;
    let status = *Status::ALL.get(usize::from(status)).ok_or_else(|| from.corrupt("an unknown status"))?;
    let reason = from.byte()?;
    let reason = Reason::from_number(reason).ok_or_else(|| from.corrupt("an unknown reason"))?;
    let flags = from.byte()?;
    let there = from.small()?;
    if flags & !FLAGS != 0 || there >> OPTIONAL != 0 {
        return Err(from.corrupt("unknown flags"));
    }
    let (number, place) = (from.number()?, from.number()?);
    let queue = read_id(&mut from)?;
    let work = from.string()?;
    let work =
        if flags & IS_PLAN == 0 { Work::Kind(work) } else { Work::Plan(Id::stored(Table::Jobs, work.as_bytes())?) };
    let mut job = Job::new(id, number, queue, work, Millis(0));
    (job.status, job.reason, job.place) = (status, reason, place);
    (job.cancelling, job.has_output) = (flags & CANCELLING != 0, flags & HAS_OUTPUT != 0);
    (job.is_plain, job.has_dependents) = (flags & IS_PLAIN != 0, flags & HAS_DEPENDENTS != 0);
    job.priority = from.byte()?;
    if job.priority > 9 {
        return Err(from.corrupt("a priority over 9"));
    }
    let counters = [&mut job.attempts, &mut job.max_losses, &mut job.starts, &mut job.failures, &mut job.losses];
    for counter in counters {
        *counter = from.small()?;
    }
    job.epoch = from.number()?;
    job.created_at = Millis(from.number()?);
    decode_optional(&mut job, &mut from, there)?;
    if present(&job) != there {
        return Err(from.corrupt("a field that says nothing"));
    }
    from.finish()?;
    Ok(job)
}

fn decode_optional(job: &mut Job, from: &mut Reader<'_>, there: u32) -> Result<()> {
    let has = |bit: u32| there >> bit & 1 == 1;
    if has(0) {
        (job.failures_before, job.losses_before) = (from.small()?, from.small()?);
    }
    if has(1) {
        job.abandons = from.small()?;
    }
    let moments = [&mut job.run_at, &mut job.started_at, &mut job.ended_at, &mut job.remove_at];
    for (bit, moment) in (2..).zip(moments) {
        *moment = if has(bit) { Some(Millis(from.number()?)) } else { None };
    }
    job.retention_ms = if has(6) { Some(from.number()?) } else { None };
    job.timeout_ms = if has(7) { Some(from.number()?) } else { None };
    job.expires_at = if has(8) { Some(Millis(from.number()?)) } else { None };
    if has(9) {
        job.backoff = decode_backoff(from)?;
    }
    if has(10) {
        job.lease = Some(Lease {
            deadline: Millis(from.number()?),
            length_ms: from.number()?,
            claim: from.number()?,
            list_connection: from.number()?,
        });
    }
    job.worker = if has(11) { Some(read_id(from)?) } else { None };
    job.action = if has(12) { Some((read_id(from)?, from.number()?)) } else { None };
    job.key = if has(13) { Some(from.string()?) } else { None };
    job.unique_key = if has(14) { Some(from.string()?) } else { None };
    if has(15) {
        job.labels = from.strings()?;
    }
    if has(16) {
        job.requires = from.strings()?;
    }
    let bodies = [&mut job.input, &mut job.meta, &mut job.result, &mut job.error, &mut job.progress];
    for (bit, body) in (17..).zip(bodies) {
        *body = if has(bit) { Some(decode_body(from)?) } else { None };
    }
    job.submission = if has(22) { Some(from.digest()?) } else { None };
    if has(23) {
        decode_after(job, from)?;
    }
    job.claimed_with = if has(24) { Some(read_id(from)?) } else { None };
    Ok(())
}

fn decode_after(job: &mut Job, from: &mut Reader<'_>) -> Result<()> {
    job.after = Some(decode_body(from)?);
    job.after_left = from.small()?;
    job.after_policy = match from.byte()? {
        0 => AfterPolicy::Cancel,
        1 => AfterPolicy::Continue,
        2 => AfterPolicy::Fail,
        _ => return Err(from.corrupt("an unknown policy")),
    };
    Ok(())
}

fn decode_body(from: &mut Reader<'_>) -> Result<Body> {
    match from.byte()? {
        0 => Ok(Body::Inline(from.bytes()?)),
        1 => Ok(Body::Stored(from.number()?)),
        _ => Err(from.corrupt("an unknown kind of body")),
    }
}

/// Reads what `Backoff::write` wrote of one that is not the default.
pub(super) fn decode_backoff(from: &mut Reader<'_>) -> Result<Backoff> {
    let kind = from.byte()?;
    let count = from.number()?;
    let mut numbers = Vec::new();
    for _ in 0..count {
        numbers.push(from.number()?);
    }
    match (kind, numbers[..].as_ref()) {
        (1, &[base_ms, max_ms]) => Ok(Backoff::Exponential { base_ms, max_ms }),
        (2, &[ms]) => Ok(Backoff::Fixed(ms)),
        (3, &[step_ms, max_ms]) => Ok(Backoff::Linear { step_ms, max_ms }),
        (4, _) => Ok(Backoff::List(numbers)),
        _ => Err(from.corrupt("an unknown backoff")),
    }
}

fn read_id(from: &mut Reader<'_>) -> Result<Id> {
    let bytes = from.bytes()?;
    Id::sound(&bytes).ok_or_else(|| from.corrupt("a name is not an id"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> Id {
        Id::parse("id", text.as_bytes()).unwrap()
    }

    fn full() -> Job {
        let mut job = Job::new(id("job_1"), 7, id("ready"), Work::Plan(id("plan_1")), Millis(1_800_000_000_000));
        job.is_plain = true;
        (job.status, job.reason, job.cancelling, job.has_output) = (Status::Running, Reason::Lost, true, true);
        (job.failures_before, job.losses_before, job.abandons) = (1, 0, 2);
        (job.run_at, job.started_at, job.ended_at) = (Some(Millis(1)), Some(Millis(2)), Some(Millis(3)));
        (job.remove_at, job.retention_ms, job.timeout_ms) = (Some(Millis(4)), Some(5), Some(6));
        (job.expires_at, job.backoff) = (Some(Millis(7)), Backoff::List(vec![1, 2, 3]));
        job.lease = Some(Lease { deadline: Millis(9), length_ms: 30_000, claim: 11, list_connection: 12 });
        (job.worker, job.action) = (Some(id("w")), Some((id("action_1"), 3)));
        job.claimed_with = Some(id("key"));
        (job.key, job.unique_key) = (Some("tenant".into()), Some("once".into()));
        (job.labels, job.requires, job.has_dependents) = (vec!["a".into()], vec!["gpu".into()], true);
        (job.after, job.after_left) = (Some(Body::Inline(Bytes::from_static(b"[\"job_0\"]"))), 1);
        job.after_policy = AfterPolicy::Fail;
        job.input = Some(Body::Inline(Bytes::from_static(b"{}")));
        job.meta = Some(Body::Stored(1 << 20));
        (job.result, job.error, job.progress) = (job.input.clone(), job.meta.clone(), job.input.clone());
        job.submission = Some(*b"0123456789abcdef");
        job.epoch = (1 << 32) + 5;
        job
    }

    #[test]
    fn rows_round_trip() {
        let plain = Job::new(id("job_1"), 1, id("ready"), Work::Kind("mail é".into()), Millis(0));
        for job in [plain, full()] {
            assert_eq!(decode(job.id.clone(), &encode(&job)).unwrap(), job);
        }
    }

    #[test]
    fn a_fresh_job_is_small() {
        let job = Job::new(id("job_1"), 1 << 40, id("ready"), Work::Kind("mail".into()), Millis(1_800_000_000_000));
        assert!(encode(&job).len() < 50, "{}", encode(&job).len());
    }

    #[test]
    fn every_cut_and_every_extra_byte_is_corrupt() {
        let row = encode(&full());
        for length in 0..row.len() {
            assert!(decode(id("job_1"), &row.slice(..length)).is_err(), "{length} bytes");
        }
        let mut longer = row.to_vec();
        longer.push(0);
        assert!(decode(id("job_1"), &longer.into()).is_err());
    }

    #[test]
    fn a_field_that_stands_there_for_nothing_is_corrupt() {
        let plain = encode(&Job::new(id("job_1"), 1, id("ready"), Work::Kind("mail".into()), Millis(0)));
        // The counts of abandons and labels: fields that are left out when they are 0.
        for bit in [1, 15] {
            let mut out = Writer::default();
            out.number(1 << bit);
            let row = [&plain[..4], &out.finish(), &plain[5..], &[0]].concat();
            assert!(decode(id("job_1"), &row.into()).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn unknown_bits_are_corrupt() {
        for (place, byte) in [(0, 9), (1, 9), (2, 14), (3, 64)] {
            let mut row = encode(&full()).to_vec();
            row[place] = byte;
            assert!(decode(id("job_1"), &row.into()).is_err(), "byte {place} = {byte}");
        }
    }
}
