//! Webhooks: each is told of the events it wants, in order, one at a time, however often it does not answer.

use super::*;
use crate::jobs::deliveries::{Delivery, Due, Outcome};
use crate::jobs::webhooks::{MAX_WEBHOOKS, Paused, Terms, Webhook};

impl Bench<'_> {
    fn put(&mut self, name: &str, events: &str, more: &str) {
        let json = format!(r#"{{"url":"http://a.example/x","events":[{events}]{more}}}"#);
        let terms = Terms::parse(json.as_bytes()).unwrap();
        self.command(|jobs| jobs.put_webhook(&id(name), &terms)).unwrap();
    }

    fn due(&mut self) -> Due {
        let due = self.command(|jobs| jobs.due_deliveries(&|_| false, &|_| true)).unwrap();
        self.assert_sound();
        due
    }

    /// The one delivery that is due, however many looks it takes.
    fn delivery(&mut self) -> Delivery {
        loop {
            let mut due = self.due();
            match due.deliveries.pop() {
                Some(delivery) => return delivery,
                None => assert!(due.again_at.is_some_and(|at| at <= self.now), "nothing is due"),
            }
        }
    }

    fn outcome(&mut self, delivery: &Delivery, outcome: &Outcome) {
        let Delivery { webhook, version, seq, .. } = delivery;
        self.command(|jobs| jobs.delivered(webhook, *version, *seq, outcome)).unwrap();
        self.assert_sound();
    }

    fn webhook(&mut self, name: &str) -> Webhook {
        self.jobs().view().need_webhook(name.as_bytes()).unwrap()
    }
}

fn failed() -> Outcome {
    Outcome::Failed("500".to_owned())
}

#[test]
fn a_webhook_is_told_of_what_it_wants_from_then_on_in_order() {
    with_bench(|bench| {
        bench.submit(r#"{"kind":"a","job_id":"before"}"#);
        bench.put("h", r#""job.pending","job.running""#, r#","queue":"ready""#);
        bench.submit(r#"{"kind":"a","job_id":"other","queue":"other"}"#);
        bench.submit(r#"{"kind":"a","job_id":"a","priority":9}"#);
        bench.claim("w");
        let first = bench.delivery();
        assert_eq!(bench.delivery(), first, "until it was delivered nothing else is");
        assert!(first.body.starts_with(r#"{"type":"job.pending","webhook":"h","seq":"#), "{}", first.body);
        assert!(first.body.contains(r#""job_id":"a","queue":"ready","to":"pending","epoch":0,"job":{"job_id":"a","#));
        assert!(first.body.contains(r#""status":"running""#), "the job is shown as it is now: {}", first.body);
        bench.outcome(&first, &Outcome::Delivered);
        let second = bench.delivery();
        assert_eq!((second.kind, second.seq), ("job.running", first.seq + 1));
        bench.outcome(&second, &Outcome::Delivered);
        assert_eq!(bench.due(), Due::default());
        assert_eq!(bench.webhook("h").delivered, 2);
    });
}

#[test]
fn what_is_gone_is_null_and_an_action_is_shown_too() {
    with_bench(|bench| {
        bench.put("h", r#""job.cancelled","action.submitted""#, "");
        let job = bench.submit(r#"{"kind":"a"}"#);
        bench.command(|jobs| jobs.cancel(job.as_bytes())).unwrap();
        bench.command(|jobs| jobs.delete(job.as_bytes())).unwrap();
        let gone = bench.delivery();
        assert!(gone.body.ends_with(r#","job":null}"#), "{}", gone.body);
        bench.outcome(&gone, &Outcome::Delivered);
        let action =
            r#"{"action_id":"x","plan":{"tasks":[{"task_number":1,"command":"true","args":[]}]},"inputs":[{}]}"#;
        let submit = SubmitAction::parse(action.as_bytes()).unwrap();
        bench.command(|jobs| jobs.submit_action(&submit)).unwrap();
        let submitted = bench.delivery();
        assert!(
            submitted.body.contains(r#""action_id":"x","queue":"ready","to":"running","action":{"action_id":"x","#)
        );
    });
}

#[test]
fn an_endpoint_that_fails_is_tried_again_later_and_given_up_in_the_end() {
    with_bench(|bench| {
        bench.put("h", r#""job.pending""#, r#","max_attempts":3,"backoff":{"type":"list","ms":[1000,5000]}"#);
        bench.put("other", r#""job.pending""#, "");
        bench.submit(r#"{"kind":"a"}"#);
        bench.submit(r#"{"kind":"a"}"#);
        let due = bench.due().deliveries;
        assert_eq!(due.iter().map(|delivery| &*delivery.webhook).collect::<Vec<_>>(), ["h", "other"]);
        for delivery in &due {
            let outcome = if &*delivery.webhook == "h" { failed() } else { Outcome::Delivered };
            bench.outcome(delivery, &outcome);
        }
        let others = bench.due();
        assert_eq!((others.deliveries.len(), others.again_at), (1, Some(START.plus(1000))), "the other one goes on");
        bench.outcome(&others.deliveries[0], &Outcome::Delivered);
        bench.pass(1000);
        let again = bench.delivery();
        assert_eq!(again.seq, due[0].seq);
        bench.outcome(&again, &failed());
        bench.outcome(&due[1], &failed());
        assert_eq!(bench.due().again_at, Some(START.plus(6000)), "what was reported already changes nothing");
        bench.pass(5000);
        let last = bench.delivery();
        bench.outcome(&last, &failed());
        let webhook = bench.webhook("h");
        assert_eq!((webhook.given_up, webhook.tries), (1, 0));
        assert_eq!(webhook.last_error, Some((START.plus(6000), "500".to_owned())));
        assert!(bench.delivery().seq > last.seq, "the next one goes on at once");
    });
}

#[test]
fn a_pause_keeps_the_place_and_other_terms_begin_anew() {
    with_bench(|bench| {
        bench.put("h", r#""job.pending""#, "");
        bench.submit(r#"{"kind":"a"}"#);
        let first = bench.delivery();
        bench.command(|jobs| jobs.pause_webhook(b"h", true)).unwrap();
        assert_eq!(bench.due(), Due::default());
        bench.command(|jobs| jobs.pause_webhook(b"h", false)).unwrap();
        assert_eq!(bench.delivery(), first);
        bench.outcome(&first, &failed());
        bench.put("h", r#""job.*""#, r#","secret":"0123456789abcdef""#);
        bench.outcome(&first, &Outcome::Delivered);
        let again = bench.delivery();
        assert_eq!((again.seq, again.secret.as_deref()), (first.seq, Some("0123456789abcdef")));
        bench.outcome(&again, &Outcome::Gone);
        assert_eq!(bench.webhook("h").paused, Some(Paused::Gone));
        bench.command(|jobs| jobs.delete_webhook(b"h")).unwrap();
        bench.outcome(&again, &Outcome::Delivered);
        let error = bench.command(|jobs| jobs.pause_webhook(b"h", true)).unwrap_err();
        assert_eq!(error.to_string(), "ERR Webhook not found: h");
    });
}

#[test]
fn what_the_feed_keeps_no_more_is_counted_and_what_was_passed_is_not() {
    with_bench(|bench| {
        bench.put("wants_it", r#""job.pending""#, "");
        bench.put("does_not", r#""job.failed""#, "");
        bench.submit(r#"{"kind":"a"}"#);
        assert_eq!(bench.due().again_at, Some(START.plus(60_000)), "a place is written down in a minute");
        bench.pass(60_000);
        bench.due();
        bench.pass(8 * 86_400_000);
        bench.due();
        assert_eq!((bench.webhook("wants_it").passed_over, bench.webhook("does_not").passed_over), (1, 0));
        bench.submit(r#"{"kind":"a"}"#);
        assert_eq!(bench.delivery().seq, 2);
    });
}

#[test]
fn a_long_feed_is_looked_at_in_parts() {
    with_bench(|bench| {
        bench.put("h", r#""job.cancelled""#, "");
        let jobs: Vec<Id> = (0..50).map(|_| bench.submit(r#"{"kind":"a"}"#)).collect();
        bench.command(|verbs| verbs.cancel(jobs[49].as_bytes())).unwrap();
        let due = bench.due();
        assert_eq!((due.deliveries.len(), due.again_at), (0, Some(bench.now)));
        assert_eq!(bench.delivery().seq, 51);
    });
}

#[test]
fn there_are_so_many_at_most() {
    with_bench(|bench| {
        (0..MAX_WEBHOOKS).for_each(|n| bench.put(&format!("h{n}"), r#""*""#, ""));
        let terms = Terms::parse(br#"{"url":"http://a","events":["*"]}"#).unwrap();
        let error = bench.command(|jobs| jobs.put_webhook(&id("more"), &terms)).unwrap_err().to_string();
        assert_eq!(error, "ERR there are 64 webhooks, no more are taken: delete one");
        bench.put("h0", r#""job.*""#, "");
        bench.assert_sound();
    });
}
