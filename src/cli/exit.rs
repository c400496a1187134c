//! What the program's exit codes mean: programs that call this one rely on them.

use std::process::ExitCode;

use serde_json::Value;

use super::job::tasks_of;

/// The codes as `--help` tells them.
pub(super) const HELP: &str = "Exit codes: 0 done, and every job waited for is completed; 1 refused or failed, or a \
                               job waited for has failed or was cancelled; 2 wrong usage, or a wrong setting; 3 no \
                               server was reached, or it did not let this client in; 4 the wait is over and the job is \
                               not; 130 interrupted. Who waits for or follows one job gets the code of its first task \
                               that failed, 128 and the signal's number when one ended it.";

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

/// A flag, a variable or a file says what makes no sense.
pub(super) fn usage() -> ExitCode {
    ExitCode::from(2)
}

/// The code of one job that has ended: that of its first task that failed, as a shell would say it.
pub(super) fn of_job(job: &Value) -> ExitCode {
    code_of_job(job).map_or(FAILED, ExitCode::from)
}

/// `None` where no task failed with a code.
fn code_of_job(job: &Value) -> Option<u8> {
    const SIGNALLED: u64 = 128;
    match job["status"].as_str() {
        Some("completed") => return Some(0),
        Some("failed") => {}
        _ => return None,
    }
    let code = |task: &Value| match (task["exit_code"].as_u64(), task["signal"].as_u64()) {
        (Some(0), _) | (None, None) => None,
        (Some(code), _) => Some(code),
        (None, Some(signal)) => Some(SIGNALLED + signal),
    };
    tasks_of(job).iter().find_map(code).and_then(|code| u8::try_from(code).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_jobs_code_is_that_of_its_first_failing_task() {
        let failed = |tasks: Value| code_of_job(&json!({"status": "failed", "error": {"tasks": tasks}}));
        assert_eq!(code_of_job(&json!({"status": "completed"})), Some(0));
        assert_eq!(failed(json!([{"exit_code": 0}, {"exit_code": 3}, {"exit_code": 4}])), Some(3));
        assert_eq!(failed(json!([{"signal": 15}])), Some(143));
        assert_eq!(failed(json!([])), None);
        assert_eq!(failed(json!([{"exit_code": 4000}])), None);
        assert_eq!(code_of_job(&json!({"status": "cancelled", "error": {"tasks": [{"exit_code": 3}]}})), None);
    }
}
