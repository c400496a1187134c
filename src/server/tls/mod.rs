//! Connections over TLS. Greeting and encryption run on a thread of their own; what is in the clear comes to the core
//! thread through a pipe, in place of a socket, and is served there like any other connection.
//!
//! The thread starts with the first address that asks for TLS. It knows nothing of commands, and the core thread knows
//! nothing of certificates.

mod carry;
mod names;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use agq_tls::ServerFiles;
use anyhow::Context as _;
use rustls::ServerConfig;
use tokio::io::DuplexStream;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{oneshot, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::clock::Millis;
use crate::server::inbox::Inbox;
use crate::server::rules::Rules;
use crate::server::{listen, panics};
use listen::Origin;

/// How long a client may take to greet.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// So many may greet at a time; one more, and the oldest of them is hung up on.
const HANDSHAKES: usize = 1024;
/// Bytes in flight between the two threads, in each direction of a connection.
const PIPE_BYTES: usize = 64 << 10;
/// Between two tries when no connection can be accepted.
const PAUSE: Duration = Duration::from_millis(100);

/// What TLS needs.
#[derive(Debug, Clone)]
pub struct TlsOptions {
    /// Addresses to listen on.
    pub bind: Vec<String>,
    /// Certificate, key, and who may come.
    pub files: ServerFiles,
    /// A client's certificate may say which access key it acts as.
    pub client_keys: bool,
}

/// How clients are greeted.
pub(super) struct Greeting {
    config: Arc<ServerConfig>,
    client_keys: bool,
    /// When the certificate ends.
    ends: Option<Millis>,
}

impl Greeting {
    /// Reads the files.
    ///
    /// # Errors
    /// When one makes no sense.
    pub(super) fn new(options: &TlsOptions) -> Result<Greeting, agq_tls::Error> {
        let config = Arc::new(agq_tls::server_config(&options.files)?);
        let ends = agq_tls::certificates_end(&options.files.certificate)?;
        Ok(Greeting { config, client_keys: options.client_keys, ends: ends.and_then(|at| moment(&at)) })
    }
}

/// The thread, and what it works with.
pub(super) struct Tls {
    greetings: watch::Sender<Greeting>,
    ended: oneshot::Receiver<()>,
    /// Where clients find it.
    pub(super) addresses: Vec<String>,
}

/// A client that has greeted.
struct Arrival {
    pipe: DuplexStream,
    origin: Origin,
    /// Gone when the core thread is done with the connection.
    served: oneshot::Sender<()>,
}

/// A time that is written as RFC 3339 has it; one before 1970 is 1970.
fn moment(text: &str) -> Option<Millis> {
    let at = text.parse::<jiff::Timestamp>().ok()?;
    Some(Millis(u64::try_from(at.as_millisecond()).unwrap_or(0)))
}

impl Tls {
    /// Reads the files, listens, and starts the thread.
    ///
    /// # Errors
    /// When a file makes no sense, an address cannot be had, or there can be no thread.
    pub(super) async fn start(options: &TlsOptions, inbox: &Inbox, rules: &Rc<Rules>) -> anyhow::Result<Tls> {
        let greeting = Greeting::new(options)?;
        rules.certificate_ends.set(greeting.ends);
        let (greetings, greeting) = watch::channel(greeting);
        let (mut listeners, mut addresses) = (Vec::new(), Vec::new());
        for address in &options.bind {
            let listener = TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))?;
            addresses.push(format!("tls://{}", listener.local_addr()?));
            listeners.push(listener.into_std()?);
        }
        let (hand_over, arrivals) = unbounded_channel();
        let (end, ended) = oneshot::channel();
        let keepalive = rules.limits.tcp_keepalive;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::Builder::new().name("agq-tls".to_owned()).spawn(move || {
            let work = async {
                let listeners = listeners.into_iter().map(TcpListener::from_std).collect::<Result<Vec<_>, _>>()?;
                accept_all(listeners, greeting, keepalive, hand_over).await;
                anyhow::Ok(())
            };
            panics::or_exit("agq-tls", || {
                if let Err(error) = runtime.block_on(work) {
                    panics::exit("agq-tls", &format!("{error:#}"));
                }
            });
            // Whoever waits for this is told by its end.
            drop(end);
        })?;
        tokio::task::spawn_local(panics::task_or_exit(
            "the arrivals over TLS",
            serve(arrivals, inbox.clone(), Rc::clone(rules)),
        ));
        Ok(Tls { greetings, ended, addresses })
    }

    /// Greets clients otherwise from now on; connections that are there stay as they are.
    pub(super) fn renew(&self, greeting: Greeting, rules: &Rules) {
        rules.certificate_ends.set(greeting.ends);
        self.greetings.send_replace(greeting);
    }

    /// Accepts no more connections, and waits until what was written to those there are has gone out.
    pub(super) async fn end(self) {
        drop(self.greetings);
        // It ends with the thread.
        let _ = self.ended.await;
    }
}

/// Serves on the core thread what has greeted.
async fn serve(mut arrivals: UnboundedReceiver<Arrival>, inbox: Inbox, rules: Rc<Rules>) {
    while let Some(Arrival { pipe, origin, served }) = arrivals.recv().await {
        let connection = listen::admit(pipe, origin, &inbox, &rules);
        tokio::task::spawn_local(async move {
            // Whether it ended well is its own affair.
            let _ = connection.await;
            drop(served);
        });
    }
}

/// Accepts on the thread until nobody renews the configuration any more, then waits for the connections' ends.
async fn accept_all(
    listeners: Vec<TcpListener>,
    mut current: watch::Receiver<Greeting>,
    keepalive: Option<Duration>,
    hand_over: UnboundedSender<Arrival>,
) {
    let (accepted, mut streams) = unbounded_channel();
    let (mut accepting, mut greeting, mut connections) = (JoinSet::new(), JoinSet::new(), JoinSet::new());
    for listener in listeners {
        accepting.spawn(panics::task_or_exit("a listener of TLS", accept(listener, accepted.clone())));
    }
    let mut oldest_first = VecDeque::new();
    loop {
        tokio::select! {
            Some((stream, peer)) = streams.recv() => {
                // Who has hung up already is found out by greeting.
                let _ = listen::prepare(&stream, keepalive);
                let (acceptor, client_keys) = {
                    let current = current.borrow_and_update();
                    (TlsAcceptor::from(Arc::clone(&current.config)), current.client_keys)
                };
                make_room(&mut oldest_first);
                oldest_first.push_back(greeting.spawn(greet(acceptor, client_keys, stream, peer)));
            }
            // A greeting that panicked has said so, and its client is gone.
            Some(greeted) = greeting.join_next() => if let Ok(Some((stream, origin))) = greeted {
                let (pipe, theirs) = tokio::io::duplex(PIPE_BYTES);
                let (served, done) = oneshot::channel();
                if hand_over.send(Arrival { pipe: theirs, origin, served }).is_ok() {
                    connections.spawn(carry::carry(stream, pipe, done));
                }
            },
            Some(_) = connections.join_next() => {}
            renewed = current.changed() => if renewed.is_err() {
                break;
            },
        }
    }
    accepting.abort_all();
    greeting.abort_all();
    while connections.join_next().await.is_some() {}
}

/// Hangs up on the one who greets for longest, when too many do: who means it needs no second for it.
fn make_room(oldest_first: &mut VecDeque<AbortHandle>) {
    if oldest_first.len() >= HANDSHAKES {
        oldest_first.retain(|greeting| !greeting.is_finished());
    }
    if oldest_first.len() >= HANDSHAKES
        && let Some(oldest) = oldest_first.pop_front()
    {
        tracing::debug!(greeting = HANDSHAKES, "too many greet at a time: the oldest is hung up on");
        oldest.abort();
    }
}

async fn accept(listener: TcpListener, accepted: UnboundedSender<(TcpStream, SocketAddr)>) {
    loop {
        match listener.accept().await {
            Ok(stream) => {
                if accepted.send(stream).is_err() {
                    return;
                }
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection; trying again in 100 ms");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Greets a client; `None` when that fails. With `client_keys` its certificate is read for an access key's name.
async fn greet(
    acceptor: TlsAcceptor,
    client_keys: bool,
    stream: TcpStream,
    peer: SocketAddr,
) -> Option<(TlsStream<TcpStream>, Origin)> {
    let mut origin = Origin::tcp(&stream, peer);
    let why = match tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => {
            let own = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
            origin.vouched = own.filter(|_| client_keys).and_then(names::vouched);
            return Some((stream, origin));
        }
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("no greeting within {} s", HANDSHAKE.as_secs()),
    };
    tracing::debug!(%peer, why, "a client was not let in over TLS");
    None
}
