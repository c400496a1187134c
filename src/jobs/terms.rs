//! Terms: what jobs and actions are submitted with alike, checked whole before anything is written.

use std::ops::RangeInclusive;

use serde_json::value::RawValue;

use crate::clock::Millis;
use crate::jobs::body::check_length;
use crate::jobs::codec::Writer;
use crate::jobs::error::{Error, Result, shown};
use crate::jobs::job::{Backoff, Job, Reason, Status};
use crate::jobs::json::Object;
use crate::jobs::plan::check_tool;
use crate::jobs::queue::queue_name;
use crate::jobs::{Id, time};

/// The queue of a job that names none.
pub const DEFAULT_QUEUE: &str = "ready";
/// The farthest a job may be put off: ten years.
pub const MAX_DELAY_MS: u64 = 3_650 * 86_400_000;
/// The longest bound of an attempt.
const MAX_TIMEOUT_MS: u64 = 30 * 86_400_000;
/// The most labels of a job, and bytes of a label, a key or a kind.
const MAX_LABELS: usize = 32;
const MAX_WORD_BYTES: usize = 128;
/// The most capabilities that a job asks for.
const MAX_REQUIRES: usize = 32;

/// What jobs and actions are submitted with alike.
#[derive(Debug, Clone)]
pub(super) struct Terms<'a> {
    pub(super) queue: Id,
    priority: Option<u8>,
    labels: Vec<String>,
    pub(super) meta: Option<&'a RawValue>,
    delay_ms: Option<u64>,
    run_at: Option<Millis>,
    attempts: Option<u32>,
    max_losses: Option<u32>,
    timeout_ms: Option<u64>,
    expires_at: Option<Millis>,
    retention_ms: Option<u64>,
    key: Option<String>,
    requires: Vec<String>,
    backoff: Backoff,
}

impl<'a> Terms<'a> {
    /// Takes the fields that jobs and actions share.
    pub(super) fn take(from: &mut Object<'a>) -> Result<Terms<'a>> {
        let queue = from.string("queue")?;
        let queue = queue_name(&from.path("queue"), queue.as_deref().unwrap_or(DEFAULT_QUEUE).as_bytes())?;
        let run_at = from.take("run_at").map(|raw| time::read(raw, &from.path("run_at"))).transpose()?;
        let expires_at = from.take("expires_at").map(|raw| time::read(raw, &from.path("expires_at"))).transpose()?;
        let meta = from.take_raw("meta");
        if let Some(meta) = meta {
            check_length(&from.path("meta"), meta.get().len())?;
        }
        let terms = Terms {
            queue,
            priority: small(from, "priority", 0..=9)?.and_then(|value| u8::try_from(value).ok()),
            labels: words(from, "labels", MAX_LABELS)?,
            meta,
            delay_ms: from.integer("delay_ms", 0..=MAX_DELAY_MS)?,
            run_at,
            attempts: small(from, "attempts", 1..=1_000_000)?,
            max_losses: small(from, "max_losses", 1..=1_000_000)?,
            timeout_ms: from.integer("timeout_ms", 1..=MAX_TIMEOUT_MS)?,
            expires_at,
            retention_ms: from.integer("retention_ms", 0..=MAX_DELAY_MS)?,
            key: word(from, "key")?,
            requires: requires(from)?,
            backoff: Backoff::take(from)?,
        };
        if terms.delay_ms.is_some() && terms.run_at.is_some() {
            let (delay, at) = (from.path("delay_ms"), from.path("run_at"));
            return Err(Error::refused(format!("{delay} and {at} say the same thing: give one of them")));
        }
        Ok(terms)
    }

    /// The terms of a job that says nothing but its queue.
    pub(super) fn of_queue(queue: Id) -> Terms<'a> {
        Terms {
            queue,
            priority: None,
            labels: Vec::new(),
            meta: None,
            delay_ms: None,
            run_at: None,
            attempts: None,
            max_losses: None,
            timeout_ms: None,
            expires_at: None,
            retention_ms: None,
            key: None,
            requires: Vec::new(),
            backoff: Backoff::Default,
        }
    }

    /// Adds every term to what a digest is made of.
    pub(super) fn write(&self, out: &mut Writer) {
        out.bytes(self.queue.as_bytes());
        out.strings(&self.labels);
        out.strings(self.meta.map(RawValue::get).as_slice());
        let small = [self.priority.map(u64::from), self.attempts.map(u64::from), self.max_losses.map(u64::from)];
        let times = [self.run_at.map(|at| at.0), self.expires_at.map(|at| at.0)];
        let lengths = [self.delay_ms, self.timeout_ms, self.retention_ms];
        for number in small.into_iter().chain(times).chain(lengths) {
            out.byte(u8::from(number.is_some()));
            out.number(number.unwrap_or_default());
        }
        out.strings(self.key.as_slice());
        out.strings(&self.requires);
        self.backoff.write(out);
    }

    pub(super) fn apply(&self, job: &mut Job, now: Millis) {
        job.priority = self.priority.unwrap_or(job.priority);
        job.labels.clone_from(&self.labels);
        job.attempts = self.attempts.unwrap_or(job.attempts);
        job.max_losses = self.max_losses.unwrap_or(job.max_losses);
        job.timeout_ms = self.timeout_ms;
        job.expires_at = self.expires_at;
        job.retention_ms = self.retention_ms;
        job.key.clone_from(&self.key);
        job.requires.clone_from(&self.requires);
        job.backoff.clone_from(&self.backoff);
        job.run_at = self.delay_ms.map(|delay| now.plus(delay)).or(self.run_at);
        if job.run_at.is_some_and(|at| at > now) {
            job.status = Status::Scheduled;
            job.reason = Reason::Delay;
        }
    }
}

fn small(from: &mut Object<'_>, field: &str, range: RangeInclusive<u64>) -> Result<Option<u32>> {
    Ok(from.integer(field, range)?.and_then(|value| u32::try_from(value).ok()))
}

/// A field of words that are found by, or asked for.
fn words(from: &mut Object<'_>, field: &str, most: usize) -> Result<Vec<String>> {
    let path = from.path(field);
    let words = from.strings(field)?.unwrap_or_default();
    if words.len() > most {
        return Err(Error::refused(format!("{path} has {} words, at most {most} are taken", words.len())));
    }
    for (place, word) in words.iter().enumerate() {
        check_word(&format!("{path}[{place}]"), word)?;
    }
    Ok(words)
}

/// A word that stands for something else: a key.
pub(super) fn word(from: &mut Object<'_>, field: &str) -> Result<Option<String>> {
    let (path, word) = (from.path(field), from.string(field)?);
    word.iter().try_for_each(|word| check_word(&path, word))?;
    Ok(word)
}

/// Capabilities, each once and in order, so that the same ones make the same lane.
fn requires(from: &mut Object<'_>) -> Result<Vec<String>> {
    let path = from.path("requires");
    let mut words = words(from, "requires", MAX_REQUIRES)?;
    words.iter().enumerate().try_for_each(|(place, word)| check_tool(word, &format!("{path}[{place}]")))?;
    words.sort_unstable();
    words.dedup();
    Ok(words)
}

pub(super) fn check_word(field: &str, word: &str) -> Result<()> {
    if !word.is_empty() && word.len() <= MAX_WORD_BYTES && !word.chars().any(char::is_control) {
        return Ok(());
    }
    let found = shown(word.as_bytes());
    Err(Error::refused(format!(
        "{field} must be 1 to {MAX_WORD_BYTES} bytes without control characters, not '{found}'"
    )))
}
