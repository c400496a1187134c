//! One connection: decode what has come, hand it in as a unit, write the replies.

use std::collections::VecDeque;

use agq_resp::{Limits, RequestDecoder};
use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::engine::{ConnId, Finished, Unit};
use crate::server::inbox::{Inbox, Told};
use crate::server::panics;

/// Bytes asked of the socket at a time.
const READ_BYTES: usize = 16 << 10;
/// Commands in a unit at most.
const UNIT_COMMANDS: usize = 1024;
/// Bytes read ahead while a unit runs; a client that sends more waits.
const READ_AHEAD_BYTES: usize = 1 << 20;

/// Serves one connection to its end. A panic ends the connection, and nothing else.
pub(super) async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, inbox: Inbox, conn: ConnId, asks_key: bool) {
    let exchange = panics::caught(exchange(&mut stream, &inbox, conn, asks_key));
    tokio::select! {
        result = exchange => match result {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(conn, %error, "a connection failed"),
            Err(panic) => {
                let why = panics::text(&*panic);
                tracing::error!(conn, why, "the task of a connection panicked: the connection is ended; please report it");
            }
        },
        () = inbox.killed(conn) => {}
    }
    inbox.close(conn);
}

async fn exchange(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    inbox: &Inbox,
    conn: ConnId,
    asks_key: bool,
) -> std::io::Result<()> {
    let mut decoder = RequestDecoder::new(Limits::default());
    let mut authenticated = !asks_key;
    decoder.set_authenticated(authenticated);
    let mut input = BytesMut::with_capacity(READ_BYTES);
    let mut unit = Unit { conn, requests: VecDeque::new(), protocol_error: None, out: BytesMut::new() };
    loop {
        if unit.protocol_error.is_none() {
            // Before the key is given each command runs by itself: one may give it, and what follows may then be long.
            decode(&mut decoder, &mut input, &mut unit, if authenticated { UNIT_COMMANDS } else { 1 });
        }
        if unit.requests.is_empty() && unit.protocol_error.is_none() {
            if inbox.is_stopping() || !read_on(stream, inbox, conn, &mut input).await? {
                return Ok(());
            }
            continue;
        }
        inbox.submit(unit);
        let Some(finished) = replies(stream, inbox, conn, &mut input).await? else { return Ok(()) };
        authenticated = finished.authenticated;
        decoder.set_authenticated(authenticated);
        stream.write_all(&finished.out).await?;
        if finished.closing {
            return stream.shutdown().await;
        }
        inbox.written(conn);
        let Finished { rest: requests, protocol_error, mut out, .. } = finished;
        out.clear();
        unit = Unit { conn, requests, protocol_error, out };
    }
}

/// Moves complete commands of `input` into the unit, `most` at most.
fn decode(decoder: &mut RequestDecoder, input: &mut BytesMut, unit: &mut Unit, most: usize) {
    while unit.requests.len() < most {
        match decoder.decode(input) {
            Ok(Some(request)) => unit.requests.push_back(request),
            Ok(None) => return,
            Err(error) => {
                unit.protocol_error = Some(format!("ERR {error}"));
                return;
            }
        }
    }
}

/// Reads what the client sends next, and writes the messages that come up meanwhile. False when it hangs up or the server
/// stops.
async fn read_on(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    inbox: &Inbox,
    conn: ConnId,
    input: &mut BytesMut,
) -> std::io::Result<bool> {
    loop {
        tokio::select! {
            biased;
            pushed = inbox.pushed(conn) => {
                if pushed.is_empty() {
                    return Ok(false);
                }
                stream.write_all(&pushed).await?;
            }
            count = read(stream, input) => return Ok(count? > 0),
        }
    }
}

/// Waits for the unit's replies. What the client sends meanwhile is read ahead; when it hangs up, nobody is left to
/// take them.
async fn replies(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    inbox: &Inbox,
    conn: ConnId,
    input: &mut BytesMut,
) -> std::io::Result<Option<Finished>> {
    loop {
        tokio::select! {
            biased;
            told = inbox.told(conn) => match told {
                Told::Finished(finished) => return Ok(Some(finished)),
                Told::Pushed(out) => stream.write_all(&out).await?,
                Told::Stopped => return Ok(None),
            },
            count = read(stream, input), if input.len() < READ_AHEAD_BYTES => {
                if count? == 0 {
                    return Ok(None);
                }
                inbox.push(crate::engine::Input::Interrupt(conn));
            }
        }
    }
}

async fn read(stream: &mut (impl AsyncRead + Unpin), input: &mut BytesMut) -> std::io::Result<usize> {
    input.reserve(READ_BYTES);
    stream.read_buf(input).await
}
