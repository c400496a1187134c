//! `--sandbox`: what bounds the programs of jobs; and the helper that puts a program into it.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Args;

use super::size::parse_size;
use crate::worker::{Limit, Sandbox, cannot_start};

/// The exit code of a program that could not be bounded: it was not started.
const NOT_BOUNDED: u8 = 126;

/// Flags of who runs programs in a sandbox.
#[derive(Debug, Clone, Args)]
pub(super) struct SandboxArgs {
    /// What bounds the programs: no-new-privs, private-tmp, cpu=SECONDS, memory=BYTES, file-size=BYTES, open-files=N,
    /// processes=N
    #[arg(long, env = "AGQ_SANDBOX", value_name = "OPTION,…", value_delimiter = ',', value_parser = parse_option)]
    sandbox: Vec<SandboxOption>,
}

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SandboxOption {
    NoNewPrivs,
    PrivateTmp,
    Limit(Limit, u64),
}

fn parse_option(text: &str) -> Result<SandboxOption, String> {
    match text {
        "no-new-privs" => return Ok(SandboxOption::NoNewPrivs),
        "private-tmp" => return Ok(SandboxOption::PrivateTmp),
        _ => {}
    }
    let (name, value) = text.split_once('=').unwrap_or((text, ""));
    let limit = Limit::ALL.into_iter().find(|limit| limit.name() == name).ok_or_else(|| {
        let limits = Limit::ALL.map(|limit| format!("{}=…", limit.name())).join(", ");
        format!("expected no-new-privs, private-tmp, {limits}")
    })?;
    let most = match limit {
        Limit::Memory | Limit::FileSize => parse_size(value)?,
        _ => value.parse().map_err(|_| format!("{name} takes a whole number, not '{value}'"))?,
    };
    match most {
        0 => Err(format!("{name} must be more than 0")),
        _ => Ok(SandboxOption::Limit(limit, most)),
    }
}

impl SandboxArgs {
    /// What was asked for.
    ///
    /// # Errors
    /// When something was asked for twice, or this system cannot do it.
    pub(super) fn sandbox(&self) -> anyhow::Result<Sandbox> {
        let mut sandbox = Sandbox::default();
        for option in &self.sandbox {
            match *option {
                SandboxOption::NoNewPrivs => sandbox.no_new_privs = true,
                SandboxOption::PrivateTmp => sandbox.private_tmp = true,
                SandboxOption::Limit(limit, most) => {
                    if let Some(other) = sandbox.limits.insert(limit, most) {
                        anyhow::bail!("--sandbox says {0}={other} and {0}={most}: give it once", limit.name());
                    }
                }
            }
        }
        sandbox.check().map_err(anyhow::Error::msg)?;
        Ok(sandbox)
    }
}

/// `agq sandboxed …`, which the worker starts.
#[derive(Debug, Args)]
pub(super) struct HelperArgs {
    #[command(flatten)]
    sandbox: SandboxArgs,
    /// The program and its arguments
    #[arg(last = true, required = true)]
    program: Vec<OsString>,
}

/// Becomes the program; an exit code and a line on stderr say why it cannot, as a shell does.
pub(super) fn run(args: &HelperArgs) -> anyhow::Result<ExitCode> {
    let sandbox = args.sandbox.sandbox()?;
    let Some((program, rest)) = args.program.split_first() else { anyhow::bail!("a program is needed") };
    let (exit_code, text) = match sandbox.enter(program, rest) {
        Ok(error) => cannot_start(&program.to_string_lossy(), &error),
        Err(error) => (NOT_BOUNDED, format!("agq: cannot bound '{}': {error}", program.to_string_lossy())),
    };
    eprintln!("{text}");
    Ok(ExitCode::from(exit_code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_checked_by_name() {
        assert_eq!(parse_option("no-new-privs"), Ok(SandboxOption::NoNewPrivs));
        assert_eq!(parse_option("memory=1GiB"), Ok(SandboxOption::Limit(Limit::Memory, 1 << 30)));
        assert_eq!(parse_option("cpu=5"), Ok(SandboxOption::Limit(Limit::Cpu, 5)));
        for (bad, why) in [
            ("network=none", "expected no-new-privs, private-tmp, cpu=…, memory=…,"),
            ("cpu=1m", "cpu takes a whole number, not '1m'"),
            ("cpu", "cpu takes a whole number, not ''"),
            ("processes=0", "processes must be more than 0"),
        ] {
            let error = parse_option(bad).unwrap_err();
            assert!(error.starts_with(why), "{bad}: {error}");
        }
        assert!(parse_option("memory=lots").is_err());
        let twice = ["cpu=1", "cpu=2"].map(|text| parse_option(text).unwrap()).to_vec();
        let error = SandboxArgs { sandbox: twice }.sandbox().unwrap_err().to_string();
        assert_eq!(error, "--sandbox says cpu=1 and cpu=2: give it once");
    }
}
