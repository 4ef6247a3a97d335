//! The usual scene: a cluster or the reason why there can be none here, and what is asked of it over and over.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};
use vipkeeper_crds::VirtualRouter;
use vipkeeper_crds::conditions::{Condition, ConditionStatus, ConditionType};
use vipkeeper_e2e::cluster::api::ROUTERS;
use vipkeeper_e2e::cluster::operator;
use vipkeeper_e2e::harness::Skip;
use vipkeeper_e2e::wait::{self, Seen};
use vipkeeper_e2e::{Cluster, agent, program};

/// The virtual address of most tests.
pub(crate) const VIP: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 100));
/// Time for what has no bound of its own.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// The longest that an address of a router with an interval of 100 ms and no address owner may be without an answer when its
/// holder dies: three intervals and at most one of skew, and what a loaded machine may add.
pub(crate) const BOUND: Duration = Duration::from_millis(400 + 250);

/// A cluster with an operator, and agents on all nodes; or the reason why there can be none here.
pub(crate) fn cluster(nodes: &[&str]) -> Result<Cluster> {
    need()?;
    Cluster::start(nodes)
}

/// The reason why there can be no cluster here, if there is one.
pub(crate) fn need() -> Result<()> {
    if !nix::unistd::geteuid().is_root() {
        return Err(Skip::because("network namespaces need root"));
    }
    let missing = [program::kubernetes(), agent::program(), operator::program()];
    if let Some(error) = missing.into_iter().find_map(Result::err) {
        return Err(Skip::because(error.to_string()));
    }
    let found = std::env::var_os("PATH").is_some_and(|path| {
        std::env::split_paths(&path)
            .any(|directory| Path::new(&directory).join("openssl").is_file())
    });
    if found {
        Ok(())
    } else {
        Err(Skip::because("openssl is not installed"))
    }
}

/// A VirtualRouter with one address and an interval of 100 ms, `more` in its spec.
pub(crate) fn router(name: &str, address: IpAddr, more: &Value) -> Value {
    let mut object = json!({
        "apiVersion": "vipkeeper.io/v1alpha1", "kind": "VirtualRouter", "metadata": {"name": name},
        "spec": {"addresses": [{"address": address}], "advertisementInterval": "100ms"},
    });
    if let (Some(spec), Some(more)) = (object["spec"].as_object_mut(), more.as_object()) {
        spec.extend(more.clone());
    }
    object
}

/// Where a VirtualRouter is.
pub(crate) fn path(router: &str) -> String {
    format!("{ROUTERS}/{router}")
}

/// A condition of `router`.
pub(crate) fn condition(router: &VirtualRouter, kind: ConditionType) -> Option<&Condition> {
    let mut conditions = router.status.iter().flat_map(|status| &status.conditions);
    conditions.find(|condition| condition.kind == kind)
}

/// Whether a condition of `router` is true.
pub(crate) fn is(router: &VirtualRouter, kind: ConditionType) -> bool {
    condition(router, kind).is_some_and(|c| c.status == ConditionStatus::True)
}

/// The Active node of `router`'s only family.
pub(crate) fn active(router: &VirtualRouter) -> Option<&str> {
    let family = router.status.as_ref()?.families.first()?;
    family.active_node.as_deref()
}

/// What tests ask of a cluster.
pub(crate) trait Scene {
    /// Applies a VirtualRouter and waits until it is Ready; which node is Active.
    fn serve(&self, router: &Value) -> Result<String>;
    /// How often the agents that run have changed the state of `router`, by node.
    fn transitions(&self, router: &str) -> Result<Vec<(String, u64)>>;
    /// The nodes whose kernel has `address`.
    fn holders(&self, address: IpAddr) -> Result<Vec<String>>;
    /// Waits until `router` is Ready with `wanted` as its Active.
    fn await_active(&self, router: &str, wanted: impl Fn(&str) -> bool) -> Result<VirtualRouter>;
    /// Waits until exactly `nodes` have `address`.
    fn await_holders(&self, address: IpAddr, nodes: &[&str]) -> Result<()>;
    /// Waits until exactly one node has `address`, and says which.
    fn await_holder(&self, address: IpAddr, wanted: impl Fn(&str) -> bool) -> Result<String>;
}

impl Scene for Cluster {
    fn serve(&self, router: &Value) -> Result<String> {
        let name = router["metadata"]["name"].as_str().unwrap_or_default();
        self.api.apply(&path(name), router)?;
        let ready = self.await_active(name, |_| true)?;
        Ok(active(&ready).unwrap_or_default().to_owned())
    }

    fn transitions(&self, router: &str) -> Result<Vec<(String, u64)>> {
        let agents = self.agents.iter();
        agents
            .map(|agent| {
                Ok((
                    agent.node().name().to_owned(),
                    agent.router(router)?.transitions,
                ))
            })
            .collect()
    }

    fn holders(&self, address: IpAddr) -> Result<Vec<String>> {
        let mut holders = Vec::new();
        for node in self.lab.nodes() {
            if node.holds(address)? {
                holders.push(node.name().to_owned());
            }
        }
        Ok(holders)
    }

    fn await_active(&self, router: &str, wanted: impl Fn(&str) -> bool) -> Result<VirtualRouter> {
        let is_so = |router: &VirtualRouter| {
            is(router, ConditionType::Ready) && active(router).is_some_and(&wanted)
        };
        self.api
            .await_object(&path(router), "Ready with its Active", SOON, is_so)
    }

    fn await_holders(&self, address: IpAddr, nodes: &[&str]) -> Result<()> {
        wait::until(&format!("{address} on {nodes:?}"), SOON, || {
            Ok(Seen::when(self.holders(address)?, |held| held == nodes).map(|_| ()))
        })
    }

    fn await_holder(&self, address: IpAddr, wanted: impl Fn(&str) -> bool) -> Result<String> {
        wait::until(&format!("one holder of {address}"), SOON, || {
            let holders = self.holders(address)?;
            Ok(match holders.as_slice() {
                [one] if wanted(one) => Seen::Yes(one.clone()),
                _ => Seen::NotYet(format!("{holders:?}")),
            })
        })
    }
}
