//! What the schema of a kind of ours says about a field that is not there.

use std::sync::LazyLock;

use kube::CustomResourceExt as _;
use serde_json::Value;
use vipkeeper_crds::{Settings, VirtualRouter, VirtualServer};

use crate::manifest::Kind;

/// The CRDs, made when first needed; null, which has no fields, if it cannot be written.
static ROUTER: LazyLock<Value> =
    LazyLock::new(|| serde_json::to_value(VirtualRouter::crd()).unwrap_or_default());
static SERVER: LazyLock<Value> =
    LazyLock::new(|| serde_json::to_value(VirtualServer::crd()).unwrap_or_default());
static SETTINGS: LazyLock<Value> =
    LazyLock::new(|| serde_json::to_value(Settings::crd()).unwrap_or_default());

/// What to say about the field at `path`, which `kind` does not have.
pub(crate) fn no_such_field(kind: Kind, path: &str) -> String {
    let crd = match kind {
        Kind::Router => &*ROUTER,
        Kind::Server => &*SERVER,
        Kind::Settings => &*SETTINGS,
        Kind::Node | Kind::Namespace | Kind::Secret | Kind::ConfigMap | Kind::Slice => &Value::Null,
    };
    let fields = match path.rsplit_once('.') {
        Some((parent, _)) => fields_of(crd, parent),
        // Those of every object, which the schema of one kind does not list.
        None => ["apiVersion", "kind", "metadata", "spec"]
            .map(str::to_owned)
            .into(),
    };
    match fields {
        fields if fields.is_empty() => {
            "no such field: check its spelling and its indentation".to_owned()
        }
        fields => format!("no such field: known here are {}", fields.join(", ")),
    }
}

/// The paths of fields of a VirtualServer that the reader passes over in silence, because their struct is put together
/// of two: those of `https`.
pub(crate) fn hidden_strangers(server: &Value) -> Vec<String> {
    let probes = server.pointer("/spec/probes").and_then(Value::as_array);
    let mut found = Vec::new();
    for (i, probe) in probes.into_iter().flatten().enumerate() {
        let path = format!("spec.probes[{i}].https");
        let Some(https) = probe.get("https").and_then(Value::as_object) else {
            continue;
        };
        let known = fields_of(&SERVER, &path);
        let strangers = https.keys().filter(|field| !known.contains(field));
        found.extend(strangers.map(|field| format!("{path}.{field}")));
    }
    found
}

/// The fields of the object at `path`; none if the schema does not list them.
fn fields_of(crd: &Value, path: &str) -> Vec<String> {
    let mut schema = crd.pointer("/spec/versions/0/schema/openAPIV3Schema");
    for segment in path.split('.') {
        let (name, index) = segment.split_once('[').unwrap_or((segment, ""));
        schema = schema.and_then(|s| s.get("properties")?.get(name));
        if !index.is_empty() {
            schema = schema.and_then(|s| s.get("items"));
        }
    }
    let fields = schema
        .and_then(|s| s.get("properties"))
        .and_then(Value::as_object);
    fields
        .into_iter()
        .flatten()
        .map(|(name, _)| name.clone())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_neighbours_of_an_unknown_field_are_listed() {
        let settings = no_such_field(Kind::Settings, "spec.heartbeat.intervall");
        assert!(
            settings.contains("known here are interval, secretRef"),
            "{settings}"
        );
        for (path, expected) in [
            ("spek", "known here are apiVersion, kind, metadata, spec"),
            ("spec.interface.nam", "known here are name, subnet, type"),
            (
                "spec.addresses[3].adress",
                "known here are address, interface, prefixLength",
            ),
            (
                "spec.transport.extraPeers[0].minTtl",
                "known here are address, minTTL",
            ),
            ("metadata.nam", "check its spelling"),
        ] {
            let message = no_such_field(Kind::Router, path);
            assert!(message.contains(expected), "{path}: {message}");
        }
    }
}
