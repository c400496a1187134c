//! What webhooks are to be told next, and what came of it.
//!
//! Each webhook is told of one event at a time, in the order of the feed. It stands at an event until that was
//! delivered or given up, so that nothing is lost by a crash, and what was under way is told again. Events that it does
//! not want are passed in memory and written down now and then only.

use std::ops::{Bound, ControlFlow};

use bytes::Bytes;

use crate::clock::Millis;
use crate::jobs::error::Result;
use crate::jobs::events::{Event, KINDS};
use crate::jobs::show_feed::delivery_json;
use crate::jobs::url::Url;
use crate::jobs::webhooks::{Paused, Webhook};
use crate::jobs::{Id, Jobs, JobsView};
use crate::storage::{self, Table};

/// Events that a webhook is tried on at a time; few in tests, so that a small feed takes several times.
const LOOKED_AT: usize = if cfg!(test) { 4 } else { 256 };
/// A webhook's place is written down once it lies so many events back, …
const LAG_EVENTS: u64 = if cfg!(test) { 2 } else { 64 };
/// … or so long: well before what it has passed is removed, and would be taken for missed.
const LAG_MS: u64 = 60_000;
/// The most characters that are kept of what went wrong.
const ERROR_CHARS: usize = 300;

/// A delivery to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// To which webhook.
    pub webhook: Id,
    /// The webhook's version, which the report repeats.
    pub version: u64,
    /// The event's number.
    pub seq: u64,
    /// The event's kind.
    pub kind: &'static str,
    /// Where to.
    pub url: Url,
    /// What to sign it with.
    pub secret: Option<String>,
    /// How long the endpoint may take.
    pub timeout_ms: u64,
    /// The event, and the job or action as it is now.
    pub body: String,
}

/// What is to be delivered now, and when to ask again at the latest.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Due {
    /// One for each webhook that has something to be told.
    pub deliveries: Vec<Delivery>,
    /// When a retry is due, or a place is to be written down; not after now when there is more to look at.
    pub again_at: Option<Millis>,
}

impl Due {
    fn again(&mut self, at: Millis) {
        self.again_at = Some(self.again_at.map_or(at, |again| again.min(at)));
    }
}

/// What came of a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The endpoint took it.
    Delivered,
    /// It did not; why.
    Failed(String),
    /// It never will.
    Gone,
}

/// How far a webhook got in the feed.
struct Look {
    found: Option<(u64, Event)>,
    /// The number behind the last event that it does not want.
    cursor: u64,
    /// When the first of those was.
    first_at: Option<Millis>,
    /// More events are to be looked at.
    more: bool,
}

impl JobsView<'_> {
    /// The next event that a webhook wants, if it is among the first few.
    fn look(&self, webhook: &Webhook) -> Result<Look> {
        let mut look = Look { found: None, cursor: webhook.cursor, first_at: None, more: false };
        let (mut seen, mut failed, from) = (0, None, webhook.cursor.to_be_bytes());
        self.rows.scan(Table::Events, Bound::Included(&from), Bound::Unbounded, false, &mut |key, row| {
            let number = key.first_chunk().map_or(0, |number| u64::from_be_bytes(*number));
            if seen == LOOKED_AT {
                look.more = true;
                return ControlFlow::Break(());
            }
            seen += 1;
            match Event::decode(&Bytes::copy_from_slice(row)) {
                Err(error) => failed = Some(error),
                Ok(event) if webhook.wants(&event) => look.found = Some((number, event)),
                Ok(event) => {
                    look.cursor = number + 1;
                    look.first_at.get_or_insert(event.at);
                    return ControlFlow::Continue(());
                }
            }
            ControlFlow::Break(())
        })?;
        failed.map_or(Ok(look), |error| Err(error.into()))
    }

    /// The number of the oldest event that is kept, or the next one's.
    fn first_event(&self) -> Result<u64> {
        let first = self.rows.first(Table::Events, Bound::Unbounded, Bound::Unbounded, false)?;
        match first {
            None => self.next_event(),
            Some((key, _)) => {
                let number = key.first_chunk().map(|number| u64::from_be_bytes(*number));
                Ok(number.ok_or_else(|| storage::Error::corrupt(Table::Events, "a key that is no number"))?)
            }
        }
    }
}

impl Webhook {
    fn wants(&self, event: &Event) -> bool {
        self.terms.kinds & (1 << event.kind()) != 0
            && self.terms.queue.as_ref().is_none_or(|queue| *queue == event.queue)
    }
}

impl Jobs<'_, '_> {
    /// What is to be delivered now. `is_busy` says to which webhooks a delivery is under way, `may` whether one may be
    /// sent to an address.
    ///
    /// # Errors
    /// When the store fails.
    pub fn due_deliveries(&mut self, is_busy: &dyn Fn(&Id) -> bool, may: &dyn Fn(&Url) -> bool) -> Result<Due> {
        let (mut due, first_event) = (Due::default(), self.view().first_event()?);
        for (id, mut webhook) in self.view().webhooks()? {
            if webhook.paused.is_some() || is_busy(&id) || !may(&webhook.terms.url) {
                continue;
            }
            if webhook.cursor < first_event {
                webhook.passed_over += first_event - webhook.cursor;
                webhook.cursor = first_event;
                webhook.forget_tries();
                self.store_webhook(&id, &webhook)?;
            }
            match webhook.retry_at {
                Some(at) if at > self.now => due.again(at),
                _ => self.look_for_delivery(id, webhook, &mut due)?,
            }
        }
        Ok(due)
    }

    fn look_for_delivery(&mut self, id: Id, mut webhook: Webhook, due: &mut Due) -> Result<()> {
        let look = self.view().look(&webhook)?;
        if let Some((seq, event)) = look.found {
            let body = delivery_json(&self.view(), &id, seq, &event)?;
            let (version, kind, terms) = (webhook.version, KINDS[event.kind()], webhook.terms);
            let (url, secret, timeout_ms) = (terms.url, terms.secret, terms.timeout_ms);
            due.deliveries.push(Delivery { webhook: id, version, seq, kind, url, secret, timeout_ms, body });
            return Ok(());
        }
        let Some(first_at) = look.first_at else { return Ok(()) };
        if look.more {
            due.again(self.now);
        }
        if look.cursor - webhook.cursor >= LAG_EVENTS || first_at.plus(LAG_MS) <= self.now {
            webhook.cursor = look.cursor;
            return self.store_webhook(&id, &webhook);
        }
        due.again(first_at.plus(LAG_MS));
        Ok(())
    }

    /// Notes what came of a delivery. It counts only for the webhook as it was when the delivery began.
    ///
    /// # Errors
    /// When the store fails.
    pub fn delivered(&mut self, id: &Id, version: u64, seq: u64, outcome: &Outcome) -> Result<()> {
        let Some(mut webhook) = self.view().webhook(id.as_bytes())? else { return Ok(()) };
        if webhook.version != version || seq < webhook.cursor || seq >= self.view().next_event()? {
            return Ok(());
        }
        webhook.cursor = seq;
        match outcome {
            Outcome::Delivered => {
                webhook.delivered += 1;
                webhook.delivered_at = Some(self.now);
                webhook.cursor = seq + 1;
                webhook.forget_tries();
            }
            Outcome::Failed(why) => {
                webhook.last_error = Some((self.now, why.chars().take(ERROR_CHARS).collect()));
                webhook.tries += 1;
                webhook.retry_at = Some(self.now.plus(webhook.terms.backoff.wait_ms(webhook.tries, self.random)));
                if webhook.tries >= webhook.terms.max_attempts {
                    webhook.given_up += 1;
                    webhook.cursor = seq + 1;
                    webhook.forget_tries();
                }
            }
            Outcome::Gone => {
                webhook.last_error = Some((self.now, "410 Gone: paused until WEBHOOK.RESUME".to_owned()));
                webhook.paused = Some(Paused::Gone);
                webhook.forget_tries();
            }
        }
        self.store_webhook(id, &webhook)
    }
}
