//! Reading Rust sources well enough for the checks: comments and literals blanked out, test modules cut out.
//!
//! Not a parser: it knows where code stands, which is all that the checks ask.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

/// A source file.
pub(crate) struct Source {
    /// Relative to the repository's root.
    pub(crate) path: PathBuf,
    /// The code: as long as the file, line for line, with comments, literals and inline test modules blanked.
    pub(crate) code: String,
}

/// Every `.rs` file under `folder`, by path. Files that are test modules as a whole are left out.
pub(crate) fn sources(root: &Path, folder: &str) -> anyhow::Result<Vec<Source>> {
    let mut found = Vec::new();
    let mut paths = Vec::new();
    walk(&root.join(folder), "rs", &mut paths)?;
    paths.sort();
    let mut tests = Vec::new();
    for path in paths {
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let mut code = blank_literals(&text);
        tests.extend(outlined_tests(&code).into_iter().map(|name| module_folder(&path).join(name)));
        blank_tests(&mut code);
        found.push(Source { path: path.strip_prefix(root)?.to_owned(), code });
    }
    found.retain(|source| {
        let path = root.join(&source.path);
        !tests.iter().any(|test| path == test.with_extension("rs") || path.starts_with(test))
    });
    Ok(found)
}

/// Every file under `folder` whose name ends in `.extension`; hidden folders and `target` are passed over.
pub(crate) fn walk(folder: &Path, extension: &str, found: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    if !folder.exists() {
        return Ok(());
    }
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_dir() {
            if !name.starts_with('.') && name != "target" {
                walk(&path, extension, found)?;
            }
        } else if path.extension().is_some_and(|found| found == extension) {
            found.push(path);
        }
    }
    Ok(())
}

/// The folder in which the modules that a file declares stand.
fn module_folder(path: &Path) -> PathBuf {
    let stem = path.file_stem().unwrap_or_default();
    match stem.to_str() {
        Some("mod" | "lib" | "main") => path.parent().unwrap_or(path).to_owned(),
        _ => path.with_extension(""),
    }
}

/// The line of a place in a text, counted from 1.
pub(crate) fn line_of(text: &str, place: usize) -> usize {
    text.as_bytes()[..place].iter().filter(|byte| **byte == b'\n').count() + 1
}

/// True where an identifier's character stands.
pub(crate) fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Replaces comments and the contents of string and character literals by spaces; newlines stay.
pub(crate) fn blank_literals(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = match bytes[at] {
            b'/' if bytes.get(at + 1) == Some(&b'/') => find(bytes, at, b"\n").unwrap_or(bytes.len()),
            b'/' if bytes.get(at + 1) == Some(&b'*') => block_comment_end(bytes, at),
            b'"' => string_end(bytes, at),
            b'r' | b'b' | b'c' if at == 0 || !is_word(bytes[at - 1]) => prefixed_end(bytes, at),
            b'\'' => char_end(bytes, at),
            _ => at,
        };
        if end == at {
            at += 1;
            continue;
        }
        for byte in &mut out[at..end] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        at = end;
    }
    // What was blanked is blanked byte by byte, and what was not is as it was; `from_utf8_lossy` never has to mend it.
    String::from_utf8_lossy(&out).into_owned()
}

fn find(bytes: &[u8], from: usize, what: &[u8]) -> Option<usize> {
    bytes.get(from..)?.windows(what.len()).position(|window| window == what).map(|place| from + place)
}

fn block_comment_end(bytes: &[u8], start: usize) -> usize {
    let (mut depth, mut at) = (0, start);
    while at < bytes.len() {
        match bytes.get(at..at + 2) {
            Some(b"/*") => (depth, at) = (depth + 1, at + 2),
            Some(b"*/") => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

/// Past the closing quote of the string that opens at `start`.
fn string_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// Past a literal with a prefix (`r"…"`, `br#"…"#`, `b'x'`), or `start` where none stands.
fn prefixed_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start;
    while matches!(bytes.get(at), Some(b'r' | b'b' | b'c')) && at < start + 2 {
        at += 1;
    }
    let raw = bytes[start..at].contains(&b'r');
    let hashes = bytes[at..].iter().take_while(|byte| **byte == b'#').count();
    match bytes.get(at + hashes) {
        Some(b'"') if raw => {
            let close: Vec<u8> = std::iter::once(b'"').chain(std::iter::repeat_n(b'#', hashes)).collect();
            find(bytes, at + hashes + 1, &close).map_or(bytes.len(), |place| place + close.len())
        }
        Some(b'"') if hashes == 0 => string_end(bytes, at),
        Some(b'\'') if hashes == 0 && &bytes[start..at] == b"b" => char_end(bytes, at),
        _ => start,
    }
}

/// Past the character literal that opens at `start`, or `start` where a lifetime stands.
fn char_end(bytes: &[u8], start: usize) -> usize {
    if bytes.get(start + 1) == Some(&b'\\') {
        return find(bytes, start + 3, b"'").map_or(bytes.len(), |place| place + 1);
    }
    // One character, of up to four bytes, and a quote.
    let width = match bytes.get(start + 1) {
        Some(byte) if *byte < 0x80 => 1,
        Some(byte) if *byte < 0xe0 => 2,
        Some(byte) if *byte < 0xf0 => 3,
        _ => 4,
    };
    if bytes.get(start + 1 + width) == Some(&b'\'') { start + 2 + width } else { start }
}

const TEST_MARK: &str = "#[cfg(test)]";

/// The places behind each `#[cfg(test)]` where `mod name` follows, with the module's name.
fn test_modules(code: &str) -> Vec<(usize, usize, String)> {
    let mut found = Vec::new();
    for (start, _) in code.match_indices(TEST_MARK) {
        let rest = &code[start + TEST_MARK.len()..];
        let trimmed = rest.trim_start();
        let trimmed = trimmed.strip_prefix("pub(crate) ").or(trimmed.strip_prefix("pub ")).unwrap_or(trimmed);
        if let Some(after) = trimmed.strip_prefix("mod ") {
            let name: String = after.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            let end = code.len() - after.len() + name.len();
            found.push((start, end, name));
        }
    }
    found
}

/// Test modules that stand in files of their own: `#[cfg(test)] mod name;`.
fn outlined_tests(code: &str) -> Vec<String> {
    let tests = test_modules(code).into_iter();
    tests.filter(|(_, end, _)| code[*end..].trim_start().starts_with(';')).map(|(_, _, name)| name).collect()
}

/// Blanks `#[cfg(test)] mod name { … }`.
fn blank_tests(code: &mut String) {
    for (start, end, _) in test_modules(code) {
        if let Some(body) = braces(code, end) {
            let blank: String = code[start..body.end].bytes().map(|c| if c == b'\n' { '\n' } else { ' ' }).collect();
            code.replace_range(start..body.end, &blank);
        }
    }
}

/// The block in braces that begins after `from`, before any `;`.
pub(crate) fn braces(code: &str, from: usize) -> Option<Range<usize>> {
    let bytes = code.as_bytes();
    let mut brackets = 0;
    let start = (from..bytes.len()).find(|at| {
        match bytes[*at] {
            b'(' | b'[' => brackets += 1,
            b')' | b']' => brackets -= 1,
            _ => {}
        }
        brackets == 0 && matches!(bytes[*at], b'{' | b';')
    })?;
    if bytes[start] == b';' {
        return None;
    }
    let mut depth = 0;
    for (at, byte) in bytes.iter().enumerate().skip(start) {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(start..at + 1);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_blanked_and_code_is_not() {
        let cases = [
            ("a // b\nc", "a\nc"),
            ("a /* b /* c */ d */ e", "ae"),
            (r#"f("}\"{", x)"#, "f(,x)"),
            (r##"f(r#"a"b"#, x)"##, "f(,x)"),
            ("f(b\"{\", b'{', '{', '\\'', 'é')", "f(,,,,)"),
            ("fn f<'a>(x: &'a str)", "fnf<'a>(x:&'astr)"),
            ("for bar in rebar {}", "forbarinrebar{}"),
        ];
        for (text, expected) in cases {
            let blanked = blank_literals(text);
            assert_eq!(blanked.replace(' ', ""), expected, "{text}");
            assert_eq!(blanked.len(), text.len(), "{text}");
        }
    }

    #[test]
    fn test_modules_are_cut_out() {
        let mut code = "use a;\n#[cfg(test)]\nmod tests {\n fn f() { }\n}\nuse b;\n".to_owned();
        blank_tests(&mut code);
        assert_eq!(code.replace(' ', ""), "usea;\n\n\n\n\nuseb;\n");
        assert_eq!(outlined_tests("#[cfg(test)]\nmod simulation;\n#[cfg(test)]\nmod tests { }"), ["simulation"]);
    }

    #[test]
    fn a_block_begins_before_the_statement_ends() {
        let code = "fn f(a: [u8; 2]) -> X { { } } fn g();";
        assert_eq!(&code[braces(code, 0).unwrap()], "{ { } }");
        assert_eq!(braces(code, code.find("fn g").unwrap()), None);
    }

    #[test]
    fn lines_count_from_one() {
        assert_eq!(line_of("a\nb", 0), 1);
        assert_eq!(line_of("a\nb", 2), 2);
    }
}
