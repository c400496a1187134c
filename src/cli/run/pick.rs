//! Which part of a job's stdout is its result: what no later task reads.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::jobs::plan::Plan;

/// True when a job's stdout is its tasks' output one after the other.
pub(super) fn is_in_order(plan: &Plan) -> bool {
    !plan.is_parallel() && !plan.idempotent_tasks
}

fn is_read(plan: &Plan, number: u64) -> bool {
    plan.tasks.iter().any(|task| task.input_from_task.map(u64::from) == Some(number))
}

/// The stdout of the tasks whose output is no other task's input, in order, where what each wrote is known.
pub(super) fn final_of_tasks(plan: &Plan, mut outputs: BTreeMap<u64, Vec<u8>>) -> Vec<u8> {
    outputs.retain(|number, _| !is_read(plan, *number));
    outputs.into_values().flatten().collect()
}

/// The same, out of a stdout that is [in order](is_in_order). Where its middle was not kept, what can still be told
/// apart is taken from its end.
pub(super) fn final_output(plan: &Plan, tasks: &[Value], stdout: &[u8]) -> Vec<u8> {
    let mut end = stdout.len();
    let mut parts = Vec::new();
    for task in tasks.iter().rev() {
        let length = task["stdout_bytes"].as_u64().and_then(|length| usize::try_from(length).ok()).unwrap_or(0);
        let start = end.saturating_sub(length);
        if !is_read(plan, task["task_number"].as_u64().unwrap_or(0)) {
            parts.push(&stdout[start..end]);
        }
        end = start;
    }
    parts.into_iter().rev().flatten().copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn plan() -> Plan {
        Plan::parse(
            br#"{"tasks":[{"task_number":1,"command":"a"},{"task_number":2,"command":"b","input_from_task":1},
            {"task_number":3,"command":"c"}]}"#,
        )
        .unwrap()
    }

    fn tasks(lengths: [u64; 3]) -> Vec<Value> {
        let task = |(at, length): (usize, &u64)| json!({"task_number": at + 1, "stdout_bytes": length});
        lengths.iter().enumerate().map(task).collect()
    }

    #[test]
    fn what_a_later_task_reads_is_left_out() {
        assert_eq!(final_output(&plan(), &tasks([3, 2, 1]), b"aaabbc"), b"bbc");
        let outputs = [(1, b"aaa".to_vec()), (2, b"bb".to_vec()), (3, b"c".to_vec())];
        assert_eq!(final_of_tasks(&plan(), outputs.into()), b"bbc");
    }

    #[test]
    fn the_end_is_right_even_when_the_middle_is_lost() {
        assert_eq!(final_output(&plan(), &tasks([1_000_000, 2, 1]), b"aaabbc"), b"bbc");
        assert_eq!(final_output(&plan(), &tasks([0, 1000, 0]), b"b"), b"b");
    }
}
