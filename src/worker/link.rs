//! A connection that is made again when it breaks, with growing pauses.

use std::time::Duration;

use agq_client::{Client, ConnectOptions, Reply};

/// The first pause before connecting again, and the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// How long a reply may take on top of the time that the command itself waits.
const PATIENCE: Duration = Duration::from_secs(15);

/// Why the worker cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The connection failed, or the server refused a command.
    #[error(transparent)]
    Client(#[from] agq_client::Error),
    /// The server says what this worker does not understand.
    #[error("the server's answer to {command} is not understood: {answer}")]
    Answer {
        /// The command's name.
        command: &'static str,
        /// What was answered.
        answer: String,
    },
}

/// A connection, or the wish for one. A call whose future is dropped loses the connection, not the link.
pub(super) struct Link {
    options: ConnectOptions,
    client: Option<Client>,
}

impl Link {
    pub(super) fn new(options: ConnectOptions) -> Link {
        Link { options, client: None }
    }

    /// Connects if need be, runs the commands as one pipeline and returns their replies.
    ///
    /// # Errors
    /// When the connection fails; errors of the server's are replies.
    pub(super) async fn try_pipeline<A: AsRef<[u8]>>(
        &mut self,
        commands: &[Vec<A>],
        block: Duration,
    ) -> Result<Vec<Reply>, agq_client::Error> {
        let mut client = match self.client.take() {
            Some(client) => client,
            None => Client::connect(&self.options).await?,
        };
        client.set_timeout(block.saturating_add(PATIENCE));
        let replies = client.pipeline(commands).await?;
        // Only a connection that owes nothing is used again.
        self.client = Some(client);
        Ok(replies)
    }

    /// As [`Link::try_pipeline`], again and again until the replies come. What was sent on a connection that broke
    /// may have been done: only for commands that may be done twice.
    pub(super) async fn pipeline<A: AsRef<[u8]>>(&mut self, commands: &[Vec<A>], block: Duration) -> Vec<Reply> {
        let mut pause = FIRST_PAUSE;
        loop {
            match self.try_pipeline(commands, block).await {
                Ok(replies) => return replies,
                Err(error) => tracing::warn!(%error, retry_ms = pause.as_millis(), "lost the server"),
            }
            rest(&mut pause).await;
        }
    }

    /// One command, until its reply comes.
    pub(super) async fn call<A: AsRef<[u8]> + Clone>(&mut self, command: &[A], block: Duration) -> Reply {
        let commands = [command.to_vec()];
        loop {
            if let Some(reply) = self.pipeline(&commands, block).await.pop() {
                return reply;
            }
        }
    }
}

/// Pauses, half of it by chance, so that not all workers come back at the same moment; the next pause is twice as long.
pub(super) async fn rest(pause: &mut Duration) {
    tokio::time::sleep(pause.mul_f64(0.5 + fastrand::f64())).await;
    *pause = (*pause * 2).min(LONGEST_PAUSE);
}

/// The pause to begin with.
pub(super) fn first_pause() -> Duration {
    FIRST_PAUSE
}

/// A server's error as such.
pub(super) fn checked(reply: Reply) -> Result<Reply, Error> {
    match reply.as_error() {
        Some(text) => Err(agq_client::Error::Server(String::from_utf8_lossy(text).into_owned()).into()),
        None => Ok(reply),
    }
}

/// The text of a reply to `command`.
pub(super) fn text<'a>(reply: &'a Reply, command: &'static str) -> Result<&'a str, Error> {
    reply.as_str().ok_or_else(|| Error::Answer { command, answer: format!("{reply:?}") })
}
