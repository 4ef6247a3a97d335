//! Where the programs under test are, and those of Kubernetes that they talk to.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

/// A program of ours: what the environment's `variable` says, or `name` beside this one in cargo's target directory.
///
/// # Errors
/// When it is not there; with the command that builds it.
pub fn built(variable: &str, name: &str) -> Result<PathBuf> {
    let path = match env::var_os(variable) {
        Some(path) => PathBuf::from(path),
        None => {
            let own = env::current_exe()?;
            let profile = own
                .ancestors()
                .skip(1)
                .find(|directory| !directory.ends_with("deps"));
            profile.unwrap_or(Path::new("")).join(name)
        }
    };
    let path_shown = path.display();
    ensure!(
        path.is_file(),
        "no {name} at {path_shown}: cargo build --bin {name}"
    );
    Ok(path)
}

/// The directory of etcd, kube-apiserver, kube-controller-manager, kubectl and helm: `VIPKEEPER_KUBERNETES`.
///
/// # Errors
/// When it is not told or not complete; with the command that builds it.
pub fn kubernetes() -> Result<PathBuf> {
    const HOW: &str = "VIPKEEPER_KUBERNETES=$(scripts/kubernetes)";
    let directory = env::var_os("VIPKEEPER_KUBERNETES").filter(|value| !value.is_empty());
    let directory =
        PathBuf::from(directory.with_context(|| format!("not told where Kubernetes is: {HOW}"))?);
    for name in [
        "etcd",
        "kube-apiserver",
        "kube-controller-manager",
        "kubectl",
        "helm",
    ] {
        let path = directory.join(name);
        ensure!(path.is_file(), "no {}: {HOW}", path.display());
    }
    Ok(directory)
}
