//! Webhooks: what each is to be told when, and when it is given up. The feed is the store's: which events there are is no
//! rule of theirs.

use super::*;

/// The events of the feed: of each the kind, and the queue.
pub(crate) type Feed = BTreeMap<u64, (String, String)>;

/// What a webhook is put with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hook {
    /// How the kinds begin that it wants.
    pub(crate) kinds: &'static [&'static str],
    pub(crate) queue: Option<&'static str>,
    pub(crate) attempts: u32,
    pub(crate) backoff_ms: u64,
}

impl Hook {
    /// The first event from a number on that is wanted.
    pub(crate) fn next(&self, feed: &Feed, from: u64) -> Option<u64> {
        let wants = |(kind, queue): &(String, String)| {
            self.kinds.iter().any(|begin| kind.starts_with(begin)) && self.queue.is_none_or(|wanted| wanted == queue)
        };
        feed.range(from..).find(|(_, event)| wants(event)).map(|(number, _)| *number)
    }
}

/// A webhook.
#[derive(Debug, Clone)]
pub(crate) struct Webhook {
    pub(crate) hook: Hook,
    pub(crate) paused: bool,
    /// Of everything before it is told, or nothing is wanted.
    pub(crate) next: u64,
    pub(crate) tries: u32,
    pub(crate) retry_at: Option<Millis>,
    pub(crate) delivered: u64,
    pub(crate) given_up: u64,
}

impl Webhook {
    fn forget_tries(&mut self) {
        (self.tries, self.retry_at) = (0, None);
    }

    fn has_done(&mut self, event: u64) {
        self.next = event + 1;
        self.forget_tries();
    }
}

/// What an endpoint makes of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    Ok,
    Failed,
    Gone,
    /// The report is of a delivery from before the webhook was put last.
    Late,
}

impl Model {
    /// A webhook is made, or has other terms, and stands at event `next`.
    pub(crate) fn put_webhook(&mut self, name: &'static str, hook: Hook, next: u64) {
        let fresh = Webhook { hook, paused: false, next, tries: 0, retry_at: None, delivered: 0, given_up: 0 };
        let webhook = self.webhooks.entry(name).or_insert(fresh);
        (webhook.hook, webhook.next) = (hook, next);
        webhook.forget_tries();
    }

    pub(crate) fn pause_webhook(&mut self, name: &str, paused: bool) -> Answer {
        let webhook = self.webhooks.get_mut(name).ok_or(No::Refused)?;
        webhook.paused = paused;
        if !paused {
            webhook.forget_tries();
        }
        Ok(())
    }

    pub(crate) fn delete_webhook(&mut self, name: &str) -> Answer {
        self.webhooks.remove(name).map(drop).ok_or(No::Refused)
    }

    /// What is to be delivered now.
    pub(crate) fn deliveries(&mut self, feed: &Feed, first_kept: u64) -> BTreeMap<String, u64> {
        let mut due = BTreeMap::new();
        for (name, webhook) in self.webhooks.iter_mut().filter(|(_, webhook)| !webhook.paused) {
            if webhook.next < first_kept {
                webhook.next = first_kept;
                webhook.forget_tries();
            }
            if webhook.retry_at.is_none_or(|at| at <= self.now)
                && let Some(event) = webhook.hook.next(feed, webhook.next)
            {
                due.insert((*name).to_owned(), event);
            }
        }
        due
    }

    /// When the next retry is due.
    pub(crate) fn next_retry(&self) -> Option<Millis> {
        self.webhooks.values().filter(|webhook| !webhook.paused).filter_map(|webhook| webhook.retry_at).min()
    }

    /// What came of a delivery.
    pub(crate) fn report_delivery(&mut self, name: &str, event: u64, taken: Taken) {
        let now = self.now;
        let Some(webhook) = self.webhooks.get_mut(name) else { return };
        match taken {
            Taken::Late => {}
            Taken::Ok => {
                webhook.delivered += 1;
                webhook.has_done(event);
            }
            Taken::Failed => {
                webhook.next = event;
                webhook.tries += 1;
                webhook.retry_at = Some(now.plus(webhook.hook.backoff_ms));
                if webhook.tries == webhook.hook.attempts {
                    webhook.given_up += 1;
                    webhook.has_done(event);
                }
            }
            Taken::Gone => {
                webhook.paused = true;
                webhook.forget_tries();
            }
        }
    }
}
