//! `agq ping`: is the server there, and how far away?

use std::process::ExitCode;
use std::time::Instant;

use clap::Args;
use serde_json::json;

use super::connect::ServerArgs;
use super::{exit, output};

/// Flags of `agq ping`.
#[derive(Debug, Args)]
pub(super) struct PingArgs {
    #[command(flatten)]
    server: ServerArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Asks once.
pub(super) async fn run(args: &PingArgs) -> anyhow::Result<ExitCode> {
    let (mut client, options) = args.server.connect().await?;
    let began = Instant::now();
    client.call(&["PING"]).await?;
    let ms = began.elapsed().as_secs_f64() * 1e3;
    let address = options.address.to_string();
    if args.json {
        output::json(&json!({"server": address, "ms": (ms * 1e3).round() / 1e3}))?;
    } else {
        output::line(format_args!("{address} answers in {ms:.3} ms"))?;
    }
    Ok(exit::DONE)
}
