//! `{{input.name}}` in a task's arguments, replaced from the job's input.
//!
//! The name is `[A-Za-z0-9_]+`; one pass, and all else is literal: what an input brings in is never looked at again.
//! A scalar stands as its text, byte for byte as it was sent; null is empty. Arrays and objects have no such text, so
//! an input that holds one where a plan needs a scalar is refused at submit, as is one that lacks the field.

use std::borrow::Cow;
use std::collections::HashMap;

use serde_json::value::RawValue;

use crate::jobs::error::{Error, Result};
use crate::jobs::json::{self, Object};
use crate::jobs::plan::Plan;

const OPEN: &str = "{{input.";
const CLOSE: &str = "}}";

/// A piece of an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part<'a> {
    /// Stands as it is.
    Literal(&'a str),
    /// The name of an input field, whose text stands here.
    Field(&'a str),
}

/// The pieces of an argument, in order. Empty literals are left out.
#[must_use]
pub fn parts(argument: &str) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let mut literal = 0;
    let mut at = 0;
    while let Some(found) = argument[at..].find(OPEN) {
        let open = at + found;
        let name_start = open + OPEN.len();
        let rest = &argument[name_start..];
        let length = rest.bytes().take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'_').count();
        if length == 0 || !rest[length..].starts_with(CLOSE) {
            // `{{{input.x}}` holds a placeholder that begins one byte later.
            at = open + 1;
            continue;
        }
        if literal < open {
            parts.push(Part::Literal(&argument[literal..open]));
        }
        parts.push(Part::Field(&rest[..length]));
        at = name_start + length + CLOSE.len();
        literal = at;
    }
    if literal < argument.len() {
        parts.push(Part::Literal(&argument[literal..]));
    }
    parts
}

/// The fields of a job's input.
#[derive(Debug)]
pub struct Input<'a> {
    fields: HashMap<Cow<'a, str>, &'a RawValue>,
}

impl<'a> Input<'a> {
    /// Reads an input, which must be an object; `what` names it in errors (`input`, `inputs[3]`).
    ///
    /// # Errors
    /// When it is no JSON object, or one that [`json::parse`] refuses.
    pub fn parse(text: &'a [u8], what: &str) -> Result<Input<'a>> {
        Input::of(json::parse(text, what)?, what)
    }

    /// The input that [`json::parse`] has seen already, alone or as a part of a larger document.
    ///
    /// # Errors
    /// When it is no object.
    pub fn of(raw: &'a RawValue, what: &str) -> Result<Input<'a>> {
        Ok(Input { fields: Object::of(raw, what)?.rest().collect() })
    }

    /// The text of a scalar field: empty for null. `Err` says what stands there instead.
    fn text(&self, name: &str) -> std::result::Result<Cow<'a, str>, &'static str> {
        let raw = self.fields.get(name).ok_or("absent")?;
        match json::kind(raw) {
            "null" => Ok(Cow::Borrowed("")),
            "a string" => json::string(raw, name).map_err(|_| "a broken string"),
            "a number" | "a boolean" => Ok(Cow::Borrowed(raw.get())),
            other => Err(other),
        }
    }
}

/// What a plan needs of every input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Needs {
    /// (task number, argument's place, field).
    fields: Vec<(u32, usize, String)>,
}

impl Needs {
    /// The fields that the arguments of a plan name, in their order.
    #[must_use]
    pub fn of(plan: &Plan) -> Needs {
        let mut fields = Vec::new();
        for task in &plan.tasks {
            for (place, argument) in task.args.iter().enumerate() {
                for part in parts(argument) {
                    if let Part::Field(name) = part {
                        fields.push((task.task_number, place, name.to_owned()));
                    }
                }
            }
        }
        Needs { fields }
    }

    /// Checks that an input has what the plan needs; `what` names it in errors (`input`, `inputs[3]`).
    ///
    /// # Errors
    /// `ERR inputs[3]: task 2 args[0] needs input.x`.
    pub fn check(&self, input: &Input<'_>, what: &str) -> Result<()> {
        for (task, place, name) in &self.fields {
            match input.text(name) {
                Ok(_) => {}
                Err("absent") => {
                    return Err(Error::refused(format!("{what}: task {task} args[{place}] needs input.{name}")));
                }
                Err(kind) => {
                    return Err(Error::refused(format!(
                        "{what}: task {task} args[{place}] needs input.{name} as a string, number, boolean or null, \
                         not {kind}"
                    )));
                }
            }
        }
        Ok(())
    }
}

/// An argument with the input's texts in place of its fields.
///
/// # Errors
/// When a field is absent, or an array or object; [`Needs::check`] finds that at submit.
pub fn expand(argument: &str, input: &Input<'_>) -> Result<String> {
    let mut out = String::with_capacity(argument.len());
    for part in parts(argument) {
        match part {
            Part::Literal(text) => out.push_str(text),
            Part::Field(name) => {
                let text = input.text(name);
                out.push_str(&text.map_err(|kind| Error::refused(format!("input.{name} is {kind}")))?);
            }
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const INPUT: &str =
        r#"{"a":"x y","n":1234567890123456789012345.50,"b":true,"z":null,"e":"\u00e9{{input.a}}","l":[1],"o":{}}"#;

    fn expanded(argument: &str) -> String {
        expand(argument, &Input::parse(INPUT.as_bytes(), "input").unwrap()).unwrap()
    }

    #[test]
    fn scalars_stand_as_their_text() {
        assert_eq!(expanded("--x={{input.a}}!"), "--x=x y!");
        assert_eq!(expanded("{{input.n}}{{input.b}}{{input.z}}"), "1234567890123456789012345.50true");
        assert_eq!(expanded("{{input.e}}"), "é{{input.a}}", "one pass only");
    }

    #[test]
    fn all_else_is_literal() {
        for text in ["{{input.}}", "{{input.a-b}}", "{{ input.a }}", "{{input.a}", "{{other.a}}", "{{input", "}}", ""] {
            assert_eq!(expanded(text), text);
        }
        assert_eq!(expanded("{{{input.b}}}"), "{true}");
        assert_eq!(expanded("{{input.{{input.b}}"), "{{input.true");
    }

    #[test]
    fn an_input_is_checked_against_the_plan() {
        let plan = br#"{"tasks":[{"task_number":1,"command":"a","args":[]},
            {"task_number":2,"command":"b","args":["{{input.x}}","{{input.l}}"]}]}"#;
        let needs = Needs::of(&Plan::parse(plan).unwrap());
        let check = |input: &str| {
            let input = Input::parse(input.as_bytes(), "inputs[3]")?;
            needs.check(&input, "inputs[3]")
        };
        assert!(check(r#"{"x":1,"l":null,"more":[]}"#).is_ok());
        assert_eq!(check("{}").unwrap_err().to_string(), "ERR inputs[3]: task 2 args[0] needs input.x");
        assert_eq!(
            check(r#"{"x":1,"l":[1]}"#).unwrap_err().to_string(),
            "ERR inputs[3]: task 2 args[1] needs input.l as a string, number, boolean or null, not an array"
        );
        assert_eq!(check("[]").unwrap_err().to_string(), "ERR inputs[3] must be an object, not an array");
    }

    proptest! {
        #[test]
        fn parts_hold_every_byte_of_the_argument(argument in r"(\{|\}|\{\{input\.|[a-z_]|é){0,12}") {
            let joined: String = parts(&argument)
                .into_iter()
                .map(|part| match part {
                    Part::Literal(text) => text.to_owned(),
                    Part::Field(name) => format!("{OPEN}{name}{CLOSE}"),
                })
                .collect();
            prop_assert_eq!(joined, argument);
        }
    }
}
