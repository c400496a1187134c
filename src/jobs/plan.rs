//! Plans: ordered lists of tasks, checked whole before any of it is kept.
//!
//! Workers that exist die on a plan they find invalid, so what they would refuse is refused here, naming task and
//! argument. A plan has one canonical JSON (fields in a fixed order, absent ones absent, no blanks): the same content
//! is the same bytes, and a plan without an id of its own is named after them.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use crate::jobs::error::{Error, Result, shown};
use crate::jobs::json::{self, Object};

/// Bytes of a plan's JSON at most.
pub const MAX_PLAN_BYTES: usize = 1 << 20;
/// Tasks of a plan at most.
pub const MAX_TASKS: usize = 100;
/// Bytes of a plan's description at most.
pub const MAX_DESCRIPTION_BYTES: usize = 1024;
/// Bytes of a command at most.
pub const MAX_COMMAND_BYTES: usize = 4096;
/// Arguments of a task at most.
pub const MAX_ARGS: usize = 256;
/// Bytes of an argument, or of an environment variable's value, at most.
pub const MAX_ARG_BYTES: usize = 4096;
/// Seconds that a task may be given at most.
pub const MAX_TIMEOUT_SECS: u64 = 86_400;
/// Environment variables of a task at most.
pub const MAX_NAMES: usize = 256;
/// Bytes of an id, of an environment variable's name, or of a tool's, at most.
pub const MAX_ID_BYTES: usize = 128;

/// One command with its arguments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Task {
    /// Its place in the plan, from 1.
    pub task_number: u32,
    /// The program.
    pub command: String,
    /// Its arguments; `{{input.name}}` in them stands for a field of the job's input.
    pub args: Vec<String>,
    /// Seconds it may run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_secs: Option<u64>,
    /// The earlier task whose stdout is its stdin.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_from_task: Option<u32>,
    /// Its environment variables.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// The earlier tasks that must be done before it starts; see [`Plan::is_parallel`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub needs: Option<Vec<u32>>,
}

/// An ordered list of tasks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// The id its author gave it; not part of its content.
    #[serde(skip)]
    pub plan_id: Option<String>,
    /// What it is for, in its author's words.
    #[serde(rename = "plan_description", skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The tasks, in order.
    pub tasks: Vec<Task>,
    /// True when each task may run twice, so that a further attempt runs only what is not finished.
    #[serde(skip_serializing_if = "is_false")]
    pub idempotent_tasks: bool,
    /// True when commands and arguments may hold shell characters; its jobs are for JOB.CLAIM only.
    #[serde(skip_serializing_if = "is_false")]
    pub allow_shell_characters: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_false(flag: &bool) -> bool {
    !*flag
}

/// Checks an id that a client chose: `[A-Za-z0-9_-]{1,128}`.
///
/// # Errors
/// When it is none; `field` names where it stands.
pub fn check_id(id: &[u8], field: &str) -> Result<()> {
    let fits = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    if (1..=MAX_ID_BYTES).contains(&id.len()) && id.iter().all(fits) {
        return Ok(());
    }
    Err(Error::refused(format!(
        "{field} must be 1 to {MAX_ID_BYTES} characters of A-Z, a-z, 0-9, '_' and '-', not '{}'",
        shown(id)
    )))
}

impl Plan {
    /// Reads and checks a plan as PLAN.SUBMIT takes it. A `job_id`, which existing planners send along, is dropped.
    ///
    /// # Errors
    /// When anything about it is not sound.
    pub fn parse(text: &[u8]) -> Result<Plan> {
        check_size(text)?;
        let mut object = Object::parse(text, "plan")?;
        object.take("job_id");
        Plan::read(object)
    }

    /// Reads and checks a plan that stands in a document which [`json::parse`] has seen.
    ///
    /// # Errors
    /// As [`Plan::parse`].
    pub fn of(raw: &RawValue) -> Result<Plan> {
        check_size(raw.get().as_bytes())?;
        Plan::read(Object::of(raw, "plan")?)
    }

    fn read(mut object: Object<'_>) -> Result<Plan> {
        let plan_id = object.string("plan_id")?;
        let description = object.string("plan_description")?;
        let idempotent_tasks = object.boolean("idempotent_tasks")?.unwrap_or(false);
        let allow_shell_characters = object.boolean("allow_shell_characters")?.unwrap_or(false);
        let tasks = object.array("tasks")?.ok_or_else(|| Error::refused("plan.tasks is missing"))?;
        object.finish()?;
        if let Some(id) = &plan_id {
            check_id(id.as_bytes(), "plan.plan_id")?;
        }
        if let Some(text) = &description
            && text.len() > MAX_DESCRIPTION_BYTES
        {
            let length = text.len();
            return Err(Error::refused(format!(
                "plan.plan_description is {length} bytes long, at most {MAX_DESCRIPTION_BYTES} are allowed"
            )));
        }
        if tasks.is_empty() || tasks.len() > MAX_TASKS {
            let count = tasks.len();
            return Err(Error::refused(format!("plan.tasks must hold 1 to {MAX_TASKS} tasks, not {count}")));
        }
        let read = |(place, raw)| Task::read(raw, place + 1, allow_shell_characters);
        let tasks = tasks.into_iter().enumerate().map(read).collect::<Result<_>>()?;
        Ok(Plan { plan_id, description, tasks, idempotent_tasks, allow_shell_characters })
    }

    /// The canonical JSON: content only, without the id.
    #[must_use]
    pub fn canonical(&self) -> String {
        to_json(self)
    }

    /// The id: the author's, or `plan_` and 32 hex digits of the SHA-256 of the canonical JSON.
    #[must_use]
    pub fn id(&self) -> String {
        self.plan_id.clone().unwrap_or_else(|| content_id(&self.canonical()))
    }

    /// True when workers that know nothing but commands, arguments and one task after the other can run it: no task has
    /// variables or needs, and shell characters are not allowed.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        !self.allow_shell_characters && !self.is_parallel() && self.tasks.iter().all(|task| task.env.is_empty())
    }
}

/// The id of content that was given none.
#[must_use]
pub fn content_id(canonical: &str) -> String {
    let digest = Sha256::digest(canonical.as_bytes());
    digest[..16].iter().fold("plan_".to_owned(), |id, byte| format!("{id}{byte:02x}"))
}

/// A plan's JSON with its id in front, as GET and PLAN.GET show it.
#[must_use]
pub fn with_id(id: &str, canonical: &str) -> String {
    // The canonical form is an object that is never empty, and an id needs no escapes.
    format!("{{\"plan_id\":\"{id}\",{}", canonical.strip_prefix('{').unwrap_or(canonical))
}

/// JSON of what cannot fail to have one: strings, integers and booleans under string keys.
fn to_json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

fn check_size(text: &[u8]) -> Result<()> {
    if text.len() <= MAX_PLAN_BYTES {
        return Ok(());
    }
    Err(Error::refused(format!("plan is {} bytes long, at most {MAX_PLAN_BYTES} are allowed", text.len())))
}

impl Task {
    fn read(raw: &RawValue, number: usize, allow_shell: bool) -> Result<Task> {
        let at = format!("task {number}");
        let mut object = Object::of(raw, &at)?;
        let missing = |field: &str| Error::refused(format!("{at}.{field} is missing"));
        let task_number = object.take("task_number").ok_or_else(|| missing("task_number"))?;
        check_number(task_number, number)?;
        let command = object.string("command")?.ok_or_else(|| missing("command"))?;
        let args = object.take("args").map(|raw| json::strings(raw, &format!("{at} args"))).transpose()?;
        let args = args.unwrap_or_default();
        let timeout_secs = object.integer("timeout_secs", 1..=MAX_TIMEOUT_SECS)?;
        let input_from_task = read_input_from(&mut object, number, &at)?;
        let env = object.object("env")?.map(|env| read_env(env, &at)).transpose()?.unwrap_or_default();
        let needs = read_needs(&mut object, number, &at)?;
        object.finish()?;
        if !(1..=MAX_COMMAND_BYTES).contains(&command.len()) {
            let length = command.len();
            return Err(Error::refused(format!(
                "{at} command is {length} bytes long, expected 1 to {MAX_COMMAND_BYTES}"
            )));
        }
        check_text(&command, allow_shell, &format!("{at} command"))?;
        check_args(&args, allow_shell, &at)?;
        // A plan has at most MAX_TASKS tasks.
        let task_number = u32::try_from(number).unwrap_or(u32::MAX);
        Ok(Task { task_number, command, args, timeout_secs, input_from_task, env, needs })
    }
}

fn check_number(raw: &RawValue, number: usize) -> Result<()> {
    if serde_json::from_str::<u64>(raw.get()).is_ok_and(|found| found == number as u64) {
        return Ok(());
    }
    let found = shown(raw.get().as_bytes());
    Err(Error::refused(format!("task {number} has task_number {found}: tasks are numbered 1, 2, 3 … in order")))
}

fn read_input_from(object: &mut Object<'_>, number: usize, at: &str) -> Result<Option<u32>> {
    let Some(raw) = object.take("input_from_task") else { return Ok(None) };
    match serde_json::from_str::<u32>(raw.get()) {
        Ok(from) if from >= 1 && (from as usize) < number => Ok(Some(from)),
        _ => {
            let found = shown(raw.get().as_bytes());
            Err(Error::refused(format!("{at} input_from_task is {found}: it must be the number of an earlier task")))
        }
    }
}

fn read_env(env: Object<'_>, at: &str) -> Result<BTreeMap<String, String>> {
    let mut variables = BTreeMap::new();
    for (name, raw) in env.rest() {
        let field = format!("{at} env.{}", shown(name.as_bytes()));
        let is_name = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
            && (1..=MAX_ID_BYTES).contains(&name.len())
            && !name.starts_with(|c: char| c.is_ascii_digit());
        if !is_name {
            return Err(Error::refused(format!(
                "{field} is not a variable's name: 1 to {MAX_ID_BYTES} letters, digits and '_', no digit first"
            )));
        }
        if name.starts_with("AGQ_") {
            return Err(Error::refused(format!("{field}: names that begin with AGQ_ are set by the worker")));
        }
        let value = json::string(raw, &field)?;
        if value.len() > MAX_ARG_BYTES || value.contains('\0') {
            let length = value.len();
            return Err(Error::refused(format!(
                "{field} is {length} bytes long, expected at most {MAX_ARG_BYTES} and no NUL among them"
            )));
        }
        variables.insert(name.into_owned(), value.into_owned());
    }
    check_count(variables.len(), MAX_NAMES, &format!("{at} env"))?;
    Ok(variables)
}

fn check_count(count: usize, most: usize, field: &str) -> Result<()> {
    if count <= most {
        return Ok(());
    }
    Err(Error::refused(format!("{field} has {count} entries, at most {most} are allowed")))
}

fn check_args(args: &[String], allow_shell: bool, at: &str) -> Result<()> {
    check_count(args.len(), MAX_ARGS, &format!("{at} args"))?;
    for (place, arg) in args.iter().enumerate() {
        let field = format!("{at} args[{place}]");
        if arg.len() > MAX_ARG_BYTES {
            let length = arg.len();
            return Err(Error::refused(format!("{field} is {length} bytes long, at most {MAX_ARG_BYTES} are allowed")));
        }
        check_text(arg, allow_shell, &field)?;
    }
    Ok(())
}

fn read_needs(object: &mut Object<'_>, number: usize, at: &str) -> Result<Option<Vec<u32>>> {
    let Some(raws) = object.array("needs")? else { return Ok(None) };
    let mut needs = Vec::new();
    for (place, raw) in raws.into_iter().enumerate() {
        let found = shown(raw.get().as_bytes());
        match serde_json::from_str::<u32>(raw.get()) {
            Ok(need) if needs.contains(&need) => {
                return Err(Error::refused(format!(
                    "{at} needs[{place}] is {found}, which it names already: name each task once"
                )));
            }
            Ok(need) if need >= 1 && (need as usize) < number => needs.push(need),
            _ => {
                return Err(Error::refused(format!(
                    "{at} needs[{place}] is {found}: it must be the number of an earlier task"
                )));
            }
        }
    }
    Ok(Some(needs))
}

/// Checks a tool's name: what a comma-separated list of capabilities can hold.
///
/// # Errors
/// When it is empty, too long, or holds a comma, a blank or a control character.
pub fn check_tool(name: &str, field: &str) -> Result<()> {
    let fits = |c: char| c != ',' && !c.is_whitespace() && !c.is_control();
    if (1..=MAX_ID_BYTES).contains(&name.len()) && name.chars().all(fits) {
        return Ok(());
    }
    Err(Error::refused(format!(
        "{field} must be 1 to {MAX_ID_BYTES} bytes without commas, blanks and control characters, not '{}'",
        shown(name.as_bytes())
    )))
}

/// Checks a command or an argument for what existing workers refuse.
fn check_text(text: &str, allow_shell: bool, field: &str) -> Result<()> {
    let bad = |what: String, way_out: &str| Err(Error::refused(format!("{field} holds {what}{way_out}")));
    for c in text.chars() {
        if c.is_control() && c != '\t' {
            return bad(format!("the control character U+{:04X}", u32::from(c)), ": only tab is allowed");
        }
        if is_invisible(c) {
            return bad(format!("the invisible character U+{:04X}", u32::from(c)), "");
        }
        if !allow_shell && matches!(c, '&' | '|' | ';' | '$' | '`') {
            let way_out = ": no shell runs it; \"allow_shell_characters\": true in the plan allows it";
            return bad(format!("the shell character '{c}'"), way_out);
        }
    }
    if text.starts_with("..") {
        return bad("a leading '..'".to_owned(), ": give a path that does not climb");
    }
    match ["../", "..\\"].into_iter().find(|climb| text.contains(climb)) {
        Some(climb) => bad(format!("'{climb}'"), ": give a path that does not climb"),
        None => Ok(()),
    }
}

/// Characters that change the direction of text, or have no width.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2064}'
        | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
