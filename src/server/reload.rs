//! What a running server is asked from outside: to drain, or to take new settings, all that may change or nothing.

use std::convert::Infallible;

use anyhow::{Context as _, bail};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::sync::oneshot;

use crate::command::{Change, Changeable, NotSet};
use crate::engine::Input;
use crate::server::inbox::Inbox;
use crate::server::rules::Rules;
use crate::server::tls::{Greeting, Tls};
use crate::server::{AskedChange, Options, Order, Reload};

/// Where changes of settings go that clients ask for.
pub(super) struct Changes {
    changeable: Vec<&'static str>,
    keeper: UnboundedSender<AskedChange>,
}

impl Changes {
    /// `keeper` changes the parameters that are `changeable`.
    pub(super) fn new(changeable: Vec<&'static str>, keeper: UnboundedSender<AskedChange>) -> Changes {
        Changes { changeable, keeper }
    }

    /// The parameters that may be changed.
    pub(super) fn changeable(&self) -> Vec<&'static str> {
        self.changeable.clone()
    }

    /// Hands out changes; what becomes of each comes in when it is known.
    pub(super) fn hand_out(&self, changes: Vec<Change>, inbox: &Inbox) {
        for Change { number, pairs } in changes {
            let parameter = pairs.first().map(|(name, _)| name.clone()).unwrap_or_default();
            let (outcome, told) = oneshot::channel();
            let sent = self.keeper.send(AskedChange { pairs, outcome });
            let inbox = inbox.clone();
            tokio::task::spawn_local(async move {
                let stops = || Err(NotSet { parameter, why: "the server stops".to_owned() });
                let outcome = if sent.is_ok() { told.await.unwrap_or_else(|_| stops()) } else { stops() };
                inbox.push(Input::Changed(number, outcome));
            });
        }
    }
}

/// Does what is asked, one thing after the other. Never ends.
pub(super) async fn serve(
    mut orders: UnboundedReceiver<Order>,
    inbox: &Inbox,
    rules: &Rules,
    tls: Option<&Tls>,
) -> Infallible {
    while let Some(order) = orders.recv().await {
        match order {
            Order::Drain(time) => inbox.drain(time),
            Order::Reload(asked) => {
                let Reload { options, reads_files, outcome } = *asked;
                // Whoever does not wait for the outcome has no use for it.
                let _ = outcome.send(reload(options, reads_files, inbox, rules, tls).await);
            }
        }
    }
    // Nobody is left who could send one.
    std::future::pending().await
}

async fn reload(
    options: Options,
    reads_files: bool,
    inbox: &Inbox,
    rules: &Rules,
    tls: Option<&Tls>,
) -> anyhow::Result<()> {
    // What may fail comes first.
    match (tls, options.tls) {
        (Some(_), Some(_)) if !reads_files => {}
        (Some(tls), Some(new)) => {
            // A file on a slow disk must not hold up the core thread.
            let greeting = tokio::task::spawn_blocking(move || Greeting::new(&new));
            tls.renew(greeting.await.context("reading the files of TLS")??, rules);
        }
        (None, None) => {}
        (Some(_), None) | (None, Some(_)) => bail!("TLS begins and ends with a restart"),
    }
    rules.max_clients.set(options.clients.max_clients);
    inbox.reconfigure(Changeable {
        parameters: options.parameters,
        sweep_interval_ms: options.sweep_interval_ms,
        jobs: options.jobs,
        webhooks: options.webhooks,
    });
    Ok(())
}
