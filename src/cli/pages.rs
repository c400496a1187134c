//! `agq completions` and `agq man`: made from the same definitions that the command line is read by.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, Command, CommandFactory};
use clap_complete::Shell;

use super::{Cli, output};

/// `agq completions …`
#[derive(Debug, Args)]
#[command(
    after_help = "bash:  agq completions bash > ~/.local/share/bash-completion/completions/agq\nzsh:   agq completions zsh > \
                  a file '_agq' in a folder of $fpath\nfish:  agq completions fish > ~/.config/fish/completions/agq.fish"
)]
pub(super) struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

/// `agq man …`
#[derive(Debug, Args)]
#[command(
    after_help = "agq man | man -l -     reads the first page\nagq man ~/.local/share/man/man1     writes all of them"
)]
pub(super) struct ManArgs {
    /// Folder to write a page for each command into [default: print the page of agq itself]
    dir: Option<PathBuf>,
}

/// What is described: all that is not hidden.
fn described() -> Command {
    Cli::command().disable_help_subcommand(true)
}

/// Prints a shell's completions.
pub(super) fn completions(args: &CompletionsArgs) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut described(), "agq", &mut script);
    output::write(script)
}

/// Prints or writes manual pages.
pub(super) fn man(args: &ManArgs) -> anyhow::Result<()> {
    match &args.dir {
        None => output::write(page(described())?),
        Some(dir) => {
            let write = || -> anyhow::Result<()> {
                std::fs::create_dir_all(dir)?;
                let mut command = described();
                command.build();
                write_pages(&command, "agq", dir)
            };
            write().with_context(|| format!("cannot write manual pages into {}", dir.display()))
        }
    }
}

fn write_pages(command: &Command, name: &str, dir: &Path) -> anyhow::Result<()> {
    // The page is named as the command is called, its blanks as dashes.
    let title = command.clone().name(name.to_owned());
    std::fs::write(dir.join(format!("{name}.1")), page(title)?)?;
    let inner = command.get_subcommands().filter(|inner| !inner.is_hide_set());
    inner.into_iter().try_for_each(|inner| write_pages(inner, &format!("{name}-{}", inner.get_name()), dir))
}

fn page(command: Command) -> anyhow::Result<Vec<u8>> {
    let mut page = Vec::new();
    clap_mangen::Man::new(command).render(&mut page)?;
    Ok(page)
}
