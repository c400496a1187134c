//! AGQ: JOB.SUBMIT, JOB.CLAIM … BLOCK, JOB.COMPLETE.

use std::path::Path;
use std::process::Command;

use agq_client::{Client, ConnectOptions, Reply};
use anyhow::{Context as _, bail};

use crate::queue::{PAYLOAD, Queue};
use crate::server::{Server, free_address};

/// Starts a server over an empty store.
pub(crate) fn start(program: &Path, folder: &Path) -> anyhow::Result<Server> {
    let address = free_address()?;
    let mut command = Command::new(program);
    command.args(["serve", "--no-auth", "--bind", &address.to_string(), "--data-dir"]).arg(folder.join("agq"));
    Server::start("agq", command, folder, address)
}

/// A client of a server.
pub(crate) async fn connect(server: &Server) -> anyhow::Result<Client> {
    Ok(Client::connect(&ConnectOptions::new(server.address.to_string().parse()?)).await?)
}

/// A worker's connection.
pub(crate) struct Agq {
    client: Client,
    worker: String,
    submission: String,
}

/// A job's id and the epoch of its claim.
pub(crate) type Held = (String, String);

impl Agq {
    pub(crate) async fn connect(server: &Server, number: usize) -> anyhow::Result<Agq> {
        let submission = format!("{{\"kind\":\"bench\",\"payload\":\"{PAYLOAD}\"}}");
        Ok(Agq { client: connect(server).await?, worker: format!("w{number}"), submission })
    }

    pub(crate) async fn connect_all(server: &Server, count: usize) -> anyhow::Result<Vec<Agq>> {
        let mut all = Vec::new();
        for number in 0..count {
            all.push(Agq::connect(server, number).await?);
        }
        Ok(all)
    }

    /// Submits many jobs at once.
    pub(crate) async fn submit_many(&mut self, count: usize) -> anyhow::Result<()> {
        let mut words = vec!["JOB.MSUBMIT"];
        words.extend(std::iter::repeat_n(&*self.submission, count));
        self.client.call(&words).await?;
        Ok(())
    }

    /// Submits a job to a queue.
    pub(crate) async fn submit_to(&mut self, queue: &str) -> anyhow::Result<()> {
        let submission = self.submission.replacen('{', &format!("{{\"queue\":\"{queue}\","), 1);
        self.client.call(&["JOB.SUBMIT", &submission]).await?;
        Ok(())
    }

    /// Claims a job of a queue.
    pub(crate) async fn claim_from(&mut self, queue: &str) -> anyhow::Result<Held> {
        let reply = self.client.call(&["JOB.CLAIM", &self.worker, "BLOCK", "0", "QUEUES", queue]).await?;
        held(&reply)?.pop().context("a claim that waits for ever answers a job")
    }

    /// Claims up to so many jobs at once, and completes them in one go.
    pub(crate) async fn work_many(&mut self, count: usize) -> anyhow::Result<usize> {
        let count = count.to_string();
        let reply =
            self.client.call(&["JOB.CLAIM", &self.worker, "COUNT", &count, "BLOCK", "0", "QUEUES", "ready"]).await?;
        let held = held(&reply)?;
        let completions: Vec<Vec<&str>> =
            held.iter().map(|(job, epoch)| vec!["JOB.COMPLETE", job, epoch, "{}"]).collect();
        for reply in self.client.pipeline(&completions).await? {
            if let Some(error) = reply.as_error() {
                bail!("{}", String::from_utf8_lossy(error));
            }
        }
        Ok(held.len())
    }
}

/// The jobs of a claim.
fn held(reply: &Reply) -> anyhow::Result<Vec<Held>> {
    let jobs = reply.as_array().context("JOB.CLAIM did not answer a list")?;
    let of_job = |job: &Reply| {
        let json: serde_json::Value = serde_json::from_str(job.as_str().context("a job is a text")?)?;
        Ok((json["job_id"].as_str().context("a job has an id")?.to_owned(), json["epoch"].to_string()))
    };
    jobs.iter().map(of_job).collect()
}

impl Queue for Agq {
    type Held = Held;

    async fn submit(&mut self) -> anyhow::Result<()> {
        self.client.call(&["JOB.SUBMIT", &self.submission]).await?;
        Ok(())
    }

    async fn claim(&mut self) -> anyhow::Result<Held> {
        self.claim_from("ready").await
    }

    async fn complete(&mut self, (job, epoch): Held) -> anyhow::Result<()> {
        self.client.call(&["JOB.COMPLETE", &job, &epoch, "{}"]).await?;
        Ok(())
    }
}
