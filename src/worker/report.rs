//! What goes up while a job runs, and at its end: output in bounded pieces, tasks that are finished, then the outcome.
//! A lost server is waited for; meanwhile the programs are held up by their full pipes.

use std::collections::BTreeMap;
use std::pin::pin;
use std::time::Duration;

use agq_client::Reply;
use bytes::{Bytes, BytesMut};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::job::{Claim, Outcome, Results};
use super::ledger::Ledger;
use super::link::{self, Link};
use super::message::{Chunk, Message, Stream};
use super::{FAREWELL, Halt, Running};
use crate::jobs::checkpoint::TaskResult;

/// Output is sent once there is so much of it …
const SEND_BYTES: usize = 256 << 10;
/// … or its first byte has waited so long, so that short jobs need one message for all they have to say.
const SEND_AFTER: Duration = Duration::from_millis(50);

/// The reports of one job.
pub(super) struct Reporter<'a> {
    link: &'a mut Link,
    claim: &'a Claim,
    running: &'a Running,
    halt: watch::Receiver<Option<Halt>>,
    pending: Vec<Piece>,
    pending_bytes: usize,
    ledger: Ledger,
    /// Tasks that a further attempt need not run again.
    finished: BTreeMap<u32, TaskResult>,
    /// The server does not know of all of them.
    is_progress_due: bool,
}

/// Output of one task and stream, in order.
struct Piece {
    task: u32,
    stream: Stream,
    bytes: BytesMut,
}

impl<'a> Reporter<'a> {
    /// The reports of a claim, of whose outputs the server keeps `max_output` bytes each.
    pub(super) fn new(
        link: &'a mut Link,
        claim: &'a Claim,
        running: &'a Running,
        halt: watch::Receiver<Option<Halt>>,
        max_output: u64,
    ) -> Reporter<'a> {
        let ledger = Ledger::new(max_output);
        let (pending, finished) = (Vec::new(), BTreeMap::new());
        Reporter { link, claim, running, halt, pending, pending_bytes: 0, ledger, finished, is_progress_due: false }
    }

    /// Sends up what is said until there is no more; the last of it is kept for [`Reporter::finish`].
    pub(super) async fn stream(&mut self, mut messages: mpsc::Receiver<Message>) {
        while let Some(message) = messages.recv().await {
            self.take(message);
            let until = Instant::now() + SEND_AFTER;
            while self.pending_bytes < SEND_BYTES {
                match tokio::time::timeout_at(until, messages.recv()).await {
                    Ok(Some(message)) => self.take(message),
                    Ok(None) => return,
                    Err(_) => break,
                }
            }
            if !self.send_pending(Duration::ZERO).await {
                return;
            }
        }
    }

    /// Sends what is left, and the outcome.
    pub(super) async fn finish(mut self, outcome: Outcome) {
        // When the worker is leaving, a job that is done is worth a moment; so are the tasks that the next attempt need
        // not run again.
        let is_done = matches!(outcome, Outcome::Completed(_));
        if self.is_progress_due && !is_done && !self.send_pending(FAREWELL).await {
            return;
        }
        let (name, results) = match outcome {
            Outcome::Completed(results) => ("JOB.COMPLETE", results),
            Outcome::Failed(results) => ("JOB.FAIL", results),
            Outcome::Abandoned => return,
        };
        let results = Results { tasks: self.marked(results.tasks), ..results };
        let mut commands = self.take_pending();
        commands.push(self.command(name, [results.to_json().into()]));
        self.send(commands, FAREWELL).await;
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Output(chunk) => self.add(chunk),
            Message::Kept(tasks) => {
                for task in tasks {
                    self.ledger.add(task.task_number, Stream::Stdout, task.stdout_bytes);
                    self.ledger.add(task.task_number, Stream::Stderr, task.stderr_bytes);
                    self.finished.insert(task.task_number, task);
                }
            }
            Message::Finished(task) => {
                self.finished.insert(task.task_number, task);
                self.is_progress_due = true;
            }
        }
    }

    /// Sends output up, and behind it which tasks are finished, so that none is said to be whose output is not there.
    async fn send_pending(&mut self, patience: Duration) -> bool {
        let commands = self.take_pending();
        if !self.send(commands, patience).await {
            return false;
        }
        if !std::mem::take(&mut self.is_progress_due) {
            return true;
        }
        let tasks = self.marked(self.finished.values().cloned().collect());
        let progress = Results { message: None, tasks }.to_json();
        let command = self.command("JOB.PROGRESS", [progress.into()]);
        self.send(vec![command], patience).await
    }

    /// The results with those marked whose output is not kept whole.
    fn marked(&self, mut tasks: Vec<TaskResult>) -> Vec<TaskResult> {
        for task in &mut tasks {
            task.truncated |= self.ledger.is_truncated(task.task_number);
        }
        tasks
    }

    fn add(&mut self, chunk: Chunk) {
        self.pending_bytes += chunk.bytes.len();
        self.ledger.add(chunk.task, chunk.stream, chunk.bytes.len() as u64);
        match self.pending.last_mut() {
            Some(piece) if piece.task == chunk.task && piece.stream == chunk.stream => {
                piece.bytes.extend_from_slice(&chunk.bytes);
            }
            _ => {
                let bytes = BytesMut::from(chunk.bytes);
                self.pending.push(Piece { task: chunk.task, stream: chunk.stream, bytes });
            }
        }
    }

    fn take_pending(&mut self) -> Vec<Vec<Bytes>> {
        self.pending_bytes = 0;
        let pieces = std::mem::take(&mut self.pending);
        let append = |piece: Piece| {
            let stream = match piece.stream {
                Stream::Stdout => "stdout",
                Stream::Stderr => "stderr",
            };
            let task = Bytes::from(piece.task.to_string());
            self.command("JOB.APPEND", [stream.into(), "TASK".into(), task, piece.bytes.freeze()])
        };
        pieces.into_iter().map(append).collect()
    }

    fn command<const N: usize>(&self, name: &'static str, args: [Bytes; N]) -> Vec<Bytes> {
        let id = Bytes::from(self.claim.job_id.clone());
        let epoch = Bytes::from(self.claim.epoch.to_string());
        [Bytes::from_static(name.as_bytes()), id, epoch].into_iter().chain(args).collect()
    }

    /// Sends commands until each is done or refused for good; false when the job is not this worker's any more. A job
    /// that must be given up is waited with for `patience` more.
    async fn send(&mut self, mut commands: Vec<Vec<Bytes>>, patience: Duration) -> bool {
        let mut halt = self.halt.clone();
        let given_up = async {
            // A cancelled job is still this worker's to report.
            let given_up = halt.wait_for(|halt| matches!(halt, Some(Halt::Stale | Halt::Leaving))).await.map(drop);
            match given_up {
                Ok(()) => tokio::time::sleep(patience).await,
                Err(_) => std::future::pending().await,
            }
        };
        let mut given_up = pin!(given_up);
        let mut pause = link::first_pause();
        while !commands.is_empty() {
            let replies = tokio::select! {
                replies = self.link.pipeline(&commands, Duration::ZERO) => replies,
                () = &mut given_up => return false,
            };
            let mut replies = replies.iter();
            commands.retain(|command| replies.next().is_some_and(|reply| self.must_repeat(command, reply)));
            if !commands.is_empty() {
                tokio::select! {
                    () = link::rest(&mut pause) => {}
                    () = &mut given_up => return false,
                }
            }
        }
        *self.halt.borrow() != Some(Halt::Stale)
    }

    /// Takes in a reply; true when the server could not do it now, a full disk for example, and may later.
    fn must_repeat(&self, command: &[Bytes], reply: &Reply) -> bool {
        let job = &self.claim.job_id;
        let Some(error) = reply.as_error() else {
            if says_cancel(reply) {
                self.running.halt(job, Halt::Cancelled);
            }
            return false;
        };
        let error = String::from_utf8_lossy(error);
        let command = command.first().map(|name| String::from_utf8_lossy(name));
        tracing::warn!(job, %error, command = command.as_deref(), "a report was refused");
        let is_stale = error.starts_with("STALE") || error.contains("not found");
        if is_stale {
            self.running.halt(job, Halt::Stale);
        }
        !is_stale && !error.starts_with("ERR ")
    }
}

/// Whether a report's answer is `{"cancel": true}` rather than `OK`.
fn says_cancel(reply: &Reply) -> bool {
    let text = reply.as_str().filter(|text| text.starts_with('{'));
    let json = text.and_then(|text| serde_json::from_str::<serde_json::Value>(text).ok());
    json.is_some_and(|json| json.get("cancel").and_then(serde_json::Value::as_bool) == Some(true))
}
