//! What holds for any objects.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::{Value, json};
use vipkeeper_crds::VirtualRouter;

use super::{objects, router};
use crate::{Severity, compile};

/// Routers that may or may not break rules and may or may not be in each other's way.
fn any_router() -> impl Strategy<Value = Value> {
    (
        prop::collection::vec((1u8..12, 20i64..36), 0..4),
        (0i64..6, 2i64..5, 0u8..5),
        prop::option::of(0u64..300),
        prop::collection::vec((0u8..4, 0i64..258), 0..4),
        any::<bool>(),
    )
        .prop_map(
            |(addresses, (vrid, version, interface), interval, nodes, unicast)| {
                let addresses: Vec<Value> = addresses
                    .iter()
                    .map(|(a, p)| json!({"address": format!("192.0.2.{a}"), "prefixLength": p}))
                    .collect();
                let names = ["a", "b", "c", "z"];
                let nodes: Vec<Value> = nodes
                    .iter()
                    .map(|(n, p)| json!({"node": names[usize::from(*n)], "priority": p}))
                    .collect();
                let interface = match interface {
                    0 => Value::Null,
                    1 => json!({"type": "DefaultRoute", "name": null}),
                    2 => json!({"type": "Subnet", "name": null, "subnet": "192.0.2.0/24"}),
                    n => json!({"type": "Name", "name": format!("eth{n}")}),
                };
                json!({
                    "addresses": addresses,
                    "virtualRouterId": vrid,
                    "version": version,
                    "interface": interface,
                    "advertisementInterval": interval.map(|i| format!("{i}ms")),
                    "nodes": {"priorities": nodes},
                    "transport": {"mode": if unicast { "Unicast" } else { "Multicast" }},
                })
            },
        )
}

fn named(patches: Vec<Value>) -> Vec<VirtualRouter> {
    let name = |(i, patch): (usize, Value)| router(&format!("r{i}"), patch);
    patches.into_iter().enumerate().map(name).collect()
}

proptest! {
    #[test]
    fn the_same_objects_give_the_same_answer(patches in prop::collection::vec(any_router(), 0..6)) {
        let mut objects = objects(named(patches));
        let first = compile(&objects, "a");
        prop_assert_eq!(&first, &compile(&objects, "a"));
        objects.nodes.reverse();
        prop_assert_eq!(&first, &compile(&objects, "a"), "the order of nodes does not matter");
    }

    #[test]
    fn a_refused_router_changes_nothing_for_the_others(
        patches in prop::collection::vec(any_router(), 1..6),
        at in any::<prop::sample::Index>(),
    ) {
        let routers = named(patches);
        let all = compile(&objects(routers.clone()), "a");
        let refused = |name: &str| {
            all.findings.iter().any(|f| f.severity == Severity::Error && f.object.name == name)
        };
        let one = routers[at.index(routers.len())].metadata.name.clone().unwrap();
        let without: Vec<_> = routers
            .into_iter()
            .filter(|r| r.metadata.name.as_deref() != Some(&one))
            .collect();
        if refused(&one) {
            let rest = compile(&objects(without), "a");
            prop_assert_eq!(&all.configs, &rest.configs);
            let others: Vec<_> = all.findings.iter().filter(|f| f.object.name != one).cloned().collect();
            prop_assert_eq!(others, rest.findings);
        }
    }

    #[test]
    fn what_is_accepted_never_shares_an_address(patches in prop::collection::vec(any_router(), 0..6)) {
        let compiled = compile(&objects(named(patches)), "a");
        let mut seen = BTreeSet::new();
        for address in compiled.configs.iter().flat_map(|c| &c.families).flat_map(|f| &f.addresses) {
            prop_assert!(seen.insert(address.address), "{} twice", address.address);
        }
    }
}
