//! The connection to the engine within the process: commands out, replies in.

use std::io;

use agq_resp::{Reply, ReplyDecoder, ReplyLimits, encode_request};
use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use crate::jobs::url::Url;

/// A delivery to be made, as WEBHOOK.CLAIM answers it.
#[derive(Debug)]
pub(super) struct Delivery {
    pub(super) webhook: String,
    pub(super) version: String,
    pub(super) seq: String,
    pub(super) kind: String,
    pub(super) url: Url,
    pub(super) secret: Option<String>,
    pub(super) timeout_ms: u64,
    pub(super) body: Bytes,
}

/// A connection.
pub(super) struct Link {
    stream: DuplexStream,
    input: BytesMut,
    decoder: ReplyDecoder,
}

impl Link {
    pub(super) fn new(stream: DuplexStream) -> Link {
        Link { stream, input: BytesMut::new(), decoder: ReplyDecoder::new(ReplyLimits::default()) }
    }

    /// Sends a command.
    pub(super) async fn send(&mut self, command: &[String]) -> io::Result<()> {
        let mut output = BytesMut::new();
        encode_request(command, &mut output);
        self.stream.write_all(&output).await
    }

    /// The next reply. May be dropped and called again.
    pub(super) async fn receive(&mut self) -> io::Result<Reply> {
        loop {
            if let Some(reply) = self.decoder.decode(&mut self.input).map_err(io::Error::other)? {
                return Ok(reply);
            }
            if self.stream.read_buf(&mut self.input).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

/// Reads what WEBHOOK.CLAIM answered.
///
/// # Errors
/// The error that it answered instead.
pub(super) fn deliveries(reply: Reply) -> Result<Vec<Delivery>, String> {
    match reply {
        Reply::Array(rows) => rows.into_iter().map(|row| delivery(row).ok_or_else(|| "no delivery".into())).collect(),
        other => {
            Err(other.as_error().map_or_else(|| format!("{other:?}"), |text| String::from_utf8_lossy(text).into()))
        }
    }
}

fn delivery(row: Reply) -> Option<Delivery> {
    let row = row.into_array()?;
    let text = |place: usize| row.get(place)?.as_str().map(str::to_owned);
    let number = |place: usize| row.get(place)?.as_int();
    Some(Delivery {
        webhook: text(0)?,
        version: number(1)?.to_string(),
        seq: number(2)?.to_string(),
        kind: text(3)?,
        url: Url::parse("url", &text(4)?).ok()?,
        secret: text(5),
        timeout_ms: number(6)?.try_into().ok()?,
        body: row.get(7)?.as_bytes()?.clone(),
    })
}
