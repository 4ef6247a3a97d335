//! All objects as the API server has them, and what has to be written so that they are as they should be. Pure.
//!
//! Owns the compiler's index and what it rendered. Never talks to anybody: changes come in, writes go out, and a
//! write counts as done when it comes back as a change.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::Node;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{OwnerReference, Time};
use kube::ResourceExt as _;
use kube::api::{ObjectMeta, Resource};
use vipkeeper_compiler::{
    ConfigKey, Configurations, Finding, Index, Previous, ReportedInterface, Setting,
};
use vipkeeper_crds::status::{NodeInventory, VirtualRouterStatus};
use vipkeeper_crds::{
    NodeConfig, NodeConfigObjectSpec, NodeSettings, SETTINGS_NAME, Settings, VirtualRouter,
};

use crate::{name, projection};

/// Where the VRID that a router was given is kept besides its status: a backup has annotations alone.
pub const VRID_ANNOTATION: &str = "vipkeeper.io/virtual-router-id";
/// Where its candidates are kept, the highest priority first, with commas.
pub const CANDIDATES_ANNOTATION: &str = "vipkeeper.io/candidates";

/// The kinds that are watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// VirtualRouters.
    Router,
    /// Nodes.
    Node,
    /// NodeConfigs.
    Config,
    /// Settings.
    Settings,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Router, Self::Node, Self::Config, Self::Settings];
}

/// Something changed at the API server.
#[derive(Clone, Debug)]
pub enum Change {
    /// A VirtualRouter is so.
    Router(Box<VirtualRouter>),
    /// A Node is so.
    Node(Box<Node>),
    /// A NodeConfig is so.
    Config(Box<NodeConfig>),
    /// Settings are so.
    Settings(Box<Settings>),
    /// An object is not there any more.
    Gone(Kind, String),
    /// All objects of a kind have been told.
    Listed(Kind),
}

/// Something to write.
#[derive(Clone, Debug, PartialEq)]
pub enum Write {
    /// A NodeConfig shall be so.
    Config(Box<NodeConfig>),
    /// A NodeConfig shall go, if it is still the one with this uid.
    Remove {
        /// Its name.
        name: String,
        /// Its uid.
        uid: String,
    },
    /// A router's status shall be so.
    Status {
        /// The router.
        router: String,
        /// The whole status.
        status: Box<VirtualRouterStatus>,
    },
    /// A router shall remember what it was given.
    Annotations {
        /// The router.
        router: String,
        /// These annotations.
        annotations: BTreeMap<String, String>,
    },
}

impl Write {
    /// The object that it is about, for ordering and back-off.
    #[must_use]
    pub fn subject(&self) -> (&'static str, &str) {
        match self {
            Self::Config(config) => (
                "NodeConfig",
                config.metadata.name.as_deref().unwrap_or_default(),
            ),
            Self::Remove { name, .. } => ("NodeConfig", name),
            Self::Status { router, .. } => ("VirtualRouter status", router),
            Self::Annotations { router, .. } => ("VirtualRouter", router),
        }
    }
}

/// See the module.
#[derive(Debug)]
pub struct Cluster {
    index: Index,
    configurations: Configurations,
    routers: BTreeMap<String, VirtualRouter>,
    /// Which of two routers of one second is the older: that which was given something before, then that which was
    /// told first.
    seniority: BTreeMap<String, u64>,
    told: u64,
    /// The uid of each Node.
    nodes: BTreeMap<String, String>,
    configs: BTreeMap<String, NodeConfig>,
    settings: NodeSettings,
    listed: BTreeSet<Kind>,
}

impl Default for Cluster {
    fn default() -> Self {
        Self {
            index: Index::new(Setting::Cluster),
            configurations: Configurations::default(),
            routers: BTreeMap::new(),
            seniority: BTreeMap::new(),
            told: 0,
            nodes: BTreeMap::new(),
            configs: BTreeMap::new(),
            settings: NodeSettings::default(),
            listed: BTreeSet::new(),
        }
    }
}

impl Cluster {
    /// Takes in a change.
    pub fn take(&mut self, change: Change) {
        match change {
            Change::Router(router) => self.take_router(*router),
            Change::Node(node) => {
                self.index.set_node(&node);
                let name = node.metadata.name.unwrap_or_default();
                self.nodes
                    .insert(name, node.metadata.uid.unwrap_or_default());
            }
            Change::Config(config) => self.take_config(*config),
            Change::Settings(settings) => {
                if settings.metadata.name.as_deref() == Some(SETTINGS_NAME) {
                    // Whether its Secret exists is the agents' to know: no key is read here.
                    let (good, _) = vipkeeper_compiler::settings(&settings, &BTreeMap::new());
                    self.settings = good.unwrap_or_else(|| self.settings.clone());
                }
            }
            Change::Gone(Kind::Router, name) => {
                self.index.remove_router(&name);
                self.routers.remove(&name);
                self.seniority.remove(&name);
            }
            Change::Gone(Kind::Node, name) => {
                self.index.remove_node(&name);
                self.index.set_interfaces(&name, None);
                self.nodes.remove(&name);
            }
            Change::Gone(Kind::Config, name) => {
                self.configs.remove(&name);
            }
            Change::Gone(Kind::Settings, name) => {
                if name == SETTINGS_NAME {
                    self.settings = NodeSettings::default();
                }
            }
            Change::Listed(kind) => {
                self.listed.insert(kind);
            }
        }
    }

    fn take_router(&mut self, router: VirtualRouter) {
        let name = router.name_any();
        if is_older(&router, self.routers.get(&name)) {
            return;
        }
        if !self.routers.contains_key(&name) {
            let previous = remembered(&router);
            let has_something = previous
                .as_ref()
                .is_some_and(|p| p.virtual_router_id.is_some());
            self.told = self.told.saturating_add(1);
            let seniority = if has_something { 0 } else { self.told };
            self.seniority.insert(name.clone(), seniority);
            self.index.set_previous(&name, previous);
        }
        let seniority = self.seniority.get(&name).copied().unwrap_or(0);
        self.index.set_router(&router, seniority);
        self.routers.insert(name, router);
    }

    fn take_config(&mut self, config: NodeConfig) {
        let name = config.name_any();
        if is_older(&config, self.configs.get(&name)) {
            return;
        }
        if config.spec.router.is_none()
            && let Some(inventory) = config.status.as_ref().and_then(|s| s.inventory.as_ref())
        {
            let interfaces = reported(inventory);
            self.index
                .set_interfaces(&config.spec.node_name, Some(interfaces));
        }
        self.configs.insert(name, config);
    }

    /// Whether every kind has been told as a whole: before that nothing is written.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        Kind::ALL.iter().all(|kind| self.listed.contains(kind))
    }

    /// Everything that is not as it should be at `now`: NodeConfigs first, then what shows them.
    pub fn writes(&mut self, now: &Time) -> Vec<Write> {
        if !self.is_complete() {
            return Vec::new();
        }
        self.index.set_time(Some(now.clone()));
        self.configurations.refresh(&mut self.index);
        self.remember();
        let mut writes = self.config_writes();
        for (name, router) in &self.routers {
            let sources = self.sources(name, router);
            let status = projection::status(&sources, now);
            if router.status.as_ref() != Some(&status) {
                let status = Box::new(status);
                let router = name.clone();
                writes.push(Write::Status { router, status });
            }
            writes.extend(self.annotation_write(name, router));
        }
        writes
    }

    /// What was given stays given.
    fn remember(&mut self) {
        let mut previous = Vec::new();
        for (name, allocation) in &self.configurations.allocations().routers {
            let status = self.routers.get(name).and_then(|r| r.status.as_ref());
            let holders = status.iter().flat_map(|s| &s.families);
            let holder = holders.filter_map(|f| f.active_node.clone()).next();
            previous.push((name.clone(), allocation.remember(holder)));
        }
        for (name, previous) in previous {
            self.index.set_previous(&name, Some(previous));
        }
    }

    fn config_writes(&self) -> Vec<Write> {
        let desired = self.desired();
        let mut writes = Vec::new();
        for (name, desired) in &desired {
            let is_so = self.configs.get(name).is_some_and(|actual| {
                actual.spec == desired.spec
                    && actual.metadata.owner_references == desired.metadata.owner_references
            });
            if !is_so {
                writes.push(Write::Config(Box::new(desired.clone())));
            }
        }
        for (name, actual) in &self.configs {
            if let Some(uid) = &actual.metadata.uid
                && !desired.contains_key(name)
            {
                let (name, uid) = (name.clone(), uid.clone());
                writes.push(Write::Remove { name, uid });
            }
        }
        writes
    }

    /// All NodeConfigs as they should be.
    fn desired(&self) -> BTreeMap<String, NodeConfig> {
        let mut all = BTreeMap::new();
        for (ConfigKey { router, node }, config) in self.configurations.configs() {
            let Some(owner) = self.routers.get(router).and_then(|r| r.owner_ref(&())) else {
                continue;
            };
            let spec = NodeConfigObjectSpec {
                node_name: node.clone(),
                router: Some(router.clone()),
                confirm: None,
                config: Some(config.clone()),
                settings: None,
            };
            let name = name::of_router(router, node);
            all.insert(name.clone(), object(name, spec, owner));
        }
        for (node, uid) in &self.nodes {
            let spec = NodeConfigObjectSpec {
                node_name: node.clone(),
                router: None,
                confirm: None,
                config: None,
                settings: Some(self.settings.clone()),
            };
            let owner = OwnerReference {
                api_version: "v1".to_owned(),
                kind: "Node".to_owned(),
                name: node.clone(),
                uid: uid.clone(),
                ..OwnerReference::default()
            };
            let name = name::of_node(node);
            all.insert(name.clone(), object(name, spec, owner));
        }
        all
    }

    fn sources<'a>(&'a self, name: &'a str, router: &'a VirtualRouter) -> projection::Sources<'a> {
        let allocations = self.configurations.allocations();
        let about = |f: &&Finding| f.object.kind == "VirtualRouter" && f.object.name == name;
        let allocation = allocations.routers.get(name);
        let candidates = allocation.into_iter().flat_map(|a| &a.candidates);
        let rendered = candidates.clone().find_map(|candidate| {
            let (router, node) = (name.to_owned(), candidate.node.clone());
            self.configurations
                .configs()
                .get(&ConfigKey { router, node })
        });
        let families = rendered.into_iter().flat_map(|config| &config.families);
        projection::Sources {
            families: families.map(|f| f.family).collect(),
            router,
            allocation,
            findings: allocations.findings.iter().filter(about).collect(),
            configs: candidates
                .filter_map(|candidate| {
                    let name = name::of_router(name, &candidate.node);
                    Some((candidate.node.as_str(), self.configs.get(&name)?))
                })
                .collect(),
        }
    }

    fn annotation_write(&self, name: &str, router: &VirtualRouter) -> Option<Write> {
        let allocation = self.configurations.allocations().routers.get(name)?;
        let given = allocation.remember(None);
        let annotations = BTreeMap::from([
            (
                VRID_ANNOTATION.to_owned(),
                allocation.virtual_router_id.to_string(),
            ),
            (CANDIDATES_ANNOTATION.to_owned(), given.nodes.join(",")),
        ]);
        let actual = router.metadata.annotations.as_ref();
        let is_so = |(key, value)| actual.and_then(|a| a.get(key)) == Some(value);
        if annotations.iter().all(is_so) {
            return None;
        }
        Some(Write::Annotations {
            router: name.to_owned(),
            annotations,
        })
    }
}

/// Whether `told` is an earlier state of the object `known`: a stream may tell it after the answer to a write of ours.
fn is_older<K: Resource>(told: &K, known: Option<&K>) -> bool {
    // Versions of one object are numbers that grow (KEP-5504).
    let version = |object: &K| object.meta().resource_version.as_ref()?.parse::<u64>().ok();
    known.is_some_and(|known| {
        told.meta().uid == known.meta().uid
            && version(told)
                .zip(version(known))
                .is_some_and(|(told, known)| told < known)
    })
}

/// What a router was given earlier, by its status, or else by its annotations.
fn remembered(router: &VirtualRouter) -> Option<Previous> {
    let annotation = |key| router.metadata.annotations.as_ref()?.get(key);
    let status = router.status.as_ref();
    let by_status = status
        .and_then(|s| s.virtual_router_id)
        .and_then(|id| u8::try_from(id).ok());
    let virtual_router_id =
        by_status.or_else(|| annotation(VRID_ANNOTATION).and_then(|id| id.parse().ok()));
    let nodes = annotation(CANDIDATES_ANNOTATION)
        .map(String::as_str)
        .unwrap_or_default();
    let nodes = nodes.split(',').filter(|n| !n.is_empty());
    let holders = status.into_iter().flat_map(|s| &s.families);
    let previous = Previous {
        virtual_router_id: virtual_router_id.filter(|id| *id > 0),
        nodes: nodes.map(str::to_owned).collect(),
        holder: holders.filter_map(|f| f.active_node.clone()).next(),
    };
    (previous != Previous::default()).then_some(previous)
}

fn reported(inventory: &NodeInventory) -> Vec<ReportedInterface> {
    let interfaces = inventory.interfaces.iter();
    interfaces
        .map(|interface| ReportedInterface {
            name: interface.name.clone(),
            // An agent writes them; what does not parse is not counted.
            prefixes: interface
                .prefixes
                .iter()
                .filter_map(|p| prefix(p))
                .collect(),
            default_route: interface.default_routes.iter().copied().collect(),
        })
        .collect()
}

fn prefix(text: &str) -> Option<(std::net::IpAddr, u8)> {
    let (address, length) = text.split_once('/')?;
    Some((address.parse().ok()?, length.parse().ok()?))
}

fn object(name: String, spec: NodeConfigObjectSpec, owner: OwnerReference) -> NodeConfig {
    NodeConfig {
        metadata: ObjectMeta {
            name: Some(name),
            owner_references: Some(vec![owner]),
            ..ObjectMeta::default()
        },
        spec,
        status: None,
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::jiff::Timestamp;
    use serde_json::json;
    use vipkeeper_crds::conditions::{ConditionStatus, ConditionType, Reason};
    use vipkeeper_crds::status::{ElectionState, InstanceStatus, NodeConfigStatus};

    use super::*;

    fn now(second: i64) -> Time {
        Time(Timestamp::from_second(1_800_000_000 + second).unwrap())
    }

    fn node(name: &str) -> Change {
        let labels = json!({"kubernetes.io/os": "linux"});
        let node =
            json!({"metadata": {"name": name, "uid": format!("uid-{name}"), "labels": labels}});
        Change::Node(Box::new(serde_json::from_value(node).unwrap()))
    }

    fn router(name: &str, address: &str) -> Change {
        let router = json!({
            "apiVersion": "vipkeeper.io/v1alpha1", "kind": "VirtualRouter",
            "metadata": {"name": name, "uid": format!("uid-{name}"), "generation": 3,
                "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"addresses": [{"address": address}]},
        });
        Change::Router(Box::new(serde_json::from_value(router).unwrap()))
    }

    fn cluster(nodes: &[&str], routers: &[(&str, &str)]) -> Cluster {
        let mut cluster = Cluster::default();
        nodes.iter().for_each(|name| cluster.take(node(name)));
        for (name, address) in routers {
            cluster.take(router(name, address));
        }
        Kind::ALL
            .iter()
            .for_each(|kind| cluster.take(Change::Listed(*kind)));
        cluster
    }

    /// Does what an API server does with `writes`.
    fn obey(cluster: &mut Cluster, writes: Vec<Write>) {
        for write in writes {
            match write {
                Write::Config(mut config) => {
                    let name = config.metadata.name.clone().unwrap();
                    config.metadata.uid = Some(format!("uid-{name}"));
                    config.status = cluster.configs.get(&name).and_then(|c| c.status.clone());
                    cluster.take(Change::Config(config));
                }
                Write::Remove { name, .. } => cluster.take(Change::Gone(Kind::Config, name)),
                Write::Status { router, status } => {
                    let mut now = cluster.routers[&router].clone();
                    now.status = Some(*status);
                    cluster.take(Change::Router(Box::new(now)));
                }
                Write::Annotations {
                    router,
                    annotations,
                } => {
                    let mut now = cluster.routers[&router].clone();
                    now.metadata
                        .annotations
                        .get_or_insert_default()
                        .extend(annotations);
                    cluster.take(Change::Router(Box::new(now)));
                }
            }
        }
    }

    fn settle(cluster: &mut Cluster, second: i64) {
        let writes = cluster.writes(&now(second));
        obey(cluster, writes);
        assert_eq!(cluster.writes(&now(second + 1)), [], "it is never content");
    }

    /// The agent of `node` reports `state`.
    fn report(cluster: &mut Cluster, router: &str, node: &str, state: ElectionState) {
        let mut config = cluster.configs[&name::of_router(router, node)].clone();
        let family = config.spec.config.as_ref().unwrap().families[0].family;
        config.status = Some(NodeConfigStatus {
            families: vec![InstanceStatus {
                family,
                state,
                effective_priority: 100,
                since: None,
                reason: "NoResponse".to_owned(),
                interface: "eth0".to_owned(),
                transitions: 2,
                programmed: true,
                conditions: Vec::new(),
            }],
            ..NodeConfigStatus::default()
        });
        cluster.take(Change::Config(Box::new(config)));
    }

    fn condition(
        cluster: &Cluster,
        router: &str,
        kind: ConditionType,
    ) -> Option<(ConditionStatus, Reason)> {
        let status = cluster.routers[router].status.as_ref()?;
        let condition = status.conditions.iter().find(|c| c.kind == kind)?;
        Some((condition.status, condition.reason))
    }

    #[test]
    fn nothing_is_written_before_everything_is_known() {
        let mut cluster = Cluster::default();
        cluster.take(node("a"));
        cluster.take(router("web", "192.0.2.100"));
        for kind in Kind::ALL {
            assert_eq!(cluster.writes(&now(0)), []);
            cluster.take(Change::Listed(kind));
        }
        assert_ne!(cluster.writes(&now(0)), []);
    }

    #[test]
    fn a_router_gets_a_configuration_on_each_candidate_and_then_there_is_peace() {
        let mut cluster = cluster(&["a", "b", "c"], &[("web", "192.0.2.100")]);
        let writes = cluster.writes(&now(0));
        let configs = writes.iter().filter(|w| matches!(w, Write::Config(_)));
        // One for each node of its own, and three of the router.
        assert_eq!(configs.count(), 6);
        obey(&mut cluster, writes);
        assert_eq!(cluster.writes(&now(1)), []);
        assert_eq!(
            condition(&cluster, "web", ConditionType::Ready),
            Some((ConditionStatus::Unknown, Reason::Pending))
        );
    }

    #[test]
    fn one_edit_costs_a_write_for_each_candidate_and_two() {
        let mut cluster = cluster(
            &["a", "b", "c"],
            &[("web", "192.0.2.100"), ("db", "192.0.2.101")],
        );
        settle(&mut cluster, 0);
        let mut edited = cluster.routers["web"].clone();
        edited.metadata.generation = Some(4);
        edited.spec.addresses[0].address = "192.0.2.102".to_owned();
        cluster.take(Change::Router(Box::new(edited)));
        let writes = cluster.writes(&now(9));
        assert!(writes.len() <= 5, "{writes:?}");
        obey(&mut cluster, writes);
        assert_eq!(cluster.writes(&now(10)), []);
    }

    #[test]
    fn what_a_router_was_given_survives_the_operator_and_the_status() {
        let mut first = cluster(&["a", "b"], &[("web", "192.0.2.100")]);
        settle(&mut first, 0);
        let mut router = first.routers["web"].clone();
        let given = router.status.take().unwrap().virtual_router_id;
        let annotations = router.metadata.annotations.as_mut().unwrap();
        assert_eq!(annotations[VRID_ANNOTATION], given.unwrap().to_string());
        annotations.insert(VRID_ANNOTATION.to_owned(), "77".to_owned());
        let mut second = cluster(&["a", "b"], &[]);
        second.take(Change::Router(Box::new(router)));
        settle(&mut second, 9);
        let status = second.routers["web"].status.as_ref().unwrap();
        assert_eq!(status.virtual_router_id, Some(77));
    }

    #[test]
    fn a_refused_router_says_why_and_the_others_go_on() {
        let mut cluster = cluster(
            &["a", "b"],
            &[("bad", "192.0.2.300"), ("web", "192.0.2.100")],
        );
        settle(&mut cluster, 0);
        assert_eq!(
            condition(&cluster, "bad", ConditionType::Accepted),
            Some((ConditionStatus::False, Reason::Invalid))
        );
        assert_eq!(
            condition(&cluster, "web", ConditionType::Accepted),
            Some((ConditionStatus::True, Reason::Valid))
        );
    }

    #[test]
    fn what_is_gone_leaves_nothing() {
        let mut cluster = cluster(&["a", "b"], &[("web", "192.0.2.100")]);
        settle(&mut cluster, 0);
        cluster.take(Change::Gone(Kind::Router, "web".to_owned()));
        settle(&mut cluster, 1);
        assert_eq!(cluster.configs.len(), 2);
        cluster.take(Change::Gone(Kind::Node, "b".to_owned()));
        settle(&mut cluster, 2);
        assert_eq!(cluster.configs.len(), 1);
    }

    #[test]
    fn the_status_shows_what_agents_report() {
        let mut cluster = cluster(&["a", "b"], &[("web", "192.0.2.100")]);
        settle(&mut cluster, 0);
        report(&mut cluster, "web", "a", ElectionState::Active);
        report(&mut cluster, "web", "b", ElectionState::Backup);
        settle(&mut cluster, 5);
        let status = cluster.routers["web"].status.clone().unwrap();
        assert_eq!(status.active_summary, "a");
        assert_eq!(status.node_summary, "2/2");
        assert_eq!(status.ready_summary, "True");
        assert_eq!(status.families[0].since, Some(now(5)));
        // A holder that stays keeps its time.
        report(&mut cluster, "web", "b", ElectionState::Initialize);
        settle(&mut cluster, 8);
        let status = cluster.routers["web"].status.clone().unwrap();
        assert_eq!(status.families[0].since, Some(now(5)));
        report(&mut cluster, "web", "b", ElectionState::Active);
        settle(&mut cluster, 9);
        assert_eq!(
            condition(&cluster, "web", ConditionType::SplitBrain),
            Some((ConditionStatus::True, Reason::SeveralActive))
        );
    }

    #[test]
    fn of_two_routers_of_one_second_the_first_keeps_what_it_has() {
        let accepted = |cluster: &Cluster, router: &str| {
            condition(cluster, router, ConditionType::Accepted)
                .unwrap()
                .0
        };
        let mut first = cluster(&["a"], &[("web", "192.0.2.100")]);
        settle(&mut first, 0);
        first.take(router("bad", "192.0.2.100"));
        settle(&mut first, 1);
        assert_eq!(accepted(&first, "web"), ConditionStatus::True);
        assert_eq!(accepted(&first, "bad"), ConditionStatus::False);
        // Also for an operator that is told of both at once.
        let mut second = cluster(&["a"], &[]);
        for name in ["bad", "web"] {
            second.take(Change::Router(Box::new(first.routers[name].clone())));
        }
        settle(&mut second, 2);
        assert_eq!(accepted(&second, "web"), ConditionStatus::True);
        assert_eq!(accepted(&second, "bad"), ConditionStatus::False);
    }

    #[test]
    fn a_stream_that_lags_undoes_nothing() {
        let mut cluster = cluster(&["a"], &[("web", "192.0.2.100")]);
        let mut told = |version: &str, address: &str| {
            let mut router = cluster.routers["web"].clone();
            router.metadata.resource_version = Some(version.to_owned());
            router.spec.addresses[0].address = address.to_owned();
            cluster.take(Change::Router(Box::new(router)));
        };
        told("12", "192.0.2.12");
        told("9", "192.0.2.9");
        assert_eq!(
            cluster.routers["web"].spec.addresses[0].address,
            "192.0.2.12"
        );
    }
}
