//! Where the configuration comes from: a directory of manifests, or the cluster.
//!
//! What is in force is offered as [`Desired`]. Bad input is refused with its place while everything else goes on with
//! its last good state. Never touches the kernel.
//!
//! - `cluster`: the configurations that an operator wrote for this node.
//!
//! Manifests are read, and the compiler is asked:
//!
//! - `yaml`: text to values with places.
//! - `manifest`, `schema`: values to objects.
//! - `store`: objects to what is in force, with the last good state of each.
//! - `directory`, `watch`: the files, once and whenever they change.

pub mod cluster;
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
use std::sync::Arc;

use anyhow::Context as _;
use tokio::sync::watch as channel;
use vipkeeper_crds::{NodeConfigSpec, NodeSettings};

use crate::cli::RunArgs;
use crate::home::Home;

pub use diagnosis::{Diagnosis, Position, Severity};
pub use keys::Keys;
pub use manifest::File;
pub use store::Store;
pub use watch::{Desired, Watch, watch};

/// A source that is followed.
pub enum Source {
    /// A directory.
    Manifests(Watch),
    /// A cluster.
    Cluster(Box<cluster::Cluster>),
}

impl Source {
    /// As the command line says, for the agent of `home`.
    ///
    /// # Errors
    /// If the directory cannot be read, or nothing says how to reach an API server.
    pub async fn open(args: &RunArgs, home: &Home) -> anyhow::Result<Self> {
        if let Some(manifests) = &args.manifests {
            let watched = watch(manifests, &home.node);
            let what = || format!("the manifests in {}", manifests.display());
            return Ok(Self::Manifests(watched.with_context(what)?));
        }
        let options = cluster::Options {
            node: home.node.clone(),
            state_dir: home.state_dir.clone(),
            kubeconfig: args.kubeconfig.clone(),
            key_namespace: args.key_namespace.clone(),
        };
        Ok(Self::Cluster(Box::new(cluster::follow(options).await?)))
    }

    /// What is in force now and from now on.
    #[must_use]
    pub fn desired(&self) -> channel::Receiver<Arc<Desired>> {
        match self {
            Self::Manifests(watch) => watch.desired(),
            Self::Cluster(cluster) => cluster.desired.clone(),
        }
    }
}

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
