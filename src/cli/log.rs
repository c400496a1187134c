//! What the program says about itself while it runs, to standard error: one line an event, as text or as JSON.

use std::sync::OnceLock;

use anyhow::{Context as _, anyhow};
use clap::{Args, ValueEnum};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, Registry, reload};

/// The filter in force, to be changed.
static FILTER: OnceLock<reload::Handle<EnvFilter, Registry>> = OnceLock::new();

/// What is logged, and how.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub(super) struct LogArgs {
    /// What is logged: off, error, warn, info, debug or trace, or by part, as in warn,agq::server=debug [default: info;
    /// warn in 'agq run']
    #[arg(long = "log", env = "AGQ_LOG", value_name = "FILTER", value_parser = parse_filter)]
    pub(super) filter: Option<String>,
    /// How it is written [default: text]
    #[arg(long = "log-format", env = "AGQ_LOG_FORMAT", value_name = "FORMAT")]
    pub(super) format: Option<Format>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// A line for people
    Text,
    /// A JSON object a line: timestamp, level, target, message, and the event's own fields
    Json,
}

/// What [`tracing`] calls the levels. It takes any other word for a part of the program, of which nothing is heard then.
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

fn parse_filter(text: &str) -> Result<String, String> {
    for directive in text.split(',') {
        let (part, level) = directive.split_once('=').unwrap_or(("agq", directive));
        if !LEVELS.iter().any(|known| level.eq_ignore_ascii_case(known)) {
            let known = LEVELS.join(", ");
            return Err(format!(
                "'{level}' is no level: expected one of {known}, or levels by part, such as warn,agq::server=debug"
            ));
        }
        // No library that the program uses logs anything, and no event stands in a span.
        let is_path = part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b':'));
        if !is_path || part != "agq" && !part.starts_with("agq::") {
            return Err(format!(
                "'{part}' is no part of the program: expected agq, or a part of it, such as agq::server"
            ));
        }
    }
    match EnvFilter::builder().parse(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(format!("expected a level, such as info, or levels by part: {error}")),
    }
}

/// Starts the log. `usual` is the level where nobody chose one. From now on panics are logged, too.
pub(super) fn start(args: &LogArgs, usual: &str) {
    let filter = EnvFilter::new(args.filter.as_deref().unwrap_or(usual));
    let (filter, handle) = reload::Layer::new(filter);
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = match args.format {
        Some(Format::Json) => lines.json().flatten_event(true).with_current_span(false).with_span_list(false).boxed(),
        Some(Format::Text) | None => lines.with_ansi(super::output::wants_colours(&std::io::stderr())).boxed(),
    };
    tracing_subscriber::registry().with(filter).with(lines).init();
    // The log is started once.
    let _ = FILTER.set(handle);
    std::panic::set_hook(Box::new(|panic| {
        let thread = std::thread::current();
        let (thread, place) = (thread.name().unwrap_or("unnamed"), panic.location().map(ToString::to_string));
        let why = crate::server::panic_text(panic.payload());
        tracing::error!(thread, place, "panic: {why}");
    }));
}

/// Says whether [`set`] would take a filter.
///
/// # Errors
/// When it makes no sense.
pub(super) fn check(filter: Option<&str>, usual: &str) -> anyhow::Result<()> {
    EnvFilter::builder().parse(filter.unwrap_or(usual)).map(drop).context("the log's filter")
}

/// Changes what is logged.
///
/// # Errors
/// When the filter makes no sense, or the log was not started.
pub(super) fn set(filter: Option<&str>, usual: &str) -> anyhow::Result<()> {
    let filter = EnvFilter::builder().parse(filter.unwrap_or(usual)).context("the log's filter")?;
    let handle = FILTER.get().ok_or_else(|| anyhow!("the log was not started"))?;
    handle.reload(filter).context("the log's filter")
}

#[cfg(test)]
mod tests {
    use super::parse_filter;

    #[test]
    fn a_filter_is_a_level_or_levels_by_part() {
        for good in ["info", "off", "WARN", "warn,agq::server=debug", "agq=debug"] {
            assert_eq!(parse_filter(good).as_deref(), Ok(good));
        }
        for (wrong, level) in [
            ("", ""),
            ("debugg", "debugg"),
            ("warning", "warning"),
            ("agq=loud", "loud"),
            ("agq::server", "agq::server"),
        ] {
            let expected = format!("'{level}' is no level: expected one of off, error, warn, info, debug, trace");
            let refused = parse_filter(wrong).unwrap_err();
            assert!(refused.starts_with(&expected), "{wrong}: {refused}");
        }
        for wrong in ["agg::server=debug", "warn,hyper=debug", "=debug", "[conn]=debug", "agq::server[conn]=debug"] {
            assert!(parse_filter(wrong).unwrap_err().contains("is no part of the program"), "{wrong}");
        }
    }
}
