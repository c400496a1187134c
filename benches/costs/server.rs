//! A server that runs for the benchmark, and the one connection to it that measures.

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command};
use std::thread::sleep;
use std::time::{Duration, Instant};

use agq_resp::{Reply, ReplyDecoder, ReplyLimits, encode_request};
use anyhow::{Context as _, bail};
use bytes::BytesMut;

/// How long a server may take to start, or to get rid of what was deleted.
const PATIENCE: Duration = Duration::from_secs(1800);

/// A running server; it ends with this.
pub(crate) struct Server {
    /// What it is called in the tables.
    pub(crate) name: &'static str,
    address: SocketAddr,
    connection: Connection,
    process: Child,
}

impl Server {
    /// AGQ, with its store in a folder.
    pub(crate) fn agq(folder: &Path) -> anyhow::Result<Server> {
        let address = free_address()?;
        let mut command = Command::new(env!("CARGO_BIN_EXE_agq"));
        command
            .args(["serve", "--no-auth", "--bind"])
            .arg(address.to_string())
            .arg("--data-dir")
            .arg(folder.join("data"));
        Server::start("AGQ", command, folder, address)
    }

    /// Redis with the same promise; `None` where there is no `redis-server`. It does not rewrite its log meanwhile.
    pub(crate) fn redis(folder: &Path) -> anyhow::Result<Option<Server>> {
        let address = free_address()?;
        let mut command = Command::new("redis-server");
        command.args(["--port", &address.port().to_string(), "--bind", "127.0.0.1", "--save", "", "--dir"]).arg(folder);
        command.args(["--appendonly", "yes", "--appendfsync", "always", "--auto-aof-rewrite-percentage", "0"]);
        match Server::start("Redis", command, folder, address) {
            Ok(server) => Ok(Some(server)),
            Err(error) if error.downcast_ref().map(std::io::Error::kind) == Some(ErrorKind::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn start(name: &'static str, mut command: Command, folder: &Path, address: SocketAddr) -> anyhow::Result<Server> {
        fs::create_dir_all(folder)?;
        let log = File::create(folder.join("server.log"))?;
        let mut process = command.stdout(log.try_clone()?).stderr(log).spawn()?;
        let begun = Instant::now();
        let connection = loop {
            match Connection::open(address) {
                Ok(connection) => break connection,
                Err(_) if begun.elapsed() < PATIENCE && process.try_wait()?.is_none() => {
                    sleep(Duration::from_millis(20));
                }
                Err(error) => {
                    let log = fs::read_to_string(folder.join("server.log")).unwrap_or_default();
                    let _ = process.kill();
                    return Err(error.context(format!("{name} does not start: {log}")));
                }
            }
        };
        Ok(Server { name, address, connection, process })
    }

    /// Another connection.
    pub(crate) fn connect(&self) -> anyhow::Result<Connection> {
        Connection::open(self.address)
    }

    /// Runs a command.
    pub(crate) fn call<A: AsRef<[u8]>>(&mut self, request: &[A]) -> anyhow::Result<Reply> {
        self.connection.call(request)
    }

    /// Runs commands that are sent together.
    pub(crate) fn pipeline<A: AsRef<[u8]>>(&mut self, requests: &[Vec<A>]) -> anyhow::Result<()> {
        self.connection.send(requests)?;
        requests.iter().try_for_each(|_| self.connection.receive().map(|_| ()))
    }

    /// Waits until the server does nothing that nobody asked for: has removed what was deleted, finished checkpoints.
    pub(crate) fn settle(&mut self) -> anyhow::Result<()> {
        let begun = Instant::now();
        let mut before = None;
        loop {
            let work = self.connection.work()?;
            if work.is_done && before == Some(work.records) {
                return Ok(());
            }
            if begun.elapsed() > PATIENCE {
                bail!("the server does not come to rest");
            }
            before = Some(work.records);
            sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// What a server says of the work that it does in the background.
pub(crate) struct Work {
    /// Records of its log; AGQ's removal of rows goes on while they grow by themselves.
    pub(crate) records: u64,
    /// Nothing is known to be under way.
    pub(crate) is_done: bool,
}

/// A connection that waits for each reply.
pub(crate) struct Connection {
    stream: TcpStream,
    input: BytesMut,
    output: BytesMut,
    decoder: ReplyDecoder,
}

impl Connection {
    fn open(address: SocketAddr) -> anyhow::Result<Connection> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        let decoder = ReplyDecoder::new(ReplyLimits::default());
        let mut connection = Connection { stream, input: BytesMut::new(), output: BytesMut::new(), decoder };
        connection.call(&["PING"])?;
        Ok(connection)
    }

    /// Runs a command.
    pub(crate) fn call<A: AsRef<[u8]>>(&mut self, request: &[A]) -> anyhow::Result<Reply> {
        encode_request(request, &mut self.output);
        self.write()?;
        self.receive()
    }

    fn send<A: AsRef<[u8]>>(&mut self, requests: &[Vec<A>]) -> anyhow::Result<()> {
        requests.iter().for_each(|request| encode_request(request, &mut self.output));
        self.write()
    }

    fn write(&mut self) -> anyhow::Result<()> {
        self.stream.write_all(&self.output)?;
        self.output.clear();
        Ok(())
    }

    fn receive(&mut self) -> anyhow::Result<Reply> {
        let mut buffer = [0; 16 * 1024];
        loop {
            if let Some(reply) = self.decoder.decode(&mut self.input)? {
                match reply {
                    Reply::Error(text) => bail!("{}", String::from_utf8_lossy(&text)),
                    reply => return Ok(reply),
                }
            }
            match self.stream.read(&mut buffer)? {
                0 => bail!("the server closed the connection"),
                count => self.input.extend_from_slice(&buffer[..count]),
            }
        }
    }

    /// Asks what the server does in the background.
    pub(crate) fn work(&mut self) -> anyhow::Result<Work> {
        let reply = self.call(&["INFO"])?;
        let text = reply.as_str().context("INFO is not a text")?;
        let value = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.and_then(|value| value.trim().parse::<u64>().ok()).unwrap_or(0)
        };
        let is_done = value("checkpoint_draining") == 0 && value("lazyfree_pending_objects") == 0;
        Ok(Work { records: value("log_last_record"), is_done })
    }
}
