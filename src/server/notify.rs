//! What a service manager is told (`sd_notify(3)`): readiness, reloads, the end, and that the core loop turns. Without
//! `NOTIFY_SOCKET` nobody is told anything.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use crate::server::process;

/// Between two looks at whether something long goes on.
const LOOK: Duration = Duration::from_secs(5);
/// How much longer the service manager is asked to wait at a time.
const EXTENSION: Duration = Duration::from_secs(30);

/// Where to send it; clones share the socket.
#[derive(Debug, Clone, Default)]
pub struct Notify(Option<Arc<Manager>>);

#[derive(Debug)]
struct Manager {
    socket: UnixDatagram,
    /// The core loop must be heard of so often.
    watchdog: Option<Duration>,
}

impl Notify {
    /// The service manager that the environment names, if any.
    ///
    /// # Errors
    /// When it names a socket that is not there.
    pub fn from_environment() -> io::Result<Notify> {
        let Some(name) = std::env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else {
            return Ok(Notify::default());
        };
        let socket = UnixDatagram::unbound()?;
        connect(&socket, name.as_encoded_bytes())?;
        // A manager that does not read must not hold up the core thread.
        socket.set_nonblocking(true)?;
        let number = |name: &str| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
        let is_ours = number("WATCHDOG_PID").is_none_or(|process| process == u64::from(std::process::id()));
        let watchdog = number("WATCHDOG_USEC").filter(|micros| is_ours && *micros > 0).map(Duration::from_micros);
        Ok(Notify(Some(Arc::new(Manager { socket, watchdog }))))
    }

    /// Tells the service manager; lines of `NAME=value`.
    fn send(&self, text: &str) {
        if let Some(manager) = &self.0
            && let Err(error) = manager.socket.send(text.as_bytes())
        {
            tracing::debug!(%error, text, "the service manager cannot be told");
        }
    }

    /// Connections are accepted, or a reload is over.
    pub fn ready(&self, status: &str) {
        self.send(&format!("READY=1\nSTATUS={status}"));
    }

    /// A reload begins.
    pub fn reloading(&self) {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let micros = now.tv_sec * 1_000_000 + now.tv_nsec / 1000;
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={micros}\nSTATUS=reading the settings again"));
    }

    /// A drain waits for so many jobs; `ends_in` when it ends in so long at the latest, and is not taken back.
    pub(super) fn draining(&self, running: u64, ends_in: Option<Duration>) {
        let status = format!("STATUS=draining: {running} still running, no other job is granted");
        match ends_in {
            Some(left) => {
                let micros = (left + EXTENSION).as_micros();
                self.send(&format!("STOPPING=1\nEXTEND_TIMEOUT_USEC={micros}\n{status}"));
            }
            None => self.send(&status),
        }
    }

    /// The server stops.
    pub(super) fn stopping(&self) {
        self.send("STOPPING=1\nSTATUS=stopping");
    }

    /// Runs something that may take long, and asks for more time for as long as it goes on: while the process computes,
    /// reads or writes. Where it hangs, the service manager's time runs out.
    pub(super) fn patiently<T>(&self, status: &str, work: impl FnOnce() -> T) -> T {
        if self.0.is_none() {
            return work();
        }
        let more_time = || self.send(&format!("EXTEND_TIMEOUT_USEC={}\nSTATUS={status}", EXTENSION.as_micros()));
        let (done, is_done) = channel::<()>();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                let mut seen = None;
                loop {
                    let progress = process::progress();
                    if seen != Some(progress) {
                        more_time();
                    }
                    seen = Some(progress);
                    // The sender is only dropped.
                    if is_done.recv_timeout(LOOK) != Err(RecvTimeoutError::Timeout) {
                        return;
                    }
                }
            });
            // Dropped by a panic of the work, too.
            let _done = done;
            work()
        })
    }
}

#[cfg(target_os = "linux")]
fn connect(socket: &UnixDatagram, name: &[u8]) -> io::Result<()> {
    use std::os::linux::net::SocketAddrExt as _;
    match name.strip_prefix(b"@") {
        Some(name) => socket.connect_addr(&std::os::unix::net::SocketAddr::from_abstract_name(name)?),
        None => connect_to_file(socket, name),
    }
}

#[cfg(not(target_os = "linux"))]
fn connect(socket: &UnixDatagram, name: &[u8]) -> io::Result<()> {
    connect_to_file(socket, name)
}

fn connect_to_file(socket: &UnixDatagram, name: &[u8]) -> io::Result<()> {
    use std::os::unix::ffi::OsStrExt as _;
    socket.connect(std::ffi::OsStr::from_bytes(name))
}

/// Says that the core loop turns, from the core loop.
pub(super) struct Watchdog {
    notify: Notify,
    /// Half of the time after which the service manager takes the server for dead.
    every: Option<Duration>,
    last: Instant,
}

impl Watchdog {
    pub(super) fn new(notify: &Notify) -> Watchdog {
        let every = notify.0.as_ref().and_then(|manager| manager.watchdog).map(|time| time / 2);
        Watchdog { notify: notify.clone(), every, last: Instant::now() }
    }

    /// Says it when it is due.
    pub(super) fn beat(&mut self) {
        if self.left() == Some(Duration::ZERO) {
            self.notify.send("WATCHDOG=1");
            self.last = Instant::now();
        }
    }

    /// How long the loop may sleep; `None` for as long as it likes.
    pub(super) fn left(&self) -> Option<Duration> {
        self.every.map(|every| every.saturating_sub(self.last.elapsed()))
    }
}
