//! One connection: requests out, replies in.

use crate::{ConnectOptions, Error, ReadHalf, WriteHalf, dial};
use agq_resp::{Reply, ReplyDecoder, ReplyLimits, encode_request};
use bytes::BytesMut;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

/// How many bytes there is room for when the socket is read.
const READ_BYTES: usize = 16 * 1024;

/// One connection to a server.
///
/// A call that times out, or whose future is dropped, leaves a reply on its way; the calls after
/// it fail with [`Error::Unanswered`] rather than read a reply that is not theirs.
/// [`receive`](Client::receive) and [`flush`](Client::flush) may be dropped and called again.
pub struct Client {
    reader: Reader,
    writer: WriteHalf,
    /// Requests that are encoded and not written yet.
    output: BytesMut,
    /// How many requests were sent whose replies were not received.
    unanswered: usize,
    timeout: Duration,
}

impl Client {
    /// Connects, and greets the server as the options ask: `HELLO 3` with AUTH and SETNAME for
    /// RESP3, else AUTH and CLIENT SETNAME where there is a key or a name.
    ///
    /// # Errors
    /// [`Error::Connect`], which names the address and what happened there.
    ///
    /// # Panics
    /// Outside of a tokio runtime with I/O and time enabled.
    pub async fn connect(options: &ConnectOptions) -> Result<Self, Error> {
        let outcome = timeout(options.timeout, Self::open(options)).await;
        outcome
            .unwrap_or(Err(Error::Timeout))
            .map_err(|reason| Error::Connect { address: options.address.clone(), reason: Box::new(reason) })
    }

    /// A client on a stream that is connected already. Nothing is sent.
    pub fn over<S>(stream: S, timeout: Duration) -> Self
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (reader, writer) = tokio::io::split(stream);
        Self::from_halves(Box::new(reader), Box::new(writer), timeout)
    }

    async fn open(options: &ConnectOptions) -> Result<Self, Error> {
        let (reader, writer) = dial(options).await?;
        let mut client = Self::from_halves(reader, writer, options.timeout);
        for command in options.greeting() {
            client.call(&command).await?;
        }
        Ok(client)
    }

    fn from_halves(reader: ReadHalf, writer: WriteHalf, timeout: Duration) -> Self {
        Client {
            reader: Reader {
                stream: reader,
                input: BytesMut::new(),
                decoder: ReplyDecoder::new(ReplyLimits::default()),
            },
            writer,
            output: BytesMut::new(),
            unanswered: 0,
            timeout,
        }
    }

    /// Changes how long the calls from now on wait: longer than the command itself may block.
    /// `Duration::MAX` waits for ever.
    pub fn set_timeout(&mut self, timeout: Duration) {
        self.timeout = timeout;
    }

    /// Runs one command and returns its reply, the command's name being `args[0]`. Messages pushed
    /// in between are dropped.
    ///
    /// # Errors
    /// [`Error::Server`] when the reply is an error, and any other when there is no reply.
    pub async fn call<A: AsRef<[u8]>>(&mut self, args: &[A]) -> Result<Reply, Error> {
        match self.call_raw(args).await? {
            Reply::Error(text) => Err(Error::Server(String::from_utf8_lossy(&text).into_owned())),
            reply => Ok(reply),
        }
    }

    /// Runs one command as [`call`](Client::call) does, but returns an error of the server's as
    /// the reply that it is.
    ///
    /// # Errors
    /// When there is no reply.
    pub async fn call_raw<A: AsRef<[u8]>>(&mut self, args: &[A]) -> Result<Reply, Error> {
        self.require_none_unanswered()?;
        self.send(args)?;
        let reply = async {
            write_out(&mut self.writer, &mut self.output).await?;
            self.reader.next_answer().await
        };
        let reply = timeout(self.timeout, reply).await.unwrap_or(Err(Error::Timeout))?;
        self.unanswered = 0;
        Ok(reply)
    }

    /// Runs commands without waiting for one before the next is sent, and returns their replies in
    /// order, errors included. Replies are read while requests are written, so that a pipeline may
    /// be longer than the buffers between the two sides.
    ///
    /// # Errors
    /// When not all replies come. Which of the commands ran is not known then.
    pub async fn pipeline<A: AsRef<[u8]>>(&mut self, commands: &[Vec<A>]) -> Result<Vec<Reply>, Error> {
        self.require_none_unanswered()?;
        if commands.iter().any(Vec::is_empty) {
            return Err(Error::EmptyRequest);
        }
        for command in commands {
            self.send(command)?;
        }
        let exchange = exchange(&mut self.writer, &mut self.output, &mut self.reader, commands.len());
        let replies = timeout(self.timeout, exchange).await.unwrap_or(Err(Error::Timeout))?;
        self.unanswered = 0;
        Ok(replies)
    }

    /// Adds a request to those that wait to be written. [`flush`](Client::flush) writes them.
    ///
    /// # Errors
    /// [`Error::EmptyRequest`] when there are no arguments.
    pub fn send<A: AsRef<[u8]>>(&mut self, args: &[A]) -> Result<(), Error> {
        if args.is_empty() {
            return Err(Error::EmptyRequest);
        }
        encode_request(args, &mut self.output);
        self.unanswered += 1;
        Ok(())
    }

    /// Writes what was sent.
    ///
    /// # Errors
    /// When it cannot be written, or not in time.
    pub async fn flush(&mut self) -> Result<(), Error> {
        let written = write_out(&mut self.writer, &mut self.output);
        timeout(self.timeout, written).await.map_err(|_| Error::Timeout)??;
        Ok(())
    }

    /// The next reply or pushed message, errors of the server's included. What was sent and not
    /// flushed is written first.
    ///
    /// # Errors
    /// When none comes, or not in time. After [`Error::Timeout`] it may be called again.
    pub async fn receive(&mut self) -> Result<Reply, Error> {
        if !self.output.is_empty() {
            self.flush().await?;
        }
        // Most replies of a pipeline are there already: no timer for those.
        let reply = match self.reader.buffered()? {
            Some(reply) => reply,
            None => timeout(self.timeout, self.reader.next()).await.unwrap_or(Err(Error::Timeout))?,
        };
        if !matches!(reply, Reply::Push(_)) {
            self.unanswered = self.unanswered.saturating_sub(1);
        }
        Ok(reply)
    }

    fn require_none_unanswered(&self) -> Result<(), Error> {
        match self.unanswered {
            0 => Ok(()),
            count => Err(Error::Unanswered(count)),
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("unanswered", &self.unanswered)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// The side of a connection that replies come from. Each of its futures may be dropped: what was
/// read stays here.
struct Reader {
    stream: ReadHalf,
    input: BytesMut,
    decoder: ReplyDecoder,
}

impl Reader {
    /// The next reply, if it was read already.
    fn buffered(&mut self) -> Result<Option<Reply>, Error> {
        Ok(self.decoder.decode(&mut self.input)?)
    }

    /// The next reply or pushed message.
    async fn next(&mut self) -> Result<Reply, Error> {
        loop {
            if let Some(reply) = self.buffered()? {
                return Ok(reply);
            }
            self.input.reserve(READ_BYTES);
            if self.stream.read_buf(&mut self.input).await? == 0 {
                return Err(Error::Closed);
            }
        }
    }

    /// The next reply that is not a pushed message.
    async fn next_answer(&mut self) -> Result<Reply, Error> {
        loop {
            match self.next().await? {
                Reply::Push(_) => {}
                reply => return Ok(reply),
            }
        }
    }

    async fn next_answers(&mut self, count: usize) -> Result<Vec<Reply>, Error> {
        let mut replies = Vec::with_capacity(count);
        while replies.len() < count {
            replies.push(self.next_answer().await?);
        }
        Ok(replies)
    }
}

/// Writes `output` empty. May be dropped: what was written is no longer in it.
async fn write_out(writer: &mut (impl AsyncWrite + Unpin), output: &mut BytesMut) -> Result<(), Error> {
    writer.write_all_buf(output).await?;
    // Sockets have nothing to flush, but a stream that encrypts may.
    writer.flush().await?;
    Ok(())
}

/// Writes `output` and reads `count` replies, both as the peer allows.
async fn exchange(
    writer: &mut (impl AsyncWrite + Unpin),
    output: &mut BytesMut,
    reader: &mut Reader,
    count: usize,
) -> Result<Vec<Reply>, Error> {
    let mut writing = pin!(write_out(writer, output));
    let mut reading = pin!(reader.next_answers(count));
    let mut written = false;
    poll_fn(|context| {
        if !written && let Poll::Ready(outcome) = writing.as_mut().poll(context) {
            outcome?;
            written = true;
        }
        reading.as_mut().poll(context)
    })
    .await
}
