//! What is known of endpoints, as a file: an agent that starts while the API server is away serves them.

use std::fs;
use std::io;
use std::path::Path;

use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde::{Deserialize, Serialize};
use tracing::info;
use vipkeeper_compiler::ServiceName;

use crate::source::cluster::cache;

/// The form of the file; another is not read.
const FORMAT: u32 = 1;

/// The file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::source::cluster) struct SavedEndpoints {
    format: u32,
    node: String,
    /// The uid of kube-system.
    cluster: String,
    services: Vec<SavedService>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SavedService {
    namespace: String,
    name: String,
    /// None if it has none.
    slices: Vec<EndpointSlice>,
}

impl SavedEndpoints {
    pub(super) fn new(
        node: &str,
        cluster: &str,
        services: Vec<(ServiceName, Vec<EndpointSlice>)>,
    ) -> Self {
        let services = services.into_iter().map(|(service, slices)| SavedService {
            namespace: service.namespace,
            name: service.name,
            slices,
        });
        Self {
            format: FORMAT,
            node: node.to_owned(),
            cluster: cluster.to_owned(),
            services: services.collect(),
        }
    }

    /// What the file at `path` says of the Services of this node and cluster; one that cannot be used is as good as none.
    pub(in crate::source::cluster) fn read(path: &Path, node: &str, cluster: &str) -> Option<Self> {
        let text = fs::read(path).ok()?;
        let saved: Option<Self> = serde_json::from_slice(&text).ok();
        let own = |s: &Self| s.format == FORMAT && s.node == node && s.cluster == cluster;
        let saved = saved.filter(own);
        if saved.is_none() {
            let path = path.display();
            info!(%path, "the endpoints of before are damaged, or of another form, node or cluster");
        }
        saved
    }

    pub(super) fn write(&self, path: &Path) -> io::Result<()> {
        cache::replace(path, &serde_json::to_vec(self)?)
    }

    pub(super) fn into_services(self) -> impl Iterator<Item = (ServiceName, Vec<EndpointSlice>)> {
        self.services.into_iter().map(|saved| {
            let service = ServiceName {
                namespace: saved.namespace,
                name: saved.name,
            };
            (service, saved.slices)
        })
    }
}
