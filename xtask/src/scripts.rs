//! Every command of the table is spoken by some script under tests/it/scripts.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use agq::command::table;
use anyhow::Context as _;

use crate::Finding;
use crate::source;

const SCRIPTS: &str = "tests/it/scripts";

/// Finds the commands that no script sends.
pub(crate) fn check(root: &Path) -> anyhow::Result<Vec<Finding>> {
    let mut paths = Vec::new();
    source::walk(&root.join(SCRIPTS), "txt", &mut paths)?;
    let mut spoken = BTreeSet::new();
    for path in paths {
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        spoken.extend(text.lines().filter_map(command));
    }
    let silent = table::all().filter(|command| !spoken.contains(command.name));
    Ok(silent.map(|command| Finding::new(Path::new(SCRIPTS), 0, format!("no script sends {}", command.name))).collect())
}

/// The command that a line of a script sends, in capitals: `> get k`, `@2 ? GET k`.
fn command(line: &str) -> Option<String> {
    let line = match line.strip_prefix('@') {
        Some(rest) => rest.split_once(' ')?.1,
        None => line,
    };
    let sent = line.strip_prefix("> ").or(line.strip_prefix("? "))?;
    Some(sent.split_whitespace().next()?.trim_matches(['"', '\'']).to_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_sends_names_its_command() {
        let cases = [("> get k", Some("GET")), ("@2 > BLPOP q 0", Some("BLPOP")), ("? \"DBSIZE\"", Some("DBSIZE"))];
        for (line, expected) in cases {
            assert_eq!(command(line).as_deref(), expected, "{line}");
        }
        for line in ["< +OK", "# > GET", "", "blocked 1", "@2 < :1"] {
            assert_eq!(command(line), None, "{line}");
        }
    }
}
