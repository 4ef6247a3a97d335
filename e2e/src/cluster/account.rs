//! Ways to the API server as the chart's ServiceAccounts, without a process of theirs.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::{Api, Cluster, NAMESPACE};

impl Cluster {
    /// The API server as the agent of `node` reaches it: with the token of its pod.
    ///
    /// # Errors
    /// When there is no pod of the DaemonSet on the node.
    pub fn as_agent(&self, node: &str) -> Result<Api> {
        let pods = self.await_pods("agent", self.lab.nodes().len())?;
        let is_there = |pod: &&super::Pod| pod.spec.node_name.as_deref() == Some(node);
        let pod = pods.iter().find(is_there);
        let pod = pod.with_context(|| format!("no pod of the DaemonSet on {node}"))?;
        let identity = self.identity(pod, self.plane.host())?;
        self.api.of(&identity.kubeconfig)
    }

    /// The same as an operator.
    ///
    /// # Errors
    /// When there is no pod of the Deployment.
    pub fn as_operator(&self) -> Result<Api> {
        let pods = self.await_pods("operator", 1)?;
        let pod = pods.first().context("no pod of the Deployment")?;
        let identity = self.identity(pod, self.plane.host())?;
        self.api.of(&identity.kubeconfig)
    }

    /// The same as a ServiceAccount, with a token that names neither a pod nor a node.
    ///
    /// # Errors
    /// When there is no such ServiceAccount.
    pub fn as_account(&self, account: &str) -> Result<Api> {
        let path = format!("/api/v1/namespaces/{NAMESPACE}/serviceaccounts/{account}/token");
        let request = json!({
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
            "spec": {"audiences": [], "expirationSeconds": 3_600},
        });
        let answer: Value = self.api.create(&path, &request)?.context("no token")?;
        let token = answer["status"]["token"].as_str();
        let credentials = format!("token: {}", token.context("no token in the answer")?);
        let kubeconfig = self.plane.host().directory();
        let kubeconfig = kubeconfig.join(format!("{account}.kubeconfig"));
        self.plane.write_kubeconfig(&kubeconfig, &credentials)?;
        self.api.of(&kubeconfig)
    }
}
