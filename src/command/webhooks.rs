//! Commands on webhooks, and the two by which the server's own deliverer asks what to send and says what came of it.

use std::sync::Arc;

use agq_resp::{Reply, Request};

use crate::command::work::bounded;
use crate::command::{Command, Context, Flags, Group, Halt, Outcome, Run, Wait};
use crate::data::Touch;
use crate::jobs::deliveries::{Delivery, Outcome as Delivered};
use crate::jobs::error::shown;
use crate::jobs::url::Url;
use crate::jobs::webhooks::{Terms, Webhook};
use crate::jobs::{Error, Id, show_feed};

const READ: Flags = Flags::READONLY.and(Flags::AGQ);
const WRITE: Flags = Flags::WRITE.and(Flags::AGQ);
const ADD: Flags = WRITE.and(Flags::DENYOOM);
/// Flags of what the server asks of itself: nobody watches it.
const OWN: Flags = WRITE.and(Flags::ADMIN);

/// The rows of this file.
pub(super) const COMMANDS: &[Command] = &[
    webhook("WEBHOOK.PUT", 3, ADD, Run::Write(put)).doc(
        "1.0.0",
        "webhook-id json",
        "Makes a webhook, which is told of events from now on, or gives one other terms. What it is signed with is never \
         shown again.",
    ),
    webhook("WEBHOOK.GET", 2, READ, Run::Write(get)).doc(
        "1.0.0",
        "webhook-id",
        "A webhook as JSON: its terms, how far it has come, and what went wrong last.",
    ),
    webhook("WEBHOOK.LIST", 1, READ, Run::Write(list)).doc("1.0.0", "", "Every webhook as JSON, in the order of ids."),
    webhook("WEBHOOK.PAUSE", 2, WRITE, Run::Write(pause)).doc(
        "1.0.0",
        "webhook-id",
        "Stops the deliveries of a webhook, which keeps its place among the events.",
    ),
    webhook("WEBHOOK.RESUME", 2, WRITE, Run::Write(resume)).doc(
        "1.0.0",
        "webhook-id",
        "Lets the deliveries of a webhook go on where they stood.",
    ),
    webhook("WEBHOOK.DELETE", 2, WRITE, Run::Write(delete)).doc("1.0.0", "webhook-id", "Removes a webhook."),
    webhook("WEBHOOK.CLAIM", -1, OWN.and(Flags::BLOCKING), Run::Write(claim)).doc(
        "1.0.0",
        "[busy-webhook-id ...]",
        "What is to be delivered next; for the server itself, refused to everybody else.",
    ),
    webhook("WEBHOOK.REPORT", 6, OWN, Run::Write(report)).doc(
        "1.0.0",
        "webhook-id version seq <ok | failed | gone> text",
        "What came of a delivery; for the server itself, refused to everybody else.",
    ),
];

const fn webhook(name: &'static str, arity: i32, flags: Flags, run: Run) -> Command {
    Command::new(name, arity, Group::Webhook, flags, run)
}

/// Where webhooks may be sent, as the operator chose and the machine can.
#[derive(Debug, Clone)]
pub struct WebhookRules {
    /// Names of hosts, `*.example.org` for all below one, `*` for all; none: there are no webhooks.
    pub hosts: Arc<[String]>,
    /// Why nothing can be sent to `https` addresses, if that is so.
    pub no_https: Option<&'static str>,
}

impl Default for WebhookRules {
    fn default() -> WebhookRules {
        WebhookRules { hosts: Arc::new(["*".to_owned()]), no_https: None }
    }
}

impl WebhookRules {
    /// Why nothing may be sent to an address; `None` when it may.
    #[must_use]
    pub fn refusal(&self, url: &Url) -> Option<String> {
        let allows = |pattern: &String| match pattern.strip_prefix('*') {
            Some(end) => url.host.ends_with(end) && url.host.len() > end.len(),
            None => *pattern == url.host,
        };
        if self.hosts.is_empty() {
            return Some("webhooks are turned off here (--webhook-hosts none)".to_owned());
        }
        if !self.hosts.iter().any(allows) {
            let (host, allowed) = (&url.host, self.hosts.join(", "));
            return Some(format!("the host '{host}' is not among those of --webhook-hosts: {allowed}"));
        }
        self.no_https.filter(|_| url.is_https).map(|why| format!("{why}: use http"))
    }
}

fn put(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    let id = Id::parse("webhook-id", request.arg(1))?;
    let terms = Terms::parse(request.arg(2))?;
    if let Some(refusal) = ctx.server.config.webhooks.refusal(&terms.url) {
        return Err(Error::refused(format!("webhook.url: {refusal}")).into());
    }
    ctx.jobs().put_webhook(&id, &terms)?;
    ctx.server.has_webhooks = true;
    Ok(Reply::ok())
}

fn shown_webhook(ctx: &mut Context<'_, '_>, id: &Id, webhook: &Webhook) -> Outcome {
    let refusal = ctx.server.config.webhooks.refusal(&webhook.terms.url);
    Ok(Reply::bulk(show_feed::webhook_json(&ctx.jobs().view(), id, webhook, refusal.as_deref())?))
}

fn get(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    let webhook = ctx.jobs().view().need_webhook(request.arg(1))?;
    let id = Id::parse("webhook-id", request.arg(1))?;
    shown_webhook(ctx, &id, &webhook)
}

fn list(ctx: &mut Context<'_, '_>, _: &Request) -> Outcome {
    let webhooks = ctx.jobs().view().webhooks()?;
    let shown = webhooks.iter().map(|(id, webhook)| shown_webhook(ctx, id, webhook));
    Ok(Reply::array(shown.collect::<Result<Vec<_>, Halt>>()?))
}

fn pause(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    ctx.jobs().pause_webhook(request.arg(1), true)?;
    Ok(Reply::ok())
}

fn resume(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    ctx.jobs().pause_webhook(request.arg(1), false)?;
    Ok(Reply::ok())
}

fn delete(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    ctx.jobs().delete_webhook(request.arg(1))?;
    Ok(Reply::ok())
}

/// Only the server's own deliverer may go on: what is claimed holds secrets.
fn require_own(ctx: &Context<'_, '_>, request: &Request) -> Result<(), Halt> {
    if ctx.session.is_own && !ctx.in_transaction {
        return Ok(());
    }
    let name = shown(request.arg(0)).to_ascii_uppercase();
    Err(Error::refused(format!("{name} is for the server itself: WEBHOOK.GET shows how deliveries go")).into())
}

/// Answers what is to be delivered, or waits for that. Once it is woken it answers nothing: the deliverer asks anew when
/// it is ready, so that a thousand events cost one look and not a thousand.
fn claim(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    require_own(ctx, request)?;
    let nothing = || Reply::array([]);
    if ctx.woken_by.is_some() {
        return Ok(nothing());
    }
    let rules = ctx.server.config.webhooks.clone();
    let is_busy = |id: &Id| request.iter().skip(1).any(|busy| busy == id.as_bytes());
    let due = ctx.jobs().due_deliveries(&is_busy, &|url| rules.refusal(url).is_none())?;
    if due.deliveries.is_empty() && !ctx.more_behind && due.again_at.is_none_or(|at| at > ctx.now) {
        let on = vec![Touch::Events, Touch::Webhooks];
        let wait = Wait { on, deadline: due.again_at, timeout_reply: nothing(), drained: false, yields: true };
        return Err(Halt::KeepAndBlock(wait));
    }
    Ok(Reply::array(due.deliveries.into_iter().map(delivery)))
}

fn delivery(delivery: Delivery) -> Reply {
    let number = |number: u64| Reply::int(i64::try_from(number).unwrap_or(i64::MAX));
    Reply::array([
        Reply::bulk(delivery.webhook.to_string()),
        number(delivery.version),
        number(delivery.seq),
        Reply::bulk(delivery.kind),
        Reply::bulk(delivery.url.as_str().to_owned()),
        delivery.secret.map_or(Reply::Null, Reply::bulk),
        number(delivery.timeout_ms),
        Reply::bulk(delivery.body),
    ])
}

fn report(ctx: &mut Context<'_, '_>, request: &Request) -> Outcome {
    require_own(ctx, request)?;
    let id = Id::parse("webhook-id", request.arg(1))?;
    let number = |name: &str, place: usize| bounded(name, request.arg(place), 0..=u64::MAX);
    let (version, seq) = (number("version", 2)?, number("seq", 3)?);
    let outcome = match request.arg(4) {
        b"ok" => Delivered::Delivered,
        b"gone" => Delivered::Gone,
        b"failed" => Delivered::Failed(String::from_utf8_lossy(request.arg(5)).into_owned()),
        other => {
            let other = shown(other);
            return Err(Error::refused(format!("what came of it must be ok, failed or gone, not '{other}'")).into());
        }
    };
    ctx.jobs().delivered(&id, version, seq, &outcome)?;
    Ok(Reply::ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_hosts_that_were_named_are_allowed() {
        let refusal = |hosts: &[&str], url: &str| {
            let hosts = hosts.iter().map(|host| (*host).to_owned()).collect();
            WebhookRules { hosts, no_https: Some("no https here") }.refusal(&Url::parse("url", url).unwrap())
        };
        assert_eq!(refusal(&["*"], "http://a.example"), None);
        assert_eq!(refusal(&["a.example", "*.b.example"], "http://A.example:99/x"), None);
        assert_eq!(refusal(&["*.b.example"], "http://x.b.example"), None);
        for url in ["http://b.example", "http://xb.example", "http://.b.example"] {
            assert!(refusal(&["*.b.example"], url).unwrap().contains("is not among those of --webhook-hosts"), "{url}");
        }
        assert!(refusal(&[], "http://a").unwrap().contains("turned off"));
        assert_eq!(refusal(&["*"], "https://a").unwrap(), "no https here: use http");
    }
}
