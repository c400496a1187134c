//! An AGQ that runs for the benchmark.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use tempfile::TempDir;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running server with an empty store; it ends with this.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    /// Where it speaks TLS, with the certificate of the tests.
    pub(crate) tls_address: String,
    process: Child,
    _dir: TempDir,
}

impl Server {
    pub(crate) fn start(dir: &Path) -> anyhow::Result<Server> {
        let dir = tempfile::tempdir_in(dir)?;
        let mut command = Command::new(env!("CARGO_BIN_EXE_agq"));
        command.args(["serve", "--session-key", "sesame", "--bind", "127.0.0.1:0", "--max-clients", "20000"]);
        command.args(["--auth-timeout", "0", "--request-timeout", "0", "--data-dir"]).arg(dir.path());
        command.args(["--tls-bind", "127.0.0.1:0", "--tls-cert", &file("first.pem"), "--tls-key", &file("first.key")]);
        let mut process = command.env("AGQ_LOG", "info").stderr(Stdio::piped()).spawn()?;
        let mut log = BufReader::new(process.stderr.take().context("no log")?);
        let mut line = String::new();
        let (address, tls_address) = loop {
            line.clear();
            anyhow::ensure!(log.read_line(&mut line)? > 0, "agq does not start");
            if let Some((_, addresses)) = line.split_once("addresses=\"") {
                let (plain, tls) = addresses.split_once(" tls://").context("agq does not say where it listens")?;
                break (plain.parse()?, tls.trim().trim_end_matches('"').to_owned());
            }
        };
        // The pipe never fills.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Ok(Server { address, tls_address, process, _dir: dir })
    }

    /// A figure of the process's memory, from `/proc`.
    pub(crate) fn memory_kib(&self, name: &str) -> anyhow::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix(name)).context("the system does not tell")?;
        Ok(line.trim().trim_end_matches("kB").trim().parse()?)
    }

    /// A figure of INFO.
    pub(crate) fn figure(&self, name: &str) -> anyhow::Result<String> {
        let mut stream = connect(self.address)?;
        stream.write_all(b"INFO clients stats\r\nQUIT\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        Ok(line.with_context(|| format!("no {name} in {text}"))?.trim().to_owned())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// One of the files of TLS that the tests have.
pub(crate) fn file(name: &str) -> String {
    format!("{}/tests/it/tls/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// A connection that has given the key.
pub(crate) fn connect(address: SocketAddr) -> anyhow::Result<TcpStream> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(b"AUTH sesame\r\n")?;
    let mut reply = [0; 5];
    stream.read_exact(&mut reply)?;
    anyhow::ensure!(&reply == b"+OK\r\n", "the key is not taken");
    Ok(stream)
}
