//! `agq config`: every setting in force, and where it comes from.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, CommandFactory};
use serde_json::{Value, json};

use super::settings::{CLIENT, all, table_of};
use super::{Config, Purpose, Resolved, innermost};
use crate::cli::table::{Align, Table};
use crate::cli::{Cli, exit, output};

/// `agq config …`
#[derive(Debug, Args)]
#[command(
    after_help = "A flag wins over a variable, a variable over the file, the file over the default. The file is the \
                        one that --config or AGQ_CONFIG names, else agq.toml in the data directory. Its tables are the \
                        commands' names, [client] for the flags under 'Server', and its keys the flags' names; data-dir \
                        stands above all tables.\n\nExample: agq config worker --concurrency 4"
)]
pub(in crate::cli) struct ConfigArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Only this command's settings, and flags to see them with: serve, worker, run, client [default: all]
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    words: Vec<OsString>,
}

/// A setting as it is shown.
struct Row {
    table: String,
    name: String,
    value: Option<String>,
    kind: &'static str,
    place: String,
}

/// Prints the settings.
pub(in crate::cli) fn run(args: &ConfigArgs, config: &Config) -> anyhow::Result<ExitCode> {
    let rows = match args.words.split_first() {
        Some((name, flags)) => config.rows(&name.to_string_lossy(), flags, |_, _| true)?,
        None => {
            let mut rows = config.rows(CLIENT, &[], |_, _| true)?;
            for table in all(&mut Cli::command()).into_keys().filter(|table| !table.is_empty() && table != CLIENT) {
                rows.extend(config.rows(&table, &[], |own, table| own == table)?);
            }
            rows
        }
    };
    let path = config.file.as_ref().map(|file| file.path.display().to_string());
    if args.json {
        let rows: Vec<Value> = rows.iter().map(Row::json).collect();
        output::json(&json!({"file": path, "settings": rows}))?;
        return Ok(exit::DONE);
    }
    output::line(format_args!("file  {}\n", path.as_deref().unwrap_or("none")))?;
    let mut table = Table::new(&["table", "setting", "value", "from"].map(|name| (name, Align::Left)));
    for row in &rows {
        table.row([row.table.clone(), row.name.clone(), row.value.clone().unwrap_or_default(), row.place.clone()]);
    }
    table.print()?;
    Ok(exit::DONE)
}

impl Config {
    /// The settings of a command with some flags, as far as `wanted` by the command's table and the setting's.
    fn rows(&self, name: &str, flags: &[OsString], wanted: impl Fn(&str, &str) -> bool) -> anyhow::Result<Vec<Row>> {
        // Every command finds its server in the same way.
        let command = if name == CLIENT { "ping" } else { name };
        let words: Vec<OsString> =
            ["agq", command].map(OsString::from).into_iter().chain(flags.iter().cloned()).collect();
        let resolved = self.resolve(&words, Purpose::Show)?.unwrap_or_else(|error| error.exit());
        let mut root = Cli::command();
        root.build();
        let mut inner: &Command = &root;
        for name in &resolved.chain {
            inner = inner.find_subcommand(name).unwrap_or(inner);
        }
        let (matches, _) = innermost(&resolved.matches);
        let settings = inner.get_arguments().filter_map(|arg| Some((arg, table_of(command, arg)?)));
        let settings = settings.filter(|(_, table)| wanted(command, table));
        Ok(settings.map(|(arg, table)| self.row(arg, table, matches, &resolved)).collect())
    }

    fn row(&self, arg: &Arg, table: String, matches: &ArgMatches, resolved: &Resolved) -> Row {
        let id = arg.get_id().as_str();
        let value = match arg.get_action() {
            ArgAction::SetTrue => Some(matches.get_flag(id).to_string()),
            _ => matches.get_raw(id).map(|values| {
                let values: Vec<String> = values.map(|value| value.to_string_lossy().into_owned()).collect();
                values.join(",")
            }),
        };
        let entry = resolved.from_file.iter().find(|(found, _)| found == id);
        let (kind, place) = match (matches.value_source(id), entry, &self.file) {
            (Some(ValueSource::CommandLine), ..) => ("flag", "flag".to_owned()),
            (Some(ValueSource::EnvVariable), ..) => {
                ("environment", arg.get_env().unwrap_or_default().to_string_lossy().into_owned())
            }
            (_, Some((_, entry)), Some(file)) => ("file", file.place(entry)),
            _ => ("default", "default".to_owned()),
        };
        // What clap does not show of the environment is not shown at all.
        let value = if arg.is_hide_env_values_set() { value.map(|_| "(hidden)".to_owned()) } else { value };
        Row { table, name: arg.get_long().unwrap_or_default().to_owned(), value, kind, place }
    }
}

impl Row {
    fn json(&self) -> Value {
        json!({"table": self.table, "name": self.name, "value": self.value, "from": self.kind, "place": self.place})
    }
}
