//! The reference page: every field of every object, from its schema.

use std::fmt::Write as _;

use serde_json::Value;

/// The page about `definitions`.
pub(crate) fn page(definitions: &[Value]) -> String {
    let mut out = String::from(
        "# Reference\n\nEvery field of every object of `vipkeeper.io/v1alpha1`; generated from the CRDs. Paths with `[]` are about each item\nof a list. Times are whole numbers with units, largest first: `250ms`, `1s`, `1m30s`. What is written for people is in\n[standalone.md](standalone.md) and [concepts.md](concepts.md).\n",
    );
    for definition in definitions {
        let text = |path: &str| {
            let found = definition.pointer(path).and_then(Value::as_str);
            found.unwrap_or_default().to_owned()
        };
        let schema = "/spec/versions/0/schema/openAPIV3Schema";
        let kind = text("/spec/names/kind");
        let about = text(&format!("{schema}/description"));
        // Writing to a String cannot fail.
        write!(out, "\n## {kind}\n\n{about}\n").ok();
        for part in ["spec", "status"] {
            let mut rows = Vec::new();
            if let Some(part_schema) = definition.pointer(&format!("{schema}/properties/{part}")) {
                fields(part, part_schema, &mut rows);
            }
            if !rows.is_empty() {
                write!(
                    out,
                    "\n| Field | Type | Default | |\n|---|---|---|---|\n{}",
                    rows.concat()
                )
                .ok();
            }
        }
        let mut rules = Vec::new();
        if let Some(schema) = definition.pointer(schema) {
            collect_rules("", schema, &mut rules);
        }
        if !rules.is_empty() {
            write!(out, "\nRules across fields:\n\n{}", rules.concat()).ok();
        }
    }
    out
}

fn fields(path: &str, schema: &Value, rows: &mut Vec<String>) {
    let required = schema.get("required").and_then(Value::as_array);
    let properties = schema.get("properties").and_then(Value::as_object);
    for (name, field) in properties.into_iter().flatten() {
        let path = format!("{path}.{name}");
        let is_required = required
            .into_iter()
            .flatten()
            .any(|r| r.as_str() == Some(name));
        let default = match field.get("default") {
            Some(value) => format!("`{value}`"),
            None if is_required => "required".to_owned(),
            None => String::new(),
        };
        let about = field.get("description").and_then(Value::as_str);
        let about = about.unwrap_or_default().replace('\n', " ");
        rows.push(format!(
            "| `{path}` | {} | {} | {} |\n",
            kind(field),
            default.replace('|', "\\|"),
            about.replace('|', "\\|")
        ));
        match field.get("items") {
            Some(items) => fields(&format!("{path}[]"), items, rows),
            None => fields(&path, field, rows),
        }
    }
}

/// The type of a field with its bounds.
fn kind(schema: &Value) -> String {
    let name = schema.get("type").and_then(Value::as_str).unwrap_or("any");
    if let Some(choices) = schema.get("enum").and_then(Value::as_array) {
        let choices = choices.iter().filter_map(Value::as_str);
        return choices
            .map(|c| format!("`{c}`"))
            .collect::<Vec<_>>()
            .join(", ");
    }
    let bounds = [
        ("minimum", "maximum", ""),
        ("minLength", "maxLength", " characters"),
        ("minItems", "maxItems", " items"),
        ("minProperties", "maxProperties", " entries"),
    ];
    for (least, most, unit) in bounds {
        let bound = |name: &str| schema.get(name).map(ToString::to_string);
        match (bound(least), bound(most)) {
            (Some(least), Some(most)) => return format!("{name}, {least} to {most}{unit}"),
            (None, Some(most)) => return format!("{name}, at most {most}{unit}"),
            (Some(least), None) => return format!("{name}, at least {least}{unit}"),
            (None, None) => {}
        }
    }
    name.to_owned()
}

fn collect_rules(path: &str, schema: &Value, rules: &mut Vec<String>) {
    let own = schema.get("x-kubernetes-validations");
    for rule in own.and_then(Value::as_array).into_iter().flatten() {
        let message = rule.get("message").and_then(Value::as_str);
        let place = if path.is_empty() { "object" } else { path };
        rules.push(format!("- `{place}`: {}\n", message.unwrap_or_default()));
    }
    let properties = schema.get("properties").and_then(Value::as_object);
    for (name, field) in properties.into_iter().flatten() {
        let path = if path.is_empty() {
            name.clone()
        } else {
            format!("{path}.{name}")
        };
        match field.get("items") {
            Some(items) => collect_rules(&format!("{path}[]"), items, rules),
            None => collect_rules(&path, field, rules),
        }
    }
}
