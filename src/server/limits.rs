//! How much a client may take of the server: memory, places, time. An operator chooses them; each has a default.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::command::Sends;

/// The limits of every client.
#[derive(Debug, Clone)]
pub struct ClientLimits {
    /// Connections open at a time.
    pub max_clients: usize,
    /// How long one request may be.
    pub request: agq_resp::Limits,
    /// Bytes of replies that may wait for a client.
    pub replies: OutputLimit,
    /// Bytes of messages that may wait for a subscriber.
    pub messages: OutputLimit,
    /// Bytes that all clients may hold together; past it the one that holds most is ended. 0: as many as they like.
    pub max_memory: usize,
    /// Commands a second of one connection; past it the connection is read later.
    pub max_command_rate: Option<NonZeroU32>,
    /// How long a connection may be there without a key.
    pub auth_timeout: Option<Duration>,
    /// How long the answer to a first wrong key is held back; twice as long with each that follows.
    pub auth_delay: Duration,
    /// How long a request that has begun may take to come, beside a second for every [`RATE_BYTES`] of it.
    pub request_timeout: Option<Duration>,
    /// How long a connection may say nothing.
    pub idle_timeout: Option<Duration>,
    /// How long a client may take nothing of what waits for it.
    pub write_timeout: Option<Duration>,
    /// How long a TCP connection is silent before the system asks whether its other end is there.
    pub tcp_keepalive: Option<Duration>,
}

/// Bytes of a request that give it another second to come.
pub(super) const RATE_BYTES: usize = 16 << 10;

/// How much may wait to be written to a connection: what waits longer or is more ends the connection. 0 bytes: no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OutputLimit {
    /// Bytes that end it at once.
    pub hard: usize,
    /// Bytes that end it when so many wait for [`OutputLimit::soft_time`].
    pub soft: usize,
    /// For how long more than `soft` bytes may wait.
    pub soft_time: Duration,
}

impl OutputLimit {
    /// True when so many bytes are too many at once.
    pub(super) fn is_past_hard(self, waiting: usize) -> bool {
        self.hard > 0 && waiting > self.hard
    }

    /// True when so many bytes may wait for a while only.
    pub(super) fn is_past_soft(self, waiting: usize) -> bool {
        self.soft > 0 && waiting > self.soft
    }
}

impl Default for ClientLimits {
    fn default() -> Self {
        ClientLimits {
            max_clients: 10_000,
            request: agq_resp::Limits { max_frame_bytes: 1 << 30, ..agq_resp::Limits::default() },
            replies: OutputLimit::default(),
            messages: OutputLimit { hard: 32 << 20, soft: 8 << 20, soft_time: Duration::from_secs(60) },
            max_memory: 1 << 30,
            max_command_rate: None,
            auth_timeout: Some(Duration::from_secs(60)),
            auth_delay: Duration::from_millis(100),
            request_timeout: Some(Duration::from_secs(60)),
            idle_timeout: None,
            write_timeout: Some(Duration::from_secs(300)),
            tcp_keepalive: Some(Duration::from_secs(300)),
        }
    }
}

impl ClientLimits {
    /// How much a client may be sent at once. No reply may be larger than all that clients hold together.
    pub(super) fn sends(&self) -> Sends {
        let bound = |limits: &[usize]| limits.iter().copied().filter(|bytes| *bytes > 0).min().unwrap_or(usize::MAX);
        Sends {
            reply: bound(&[self.max_memory, self.replies.hard]),
            messages: bound(&[self.messages.hard]),
            all_messages: bound(&[self.max_memory]),
        }
    }

    /// The limits of the server's own connections, which are no clients: a request's length alone is bounded.
    pub(super) fn own() -> ClientLimits {
        ClientLimits {
            messages: OutputLimit::default(),
            max_memory: 0,
            auth_timeout: None,
            request_timeout: None,
            write_timeout: None,
            tcp_keepalive: None,
            ..ClientLimits::default()
        }
    }
}
