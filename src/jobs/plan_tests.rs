//! Tests of [`super`].

use super::*;
use proptest::prelude::*;

fn error(text: &str) -> String {
    Plan::parse(text.as_bytes()).unwrap_err().to_string()
}

fn one_task(fields: &str) -> String {
    format!(r#"{{"tasks":[{{"task_number":1,{fields}}}]}}"#)
}

#[test]
fn the_same_content_is_the_same_plan() {
    let written = br#" { "tasks" : [ { "args":["a\u0062"], "timeout_secs":null, "command":"echo", "task_number":1 } ],
        "allow_shell_characters": false, "job_id": "job_1" } "#;
    let plan = Plan::parse(written).unwrap();
    assert_eq!(plan.canonical(), r#"{"tasks":[{"task_number":1,"command":"echo","args":["ab"]}]}"#);
    assert_eq!(plan.id(), content_id(&plan.canonical()));
    assert_eq!(plan.id(), "plan_0f78d2f9d60f892af10d8a8420790165");
    let named = Plan::parse(&[br#"{"plan_id":"p-1","#, &plan.canonical().as_bytes()[1..]].concat()).unwrap();
    assert_eq!((named.id().as_str(), named.canonical()), ("p-1", plan.canonical()));
    assert_eq!(with_id("p-1", &plan.canonical()), format!(r#"{{"plan_id":"p-1",{}"#, &plan.canonical()[1..]));
}

#[test]
fn every_field_is_kept() {
    let text = concat!(
        r#"{"plan_description":"d","tasks":[{"task_number":1,"command":"a","args":[]},"#,
        r#"{"task_number":2,"command":"b","args":["{{input.x}}"],"timeout_secs":86400,"input_from_task":1,"#,
        r#""env":{"A":"1","B_2":""},"needs":[1]}],"idempotent_tasks":true,"allow_shell_characters":true}"#
    );
    let plan = Plan::parse(text.as_bytes()).unwrap();
    assert_eq!(plan.canonical(), text);
    assert!(!plan.is_plain());
    assert!(Plan::parse(one_task(r#""command":"a""#).as_bytes()).unwrap().is_plain());
}

#[test]
fn tasks_are_numbered_in_order() {
    assert_eq!(error("{}"), "ERR plan.tasks is missing");
    assert_eq!(error(r#"{"tasks":[]}"#), "ERR plan.tasks must hold 1 to 100 tasks, not 0");
    let number = |n: usize| format!(r#"{{"task_number":{n},"command":"a"}}"#);
    let tasks = |count: usize| {
        let all: Vec<String> = (1..=count).map(number).collect();
        format!(r#"{{"tasks":[{}]}}"#, all.join(","))
    };
    assert_eq!(Plan::parse(tasks(100).as_bytes()).unwrap().tasks.len(), 100);
    assert_eq!(error(&tasks(101)), "ERR plan.tasks must hold 1 to 100 tasks, not 101");
    assert_eq!(
        error(&format!(r#"{{"tasks":[{},{}]}}"#, number(1), number(3))),
        "ERR task 2 has task_number 3: tasks are numbered 1, 2, 3 … in order"
    );
    assert_eq!(error(r#"{"tasks":[{"command":"a"}]}"#), "ERR task 1.task_number is missing");
}

#[test]
fn input_comes_from_an_earlier_task() {
    for from in ["0", "1", "2", "-1", "\"1\""] {
        let text = one_task(&format!(r#""command":"a","input_from_task":{from}"#));
        assert!(error(&text).starts_with("ERR task 1 input_from_task is "), "{from}");
    }
}

#[test]
fn needs_are_numbers_of_earlier_tasks_each_once() {
    let third = |needs: &str| {
        let task = |number: u32| format!(r#"{{"task_number":{number},"command":"a"}}"#);
        let last = format!(r#"{{"task_number":3,"command":"a","needs":{needs}}}"#);
        format!(r#"{{"tasks":[{},{},{last}]}}"#, task(1), task(2))
    };
    for (needs, found) in [("[2,1]", Some(vec![2, 1])), ("[]", Some(vec![])), ("null", None)] {
        let plan = Plan::parse(third(needs).as_bytes()).unwrap();
        assert_eq!((plan.is_parallel(), plan.is_plain()), (found.is_some(), found.is_none()), "{needs}");
        assert_eq!(plan.tasks[2].needs, found);
    }
    for (needs, found) in
        [("[1,3]", "1] is 3"), ("[0]", "0] is 0"), ("[-1]", "0] is -1"), ("[\"git\"]", "0] is \"git\"")]
    {
        let text = format!("ERR task 3 needs[{found}: it must be the number of an earlier task");
        assert_eq!(error(&third(needs)), text);
    }
    assert_eq!(error(&third("[1,2,1]")), "ERR task 3 needs[2] is 1, which it names already: name each task once");
    assert_eq!(error(&third("1")), "ERR task 3.needs must be an array, not 1");
}

#[test]
fn sizes_are_bounded_to_the_byte() {
    let command = |length: usize| one_task(&format!(r#""command":"{}""#, "é".repeat(length / 2)));
    assert!(Plan::parse(command(4096).as_bytes()).is_ok());
    assert_eq!(error(&command(4098)), "ERR task 1 command is 4098 bytes long, expected 1 to 4096");
    assert_eq!(error(&command(0)), "ERR task 1 command is 0 bytes long, expected 1 to 4096");
    let args = |count: usize, length: usize| {
        let args = vec![format!("\"{}\"", "x".repeat(length)); count];
        one_task(&format!(r#""command":"a","args":[{}]"#, args.join(",")))
    };
    assert!(Plan::parse(args(256, 4000).as_bytes()).is_ok());
    assert_eq!(error(&args(257, 1)), "ERR task 1 args has 257 entries, at most 256 are allowed");
    assert_eq!(error(&args(2, 4097)), "ERR task 1 args[0] is 4097 bytes long, at most 4096 are allowed");
    let described = |length| format!(r#"{{"plan_description":"{}",{}"#, "d".repeat(length), &command(2)[1..]);
    assert!(Plan::parse(described(1024).as_bytes()).is_ok());
    assert_eq!(error(&described(1025)), "ERR plan.plan_description is 1025 bytes long, at most 1024 are allowed");
    for secs in ["0", "86401", "1.5", "\"5\""] {
        let text = one_task(&format!(r#""command":"a","timeout_secs":{secs}"#));
        assert!(error(&text).starts_with("ERR task 1.timeout_secs must be an integer from 1 to 86400, not "), "{secs}");
    }
    assert!(error(&" ".repeat(MAX_PLAN_BYTES + 1)).starts_with("ERR plan is 1048577 bytes long"));
}

#[test]
fn dangerous_text_is_refused_by_task_and_argument() {
    let with_arg = |arg: &str| one_task(&format!(r#""command":"a","args":["x","{arg}"]"#));
    for good in ["a\\tb", "a..b", "a/..", "é 日本", "{{input.x}}", "a.. /b", "(x) > y < z # ' %"] {
        assert!(Plan::parse(with_arg(good).as_bytes()).is_ok(), "{good}");
    }
    let bad = [
        ("a\\nb", "the control character U+000A: only tab is allowed"),
        ("\\u0000", "the control character U+0000: only tab is allowed"),
        ("\\u007f", "the control character U+007F: only tab is allowed"),
        ("\\u0085", "the control character U+0085: only tab is allowed"),
        ("\\u202e", "the invisible character U+202E"),
        ("\\u200b", "the invisible character U+200B"),
        ("\\ufeff", "the invisible character U+FEFF"),
        ("a/../b", "'../': give a path that does not climb"),
        ("a\\\\..\\\\b", "'..\\': give a path that does not climb"),
        ("..", "a leading '..': give a path that does not climb"),
        ("..x", "a leading '..': give a path that does not climb"),
    ];
    for (arg, what) in bad {
        assert_eq!(error(&with_arg(arg)), format!("ERR task 1 args[1] holds {what}"));
        let command = one_task(&format!(r#""command":"{arg}""#));
        assert_eq!(error(&command), format!("ERR task 1 command holds {what}"));
    }
    for shell in ["&", "|", ";", "$", "`"] {
        let text = with_arg(&format!("a{shell}b"));
        assert!(error(&text).starts_with(&format!("ERR task 1 args[1] holds the shell character '{shell}'")));
        let allowed = format!(r#"{{"allow_shell_characters":true,{}"#, &text[1..]);
        assert!(!Plan::parse(allowed.as_bytes()).unwrap().is_plain());
    }
}

#[test]
fn unknown_and_repeated_fields_are_named() {
    let text = error(&one_task(r#""command":"a","cwd":"/""#));
    assert_eq!(text, "ERR task 1.cwd is not a known field: remove it, or check its spelling");
    assert_eq!(error(r#"{"tasks":[],"tasks":[]}"#), "ERR plan: the key 'tasks' stands twice in an object");
    assert!(
        error(r#"{"plan_id":"a b","tasks":[{"task_number":1,"command":"a"}]}"#).starts_with("ERR plan.plan_id must")
    );
}

#[test]
fn variables_are_checked() {
    let with = |fields: &str| one_task(&format!(r#""command":"a",{fields}"#));
    assert!(error(&with(r#""env":{"1A":"x"}"#)).starts_with("ERR task 1 env.1A is not a variable's name"));
    assert!(error(&with(r#""env":{"AGQ_X":"x"}"#)).contains("set by the worker"));
    assert_eq!(error(&with(r#""env":{"A":1}"#)), "ERR task 1 env.A must be a string, not 1");
    assert!(error(&with(r#""env":{"A":"\u0000"}"#)).contains("no NUL"));
}

fn plans() -> impl Strategy<Value = Plan> {
    let text = "[a-zA-Zé \t\"\\\\/{}.]{0,8}".prop_filter("climbs", |text| check_text(text, false, "").is_ok());
    let task = (
        "[a-zé\"\\\\]{1,6}",
        proptest::collection::vec(text, 0..4),
        proptest::option::of(1..=MAX_TIMEOUT_SECS),
        proptest::collection::btree_map("[A-Z_]{1,3}", "[^\0]{0,4}", 0..3),
        proptest::option::of(any::<proptest::sample::Index>()),
        any::<proptest::sample::Index>(),
    );
    let tasks = proptest::collection::vec(task, 1..5);
    (proptest::option::of(".{0,10}"), tasks, any::<bool>(), any::<bool>()).prop_map(
        |(description, tasks, idempotent_tasks, allow_shell_characters)| {
            let number = |(place, (command, args, timeout_secs, env, needs, from)): (
                usize,
                (_, _, _, _, Option<proptest::sample::Index>, proptest::sample::Index),
            )| Task {
                task_number: place as u32 + 1,
                command,
                args,
                timeout_secs,
                input_from_task: (place > 0).then(|| from.index(place) as u32 + 1),
                env,
                needs: needs.map(|need| if place > 0 { vec![need.index(place) as u32 + 1] } else { Vec::new() }),
            };
            let tasks = tasks.into_iter().enumerate().map(number).collect();
            Plan { plan_id: None, description, tasks, idempotent_tasks, allow_shell_characters }
        },
    )
}

proptest! {
    #[test]
    fn the_canonical_form_is_a_fixed_point(plan in plans()) {
        let canonical = plan.canonical();
        let again = Plan::parse(canonical.as_bytes()).unwrap();
        prop_assert_eq!(again.canonical(), canonical);
        prop_assert_eq!(again, plan);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = Plan::parse(&bytes);
    }

    #[test]
    fn arbitrary_words_never_panic(words in proptest::collection::vec(
        proptest::sample::select(vec!["{", "}", "[", "]", ":", ",", "\"tasks\"", "\"task_number\"", "\"command\"",
            "\"args\"", "\"env\"", "1", "-1", "null", "\"x\"", "\"\\ud800\""]), 0..40)) {
        let _ = Plan::parse(words.concat().as_bytes());
    }
}
