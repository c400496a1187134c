//! `agq.toml`: settings between the environment and the defaults. Which settings there are is nowhere written twice: a
//! setting is a flag that has an environment variable, its key is the flag's long name, its table the command's name, and
//! clap's own parser of the flag says what is a good value.

mod file;
#[cfg(any(test, feature = "fuzzing"))]
mod fuzz;
mod settings;
mod show;

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgMatches, Command, CommandFactory, FromArgMatches};

use super::Cli;
use super::reload::Values;
use super::serve::data_dir;
use file::{Entry, File};
#[cfg(any(test, feature = "fuzzing"))]
pub use fuzz::settings as fuzz_settings;
pub(super) use show::{ConfigArgs, run};

/// The file in the data directory.
const NAME: &str = "agq.toml";

/// The file that was found, if any.
#[derive(Debug, Default)]
pub(super) struct Config {
    file: Option<File>,
}

/// What a command line is read for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// To do what it says.
    Run,
    /// To show the settings that it would have.
    Show,
}

/// A command line with the file's settings in it.
struct Resolved {
    matches: ArgMatches,
    /// The command that was given, as it stands in `matches`: names from the outermost to the innermost.
    chain: Vec<String>,
    /// The settings that the file gave: a flag's id, and the entry.
    from_file: Vec<(String, Entry)>,
}

/// Reads the program's command line, and the file that it leads to. Wrong usage ends the program, as clap does it.
///
/// # Errors
/// When the file cannot be read, or says what makes no sense; with file, line and key.
pub(super) fn parse(words: impl IntoIterator<Item = OsString>) -> anyhow::Result<(Cli, Config)> {
    let words: Vec<OsString> = words.into_iter().collect();
    let matches = Cli::command().try_get_matches_from(&words).unwrap_or_else(|error| error.exit());
    let config = Config::find(&matches)?;
    let resolved = config.resolve(&words, Purpose::Run)?.unwrap_or_else(|error| error.exit());
    let cli = Cli::from_arg_matches(&resolved.matches).unwrap_or_else(|error| error.exit());
    Ok((cli, config))
}

/// The variable that stands for a server's flag, by the flag's long name.
pub(super) fn variable(flag: &str) -> Option<String> {
    let root = Cli::command();
    let arg = root.get_arguments().find(|arg| arg.get_long() == Some(flag))?;
    arg.get_env().map(|name| name.to_string_lossy().into_owned())
}

/// The server's command line that says these settings.
pub(super) fn words(values: &Values) -> Vec<OsString> {
    settings::words(&Cli::command(), values)
}

/// Checks a value of a server's flag by the flag's long name.
///
/// # Errors
/// What is wrong with it, and what was expected.
pub(super) fn check_flag(flag: &str, text: &str) -> Result<(), String> {
    let mut root = Cli::command();
    root.build();
    settings::check_flag(&root, flag, text)
}

/// Reads the server's command line and the file again. Wrong usage is an error and ends nothing.
///
/// # Errors
/// When the file cannot be read, or says what makes no sense; with file, line and key.
pub(super) fn read_again(words: &[OsString]) -> anyhow::Result<(Cli, Values)> {
    let matches = Cli::command().try_get_matches_from(words)?;
    Config::find(&matches)?.serve_settings(words)
}

/// The server's flags stand where `agq` has them, with or without `serve`.
fn serving(cli: Cli) -> Cli {
    match cli.command {
        Some(super::Command::Serve(serve)) => Cli { serve, command: None, ..cli },
        _ => cli,
    }
}

impl Config {
    /// The file that `--config` or its variable names, else the one in the data directory, if there is one.
    fn find(matches: &ArgMatches) -> anyhow::Result<Config> {
        let (matches, _) = innermost(matches);
        let path = |id: &str| matches.try_get_one::<PathBuf>(id).ok().flatten();
        let file = match path("config") {
            Some(path) => {
                let file = File::read(path)?;
                Some(file.with_context(|| format!("there is no file {}, which --config names", path.display()))?)
            }
            None => {
                let variable = std::env::var_os("AGQ_DATA_DIR").map(PathBuf::from);
                // Without a home directory there is no such file either.
                let dir = data_dir(path("data_dir").or(variable.as_ref())).ok();
                let file = dir.map(|dir| File::read(&dir.join(NAME))).transpose()?.flatten();
                if let Some((file, entry)) = file.as_ref().and_then(|file| Some((file, settings::data_dir_of(file)?))) {
                    bail!(
                        file.wrong(
                            entry,
                            "the file was found by the data directory, so it cannot move it: use --config"
                        )
                    );
                }
                file
            }
        };
        if let Some(file) = &file {
            settings::check(file, &mut Cli::command())?;
        }
        Ok(Config { file })
    }

    /// What a command line says with the file's settings in it. The inner error is clap's.
    fn resolve(&self, words: &[OsString], purpose: Purpose) -> anyhow::Result<Result<Resolved, clap::Error>> {
        let matches = match matches_of(&Cli::command(), words, purpose) {
            Ok(matches) => matches,
            Err(error) => return Ok(Err(error)),
        };
        let (inner, chain) = innermost(&matches);
        let from_file = match &self.file {
            Some(file) => settings::in_force(file, &mut Cli::command(), &chain, inner)?,
            None => Vec::new(),
        };
        let command = settings::with_defaults(Cli::command(), &chain, &from_file);
        Ok(matches_of(&command, words, purpose).map(|matches| Resolved { matches, chain, from_file }))
    }

    /// The server's command line with the file's settings in it, and each setting as it is written.
    ///
    /// # Errors
    /// When they make no sense.
    pub(super) fn serve_settings(&self, words: &[OsString]) -> anyhow::Result<(Cli, Values)> {
        let resolved = self.resolve(words, Purpose::Run)??;
        let (matches, _) = innermost(&resolved.matches);
        Ok((serving(Cli::from_arg_matches(&resolved.matches)?), settings::values(&Cli::command(), matches)))
    }

    /// The command line of a server that is started inside another command: what the environment and the file say.
    ///
    /// # Errors
    /// When they say what makes no sense.
    pub(super) fn serve_alone(&self) -> anyhow::Result<Cli> {
        let resolved = self.resolve(&["agq".into()], Purpose::Run)??;
        Ok(Cli::from_arg_matches(&resolved.matches)?)
    }
}

/// Parses a command line. Where only the settings are asked for, one that lacks what must be given is good enough.
fn matches_of(command: &Command, words: &[OsString], purpose: Purpose) -> Result<ArgMatches, clap::Error> {
    match command.clone().try_get_matches_from(words) {
        Err(error) if purpose == Purpose::Show && error.kind() == ErrorKind::MissingRequiredArgument => {
            command.clone().ignore_errors(true).try_get_matches_from(words)
        }
        matches => matches,
    }
}

/// The matches of the innermost command, and the commands' names.
fn innermost(matches: &ArgMatches) -> (&ArgMatches, Vec<String>) {
    let (mut inner, mut chain) = (matches, Vec::new());
    while let Some((name, matches)) = inner.subcommand() {
        chain.push(name.to_owned());
        inner = matches;
    }
    (inner, chain)
}

/// True when a flag or a variable says it.
fn is_given(matches: &ArgMatches, id: &str) -> bool {
    // An id that the command does not have makes clap panic.
    let known = matches.try_contains_id(id).is_ok();
    known && matches.value_source(id).is_some_and(|source| source != ValueSource::DefaultValue)
}
