//! The `agq` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    agq::cli::main()
}
