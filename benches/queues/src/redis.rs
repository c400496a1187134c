//! Redis with `appendfsync always`: LPUSH, BLMOVE into a list of what is worked on, LREM.

use std::path::Path;
use std::process::Command;

use agq_client::{Client, ConnectOptions};
use anyhow::Context as _;

use crate::queue::{PAYLOAD, Queue};
use crate::server::{Server, free_address};

pub(crate) fn start(folder: &Path) -> anyhow::Result<Server> {
    let address = free_address()?;
    let mut command = Command::new("redis-server");
    command.args(["--port", &address.port().to_string(), "--bind", "127.0.0.1", "--save", "", "--dir"]).arg(folder);
    command.args(["--appendonly", "yes", "--appendfsync", "always", "--auto-aof-rewrite-percentage", "0"]);
    Server::start("redis", command, folder, address)
}

pub(crate) struct Redis {
    client: Client,
    number: usize,
    submitted: u64,
}

impl Redis {
    pub(crate) async fn connect(server: &Server, number: usize) -> anyhow::Result<Redis> {
        let options = ConnectOptions::new(server.address.to_string().parse()?);
        Ok(Redis { client: Client::connect(&options).await?, number, submitted: 0 })
    }
}

impl Queue for Redis {
    type Held = String;

    async fn submit(&mut self) -> anyhow::Result<()> {
        self.submitted += 1;
        let job = format!("{}-{}:{PAYLOAD}", self.number, self.submitted);
        self.client.call(&["LPUSH", "queue", &job]).await?;
        Ok(())
    }

    async fn claim(&mut self) -> anyhow::Result<String> {
        let reply = self.client.call(&["BLMOVE", "queue", "processing", "RIGHT", "LEFT", "0"]).await?;
        Ok(reply.as_str().context("BLMOVE that waits for ever answers an element")?.to_owned())
    }

    async fn complete(&mut self, job: String) -> anyhow::Result<()> {
        self.client.call(&["LREM", "processing", "1", &job]).await?;
        Ok(())
    }
}
