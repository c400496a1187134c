//! A server that runs for a measurement.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

/// How long a server may take to start.
const PATIENCE: Duration = Duration::from_secs(90);

/// A running server; it ends with this.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    process: Child,
    /// What ends it, where killing what was started does not.
    stop: Option<Command>,
}

impl Server {
    /// Starts a program that listens on `address`.
    pub(crate) fn start(
        name: &str,
        mut command: Command,
        folder: &Path,
        address: SocketAddr,
    ) -> anyhow::Result<Server> {
        let log = folder.join(format!("{name}.log"));
        let file = File::create(&log)?;
        command.stdout(file.try_clone()?).stderr(file);
        let process = command.spawn().with_context(|| format!("cannot start {name}"))?;
        let mut server = Server { address, process, stop: None };
        let begun = Instant::now();
        while TcpStream::connect(address).is_err() {
            if begun.elapsed() > PATIENCE || server.process.try_wait()?.is_some() {
                bail!("{name} does not start: {}", fs::read_to_string(&log).unwrap_or_default());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(server)
    }

    /// The same, ended by a command.
    pub(crate) fn stopped_by(mut self, stop: Command) -> Server {
        self.stop = Some(stop);
        self
    }

    /// Its process.
    pub(crate) fn process(&self) -> u32 {
        self.process.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(stop) = &mut self.stop {
            let _ = stop.output();
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub(crate) fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// True when a program is on the PATH.
pub(crate) fn is_installed(program: &str) -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&paths).any(|dir| dir.join(program).is_file())
}
