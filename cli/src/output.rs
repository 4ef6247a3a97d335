//! An answer as data.

use anyhow::Context as _;
use serde::Serialize;
pub(crate) use vipkeeper_manifests::many;

use crate::cli::Format;

/// `value` in `format`, with a last newline.
pub(crate) fn data(value: &impl Serialize, format: Format) -> anyhow::Result<String> {
    let text = match format {
        Format::Json => serde_json::to_string_pretty(value).context("JSON")?,
        Format::Yaml => serde_saphyr::to_string(value).context("YAML")?,
    };
    Ok(format!("{}\n", text.trim_end()))
}

/// The name of an enum's value as the objects write it.
pub(crate) fn name(value: &impl Serialize) -> String {
    let value = serde_json::to_value(value).unwrap_or_default();
    value.as_str().unwrap_or_default().to_owned()
}

/// `a`, `a and b`, `a, b and c`.
pub(crate) fn list<S: AsRef<str>>(items: &[S]) -> String {
    match items {
        [] => String::new(),
        [one] => one.as_ref().to_owned(),
        [first @ .., last] => {
            let first: Vec<&str> = first.iter().map(AsRef::as_ref).collect();
            format!("{} and {}", first.join(", "), last.as_ref())
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn yaml_and_json_say_the_same() {
        let value =
            json!({"routers": [{"name": "web", "since": null, "ready": "True", "id": "0x10"}]});
        let yaml = data(&value, Format::Yaml).unwrap();
        let back: serde_json::Value = serde_saphyr::from_str(&yaml).unwrap();
        assert_eq!(back, value, "{yaml}");
        let json = data(&value, Format::Json).unwrap();
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&json).unwrap(),
            value
        );
    }

    #[test]
    fn lists_and_counts_are_words() {
        assert_eq!(list(&["a"]), "a");
        assert_eq!(list(&["a", "b", "c"]), "a, b and c");
        assert_eq!(
            (many(1, "node"), many(0, "node")),
            ("1 node".into(), "0 nodes".into())
        );
    }
}
