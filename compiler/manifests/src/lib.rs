//! Manifests: objects as people write them in files, with the place of everything that is wrong with them. Pure: texts
//! and their names come in, objects, configurations and diagnoses go out.
//!
//! Bad input is refused with its place while everything else goes on with its last good state. Never says whether an
//! object makes sense: that is the compiler's.
//!
//! - `yaml`: text to values; `places`: where in the text they are.
//! - `manifest`, `schema`: values to objects.
//! - `store`: objects to what is in force, with the last good state of each.
//! - `diagnosis`, `keys`: what is wrong, and where; what is in Secrets.

mod diagnosis;
mod keys;
mod manifest;
mod places;
mod schema;
mod store;
#[cfg(test)]
mod tests;
mod yaml;

use vipkeeper_compiler::Endpoints;
use vipkeeper_crds::{NodeConfigSpec, NodeSettings};

pub use diagnosis::{DOCUMENT, Diagnosis, Position, Severity, Tally, many};
pub use keys::Keys;
pub use manifest::{File, MAX_BYTES, is_manifest};
pub use store::{Store, review};

/// What manifests mean for one node.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Loaded {
    /// What the node runs, the longest running router first.
    pub configs: Vec<NodeConfigSpec>,
    /// What holds for all routers.
    pub settings: NodeSettings,
    /// The values of all Secrets.
    pub keys: Keys,
    /// The endpoints of all Services.
    pub endpoints: Endpoints,
    /// What is wrong, by place.
    pub findings: Vec<Diagnosis>,
}

/// What manifests mean for several nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Survey {
    /// How many files there are.
    pub files: usize,
    /// What is wrong, by place, whichever node it concerns.
    pub findings: Vec<Diagnosis>,
    /// The names of the routers that each node runs.
    pub nodes: Vec<(String, Vec<String>)>,
}

/// What `files` mean for `node`, or without one for every node that takes part in a router.
#[must_use]
pub fn survey(files: &[File], node: Option<&str>) -> Survey {
    let mut survey = Survey {
        files: files.len(),
        ..Survey::default()
    };
    let mut look = |node: &str| {
        let mut store = Store::default();
        let loaded = store.update(files, node);
        survey.findings.extend(loaded.findings);
        let routers = loaded.configs.into_iter().map(|c| c.router).collect();
        if !node.is_empty() {
            survey.nodes.push((node.to_owned(), routers));
        }
        store
    };
    match node {
        Some(node) => {
            look(node);
        }
        None => {
            for node in look("").candidates() {
                look(node);
            }
        }
    }
    survey.findings.sort();
    survey.findings.dedup();
    survey
}
