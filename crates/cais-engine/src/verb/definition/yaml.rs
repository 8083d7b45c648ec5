//! Writes JSON values as YAML 1.2 in block style. Texts that YAML could take for something else are quoted as in JSON,
//! of which YAML is a superset.

use serde_json::Value;

/// A document, its last line ended. Empty lists and objects stand as `[]` and `{}`.
pub(super) fn text(value: &Value) -> String {
    let mut text = String::new();
    write(value, 0, &mut text);
    text
}

fn write(value: &Value, depth: usize, text: &mut String) {
    let pad = "  ".repeat(depth);
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (key, value) in fields {
                text.push_str(&format!("{pad}{}:", scalar(&Value::String(key.clone()))));
                nested(value, depth, text);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for item in items {
                let mut inner = String::new();
                write(item, depth + 1, &mut inner);
                // The first line of an item stands behind its dash.
                let inner = inner.strip_prefix("  ".repeat(depth + 1).as_str()).unwrap_or(&inner);
                text.push_str(&format!("{pad}- {inner}"));
            }
        }
        other => text.push_str(&format!("{pad}{}\n", scalar(other))),
    }
}

fn nested(value: &Value, depth: usize, text: &mut String) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            text.push('\n');
            write(value, depth + 1, text);
        }
        Value::Array(items) if !items.is_empty() => {
            text.push('\n');
            write(value, depth + 1, text);
        }
        other => text.push_str(&format!(" {}\n", scalar(other))),
    }
}

fn scalar(value: &Value) -> String {
    match value {
        Value::String(text) if is_plain(text) => text.clone(),
        Value::Array(_) => "[]".to_owned(),
        Value::Object(_) => "{}".to_owned(),
        other => other.to_string(),
    }
}

/// Certainly a string, for YAML 1.1 as well.
fn is_plain(text: &str) -> bool {
    const WORDS: [&str; 9] = ["true", "false", "yes", "no", "on", "off", "null", "y", "n"];
    let begins = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/' || c == '_');
    let usual = text.chars().all(|c| c.is_ascii_alphanumeric() || "/_-.@+".contains(c));
    begins && usual && !WORDS.contains(&text.to_ascii_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn blocks_and_quotes() {
        let value = json!({"a": {"b": ["x", {"c": 1, "d": "2"}, ["z"]], "e": [], "f": {}}, "g h": "no", "i": "a: b\n"});
        let expected = "a:\n  b:\n    - x\n    - c: 1\n      d: \"2\"\n    - - z\n  e: []\n  f: {}\n\"g h\": \"no\"\ni: \"a: b\\n\"\n";
        assert_eq!(text(&value), expected);
    }
}
