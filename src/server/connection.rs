//! One connection: decode what has come, hand it in as a unit, write the replies. It takes no more from its client than
//! [`crate::server::ClientLimits`] allow, and keeps no buffer while it has nothing to say.

use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

use agq_resp::RequestDecoder;
use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout_at;

use crate::engine::{Finished, Unit};
use crate::server::ended::Ended;
use crate::server::inbox::{Inbox, Told};
use crate::server::limits::{OutputLimit, RATE_BYTES};
use crate::server::panics;
use crate::server::rate::Rate;
use crate::server::rules::Peer;
use crate::server::wire;

#[cfg(test)]
mod tests;

/// Commands in a unit at most.
const UNIT_COMMANDS: usize = 1024;
/// Bytes read ahead while a unit runs; a client that sends more waits.
const READ_AHEAD_BYTES: usize = 1 << 20;
/// The same before the key is given.
const UNAUTHENTICATED_READ_AHEAD_BYTES: usize = 16 << 10;
/// Buffers that have grown past this are given back when there is little in them.
const KEPT_BYTES: usize = 1 << 10;
/// Bytes that a connection may have read before they are counted: counting each packet would cost more than it tells.
const UNCOUNTED_BYTES: usize = 4 << 10;
/// How long the server tries to tell a client why it is ended.
const FAREWELL: Duration = Duration::from_secs(1);

/// Serves one connection to its end. A panic ends the connection, and nothing else.
pub(super) async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin, inbox: Inbox, peer: Peer) {
    let conn = peer.conn;
    let mut connection = Connection::new(stream, &inbox, peer);
    tokio::select! {
        // First of all: nothing more is written to a connection that was ended, the replies that it was ended for neither.
        biased;
        () = inbox.killed(conn) => {}
        result = panics::caught(connection.exchange()) => match result {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(conn, %error, "a connection failed"),
            Err(panic) => {
                let why = panics::text(&*panic);
                tracing::error!(conn, why, "the task of a connection panicked: the connection is ended; please report it");
            }
        },
    }
    inbox.close(conn);
}

struct Connection<'a, S> {
    stream: S,
    inbox: &'a Inbox,
    peer: Peer,
    decoder: RequestDecoder,
    /// What was read and not decoded yet.
    input: BytesMut,
    /// The most that stood in `input` since its buffer was made.
    grown: usize,
    /// `input` is the buffer of a long request.
    is_long: bool,
    /// Bytes that were read and are not answered.
    sent: usize,
    /// As many of them as the inbox knows of.
    told: usize,
    authenticated: bool,
    subscribed: bool,
    opened: Instant,
    /// Since when half a request stands in `input`.
    began: Option<Instant>,
    rate: Option<Rate>,
}

impl<'a, S: AsyncRead + AsyncWrite + Unpin> Connection<'a, S> {
    fn new(stream: S, inbox: &'a Inbox, peer: Peer) -> Self {
        let now = Instant::now();
        let mut decoder = RequestDecoder::new(peer.rules.limits.request);
        decoder.set_authenticated(!peer.rules.asks_key);
        Connection {
            stream,
            inbox,
            decoder,
            input: BytesMut::new(),
            grown: 0,
            is_long: false,
            sent: 0,
            told: 0,
            authenticated: !peer.rules.asks_key,
            subscribed: false,
            opened: now,
            began: None,
            rate: peer.rules.limits.max_command_rate.map(|rate| Rate::new(rate, now)),
            peer,
        }
    }

    async fn exchange(&mut self) -> io::Result<()> {
        let conn = self.peer.conn;
        let mut unit = Unit { conn, requests: VecDeque::new(), protocol_error: None, out: BytesMut::new() };
        if self.peer.is_vouched_for {
            // Before it has been heard whether it is let in, no more is taken from it than from anybody without a key.
            self.inbox.submit(unit, self.sent);
            let Some(finished) = self.replies().await? else { return Ok(()) };
            let Some(next) = self.answer(finished).await? else { return Ok(()) };
            unit = next;
        }
        loop {
            if !self.decode(&mut unit).await? {
                return Ok(());
            }
            if unit.requests.is_empty() && unit.protocol_error.is_none() {
                if unit.out.capacity() > KEPT_BYTES {
                    unit = Unit { conn, requests: VecDeque::new(), protocol_error: None, out: BytesMut::new() };
                }
                if self.inbox.is_stopping() || !self.read_on().await? {
                    return Ok(());
                }
                continue;
            }
            self.told = self.sent;
            self.inbox.submit(unit, self.sent);
            let Some(finished) = self.replies().await? else { return Ok(()) };
            let Some(next) = self.answer(finished).await? else { return Ok(()) };
            unit = next;
        }
    }

    /// Moves complete commands of the input into the unit, as many as may run now. False when the client hangs up
    /// while its commands have to wait.
    async fn decode(&mut self, unit: &mut Unit) -> io::Result<bool> {
        if unit.protocol_error.is_some() || self.input.is_empty() {
            return Ok(true);
        }
        // Before the key is given each command runs by itself: one may give it, and what follows may then be long.
        let mut most = if self.authenticated { UNIT_COMMANDS } else { 1 };
        if self.rate.is_some() {
            match self.allowed(unit.requests.is_empty()).await? {
                Some(allowed) => most = most.min(unit.requests.len() + allowed),
                None => return Ok(false),
            }
        }
        let before = unit.requests.len();
        while unit.requests.len() < most {
            match self.decoder.decode(&mut self.input) {
                Ok(Some(request)) => unit.requests.push_back(request),
                Ok(None) => break,
                Err(error) => {
                    unit.protocol_error = Some(format!("ERR {error}"));
                    break;
                }
            }
        }
        let decoded = unit.requests.len() - before;
        if decoded > 0 {
            self.began = None;
            if std::mem::take(&mut self.is_long) {
                self.input = BytesMut::from(&self.input[..]);
                self.grown = self.input.len();
            }
        }
        if let Some(rate) = &mut self.rate {
            rate.count(decoded);
        }
        Ok(true)
    }

    /// How many commands may run now; when `at_least_one` is asked, waits until that may. `None` when the client hangs
    /// up meanwhile.
    async fn allowed(&mut self, at_least_one: bool) -> io::Result<Option<usize>> {
        loop {
            let Some(rate) = &mut self.rate else { return Ok(Some(UNIT_COMMANDS)) };
            let allowed = rate.allowed(Instant::now());
            if allowed > 0 || !at_least_one {
                return Ok(Some(allowed));
            }
            let next = rate.next();
            if !self.pass_time(next).await? {
                return Ok(None);
            }
        }
    }

    /// Writes a unit's replies; returns the unit of what did not run yet, `None` when the connection is to end.
    async fn answer(&mut self, finished: Finished) -> io::Result<Option<Unit>> {
        self.authenticated = finished.authenticated;
        self.subscribed = finished.subscribed;
        self.decoder.set_authenticated(self.authenticated);
        if let Some(key) = finished.wrong_key
            && !self.hold_back(key, finished.out.len()).await?
        {
            return Ok(None);
        }
        let limit = self.peer.rules.limits.replies;
        if !self.send(&finished.out, limit).await? {
            return Ok(None);
        }
        if finished.closing {
            self.stream.shutdown().await?;
            return Ok(None);
        }
        if finished.rest.is_empty() {
            self.sent = self.input.len();
        }
        self.told = self.sent;
        self.inbox.rests(self.peer.conn, self.sent);
        let Finished { conn, rest: requests, protocol_error, mut out, .. } = finished;
        if out.capacity() > KEPT_BYTES && requests.is_empty() && self.input.is_empty() {
            out = BytesMut::new();
        }
        out.clear();
        Ok(Some(Unit { conn, requests, protocol_error, out }))
    }

    /// Lets the answer to a wrong key wait, and what follows with it. False when the client hangs up or the server stops.
    async fn hold_back(&mut self, key: u32, bytes: usize) -> io::Result<bool> {
        let (conn, now) = (self.peer.conn, Instant::now());
        let delay = self.peer.rules.throttle.borrow_mut().failed(self.peer.source, key, now);
        self.inbox.note_end(conn, Ended::WrongKey);
        if delay.is_zero() {
            return Ok(true);
        }
        self.inbox.rests(conn, self.sent);
        let stays = self.pass_time(now + delay).await?;
        self.inbox.writes(conn, bytes);
        Ok(stays)
    }

    /// Waits for a time. Messages are written meanwhile, and what the client sends is read ahead; false when it hangs
    /// up or the server stops.
    async fn pass_time(&mut self, until: Instant) -> io::Result<bool> {
        let (inbox, conn) = (self.inbox, self.peer.conn);
        loop {
            let has_room = self.input.len() < self.read_ahead();
            tokio::select! {
                biased;
                pushed = inbox.pushed(conn) => {
                    if pushed.is_empty() || !self.send_messages(&pushed).await? {
                        return Ok(false);
                    }
                }
                count = wire::read(&mut self.stream, &mut self.input), if has_room => {
                    let count = count?;
                    if count == 0 {
                        return Ok(false);
                    }
                    self.has_read(count).await;
                }
                () = tokio::time::sleep_until(until.into()) => return Ok(!inbox.is_stopping()),
            }
        }
    }

    /// Reads what the client sends next, and writes the messages that come up meanwhile. False when it hangs up, takes
    /// too long, or the server stops.
    async fn read_on(&mut self) -> io::Result<bool> {
        let (inbox, conn) = (self.inbox, self.peer.conn);
        if self.grown > KEPT_BYTES && self.input.len() <= KEPT_BYTES {
            // What is left may keep a large buffer alive.
            self.input = BytesMut::from(&self.input[..]);
            self.grown = self.input.len();
        }
        self.is_long |= wire::make_long(&mut self.input);
        let deadline = self.deadline();
        if let Some((at, why)) = deadline
            && at <= Instant::now()
        {
            return self.end(why).await;
        }
        loop {
            let step = async {
                tokio::select! {
                    biased;
                    pushed = inbox.pushed(conn) => Ok::<_, io::Error>(Err(pushed)),
                    count = wire::read(&mut self.stream, &mut self.input) => Ok(Ok(count?)),
                }
            };
            let step = match deadline {
                None => step.await?,
                Some((at, why)) => match timeout_at(at.into(), step).await {
                    Ok(step) => step?,
                    Err(_) => return self.end(why).await,
                },
            };
            match step {
                Ok(count) => {
                    self.has_read(count).await;
                    return Ok(count > 0);
                }
                Err(pushed) => {
                    if pushed.is_empty() || !self.send_messages(&pushed).await? {
                        return Ok(false);
                    }
                }
            }
        }
    }

    /// When the client must have sent something, if it must, and what it has failed to do then.
    fn deadline(&mut self) -> Option<(Instant, Ended)> {
        let limits = &self.peer.rules.limits;
        let auth = limits.auth_timeout.filter(|_| !self.authenticated);
        let auth = auth.map(|time| (self.opened + time, Ended::AuthTimeout));
        let request = limits.request_timeout.filter(|_| !self.input.is_empty()).map(|time| {
            let began = *self.began.get_or_insert_with(Instant::now);
            let more = Duration::from_secs((self.input.len() / RATE_BYTES) as u64);
            (began + time + more, Ended::RequestTimeout)
        });
        let idle = limits.idle_timeout.filter(|_| !self.subscribed);
        let idle = idle.map(|time| (Instant::now() + time, Ended::IdleTimeout));
        [auth, request, idle].into_iter().flatten().min_by_key(|(at, _)| *at)
    }

    /// Tells the client why it is ended, if it listens. False, for those who end with it.
    async fn end(&mut self, why: Ended) -> io::Result<bool> {
        self.inbox.note_end(self.peer.conn, why);
        let text = match why {
            Ended::AuthTimeout => "-ERR no key was given in time: send AUTH as soon as you are connected\r\n",
            Ended::RequestTimeout => "-ERR Protocol error: the request did not come to its end in time\r\n",
            _ => return Ok(false),
        };
        let farewell = async {
            self.stream.write_all(text.as_bytes()).await?;
            self.stream.shutdown().await
        };
        // Whether it takes that is its own affair.
        let _ = tokio::time::timeout(FAREWELL, farewell).await;
        Ok(false)
    }

    /// Waits for the unit's replies. What the client sends meanwhile is read ahead; when it hangs up, nobody is left to
    /// take them.
    async fn replies(&mut self) -> io::Result<Option<Finished>> {
        let (inbox, conn) = (self.inbox, self.peer.conn);
        loop {
            let has_room = self.input.len() < self.read_ahead();
            tokio::select! {
                biased;
                told = inbox.told(conn) => match told {
                    Told::Finished(finished) => return Ok(Some(finished)),
                    Told::Pushed(out) => {
                        if !self.send_messages(&out).await? {
                            return Ok(None);
                        }
                    }
                    Told::Stopped => return Ok(None),
                },
                count = wire::read(&mut self.stream, &mut self.input), if has_room => {
                    let count = count?;
                    if count == 0 {
                        return Ok(None);
                    }
                    self.has_read(count).await;
                    inbox.push(crate::engine::Input::Interrupt(conn));
                }
            }
        }
    }

    fn read_ahead(&self) -> usize {
        if self.authenticated { READ_AHEAD_BYTES } else { UNAUTHENTICATED_READ_AHEAD_BYTES }
    }

    /// Counts what was read.
    async fn has_read(&mut self, count: usize) {
        self.grown = self.grown.max(self.input.len());
        self.sent += count;
        if self.sent >= self.told + UNCOUNTED_BYTES {
            self.told = self.sent;
            self.inbox.has_sent(self.peer.conn, self.sent);
            self.inbox.let_ended_go().await;
        }
    }

    /// Writes messages; false when the client does not take them.
    async fn send_messages(&mut self, messages: &[u8]) -> io::Result<bool> {
        let limit = self.peer.rules.limits.messages;
        let taken = self.send(messages, limit).await?;
        self.inbox.has_written(self.peer.conn, 0);
        Ok(taken)
    }

    /// Writes; false when the client takes too little of it for too long.
    async fn send(&mut self, out: &[u8], limit: OutputLimit) -> io::Result<bool> {
        let written = wire::write_now(&mut self.stream, out).await?;
        if written == out.len() {
            return Ok(true);
        }
        let (mut left, began, patience) = (&out[written..], Instant::now(), self.peer.rules.limits.write_timeout);
        while !left.is_empty() {
            self.inbox.has_written(self.peer.conn, left.len());
            let stalled = patience.map(|time| (Instant::now() + time, Ended::WriteTimeout));
            let slow = limit.is_past_soft(left.len()).then_some((began + limit.soft_time, Ended::Output));
            let written = match [stalled, slow].into_iter().flatten().min_by_key(|(at, _)| *at) {
                None => self.stream.write(left).await?,
                Some((at, why)) => match timeout_at(at.into(), self.stream.write(left)).await {
                    Ok(written) => written?,
                    Err(_) => return self.end(why).await,
                },
            };
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            left = &left[written..];
        }
        Ok(true)
    }
}
