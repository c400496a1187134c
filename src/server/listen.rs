//! Listeners: TCP and Unix sockets.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd as _, RawFd};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::task::JoinHandle;

use crate::command::{Session, Vouched};
use crate::server::connection;
use crate::server::ended::Ended;
use crate::server::inbox::Inbox;
use crate::server::rules::{Peer, Rules};
use crate::server::throttle::Source;

/// Between two tries to accept a connection when the system gives none.
const PAUSE: Duration = Duration::from_millis(100);
/// Probes without an answer after which the other end of a TCP connection counts as gone, as in Redis.
const PROBES: u32 = 3;

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
    pub(super) async fn run(self, inbox: Inbox, rules: Rc<Rules>) {
        let mut failed = false;
        loop {
            match self.accept(&inbox, &rules).await {
                Ok(()) => failed = false,
                Err(error) => {
                    // Most often out of file descriptors: accepting again at once would spin.
                    if !std::mem::replace(&mut failed, true) {
                        tracing::warn!(%error, "cannot accept a connection; trying again every {PAUSE:?}");
                    }
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    async fn accept(&self, inbox: &Inbox, rules: &Rc<Rules>) -> io::Result<()> {
        match self {
            Listener::Tcp(listener, _) => {
                let (stream, peer) = listener.accept().await?;
                // Who has hung up already is found out by reading.
                let _ = prepare(&stream, rules.limits.tcp_keepalive);
                let origin = Origin::tcp(&stream, peer);
                admit(stream, origin, inbox, rules);
            }
            Listener::Unix(listener, path) => {
                let (stream, _) = listener.accept().await?;
                let address = format!("{path}:0");
                let (local_address, descriptor) = (address.clone(), stream.as_raw_fd());
                let origin = Origin { address, local_address, descriptor, source: Source::Local, vouched: None };
                admit(stream, origin, inbox, rules);
            }
        }
        Ok(())
    }
}

/// Where a connection comes from, and what is known of who it is.
pub(super) struct Origin {
    /// The client's address, for people.
    address: String,
    /// The address that it came to.
    local_address: String,
    /// The socket's number.
    descriptor: RawFd,
    source: Source,
    /// Whose it is by its certificate.
    pub(super) vouched: Option<Vouched>,
}

impl Origin {
    /// Of a client that came over TCP.
    pub(super) fn tcp(stream: &TcpStream, peer: SocketAddr) -> Origin {
        Origin {
            address: peer.to_string(),
            // Unknown of one that has gone again.
            local_address: stream.local_addr().map_or_else(|_| String::new(), |local| local.to_string()),
            descriptor: stream.as_raw_fd(),
            source: peer.ip().into(),
            vouched: None,
        }
    }
}

/// Sends what is written at once, and lets the system find out when the other end is gone without a word.
pub(super) fn prepare(stream: &TcpStream, keepalive: Option<Duration>) -> io::Result<()> {
    use rustix::net::sockopt;
    stream.set_nodelay(true)?;
    if let Some(silence) = keepalive {
        sockopt::set_socket_keepalive(stream, true)?;
        sockopt::set_tcp_keepidle(stream, silence)?;
        sockopt::set_tcp_keepintvl(stream, (silence / PROBES).max(Duration::from_secs(1)))?;
        sockopt::set_tcp_keepcnt(stream, PROBES)?;
    }
    Ok(())
}

/// Serves a new connection on a task of its own, or says why not: there are too many, or the server stops.
pub(super) fn admit(
    mut stream: impl AsyncRead + AsyncWrite + Unpin + 'static,
    origin: Origin,
    inbox: &Inbox,
    rules: &Rc<Rules>,
) -> JoinHandle<()> {
    let Origin { address, local_address, descriptor, source, vouched } = origin;
    rules.descriptors.note(descriptor);
    let refusal = if inbox.is_stopping() {
        Some("-ERR the server is stopping\r\n")
    } else if inbox.clients() >= rules.max_clients.get() {
        inbox.note_end(0, Ended::Refused);
        Some("-ERR max number of clients reached\r\n")
    } else {
        None
    };
    if let Some(refusal) = refusal {
        return tokio::task::spawn_local(async move {
            // A fresh connection has room for this; one that has gone needs it no more.
            let _ = stream.write_all(refusal.as_bytes()).await;
        });
    }
    tracing::debug!(address, "a client has connected");
    let is_vouched_for = vouched.is_some();
    let conn = inbox.open(|conn| {
        let session = match vouched {
            Some(vouched) => Session::of(conn, address, vouched),
            None => Session::new(conn, address, !rules.asks_key),
        };
        Session { local_address: local_address.into(), descriptor, ..session }
    });
    let peer = Peer { conn, source, is_vouched_for, rules: Rc::clone(rules) };
    tokio::task::spawn_local(connection::serve(stream, inbox.clone(), peer))
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;
    use tokio::runtime::LocalOptions;

    use super::*;
    use crate::server::limits::ClientLimits;

    #[test]
    fn who_is_refused_is_told_why() {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_all().build_local(LocalOptions::default()).unwrap().block_on(async {
            let (inbox, limits) = (Inbox::default(), ClientLimits { max_clients: 0, ..ClientLimits::own() });
            let rules = Rc::new(Rules::new(limits, false));
            let refusal = async || {
                let (mut client, stream) = tokio::io::duplex(1 << 10);
                let (address, source) = ("here".to_owned(), Source::Local);
                let local_address = address.clone();
                let origin = Origin { address, local_address, descriptor: 0, source, vouched: None };
                admit(stream, origin, &inbox, &rules).await.unwrap();
                let mut told = String::new();
                client.read_to_string(&mut told).await.unwrap();
                told
            };
            assert_eq!(refusal().await, "-ERR max number of clients reached\r\n");
            inbox.stop();
            assert_eq!(refusal().await, "-ERR the server is stopping\r\n");
            assert_eq!(inbox.endings().refused, 1, "a stop refuses nobody for a place");
        });
    }
}
