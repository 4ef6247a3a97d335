//! What is wrong with manifests that a cluster will be given.

use std::collections::BTreeMap;

use vipkeeper_compiler::{Cause, Finding, Index, Setting, Severity, allocate};
use vipkeeper_crds::AttachFrom;

use super::Known;
use super::environment::config_map_name;
use super::gathering::Gathering;
use crate::diagnosis::Diagnosis;
use crate::manifest::{Body, File, Kind, ObjectId};

/// What is wrong with `files` by the rules of a cluster, where VRIDs and nodes are chosen by an operator. Nodes and
/// Secrets are the cluster's: what is not among the files is not missed.
#[must_use]
pub fn review(files: &[File]) -> Vec<Diagnosis> {
    let mut findings = Vec::new();
    let mut gathering = Gathering::default();
    for file in files {
        gathering.file(file, &mut findings);
    }
    let objects = gathering.finish(&BTreeMap::new(), &mut findings);
    // Manifests for a cluster stand beside those of other kinds.
    findings.retain(|f| f.severity == Severity::Error || f.path != "kind");
    let mut index = Index::new(Setting::Cluster);
    let mut has_nodes = false;
    for (seniority, (id, known)) in (0..).zip(&objects) {
        match &known.body {
            Body::Router(router) => {
                index.set_router(router, seniority);
            }
            Body::Server(server) => {
                index.set_server(server, seniority);
            }
            Body::Namespace(namespace) => {
                index.set_namespace(namespace);
            }
            Body::ConfigMap(data) => {
                index.set_config_map(config_map_name(id), Some(data.clone()));
            }
            Body::Node(node) => {
                has_nodes = true;
                index.set_node(node);
            }
            Body::Settings(settings) => {
                let (_, found) = vipkeeper_compiler::settings_of_cluster(settings);
                for Finding {
                    severity,
                    path,
                    message,
                    ..
                } in found
                {
                    findings.push(known.diagnosis(severity, &path, message));
                }
            }
            Body::Secret(_) | Body::Slice(_) => {}
        }
    }
    let all = allocate(&index).findings.into_iter();
    for finding in all.filter(|f| has_nodes || !is_about_nodes(f)) {
        let about = objects.iter().find(|(id, _)| id.is(&finding.object));
        if let Some((_, known)) =
            about.filter(|(_, known)| !is_elsewhere(&finding, known, &objects))
        {
            findings.push(known.diagnosis(finding.severity, &finding.path, finding.message));
        }
    }
    findings.sort();
    findings.dedup();
    findings
}

/// Whether a finding only says which Nodes there are.
fn is_about_nodes(finding: &Finding) -> bool {
    match finding.cause {
        Cause::NoCandidates | Cause::CandidateMissing | Cause::InterfaceMissing => true,
        Cause::Rule
        | Cause::Taken
        | Cause::ForeignVrid
        | Cause::RouterMissing
        | Cause::NotAllowed
        | Cause::ConfigMapMissing => false,
    }
}

/// Whether a finding about a VirtualServer only says what is not among the files: its router, its ConfigMaps, the
/// labels of its namespace.
fn is_elsewhere(finding: &Finding, known: &Known, objects: &BTreeMap<ObjectId, Known>) -> bool {
    let Some(server) = known.body.server() else {
        return false;
    };
    let is_here = |kind, namespace: &str, name: &str| {
        let namespace = namespace.to_owned();
        let name = name.to_owned();
        objects.get(&ObjectId {
            kind,
            namespace,
            name,
        })
    };
    let namespace = &finding.object.namespace;
    let router = is_here(Kind::Router, "", &server.spec.router_ref.name);
    match finding.cause {
        Cause::RouterMissing => router.is_none(),
        Cause::NotAllowed => {
            let selects = router
                .and_then(|known| known.body.router())
                .is_some_and(|router| router.spec.attach.namespaces.from == AttachFrom::Selector);
            selects && is_here(Kind::Namespace, "", namespace).is_none()
        }
        Cause::ConfigMapMissing => {
            let mut wanted = vipkeeper_compiler::config_maps(server);
            !wanted.all(|map| is_here(Kind::ConfigMap, &map.namespace, &map.name).is_some())
        }
        Cause::Rule
        | Cause::Taken
        | Cause::NoCandidates
        | Cause::CandidateMissing
        | Cause::InterfaceMissing
        | Cause::ForeignVrid => false,
    }
}
