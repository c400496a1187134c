//! What jobs run, in words: the first command of a plan with the job's input in it, or the kind.

use std::collections::HashMap;

use agq_client::{Client, Error};
use serde_json::Value;

use super::connect::text;
use super::fields::{cell, first};
use crate::jobs::plan::Plan;
use crate::jobs::template::{Input, expand};

/// The plans that were asked for so far.
#[derive(Debug, Default)]
pub(super) struct Works {
    plans: HashMap<String, Option<Plan>>,
}

impl Works {
    /// Gets the plans of these jobs that are not known yet.
    ///
    /// # Errors
    /// When there is no answer.
    pub(super) async fn learn(&mut self, client: &mut Client, jobs: &[Value]) -> Result<(), Error> {
        let mut unknown: Vec<String> = jobs.iter().map(|job| cell(job, "plan_id")).collect();
        unknown.sort_unstable();
        unknown.dedup();
        unknown.retain(|id| !id.is_empty() && !self.plans.contains_key(id));
        let commands: Vec<Vec<&str>> = unknown.iter().map(|id| vec!["PLAN.GET", id]).collect();
        let replies = client.pipeline(&commands).await?;
        for (id, reply) in unknown.into_iter().zip(replies) {
            // A plan may be deleted by now.
            let plan = text(&reply).ok().and_then(|text| Plan::parse(text.as_bytes()).ok());
            self.plans.insert(id, plan);
        }
        Ok(())
    }

    /// What a job runs.
    pub(super) fn of(&self, job: &Value) -> String {
        let name = first(job, &["plan_id", "kind"]);
        let plan = self.plans.get(&name).and_then(Option::as_ref);
        plan.map_or(name, |plan| command(plan, &job["input"]))
    }
}

/// A plan's first command, and how many more there are.
fn command(plan: &Plan, input: &Value) -> String {
    let Some(task) = plan.tasks.first() else { return String::new() };
    let input = input.to_string();
    let input = Input::parse(input.as_bytes(), "input");
    let word = |arg: &String| match &input {
        Ok(input) => expand(arg, input).unwrap_or_else(|_| arg.clone()),
        // It is too long to stand in a list.
        Err(_) => arg.clone(),
    };
    let words: Vec<String> = std::iter::once(task.command.clone()).chain(task.args.iter().map(word)).collect();
    let more = plan.tasks.len() - 1;
    let more = if more > 0 { format!(" (+{more})") } else { String::new() };
    words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ") + &more
}

/// A word as a shell would take it, where a blank would make several of it.
fn quoted(word: &str) -> String {
    match word {
        "" => "''".to_owned(),
        word if word.contains(char::is_whitespace) => format!("'{word}'"),
        word => word.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_job_is_its_first_command() {
        let tasks =
            r#"[{"task_number":1,"command":"sh","args":["-c","{{input.arg2}}",""]},{"task_number":2,"command":"b"}]"#;
        let plan = Plan::parse(format!("{{\"tasks\":{tasks}}}").as_bytes()).unwrap();
        let works = Works { plans: HashMap::from([("p".to_owned(), Some(plan)), ("gone".to_owned(), None)]) };
        let of = |job: Value| works.of(&job);
        assert_eq!(of(json!({"plan_id": "p", "input": {"arg2": "echo hi"}})), "sh -c 'echo hi' '' (+1)");
        assert_eq!(of(json!({"plan_id": "p", "input_bytes": 1_000_000})), "sh -c {{input.arg2}} '' (+1)");
        assert_eq!(of(json!({"plan_id": "gone"})), "gone");
        assert_eq!(of(json!({"kind": "mail"})), "mail");
    }
}
