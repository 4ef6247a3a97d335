//! JSON values as YAML: block style, keys in order, strings quoted unless they are plain words.

use std::fmt::Write as _;

use serde_json::Value;

/// `value` as a YAML document.
pub(crate) fn document(value: &Value) -> String {
    let mut out = String::new();
    match value {
        Value::Object(_) | Value::Array(_) => block(value, 0, &mut out),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            out.push_str(&scalar(value));
            out.push('\n');
        }
    }
    out
}

fn block(value: &Value, indent: usize, out: &mut String) {
    let pad = "  ".repeat(indent);
    match value {
        Value::Object(fields) => {
            for (key, field) in fields {
                out.push_str(&pad);
                out.push_str(&word(key));
                out.push(':');
                nested(field, indent.saturating_add(1), out);
            }
        }
        Value::Array(items) => {
            for item in items {
                let mut inner = String::new();
                match item {
                    Value::Object(fields) if !fields.is_empty() => {
                        block(item, indent.saturating_add(1), &mut inner);
                        let text = inner.trim_start();
                        out.push_str(&pad);
                        out.push_str("- ");
                        out.push_str(text);
                    }
                    Value::Object(_)
                    | Value::Array(_)
                    | Value::Null
                    | Value::Bool(_)
                    | Value::Number(_)
                    | Value::String(_) => {
                        out.push_str(&pad);
                        out.push('-');
                        nested(item, indent.saturating_add(1), out);
                    }
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// What follows a `key:` or a `-`.
fn nested(value: &Value, indent: usize, out: &mut String) {
    match value {
        Value::Object(fields) if fields.is_empty() => out.push_str(" {}\n"),
        Value::Array(items) if items.is_empty() => out.push_str(" []\n"),
        Value::Object(_) | Value::Array(_) => {
            out.push('\n');
            block(value, indent, out);
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            // Writing to a String cannot fail.
            writeln!(out, " {}", scalar(value)).ok();
        }
    }
}

fn scalar(value: &Value) -> String {
    match value {
        Value::String(text) => word(text),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            value.to_string()
        }
    }
}

/// A string: plain if nobody can take it for anything else, else as JSON quotes it, which YAML reads.
fn word(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'/' | b'-' | b'_');
    let letters = text.bytes().next().is_some_and(|b| b.is_ascii_alphabetic());
    let taken = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    if letters && text.bytes().all(plain) && !taken.contains(&text.to_ascii_lowercase().as_str()) {
        text.to_owned()
    } else {
        Value::from(text).to_string()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_could_be_read_as_something_else_is_quoted() {
        let value = json!({
            "a": "word", "b": "true", "c": "1", "d": "a: b", "e": [], "f": {},
            "g": [{"x": 1, "y": ["z", 2]}, "w", [3]], "on": null, "h": "{{ x }}",
        });
        let expected = "a: word\nb: \"true\"\nc: \"1\"\nd: \"a: b\"\ne: []\nf: {}\ng:\n  - x: 1\n    \"y\":\n      - z\n      - 2\n  - w\n  -\n    - 3\nh: \"{{ x }}\"\n\"on\": null\n";
        assert_eq!(document(&value), expected);
    }
}
