//! Whole jobs with real programs, without a server.

use std::sync::LazyLock;
use std::time::Duration;

use super::*;
use crate::worker::Sandbox;

static CONFIG: LazyLock<Config> = LazyLock::new(|| Config {
    connect: agq_client::ConnectOptions::new("127.0.0.1:1".parse().unwrap()),
    worker_id: "worker_1".to_owned(),
    queues: vec!["ready".to_owned()],
    concurrency: 1,
    task_concurrency: 4,
    tools: Vec::new(),
    tags: Vec::new(),
    lease: None,
    heartbeat: None,
    task_timeout: None,
    kill_grace: Duration::from_secs(20),
    drain_grace: Duration::from_secs(20),
    sandbox: Sandbox::default(),
});

fn claim(plan: &str, more: &str) -> Claim {
    let claim = format!(
        r#"{{"job_id":"job_1","epoch":7,"attempt":1,"queue":"ready","new_field":1,"plan":{{"plan_id":"p",{plan}}}{more}}}"#
    );
    Claim::parse(&claim).unwrap()
}

/// What a job said while it ran: each task's output in one piece, and the numbers of tasks that were kept or finished.
#[derive(Debug, Default)]
struct Said {
    text: String,
    kept: Vec<u32>,
    finished: Vec<u32>,
}

/// Runs a job; it is halted once it has said `until`, if that is given.
async fn run_claim(claim: &Claim, halt_at: Option<(&str, Halt)>) -> (Outcome, Said) {
    run_with(&CONFIG, claim, halt_at).await
}

async fn run_with(config: &Config, claim: &Claim, halt_at: Option<(&str, Halt)>) -> (Outcome, Said) {
    let (report, mut messages) = mpsc::channel(100);
    let (halt, halted) = watch::channel(None);
    let mut said = Said::default();
    let listening = async {
        while let Some(message) = messages.recv().await {
            match message {
                Message::Output(chunk) => {
                    said.text += &format!("{} {}", chunk.task, String::from_utf8_lossy(&chunk.bytes));
                }
                Message::Kept(tasks) => said.kept.extend(tasks.iter().map(|task| task.task_number)),
                Message::Finished(task) => said.finished.push(task.task_number),
            }
            if let Some((until, reason)) = halt_at
                && until.split(' ').all(|word| said.text.contains(word))
            {
                halt.send_replace(Some(reason));
            }
        }
    };
    let (outcome, ()) = tokio::join!(run(config, claim, report, halted), listening);
    (outcome, said)
}

async fn outcome(tasks: &str, input: &str) -> (Outcome, String) {
    let claim = claim(&format!("\"tasks\":{tasks}"), &format!(",\"input\":{input}"));
    let (outcome, said) = run_claim(&claim, None).await;
    (outcome, said.text)
}

fn results(outcome: &Outcome) -> &Results {
    let (Outcome::Completed(results) | Outcome::Failed(results)) = outcome else { panic!("{outcome:?}") };
    results
}

/// The exit code of each task, and how much it wrote.
fn tasks_of(outcome: &Outcome) -> Vec<(i32, u64)> {
    results(outcome).tasks.iter().map(|task| (task.exit_code, task.stdout_bytes)).collect()
}

/// Why it failed.
fn message_of(outcome: &Outcome) -> &str {
    results(outcome).message.as_deref().unwrap_or_default()
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
    assert_eq!(message_of(&outcome), "task 2 (false) ended with exit code 1");
}

#[tokio::test]
async fn a_program_that_is_missing_fails_its_task_and_says_so() {
    let (outcome, text) = outcome(r#"[{"task_number":1,"command":"no-such-program"}]"#, "{}").await;
    assert_eq!(tasks_of(&outcome), [(127, 0)]);
    let told = (outcome.status(), outcome.exit_code(), outcome.error());
    assert_eq!(told, ("failed", Some(127), Some("task 1 (no-such-program) ended with exit code 127")));
    assert!(text.contains("cannot start 'no-such-program': there is no such program"), "{text}");
}

#[tokio::test]
async fn a_timeout_is_told_from_a_failure() {
    let tasks = r#"[{"task_number":1,"command":"sleep","args":["1000"],"timeout_secs":1}]"#;
    let (outcome, _) = outcome(tasks, "{}").await;
    assert_eq!(tasks_of(&outcome), [(143, 0)]);
    assert!(message_of(&outcome).contains("ran longer than its 1 s"), "{outcome:?}");
}

#[tokio::test]
async fn programs_know_which_job_they_are() {
    let tasks = r#"[{"task_number":1,"command":"printenv","args":["AGQ_JOB_ID","AGQ_EPOCH","MINE"],
        "env":{"MINE":"yes"}}]"#;
    let (_, text) = outcome(tasks, "{}").await;
    assert_eq!(text, "1 job_1\n7\nyes\n");
}

#[tokio::test]
async fn independent_tasks_run_side_by_side() {
    // Each of the two waits for the other through a pipe: one after the other they would wait for ever.
    let dir = tempfile::tempdir().unwrap();
    let pipe = |name: &str| {
        let path = dir.path().join(name);
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).unwrap();
        path.display().to_string()
    };
    let (there, back) = (pipe("there"), pipe("back"));
    let tasks = format!(
        r#""allow_shell_characters":true,"tasks":[
        {{"task_number":1,"command":"sh","args":["-c","echo hello > {there}; cat {back}"],"needs":[]}},
        {{"task_number":2,"command":"sh","args":["-c","cat {there}; echo there > {back}"]}},
        {{"task_number":3,"command":"echo","args":["last"],"needs":[1,2]}}]"#
    );
    let (outcome, said) = run_claim(&claim(&tasks, ""), None).await;
    assert!(matches!(outcome, Outcome::Completed(_)), "{outcome:?}");
    let numbers: Vec<_> = results(&outcome).tasks.iter().map(|task| task.task_number).collect();
    assert_eq!(numbers, [1, 2, 3]);
    assert!(said.text.ends_with("3 last\n"), "{}", said.text);
    assert_eq!(said.finished, [0; 0], "such a plan has no checkpoints");
}

#[tokio::test]
async fn the_first_task_that_fails_stops_those_beside_it_and_keeps_others_from_starting() {
    let plan = r#""allow_shell_characters":true,"tasks":[
        {"task_number":1,"command":"sh","args":["-c","trap 'echo stopped; exit 0' TERM; echo ready; sleep 1000 & wait"]},
        {"task_number":2,"command":"sh","args":["-c","exit 3"],"needs":[]},
        {"task_number":3,"command":"echo","args":["never"],"needs":[1]}]"#;
    let (outcome, _) = run_claim(&claim(plan, ""), None).await;
    assert_eq!(message_of(&outcome), "task 2 (sh) ended with exit code 3");
    let numbers: Vec<_> = results(&outcome).tasks.iter().map(|task| task.task_number).collect();
    assert_eq!(numbers, [1, 2]);
}

#[tokio::test]
async fn a_cancel_reaches_all_tasks_that_run() {
    let task = |n: u32| {
        format!(r#"{{"task_number":{n},"command":"sh","needs":[],"args":["-c","echo up{n}; exec sleep 1000"]}}"#)
    };
    let plan = format!(r#""allow_shell_characters":true,"tasks":[{},{},{}]"#, task(1), task(2), task(3));
    let (outcome, _) = run_claim(&claim(&plan, ""), Some(("up1 up2 up3", Halt::Cancelled))).await;
    assert!(message_of(&outcome).starts_with("cancelled while task "), "{outcome:?}");
    assert_eq!(tasks_of(&outcome), [(143, 4); 3]);
    let (outcome, _) = run_claim(&claim(&plan, ""), Some(("up1 up2 up3", Halt::Leaving))).await;
    assert_eq!(outcome, Outcome::Abandoned);
}

#[tokio::test]
async fn no_more_tasks_run_side_by_side_than_may() {
    let task =
        |n: u32| format!(r#"{{"task_number":{n},"command":"sh","needs":[],"args":["-c","echo up; exec sleep 1000"]}}"#);
    let plan = format!(r#""allow_shell_characters":true,"tasks":[{},{},{}]"#, task(1), task(2), task(3));
    for most in [1, 2] {
        let config = Config { task_concurrency: most, ..CONFIG.clone() };
        let (outcome, _) = run_with(&config, &claim(&plan, ""), Some(("up", Halt::Cancelled))).await;
        assert_eq!(tasks_of(&outcome).len(), most, "{outcome:?}");
    }
}

#[tokio::test]
async fn finished_tasks_are_said_and_do_not_run_again() {
    let tasks = r#""idempotent_tasks":true,"tasks":[{"task_number":1,"command":"echo","args":["1"]},
        {"task_number":2,"command":"echo","args":["22"]},{"task_number":3,"command":"cat","input_from_task":2}]"#;
    let (outcome, said) = run_claim(&claim(tasks, ""), None).await;
    assert_eq!(tasks_of(&outcome), [(0, 2), (0, 3), (0, 3)]);
    assert_eq!((said.kept, said.finished), (vec![], vec![1, 2, 3]));
    // The third task reads what the second wrote, which runs again therefore.
    let progress = r#","progress":{"tasks":[{"task_number":1,"exit_code":0,"duration_ms":5,"stdout_bytes":77},
        {"task_number":2,"exit_code":0,"stdout_bytes":88}]}"#;
    let (outcome, said) = run_claim(&claim(tasks, progress), None).await;
    assert_eq!(tasks_of(&outcome), [(0, 77), (0, 3), (0, 3)]);
    assert_eq!((said.text.as_str(), said.kept, said.finished), ("2 22\n3 22\n", vec![1], vec![2, 3]));
    // Nothing is left to do.
    let all = r#","progress":{"tasks":[{"task_number":1,"exit_code":0},{"task_number":2,"exit_code":0},
        {"task_number":3,"exit_code":0}]}"#;
    let (outcome, said) = run_claim(&claim(tasks, all), None).await;
    assert!(matches!(outcome, Outcome::Completed(_)) && said.text.is_empty(), "{outcome:?} {said:?}");
    // A plan that does not say so has none.
    let (outcome, _) = run_claim(&claim(&tasks.replace("true", "false"), all), None).await;
    assert_eq!(tasks_of(&outcome), [(0, 2), (0, 3), (0, 3)]);
}
