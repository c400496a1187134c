//! A command line as a plan of one task, for `agq add` and `agq array`. Nothing of it is a template by accident: words
//! that the server would read as one, or would refuse in a plan, go into the job's input.

use std::collections::BTreeMap;

use clap::Args;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};

use crate::jobs::plan::{MAX_TIMEOUT_SECS, Plan};
use crate::jobs::template;

/// What stands for an array's value.
const PLACE: &str = "{}";
/// The input's field that holds an array's value.
const VALUE: &str = "value";

/// What a command gets besides its words.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct Surroundings {
    /// A variable of the command's environment; may be given several times
    #[arg(long = "env", short, value_name = "NAME=VALUE", value_parser = super::inputs::parse_pair)]
    env: Vec<(String, String)>,
}

/// A plan of one task, and what its jobs are given.
#[derive(Debug)]
pub(super) struct Prepared {
    /// The plan's JSON.
    pub(super) plan: Box<RawValue>,
    /// The input of each job.
    pub(super) inputs: Vec<Box<RawValue>>,
}

/// One command. Its arguments stand in the input, so that commands that differ in them alone share a plan: plans are
/// kept until they are deleted.
///
/// # Errors
/// When the time is more than a task may have.
pub(super) fn single(words: &[String], around: &Surroundings, timeout_ms: Option<u64>) -> anyhow::Result<Prepared> {
    let (command, arguments) = split(words)?;
    let fields: BTreeMap<String, &str> =
        arguments.iter().enumerate().map(|(place, word)| (field(place), word.as_str())).collect();
    let args: Vec<String> = (0..arguments.len()).map(|place| format!("{{{{input.{}}}}}", field(place))).collect();
    let plain = words.iter().all(|word| is_plain(word));
    let plan = plan(command, &args, around, timeout_ms, plain)?;
    Ok(Prepared { plan, inputs: vec![to_raw_value(&fields)?] })
}

/// A command for each value, which stands wherever `{}` does in its arguments.
///
/// # Errors
/// As [`single`], and for a `{}` in the program's name.
pub(super) fn each(
    words: &[String],
    values: &[String],
    around: &Surroundings,
    timeout_ms: Option<u64>,
) -> anyhow::Result<Prepared> {
    let (command, arguments) = split(words)?;
    anyhow::ensure!(!command.contains(PLACE), "'{command}': {PLACE} may stand in arguments, not in the program's name");
    let value_needed = format!("{{{{input.{VALUE}}}}}");
    let (mut args, mut whole) = (Vec::new(), Vec::new());
    for (place, word) in arguments.iter().enumerate() {
        // A brace beside `{}` would make another template of it than the one that is meant.
        let clean = word.split(PLACE).all(|piece| !piece.ends_with('{') && !piece.starts_with('}'));
        if clean && fits(word, true) {
            args.push(word.replace(PLACE, &value_needed));
        } else {
            args.push(format!("{{{{input.{}}}}}", field(place)));
            whole.push((field(place), word));
        }
    }
    let plain = words.iter().chain(values).all(|word| is_plain(word));
    let plan = plan(command, &args, around, timeout_ms, plain)?;
    let input = |value: &String| {
        let mut fields: BTreeMap<&str, String> = BTreeMap::from([(VALUE, value.clone())]);
        fields.extend(whole.iter().map(|(name, word)| (name.as_str(), word.replace(PLACE, value))));
        to_raw_value(&fields)
    };
    Ok(Prepared { plan, inputs: values.iter().map(input).collect::<Result<_, _>>()? })
}

fn split(words: &[String]) -> anyhow::Result<(&String, &[String])> {
    words.split_first().ok_or_else(|| anyhow::anyhow!("a command is needed, as in: -- sort -rn numbers.txt"))
}

/// The input's field that holds an argument.
fn field(place: usize) -> String {
    format!("arg{}", place + 1)
}

fn plan(
    command: &str,
    args: &[String],
    around: &Surroundings,
    timeout_ms: Option<u64>,
    plain: bool,
) -> anyhow::Result<Box<RawValue>> {
    let mut task = json!({"task_number": 1, "command": command, "args": args});
    if !around.env.is_empty() {
        let env: serde_json::Map<String, Value> =
            around.env.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
        task["env"] = env.into();
    }
    if let Some(timeout_ms) = timeout_ms {
        // The job's own time is what ends it; the worker would stop a task after its own time without this.
        let seconds = timeout_ms.div_ceil(1_000);
        anyhow::ensure!(seconds <= MAX_TIMEOUT_SECS, "a command may take a day at most, not {seconds} s");
        task["timeout_secs"] = (seconds + 1).min(MAX_TIMEOUT_SECS).into();
    }
    let mut plan = json!({"tasks": [task]});
    if !plain {
        plan["allow_shell_characters"] = true.into();
    }
    Ok(to_raw_value(&plan)?)
}

/// True when a word may be given to any worker, those that only know lists too.
fn is_plain(word: &str) -> bool {
    fits(word, false)
}

/// True when a word can stand in a plan as it is, and means itself there.
fn fits(word: &str, allow_shell_characters: bool) -> bool {
    let literal = template::parts(word).iter().all(|part| matches!(part, template::Part::Literal(_)));
    let plan = json!({
        "tasks": [{"task_number": 1, "command": "x", "args": [word]}],
        "allow_shell_characters": allow_shell_characters,
    });
    literal && Plan::parse(plan.to_string().as_bytes()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobs::template::{Input, expand};
    use proptest::prelude::*;

    fn texts(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    /// What a worker runs for each input.
    fn run(prepared: &Prepared) -> Vec<Vec<String>> {
        let plan = Plan::parse(prepared.plan.get().as_bytes()).unwrap();
        let args = |input: &RawValue| {
            let input = Input::parse(input.get().as_bytes(), "input").unwrap();
            plan.tasks[0].args.iter().map(|arg| expand(arg, &input).unwrap()).collect()
        };
        prepared.inputs.iter().map(|input| args(input)).collect()
    }

    #[test]
    fn commands_that_differ_in_arguments_alone_share_a_plan() {
        let plan = |words: &[&str]| single(&texts(words), &Surroundings::default(), None).unwrap().plan.to_string();
        assert_eq!(plan(&["echo", "a"]), plan(&["echo", "b"]));
        assert!(!plan(&["echo", "a"]).contains("allow_shell_characters"));
        assert!(plan(&["echo", "a;b"]).contains("allow_shell_characters"));
        assert!(plan(&["echo", "{{input.x}}"]).contains("allow_shell_characters"));
    }

    #[test]
    fn a_value_stands_wherever_the_braces_do() {
        let around = Surroundings::default();
        let words = texts(&["cp", "in-{}.png", "{}/{}", "{{input.value}}", "{{}}", "../{}"]);
        let prepared = each(&words, &texts(&["7", "a b;c"]), &around, None).unwrap();
        assert_eq!(
            run(&prepared),
            [
                texts(&["in-7.png", "7/7", "{{input.value}}", "{7}", "../7"]),
                texts(&["in-a b;c.png", "a b;c/a b;c", "{{input.value}}", "{a b;c}", "../a b;c"]),
            ]
        );
        assert!(prepared.plan.get().contains("in-{{input.value}}.png"), "{}", prepared.plan);
        assert!(each(&texts(&["x{}"]), &texts(&["1"]), &around, None).is_err());
        assert!(each(&[], &texts(&["1"]), &around, None).is_err());
    }

    #[test]
    fn a_time_bounds_the_task_too() {
        let plan = |ms| single(&texts(&["sleep"]), &Surroundings::default(), Some(ms));
        assert!(plan(1_500).unwrap().plan.get().contains("\"timeout_secs\":3"));
        assert!(plan(86_400_000).unwrap().plan.get().contains("\"timeout_secs\":86400"));
        assert!(plan(86_400_001).unwrap_err().to_string().contains("a day at most"));
    }

    proptest! {
        #[test]
        fn every_argument_arrives_as_it_was_typed(
            args in prop::collection::vec(r"(\{|\}|\{\}|\{\{input\.|arg1|value|\.\./|[;$|&\n]|é|x){0,8}", 0..4),
            values in prop::collection::vec(r"(\{\}|\{\{input\.value\}\}|[a;\n]){0,4}", 1..3),
        ) {
            let words: Vec<String> = std::iter::once("x".to_owned()).chain(args.clone()).collect();
            let around = Surroundings::default();
            prop_assert_eq!(run(&single(&words, &around, None).unwrap()), vec![args.clone()]);
            let expected: Vec<Vec<String>> = values
                .iter()
                .map(|value| args.iter().map(|arg| arg.replace(PLACE, value)).collect())
                .collect();
            prop_assert_eq!(run(&each(&words, &values, &around, None).unwrap()), expected);
        }
    }
}
