//! What a running server is asked from outside: to drain, or to take new settings, all that may change or nothing.

use std::convert::Infallible;

use anyhow::{Context as _, bail};
use tokio::sync::mpsc::UnboundedReceiver;

use crate::command::Changeable;
use crate::server::inbox::Inbox;
use crate::server::rules::Rules;
use crate::server::tls::{Loaded, Tls};
use crate::server::{Options, Order, Reload};

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
                let Reload { options, outcome } = *asked;
                // Whoever does not wait for the outcome has no use for it.
                let _ = outcome.send(reload(options, inbox, rules, tls).await);
            }
        }
    }
    // Nobody is left who could send one.
    std::future::pending().await
}

async fn reload(options: Options, inbox: &Inbox, rules: &Rules, tls: Option<&Tls>) -> anyhow::Result<()> {
    // What may fail comes first.
    match (tls, options.tls) {
        (Some(tls), Some(new)) => {
            // A file on a slow disk must not hold up the core thread.
            let loaded = tokio::task::spawn_blocking(move || Loaded::load(&new.files));
            tls.renew(loaded.await.context("reading the files of TLS")??, rules);
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
