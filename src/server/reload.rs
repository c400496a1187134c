//! New settings for a server that runs: all that may change, or nothing.

use std::convert::Infallible;

use anyhow::{Context as _, bail};
use tokio::sync::mpsc::UnboundedReceiver;

use crate::command::Changeable;
use crate::server::inbox::Inbox;
use crate::server::rules::Rules;
use crate::server::tls::Tls;
use crate::server::{Options, Reload};

/// Puts each reload into force. Never ends.
pub(super) async fn serve(
    mut reloads: UnboundedReceiver<Reload>,
    inbox: &Inbox,
    rules: &Rules,
    tls: Option<&Tls>,
) -> Infallible {
    while let Some(Reload { options, outcome }) = reloads.recv().await {
        // Whoever does not wait for the outcome has no use for it.
        let _ = outcome.send(reload(options, inbox, rules, tls).await);
    }
    // Nobody is left who could send one.
    std::future::pending().await
}

async fn reload(options: Options, inbox: &Inbox, rules: &Rules, tls: Option<&Tls>) -> anyhow::Result<()> {
    // What may fail comes first.
    match (tls, options.tls) {
        (Some(tls), Some(new)) => {
            // A file on a slow disk must not hold up the core thread.
            let config = tokio::task::spawn_blocking(move || agq_tls::server_config(&new.files));
            tls.renew(config.await.context("reading the files of TLS")??);
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
