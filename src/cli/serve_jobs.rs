//! The server's flags about jobs and webhooks.

use std::sync::Arc;
use std::time::Duration;

use clap::Args;

use super::number::{any_number, number};
use super::size::parse_size;
use crate::command::{MAX_DRAIN_SECONDS, WebhookRules};
use crate::jobs::Settings;

/// Flags of `agq serve`.
#[derive(Debug, Clone, Args)]
pub(super) struct JobArgs {
    /// Seconds that a claimed job is its worker's unless the claim says otherwise
    #[arg(long, env = "AGQ_LEASE", value_name = "SECONDS", default_value_t = 30, value_parser = number("seconds", 1..=43_200_u64))]
    lease: u64,
    /// Seconds between two heartbeats of a worker
    #[arg(long, env = "AGQ_HEARTBEAT", value_name = "SECONDS", default_value_t = 10, value_parser = number("seconds", 1..=3_600_u64))]
    heartbeat: u64,
    /// Seconds that a pending job waits to count as one priority higher; 0: never
    #[arg(long, env = "AGQ_AGEING", value_name = "SECONDS", default_value_t = 300, value_parser = number("seconds", 0..=31_536_000_u64))]
    ageing: u64,
    /// Output kept of each stream of a job; of more, head and tail are kept
    #[arg(long, env = "AGQ_MAX_OUTPUT", value_name = "BYTES", default_value = "16MiB", value_parser = parse_size)]
    max_output: u64,
    /// Seconds that a connection which claimed a job through a list may be silent before its lease runs out
    #[arg(long, env = "AGQ_LIST_CLAIM_SILENCE", value_name = "SECONDS", default_value_t = 600, value_parser = any_number("seconds"))]
    list_claim_silence: u64,
    /// Seconds that SIGTERM and SIGINT leave to the jobs that run, while no other is granted; 0: stop at once
    #[arg(long, env = "AGQ_DRAIN_TIME", value_name = "SECONDS", default_value_t = 0, value_parser = number("seconds", 0..=MAX_DRAIN_SECONDS))]
    drain_time: u64,
    /// Hosts that webhooks may be sent to: names, *.example.org for all below one, * for any, or none
    #[arg(long, env = "AGQ_WEBHOOK_HOSTS", value_name = "HOST", default_value = "*", value_delimiter = ',', value_parser = parse_host)]
    webhook_hosts: Vec<String>,
}

impl JobArgs {
    /// What holds for jobs.
    pub(super) fn settings(&self) -> Settings {
        Settings {
            lease_ms: self.lease * 1000,
            heartbeat_ms: self.heartbeat * 1000,
            ageing_ms: self.ageing * 1000,
            max_output: self.max_output,
            list_claim_silence_ms: self.list_claim_silence.saturating_mul(1000),
            ..Settings::default()
        }
    }

    /// How long a signal to stop waits for the jobs that run.
    pub(super) fn drain_time(&self) -> Option<Duration> {
        (self.drain_time > 0).then(|| Duration::from_secs(self.drain_time))
    }

    /// Where webhooks may be sent.
    pub(super) fn webhooks(&self) -> WebhookRules {
        WebhookRules { hosts: webhook_hosts(&self.webhook_hosts), no_https: agq_tls::refusal() }
    }

    /// What CONFIG GET shows.
    pub(super) fn parameters(&self) -> [(&'static str, String); 7] {
        [
            ("lease", self.lease.to_string()),
            ("heartbeat", self.heartbeat.to_string()),
            ("ageing", self.ageing.to_string()),
            ("max-output", self.max_output.to_string()),
            ("list-claim-silence", self.list_claim_silence.to_string()),
            ("drain-time", self.drain_time.to_string()),
            ("webhook-hosts", self.webhook_hosts.join(",")),
        ]
    }
}

/// Reads the name of a host that webhooks may be sent to.
fn parse_host(text: &str) -> Result<String, String> {
    let name = text.strip_prefix("*.").unwrap_or(text);
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b':');
    if text == "*" || !name.is_empty() && name.bytes().all(is_name) {
        return Ok(text.to_ascii_lowercase());
    }
    Err("expected the name of a host without a port, such as hooks.example.org or *.example.org, or *, or none"
        .to_owned())
}

/// The hosts that webhooks may be sent to; for `none` alone there are none.
fn webhook_hosts(names: &[String]) -> Arc<[String]> {
    if names == ["none"] { Arc::default() } else { names.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_of_webhooks_are_names() {
        assert_eq!(parse_host("*.Example.org").as_deref(), Ok("*.example.org"));
        assert!(parse_host("*").is_ok() && parse_host("::1").is_ok() && parse_host("10.0.0.1").is_ok());
        for wrong in ["", "*.", "http://a", "a/b", "a*"] {
            assert!(parse_host(wrong).is_err(), "{wrong}");
        }
        assert!(webhook_hosts(&["none".to_owned()]).is_empty());
        assert_eq!(webhook_hosts(&["*".to_owned()]).len(), 1);
    }
}
