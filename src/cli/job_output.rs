//! What a job wrote.

use agq_client::Client;
use clap::ValueEnum;

use super::connect::json;

/// Which of a job's outputs.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum Stream {
    Stdout,
    Stderr,
}

/// What is kept of a job's stdout and stderr, of its tasks in their order.
///
/// # Errors
/// When there is no such job, or no answer.
pub(super) async fn both(client: &mut Client, id: &str) -> anyhow::Result<(Vec<u8>, Vec<u8>)> {
    let result = json(&client.call(&["JOB.RESULT", id]).await?)?;
    let bytes = |name: &str| result[name].as_str().unwrap_or_default().as_bytes().to_vec();
    Ok((bytes("stdout"), bytes("stderr")))
}

/// What is kept of one of them.
///
/// # Errors
/// As [`both`].
pub(super) async fn one(client: &mut Client, id: &str, stream: Stream) -> anyhow::Result<Vec<u8>> {
    let (stdout, stderr) = both(client, id).await?;
    Ok(match stream {
        Stream::Stdout => stdout,
        Stream::Stderr => stderr,
    })
}
