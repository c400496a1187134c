//! Listeners: TCP and Unix sockets.

use std::cell::Cell;
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};
use tokio::task::JoinHandle;

use crate::server::connection;
use crate::server::descriptors::Descriptors;
use crate::server::inbox::Inbox;

/// What holds for every new connection.
pub(super) struct Limits {
    /// Connections open at a time.
    pub(super) max_clients: Cell<usize>,
    /// Clients must give the key first.
    pub(super) asks_key: bool,
    /// How many files are open.
    pub(super) descriptors: Descriptors,
}

/// A socket that accepts connections.
pub(super) enum Listener {
    Tcp(TcpListener, String),
    Unix(UnixListener, String),
}

impl Listener {
    /// Listens on `host:port`.
    pub(super) async fn tcp(address: &str) -> io::Result<Listener> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?.to_string();
        Ok(Listener::Tcp(listener, address))
    }

    /// Listens on a socket file, in place of one that a dead server left; only this user may connect. The caller holds
    /// the data directory's lock, so that no living server uses the file.
    pub(super) fn unix(path: &Path) -> io::Result<Listener> {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(path)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
        Ok(Listener::Unix(listener, path.display().to_string()))
    }

    /// Where clients find it.
    pub(super) fn address(&self) -> String {
        match self {
            Listener::Tcp(_, address) => address.clone(),
            Listener::Unix(_, path) => format!("unix:{path}"),
        }
    }

    /// Accepts connections for as long as the server runs.
    pub(super) async fn run(self, inbox: Inbox, limits: Rc<Limits>) {
        loop {
            if let Err(error) = self.accept(&inbox, &limits).await {
                // Most often out of file descriptors: accepting again at once would spin.
                tracing::warn!(%error, "cannot accept a connection; trying again in 100 ms");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }

    async fn accept(&self, inbox: &Inbox, limits: &Limits) -> io::Result<()> {
        match self {
            Listener::Tcp(listener, _) => {
                let (stream, peer) = listener.accept().await?;
                limits.descriptors.note(stream.as_raw_fd());
                stream.set_nodelay(true)?;
                admit(stream, peer.to_string(), inbox, limits);
            }
            Listener::Unix(listener, path) => {
                let (stream, _) = listener.accept().await?;
                limits.descriptors.note(stream.as_raw_fd());
                admit(stream, format!("{path}:0"), inbox, limits);
            }
        }
        Ok(())
    }
}

/// Serves a new connection, or says that there are too many, on a task of its own.
pub(super) fn admit<S>(mut stream: S, address: String, inbox: &Inbox, limits: &Limits) -> JoinHandle<()>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    if inbox.connections() >= limits.max_clients.get() || inbox.is_stopping() {
        return tokio::task::spawn_local(async move {
            // Whoever has hung up already is not told.
            let _ = stream.write_all(b"-ERR max number of clients reached\r\n").await;
        });
    }
    tracing::debug!(address, "a client has connected");
    let conn = inbox.open(address, !limits.asks_key);
    tokio::task::spawn_local(connection::serve(stream, inbox.clone(), conn, limits.asks_key))
}
