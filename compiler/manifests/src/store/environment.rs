//! What routers and VirtualServers are surrounded by: Nodes, namespaces, keys, ConfigMaps, endpoints.
//!
//! Owns what is kept of it when nobody describes it any more: what something that runs needs.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{Namespace, Node};
use vipkeeper_compiler::{ConfigMapName, Endpoints, Objects, SecretName, ServiceName, Severity};
use vipkeeper_crds::{
    AuthenticationType, KEY_NAMESPACE, SecretKey, TransportMode, VirtualRouterSpec, VirtualServer,
};

use super::Store;
use crate::Keys;
use crate::diagnosis::Diagnosis;
use crate::manifest::{Body, Kind, ObjectId};

/// The surroundings of one round.
#[derive(Clone, Debug, Default)]
pub(super) struct Environment {
    pub(super) nodes: BTreeMap<String, Node>,
    pub(super) namespaces: BTreeMap<String, Namespace>,
    pub(super) keys: Keys,
    pub(super) config_maps: BTreeMap<ConfigMapName, BTreeMap<String, String>>,
    pub(super) endpoints: Endpoints,
}

impl Environment {
    /// What the objects of `store` describe, and of its last round what is needed still.
    pub(super) fn of(store: &Store, findings: &mut Vec<Diagnosis>) -> Self {
        let mut environment = Self::default();
        for (id, known) in &store.objects {
            match &known.body {
                Body::Router(_) | Body::Server(_) | Body::Settings(_) => {}
                Body::Node(node) => {
                    let node = (**node).clone();
                    environment.nodes.insert(id.name.clone(), node);
                }
                Body::Namespace(namespace) => {
                    let namespace = (**namespace).clone();
                    environment.namespaces.insert(id.name.clone(), namespace);
                }
                Body::Secret(values) => {
                    for (key, value) in values {
                        let key = secret_key(id, key);
                        environment.keys.insert(key, value.clone());
                    }
                }
                Body::ConfigMap(data) => {
                    let name = config_map_name(id);
                    environment.config_maps.insert(name, data.clone());
                }
                Body::Slice(slice) => {
                    if environment.endpoints.set_slice(slice).is_empty() {
                        let message = "belongs to no Service: say which with the label kubernetes.io/service-name";
                        let path = "metadata.labels";
                        findings.push(known.diagnosis(Severity::Warning, path, message.into()));
                    }
                }
            }
        }
        environment.keep(store, findings);
        environment
    }

    /// As the compiler takes it, with no routers.
    pub(super) fn objects(&self, store: &Store) -> Objects {
        Objects {
            nodes: self.nodes.values().cloned().collect(),
            namespaces: self.namespaces.values().cloned().collect(),
            secrets: self.secrets(store),
            config_maps: self.config_maps.clone(),
            ..Objects::default()
        }
    }

    /// The names of all Secrets, the empty ones too, and of their keys.
    fn secrets(&self, store: &Store) -> BTreeMap<SecretName, BTreeSet<String>> {
        let name = |namespace: &str, name: &str| SecretName {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        };
        let described = store.objects.keys().filter(|id| id.kind == Kind::Secret);
        let mut secrets: BTreeMap<SecretName, BTreeSet<String>> = described
            .map(|id| (name(&id.namespace, &id.name), BTreeSet::new()))
            .collect();
        for key in self.keys.names() {
            let of_secret = secrets.entry(name(&key.namespace, &key.name)).or_default();
            of_secret.insert(key.key.clone());
        }
        secrets
    }

    /// Takes from the last round what something that runs needs and nobody describes any more.
    fn keep(&mut self, store: &Store, findings: &mut Vec<Diagnosis>) {
        let last = &store.environment;
        let given = self.clone();
        if let Some(key) = &store.settings.heartbeat_key
            && given.keys.get(key).is_none()
            && let Some(value) = last.keys.get(key)
            && let Some(known) = store.default_settings()
        {
            let path = "spec.heartbeat.secretRef";
            let message = gone(&format!("Secret key {key}"));
            findings.push(known.diagnosis(Severity::Error, path, message));
            self.keys.insert(key.clone(), value);
        }
        for (id, running) in &store.running {
            let Some(known) = store.objects.get(id) else {
                continue;
            };
            let mut say = |path: &str, what: String| {
                findings.push(known.diagnosis(Severity::Error, path, gone(&what)));
            };
            if let Some(router) = running.body.router() {
                self.keep_for_router(&router.spec, &given, last, &mut say);
            }
            if let Some(server) = running.body.server() {
                self.keep_for_server(id, server, &given, last, &mut say);
            }
        }
    }

    fn keep_for_router(
        &mut self,
        spec: &VirtualRouterSpec,
        given: &Self,
        last: &Self,
        say: &mut impl FnMut(&str, String),
    ) {
        for (path, name) in needed_nodes(spec) {
            if !given.nodes.contains_key(&name)
                && let Some(node) = last.nodes.get(&name)
            {
                say(&path, format!("Node {name}"));
                self.nodes.insert(name, node.clone());
            }
        }
        if let Some(key) = needed_key(spec)
            && given.keys.get(&key).is_none()
            && let Some(value) = last.keys.get(&key)
        {
            let path = "spec.authentication.password.secretRef";
            say(path, format!("Secret key {key}"));
            self.keys.insert(key, value);
        }
    }

    fn keep_for_server(
        &mut self,
        id: &ObjectId,
        server: &VirtualServer,
        given: &Self,
        last: &Self,
        say: &mut impl FnMut(&str, String),
    ) {
        for (i, probe) in server.spec.probes.iter().enumerate() {
            let https = probe.https.as_ref();
            let Some(wanted) = https.and_then(|https| https.ca_ref.as_ref()) else {
                continue;
            };
            let name = ConfigMapName {
                namespace: id.namespace.clone(),
                name: wanted.name.clone(),
            };
            let is_given = given.config_maps.get(&name);
            if is_given.is_some_and(|data| data.contains_key(&wanted.key)) {
                continue;
            }
            let had = last.config_maps.get(&name);
            if let Some(text) = had.and_then(|data| data.get(&wanted.key)) {
                let path = format!("spec.probes[{i}].https.caRef");
                let (namespace, name, key) = (&name.namespace, &name.name, &wanted.key);
                say(&path, format!("ConfigMap key {namespace}/{name}[{key}]"));
                let map = ConfigMapName {
                    namespace: namespace.clone(),
                    name: name.clone(),
                };
                let data = self.config_maps.entry(map).or_default();
                data.insert(key.clone(), text.clone());
            }
        }
    }

    /// Says which VirtualServers that run have nobody to serve, because no slice of their Service is described.
    pub(super) fn endpoints_are_described(&self, store: &Store, findings: &mut Vec<Diagnosis>) {
        for (id, running) in &store.running {
            let server = running.body.server();
            let Some(wanted) = server.and_then(|s| s.spec.service_ref.as_ref()) else {
                continue;
            };
            let service = ServiceName {
                namespace: id.namespace.clone(),
                name: wanted.name.clone(),
            };
            if let Some(known) = store.objects.get(id)
                && !self.endpoints.knows(&service)
            {
                let message = format!(
                    "no EndpointSlice of Service {service} is described, and nobody serves: add one with the label kubernetes.io/service-name"
                );
                let path = "spec.serviceRef.name";
                findings.push(known.diagnosis(Severity::Warning, path, message));
            }
        }
    }
}

fn gone(what: &str) -> String {
    format!("{what} is gone: its last state stays in force here until the agent starts again")
}

fn secret_key(id: &ObjectId, key: &str) -> SecretKey {
    SecretKey {
        namespace: id.namespace.clone(),
        name: id.name.clone(),
        key: key.to_owned(),
    }
}

/// The name of a ConfigMap.
pub(super) fn config_map_name(id: &ObjectId) -> ConfigMapName {
    ConfigMapName {
        namespace: id.namespace.clone(),
        name: id.name.clone(),
    }
}

/// The nodes whose addresses a router needs, with the fields that name them.
fn needed_nodes(spec: &VirtualRouterSpec) -> Vec<(String, String)> {
    match spec.transport.mode {
        TransportMode::Multicast => Vec::new(),
        TransportMode::Unicast => {
            let entries = spec.nodes.priorities.iter().enumerate();
            let named = |i| format!("spec.nodes.priorities[{i}].node");
            entries.map(|(i, p)| (named(i), p.node.clone())).collect()
        }
    }
}

/// The key of a Secret that a router needs.
pub(super) fn needed_key(spec: &VirtualRouterSpec) -> Option<SecretKey> {
    match spec.authentication.kind {
        AuthenticationType::None => None,
        AuthenticationType::Password => {
            let reference = &spec.authentication.password.as_ref()?.secret_ref;
            let namespace = reference.namespace.as_deref().unwrap_or(KEY_NAMESPACE);
            Some(SecretKey {
                namespace: namespace.to_owned(),
                name: reference.name.clone(),
                key: reference.key.clone(),
            })
        }
    }
}
