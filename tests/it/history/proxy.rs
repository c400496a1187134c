//! A proxy between clients and the server that cuts connections in the middle of a request or a reply, and holds some up
//! for as long as if the client had been stopped.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::Scope;
use std::time::Duration;

use fastrand::Rng;

use super::pace::Pace;

/// How long a connection is held up: longer than a lease.
const STALL: Duration = Duration::from_millis(1_200);

/// What is done to one direction of a connection once so many bytes went through it.
#[derive(Debug, Clone, Copy)]
enum Fault {
    Cut(usize),
    Stall(usize),
    None,
}

impl Fault {
    fn draw(rng: &mut Rng) -> Fault {
        match rng.u8(..8) {
            0..4 => Fault::Cut(rng.usize(50..30_000)),
            4 => Fault::Stall(rng.usize(50..30_000)),
            _ => Fault::None,
        }
    }
}

/// The proxy of one life of a server.
pub(super) struct Proxy<'p> {
    pub(super) socket: PathBuf,
    pub(super) server: &'p Path,
    pub(super) pace: &'p Pace,
    /// Connections that it has cut.
    pub(super) cuts: AtomicU64,
}

impl<'p> Proxy<'p> {
    /// Takes connections until the life is over and [`Proxy::stop`] is called.
    pub(super) fn serve<'s>(&'s self, scope: &'s Scope<'s, '_>, mut rng: Rng) {
        // What an earlier life has left there.
        let _ = std::fs::remove_file(&self.socket);
        let listener = UnixListener::bind(&self.socket).unwrap();
        scope.spawn(move || {
            for client in listener.incoming() {
                if self.pace.is_over() {
                    return;
                }
                // When the server is gone the client is told so by the end of its connection.
                let (Ok(client), Ok(server)) = (client, UnixStream::connect(self.server)) else { continue };
                let (up, down) = (Fault::draw(&mut rng), Fault::draw(&mut rng));
                let (client_too, server_too) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                scope.spawn(move || self.pass(client, server, up));
                scope.spawn(move || self.pass(server_too, client_too, down));
            }
        });
    }

    /// Wakes the proxy, so that it sees that the life is over.
    pub(super) fn stop(&self) {
        let _ = UnixStream::connect(&self.socket);
    }

    /// Passes bytes on until the fault, or until one side is gone.
    fn pass(&self, mut from: UnixStream, mut to: UnixStream, mut fault: Fault) {
        let mut bytes = [0; 4096];
        let mut passed = 0;
        while let Ok(count @ 1..) = from.read(&mut bytes) {
            let now = passed + count;
            match fault {
                Fault::Cut(at) if now >= at => {
                    let _ = to.write_all(&bytes[..at - passed]);
                    self.cuts.fetch_add(1, Ordering::Relaxed);
                    break;
                }
                Fault::Stall(at) if now >= at => {
                    self.pace.rest(STALL);
                    fault = Fault::None;
                }
                _ => {}
            }
            if to.write_all(&bytes[..count]).is_err() {
                break;
            }
            passed = now;
        }
        let _ = from.shutdown(Shutdown::Both);
        let _ = to.shutdown(Shutdown::Both);
    }
}
