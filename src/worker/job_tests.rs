//! Whole jobs with real programs, without a server.

use super::*;

fn config() -> Config {
    Config {
        connect: agq_client::ConnectOptions::new("127.0.0.1:1".parse().unwrap()),
        worker_id: "worker_1".to_owned(),
        queues: vec!["ready".to_owned()],
        concurrency: 1,
        tools: Vec::new(),
        tags: Vec::new(),
        lease: None,
        heartbeat: None,
        task_timeout: None,
        kill_grace: Duration::from_secs(20),
        drain_grace: Duration::from_secs(20),
    }
}

async fn outcome(tasks: &str, input: &str) -> (Outcome, String) {
    let claim = format!(
        r#"{{"job_id":"job_1","epoch":7,"attempt":1,"queue":"ready","new_field":1,
             "plan":{{"plan_id":"p","tasks":{tasks}}},"input":{input}}}"#
    );
    let claim = Claim::parse(&claim).unwrap();
    let (output, mut chunks) = mpsc::channel(100);
    let (_keep, halt) = watch::channel(None);
    let outcome = run(&config(), &claim, 100, output, halt).await;
    let mut text = String::new();
    while let Some(chunk) = chunks.recv().await {
        text += &format!("{} {}", chunk.task, String::from_utf8_lossy(&chunk.bytes));
    }
    (outcome, text)
}

fn tasks_of(outcome: &Outcome) -> Vec<(i64, i64)> {
    let (Outcome::Completed(json) | Outcome::Failed(json)) = outcome else { panic!("{outcome:?}") };
    let json: serde_json::Value = serde_json::from_str(json).unwrap();
    let task = |task: &serde_json::Value| Some((task["exit_code"].as_i64()?, task["stdout_bytes"].as_i64()?));
    json["tasks"].as_array().unwrap().iter().map(|value| task(value).unwrap()).collect()
}

#[tokio::test]
async fn tasks_read_the_output_of_earlier_ones() {
    let tasks = r#"[{"task_number":1,"command":"printf","args":["{{input.text}}\\n"]},
        {"task_number":2,"command":"cat","args":[],"input_from_task":1},
        {"task_number":3,"command":"tr","args":["a-z","A-Z"],"input_from_task":1}]"#;
    let (outcome, text) = outcome(tasks, r#"{"text":"ab"}"#).await;
    assert_eq!(tasks_of(&outcome), [(0, 3), (0, 3), (0, 3)]);
    assert!(matches!(outcome, Outcome::Completed(_)));
    assert_eq!(text, "1 ab\n2 ab\n3 AB\n");
}

#[tokio::test]
async fn the_first_failing_task_is_the_last() {
    let tasks = r#"[{"task_number":1,"command":"true"},{"task_number":2,"command":"false"},
        {"task_number":3,"command":"true"}]"#;
    let (outcome, _) = outcome(tasks, "{}").await;
    assert_eq!(tasks_of(&outcome), [(0, 0), (1, 0)]);
    let Outcome::Failed(json) = outcome else { panic!("{outcome:?}") };
    assert!(json.contains("task 2 (false) ended with exit code 1"), "{json}");
}

#[tokio::test]
async fn a_program_that_is_missing_fails_its_task_and_says_so() {
    let (outcome, text) = outcome(r#"[{"task_number":1,"command":"no-such-program"}]"#, "{}").await;
    assert_eq!(tasks_of(&outcome), [(127, 0)]);
    assert!(text.contains("cannot start 'no-such-program': there is no such program"), "{text}");
}

#[tokio::test]
async fn a_timeout_is_told_from_a_failure() {
    let tasks = r#"[{"task_number":1,"command":"sleep","args":["1000"],"timeout_secs":1}]"#;
    let (outcome, _) = outcome(tasks, "{}").await;
    assert_eq!(tasks_of(&outcome), [(143, 0)]);
    let Outcome::Failed(json) = outcome else { panic!("{outcome:?}") };
    assert!(json.contains("ran longer than its 1 s"), "{json}");
}

#[tokio::test]
async fn programs_know_which_job_they_are() {
    let tasks = r#"[{"task_number":1,"command":"printenv","args":["AGQ_JOB_ID","AGQ_EPOCH","MINE"],
        "env":{"MINE":"yes"}}]"#;
    let (_, text) = outcome(tasks, "{}").await;
    assert_eq!(text, "1 job_1\n7\nyes\n");
}

#[test]
fn a_task_whose_output_lay_in_the_middle_is_marked() {
    let task = |task_number, stdout_bytes| TaskResult { task_number, stdout_bytes, ..TaskResult::default() };
    let mut tasks = [task(1, 40), task(2, 30), task(3, 20), task(4, 30)];
    mark_truncated(&mut tasks, 100);
    // Of 120 bytes the first and the last 50 are kept.
    assert_eq!(tasks.map(|task| task.truncated), [false, true, false, false]);
    let mut tasks = [task(1, 100)];
    mark_truncated(&mut tasks, 100);
    assert!(!tasks[0].truncated);
}
