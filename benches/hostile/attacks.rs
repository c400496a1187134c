//! The attacks: company for the busy clients, and what is tried to fill the memory.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use agq_client::{Address, Client, ConnectOptions};

use crate::server::{Server, connect, file};

/// Who is connected beside the busy clients.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Company {
    /// Nobody.
    Nobody,
    /// So many that say nothing.
    Idle(usize),
    /// One that subscribes, reads nothing, and comes again when it is ended; others publish to it.
    DeafSubscriber,
    /// One that sends a request of which a byte comes each second.
    ByteASecond,
}

/// Company that is there; it goes with this.
pub(crate) struct Present {
    _idle: Vec<TcpStream>,
    leave: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Drop for Present {
    fn drop(&mut self) {
        self.leave.store(true, Ordering::Relaxed);
        self.threads.drain(..).for_each(|thread| drop(thread.join()));
    }
}

impl Company {
    pub(crate) fn name(self) -> String {
        match self {
            Company::Nobody => "nobody".to_owned(),
            Company::Idle(count) => format!("{count} idle connections"),
            Company::DeafSubscriber => "a subscriber that never reads, to whom 1 MiB a second is published".to_owned(),
            Company::ByteASecond => "a client that sends a byte a second".to_owned(),
        }
    }

    pub(crate) fn join(self, address: SocketAddr) -> anyhow::Result<Present> {
        let leave = Arc::new(AtomicBool::new(false));
        let (mut idle, mut threads) = (Vec::new(), Vec::new());
        let mut run = |work: fn(SocketAddr, &AtomicBool) -> anyhow::Result<()>| {
            let leave = Arc::clone(&leave);
            threads.push(std::thread::spawn(move || {
                // It is ended by the server now and then: that is the point.
                while !leave.load(Ordering::Relaxed) {
                    let _ = work(address, &leave);
                }
            }));
        };
        match self {
            Company::Nobody => {}
            Company::Idle(count) => idle = (0..count).map(|_| connect(address)).collect::<Result<_, _>>()?,
            Company::DeafSubscriber => run(be_deaf),
            Company::ByteASecond => run(dawdle),
        }
        Ok(Present { _idle: idle, leave, threads })
    }
}

fn be_deaf(address: SocketAddr, leave: &AtomicBool) -> anyhow::Result<()> {
    let (mut deaf, mut publisher) = (connect(address)?, connect(address)?);
    deaf.write_all(b"SUBSCRIBE c\r\n")?;
    let message = format!("*3\r\n$7\r\nPUBLISH\r\n$1\r\nc\r\n$16384\r\n{}\r\n", "x".repeat(16 << 10));
    while !leave.load(Ordering::Relaxed) {
        publisher.write_all(message.as_bytes())?;
        publisher.read_exact(&mut [0; 4])?;
        std::thread::sleep(Duration::from_millis(16));
    }
    Ok(())
}

fn dawdle(address: SocketAddr, leave: &AtomicBool) -> anyhow::Result<()> {
    let mut stream = connect(address)?;
    for byte in b"*2\r\n$4\r\nECHO\r\n$1000\r\n".iter().chain(std::iter::repeat(&b'x')) {
        stream.write_all(&[*byte])?;
        for _ in 0..10 {
            std::thread::sleep(Duration::from_millis(100));
            if leave.load(Ordering::Relaxed) {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// An attack on memory: how many connections it makes, and what became of it.
pub(crate) struct Attack {
    pub(crate) name: &'static str,
    pub(crate) run: fn(&Server, usize) -> anyhow::Result<(usize, String)>,
}

/// The attacks on memory.
pub(crate) const ATTACKS: &[Attack] = &[
    Attack { name: "connections of strangers that say nothing", run: strangers },
    Attack { name: "connections that gave the key and say no more", run: idle },
    Attack { name: "connections over TLS that gave the key and say no more", run: idle_over_tls },
    Attack { name: "strangers with 15 KiB of an argument of 16 KiB", run: half_of_strangers },
    Attack { name: "100 clients, each with 32 MiB of an argument of 512 MiB", run: half_arguments },
    Attack { name: "256 MiB of PINGs in one pipeline, no reply read", run: pipeline },
    Attack { name: "4,000 GETs of 1 MiB in one pipeline, no reply read", run: greedy },
    Attack { name: "256 MiB published to a subscriber that does not read", run: deaf },
    Attack { name: "300,000 subscriptions of one client", run: subscriptions },
    Attack { name: "16 MiB of `*1`, each in the one before", run: nested },
];

fn strangers(server: &Server, count: usize) -> anyhow::Result<(usize, String)> {
    let all = (0..count).map(|_| TcpStream::connect(server.address)).collect::<Result<Vec<_>, _>>()?;
    let open = server.figure("connected_clients")?;
    Ok((all.len(), format!("{open} connections open")))
}

fn idle(server: &Server, count: usize) -> anyhow::Result<(usize, String)> {
    let all = (0..count).map(|_| connect(server.address)).collect::<Result<Vec<_>, _>>()?;
    let open = server.figure("connected_clients")?;
    Ok((all.len(), format!("{open} connections open")))
}

fn idle_over_tls(server: &Server, count: usize) -> anyhow::Result<(usize, String)> {
    let mut options = ConnectOptions::new(Address::Tls(server.tls_address.clone()));
    options.key = Some("sesame".to_owned());
    options.tls.ca = Some(file("ca.pem").into());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut all = Vec::new();
    for _ in 0..count {
        all.push(runtime.block_on(Client::connect(&options))?);
    }
    let open = server.figure("connected_clients")?;
    Ok((all.len(), format!("{open} connections open")))
}

fn half_of_strangers(server: &Server, count: usize) -> anyhow::Result<(usize, String)> {
    let half = format!("*2\r\n$4\r\nAUTH\r\n$16384\r\n{}", "x".repeat(15 << 10));
    let mut all = (0..count).map(|_| TcpStream::connect(server.address)).collect::<Result<Vec<_>, _>>()?;
    all.iter_mut().try_for_each(|stream| stream.write_all(half.as_bytes()))?;
    let held = server.figure("clients_memory")?;
    Ok((all.len(), format!("{held} bytes counted")))
}

fn half_arguments(server: &Server, _: usize) -> anyhow::Result<(usize, String)> {
    let part = vec![b'x'; 1 << 20];
    let mut all = (0..100).map(|_| connect(server.address)).collect::<Result<Vec<_>, _>>()?;
    for stream in &mut all {
        stream.write_all(b"*2\r\n$4\r\nECHO\r\n$536870912\r\n")?;
    }
    for _ in 0..32 {
        // Those that are ended can send no more.
        all.retain_mut(|stream| stream.write_all(&part).is_ok());
    }
    let evicted = server.figure("evicted_clients")?;
    Ok((100, format!("{evicted} ended by --max-client-memory")))
}

/// Sends as much as the server takes, and reads nothing.
fn send_until_full(stream: &mut TcpStream, bytes: &[u8], times: usize) -> anyhow::Result<usize> {
    stream.set_write_timeout(Some(Duration::from_secs(2)))?;
    Ok((0..times).take_while(|_| stream.write_all(bytes).is_ok()).count())
}

fn pipeline(server: &Server, _: usize) -> anyhow::Result<(usize, String)> {
    let mut stream = connect(server.address)?;
    let pings = b"PING\r\n".repeat((1 << 20) / 6);
    let sent = send_until_full(&mut stream, &pings, 256)?;
    Ok((1, format!("it is read no further after about {sent} MiB")))
}

fn greedy(server: &Server, _: usize) -> anyhow::Result<(usize, String)> {
    let mut stream = connect(server.address)?;
    stream.write_all(b"SETRANGE big 1048575 x\r\n")?;
    stream.read_exact(&mut [0; 10])?;
    let sent = send_until_full(&mut stream, &b"GET big\r\n".repeat(1000), 4)?;
    let mut other = connect(server.address)?;
    other.write_all(b"PING\r\n")?;
    other.read_exact(&mut [0; 7])?;
    Ok((1, format!("{sent} thousand sent; a reply at a time is made")))
}

fn deaf(server: &Server, _: usize) -> anyhow::Result<(usize, String)> {
    let (mut deaf, mut publisher) = (connect(server.address)?, connect(server.address)?);
    deaf.write_all(b"SUBSCRIBE c\r\n")?;
    let message = format!("*3\r\n$7\r\nPUBLISH\r\n$1\r\nc\r\n$1048576\r\n{}\r\n", "x".repeat(1 << 20));
    let mut heard = 0;
    for _ in 0..256 {
        publisher.write_all(message.as_bytes())?;
        let mut reply = [0; 4];
        publisher.read_exact(&mut reply)?;
        heard += usize::from(&reply == b":1\r\n");
    }
    Ok((1, format!("ended after {heard} MiB")))
}

fn subscriptions(server: &Server, _: usize) -> anyhow::Result<(usize, String)> {
    let mut stream = connect(server.address)?;
    let mut reader = stream.try_clone()?;
    std::thread::spawn(move || std::io::copy(&mut reader, &mut std::io::sink()));
    for part in 0..30 {
        let names: String = (0..10_000).map(|name| format!("$10\r\nc{:09}\r\n", part * 10_000 + name)).collect();
        stream.write_all(format!("*10001\r\n$9\r\nSUBSCRIBE\r\n{names}").as_bytes())?;
    }
    let began = std::time::Instant::now();
    while server.figure("pubsub_channels")? != "300000" && began.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(50));
    }
    let held = server.figure("clients_memory")?;
    Ok((1, format!("{held} bytes counted")))
}

fn nested(server: &Server, _: usize) -> anyhow::Result<(usize, String)> {
    let mut stream = connect(server.address)?;
    let _ = stream.write_all(&b"*1\r\n".repeat(4 << 20));
    let mut reply = Vec::new();
    let _ = stream.read_to_end(&mut reply);
    let line = String::from_utf8_lossy(&reply).trim().to_owned();
    Ok((1, if line.is_empty() { "ended".to_owned() } else { format!("`{line}`") }))
}
