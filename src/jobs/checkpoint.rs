//! Checkpoints: where the plan says `idempotent_tasks`, the progress of a job says which tasks are finished, and a
//! further attempt runs only the others. Server and worker decide by the same function what is kept.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::jobs::body::Part;
use crate::jobs::error::Result;
use crate::jobs::job::Job;
use crate::jobs::plan::Plan;
use crate::jobs::{Jobs, JobsView, Stream, plan_store};

/// How a task ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskResult {
    /// Its number.
    pub task_number: u32,
    /// Its exit code; 128 + the signal's number where a signal ended it.
    pub exit_code: i32,
    /// The signal that ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// How long it ran.
    #[serde(default)]
    pub duration_ms: u64,
    /// Bytes that it wrote to its stdout.
    #[serde(default)]
    pub stdout_bytes: u64,
    /// Bytes that it wrote to its stderr.
    #[serde(default)]
    pub stderr_bytes: u64,
    /// Some of its output was not kept.
    #[serde(default)]
    pub truncated: bool,
}

/// What a worker says in the progress of a job.
#[derive(Debug, Deserialize)]
struct Checkpoint {
    tasks: Vec<TaskResult>,
}

/// The tasks that a progress names as finished and that need not run again. Progress of another shape names none.
#[must_use]
pub fn finished(plan: &Plan, progress: &[u8]) -> BTreeMap<u32, TaskResult> {
    let Ok(checkpoint) = serde_json::from_slice::<Checkpoint>(progress) else { return BTreeMap::new() };
    let done = checkpoint.tasks.into_iter().filter(|task| task.exit_code == 0);
    let mut done: BTreeMap<u32, TaskResult> = done.map(|task| (task.task_number, task)).collect();
    let to_run = plan.to_run(|task| done.contains_key(&task));
    done.retain(|task, _| plan.tasks.iter().any(|known| known.task_number == *task) && !to_run.contains(task));
    done
}

impl JobsView<'_> {
    /// The tasks that a further attempt of a job need not run; `None` when it begins anew.
    fn checkpoint(&self, job: &Job) -> Result<Option<BTreeMap<u32, TaskResult>>> {
        let (Some(id), Some(progress)) = (job.plan(), &job.progress) else { return Ok(None) };
        let Some(stored) = plan_store::load(self.rows, id.as_bytes())? else { return Ok(None) };
        // While a job had ended, its plan's id may have got other content.
        if job.started_at.is_none_or(|started_at| stored.created_at > started_at) {
            return Ok(None);
        }
        let plan = stored.plan()?;
        if !plan.idempotent_tasks {
            return Ok(None);
        }
        let progress = self.body(&job.id, Part::Progress, progress)?;
        Ok(Some(finished(&plan, &progress)))
    }
}

impl Jobs<'_, '_> {
    /// What an earlier attempt left goes, but for what finished tasks left where the attempt goes on from there. A
    /// worker of the list contract knows nothing of that: it begins anew.
    pub(super) fn begin_again(&mut self, old: &Job, job: &mut Job, by_list: bool) -> Result<()> {
        let finished = if by_list { None } else { self.view().checkpoint(old)? };
        let Some(finished) = finished else {
            if job.has_output {
                self.clear_output(&job.id)?;
            }
            job.has_output = false;
            return Ok(self.set_body(job, Part::Progress, None)?);
        };
        let wrote = |bytes_of: fn(&TaskResult) -> u64| finished.iter().map(|(n, task)| (*n, bytes_of(task))).collect();
        let has_stdout = self.keep_output(&job.id, Stream::Stdout, &wrote(|task| task.stdout_bytes))?;
        let has_stderr = self.keep_output(&job.id, Stream::Stderr, &wrote(|task| task.stderr_bytes))?;
        job.has_output = has_stdout || has_stderr;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_ended_well_and_is_not_read_again_is_finished() {
        let plan = br#"{"idempotent_tasks":true,"tasks":[{"task_number":1,"command":"a"},
            {"task_number":2,"command":"b"},{"task_number":3,"command":"c","input_from_task":1}]}"#;
        let plan = Plan::parse(plan).unwrap();
        let numbers = |progress: &str| finished(&plan, progress.as_bytes()).into_keys().collect::<Vec<_>>();
        let done = |tasks: &str| numbers(&format!("{{\"tasks\":[{tasks}],\"note\":1}}"));
        assert_eq!(done(r#"{"task_number":2,"exit_code":0,"more":null}"#), [2]);
        assert_eq!(done(r#"{"task_number":2,"exit_code":1},{"task_number":9,"exit_code":0}"#), [0; 0]);
        assert_eq!(done(r#"{"task_number":1,"exit_code":0},{"task_number":2,"exit_code":0}"#), [2]);
        assert_eq!(done(r#"{"task_number":1,"exit_code":0},{"task_number":3,"exit_code":0}"#), [1, 3]);
        for other in ["0.5", "null", "{}", r#"{"tasks":3}"#, r#"{"tasks":[{"task_number":2}]}"#] {
            assert_eq!(numbers(other), [0; 0], "{other}");
        }
    }
}
