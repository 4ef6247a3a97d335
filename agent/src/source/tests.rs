//! A directory of manifests and what comes of it, and of editing it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::*;

#[test]
fn a_directory_that_is_not_there_is_an_error() {
    let missing = std::env::temp_dir().join("vk-source-missing");
    assert!(load(&missing, "a").is_err());
    assert!(watch(&missing, "a").is_err());
}

/// A directory of its own that goes away.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("vk-source-{name}-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.0.join(name), text).unwrap();
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

/// Less than the period after which the directory is read without an event.
const DEADLINE: Duration = Duration::from_secs(9);

/// Waits until `condition` holds of what is in force.
async fn until(
    watch: &Watch,
    what: &str,
    condition: impl FnMut(&Arc<Desired>) -> bool,
) -> Arc<Desired> {
    let mut desired = watch.desired();
    let reached = tokio::time::timeout(DEADLINE, desired.wait_for(condition)).await;
    match reached {
        Ok(desired) => desired.unwrap().clone(),
        Err(_) => panic!("{what}: {:?}", watch.desired().borrow()),
    }
}

fn runs<'a>(names: &'a [&'a str]) -> impl FnMut(&Arc<Desired>) -> bool + 'a {
    |desired| {
        desired
            .configs
            .iter()
            .map(|c| c.router.as_str())
            .eq(names.iter().copied())
    }
}

#[tokio::test]
async fn edits_of_every_kind_arrive() {
    let dir = Scratch::new("edits");
    let (one, two) = (
        router("one", 51, "192.0.2.101"),
        router("two", 52, "192.0.2.102"),
    );
    dir.write("one.yaml", &one);
    dir.write(".hidden.yaml", "a: [");
    dir.write("notes.txt", "a: [");
    fs::create_dir(dir.0.join("sub.yaml")).unwrap();
    let watch = watch(&dir.0, "a").unwrap();
    let first = until(&watch, "start", runs(&["one"])).await;
    assert_eq!((first.generation, &first.findings[..]), (1, &[][..]));

    dir.write("two.yml", &two);
    until(&watch, "a new file", runs(&["one", "two"])).await;

    // As editors save: written beside, then renamed over.
    dir.write("one.yaml~", &one.replace("100}", "77}"));
    fs::rename(dir.0.join("one.yaml~"), dir.0.join("one.yaml")).unwrap();
    until(&watch, "a rename", |d| {
        d.configs.iter().any(|c| c.priority == 77)
    })
    .await;

    dir.write("one.yaml", "a: [");
    let bad = until(&watch, "a bad edit", |d| !d.findings.is_empty()).await;
    assert_eq!(bad.configs.len(), 2, "the last good state stays");
    assert!(bad.findings.iter().any(|f| f.file.ends_with("one.yaml")));

    fs::remove_file(dir.0.join("one.yaml")).unwrap();
    let after = until(&watch, "a deletion", runs(&["two"])).await;
    assert_eq!(after.findings, []);
    assert!(after.generation > bad.generation);
}

#[tokio::test]
async fn a_mounted_config_map_is_exchanged_as_a_whole() {
    let dir = Scratch::new("configmap");
    let version = |name: &str, text: &str| {
        fs::create_dir(dir.0.join(name)).unwrap();
        fs::write(dir.0.join(name).join("r.yaml"), text).unwrap();
    };
    version("..1", &router("r", 51, "192.0.2.101"));
    symlink("..1", dir.0.join("..data")).unwrap();
    symlink("..data/r.yaml", dir.0.join("r.yaml")).unwrap();
    let watch = watch(&dir.0, "a").unwrap();
    until(&watch, "start", runs(&["r"])).await;

    version("..2", &router("r", 99, "192.0.2.101"));
    symlink("..2", dir.0.join("..data_tmp")).unwrap();
    fs::rename(dir.0.join("..data_tmp"), dir.0.join("..data")).unwrap();
    fs::remove_dir_all(dir.0.join("..1")).unwrap();
    let after = until(&watch, "exchange", |d| {
        d.configs.iter().any(|c| c.virtual_router_id == 99)
    })
    .await;
    assert_eq!(after.findings, []);
}

#[tokio::test]
async fn a_directory_that_goes_away_and_comes_back_changes_nothing_meanwhile() {
    let dir = Scratch::new("away");
    let (inner, aside) = (dir.0.join("m"), dir.0.join("aside"));
    fs::create_dir(&inner).unwrap();
    fs::write(inner.join("r.yaml"), router("r", 51, "192.0.2.101")).unwrap();
    let watch = watch(&inner, "a").unwrap();
    until(&watch, "start", runs(&["r"])).await;
    fs::rename(&inner, &aside).unwrap();
    let gone = until(&watch, "gone", |d| !d.findings.is_empty()).await;
    assert_eq!(gone.configs.len(), 1);
    assert!(
        gone.findings[0]
            .message
            .contains("keeps its last good state")
    );
    fs::create_dir(&inner).unwrap();
    fs::write(inner.join("s.yaml"), router("s", 52, "192.0.2.102")).unwrap();
    until(&watch, "back", runs(&["s"])).await;
    fs::write(inner.join("t.yaml"), router("t", 53, "192.0.2.103")).unwrap();
    let back = until(&watch, "watched again", runs(&["s", "t"])).await;
    assert_eq!(back.findings, []);
}

/// A router of two nodes.
fn router(name: &str, vrid: u8, address: &str) -> String {
    format!(
        "apiVersion: vipkeeper.io/v1alpha1
kind: VirtualRouter
metadata:
  name: {name}
spec:
  virtualRouterId: {vrid}
  interface: {{type: Name, name: eth1}}
  addresses:
  - address: {address}
  nodes:
    priorities:
    - {{node: a, priority: 100}}
    - {{node: b, priority: 90}}
"
    )
}
