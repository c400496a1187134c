//! What the program's exit codes mean: programs that call this one rely on them.

use std::process::ExitCode;

/// The codes as `--help` tells them.
pub(super) const HELP: &str = "Exit codes: 0 done, and every job waited for is completed; 1 refused or failed, or a \
                               job waited for has failed or was cancelled; 2 wrong usage; 3 no server was reached, or \
                               it did not let this client in; 4 the wait is over and the job is not; 130 interrupted.";

/// Every job that was waited for is completed.
pub(super) const DONE: ExitCode = ExitCode::SUCCESS;
/// A job failed or was cancelled.
pub(super) const FAILED: ExitCode = ExitCode::FAILURE;

/// No server was reached.
pub(super) fn unreachable() -> ExitCode {
    ExitCode::from(3)
}

/// The time to wait was over first.
pub(super) fn unfinished() -> ExitCode {
    ExitCode::from(4)
}

/// Stopped by a signal, as shells say it of SIGINT.
pub(super) fn interrupted() -> ExitCode {
    ExitCode::from(130)
}

/// The code for a job's last status.
pub(super) fn of_status(status: &str) -> ExitCode {
    if status == "completed" { DONE } else { FAILED }
}
