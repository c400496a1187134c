//! Webhooks: what the deliverer was given, what it said came of it, and what therefore must hold.
//!
//! Nothing that a webhook wants is passed without having been sent, its order is the feed's, nothing is tried again too
//! early, and what was signed is still signed after a crash. What a webhook wants is decided here by its address, not by
//! what its row says.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};

use agq_resp::Reply;
use bytes::Bytes;
use fastrand::Rng;

use super::data_words::Words;
use super::facts::Heard;
use crate::clock::Millis;
use crate::jobs::JobsView;
use crate::jobs::events::{Event, KINDS};
use crate::jobs::webhooks::Webhook;
use crate::storage::sim::ledger::Stop;
use crate::storage::sim::{Check, Tally};
use crate::storage::{Batch, Rows, Table};

/// Terms of a webhook.
pub(super) struct Hook {
    pub(super) webhook: &'static str,
    url: &'static str,
    secret: Option<&'static str>,
    /// How the names of the kinds begin that it wants.
    kinds: &'static [&'static str],
    queue: Option<&'static str>,
    attempts: u32,
    backoff_ms: u64,
}

/// All terms that are used. Only the webhook `i` is paused, resumed and gone: then a retry may come early.
pub(super) const HOOKS: [Hook; 4] = [
    Hook {
        webhook: "h",
        url: "http://localhost/all",
        secret: Some("0123456789abcdef"),
        kinds: &["job.", "action."],
        queue: None,
        attempts: 2,
        backoff_ms: 5_000,
    },
    Hook {
        webhook: "h",
        url: "http://localhost/ends",
        secret: Some("another secret of it"),
        kinds: &["job.completed", "job.failed", "action."],
        queue: None,
        attempts: 3,
        backoff_ms: 1_000,
    },
    Hook {
        webhook: "i",
        url: "http://localhost/other",
        secret: None,
        kinds: &["job."],
        queue: Some("other"),
        attempts: 2,
        backoff_ms: 0,
    },
    Hook {
        webhook: "i",
        url: "http://localhost/actions",
        secret: None,
        kinds: &["action."],
        queue: None,
        attempts: 5,
        backoff_ms: 0,
    },
];

impl Hook {
    /// What WEBHOOK.PUT is given.
    pub(super) fn json(&self) -> String {
        let Hook { url, attempts, backoff_ms, .. } = self;
        let kinds: Vec<String> =
            self.kinds.iter().map(|kind| format!("\"{kind}{}\"", if kind.ends_with('.') { "*" } else { "" })).collect();
        let mut json = format!(
            r#"{{"url":"{url}","events":[{}],"max_attempts":{attempts},"backoff":{{"type":"fixed","ms":{backoff_ms}}}"#,
            kinds.join(",")
        );
        self.secret.iter().for_each(|secret| json += &format!(r#","secret":"{secret}""#));
        self.queue.iter().for_each(|queue| json += &format!(r#","queue":"{queue}""#));
        json + "}"
    }

    fn of(url: &str) -> Result<&'static Hook, Stop> {
        let hook = HOOKS.iter().find(|hook| hook.url == url);
        hook.ok_or_else(|| Stop::Broken(format!("nobody asked for webhooks to {url}")))
    }

    fn wants(&self, event: &Event) -> bool {
        let kind = KINDS[event.kind()];
        self.kinds.iter().any(|begin| kind.starts_with(begin)) && self.queue.is_none_or(|queue| &*event.queue == queue)
    }
}

/// A delivery as the deliverer was given it.
#[derive(Debug, Clone, PartialEq)]
struct Delivery {
    webhook: String,
    version: u64,
    seq: u64,
    url: String,
    secret: Option<String>,
}

/// What was said of an event to a webhook.
#[derive(Debug, Clone)]
struct Sent {
    /// The last record when it was given first.
    record: u64,
    taken: bool,
    failures: u32,
}

/// What the deliverer knows, and what is known of it.
#[derive(Default)]
pub(super) struct Deliveries {
    under_way: Vec<Delivery>,
    /// Given since the last look at the store.
    fresh: Vec<Delivery>,
    sent: BTreeMap<(String, u64), Sent>,
    /// Failures that were reported: which delivery is not due before when, and by which record that is known.
    not_before: BTreeMap<(String, u64, u64), (Millis, u64)>,
    /// Whatever is sent is taken.
    pub(super) all_is_taken: bool,
}

impl Deliveries {
    /// The deliverer has a new connection.
    pub(super) fn begin(&mut self) {
        self.under_way.clear();
    }

    /// True when nothing is under way.
    pub(super) fn are_done(&self) -> bool {
        self.under_way.is_empty()
    }

    /// Forgets what was told after record `found`.
    pub(super) fn lost_after(&mut self, found: u64) {
        self.sent.retain(|_, sent| sent.record <= found);
        self.not_before.retain(|_, (_, record)| *record <= found);
        self.fresh.clear();
    }

    /// The clock was set back, with the operator's word for it: what was to come at a time may come at any.
    pub(super) fn forget_times(&mut self) {
        self.not_before.clear();
    }

    /// What the deliverer says next: reports, then what it asks.
    pub(super) fn say(&mut self, rng: &mut Rng) -> Vec<Words> {
        let mut commands = Vec::new();
        for delivery in std::mem::take(&mut self.under_way) {
            if !self.all_is_taken && rng.u8(..100) < 30 {
                self.under_way.push(delivery);
                continue;
            }
            let outcome = match rng.u8(..100) {
                _ if self.all_is_taken => "ok",
                0..65 => "ok",
                65..98 => "failed",
                _ if delivery.webhook == "i" => "gone",
                _ => "failed",
            };
            if let Some(sent) = self.sent.get_mut(&(delivery.webhook.clone(), delivery.seq)) {
                sent.taken |= outcome == "ok";
                sent.failures += u32::from(outcome == "failed");
            }
            let (version, seq) = (delivery.version.to_string(), delivery.seq.to_string());
            let report = ["WEBHOOK.REPORT", &delivery.webhook, &version, &seq, outcome, "503"];
            commands.push(report.map(str::to_owned).to_vec());
        }
        let busy = self.under_way.iter().map(|delivery| delivery.webhook.clone());
        commands.push(std::iter::once("WEBHOOK.CLAIM".to_owned()).chain(busy).collect());
        commands
    }

    /// The deliverer was given these.
    pub(super) fn handed(&mut self, reply: &Reply, heard: Heard, tally: &mut Tally) -> Check<()> {
        let Reply::Array(rows) = reply else { return Err(format!("WEBHOOK.CLAIM answered {reply:?}")) };
        for row in rows {
            let delivery = read(row).ok_or_else(|| format!("no delivery: {row:?}"))?;
            tally.count("deliveries to webhooks");
            let Delivery { webhook, version, seq, url, secret } = &delivery;
            let hook = HOOKS.iter().find(|hook| hook.url == url);
            let hook = hook.ok_or_else(|| format!("nobody asked for webhooks to {url}"))?;
            if secret.as_deref() != hook.secret {
                return Err(format!("a delivery to {url} is signed with {secret:?}"));
            }
            if let Some((at, _)) =
                self.not_before.get(&(webhook.clone(), *version, *seq)).filter(|(at, _)| heard.at < *at)
            {
                return Err(format!("event {seq} is sent to webhook {webhook} again at {:?}, before {at:?}", heard.at));
            }
            if self.under_way.iter().any(|other| other.webhook == *webhook) {
                return Err(format!("webhook {webhook} is sent {seq} while a delivery is under way"));
            }
            let key = (webhook.clone(), *seq);
            if self.sent.contains_key(&key) {
                tally.count("deliveries that were made again");
            }
            self.sent.entry(key).or_insert(Sent { record: heard.record, taken: false, failures: 0 });
            self.fresh.push(delivery.clone());
            self.under_way.push(delivery);
        }
        Ok(())
    }

    /// The engine has noted what came of a delivery.
    pub(super) fn reported(&mut self, sent: &Words, heard: Heard, tally: &mut Tally) {
        let [_, webhook, version, seq, outcome, _] = &sent[..] else { return };
        let (Ok(version), Ok(seq)) = (version.parse(), seq.parse()) else { return };
        tally.count("deliveries reported");
        let backoff = HOOKS.iter().filter(|hook| hook.webhook == webhook).map(|hook| hook.backoff_ms).min();
        if outcome == "failed" {
            let at = heard.at.plus(backoff.unwrap_or(0));
            self.not_before.insert((webhook.clone(), version, seq), (at, heard.record));
        }
    }

    /// Checks what was given by the store as it is after the batch: the first event that a webhook wants and has not passed.
    pub(super) fn check_fresh(&mut self, rows: &Batch<'_>, now: Millis) -> Result<(), Stop> {
        for delivery in std::mem::take(&mut self.fresh) {
            let view = JobsView { rows, now };
            // What it asked for, or that there is one, may have changed later in the batch.
            let Ok(webhook) = view.need_webhook(delivery.webhook.as_bytes()) else { continue };
            if webhook.version != delivery.version {
                continue;
            }
            let hook = Hook::of(webhook.terms.url.as_str())?;
            let first = first_wanted(rows, hook, webhook.cursor)?;
            // It may be too old by the end of the batch.
            let is_there = event(rows, delivery.seq)?.is_some();
            if first != Some(delivery.seq) && is_there {
                let text = format!("{delivery:?} was given, and event {first:?} is the next of {webhook:?}");
                return Err(Stop::Broken(text));
            }
        }
        Ok(())
    }

    /// Checks how far a webhook went from one record to the next: past nothing that it wants and was not sent.
    pub(super) fn check_place(&self, id: &str, old: &Bytes, new: &Bytes, rows: &Batch<'_>) -> Result<(), Stop> {
        let (old, new) = (Webhook::decode(old)?, Webhook::decode(new)?);
        if new.cursor < old.cursor {
            let (old, new) = (old.cursor, new.cursor);
            return Err(Stop::Broken(format!("webhook {id} went back in the feed, from {old} to {new}")));
        }
        let hooks = [Hook::of(old.terms.url.as_str())?, Hook::of(new.terms.url.as_str())?];
        if old.created_at != new.created_at {
            return Ok(());
        }
        for seq in old.cursor..new.cursor {
            // The feed keeps events for a week.
            let Some(event) = event(rows, seq)? else { continue };
            let sent = self.sent.get(&(id.to_owned(), seq));
            let least = hooks.map(|hook| hook.attempts).into_iter().min().unwrap_or(0);
            let is_over = sent.is_some_and(|sent| sent.taken || sent.failures >= least);
            if hooks.iter().all(|hook| hook.wants(&event)) && !is_over {
                let text = format!("webhook {id} has passed event {seq}, {event:?}, of which it was told: {sent:?}");
                return Err(Stop::Broken(text));
            }
        }
        Ok(())
    }
}

/// Webhooks that are not paused and have not been told everything.
pub(super) fn behind(rows: &Batch<'_>, now: Millis) -> Check<Vec<String>> {
    let webhooks = JobsView { rows, now }.webhooks().map_err(|error| error.to_string())?;
    let mut behind = Vec::new();
    for (id, webhook) in webhooks.into_iter().filter(|(_, webhook)| webhook.paused.is_none()) {
        let hook = Hook::of(webhook.terms.url.as_str());
        let first = hook.and_then(|hook| first_wanted(rows, hook, webhook.cursor));
        if let Some(seq) = first.map_err(|stop| format!("{stop:?}"))? {
            behind.push(format!("{id} was not told of event {seq}"));
        }
    }
    Ok(behind)
}

/// When the last of all retries is due.
pub(super) fn last_retry(rows: &Batch<'_>, now: Millis) -> Check<Millis> {
    let webhooks = JobsView { rows, now }.webhooks().map_err(|error| error.to_string())?;
    Ok(webhooks.iter().filter_map(|(_, webhook)| webhook.retry_at).max().unwrap_or(now))
}

fn event(rows: &Batch<'_>, seq: u64) -> Result<Option<Event>, Stop> {
    let row = rows.get(Table::Events, &seq.to_be_bytes())?;
    Ok(row.as_ref().map(Event::decode).transpose()?)
}

fn first_wanted(rows: &Batch<'_>, hook: &Hook, cursor: u64) -> Result<Option<u64>, Stop> {
    let mut found = Ok(None);
    rows.scan(Table::Events, Bound::Included(&cursor.to_be_bytes()), Bound::Unbounded, false, &mut |key, row| {
        found = match Event::decode(&Bytes::copy_from_slice(row)) {
            Ok(event) if hook.wants(&event) => Ok(key.first_chunk().map(|seq| u64::from_be_bytes(*seq))),
            Ok(_) => return ControlFlow::Continue(()),
            Err(error) => Err(error),
        };
        ControlFlow::Break(())
    })?;
    Ok(found?)
}

fn read(row: &Reply) -> Option<Delivery> {
    let Reply::Array(row) = row else { return None };
    let text = |place: usize| row.get(place)?.as_str().map(str::to_owned);
    let number = |place: usize| row.get(place)?.as_int()?.try_into().ok();
    let (seq, body) = (number(2)?, serde_json::from_str::<serde_json::Value>(&text(7)?).ok()?);
    let says = body["seq"].as_u64() == Some(seq) && body["type"].as_str() == text(3).as_deref();
    says.then_some(Delivery { webhook: text(0)?, version: number(1)?, seq, url: text(4)?, secret: text(5) })
}
