//! Where the configuration comes from: a directory of manifests.
//!
//! Files are read, the compiler is asked, and what is in force is offered as [`Desired`]. Bad input is refused with
//! its place while everything else goes on with its last good state. Never touches the network or the kernel.
//!
//! - `yaml`: text to values with places.
//! - `manifest`: values to objects.
//! - `store`: objects to what is in force, with the last good state of each.
//! - `directory`, `watch`: the files, once and whenever they change.

mod diagnosis;
mod directory;
mod keys;
mod manifest;
mod store;
#[cfg(test)]
mod tests;
mod watch;
mod yaml;

use std::io;
use std::path::Path;

use vipkeeper_crds::NodeConfigSpec;

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
