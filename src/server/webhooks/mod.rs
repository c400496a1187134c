//! The deliveries of webhooks, on a thread of their own that is a client of the engine.
//!
//! The thread starts with the first webhook that there is. It asks over a connection within the process what is to be
//! delivered (`WEBHOOK.CLAIM`, which waits until there is something), sends each as a request over HTTP, and reports what
//! came of it (`WEBHOOK.REPORT`), which moves the webhook's place in the feed. It keeps nothing that a restart would
//! miss: what is under way when the server stops is sent again. Nothing below the server knows HTTP or TLS.

mod link;
mod send;
mod sign;
mod tls;

use std::collections::HashMap;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use agq_resp::Reply;
use tokio::io::DuplexStream;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::{Id, JoinError, JoinSet};

use crate::server::connection;
use crate::server::inbox::Inbox;
use crate::server::limits::ClientLimits;
use crate::server::panics;
use crate::server::rules::{Peer, Rules};
use crate::server::throttle::Source;
use link::{Delivery, Link};
use send::{Outcome, Sender};

/// Bytes in flight within the process.
const LINK_BYTES: usize = 64 << 10;
/// After a look that found nothing to deliver the next one comes no sooner: events that no webhook wants may come by the
/// thousand.
const PACE: Duration = Duration::from_millis(5);
/// Between two tries when the engine refuses (the disk is full), or the connection was killed.
const PAUSE: Duration = Duration::from_secs(1);
/// Threads that look names up, twice as many as there are webhooks: a look-up that was given up may still hold one.
const LOOKUP_THREADS: usize = 2 * crate::jobs::webhooks::MAX_WEBHOOKS;

/// Starts the thread, and keeps it connected to the engine until the server stops.
///
/// # Errors
/// When there can be no thread.
pub(super) fn start(inbox: &Inbox) -> io::Result<()> {
    let (hand_over, links) = unbounded_channel();
    std::thread::Builder::new().name("webhooks".to_owned()).spawn(move || {
        panics::or_exit("webhooks", || {
            if let Err(error) = run(links) {
                tracing::error!(%error, "webhooks are not delivered any more");
            }
        });
    })?;
    let inbox = inbox.clone();
    let rules = Rc::new(Rules::new(ClientLimits::own(), false));
    tokio::task::spawn_local(panics::task_or_exit("the connection of the webhooks", async move {
        while !inbox.is_stopping() {
            let (ours, theirs) = tokio::io::duplex(LINK_BYTES);
            if hand_over.send(theirs).is_err() {
                return;
            }
            let conn = inbox.open_own("webhooks");
            let rules = Rc::clone(&rules);
            let peer = Peer { conn, source: Source::Local, is_vouched_for: false, rules };
            connection::serve(ours, inbox.clone(), peer).await;
            // Somebody may have killed it.
            tokio::time::sleep(PAUSE).await;
        }
    }));
    Ok(())
}

/// The thread: ends when no more connections are handed over.
fn run(mut links: UnboundedReceiver<DuplexStream>) -> io::Result<()> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(LOOKUP_THREADS).build()?;
    runtime.block_on(async {
        let mut deliverer = Deliverer::default();
        while let Some(link) = links.recv().await {
            match panics::caught(deliverer.work(&mut Link::new(link))).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::debug!(%error, "the connection of the webhooks ended"),
                Err(panic) => {
                    let why = panics::text(&*panic);
                    tracing::error!(why, "the deliveries of webhooks panicked and begin anew; please report it");
                    // What was under way is sent again, as after a restart.
                    deliverer = Deliverer::default();
                }
            }
        }
    });
    // A look-up that nobody waits for any more is not waited for either.
    runtime.shutdown_background();
    Ok(())
}

/// Which delivery it is.
#[derive(Debug, Clone)]
struct Ticket {
    webhook: String,
    version: String,
    seq: String,
}

/// Makes deliveries, one at a time to each webhook.
#[derive(Default)]
struct Deliverer {
    sender: Arc<Sender>,
    under_way: JoinSet<Outcome>,
    tickets: HashMap<Id, Ticket>,
    /// What ended and was not reported yet.
    ended: Vec<(Ticket, Outcome)>,
}

impl Deliverer {
    /// Works over one connection, to its end.
    async fn work(&mut self, link: &mut Link) -> io::Result<()> {
        loop {
            while let Some((ticket, outcome)) = self.ended.last() {
                link.send(&report(ticket, outcome)).await?;
                self.take_report_reply(link).await?;
            }
            let looked_at = Instant::now();
            link.send(&self.claim()).await?;
            let (reply, was_woken) = tokio::select! {
                reply = link.receive() => (reply?, true),
                Some(ended) = self.under_way.join_next_with_id() => {
                    self.note(ended);
                    // The claim gives way to what comes behind it.
                    let unknown = || io::Error::other("a delivery ended that nobody began");
                    let (ticket, outcome) = self.ended.last().ok_or_else(unknown)?;
                    link.send(&report(ticket, outcome)).await?;
                    let reply = link.receive().await?;
                    self.take_report_reply(link).await?;
                    (reply, false)
                }
            };
            match link::deliveries(reply) {
                Ok(deliveries) if deliveries.is_empty() && was_woken => {
                    tokio::time::sleep(PACE.saturating_sub(looked_at.elapsed())).await;
                }
                Ok(deliveries) => deliveries.into_iter().for_each(|delivery| self.start(delivery)),
                Err(why) => {
                    tracing::debug!(why, "what is to be delivered cannot be asked now");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    /// Asks for what is to be delivered to webhooks that are not busy.
    fn claim(&self) -> Vec<String> {
        let busy = self.tickets.values().chain(self.ended.iter().map(|(ticket, _)| ticket));
        std::iter::once("WEBHOOK.CLAIM".to_owned()).chain(busy.map(|ticket| ticket.webhook.clone())).collect()
    }

    fn start(&mut self, delivery: Delivery) {
        let (webhook, version, seq) = (delivery.webhook.clone(), delivery.version.clone(), delivery.seq.clone());
        let sender = self.sender.clone();
        let task = self.under_way.spawn(async move { sender.deliver(&delivery).await });
        self.tickets.insert(task.id(), Ticket { webhook, version, seq });
    }

    fn note(&mut self, ended: Result<(Id, Outcome), JoinError>) {
        let (task, outcome) = match ended {
            Ok(ended) => ended,
            Err(panic) => (panic.id(), Outcome::Failed("internal error in the delivery: please report it".to_owned())),
        };
        self.ended.extend(self.tickets.remove(&task).map(|ticket| (ticket, outcome)));
    }

    /// The answer to the last report that was sent; one that is refused is made again.
    async fn take_report_reply(&mut self, link: &mut Link) -> io::Result<()> {
        match link.receive().await? {
            Reply::Error(why) => {
                tracing::debug!(why = %String::from_utf8_lossy(&why), "a delivery cannot be noted now");
                tokio::time::sleep(PAUSE).await;
            }
            _ => drop(self.ended.pop()),
        }
        Ok(())
    }
}

fn report(ticket: &Ticket, outcome: &Outcome) -> Vec<String> {
    let (what, text) = match outcome {
        Outcome::Delivered => ("ok", ""),
        Outcome::Failed(why) => ("failed", why.as_str()),
        Outcome::Gone => ("gone", ""),
    };
    ["WEBHOOK.REPORT", &ticket.webhook, &ticket.version, &ticket.seq, what, text].map(str::to_owned).into()
}
