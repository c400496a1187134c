//! What a job wrote.

use std::collections::BTreeMap;

use agq_client::{Client, Reply};
use anyhow::bail;
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

/// What is kept of these jobs' stdout and stderr, byte for byte, in the order in which it came; nothing where there is no
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

/// What is kept of the stdout of each task of a job; what no task is named for stands under 0.
///
/// # Errors
/// As [`of_all`].
pub(super) async fn stdout_of_tasks(client: &mut Client, id: &str) -> anyhow::Result<BTreeMap<u64, Vec<u8>>> {
    let mut outputs: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
    let mut from = "0".to_owned();
    loop {
        let reply = client.call(&["JOB.LOG", id, "FROM", &from]).await?;
        let Some([next, _, pieces]) = reply.as_array() else { bail!("the answer to JOB.LOG is not understood") };
        let pieces = pieces.as_array().unwrap_or_default();
        if pieces.is_empty() {
            return Ok(outputs);
        }
        for piece in pieces {
            let Some([stream, task, _, bytes]) = piece.as_array() else { continue };
            if let (Some("stdout"), Some(task), Some(bytes)) = (stream.as_str(), task.as_int(), bytes.as_bytes()) {
                outputs.entry(task.unsigned_abs()).or_default().extend_from_slice(bytes);
            }
        }
        from = next.as_str().unwrap_or_default().to_owned();
    }
}
