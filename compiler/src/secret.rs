//! The rule of references to Secrets: what is referred to exists. Values are nobody's business here.

use std::collections::BTreeSet;

use vipkeeper_crds::SecretKey;

use crate::SecretName;
use crate::finding::Remarks;

/// Says if `wanted`, referred to at `path`, does not exist; `find` knows the keys of each Secret.
pub(crate) fn exists<'a>(
    wanted: &SecretKey,
    path: &str,
    find: impl Fn(&SecretName) -> Option<&'a BTreeSet<String>>,
    remarks: &mut Remarks,
) {
    let (namespace, name, key) = (&wanted.namespace, &wanted.name, &wanted.key);
    let full = SecretName {
        namespace: namespace.clone(),
        name: name.clone(),
    };
    match find(&full) {
        None => remarks.error(
            format!("{path}.name"),
            format!("there is no Secret {name} in namespace {namespace}: create it there, or say its `namespace`"),
        ),
        Some(keys) if !keys.contains(key) => {
            let known: Vec<&str> = keys.iter().map(String::as_str).collect();
            remarks.error(
                format!("{path}.key"),
                format!(
                    "Secret {namespace}/{name} has no key `{key}`: it has [{}]",
                    known.join(", ")
                ),
            );
        }
        Some(_) => {}
    }
}
