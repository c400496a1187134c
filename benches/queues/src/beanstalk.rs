//! beanstalkd with a binlog that is synced at each write: put, reserve, delete.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, bail};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use crate::queue::{PAYLOAD, Queue};
use crate::server::{Server, free_address};

pub(crate) fn start(folder: &Path) -> anyhow::Result<Server> {
    let address = free_address()?;
    let mut command = Command::new("beanstalkd");
    command.args(["-l", "127.0.0.1", "-p", &address.port().to_string(), "-f", "0", "-b"]).arg(folder);
    Server::start("beanstalkd", command, folder, address)
}

pub(crate) struct Beanstalk(BufReader<TcpStream>);

impl Beanstalk {
    pub(crate) async fn connect(server: &Server) -> anyhow::Result<Beanstalk> {
        let stream = TcpStream::connect(server.address).await?;
        stream.set_nodelay(true)?;
        Ok(Beanstalk(BufReader::new(stream)))
    }

    /// Sends a command; the words of the first line of its answer, which begins with `expected`.
    async fn call(&mut self, command: &str, expected: &str) -> anyhow::Result<Vec<String>> {
        self.0.get_mut().write_all(command.as_bytes()).await?;
        let mut line = String::new();
        self.0.read_line(&mut line).await?;
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        if words.first().map(String::as_str) != Some(expected) {
            bail!("beanstalkd answered '{}' where {expected} was expected", line.trim_end());
        }
        Ok(words)
    }
}

impl Queue for Beanstalk {
    type Held = String;

    async fn submit(&mut self) -> anyhow::Result<()> {
        self.call(&format!("put 1024 0 60 {}\r\n{PAYLOAD}\r\n", PAYLOAD.len()), "INSERTED").await?;
        Ok(())
    }

    async fn claim(&mut self) -> anyhow::Result<String> {
        let words = self.call("reserve\r\n", "RESERVED").await?;
        let [_, id, bytes] = &words[..] else { bail!("beanstalkd answered {words:?}") };
        let bytes: usize = bytes.parse().context("the length of a job")?;
        self.0.read_exact(&mut vec![0; bytes + 2]).await?;
        Ok(id.clone())
    }

    async fn complete(&mut self, id: String) -> anyhow::Result<()> {
        self.call(&format!("delete {id}\r\n"), "DELETED").await?;
        Ok(())
    }
}
