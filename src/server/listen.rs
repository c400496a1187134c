//! Listeners: TCP and Unix sockets.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, UnixListener};

use crate::server::connection;
use crate::server::inbox::Inbox;

/// What holds for every new connection.
pub(super) struct Limits {
    /// Connections open at a time.
    pub(super) max_clients: usize,
    /// Clients must give the key first.
    pub(super) asks_key: bool,
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
                let (mut stream, peer) = listener.accept().await?;
                stream.set_nodelay(true)?;
                if is_full(inbox, limits) {
                    return refuse(&mut stream).await;
                }
                let conn = inbox.open(peer.to_string(), !limits.asks_key);
                tokio::task::spawn_local(connection::serve(stream, inbox.clone(), conn, limits.asks_key));
            }
            Listener::Unix(listener, path) => {
                let (mut stream, _) = listener.accept().await?;
                if is_full(inbox, limits) {
                    return refuse(&mut stream).await;
                }
                let conn = inbox.open(format!("{path}:0"), !limits.asks_key);
                tokio::task::spawn_local(connection::serve(stream, inbox.clone(), conn, limits.asks_key));
            }
        }
        Ok(())
    }
}

fn is_full(inbox: &Inbox, limits: &Limits) -> bool {
    inbox.connections() >= limits.max_clients || inbox.is_stopping()
}

async fn refuse(stream: &mut (impl AsyncWriteExt + Unpin)) -> io::Result<()> {
    stream.write_all(b"-ERR max number of clients reached\r\n").await
}
