//! What panics outside of commands take along: the exit code that docs/operations.md has for each part, and nothing that was
//! acknowledged.
//!
//! A server cannot be seen to end its process from within, so each test runs itself again, as a process of its own that
//! serves, acknowledges, has a part of it panic, and tells on standard output what it acknowledged.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::time::Instant;

use super::core::EXIT_STORE_FAILED;
use super::panics::EXIT_PANICKED;
use super::*;
use crate::storage::injected;

/// A panic that has no effect for so long has none.
const PATIENCE: Duration = Duration::from_secs(60);
/// The folder of the store, for the process that serves.
const DIR: &str = "AGQ_TEST_PANIC_DIR";

/// A server on loopback, on a store in this folder.
pub(super) fn options(dir: &Path, durability: storage::DurabilityMode) -> Options {
    Options {
        compact_rate: 64 << 20,
        storage: storage::Options { durability, ..storage::Options::new(dir) },
        bind: vec!["127.0.0.1:0".to_owned()],
        tls: None,
        socket: None,
        key: None,
        clients: ClientLimits::default(),
        sweep_interval_ms: 30_000,
        jobs: Settings::default(),
        accept_clock: false,
        parameters: Vec::new(),
        changeable: Vec::new(),
        backups: BackupOptions {
            store: dir.to_owned(),
            dir: dir.join("backups"),
            rate: 1 << 30,
            max_snapshot_ms: 60_000,
            when: None,
            keep: 1,
            archive: None,
        },
        webhooks: WebhookRules { hosts: ["*".to_owned()].into(), no_https: None },
        disk_warning: 0,
    }
}

/// A client of a server that runs on a thread of this process.
struct Client {
    stream: BufReader<TcpStream>,
    address: String,
    stop: oneshot::Sender<()>,
    server: std::thread::JoinHandle<()>,
}

impl Client {
    fn serve(options: Options) -> Client {
        let (ready, listening) = channel();
        let (stop, stopped) = oneshot::channel();
        let server = std::thread::spawn(move || {
            let control = Control::only(async { stopped.await.unwrap_or_default() });
            run(&options, control, |addresses| ready.send(addresses[0].clone()).unwrap()).unwrap();
        });
        let address = listening.recv().unwrap();
        let stream = BufReader::new(TcpStream::connect(&address).unwrap());
        Client { stream, address, stop, server }
    }

    /// Stops the server, which must not be there any more when its folder goes.
    fn end(self) {
        self.stop.send(()).unwrap();
        self.server.join().unwrap();
    }

    /// The first line of the answer; nothing when the connection ends.
    fn ask(&mut self, command: &str) -> Option<String> {
        self.stream.get_mut().write_all(format!("{command}\r\n").as_bytes()).ok()?;
        let mut line = String::new();
        self.stream.read_line(&mut line).ok()?;
        (!line.is_empty()).then(|| line.trim_end().to_owned())
    }
}

/// The process that serves: it ends by the panic, or with 0 where that has no effect.
fn live(dir: &Path, part: &str, durability: storage::DurabilityMode, provoke: &str) -> ! {
    let mut client = Client::serve(options(dir, durability));
    let began = Instant::now();
    for n in 0_u64.. {
        if began.elapsed() > PATIENCE {
            break;
        }
        if n == 50 {
            injected::arm(part);
        }
        let acknowledged = client.ask(&format!("SET key:{n} {n}")).as_deref() == Some("+OK");
        if acknowledged {
            println!("acknowledged {n}");
        }
        if n >= 50 {
            // Whatever has the part do something: a connection, or a command.
            let _connected = TcpStream::connect(&client.address);
            client.ask(provoke);
        }
    }
    std::process::exit(0)
}

/// Has a part of a server panic in a process of its own, and holds what is in the store against what was acknowledged.
fn panics(test: &str, part: &str, durability: storage::DurabilityMode, provoke: &str, code: i32) {
    if let Some(dir) = std::env::var_os(DIR) {
        live(Path::new(&dir), part, durability, provoke);
    }
    let dir = tempfile::tempdir().unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("server::panic_tests::{test}"), "--nocapture", "--test-threads", "1"])
        .env(DIR, dir.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut told = String::new();
    let mut errors = child.stderr.take().unwrap();
    let errors = std::thread::spawn(move || {
        let mut text = String::new();
        errors.read_to_string(&mut text).map(|_| text)
    });
    child.stdout.take().unwrap().read_to_string(&mut told).unwrap();
    let status = child.wait().unwrap();
    let errors = errors.join().unwrap().unwrap();
    assert_eq!(status.code(), Some(code), "{part}: {errors}");
    assert!(errors.contains(injected::TEXT), "{part}: {errors}");
    let acknowledged: Vec<&str> = told.lines().filter_map(|line| line.split("acknowledged ").nth(1)).collect();
    assert!(acknowledged.len() >= 50, "{part}: {told}");
    let mut client = Client::serve(options(dir.path(), durability));
    for n in acknowledged {
        assert_eq!(client.ask(&format!("STRLEN key:{n}")), Some(format!(":{}", n.len())), "{part}: key:{n} is lost");
    }
    client.end();
}

const ALWAYS: storage::DurabilityMode = storage::DurabilityMode::Always;

#[test]
fn the_core_loop() {
    panics("the_core_loop", "the core loop", ALWAYS, "PING", EXIT_PANICKED);
}

#[test]
fn a_listener() {
    panics("a_listener", "a listener", ALWAYS, "PING", EXIT_PANICKED);
}

#[test]
fn the_thread_of_webhooks() {
    let put = r#"WEBHOOK.PUT a '{"url":"http://127.0.0.1:1/","events":["*"]}'"#;
    panics("the_thread_of_webhooks", "webhooks", ALWAYS, put, EXIT_PANICKED);
}

#[test]
fn the_thread_that_writes_pages() {
    panics("the_thread_that_writes_pages", "agq-pages", ALWAYS, "SAVE", EXIT_STORE_FAILED);
}

#[test]
fn the_thread_that_syncs_the_log() {
    let interval = storage::DurabilityMode::Interval(1);
    panics("the_thread_that_syncs_the_log", "agq-log", interval, "PING", EXIT_STORE_FAILED);
}
