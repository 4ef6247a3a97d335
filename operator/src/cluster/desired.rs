//! What one owner's objects should be, beside what they are.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{ObjectMeta, Resource as _};
use vipkeeper_compiler::{Allocation, Candidate, ConfigKey, Reason, memory};
use vipkeeper_crds::status::ElectionState;
use vipkeeper_crds::{
    AddressFamily, NodeConfig, NodeConfigObjectSpec, NodeConfigSpec, VirtualRouter,
};

use super::{Cluster, proper_name, shards};
use crate::change::{Now, Owner, Write};
use crate::claims::{Claims, Hearing, Verdict};
use crate::news::news;
use crate::roll::{Configs, Roll, State, Step};
use crate::vacancy::{Vacancy, patience};
use crate::{name, projection};

/// What the NodeConfigs of a router should be, by node.
type Desired<'a> = BTreeMap<&'a str, &'a NodeConfigSpec>;

/// What is remembered of a router from one look to the next.
#[derive(Clone, Debug, Default)]
pub(super) struct Course {
    claims: Claims,
    vacancy: Vacancy,
    roll: Roll,
}

impl Cluster {
    /// What is to be written for a router.
    pub(super) fn router_writes(&mut self, name: &str, now: &Now) -> Vec<Write> {
        let owner = Owner::Router(name.to_owned());
        self.recognise(name);
        let Some(router) = self.routers.get(name) else {
            self.courses.remove(name);
            let mut writes = self.removals(&owner, &BTreeSet::new());
            let shards = self.superfluous_shards(name, |_| false);
            writes.extend(shards.into_iter().filter_map(removal));
            return writes;
        };
        let mut course = self.courses.remove(name).unwrap_or_default();
        let (writes, wake) = self.course_writes(name, router, &mut course, now);
        let allocation = self.configurations.allocations().routers.get(name);
        if let Some(previous) = allocation.map(|a| a.remember(memory::holders(router))) {
            self.index.set_previous(name, Some(previous));
        }
        self.courses.insert(name.to_owned(), course);
        if let Some(wake) = wake {
            self.wakes.insert(owner, wake);
        }
        writes
    }

    /// What is to be written for a router whose course is this, and when to look again although nothing changed.
    fn course_writes(
        &self,
        name: &str,
        router: &VirtualRouter,
        course: &mut Course,
        now: &Now,
    ) -> (Vec<Write>, Option<Duration>) {
        let desired = self.desired(name);
        let actual = self.actual(name);
        let hearing = self.hearing(name, &desired, &actual);
        let mut verdict = course.claims.judge(&hearing, now);
        let frozen = self.frozen(name, &actual);
        let (running, step) = if frozen.is_some() {
            (running(&actual), Step::Hold)
        } else {
            let state = State {
                desired: &desired,
                actual: &actual,
                holders: verdict.counted.iter().map(|(n, _)| n.as_str()).collect(),
                proven: &verdict.proven,
                open: verdict.open,
            };
            (desired.clone(), course.roll.step(&state, now))
        };
        let claimed = |f: &AddressFamily| hearing.claims.iter().any(|(_, claimed)| claimed == f);
        let is_vacant = !families(&running).iter().all(claimed);
        let patience = running.values().map(|config| patience(config)).max();
        let patience = patience.unwrap_or_default();
        let passing = course.vacancy.passing(is_vacant, patience, now);
        let waiting = match &step {
            Step::Wait(until) => Some(*until),
            Step::All | Step::Prove(_) | Step::Leave(_) | Step::Hold | Step::Switch(_) => None,
        };
        if let Step::Switch(nodes) = &step {
            verdict.nonce = Some((course.claims.renew(now), nodes.clone()));
        }
        let mut writes = self.step_writes(name, &step, &desired, &actual, &verdict);
        let allocation = self.configurations.allocations().routers.get(name);
        if let Some(annotations) = allocation.and_then(|a| memory::lacking(router, a)) {
            writes.push(Write::Annotations {
                router: name.to_owned(),
                version: router.metadata.resource_version.clone(),
                annotations,
            });
        } else {
            let configs = actual
                .iter()
                .filter(|(node, _)| running.contains_key(*node));
            let sources = projection::Sources {
                router,
                allocation: allocation.or(frozen.as_ref()),
                refused: allocation.is_none(),
                findings: self.findings(name),
                families: families(&running),
                configs: configs.map(|(node, config)| (*node, *config)).collect(),
                shards: self
                    .refused_shards(name)
                    .filter(|(node, _)| running.contains_key(node))
                    .collect(),
                counted: &verdict.counted,
                passing: passing.is_some(),
            };
            writes.extend(status_write(name, &sources, now));
        }
        let wake = [verdict.wake, passing, waiting];
        (writes, wake.into_iter().flatten().min())
    }

    /// What a step does to the NodeConfigs of a router.
    fn step_writes(
        &self,
        router: &str,
        step: &Step,
        desired: &Desired<'_>,
        actual: &Configs<'_>,
        verdict: &Verdict,
    ) -> Vec<Write> {
        match step {
            Step::All => self.all_configs(router, desired, verdict),
            Step::Prove(nodes) => Self::questions(actual, nodes, verdict),
            Step::Leave(nodes) => {
                let mains = nodes.iter().filter_map(|node| actual.get(node.as_str()));
                let all = mains.copied().chain(self.shards_on(router, nodes));
                all.filter_map(removal).collect()
            }
            Step::Wait(_) | Step::Hold => Vec::new(),
            Step::Switch(nodes) => {
                let switched = desired.iter().filter(|(node, _)| nodes.contains(**node));
                let switched: Desired<'_> = switched.map(|(n, c)| (*n, *c)).collect();
                self.config_writes(router, &switched, verdict)
            }
        }
    }

    /// What is to be written for a Node: its settings.
    pub(super) fn node_writes(&self, node: &str) -> Vec<Write> {
        let owner = Owner::Node(node.to_owned());
        let Some(uid) = self.nodes.get(node) else {
            return self.removals(&owner, &BTreeSet::new());
        };
        let spec = NodeConfigObjectSpec {
            node_name: node.to_owned(),
            router: None,
            confirm: None,
            config: None,
            shard_set: None,
            shard: None,
            settings: Some(self.settings.clone()),
        };
        let reference = OwnerReference {
            api_version: "v1".to_owned(),
            kind: "Node".to_owned(),
            name: node.to_owned(),
            uid: uid.clone(),
            ..OwnerReference::default()
        };
        let name = name::of_node(node);
        let mut writes = self.removals(&owner, &BTreeSet::from([name.clone()]));
        writes.extend(self.config_write(name, spec, reference));
        writes
    }

    fn desired<'a>(&'a self, router: &str) -> Desired<'a> {
        let allocation = self.configurations.allocations().routers.get(router);
        let candidates = allocation.into_iter().flat_map(|a| &*a.candidates);
        let rendered = candidates.filter_map(|candidate| {
            let key = ConfigKey {
                router: router.to_owned(),
                node: candidate.node.clone(),
            };
            let config = self.configurations.configs().get(&key)?;
            Some((candidate.node.as_str(), config))
        });
        rendered.collect()
    }

    /// What a router that an edit made wrong goes on with: what its NodeConfigs say. One that did not change, and was
    /// refused because of another router, has lost what it had.
    fn frozen(&self, name: &str, actual: &Configs<'_>) -> Option<Allocation> {
        let router = self.routers.get(name)?;
        if self.configurations.allocations().routers.contains_key(name) {
            return None;
        }
        let generation = router.metadata.generation.unwrap_or_default();
        let running = running(actual);
        let first = running.values().next()?;
        let is_older = running.values().all(|c| c.generation < generation);
        is_older.then(|| Allocation {
            virtual_router_id: first.virtual_router_id,
            candidates: Arc::new(running.values().map(|c| as_candidate(c)).collect()),
        })
    }

    /// The NodeConfigs of a router that have the names they should have, but for shards.
    pub(super) fn actual<'a>(&'a self, router: &str) -> Configs<'a> {
        let owned = self.owned.get(&Owner::Router(router.to_owned()));
        let configs = owned.into_iter().flatten();
        let configs = configs.filter_map(|name| {
            let config = self.configs.get(name)?;
            (proper_name(config) == *name).then_some((config.spec.node_name.as_str(), config))
        });
        configs.collect()
    }

    fn hearing<'a>(
        &'a self,
        router: &str,
        desired: &Desired<'a>,
        actual: &Configs<'a>,
    ) -> Hearing<'a> {
        let mut hearing = Hearing::default();
        for (node, config) in actual {
            let Some(status) = &config.status else {
                continue;
            };
            let instances = status.families.iter();
            let active = instances.filter(|i| i.state == ElectionState::Active);
            let families: Vec<AddressFamily> = active.map(|i| i.family).collect();
            if families.is_empty() {
                continue;
            }
            hearing.claims.extend(families.iter().map(|f| (*node, *f)));
            let asked = (config.spec.confirm.as_deref(), status.confirm.as_deref());
            hearing.asked.insert(*node, asked);
            if self.index.is_long_not_ready(node) || !self.nodes.contains_key(*node) {
                hearing.doubted.insert(*node);
            }
        }
        if let Some(status) = self.routers.get(router).and_then(|r| r.status.as_ref()) {
            let before = status.families.iter();
            let before = before.filter_map(|f| Some((f.active_node.as_deref()?, f.family)));
            hearing.before.extend(before);
        }
        let state = State {
            desired,
            actual,
            holders: hearing.claims.iter().map(|(n, _)| *n).collect(),
            proven: &BTreeSet::new(),
            open: true,
        };
        hearing.prove = state.concerns_a_holder();
        hearing
    }

    /// Everything as it should be.
    fn all_configs(&self, router: &str, desired: &Desired<'_>, verdict: &Verdict) -> Vec<Write> {
        let mut writes = self.config_writes(router, desired, verdict);
        let names = desired.keys().map(|node| name::of_router(router, node));
        // What somebody bent into something else is written again, under its name.
        let written = writes.iter().map(|write| write.subject().name);
        let keep = names.chain(written).collect();
        let owner = Owner::Router(router.to_owned());
        writes.extend(self.removals(&owner, &keep));
        let superfluous = self.superfluous_shards(router, |node| desired.contains_key(node));
        writes.extend(superfluous.into_iter().filter_map(removal));
        writes
    }

    fn config_writes(&self, router: &str, desired: &Desired<'_>, verdict: &Verdict) -> Vec<Write> {
        let Some(owner) = self.routers.get(router).and_then(|r| r.owner_ref(&())) else {
            return Vec::new();
        };
        let shards = self.configurations.shards(router);
        let writes = desired.iter().flat_map(|(node, config)| {
            let asked = verdict.nonce.as_ref();
            let asked = asked.filter(|(_, nodes)| nodes.contains(*node));
            let spec = NodeConfigObjectSpec {
                node_name: (*node).to_owned(),
                router: Some(router.to_owned()),
                confirm: asked.map(|(nonce, _)| nonce.clone()),
                config: Some((*config).clone()),
                shard_set: shards.map(|shards| shards.set.clone()),
                shard: None,
                settings: None,
            };
            let name = name::of_router(router, node);
            let mut writes = shards.map_or_else(Vec::new, |shards| {
                self.shard_writes(router, node, shards, &owner)
            });
            let actual = self.configs.get(&name);
            let waits = !writes.is_empty()
                && actual.is_some_and(|a| shards::moves_servers_alone(&a.spec, &spec));
            if !waits {
                writes.extend(self.config_write(name, spec, owner.clone()));
            }
            writes
        });
        writes.collect()
    }

    /// Asks `nodes` for the nonce and changes nothing else.
    fn questions(actual: &Configs<'_>, nodes: &BTreeSet<String>, verdict: &Verdict) -> Vec<Write> {
        let Some((nonce, _)) = &verdict.nonce else {
            return Vec::new();
        };
        let writes = nodes.iter().filter_map(|node| {
            let config = actual.get(node.as_str())?;
            if config.spec.confirm.as_ref() == Some(nonce) {
                return None;
            }
            let mut asked = (*config).clone();
            asked.spec.confirm = Some(nonce.clone());
            asked.status = None;
            Some(Write::Config(Box::new(asked)))
        });
        writes.collect()
    }

    /// The write that makes a NodeConfig what it should be, if it is not.
    fn config_write(
        &self,
        name: String,
        spec: NodeConfigObjectSpec,
        owner: OwnerReference,
    ) -> Option<Write> {
        let actual = self.configs.get(&name);
        let is_so = actual.is_some_and(|actual| {
            actual.spec == spec
                && actual.metadata.owner_references.as_deref() == Some(std::slice::from_ref(&owner))
        });
        (!is_so).then(|| self.writing(name, spec, owner))
    }

    /// The write of a NodeConfig in the place of the one that there is, if there is one.
    pub(super) fn writing(
        &self,
        name: String,
        spec: NodeConfigObjectSpec,
        owner: OwnerReference,
    ) -> Write {
        let actual = self.configs.get(&name);
        Write::Config(Box::new(NodeConfig {
            metadata: ObjectMeta {
                resource_version: actual.and_then(|a| a.metadata.resource_version.clone()),
                name: Some(name),
                owner_references: Some(vec![owner]),
                ..ObjectMeta::default()
            },
            spec,
            status: None,
        }))
    }

    /// The owner's NodeConfigs go, but for shards and those named so.
    fn removals(&self, owner: &Owner, keep: &BTreeSet<String>) -> Vec<Write> {
        let owned = self.owned.get(owner).into_iter().flatten();
        let superfluous = owned.filter(|name| !keep.contains(*name));
        let configs = superfluous.filter_map(|name| self.configs.get(name));
        configs.filter_map(removal).collect()
    }
}

/// What the NodeConfigs say as they are.
fn running<'a>(actual: &Configs<'a>) -> Desired<'a> {
    let all = actual.iter();
    let all = all.filter_map(|(node, config)| Some((*node, config.spec.config.as_ref()?)));
    all.collect()
}

fn as_candidate(config: &NodeConfigSpec) -> Candidate {
    Candidate {
        node: config.node_name.clone(),
        priority: config.priority,
        addresses: Vec::new(),
        reason: Reason::Kept,
    }
}

/// The write that makes the status of a router what it should be, if it is not.
fn status_write(name: &str, sources: &projection::Sources<'_>, now: &Now) -> Option<Write> {
    let router = sources.router;
    let status = projection::status(sources, &now.date);
    (router.status.as_ref() != Some(&status)).then(|| Write::Status {
        router: name.to_owned(),
        version: router.metadata.resource_version.clone(),
        news: news(router.status.as_ref(), &status),
        status: Box::new(status),
    })
}

fn removal(config: &NodeConfig) -> Option<Write> {
    let (name, uid) = (config.metadata.name.clone()?, config.metadata.uid.clone()?);
    Some(Write::Remove { name, uid })
}

/// The families that the configurations have.
fn families(desired: &Desired<'_>) -> BTreeSet<AddressFamily> {
    let configs = desired.values().flat_map(|config| &config.families);
    configs.map(|family| family.family).collect()
}
