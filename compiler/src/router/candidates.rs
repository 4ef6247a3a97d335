//! The rules of the nodes that take part.

use std::collections::BTreeMap;
use std::net::IpAddr;

use vipkeeper_crds::{AddressFamily, Priority, VirtualRouterSpec};

use super::Candidate;
use crate::finding::Remarks;

/// The most nodes that take part in one router.
const MAX_CANDIDATES: usize = 32;

pub(super) fn candidates(
    spec: &VirtualRouterSpec,
    family: AddressFamily,
    nodes: &BTreeMap<String, Vec<IpAddr>>,
    remarks: &mut Remarks,
) -> Vec<Candidate> {
    let listed = &spec.nodes.priorities;
    if listed.is_empty() {
        remarks.error(
            "spec.nodes.priorities",
            "required, because nodes that share nothing cannot agree on them: list each node with its priority, such as `{node: node-a, priority: 100}`",
        );
    }
    if listed.len() > MAX_CANDIDATES {
        let message = format!(
            "{} nodes: a router has at most {MAX_CANDIDATES}",
            listed.len()
        );
        remarks.error("spec.nodes.priorities", message);
    }
    let mut good: Vec<Candidate> = Vec::with_capacity(listed.len());
    for (i, entry) in listed.iter().enumerate() {
        let path = format!("spec.nodes.priorities[{i}]");
        if entry.node.is_empty() {
            remarks.error(format!("{path}.node"), "empty: name the node");
        } else if good.iter().any(|c| c.node == entry.node) {
            let message = format!("{} is listed twice: remove one", entry.node);
            remarks.error(format!("{path}.node"), message);
            continue;
        }
        let Some(priority) = priority(entry, &format!("{path}.priority"), remarks) else {
            continue;
        };
        if let Some(equal) = good.iter().find(|c| c.priority == priority) {
            remarks.warn(
                format!("{path}.priority"),
                format!(
                    "{} has priority {priority} too: after a failure both may take over at once until one sees the other; give each node its own",
                    equal.node
                ),
            );
        }
        let of_family = |a: &&IpAddr| AddressFamily::of(a) == family;
        let address = nodes.get(&entry.node);
        good.push(Candidate {
            node: entry.node.clone(),
            priority,
            address: address.and_then(|all| all.iter().find(of_family)).copied(),
        });
    }
    good
}

fn priority(entry: &Priority, path: &str, remarks: &mut Remarks) -> Option<u8> {
    match u8::try_from(entry.priority) {
        Ok(255) => {
            remarks.error(
                path,
                "255 is for the address owner, whose host has the addresses by its own configuration, and is not supported yet: choose 1 to 254",
            );
            None
        }
        Ok(priority) if priority > 0 => Some(priority),
        Ok(_) | Err(_) => {
            remarks.error(path, format!("{}: choose 1 to 254", entry.priority));
            None
        }
    }
}
