//! Which settings there are, by the flags' own definitions, and which of a file's are in force.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue};
use clap::{Arg, ArgAction, ArgMatches, Command};

use super::file::{Entry, File, Given};
use super::is_given;
use crate::cli::reload::Values;

/// The table of the server's flags.
pub(super) const SERVE: &str = "serve";
/// The table of the flags with which every command finds its server.
pub(super) const CLIENT: &str = "client";
/// Stands above all tables, since it means the same for every command.
const DATA_DIR: &str = "data-dir";

/// The table in which a command's flag is a key; `None` when it is no setting.
pub(super) fn table_of(command: &str, arg: &Arg) -> Option<String> {
    let key = arg.get_long()?;
    match (arg.get_env(), key) {
        (None, _) | (_, "config") => None,
        (_, DATA_DIR) => Some(String::new()),
        _ if arg.get_help_heading() == Some("Server") => Some(CLIENT.to_owned()),
        _ => Some(command.to_owned()),
    }
}

/// Every setting: the flags by table and key.
pub(super) fn all(root: &mut Command) -> BTreeMap<String, BTreeMap<String, Arg>> {
    fn collect(name: &str, command: &Command, into: &mut BTreeMap<String, BTreeMap<String, Arg>>) {
        for arg in command.get_arguments() {
            if let (Some(table), Some(key)) = (table_of(name, arg), arg.get_long()) {
                into.entry(table).or_default().entry(key.to_owned()).or_insert_with(|| arg.clone());
            }
        }
        // A table is a command's with all that it has below it.
        command.get_subcommands().for_each(|inner| collect(name, inner, into));
    }
    root.build();
    let mut tables = BTreeMap::new();
    for command in root.get_subcommands() {
        collect(command.get_name(), command, &mut tables);
    }
    tables
}

/// The server's flags by their long names, each as it is written.
pub(super) fn values(root: &Command, matches: &ArgMatches) -> Values {
    let named = |arg: &Arg| {
        let id = arg.get_id().as_str();
        let values = matches.try_get_raw(id).ok()??;
        Some((arg.get_long()?.to_owned(), values.map(ToOwned::to_owned).collect()))
    };
    root.get_arguments().filter_map(named).collect()
}

/// The server's command line that says these settings: what [`values`] reads, written again.
pub(super) fn words(root: &Command, values: &Values) -> Vec<OsString> {
    let mut words = vec![OsString::from(root.get_name())];
    for arg in root.get_arguments() {
        let Some((name, values)) = arg.get_long().and_then(|name| Some((name, values.get(name)?))) else { continue };
        let flag = OsString::from(format!("--{name}"));
        if arg.get_action().takes_values() {
            for value in values {
                let mut word = flag.clone();
                word.push("=");
                word.push(value);
                words.push(word);
            }
        } else if values.iter().any(|value| value == "true") {
            words.push(flag);
        }
    }
    words
}

/// The entry that names a data directory.
pub(super) fn data_dir_of(file: &File) -> Option<&Entry> {
    file.entries.iter().find(|entry| entry.table.is_empty() && entry.key == DATA_DIR)
}

/// Checks that every entry is a setting, and its value a good one.
///
/// # Errors
/// Which is not, where it stands, and what was expected.
pub(super) fn check(file: &File, root: &mut Command) -> anyhow::Result<()> {
    let tables = all(root);
    for entry in &file.entries {
        let Some(keys) = tables.get(&entry.table) else {
            let known: Vec<String> =
                tables.keys().filter(|table| !table.is_empty()).map(|table| format!("[{table}]")).collect();
            return Err(file.wrong(entry, format!("there is no table of this name; there are {}", known.join(", "))));
        };
        let Some(arg) = keys.get(&entry.key) else {
            let known: Vec<&str> = keys.keys().map(String::as_str).collect();
            return Err(file.wrong(entry, format!("no such setting here; there are {}", known.join(", "))));
        };
        check_value(arg, &entry.value).map_err(|what| file.wrong(entry, what))?;
    }
    Ok(())
}

/// Checks a value of a server's flag by the flag's long name.
///
/// # Errors
/// What is wrong with it, and what was expected.
pub(super) fn check_flag(root: &Command, flag: &str, text: &str) -> Result<(), String> {
    let arg = root.get_arguments().find(|arg| arg.get_long() == Some(flag));
    let arg = arg.ok_or_else(|| format!("there is no flag --{flag}"))?;
    let parts = arg.get_value_delimiter().map_or(vec![text], |delimiter| text.split(delimiter).collect());
    parts.into_iter().try_for_each(|part| check_value(arg, &Given::One(part.to_owned())))
}

fn check_value(arg: &Arg, value: &Given) -> Result<(), String> {
    let takes_values = arg.get_action().takes_values();
    let takes_several = arg.get_value_delimiter().is_some() || matches!(arg.get_action(), ArgAction::Append);
    match value {
        Given::Switch(_) if takes_values => return Err("expected a text or a number, not true or false".to_owned()),
        Given::Switch(_) => return Ok(()),
        _ if !takes_values => return Err("expected true or false".to_owned()),
        Given::List(_) if !takes_several => return Err("expected one value, not a list".to_owned()),
        Given::One(_) | Given::List(_) => {}
    }
    for text in value.texts() {
        if let Some(delimiter) = arg.get_value_delimiter()
            && matches!(value, Given::List(_))
            && text.contains(delimiter)
        {
            return Err(format!("'{text}' holds a '{delimiter}', which separates values: make it two of the list"));
        }
        // The flag's own parser, without what the flag has to do with others.
        let value = Arg::new("value").value_parser(arg.get_value_parser().clone()).allow_hyphen_values(true);
        let value = value.value_delimiter(arg.get_value_delimiter()).action(ArgAction::Append);
        let parser = Command::new("value").no_binary_name(true).disable_help_flag(true).arg(value);
        parser.try_get_matches_from([&text]).map_err(|error| format!("'{text}': {}", reason(&error)))?;
    }
    Ok(())
}

/// What clap has against a value, in few words.
fn reason(error: &clap::Error) -> String {
    if let Some(source) = error.source() {
        return source.to_string();
    }
    match error.get(ContextKind::ValidValue) {
        Some(ContextValue::Strings(known)) if !known.is_empty() => format!("expected one of {}", known.join(", ")),
        _ => "no good value".to_owned(),
    }
}

/// The entries of a file that are in force for a command line: those which neither a flag nor a variable says otherwise,
/// directly or by one that excludes it.
///
/// # Errors
/// When two of them exclude each other.
pub(super) fn in_force(
    file: &File,
    root: &mut Command,
    chain: &[String],
    matches: &ArgMatches,
) -> anyhow::Result<Vec<(String, Entry)>> {
    root.build();
    let mut command: &Command = root;
    for name in chain {
        command = command.find_subcommand(name).unwrap_or(command);
    }
    let name = chain.first().map_or(SERVE, String::as_str);
    let entry_of = |arg: &Arg| {
        let (table, key) = (table_of(name, arg)?, arg.get_long()?);
        file.entries
            .iter()
            .find(|entry| entry.table == table && entry.key == key && entry.value != Given::Switch(false))
    };
    let mut found = Vec::new();
    for arg in command.get_arguments() {
        let Some(entry) = entry_of(arg) else { continue };
        let mut excluded = is_given(matches, arg.get_id().as_str());
        for other in command.get_arguments().filter(|other| exclude_each_other(command, arg, other)) {
            // A switch that is said to be off excludes nothing.
            let is_off = matches!(other.get_action(), ArgAction::SetTrue) && !matches.get_flag(other.get_id().as_str());
            excluded |= is_given(matches, other.get_id().as_str()) && !is_off;
            if let Some(second) = entry_of(other).filter(|_| !excluded) {
                return Err(file.wrong(entry, format!("it excludes {second} at {}: keep one", file.place(second))));
            }
        }
        if !excluded {
            found.push((arg.get_id().to_string(), entry.clone()));
        }
    }
    Ok(found)
}

fn exclude_each_other(command: &Command, one: &Arg, other: &Arg) -> bool {
    let excludes = |one: &Arg, other: &Arg| {
        command.get_arg_conflicts_with(one).iter().any(|found| found.get_id() == other.get_id())
    };
    one.get_id() != other.get_id() && (excludes(one, other) || excludes(other, one))
}

/// The program's commands with a file's values as the defaults of one of them.
pub(super) fn with_defaults(command: Command, chain: &[String], values: &[(String, Entry)]) -> Command {
    match chain.split_first() {
        Some((name, inner)) => command.mut_subcommand(name, |command| with_defaults(command, inner, values)),
        None => values
            .iter()
            .fold(command, |command, (id, entry)| command.mut_arg(id, |arg| arg.default_values(entry.value.texts()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Cli;
    use clap::CommandFactory;

    #[test]
    fn a_value_that_is_refused_is_told_what_was_expected() {
        fn collect(command: &Command, into: &mut Vec<(String, Arg)>) {
            into.extend(command.get_arguments().map(|arg| (format!("{} {arg}", command.get_name()), arg.clone())));
            command.get_subcommands().for_each(|inner| collect(inner, into));
        }
        let (mut root, mut args) = (Cli::command(), Vec::new());
        root.build();
        collect(&root, &mut args);
        for (name, arg) in args.iter().filter(|(_, arg)| arg.get_action().takes_values()) {
            // No number, time, size, name of a host, level or address.
            if let Err(refused) = check_value(arg, &Given::One("-§".to_owned())) {
                assert!(refused.contains("expected"), "{name}: {refused}");
            }
        }
    }

    #[test]
    fn every_flag_with_a_variable_is_a_setting_and_no_other() {
        let tables = all(&mut Cli::command());
        let keys = |table: &str| tables[table].keys().map(String::as_str).collect::<Vec<_>>();
        assert_eq!(keys(""), ["data-dir"]);
        assert_eq!(keys(CLIENT), ["key", "server", "tls-ca", "tls-client-cert", "tls-client-key", "tls-server-name"]);
        assert!(keys(SERVE).contains(&"session-key") && !keys(SERVE).contains(&"data-dir"));
        assert!(keys("worker").contains(&"concurrency") && keys("run").contains(&"concurrency"));
        assert!(!tables.contains_key("add"), "what is said once for a job is no setting");
    }
}
