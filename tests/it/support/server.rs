//! Servers of a test's own: the built `agq`, or a real `redis-server`, on a Unix socket in a folder of its own.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};

use agq_client::{Address, Client, ConnectOptions};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::wire::Wire;

/// The socket of an `agq`, in its data directory.
const SOCKET: &str = "test.sock";

/// A running server. It is killed when this is dropped.
pub(crate) struct Server {
    child: Child,
    socket: PathBuf,
    log: Arc<Mutex<String>>,
    /// Kept for as long as the server runs, when the folder is the server's own.
    _dir: Option<TempDir>,
}

impl Server {
    /// `agq` over an empty store, with more arguments. It asks for no key unless they give it one.
    pub(crate) fn agq(more: &[&str]) -> Server {
        let dir = tempfile::tempdir().unwrap();
        let mut server = Server::agq_in(dir.path(), more);
        server._dir = Some(dir);
        server
    }

    /// `agq` over the store in a folder.
    pub(crate) fn agq_in(dir: &Path, more: &[&str]) -> Server {
        Server::start(&mut Server::command(dir, more), dir)
    }

    /// Starts a command of [`Server::command`].
    pub(crate) fn start(command: &mut Command, dir: &Path) -> Server {
        let mut child = command.spawn().unwrap();
        let output = BufReader::new(child.stderr.take().unwrap());
        let log = wait_for_line(output, "ready");
        Server { child, socket: dir.join(SOCKET), log, _dir: None }
    }

    /// The command that starts `agq` over the store in a folder; its log comes through a pipe.
    pub(crate) fn command(dir: &Path, more: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_agq"));
        command.arg("--data-dir").arg(dir).arg("--socket").arg(dir.join(SOCKET));
        command.args(["--bind", "127.0.0.1:0"]).args(more);
        if !more.contains(&"--session-key") {
            command.arg("--no-auth");
        }
        command.env_remove("AGQ_SESSION_KEY").env("AGQ_LOG", "info").stdout(Stdio::null()).stderr(Stdio::piped());
        command
    }

    /// `redis-server`, empty and without persistence; `None` when it is not installed.
    pub(crate) fn redis() -> Option<Server> {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("redis.sock");
        let mut command = Command::new("redis-server");
        command.args(["--port", "0", "--save", "", "--appendonly", "no", "--dir"]).arg(dir.path());
        command.arg("--unixsocket").arg(&socket).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
            Err(error) => panic!("redis-server does not start: {error}"),
        };
        let output = BufReader::new(child.stdout.take().unwrap());
        let log = wait_for_line(output, "ready to accept connections");
        Some(Server { child, socket, log, _dir: Some(dir) })
    }

    /// The Unix socket it listens on.
    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    /// A new connection.
    pub(crate) fn connect(&self) -> Wire {
        Wire::connect(&self.socket).unwrap_or_else(|error| panic!("cannot connect: {error}; log:\n{}", self.log()))
    }

    /// A new connection of AGQ's own client.
    pub(crate) async fn client(&self) -> Client {
        let options = ConnectOptions::new(Address::Unix(self.socket.clone()));
        Client::connect(&options).await.unwrap_or_else(|error| panic!("{error}; log:\n{}", self.log()))
    }

    /// Its process id.
    pub(crate) fn process(&self) -> u32 {
        self.child.id()
    }

    /// What the server has logged.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Asks the server to stop, and waits until it has. Returns whether it ended without an error.
    pub(crate) fn stop(mut self) -> bool {
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        self.child.wait().is_ok_and(|status| status.success())
    }

    /// Waits until the server has stopped by itself. Returns whether it ended without an error.
    pub(crate) fn ended(mut self) -> bool {
        self.child.wait().is_ok_and(|status| status.success())
    }

    /// Kills the server at once. Answers how it has ended: by that, or by itself before.
    pub(crate) fn kill(mut self) -> ExitStatus {
        let _ = self.child.kill();
        self.child.wait().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads a server's output until a line has `word`, then goes on reading on a thread, so that the pipe never fills.
fn wait_for_line(mut output: impl BufRead + Send + 'static, word: &str) -> Arc<Mutex<String>> {
    let mut text = String::new();
    loop {
        let start = text.len();
        let count = output.read_line(&mut text).unwrap_or(0);
        assert!(count > 0, "the server ended before it was ready; it said:\n{text}");
        if text[start..].contains(word) {
            break;
        }
    }
    let log = Arc::new(Mutex::new(text));
    let shared = log.clone();
    std::thread::spawn(move || {
        let mut line = String::new();
        while output.read_line(&mut line).is_ok_and(|count| count > 0) {
            shared.lock().unwrap().push_str(&line);
            line.clear();
        }
    });
    log
}
