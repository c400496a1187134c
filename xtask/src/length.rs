//! Long files and functions: past the aim they are listed, past the bound they are refused.
//!
//! Test modules do not count, blank lines and comments do.

use std::path::Path;

use crate::Finding;
use crate::source::{self, Source};

const FILE_AIM: usize = 400;
const FILE_BOUND: usize = 650;
const FUNCTION_AIM: usize = 70;
const FUNCTION_BOUND: usize = 120;

/// Something with a length in lines.
struct Length {
    what: String,
    line: usize,
    lines: usize,
    aim: usize,
    bound: usize,
}

/// Measures every file; with `list`, prints what is past its aim.
pub(crate) fn check(root: &Path, list: bool) -> anyhow::Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for folder in ["src", "crates", "xtask/src", "tests", "benches"] {
        for source in source::sources(root, folder)? {
            for length in lengths(&source).into_iter().filter(|length| length.lines > length.aim) {
                let message = format!("{} is {} lines long (aim {})", length.what, length.lines, length.aim);
                if list {
                    println!("{}:{}: {message}", source.path.display(), length.line);
                }
                if length.lines > length.bound {
                    let message = format!("{message}: more than {}", length.bound);
                    findings.push(Finding::new(&source.path, length.line, message));
                }
            }
        }
    }
    Ok(findings)
}

fn lengths(source: &Source) -> Vec<Length> {
    let code = source.code.trim_end();
    let file =
        Length { what: "the file".to_owned(), line: 1, lines: code.lines().count(), aim: FILE_AIM, bound: FILE_BOUND };
    std::iter::once(file).chain(functions(code)).collect()
}

fn functions(code: &str) -> Vec<Length> {
    let mut found = Vec::new();
    for (place, _) in code.match_indices("fn ") {
        let begins_word = place == 0 || !source::is_word(code.as_bytes()[place - 1]);
        let name: String = code[place + 3..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        if !begins_word || name.is_empty() {
            continue;
        }
        let Some(body) = source::braces(code, place) else { continue };
        let line = source::line_of(code, place);
        let lines = source::line_of(code, body.end - 1) - line + 1;
        found.push(Length { what: format!("fn {name}"), line, lines, aim: FUNCTION_AIM, bound: FUNCTION_BOUND });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_is_measured_from_its_name_to_its_brace() {
        let code = "type F = fn(u8);\nfn a(\n x: u8,\n) {\n if x { }\n}\ntrait T { fn b(); }\n";
        let found: Vec<_> = functions(code).into_iter().map(|f| (f.what, f.line, f.lines)).collect();
        assert_eq!(found, [("fn a".to_owned(), 2, 5)]);
    }
}
