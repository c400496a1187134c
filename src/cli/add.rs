//! `agq add`: a command line as a job.

use std::process::ExitCode;

use anyhow::bail;
use clap::Args;

use super::action::{PlanField, Settings};
use super::connect::{Reader, ServerArgs};
use super::job_submit::{self, Identity, Submission, Work};
use super::words::{self, Surroundings};
use super::{exit, follow};

/// `agq add …`
#[derive(Debug, Args)]
#[command(
    after_help = "A worker runs the command without a shell, in its own folder; what the words hold is taken literally, \
                  braces and all. For a pipe or a redirection ask a shell: agq add -- sh -c 'sort a | uniq > b'\n\n\
                  With --follow the exit code is the command's, and interrupting it leaves the job as it is.\n\n\
                  Example: agq add --priority 7 --timeout 10m -- make -C /srv/site all"
)]
pub(super) struct AddArgs {
    /// The program and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "COMMAND")]
    words: Vec<String>,
    #[command(flatten)]
    around: Surroundings,
    #[command(flatten)]
    settings: Settings,
    #[command(flatten)]
    identity: Identity,
    /// Print what the job writes, and exit as it does
    #[arg(long, short)]
    follow: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

/// Submits the job, and prints its id or follows it.
pub(super) async fn run(args: &AddArgs) -> anyhow::Result<ExitCode> {
    let timeout_ms = args.settings.timeout.or(args.settings.timeout_ms);
    let mut prepared = words::single(&args.words, &args.around, timeout_ms)?;
    let Some(input) = prepared.inputs.pop() else { bail!("a job has one input") };
    let work = Work::Plan { plan: PlanField::Plan(prepared.plan), input };
    let submission = Submission { work, settings: &args.settings, identity: &args.identity };
    let submission = serde_json::to_string(&submission)?;
    let (mut client, options) = args.server.connect().await?;
    let id = job_submit::send(&mut client, &submission).await?;
    if !args.follow {
        job_submit::print_id(&id, args.json)?;
        return Ok(exit::DONE);
    }
    eprintln!("agq: job {id}");
    follow::job(&mut Reader::new(client, options), &id, args.json).await
}
