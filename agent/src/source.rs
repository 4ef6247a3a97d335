//! Where the configuration comes from: a directory of manifests.
//!
//! Files are read, the compiler is asked, and what is in force is offered as [`Desired`]. Bad input is refused with
//! its place while everything else goes on with its last good state. Never touches the network or the kernel.
//!
//! - `yaml`: text to values with places.
//! - `manifest`, `schema`: values to objects.
//! - `store`: objects to what is in force, with the last good state of each.
//! - `directory`, `watch`: the files, once and whenever they change.

mod diagnosis;
mod directory;
mod keys;
mod manifest;
mod schema;
mod store;
#[cfg(test)]
mod tests;
mod watch;
mod yaml;

use std::io;
use std::path::Path;

use vipkeeper_crds::{NodeConfigSpec, NodeSettings};

pub use diagnosis::{Diagnosis, Position, Severity};
pub use keys::Keys;
pub use manifest::File;
pub use store::Store;
pub use watch::{Desired, Watch, watch};

/// What manifests mean for one node.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Loaded {
    /// What the node runs, the longest running router first.
    pub configs: Vec<NodeConfigSpec>,
    /// What holds for all routers.
    pub settings: NodeSettings,
    /// The values of all Secrets.
    pub keys: Keys,
    /// What is wrong, by place.
    pub findings: Vec<Diagnosis>,
}

/// What the manifests in `dir` mean for `node`, on their own.
///
/// # Errors
/// If the directory cannot be read.
pub fn load(dir: &Path, node: &str) -> io::Result<Loaded> {
    Ok(Store::default().update(&directory::read(dir)?, node))
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

/// What the manifests in `dir` mean for `node`, or without one for every node that takes part in a router.
///
/// # Errors
/// If the directory cannot be read.
pub fn survey(dir: &Path, node: Option<&str>) -> io::Result<Survey> {
    let files = directory::read(dir)?;
    let mut store = Store::default();
    let mut survey = Survey {
        files: files.len(),
        findings: store.update(&files, node.unwrap_or_default()).findings,
        nodes: Vec::new(),
    };
    let listed = store.candidates().iter().cloned();
    let nodes: Vec<String> = node.map_or_else(|| listed.collect(), |n| vec![n.into()]);
    for node in nodes {
        let loaded = Store::default().update(&files, &node);
        survey.findings.extend(loaded.findings);
        let routers = loaded.configs.into_iter().map(|c| c.router).collect();
        survey.nodes.push((node, routers));
    }
    survey.findings.sort();
    survey.findings.dedup();
    Ok(survey)
}
