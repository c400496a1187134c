//! What a job wrote.

use agq_client::Client;
use clap::ValueEnum;

/// Which of a job's outputs.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum Stream {
    Stdout,
    Stderr,
}

/// What is kept of a job's stdout and stderr, of its tasks in their order.
///
/// # Errors
/// When there is no answer.
pub(super) async fn both(client: &mut Client, id: &str) -> anyhow::Result<(Vec<u8>, Vec<u8>)> {
    Ok((one(client, id, Stream::Stdout).await?, one(client, id, Stream::Stderr).await?))
}

/// What is kept of one of them, byte for byte; nothing where there is no such job.
///
/// # Errors
/// When there is no answer.
pub(super) async fn one(client: &mut Client, id: &str, stream: Stream) -> anyhow::Result<Vec<u8>> {
    let name = match stream {
        Stream::Stdout => "stdout",
        Stream::Stderr => "stderr",
    };
    let reply = client.call(&["GET", &format!("job:{id}:{name}")]).await?;
    Ok(reply.as_bytes().map_or_else(Vec::new, |bytes| bytes.to_vec()))
}
