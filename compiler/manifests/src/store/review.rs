//! What is wrong with manifests that a cluster will be given.

use std::collections::BTreeMap;

use vipkeeper_compiler::{Cause, Finding, Index, Setting, Severity, allocate};

use super::gathering::Gathering;
use crate::diagnosis::Diagnosis;
use crate::manifest::{Body, File};

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
    for (seniority, known) in (0..).zip(objects.values()) {
        match &known.body {
            Body::Router(router) => {
                index.set_router(router, seniority);
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
            Body::Secret(_) => {}
        }
    }
    let all = allocate(&index).findings.into_iter();
    for finding in all.filter(|f| has_nodes || !is_about_nodes(f)) {
        let about = objects.iter().find(|(id, _)| {
            id.kind.as_str() == finding.object.kind && id.name == finding.object.name
        });
        if let Some((_, known)) = about {
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
        Cause::Rule | Cause::Taken | Cause::ForeignVrid => false,
    }
}
