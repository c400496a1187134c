//! Webhooks: who is told of which events, and how far each has come in the feed.
//!
//! A row each, and none for a delivery: what was told is what stands before the row's place in the feed. What is to be
//! told next, and what came of it, stands in [`super::deliveries`].

use std::ops::{Bound, ControlFlow};

use bytes::Bytes;

use crate::clock::Millis;
use crate::data::Touch;
use crate::jobs::codec::{Reader, Writer};
use crate::jobs::error::{Error, Result, shown};
use crate::jobs::events::KINDS;
use crate::jobs::job::Backoff;
use crate::jobs::job_row::decode_backoff;
use crate::jobs::json::Object;
use crate::jobs::queue_name;
use crate::jobs::rows::id_of;
use crate::jobs::url::Url;
use crate::jobs::{Id, Jobs, JobsView};
use crate::storage::{self, Table};

const VERSION: u8 = 1;
/// The most webhooks: each may have a delivery under way.
pub const MAX_WEBHOOKS: usize = 64;
/// How many bytes a secret has.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 16..=256;
/// How long an endpoint may take, and takes at most unless told.
const TIMEOUTS_MS: std::ops::RangeInclusive<u64> = 100..=60_000;
const DEFAULT_TIMEOUT_MS: u64 = 10_000;
/// How often an event may be tried. With the usual backoff the default is about a day.
const MAX_ATTEMPTS: u64 = 1_000;
const DEFAULT_ATTEMPTS: u32 = 36;

/// Why a webhook is told nothing; the numbers are part of the row format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Paused {
    /// It was asked for.
    Asked = 1,
    /// The endpoint answered that it is gone for good.
    Gone = 2,
}

/// What a client wants of a webhook, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// Where it is sent.
    pub url: Url,
    /// What it is signed with.
    pub(super) secret: Option<String>,
    /// A bit for each of [`KINDS`].
    pub(super) kinds: u64,
    /// Only events of this queue.
    pub(super) queue: Option<Id>,
    /// How long the endpoint may take.
    pub(super) timeout_ms: u64,
    /// How often an event is tried before it is given up.
    pub(crate) max_attempts: u32,
    pub(super) backoff: Backoff,
}

/// A webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    /// What was asked for.
    pub terms: Terms,
    /// When it was made.
    pub created_at: Millis,
    /// Another one after each WEBHOOK.PUT: what comes of a delivery from before that counts no more.
    pub(crate) version: u64,
    /// Why it is told nothing.
    pub(crate) paused: Option<Paused>,
    /// The number of the event that is looked at next.
    pub(crate) cursor: u64,
    /// How often that event was tried in vain.
    pub(crate) tries: u32,
    /// When it is tried again, after the first time.
    pub(crate) retry_at: Option<Millis>,
    /// Events that were delivered, given up, and removed from the feed before they were come to.
    pub(crate) delivered: u64,
    pub(crate) given_up: u64,
    pub(crate) passed_over: u64,
    pub(super) delivered_at: Option<Millis>,
    /// What went wrong last, and when.
    pub(super) last_error: Option<(Millis, String)>,
}

impl Terms {
    /// Reads what WEBHOOK.PUT is given.
    ///
    /// # Errors
    /// When a field is unknown, missing, of the wrong type or out of range; the error names it.
    pub fn parse(text: &[u8]) -> Result<Terms> {
        let mut from = Object::parse(text, "webhook")?;
        let terms = Terms::take(&mut from)?;
        from.finish()?;
        Ok(terms)
    }

    /// Takes the fields of what a client wants.
    pub(super) fn take(from: &mut Object<'_>) -> Result<Terms> {
        let url = from.string("url")?.ok_or_else(|| Error::refused("webhook.url is missing: where to send events"))?;
        let url = Url::parse("webhook.url", &url)?;
        let kinds = kinds(from.strings("events")?.unwrap_or_default())?;
        let secret = from.string("secret")?;
        if secret.as_ref().is_some_and(|secret| !is_secret(secret)) {
            let (least, most) = (SECRET_BYTES.start(), SECRET_BYTES.end());
            return Err(Error::refused(format!(
                "webhook.secret must be {least} to {most} bytes without control characters"
            )));
        }
        let queue = from.string("queue")?.map(|queue| queue_name("webhook.queue", queue.as_bytes())).transpose()?;
        let timeout_ms = from.integer("timeout_ms", TIMEOUTS_MS)?.unwrap_or(DEFAULT_TIMEOUT_MS);
        let max_attempts = from.integer("max_attempts", 1..=MAX_ATTEMPTS)?;
        let max_attempts = max_attempts.and_then(|most| u32::try_from(most).ok()).unwrap_or(DEFAULT_ATTEMPTS);
        let backoff = Backoff::take(from)?;
        Ok(Terms { url, secret, kinds, queue, timeout_ms, max_attempts, backoff })
    }

    /// The names of the kinds of events that were chosen.
    pub(super) fn events(&self) -> Vec<&'static str> {
        let chosen = KINDS.into_iter().enumerate().filter(|(place, _)| self.kinds & (1 << place) != 0);
        chosen.map(|(_, name)| name).collect()
    }
}

fn is_secret(text: &str) -> bool {
    SECRET_BYTES.contains(&text.len()) && !text.chars().any(char::is_control)
}

/// The bits of kinds by their names; `job.*` are all of jobs, `*` are all.
fn kinds(names: Vec<String>) -> Result<u64> {
    let mut bits = 0;
    for (place, name) in names.iter().enumerate() {
        let front = name.strip_suffix('*').filter(|front| matches!(*front, "" | "job." | "action."));
        let chosen = KINDS.iter().enumerate().filter(|(_, kind)| match front {
            Some(front) => kind.starts_with(front),
            None => *kind == name,
        });
        let chosen = chosen.fold(0, |bits, (place, _)| bits | 1 << place);
        if chosen == 0 {
            let (known, name) = (KINDS.join(", "), shown(name.as_bytes()));
            return Err(Error::refused(format!(
                "webhook.events[{place}] must be one of {known}, job.*, action.* or *, not '{name}'"
            )));
        }
        bits |= chosen;
    }
    if bits == 0 {
        return Err(Error::refused("webhook.events is missing: a list such as [\"job.failed\", \"action.*\"]"));
    }
    Ok(bits)
}

impl Webhook {
    pub(super) fn new(terms: Terms, now: Millis, cursor: u64) -> Webhook {
        Webhook {
            terms,
            created_at: now,
            version: 0,
            paused: None,
            cursor,
            tries: 0,
            retry_at: None,
            delivered: 0,
            given_up: 0,
            passed_over: 0,
            delivered_at: None,
            last_error: None,
        }
    }

    /// What happened to the event it stood at is no matter any more.
    pub(super) fn forget_tries(&mut self) {
        (self.tries, self.retry_at) = (0, None);
    }

    pub(super) fn encode(&self) -> Bytes {
        let mut out = Writer::new(VERSION);
        let terms = &self.terms;
        out.bytes(terms.url.as_str().as_bytes());
        out.strings(terms.secret.as_slice());
        out.number(terms.kinds);
        out.strings(terms.queue.as_slice());
        out.number(terms.timeout_ms);
        out.number(terms.max_attempts.into());
        out.byte(u8::from(terms.backoff != Backoff::Default));
        if terms.backoff != Backoff::Default {
            terms.backoff.write(&mut out);
        }
        out.byte(self.paused.map_or(0, |paused| paused as u8));
        for number in [self.created_at.0, self.version, self.cursor, self.tries.into()] {
            out.number(number);
        }
        for number in [self.delivered, self.given_up, self.passed_over] {
            out.number(number);
        }
        for at in [self.retry_at, self.delivered_at, self.last_error.as_ref().map(|(at, _)| *at)] {
            out.byte(u8::from(at.is_some()));
            at.iter().for_each(|at| out.number(at.0));
        }
        self.last_error.iter().for_each(|(_, text)| out.bytes(text.as_bytes()));
        out.finish()
    }

    pub(crate) fn decode(row: &Bytes) -> storage::Result<Webhook> {
        let mut from = Reader::new(Table::Webhooks, row, VERSION)?;
        let url = Url::read(&from.string()?).map_err(|why| from.corrupt(&format!("its address {why}")))?;
        let mut secret = from.strings()?;
        let kinds = from.number()?;
        let mut queue = from.strings()?;
        if secret.len() > 1 || queue.len() > 1 || kinds == 0 || kinds >> KINDS.len() != 0 {
            return Err(from.corrupt("terms that there are not"));
        }
        let secret = secret.pop();
        let queue = queue.pop().map(|queue| Id::stored(Table::Webhooks, queue.as_bytes())).transpose()?;
        let (timeout_ms, max_attempts) = (from.number()?, from.small()?);
        let backoff = if flag(&mut from)? { decode_backoff(&mut from)? } else { Backoff::Default };
        let paused = match from.byte()? {
            0 => None,
            1 => Some(Paused::Asked),
            2 => Some(Paused::Gone),
            _ => return Err(from.corrupt("an unknown pause")),
        };
        let (created_at, version, cursor) = (Millis(from.number()?), from.number()?, from.number()?);
        let tries = from.small()?;
        let (delivered, given_up, passed_over) = (from.number()?, from.number()?, from.number()?);
        let mut moment = || if flag(&mut from)? { Ok(Some(Millis(from.number()?))) } else { storage::Result::Ok(None) };
        let (retry_at, delivered_at, failed_at) = (moment()?, moment()?, moment()?);
        let last_error = failed_at.map(|at| storage::Result::Ok((at, from.string()?))).transpose()?;
        from.finish()?;
        let terms = Terms { url, secret, kinds, queue, timeout_ms, max_attempts, backoff };
        Ok(Webhook {
            terms,
            created_at,
            version,
            paused,
            cursor,
            tries,
            retry_at,
            delivered,
            given_up,
            passed_over,
            delivered_at,
            last_error,
        })
    }
}

fn flag(from: &mut Reader<'_>) -> storage::Result<bool> {
    match from.byte()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(from.corrupt("neither yes nor no")),
    }
}

impl JobsView<'_> {
    /// A webhook that must be there.
    ///
    /// # Errors
    /// `Webhook not found` when it is not.
    pub fn need_webhook(&self, id: &[u8]) -> Result<Webhook> {
        self.webhook(id)?.ok_or_else(|| Error::not_found("Webhook", id))
    }

    pub(super) fn webhook(&self, id: &[u8]) -> Result<Option<Webhook>> {
        Ok(self.rows.get(Table::Webhooks, id)?.as_ref().map(Webhook::decode).transpose()?)
    }

    /// Every webhook, in the order of ids.
    ///
    /// # Errors
    /// When the store fails.
    pub fn webhooks(&self) -> Result<Vec<(Id, Webhook)>> {
        let mut webhooks = Vec::new();
        self.rows.scan(Table::Webhooks, Bound::Unbounded, Bound::Unbounded, false, &mut |id, row| {
            let webhook = Webhook::decode(&Bytes::copy_from_slice(row));
            webhooks.push(id_of(Table::Webhooks, id).and_then(|id| Ok((id, webhook?))));
            ControlFlow::Continue(())
        })?;
        Ok(webhooks.into_iter().collect::<storage::Result<_>>()?)
    }

    /// True when there is a webhook.
    ///
    /// # Errors
    /// When the store fails.
    pub fn has_webhooks(&self) -> storage::Result<bool> {
        Ok(self.rows.first(Table::Webhooks, Bound::Unbounded, Bound::Unbounded, false)?.is_some())
    }
}

impl Jobs<'_, '_> {
    /// Makes a webhook, which is told of what happens from now on, or gives one other terms: it keeps its place in the
    /// feed and its pause.
    ///
    /// # Errors
    /// When there are too many.
    pub fn put_webhook(&mut self, id: &Id, terms: &Terms) -> Result<()> {
        let known = self.view().webhook(id.as_bytes())?;
        if known.is_none() && self.view().webhooks()?.len() >= MAX_WEBHOOKS {
            return Err(Error::refused(format!("there are {MAX_WEBHOOKS} webhooks, no more are taken: delete one")));
        }
        let mut webhook = match known {
            Some(known) => Webhook { terms: terms.clone(), ..known },
            None => Webhook::new(terms.clone(), self.now, self.view().next_event()?),
        };
        webhook.version = self.next_number()?;
        webhook.forget_tries();
        self.store_webhook(id, &webhook)
    }

    /// Stops a webhook's deliveries, or lets them go on where they stood.
    ///
    /// # Errors
    /// When there is none of this id.
    pub fn pause_webhook(&mut self, id: &[u8], paused: bool) -> Result<()> {
        let mut webhook = self.view().need_webhook(id)?;
        webhook.paused = paused.then_some(Paused::Asked);
        if !paused {
            webhook.forget_tries();
        }
        let id = id_of(Table::Webhooks, id)?;
        self.store_webhook(&id, &webhook)
    }

    /// Removes a webhook.
    ///
    /// # Errors
    /// When there is none of this id.
    pub fn delete_webhook(&mut self, id: &[u8]) -> Result<()> {
        self.view().need_webhook(id)?;
        Ok(self.batch.remove(Table::Webhooks, Bytes::copy_from_slice(id))?)
    }

    /// Writes a webhook, and wakes who makes the deliveries.
    pub(super) fn store_webhook(&mut self, id: &Id, webhook: &Webhook) -> Result<()> {
        self.batch.put(Table::Webhooks, Bytes::copy_from_slice(id.as_bytes()), webhook.encode())?;
        self.touched.add(|| Touch::Webhooks);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(json: &str) -> String {
        Terms::parse(json.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn terms_have_defaults() {
        let terms = Terms::parse(br#"{"url":"https://a.example/x","events":["job.*","action.failed"]}"#).unwrap();
        assert_eq!(terms.events().len(), 8);
        assert_eq!((terms.timeout_ms, terms.max_attempts, &terms.backoff), (10_000, 36, &Backoff::Default));
        let all = Terms::parse(br#"{"url":"http://a","events":["*"]}"#).unwrap();
        assert_eq!(all.events(), KINDS);
    }

    #[test]
    fn the_usual_attempts_take_about_a_day() {
        let mut random = fastrand::Rng::with_seed(1);
        let wait = |tries| Backoff::Default.wait_ms(tries, &mut random);
        let hours = (1..DEFAULT_ATTEMPTS).map(wait).sum::<u64>() / 3_600_000;
        assert!((20..=28).contains(&hours), "{hours} hours");
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert_eq!(error(r#"{"events":["*"]}"#), "ERR webhook.url is missing: where to send events");
        assert_eq!(
            error(r#"{"url":"http://a"}"#),
            "ERR webhook.events is missing: a list such as [\"job.failed\", \"action.*\"]"
        );
        assert!(error(r#"{"url":"http://a","events":["job.done"]}"#).ends_with("job.*, action.* or *, not 'job.done'"));
        assert!(error(r#"{"url":"http://a","events":["job.c*"]}"#).contains("webhook.events[0] must be one of "));
        let secret = error(r#"{"url":"http://a","events":["*"],"secret":"tooshort"}"#);
        assert_eq!(secret, "ERR webhook.secret must be 16 to 256 bytes without control characters");
    }

    #[test]
    fn rows_round_trip_and_what_is_not_exact_is_corrupt() {
        let text = br#"{"url":"https://a.example/x","events":["job.failed"],"secret":"0123456789abcdef","queue":"q",
            "timeout_ms":500,"max_attempts":3,"backoff":{"type":"fixed","ms":7}}"#;
        let mut webhook = Webhook::new(Terms::parse(text).unwrap(), Millis(5), 1 << 40);
        for paused in [None, Some(Paused::Asked), Some(Paused::Gone)] {
            let row = webhook.encode();
            assert_eq!(Webhook::decode(&row).unwrap(), webhook);
            assert!(Webhook::decode(&row.slice(..row.len() - 1)).is_err());
            assert!(Webhook::decode(&[&row[..], &[0]].concat().into()).is_err());
            (webhook.paused, webhook.tries, webhook.retry_at) = (paused, 2, Some(Millis(9)));
            (webhook.delivered_at, webhook.last_error) = (Some(Millis(8)), Some((Millis(7), "no".to_owned())));
        }
    }
}
