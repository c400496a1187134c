//! What a job wrote.

use agq_client::{Client, Reply};
use clap::ValueEnum;

/// Which of a job's outputs.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum Stream {
    Stdout,
    Stderr,
}

fn get(id: &str, stream: Stream) -> Vec<String> {
    let name = match stream {
        Stream::Stdout => "stdout",
        Stream::Stderr => "stderr",
    };
    vec!["GET".to_owned(), format!("job:{id}:{name}")]
}

fn bytes(reply: &Reply) -> Vec<u8> {
    reply.as_bytes().map_or_else(Vec::new, |bytes| bytes.to_vec())
}

/// What is kept of these jobs' stdout and stderr, byte for byte, of their tasks in order; nothing where there is no
/// such job.
///
/// # Errors
/// When there is no answer.
pub(super) async fn of_all(
    client: &mut Client,
    ids: impl Iterator<Item = String>,
) -> anyhow::Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let commands: Vec<_> = ids.flat_map(|id| [get(&id, Stream::Stdout), get(&id, Stream::Stderr)]).collect();
    let replies = client.pipeline(&commands).await?;
    Ok(replies.as_chunks().0.iter().map(|[stdout, stderr]| (bytes(stdout), bytes(stderr))).collect())
}

/// What is kept of one output of one job.
///
/// # Errors
/// As [`of_all`].
pub(super) async fn one(client: &mut Client, id: &str, stream: Stream) -> anyhow::Result<Vec<u8>> {
    Ok(bytes(&client.call(&get(id, stream)).await?))
}
