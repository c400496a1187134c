//! What the deliverer of webhooks asks for and reports.

use super::*;
use crate::engine::model_tests::compare::{feed, next_event, place};
use crate::engine::model_tests::reference::webhooks::{Hook, Taken};

/// Looks at the feed until one of them has come to its end, a few events at a time.
const LOOKS: usize = 1_000;

impl Open<'_, '_> {
    pub(super) fn put_webhook(&mut self, name: &'static str, hook: Hook) {
        // How much of what it did not want is written down as passed is the store's own affair.
        let place = place(self.batch, name).unwrap_or_else(|| next_event(self.batch));
        self.side.model.put_webhook(name, hook, place);
        self.ask(&["WEBHOOK.PUT", name, &hook.json()], &Ok(()));
    }

    /// Everything that is due is given out, and reported on in turn.
    pub(super) fn deliver(&mut self, outcomes: [Taken; 2]) {
        let (feed, first) = feed(self.batch);
        let expected = self.side.model.deliveries(&feed, first);
        let mut given = BTreeMap::new();
        for _ in 0..LOOKS {
            let busy: Vec<String> = given.keys().cloned().collect();
            let words = std::iter::once("WEBHOOK.CLAIM").chain(busy.iter().map(String::as_str));
            let reply = self.call(DELIVERER, &words.collect::<Vec<_>>());
            let Some(Reply::Array(deliveries)) = reply else { break };
            for delivery in deliveries {
                let Reply::Array(delivery) = delivery else { panic!("{delivery:?} is no delivery") };
                let number = |place: usize| delivery[place].as_int().unwrap() as u64;
                let name = delivery[0].as_str().unwrap().to_owned();
                assert!(given.insert(name, (number(1), number(2))).is_none(), "{delivery:?} was given twice");
            }
        }
        let told: BTreeMap<String, u64> = given.iter().map(|(name, (_, event))| (name.clone(), *event)).collect();
        assert_eq!(told, expected, "what webhooks are told at {:?}", self.side.model.now);
        self.end_wait(given.is_empty());
        for ((name, (version, event)), taken) in given.into_iter().zip(outcomes) {
            let version = if taken == Taken::Late { version - 1 } else { version };
            let (version, number) = (version.to_string(), event.to_string());
            let outcome = match taken {
                Taken::Ok | Taken::Late => "ok",
                Taken::Failed => "failed",
                Taken::Gone => "gone",
            };
            let reply = self.call(DELIVERER, &["WEBHOOK.REPORT", &name, &version, &number, outcome, "503"]);
            assert_eq!(reply, Some(Reply::ok()));
            self.side.model.report_delivery(&name, event, taken);
        }
        self.serve_others();
    }

    /// The claim that waits is woken by the next retry at the latest; it gives way to what comes behind it.
    fn end_wait(&mut self, looked_at_all: bool) {
        if looked_at_all && let Some(at) = self.side.model.next_retry() {
            let wakes = self.engine.waiters.next_deadline();
            assert!(wakes.is_some_and(|wakes| wakes <= at.plus(1)), "a retry is due {at:?}, and is seen {wakes:?}");
        }
        let now = self.side.model.now;
        self.engine.take(self.batch, Input::Interrupt(DELIVERER), now).unwrap();
        let told: Vec<_> = self.engine.take_outputs().iter().map(decode).collect();
        assert_eq!(told, [(DELIVERER, Reply::array([]))]);
    }
}
