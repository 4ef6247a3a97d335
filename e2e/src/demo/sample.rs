//! The sample manifests as the demo needs to know them: which nodes, which addresses, which timers.
//!
//! Only reads. The agents read the same files by themselves.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use vipkeeper_crds::VirtualRouter;

use crate::manifest::Router;

/// `spec.advertisementInterval` where a version 3 router has none.
const DEFAULT_INTERVAL: Duration = Duration::from_millis(250);

/// A directory of manifests for two nodes.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    /// Where the files are.
    pub(super) directory: PathBuf,
    /// The two nodes, in the order in which the first router names them.
    pub(super) nodes: [String; 2],
    /// The virtual routers, in the order of files and documents.
    pub(super) routers: Vec<Router>,
}

impl Sample {
    /// Reads the manifests of `directory`.
    ///
    /// # Errors
    /// When they cannot be read, or are not for two nodes.
    pub(super) fn read(directory: &Path) -> Result<Self> {
        let directory = directory
            .canonicalize()
            .with_context(|| format!("find the manifests in {}", directory.display()))?;
        let mut files: Vec<PathBuf> = fs::read_dir(&directory)?
            .map(|entry| Ok(entry?.path()))
            .collect::<Result<_>>()?;
        files.retain(|file| file.extension().is_some_and(|e| e == "yaml" || e == "yml"));
        files.sort();
        let mut routers = Vec::new();
        for file in &files {
            let text = fs::read_to_string(file)?;
            let found = documents(&text).with_context(|| format!("in {}", file.display()))?;
            routers.extend(found);
        }
        let nodes = nodes(&routers)
            .with_context(|| format!("in the manifests of {}", directory.display()))?;
        Ok(Self {
            directory,
            nodes,
            routers,
        })
    }
}

/// The VirtualRouters of one file.
fn documents(text: &str) -> Result<Vec<Router>> {
    let documents: Vec<serde_json::Value> = serde_saphyr::from_multiple(text)?;
    let routers = documents
        .into_iter()
        .filter(|document| document["kind"] == "VirtualRouter");
    routers
        .map(|document| router(&serde_json::from_value(document)?))
        .collect()
}

fn router(object: &VirtualRouter) -> Result<Router> {
    let name = object.metadata.name.clone().context("a router's name")?;
    let spec = &object.spec;
    ensure!(spec.version == 3, "{name}: the demo is of version 3");
    let addresses = spec.addresses.iter().map(|a| a.address.parse());
    let addresses: Vec<IpAddr> = addresses.collect::<Result<_, _>>()?;
    let priorities = spec.nodes.priorities.iter();
    let priorities = priorities.map(|p| Ok((p.node.clone(), u8::try_from(p.priority)?)));
    let vrid = spec.virtual_router_id.context("virtualRouterId")?;
    Ok(Router {
        priorities: priorities.collect::<Result<_>>()?,
        interval: spec
            .advertisement_interval
            .map_or(DEFAULT_INTERVAL, Duration::from),
        ..Router::new(&name, u8::try_from(vrid)?, &addresses, &[])
    })
}

/// The two nodes that every router names.
fn nodes(routers: &[Router]) -> Result<[String; 2]> {
    let first = routers.first().context("there is no VirtualRouter")?;
    let [(one, _), (other, _)] = first.priorities.as_slice() else {
        bail!("{} is not for two nodes", first.name);
    };
    for router in routers {
        let names = |node| router.priorities.iter().any(|(name, _)| name == node);
        ensure!(
            router.priorities.len() == 2 && names(one) && names(other),
            "{} is not for {one} and {other}",
            router.name
        );
        ensure!(
            router.addresses.len() == 1,
            "{} has not one address",
            router.name
        );
    }
    Ok([one.clone(), other.clone()])
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTERS: &str = "\
apiVersion: vipkeeper.io/v1alpha1
kind: VirtualRouter
metadata: {name: web-1}
spec:
  addresses: [{address: 192.0.2.101}]
  virtualRouterId: 51
  advertisementInterval: 100ms
  nodes: {priorities: [{node: node-a, priority: 100}, {node: node-b, priority: 90}]}
---
kind: Node
---
apiVersion: vipkeeper.io/v1alpha1
kind: VirtualRouter
metadata: {name: web-2}
spec:
  addresses: [{address: 192.0.2.102}]
  virtualRouterId: 52
  nodes: {priorities: [{node: node-b, priority: 100}, {node: node-a, priority: 90}]}
";

    #[test]
    fn routers_of_a_file_are_read_and_other_objects_passed_over() {
        let routers = documents(ROUTERS).unwrap();
        let [first, second] = routers.as_slice() else {
            panic!("{routers:?}");
        };
        assert_eq!((first.name.as_str(), first.vrid), ("web-1", 51));
        assert_eq!(first.interval, Duration::from_millis(100));
        assert_eq!(second.interval, DEFAULT_INTERVAL);
        assert_eq!(second.addresses, [IpAddr::from([192, 0, 2, 102])]);
        assert_eq!(nodes(&routers).unwrap(), ["node-a", "node-b"]);
    }

    #[test]
    fn routers_for_other_nodes_are_refused() {
        let text = ROUTERS.replace("{node: node-b, priority: 100}", "{node: c, priority: 100}");
        let refused = nodes(&documents(&text).unwrap()).unwrap_err();
        assert_eq!(refused.to_string(), "web-2 is not for node-a and node-b");
    }

    #[test]
    fn the_samples_are_a_pair_with_crossed_priorities() {
        let sample = Sample::read(Path::new(super::super::SAMPLES)).unwrap();
        let vrids: Vec<u8> = sample.routers.iter().map(|r| r.vrid).collect();
        assert_eq!(vrids, [51, 52]);
        for (router, preferred) in sample.routers.iter().zip(&sample.nodes) {
            let highest = router.priorities.iter().max_by_key(|(_, p)| *p).unwrap();
            assert_eq!(&highest.0, preferred);
        }
    }
}
