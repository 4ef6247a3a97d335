//! The CustomResourceDefinitions as they are installed: what is derived from the types, made fit for the API server
//! and for reading.

use kube::CustomResourceExt as _;
use serde_json::{Map, Value, json};

use crate::node_config::NodeConfig;
use crate::router::VirtualRouter;
use crate::rules;
use crate::server::VirtualServer;
use crate::settings::Settings;

/// The root of a schema in a definition.
const SCHEMA: &str = "/spec/versions/0/schema/openAPIV3Schema";

/// All definitions, by name.
///
/// # Errors
/// If a schema cannot be written as JSON.
pub fn definitions() -> Result<Vec<Value>, serde_json::Error> {
    let mut all = vec![
        serde_json::to_value(NodeConfig::crd())?,
        serde_json::to_value(Settings::crd())?,
        serde_json::to_value(VirtualRouter::crd())?,
        serde_json::to_value(VirtualServer::crd())?,
    ];
    for definition in &mut all {
        let kind = definition.pointer("/spec/names/kind");
        let is_settings = kind.and_then(Value::as_str) == Some("Settings");
        if let Some(schema) = definition.pointer_mut(SCHEMA) {
            tidy(schema);
            if let (true, Some(root)) = (is_settings, schema.as_object_mut()) {
                root.insert("x-kubernetes-validations".into(), rules::settings());
            }
        }
        if let Some(metadata) = definition.pointer_mut("/metadata")
            && let Some(metadata) = metadata.as_object_mut()
        {
            // Whoever uninstalls the chart keeps the objects.
            let keep = json!({"helm.sh/resource-policy": "keep"});
            metadata.insert("annotations".into(), keep);
        }
    }
    Ok(all)
}

/// Makes a derived schema one that the API server takes without remarks.
fn tidy(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            fit(fields);
            for field in fields.values_mut() {
                tidy(field);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(tidy),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn fit(schema: &mut Map<String, Value>) {
    // Fields are left out, not null: then `has()` of CEL tells.
    if schema.get("nullable") == Some(&Value::Bool(true)) {
        schema.remove("nullable");
    }
    // The API server knows few formats.
    let known = ["int32", "int64", "date-time"];
    let format = schema.get("format").and_then(Value::as_str);
    if schema.get("type").is_some_and(Value::is_string)
        && format.is_some_and(|f| !known.contains(&f))
    {
        schema.remove("format");
    }
    for bound in ["minimum", "maximum"] {
        if let Some(number) = schema.get(bound).and_then(Value::as_f64)
            && number.fract() == 0.0
        {
            #[expect(
                clippy::cast_possible_truncation,
                reason = "bounds are whole numbers below 2^53"
            )]
            schema.insert(bound.to_owned(), (number as i64).into());
        }
    }
    // Lines of the source are no lines of a text.
    if let Some(Value::String(text)) = schema.get_mut("description") {
        let paragraphs = text.split("\n\n").map(|p| p.replace('\n', " "));
        *text = paragraphs.collect::<Vec<_>>().join("\n\n");
    }
}
