//! Fields of the server's JSON as people read them.

use serde_json::Value;

/// A field as a table's cell: a text as it is, what is absent empty, anything else as JSON.
pub(super) fn cell(json: &Value, name: &str) -> String {
    match json.get(name) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(values)) => list(values),
        Some(value) => value.to_string(),
    }
}

/// The first of these fields that is there.
pub(super) fn first(json: &Value, names: &[&str]) -> String {
    names.iter().map(|name| cell(json, name)).find(|cell| !cell.is_empty()).unwrap_or_default()
}

/// An RFC 3339 time without its fraction.
pub(super) fn time(json: &Value, name: &str) -> String {
    let text = cell(json, name);
    match text.split_once('.') {
        Some((seconds, _)) => format!("{seconds}Z"),
        None => text,
    }
}

/// A few words of a list, and how many there are.
fn list(values: &[Value]) -> String {
    const SHOWN: usize = 4;
    let texts = values.iter().take(SHOWN).map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned));
    let text = texts.collect::<Vec<_>>().join(",");
    if values.len() > SHOWN { format!("{text} … ({} in all)", values.len()) } else { text }
}

/// A text cut to so many characters.
pub(super) fn short(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let kept: String = text.chars().take(most.saturating_sub(1)).collect();
    format!("{kept}…")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn cells_read_well() {
        let json = json!({"a": "x", "n": 3, "none": null, "tools": ["a", "b", "c", "d", "e"],
                          "at": "2026-01-02T03:04:05.678Z"});
        assert_eq!(cell(&json, "a"), "x");
        assert_eq!(cell(&json, "n"), "3");
        assert_eq!(cell(&json, "none") + &cell(&json, "absent"), "");
        assert_eq!(cell(&json, "tools"), "a,b,c,d … (5 in all)");
        assert_eq!(time(&json, "at"), "2026-01-02T03:04:05Z");
        assert_eq!(first(&json, &["none", "n"]), "3");
    }

    #[test]
    fn long_texts_are_cut() {
        assert_eq!(short("länger", 4), "län…");
        assert_eq!(short("kurz", 4), "kurz");
    }
}
