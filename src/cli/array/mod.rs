//! `agq array`: a command for each of many values, as an action.

mod range;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{bail, ensure};
use clap::Args;

use super::action::{Bounds, PlanField, Settings, Submission};
use super::connect::ServerArgs;
use super::exit;
use super::inputs::read_text;
use super::words::{self, Surroundings};
use range::Range;

/// What stands between a command and its values, as in GNU parallel.
const VALUES_FOLLOW: &str = ":::";

/// `agq array …`
#[derive(Debug, Args)]
#[command(
    after_help = "'{}' in the command's arguments stands for the value; without it the same command runs for each.\n\n\
                  Examples:\n  agq array 0-999%20 -- ./render --frame {}\n  agq array 1,3,5-9:2 -- ./train --seed {}\n  \
                  agq array -- gzip {} ::: a.log b.log\n  agq array --from-file urls.txt --max-parallel 4 -- curl -O {}"
)]
pub(super) struct ArrayArgs {
    /// Numbers, as 0-999, 1,3,5-9:2 (every second) or 0-999%20 (20 at a time at most)
    #[arg(value_name = "RANGE", conflicts_with = "from_file")]
    range: Option<Range>,
    /// File with a value on each line; '-' for standard input
    #[arg(long, value_name = "FILE")]
    from_file: Option<PathBuf>,
    /// The program and its arguments; without a range or a file, the values follow them after ':::'
    #[arg(required = true, last = true, value_name = "COMMAND")]
    words: Vec<String>,
    #[command(flatten)]
    around: Surroundings,
    #[command(flatten)]
    settings: Settings,
    #[command(flatten)]
    bounds: Bounds,
    /// The action's id [default: a new one]
    #[arg(long, value_name = "ID")]
    action_id: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

/// Submits the action and prints its id.
pub(super) async fn run(args: &ArrayArgs) -> anyhow::Result<ExitCode> {
    let (words, values, max_parallel) = values(args)?;
    ensure!(!values.is_empty(), "there is no value: nothing would run");
    let timeout_ms = args.settings.timeout.or(args.settings.timeout_ms);
    let prepared = words::each(words, &values, &args.around, timeout_ms)?;
    let bounds = match (max_parallel, args.bounds.max_parallel) {
        (Some(_), Some(_)) => bail!("'%' and --max-parallel say the same thing: give one of them"),
        (most, None) => Bounds { max_parallel: most, ..args.bounds.clone() },
        (None, Some(_)) => args.bounds.clone(),
    };
    let submission = Submission {
        action_id: args.action_id.as_deref(),
        plan: PlanField::Plan(prepared.plan),
        inputs: &prepared.inputs,
        settings: &args.settings,
        bounds: &bounds,
    };
    let (mut client, _) = args.server.connect().await?;
    submission.send(&mut client, args.json).await?;
    Ok(exit::DONE)
}

/// The command's words, the values, and how many may run at a time.
fn values(args: &ArrayArgs) -> anyhow::Result<(&[String], Vec<String>, Option<u64>)> {
    match (&args.range, &args.from_file) {
        (Some(range), _) => Ok((&args.words, range.numbers.iter().map(u64::to_string).collect(), range.max_parallel)),
        (None, Some(file)) => Ok((&args.words, read_text(file)?.lines().map(str::to_owned).collect(), None)),
        (None, None) => match args.words.iter().position(|word| word == VALUES_FOLLOW) {
            Some(place) => Ok((&args.words[..place], args.words[place + 1..].to_vec(), None)),
            None => bail!(
                "which values? Give a range in front of '--', as 0-9, a --from-file, or values after '{VALUES_FOLLOW}'"
            ),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        args: ArrayArgs,
    }

    fn parse(words: &[&str]) -> ArrayArgs {
        Cli::try_parse_from(std::iter::once(&"array").chain(words)).unwrap().args
    }

    #[test]
    fn values_come_from_a_range_or_stand_behind_the_command() {
        let args = parse(&["0-2%2", "--", "x", "{}", ":::", "y"]);
        let (words, found, most) = values(&args).unwrap();
        assert_eq!((words.len(), found, most), (4, vec!["0".to_owned(), "1".into(), "2".into()], Some(2)));
        let args = parse(&["--", "gzip", "{}", ":::", "a b", "-c"]);
        let (words, found, _) = values(&args).unwrap();
        assert_eq!((words, found), (&["gzip".to_owned(), "{}".into()][..], vec!["a b".to_owned(), "-c".into()]));
        assert!(values(&parse(&["--", "x"])).unwrap_err().to_string().contains("which values?"));
    }
}
