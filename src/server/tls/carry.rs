//! One connection on the thread of TLS: what comes encrypted goes on in the clear, and back.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncWriteExt, DuplexStream, copy, split};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio_rustls::server::TlsStream;

/// How long a client may take for what is left to write to it once the core thread has hung up.
const LINGER: Duration = Duration::from_secs(5);

/// Carries bytes both ways until the core thread has hung up and all that it wrote is out, or the client has gone.
/// `served` ends when the core thread is done with the connection.
pub(super) async fn carry(stream: TlsStream<TcpStream>, pipe: DuplexStream, served: oneshot::Receiver<()>) {
    let (mut from_client, mut to_client) = split(stream);
    let (mut from_core, mut to_core) = split(pipe);
    let outward = async {
        copy(&mut from_core, &mut to_client).await?;
        to_client.shutdown().await
    };
    let inward = async {
        let result: io::Result<()> = async {
            copy(&mut from_client, &mut to_core).await?;
            to_core.shutdown().await
        }
        .await;
        match result {
            Err(error) => error,
            // The client writes no more; it may still read.
            Ok(()) => std::future::pending().await,
        }
    };
    let too_long = async {
        // It is never sent, only dropped.
        let _ = served.await;
        tokio::time::sleep(LINGER).await;
    };
    let result = tokio::select! {
        result = outward => result,
        error = inward => Err(error),
        () = too_long => Err(io::ErrorKind::TimedOut.into()),
    };
    // Many clients hang up without a word: they lose nothing by it, as a command is whole or not run.
    if let Err(error) = result.or_else(|error| if error.kind() == io::ErrorKind::UnexpectedEof { Ok(()) } else { Err(error) })
    {
        tracing::debug!(%error, "a connection over TLS failed");
    }
}
