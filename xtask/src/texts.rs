//! What the pages say about the repository: the commands they name are the ones that are run, their links lead
//! somewhere.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::Context as _;

use crate::Finding;
use crate::source;

/// The command that runs every test. README names it, and the gate runs it.
const TEST_COMMAND: &str = "cargo test --workspace --locked";
/// How README's other command begins.
const RUN_COMMAND: &str = "cargo run --release -- run ";
/// The gate, and the workflow that runs it.
const GATE: &str = ".ci/run";
const WORKFLOW: &str = ".github/workflows/ci.yml";

/// Where every environment variable that the program reads is described.
const OPERATIONS: &str = "docs/operations.md";

/// Checks the pages and the gate.
pub(crate) fn check(root: &Path) -> anyhow::Result<Vec<Finding>> {
    let mut findings = agreement(root)?;
    findings.extend(variables(root)?);
    let mut pages = Vec::new();
    source::walk(root, "md", &mut pages)?;
    pages.sort();
    for page in pages {
        let text = fs::read_to_string(&page).with_context(|| page.display().to_string())?;
        let name = page.strip_prefix(root)?;
        for (line, link) in links(&text) {
            let target = page.parent().unwrap_or(root).join(link.split('#').next().unwrap_or_default());
            if !target.exists() {
                findings.push(Finding::new(name, line, format!("the link to '{link}' leads nowhere")));
            }
        }
    }
    Ok(findings)
}

fn agreement(root: &Path) -> anyhow::Result<Vec<Finding>> {
    let mut findings = Vec::new();
    let readme = read(root, "README.md")?;
    let shown = shell_lines(&readme);
    let mut expect = |holds: bool, path: &str, message: String| {
        if !holds {
            findings.push(Finding::new(Path::new(path), 0, message));
        }
    };
    let test_lines: Vec<&&str> = shown.iter().filter(|line| line.starts_with("cargo test")).collect();
    expect(test_lines == [&TEST_COMMAND], "README.md", format!("its test command is not '{TEST_COMMAND}', once"));
    let gate = read(root, GATE)?;
    let run = gate.lines().any(|line| line.trim_start().starts_with("step") && line.trim_end().ends_with(TEST_COMMAND));
    expect(run, GATE, format!("no step runs README's '{TEST_COMMAND}'"));
    let workflow = read(root, WORKFLOW)?;
    expect(workflow.contains("bash .ci/run"), WORKFLOW, "it does not run the gate, 'bash .ci/run'".to_owned());
    let plan = shown.iter().find_map(|line| line.strip_prefix(RUN_COMMAND)).and_then(|rest| rest.split(' ').next());
    let there = plan.is_some_and(|plan| root.join(plan).is_file());
    expect(there, "README.md", format!("no '{RUN_COMMAND}<plan> …' whose plan is there"));
    Ok(findings)
}

/// Finds the variables that stand in `src/cli` and not in docs/operations.md, and the other way round.
fn variables(root: &Path) -> anyhow::Result<Vec<Finding>> {
    let described = variable_names(&read(root, OPERATIONS)?);
    let mut sources = Vec::new();
    source::walk(&root.join("src/cli"), "rs", &mut sources)?;
    let mut there = BTreeSet::new();
    for path in sources {
        there.extend(variable_names(&fs::read_to_string(&path).with_context(|| path.display().to_string())?));
    }
    let missing = there.difference(&described).map(|name| format!("src/cli reads {name}, which is not described"));
    let gone = described.difference(&there).map(|name| format!("nothing in src/cli reads {name}"));
    Ok(missing.chain(gone).map(|message| Finding::new(Path::new(OPERATIONS), 0, message)).collect())
}

/// The names in a text that begin with `AGQ_`.
fn variable_names(text: &str) -> BTreeSet<String> {
    let name = |c: &char| c.is_ascii_uppercase() || c.is_ascii_digit() || *c == '_';
    text.match_indices("AGQ_").map(|(start, _)| text[start..].chars().take_while(name).collect()).collect()
}

fn read(root: &Path, name: &str) -> anyhow::Result<String> {
    fs::read_to_string(root.join(name)).with_context(|| name.to_owned())
}

/// The lines of a page's `sh` blocks.
fn shell_lines(page: &str) -> Vec<&str> {
    let mut inside = false;
    let mut found = Vec::new();
    for line in page.lines() {
        if line.starts_with("```") {
            inside = line == "```sh";
        } else if inside {
            found.push(line);
        }
    }
    found
}

/// The relative links of a page outside its code blocks, with their lines.
fn links(page: &str) -> Vec<(usize, String)> {
    let mut inside = false;
    let mut found = Vec::new();
    for (number, line) in page.lines().enumerate() {
        if line.starts_with("```") {
            inside = !inside;
        }
        for (start, _) in line.match_indices("](").filter(|_| !inside) {
            let link: String = line[start + 2..].chars().take_while(|c| *c != ')').collect();
            let outside = link.contains("://") || link.starts_with("mailto:") || link.starts_with('#');
            if !outside && !link.is_empty() {
                found.push((number + 1, link));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const README: &str =
        "a\n```sh\ncargo run --release -- run plan.json --input a=b\ncargo test --workspace --locked\n```\n";
    const GATE_TEXT: &str = "set -e\nstep 'tests' cargo test --workspace --locked\n";

    /// What is found in a repository with these files.
    fn found(name: &str, readme: &str, gate: &str) -> Vec<String> {
        let root = std::env::temp_dir().join(format!("agq-xtask-{}-{name}", std::process::id()));
        let files = [
            ("README.md", readme),
            (GATE, gate),
            (WORKFLOW, "run: bash .ci/run"),
            ("plan.json", "{}"),
            (OPERATIONS, "`AGQ_A`"),
            ("src/cli/a.rs", "env = \"AGQ_A\""),
        ];
        for (name, text) in files {
            let path = root.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let findings = check(&root).unwrap();
        fs::remove_dir_all(&root).unwrap();
        findings
            .into_iter()
            .map(|found| format!("{}:{}: {}", found.path.display(), found.line, found.message))
            .collect()
    }

    #[test]
    fn agreement_is_silent() {
        assert_eq!(found("good", README, GATE_TEXT), [""; 0]);
    }

    #[test]
    fn another_test_command_is_found_in_either_place() {
        assert_eq!(found("gate", README, "step 'tests' cargo test\n").len(), 1);
        assert_eq!(found("readme", &README.replace(" --locked", ""), GATE_TEXT).len(), 1);
    }

    #[test]
    fn a_plan_that_is_not_there_is_found() {
        assert_eq!(found("plan", &README.replace("plan.json", "no.json"), GATE_TEXT).len(), 1);
    }

    #[test]
    fn variables_are_named_where_they_stand() {
        let names: Vec<_> = variable_names("`AGQ_A_1` or AGQ_B=x, not BAGQ").into_iter().collect();
        assert_eq!(names, ["AGQ_A_1", "AGQ_B"]);
    }

    #[test]
    fn links_lead_somewhere() {
        let readme =
            format!("{README}[a](plan.json#x) [b](https://a.example/x) [c](gone.md)\n```\n[d](gone.md)\n```\n");
        assert_eq!(found("links", &readme, GATE_TEXT), ["README.md:6: the link to 'gone.md' leads nowhere"]);
    }
}
