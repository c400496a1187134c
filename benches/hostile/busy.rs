//! The clients that are measured: each sends a SET when the one before is answered.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Keys that are written.
const KEYS: u64 = 100_000;

/// Commands a second of so many clients together, over a time.
pub(crate) fn rate(address: SocketAddr, clients: usize, time: Duration) -> anyhow::Result<f64> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let done = Arc::new(AtomicU64::new(0));
        let mut connections = Vec::new();
        for client in 0..clients {
            let mut stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            stream.write_all(b"AUTH sesame\r\n").await?;
            expect_ok(&mut stream).await?;
            connections.push((client as u64, stream));
        }
        let began = Instant::now();
        let tasks: Vec<_> = connections
            .into_iter()
            .map(|(client, stream)| tokio::spawn(set(client, stream, began + time, Arc::clone(&done))))
            .collect();
        for task in tasks {
            task.await??;
        }
        Ok(done.load(Ordering::Relaxed) as f64 / began.elapsed().as_secs_f64())
    })
}

async fn set(client: u64, mut stream: TcpStream, until: Instant, done: Arc<AtomicU64>) -> anyhow::Result<()> {
    let mut random = fastrand::Rng::with_seed(client);
    while Instant::now() < until {
        let key = random.u64(..KEYS);
        let request = format!("*3\r\n$3\r\nSET\r\n$10\r\nkey:{key:06}\r\n$16\r\nabcdefghijklmnop\r\n");
        stream.write_all(request.as_bytes()).await?;
        expect_ok(&mut stream).await?;
        done.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

async fn expect_ok(stream: &mut TcpStream) -> anyhow::Result<()> {
    let mut reply = [0; 5];
    stream.read_exact(&mut reply).await?;
    anyhow::ensure!(&reply == b"+OK\r\n", "the server answered {}", reply.escape_ascii());
    Ok(())
}
