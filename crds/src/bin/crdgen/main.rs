//! Writes what is generated from the API's types to standard output: the chart of the CRDs and the reference page.
//!
//! Each file is a line `==> path` and its text; `scripts/crds` puts them into place. The same types give the same
//! bytes.

mod reference;
mod yaml;

use std::io::{self, Write as _};

use serde_json::{Value, json};

/// Says in every generated file where it comes from.
const GENERATED: &str = "generated from crds/src by `make crds`: edit there";

fn main() -> io::Result<()> {
    let definitions = vipkeeper_crds::definitions()?;
    let mut files = vec![
        ("charts/vipkeeper-crds/Chart.yaml".to_owned(), chart()),
        (
            "docs/reference.md".to_owned(),
            reference::page(&definitions),
        ),
    ];
    for definition in &definitions {
        let name = definition
            .pointer("/spec/names/plural")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let text = format!("# {GENERATED}\n{}", yaml::document(definition));
        files.push((format!("charts/vipkeeper-crds/templates/{name}.yaml"), text));
    }
    let mut out = io::stdout().lock();
    for (path, text) in files {
        writeln!(out, "==> {path}")?;
        out.write_all(text.as_bytes())?;
    }
    out.flush()
}

fn chart() -> String {
    let version = env!("CARGO_PKG_VERSION");
    let chart = json!({
        "apiVersion": "v2",
        "name": "vipkeeper-crds",
        "description": "The CustomResourceDefinitions of vipkeeper, which outlive the chart that uses them",
        "type": "application",
        "version": version,
        "appVersion": version,
        "kubeVersion": ">=1.33.0-0",
    });
    format!("# {GENERATED}\n{}", yaml::document(&chart))
}
