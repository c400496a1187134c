//! What the program says about itself while it runs: to standard error, filtered by `AGQ_LOG`.

/// Starts the log at a level, `AGQ_LOG` permitting.
pub(super) fn start(level: &str) {
    let filter = tracing_subscriber::EnvFilter::try_from_env("AGQ_LOG").unwrap_or_else(|_| level.into());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(super::output::wants_colours(&std::io::stderr()))
        .init();
}
