//! Events and webhooks as clients and endpoints read them: JSON.

use crate::jobs::error::Result;
use crate::jobs::events::{Event, KINDS, Subject};
use crate::jobs::show::{Detail, Json};
use crate::jobs::webhooks::{Paused, Webhook};
use crate::jobs::{Id, JobsView};

/// An event as EVENTS.READ answers it.
#[must_use]
pub fn event_json(number: u64, event: &Event) -> String {
    let mut out = Json::new();
    put_event(&mut out, number, event);
    out.finish()
}

/// What went from where to where, and why.
pub(super) fn put_transition(out: &mut Json, event: &Event) {
    match &event.subject {
        Subject::Job { id, .. } => out.text("job_id", id),
        Subject::Action(id) => out.text("action_id", id),
    }
    out.text("queue", &event.queue);
    if let Some(from) = event.from {
        out.text("from", from.name());
    }
    out.text("to", event.to.name());
    if let Subject::Job { reason, .. } = &event.subject
        && let Some(reason) = reason.name()
    {
        out.text("reason", reason);
    }
}

fn put_event(out: &mut Json, number: u64, event: &Event) {
    out.number("seq", number);
    out.time("at", Some(event.at));
    put_transition(out, event);
    if let Subject::Job { epoch, .. } = &event.subject {
        out.number("epoch", *epoch);
    }
}

/// What a webhook is told: the event, and the job or action as it is now, `null` when it is gone. Of large bodies only
/// the size is shown.
pub(super) fn delivery_json(view: &JobsView<'_>, webhook: &Id, number: u64, event: &Event) -> Result<String> {
    let mut out = Json::new();
    out.text("type", KINDS[event.kind()]);
    out.text("webhook", webhook);
    put_event(&mut out, number, event);
    let (name, json) = match &event.subject {
        Subject::Job { id, .. } => {
            let job = view.job(id.as_bytes())?;
            ("job", job.map(|job| view.job_json(&job, Detail::Row)).transpose()?)
        }
        Subject::Action(id) => {
            let action = view.action(id.as_bytes())?;
            ("action", action.map(|action| view.action_json(id, &action)).transpose()?)
        }
    };
    out.raw(name, json.as_deref().unwrap_or("null"));
    Ok(out.finish())
}

/// A webhook as WEBHOOK.GET answers it, without its secret; `refusal` says why nothing may be sent there.
///
/// # Errors
/// When the store fails.
pub fn webhook_json(view: &JobsView<'_>, id: &Id, webhook: &Webhook, refusal: Option<&str>) -> Result<String> {
    let (mut out, terms) = (Json::new(), &webhook.terms);
    out.text("webhook", id);
    out.text("url", terms.url.as_str());
    out.texts("events", &terms.events());
    if let Some(queue) = &terms.queue {
        out.text("queue", queue);
    }
    out.raw("signed", if terms.secret.is_some() { "true" } else { "false" });
    out.number("timeout_ms", terms.timeout_ms);
    out.number("max_attempts", terms.max_attempts);
    if let Some(backoff) = terms.backoff.json() {
        out.raw("backoff", &backoff);
    }
    out.time("created_at", Some(webhook.created_at));
    out.raw("paused", if webhook.paused.is_some() { "true" } else { "false" });
    if webhook.paused == Some(Paused::Gone) {
        out.raw("gone", "true");
    }
    if let Some(refusal) = refusal {
        out.text("refused", refusal);
    }
    out.number("next_seq", webhook.cursor);
    out.number("behind", view.next_event()?.saturating_sub(webhook.cursor));
    out.number("delivered", webhook.delivered);
    out.number("given_up", webhook.given_up);
    out.number("passed_over", webhook.passed_over);
    out.time("delivered_at", webhook.delivered_at);
    out.number("failed_attempts", webhook.tries);
    out.time("retry_at", webhook.retry_at);
    if let Some((at, error)) = &webhook.last_error {
        out.text("last_error", error);
        out.time("last_error_at", Some(*at));
    }
    Ok(out.finish())
}
