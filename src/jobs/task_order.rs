//! In which order the tasks of a plan run, and which of them run again.

use std::collections::BTreeSet;

use crate::jobs::plan::{Plan, Task};

impl Plan {
    /// True when a task says which tasks it `needs`, be it none: then each starts as soon as what it needs and reads is
    /// done. Else they run strictly one after the other.
    #[must_use]
    pub fn is_parallel(&self) -> bool {
        self.tasks.iter().any(|task| task.needs.is_some())
    }

    /// The tasks that must be done before one starts.
    #[must_use]
    pub fn before(&self, task: &Task) -> BTreeSet<u32> {
        match self.is_parallel() {
            true => task.needs.iter().flatten().copied().chain(task.input_from_task).collect(),
            false => (1..task.task_number).collect(),
        }
    }

    /// The tasks that a further attempt runs when some are finished: the others, and those whose output one of these
    /// reads, for it was with the worker.
    #[must_use]
    pub fn to_run(&self, is_finished: impl Fn(u32) -> bool) -> BTreeSet<u32> {
        let mut read = BTreeSet::new();
        let mut tasks = BTreeSet::new();
        // A task reads an earlier one only.
        for task in self.tasks.iter().rev() {
            if !is_finished(task.task_number) || read.contains(&task.task_number) {
                tasks.insert(task.task_number);
                read.extend(task.input_from_task);
            }
        }
        tasks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(tasks: &[&str]) -> Plan {
        let task = |(place, more)| format!(r#"{{"task_number":{},"command":"a"{more}}}"#, place + 1);
        let tasks: Vec<String> = tasks.iter().enumerate().map(task).collect();
        Plan::parse(format!(r#"{{"tasks":[{}]}}"#, tasks.join(",")).as_bytes()).unwrap()
    }

    fn before(plan: &Plan) -> Vec<Vec<u32>> {
        plan.tasks.iter().map(|task| plan.before(task).into_iter().collect()).collect()
    }

    #[test]
    fn without_needs_each_waits_for_all_before_it() {
        let plan = plan(&["", "", r#","input_from_task":1"#]);
        assert!(!plan.is_parallel());
        assert_eq!(before(&plan), [vec![], vec![1], vec![1, 2]]);
    }

    #[test]
    fn with_needs_each_waits_for_what_it_names_and_reads() {
        let plan = plan(&["", "", r#","input_from_task":1,"needs":[2]"#, r#","input_from_task":2"#, r#","needs":[]"#]);
        assert_eq!(before(&plan), [vec![], vec![], vec![1, 2], vec![2], vec![]]);
        assert_eq!(before(&self::plan(&["", r#","needs":[]"#])), [[0; 0], [0; 0]], "an empty list counts");
    }

    #[test]
    fn what_an_unfinished_task_reads_runs_again() {
        let reads = |from: u32| format!(r#","input_from_task":{from}"#);
        let plan = plan(&["", &reads(1), "", &reads(2), ""]);
        let to_run = |finished: &[u32]| plan.to_run(|task| finished.contains(&task)).into_iter().collect::<Vec<_>>();
        assert_eq!(to_run(&[]), [1, 2, 3, 4, 5]);
        assert_eq!(to_run(&[1, 2, 3]), [1, 2, 4, 5], "4 reads 2, which reads 1");
        assert_eq!(to_run(&[1, 2, 3, 4]), [5]);
        assert_eq!(to_run(&[1, 2, 3, 4, 5, 9]), [0; 0]);
    }
}
