//! PostgreSQL with `synchronous_commit`: a table, `FOR UPDATE SKIP LOCKED`, and NOTIFY for those that wait.

use std::fs;
use std::future::poll_fn;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};
use tokio::sync::mpsc;
use tokio_postgres::{AsyncMessage, Client, NoTls, Statement};

use crate::queue::{PAYLOAD, Queue};
use crate::server::{Server, free_address};

/// Where a program of PostgreSQL's is: Debian keeps them off the PATH.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?;
    let mut found: Vec<PathBuf> = versions
        .filter_map(|version| Some(version.ok()?.path().join("bin").join(name)))
        .filter(|path| path.is_file())
        .collect();
    found.sort();
    found.pop()
}

/// A command that runs as the user `postgres`: the server refuses to be root's.
fn as_user(program: &Path) -> Command {
    let mut command = Command::new("runuser");
    command.args(["-u", "postgres", "--"]).arg(program);
    command
}

pub(crate) fn start(folder: &Path) -> anyhow::Result<Server> {
    let address = free_address()?;
    let data = folder.join("data");
    fs::create_dir_all(&data)?;
    for path in [folder, &data] {
        Command::new("chown").arg("postgres").arg(path).status()?;
    }
    let initdb = program("initdb").context("PostgreSQL is not installed")?;
    let made = as_user(&initdb).args(["--auth=trust", "--username=bench", "--pgdata"]).arg(&data).output()?;
    if !made.status.success() {
        bail!("initdb: {}", String::from_utf8_lossy(&made.stderr));
    }
    let mut command = as_user(&program("postgres").context("PostgreSQL is not installed")?);
    command.arg("-D").arg(&data).args(["-p", &address.port().to_string(), "-c", "listen_addresses=127.0.0.1"]);
    for setting in ["synchronous_commit=on", "fsync=on", "max_connections=200", "unix_socket_directories=/tmp"] {
        command.args(["-c", setting]);
    }
    let mut stop = as_user(&program("pg_ctl").context("PostgreSQL is not installed")?);
    stop.args(["stop", "-m", "immediate", "-D"]).arg(&data);
    Ok(Server::start("postgres", command, folder, address)?.stopped_by(stop))
}

pub(crate) struct Postgres {
    client: Client,
    notices: mpsc::UnboundedReceiver<()>,
    insert: Statement,
    take: Statement,
    delete: Statement,
}

const TAKE: &str = "UPDATE jobs SET taken = true WHERE id = (SELECT id FROM jobs WHERE NOT taken ORDER BY id LIMIT 1 \
                    FOR UPDATE SKIP LOCKED) RETURNING id";

impl Postgres {
    /// Connects; the first makes the table.
    pub(crate) async fn connect(server: &Server, number: usize) -> anyhow::Result<Postgres> {
        let config = format!("host=127.0.0.1 port={} user=bench dbname=postgres", server.address.port());
        let mut tries = 0;
        let (client, mut connection) = loop {
            match tokio_postgres::connect(&config, NoTls).await {
                Ok(connected) => break connected,
                Err(error) if tries == 100 => return Err(error.into()),
                Err(_) => tries += 1,
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        };
        let (notice, notices) = mpsc::unbounded_channel();
        tokio::task::spawn_local(async move {
            while let Some(Ok(message)) = poll_fn(|cx| connection.poll_message(cx)).await {
                if let AsyncMessage::Notification(_) = message {
                    let _ = notice.send(());
                }
            }
        });
        if number == 0 {
            let table = "CREATE TABLE jobs (id bigserial PRIMARY KEY, taken bool NOT NULL DEFAULT false, payload text)";
            client.batch_execute(&format!("{table}; CREATE INDEX ON jobs (id) WHERE NOT taken")).await?;
        }
        client.batch_execute("LISTEN jobs").await?;
        let insert = client
            .prepare("WITH made AS (INSERT INTO jobs (payload) VALUES ($1)) SELECT pg_notify('jobs', '')")
            .await?;
        let take = client.prepare(TAKE).await?;
        let delete = client.prepare("DELETE FROM jobs WHERE id = $1").await?;
        Ok(Postgres { client, notices, insert, take, delete })
    }
}

impl Queue for Postgres {
    type Held = i64;

    async fn submit(&mut self) -> anyhow::Result<()> {
        self.client.execute(&self.insert, &[&PAYLOAD]).await?;
        Ok(())
    }

    async fn claim(&mut self) -> anyhow::Result<i64> {
        loop {
            while self.notices.try_recv().is_ok() {}
            if let Some(row) = self.client.query_opt(&self.take, &[]).await? {
                return Ok(row.get(0));
            }
            self.notices.recv().await.context("PostgreSQL closed the connection")?;
        }
    }

    async fn complete(&mut self, id: i64) -> anyhow::Result<()> {
        self.client.execute(&self.delete, &[&id]).await?;
        Ok(())
    }
}
