//! One connection on the thread of TLS: what comes encrypted goes on in the clear, and back.

use std::io;
use std::pin::pin;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, DuplexStream, sink, split};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio_rustls::server::TlsStream;

use crate::server::wire;

/// How long a client may take for what is left to write to it once the core thread has hung up.
const LINGER: Duration = Duration::from_secs(5);

/// How long a client that was hung up on may go on sending: what it has not read yet would be lost with the connection.
const GOODBYE: Duration = Duration::from_millis(500);

/// Carries bytes both ways until the core thread has hung up and all that it wrote is out, or the client has gone.
/// `served` ends when the core thread is done with the connection.
pub(super) async fn carry(stream: TlsStream<TcpStream>, pipe: DuplexStream, served: oneshot::Receiver<()>) {
    let (mut from_client, mut to_client) = split(stream);
    let (mut from_core, mut to_core) = split(pipe);
    let mut outward = pin!(async {
        pass(&mut from_core, &mut to_client).await?;
        to_client.shutdown().await
    });
    let mut inward = pin!(async {
        if pass(&mut from_client, &mut to_core).await.is_err() {
            // The core thread has hung up and takes no more, or the client has gone, as its next read says.
            pass(&mut from_client, &mut sink()).await?;
        }
        // The client writes no more; it may still read. Whether the core thread hears of it is its own affair.
        let _ = to_core.shutdown().await;
        io::Result::Ok(())
    });
    let mut too_long = pin!(async {
        // It is never sent, only dropped.
        let _ = served.await;
        tokio::time::sleep(LINGER).await;
        io::Result::Err(io::ErrorKind::TimedOut.into())
    });
    let result = tokio::select! {
        result = &mut outward => {
            if result.is_ok() {
                // It has all that it was to get, or goes without.
                let _ = tokio::time::timeout(GOODBYE, &mut inward).await;
            }
            result
        }
        result = &mut inward => match result {
            Ok(()) => tokio::select! {
                result = &mut outward => result,
                result = &mut too_long => result,
            },
            Err(error) => Err(error),
        },
        result = &mut too_long => result,
    };
    match result {
        // Many clients hang up without a word: they lose nothing by it, as a command is whole or not run.
        Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => {
            tracing::debug!(%error, "a connection over TLS failed");
        }
        _ => {}
    }
}

/// Passes on what comes until there is no more, and keeps no buffer while it waits: most connections do, most of the time.
async fn pass(from: &mut (impl AsyncRead + Unpin), to: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
    loop {
        let mut bytes = BytesMut::new();
        if wire::read(from, &mut bytes).await? == 0 {
            return Ok(());
        }
        to.write_all(&bytes).await?;
        to.flush().await?;
    }
}
