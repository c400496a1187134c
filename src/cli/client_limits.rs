//! The server's flags about how much clients may take.

use std::num::NonZeroU32;
use std::time::Duration;

use clap::Args;

use super::number::number;
use super::size::parse_size;
use crate::server::{ClientLimits, OutputLimit, connections_allowed};

/// Flags of `agq serve`.
#[derive(Debug, Clone, Args)]
pub(super) struct ClientLimitArgs {
    /// Connections open at a time
    #[arg(long, env = "AGQ_MAX_CLIENTS", value_name = "N", default_value_t = 10_000, value_parser = number("connections", 1..=u32::MAX as usize))]
    pub(super) max_clients: usize,
    /// Memory that all clients may hold together; past it the one that holds most is ended; 0: no limit
    #[arg(long, env = "AGQ_MAX_CLIENT_MEMORY", value_name = "BYTES", default_value = "1GiB", value_parser = parse_size)]
    max_client_memory: u64,
    /// Longest argument of a command
    #[arg(long, env = "AGQ_MAX_ARGUMENT", value_name = "BYTES", default_value = "512MiB", value_parser = parse_argument_size)]
    max_argument: u64,
    /// Longest command, with all its arguments
    #[arg(long, env = "AGQ_MAX_REQUEST", value_name = "BYTES", default_value = "1GiB", value_parser = parse_request_size)]
    max_request: u64,
    /// Replies that may wait for a client: BYTES at most, or BYTES:BYTES:SECONDS, of which the second for so long; 0: no limit
    #[arg(long, env = "AGQ_REPLIES_LIMIT", value_name = "LIMIT", default_value = "0", value_parser = parse_output_limit)]
    replies_limit: OutputLimit,
    /// Messages that may wait for a subscriber, likewise
    #[arg(long, env = "AGQ_MESSAGES_LIMIT", value_name = "LIMIT", default_value = "32MiB:8MiB:60", value_parser = parse_output_limit)]
    messages_limit: OutputLimit,
    /// Commands a second of one connection; more of them wait; 0: no limit
    #[arg(long, env = "AGQ_MAX_COMMAND_RATE", value_name = "N", default_value_t = 0, value_parser = number("commands", 0..=u32::MAX))]
    max_command_rate: u32,
    /// Seconds after which a connection that gave no key is ended; 0: never
    #[arg(long, env = "AGQ_AUTH_TIMEOUT", value_name = "SECONDS", default_value_t = 60, value_parser = seconds())]
    auth_timeout: u64,
    /// Milliseconds that the answer to a first wrong key waits, and twice as long with each other one that follows from the same address; 0: none
    #[arg(long, env = "AGQ_AUTH_DELAY", value_name = "MS", default_value_t = 100, value_parser = number("milliseconds", 0..=60_000_u64))]
    auth_delay: u64,
    /// Seconds in which a command that has begun must be complete, and one more for each 16 KiB of it; 0: any time
    #[arg(long, env = "AGQ_REQUEST_TIMEOUT", value_name = "SECONDS", default_value_t = 60, value_parser = seconds())]
    request_timeout: u64,
    /// Seconds after which a connection that says nothing is ended, unless it waits or is subscribed; 0: never
    #[arg(long, env = "AGQ_IDLE_TIMEOUT", value_name = "SECONDS", default_value_t = 0, value_parser = seconds())]
    idle_timeout: u64,
    /// Seconds after which a connection that takes nothing of what waits for it is ended; 0: never
    #[arg(long, env = "AGQ_WRITE_TIMEOUT", value_name = "SECONDS", default_value_t = 300, value_parser = seconds())]
    write_timeout: u64,
    /// Seconds of silence after which the system asks whether the other end of a TCP connection is there; 0: never
    #[arg(long, env = "AGQ_TCP_KEEPALIVE", value_name = "SECONDS", default_value_t = 300, value_parser = number("seconds", 0..=32_767_u64))]
    tcp_keepalive: u64,
}

/// Seconds up to a year.
fn seconds() -> impl Fn(&str) -> Result<u64, String> + Clone + Send + Sync + 'static {
    number("seconds", 0..=31_536_000)
}

/// The longest argument that a program may be started with; no request is longer than 4 GiB less a byte.
const MAX_ARGUMENT: u64 = 2 << 30;
const MAX_REQUEST: u64 = u32::MAX as u64;
/// What every client needs: the arguments that it may send before it has given the key.
const MIN_ARGUMENT: u64 = 16 << 10;

fn parse_argument_size(text: &str) -> Result<u64, String> {
    match parse_size(text)? {
        size @ MIN_ARGUMENT..=MAX_ARGUMENT => Ok(size),
        _ => Err("expected 16KiB to 2GiB".to_owned()),
    }
}

fn parse_request_size(text: &str) -> Result<u64, String> {
    match parse_size(text)? {
        size @ MIN_ARGUMENT..=MAX_REQUEST => Ok(size),
        _ => Err("expected 16KiB to less than 4GiB".to_owned()),
    }
}

/// Reads `32MiB`, or `32MiB:8MiB:60`.
fn parse_output_limit(text: &str) -> Result<OutputLimit, String> {
    let bytes = |text: &str| Ok::<_, String>(usize::try_from(parse_size(text)?).unwrap_or(usize::MAX));
    match text.split(':').collect::<Vec<_>>()[..] {
        [hard] => Ok(OutputLimit { hard: bytes(hard)?, ..OutputLimit::default() }),
        [hard, soft, seconds] => {
            let seconds = seconds.parse().map_err(|_| format!("'{seconds}' is not a whole number of seconds"))?;
            Ok(OutputLimit { hard: bytes(hard)?, soft: bytes(soft)?, soft_time: Duration::from_secs(seconds) })
        }
        _ => Err("expected BYTES, or BYTES:BYTES:SECONDS, such as 32MiB:8MiB:60".to_owned()),
    }
}

fn size(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

/// A time, unless it is 0.
fn some_seconds(seconds: u64) -> Option<Duration> {
    (seconds > 0).then(|| Duration::from_secs(seconds))
}

impl ClientLimitArgs {
    /// These limits with those of others that may change while the server runs.
    pub(super) fn with_changeable(&self, other: &ClientLimitArgs) -> ClientLimitArgs {
        ClientLimitArgs { max_clients: other.max_clients, ..self.clone() }
    }

    /// The limits, and names and values that CONFIG GET shows: those of Redis where it has them.
    pub(super) fn limits(&self) -> (ClientLimits, Vec<(&'static str, String)>) {
        let limits = ClientLimits {
            max_clients: connections_allowed(self.max_clients),
            request: agq_resp::Limits {
                max_bulk_bytes: size(self.max_argument),
                max_frame_bytes: size(self.max_request),
                ..agq_resp::Limits::default()
            },
            replies: self.replies_limit,
            messages: self.messages_limit,
            max_memory: size(self.max_client_memory),
            max_command_rate: NonZeroU32::new(self.max_command_rate),
            auth_timeout: some_seconds(self.auth_timeout),
            auth_delay: Duration::from_millis(self.auth_delay),
            request_timeout: some_seconds(self.request_timeout),
            idle_timeout: some_seconds(self.idle_timeout),
            write_timeout: some_seconds(self.write_timeout),
            tcp_keepalive: some_seconds(self.tcp_keepalive),
        };
        let class = |name: &str, limit: OutputLimit| {
            format!("{name} {} {} {}", limit.hard, limit.soft, limit.soft_time.as_secs())
        };
        let output = [class("normal", limits.replies), class("pubsub", limits.messages)].join(" ");
        let parameters = vec![
            ("maxclients", limits.max_clients.to_string()),
            ("maxmemory-clients", self.max_client_memory.to_string()),
            ("proto-max-bulk-len", self.max_argument.to_string()),
            ("client-query-buffer-limit", self.max_request.to_string()),
            ("client-output-buffer-limit", output),
            ("timeout", self.idle_timeout.to_string()),
            ("tcp-keepalive", self.tcp_keepalive.to_string()),
            ("max-command-rate", self.max_command_rate.to_string()),
            ("auth-timeout", self.auth_timeout.to_string()),
            ("auth-delay", self.auth_delay.to_string()),
            ("request-timeout", self.request_timeout.to_string()),
            ("write-timeout", self.write_timeout.to_string()),
        ];
        (limits, parameters)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        limits: ClientLimitArgs,
    }

    #[test]
    fn limits_of_output_have_two_forms() {
        let limit = |hard, soft, seconds| OutputLimit { hard, soft, soft_time: Duration::from_secs(seconds) };
        assert_eq!(parse_output_limit("0"), Ok(limit(0, 0, 0)));
        assert_eq!(parse_output_limit("1MiB"), Ok(limit(1 << 20, 0, 0)));
        assert_eq!(parse_output_limit("32MiB:8MiB:60"), Ok(limit(32 << 20, 8 << 20, 60)));
        for wrong in ["", "1MiB:2MiB", "1:2:x", "1:2:3:4", "-1"] {
            assert!(parse_output_limit(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sizes_have_bounds() {
        assert!(parse_argument_size("16KiB").is_ok() && parse_argument_size("2GiB").is_ok());
        assert!(parse_argument_size("16383").is_err() && parse_argument_size("3GiB").is_err());
        assert!(parse_request_size("4294967295").is_ok() && parse_request_size("4GiB").is_err());
    }

    #[test]
    fn the_flags_defaults_are_those_of_the_server() {
        let (limits, parameters) = Program::parse_from(["agq"]).limits.limits();
        let expected = ClientLimits { max_clients: limits.max_clients, ..ClientLimits::default() };
        assert_eq!(format!("{limits:?}"), format!("{expected:?}"));
        assert!(parameters.contains(&("client-output-buffer-limit", "normal 0 0 0 pubsub 33554432 8388608 60".into())));
    }
}
