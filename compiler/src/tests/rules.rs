//! Each rule, broken alone.

use serde_json::{Value, json};

use super::{
    addresses_of, balanced, ipv6, merge, objects, on_its_own_interface as on, password, router,
};
use crate::{Severity, compile};

#[test]
fn each_broken_rule_names_its_field_and_the_way_out() {
    let two =
        |address: &str| json!({"addresses": [{"address": "192.0.2.100"}, {"address": address}]});
    let one = |address: &str| json!({"addresses": [{"address": address}]});
    let interface = |kind: &str, more: Value| {
        let mut all = json!({"interface": {"type": kind, "name": null}});
        merge(&mut all["interface"], more);
        all
    };
    let priorities = |list: Value| json!({"nodes": {"priorities": list}});
    let unicast = |more: Value| {
        let mut all = json!({"transport": {"mode": "Unicast"}});
        merge(&mut all, more);
        all
    };
    let bad = [
        (json!({"addresses": []}), "spec.addresses", "1 to 256"),
        (addresses_of(257), "spec.addresses", "257 addresses"),
        (addresses_of(256), "spec.addresses", "at most 255"),
        (
            one("192.0.2"),
            "spec.addresses[0].address",
            "is not an IP address",
        ),
        (
            one("192.0.2.1/24"),
            "spec.addresses[0].address",
            "`prefixLength: 24`",
        ),
        (
            one("fe80::1%eth0"),
            "spec.addresses[0].address",
            "the interface in spec.interface",
        ),
        (
            one("2001:DB8::1"),
            "spec.addresses[0].address",
            "write `2001:db8::1`",
        ),
        (
            one("2001:db8:0::1"),
            "spec.addresses[0].address",
            "write `2001:db8::1`",
        ),
        (one("0.0.0.0"), "spec.addresses[0].address", "unspecified"),
        (one("0.1.2.3"), "spec.addresses[0].address", "no host"),
        (one("127.0.0.1"), "spec.addresses[0].address", "loopback"),
        (one("224.0.0.18"), "spec.addresses[0].address", "multicast"),
        (
            one("255.255.255.255"),
            "spec.addresses[0].address",
            "reserved",
        ),
        (one("::"), "spec.addresses[0].address", "unspecified"),
        (one("::1"), "spec.addresses[0].address", "loopback"),
        (one("ff02::1"), "spec.addresses[0].address", "multicast"),
        (
            one("::ffff:192.0.2.1"),
            "spec.addresses[0].address",
            "IPv4 address in IPv6 form",
        ),
        (
            one("192.0.2.1"),
            "spec.addresses[0].address",
            "InternalIP of node a",
        ),
        (
            two("192.0.2.100"),
            "spec.addresses[1].address",
            "listed twice",
        ),
        (
            {
                let mut all = two("2001:db8::1");
                merge(&mut all, json!({"version": 2}));
                all
            },
            "spec.version",
            "IPv4 only",
        ),
        (
            json!({"syncGroup": ""}),
            "spec.syncGroup",
            "1 to 63 characters",
        ),
        (
            json!({"syncGroup": "x".repeat(64)}),
            "spec.syncGroup",
            "1 to 63 characters",
        ),
        (
            json!({"handover": {"linger": "1m1s"}}),
            "spec.handover.linger",
            "0s to 1m",
        ),
        (
            json!({"addresses": [{"address": "192.0.2.100", "prefixLength": 33}]}),
            "spec.addresses[0].prefixLength",
            "1 to 32",
        ),
        (
            json!({"addresses": [{"address": "192.0.2.100", "prefixLength": 0}]}),
            "spec.addresses[0].prefixLength",
            "1 to 32",
        ),
        (
            json!({"addresses": [{"address": "192.0.2.0", "prefixLength": 24}]}),
            "spec.addresses[0].address",
            "network address",
        ),
        (
            json!({"addresses": [{"address": "192.0.2.255", "prefixLength": 24}]}),
            "spec.addresses[0].address",
            "broadcast address",
        ),
        (
            json!({"interface": {"name": null, "type": "Name"}}),
            "spec.interface.name",
            "required with `type: Name`",
        ),
        (
            interface("Name", json!({"name": "a/b"})),
            "spec.interface.name",
            "1 to 15",
        ),
        (
            interface("Name", json!({"name": "abcdefghijklmnop"})),
            "spec.interface.name",
            "1 to 15",
        ),
        (
            interface("Name", json!({"name": "eth1", "subnet": "192.0.2.0/24"})),
            "spec.interface.subnet",
            "belongs to `type: Subnet`",
        ),
        (
            interface("DefaultRoute", json!({"name": "eth1"})),
            "spec.interface.name",
            "belongs to `type: Name`",
        ),
        (
            interface("Subnet", json!({})),
            "spec.interface.subnet",
            "required",
        ),
        (
            interface("Subnet", json!({"subnet": "192.0.2.1/24"})),
            "spec.interface.subnet",
            "write `192.0.2.0/24`",
        ),
        (
            interface("Subnet", json!({"subnet": "192.0.2.0"})),
            "spec.interface.subnet",
            "not a subnet",
        ),
        (
            interface("Subnet", json!({"subnet": "192.0.2.0/33"})),
            "spec.interface.subnet",
            "not a subnet",
        ),
        (
            interface("Subnet", json!({"subnet": "0.0.0.0/0"})),
            "spec.interface.subnet",
            "not a subnet",
        ),
        (
            interface("Subnet", json!({"subnet": "fe80::/64"})),
            "spec.interface.subnet",
            "every interface",
        ),
        (
            ipv6(&["fe80::100"], json!({"interface": null})),
            "spec.interface",
            "type: Name",
        ),
        (
            on(json!({"type": "Name"}), json!({})),
            "spec.addresses[1].interface.name",
            "required with `type: Name`",
        ),
        (
            on(json!({"type": "Name", "name": "a/b"}), json!({})),
            "spec.addresses[1].interface.name",
            "`/`",
        ),
        (
            on(
                json!({"type": "Subnet", "subnet": "192.0.2.1/24"}),
                json!({}),
            ),
            "spec.addresses[1].interface.subnet",
            "write `192.0.2.0/24`",
        ),
        (
            on(json!({"type": "DefaultRoute", "name": "eth1"}), json!({})),
            "spec.addresses[1].interface.name",
            "remove it",
        ),
        (
            json!({"virtualRouterId": null}),
            "spec.virtualRouterId",
            "required",
        ),
        (
            json!({"virtualRouterId": 0}),
            "spec.virtualRouterId",
            "1 to 255",
        ),
        (
            json!({"virtualRouterId": 256}),
            "spec.virtualRouterId",
            "1 to 255",
        ),
        (json!({"version": 4}), "spec.version", "choose 3"),
        (
            ipv6(&["2001:db8::100"], json!({"version": 2})),
            "spec.version",
            "IPv4 only",
        ),
        (
            json!({"advertisementInterval": "15ms"}),
            "spec.advertisementInterval",
            "steps of 10ms",
        ),
        (
            json!({"advertisementInterval": "0s"}),
            "spec.advertisementInterval",
            "from 10ms",
        ),
        (
            json!({"advertisementInterval": "40960ms"}),
            "spec.advertisementInterval",
            "to 40s950ms",
        ),
        (
            json!({"version": 2, "advertisementInterval": "1500ms"}),
            "spec.advertisementInterval",
            "whole seconds",
        ),
        (
            json!({"version": 2, "advertisementInterval": "256s"}),
            "spec.advertisementInterval",
            "4m15s",
        ),
        (
            json!({"nodes": {"maxCandidates": 2}}),
            "spec.nodes.maxCandidates",
            "spec.nodes.priorities lists them",
        ),
        (
            json!({"nodes": {"selectors": [{}]}}),
            "spec.nodes.selectors",
            "remove one of the two",
        ),
        (
            json!({"nodes": {"preferred": [{"weight": 1, "preference": {}}]}}),
            "spec.nodes.preferred",
            "remove one of the two",
        ),
        (
            balanced(json!({"maxCandidates": 0})),
            "spec.nodes.maxCandidates",
            "1 to 32",
        ),
        (
            balanced(json!({"maxCandidates": 33})),
            "spec.nodes.maxCandidates",
            "1 to 32",
        ),
        (
            balanced(json!({"maxCandidates": -1})),
            "spec.nodes.maxCandidates",
            "-1",
        ),
        (
            balanced(json!({"selectors": vec![json!({}); 17]})),
            "spec.nodes.selectors",
            "at most 16",
        ),
        (
            balanced(json!({"preferred": vec![json!({"weight": 1, "preference": {}}); 17]})),
            "spec.nodes.preferred",
            "at most 16",
        ),
        (
            balanced(json!({"preferred": [{"weight": 0, "preference": {}}]})),
            "spec.nodes.preferred[0].weight",
            "1 to 100",
        ),
        (
            balanced(json!({"selectors": [{"matchLabels": {"a b": "c"}}]})),
            "spec.nodes.selectors[0].matchLabels",
            "label's key",
        ),
        (
            balanced(json!({"selectors": [{"matchLabels": {"a/b/c": "c"}}]})),
            "spec.nodes.selectors[0].matchLabels",
            "label's key",
        ),
        (
            balanced(json!({"selectors": [{"matchLabels": {"a": "-"}}]})),
            "spec.nodes.selectors[0].matchLabels",
            "label's value",
        ),
        (
            balanced(
                json!({"selectors": [{"matchExpressions": [{"key": "a", "operator": "In"}]}]}),
            ),
            "spec.nodes.selectors[0].matchExpressions[0].values",
            "1 to 64",
        ),
        (
            balanced(
                json!({"selectors": [{"matchExpressions": [{"key": "a", "operator": "Exists", "values": ["x"]}]}]}),
            ),
            "spec.nodes.selectors[0].matchExpressions[0].values",
            "no values",
        ),
        (
            balanced(
                json!({"preferred": [{"weight": 1, "preference": {"matchExpressions": [{"key": "", "operator": "Exists"}]}}]}),
            ),
            "spec.nodes.preferred[0].preference.matchExpressions[0].key",
            "label's key",
        ),
        (
            balanced(json!({"selectors": [{"matchLabels": {"role": "edge"}}]})),
            "spec.nodes.selectors",
            "none of the 2 Nodes",
        ),
        (
            priorities(json!([{"node": "a", "priority": 1}, {"node": "a", "priority": 2}])),
            "spec.nodes.priorities[1].node",
            "listed twice",
        ),
        (
            priorities(json!([{"node": "", "priority": 1}])),
            "spec.nodes.priorities[0].node",
            "name the node",
        ),
        (
            priorities(json!([{"node": "a", "priority": 0}])),
            "spec.nodes.priorities[0].priority",
            "1 to 254",
        ),
        (
            priorities(json!([{"node": "a", "priority": 255}, {"node": "b", "priority": 255}])),
            "spec.nodes.priorities[1].priority",
            "one owner",
        ),
        (
            priorities(json!([{"node": "a", "priority": 300}])),
            "spec.nodes.priorities[0].priority",
            "1 to 254",
        ),
        (
            json!({"preemption": {"mode": "Delayed"}}),
            "spec.preemption.delay",
            "required",
        ),
        (
            json!({"preemption": {"mode": "Delayed", "delay": "0s"}}),
            "spec.preemption.delay",
            "1ms to 1h",
        ),
        (
            json!({"preemption": {"mode": "Never", "delay": "1s"}}),
            "spec.preemption.delay",
            "mode: Delayed",
        ),
        (
            json!({"election": {"downAdvertisements": 0}}),
            "spec.election.downAdvertisements",
            "1 to 10",
        ),
        (
            json!({"election": {"downAdvertisements": 11}}),
            "spec.election.downAdvertisements",
            "1 to 10",
        ),
        (
            ipv6(&["2001:db8::100"], json!({"election": {"strict": true}})),
            "spec.addresses[0].address",
            "link-local",
        ),
        (
            json!({"transport": {"group": "239.0.0.1"}}),
            "spec.transport.group",
            "224.0.0.0/24",
        ),
        (
            json!({"transport": {"group": "ff02::12"}}),
            "spec.transport.group",
            "no IPv4 multicast group",
        ),
        (
            ipv6(
                &["2001:db8::100"],
                json!({"transport": {"group": "ff05::12"}}),
            ),
            "spec.transport.group",
            "ff02::/16",
        ),
        (
            unicast(json!({"transport": {"group": "224.0.0.18"}})),
            "spec.transport.group",
            "mode: Multicast",
        ),
        (
            json!({"transport": {"source": "192.0.2.100"}}),
            "spec.transport.source",
            "moves",
        ),
        (
            json!({"transport": {"source": "2001:db8::1"}}),
            "spec.transport.source",
            "of which the router has no address",
        ),
        (
            ipv6(
                &["2001:db8::100"],
                json!({"transport": {"source": "2001:db8::1"}}),
            ),
            "spec.transport.source",
            "fe80::",
        ),
        (
            json!({"transport": {"extraPeers": [{"address": "2001:db8::1"}]}}),
            "spec.transport.extraPeers[0].address",
            "of which the router has no address",
        ),
        (
            json!({"transport": {"extraPeers": [{"address": "224.0.0.1"}]}}),
            "spec.transport.extraPeers[0].address",
            "multicast",
        ),
        (
            json!({"transport": {"extraPeers": [{"address": "192.0.2.9", "minTTL": 256}]}}),
            "spec.transport.extraPeers[0].minTTL",
            "0 to 255",
        ),
        (
            json!({"transport": {"extraPeers": [{"address": "192.0.2.9"}, {"address": "192.0.2.9"}]}}),
            "spec.transport.extraPeers[1].address",
            "listed twice",
        ),
        (
            unicast(priorities(
                json!([{"node": "a", "priority": 1}, {"node": "z", "priority": 2}]),
            )),
            "spec.nodes.priorities[1].node",
            "add the core v1 Node z",
        ),
        (
            json!({"authentication": {"type": "Password"}}),
            "spec.authentication.password",
            "required",
        ),
        (
            password(json!({"version": 3})),
            "spec.authentication.type",
            "version 3 has no password",
        ),
        (
            password(json!({"authentication": {"type": "None"}})),
            "spec.authentication.password",
            "type: Password",
        ),
        (
            password(json!({"authentication": {"password": {"secretRef": {"name": "x"}}}})),
            "spec.authentication.password.secretRef.name",
            "vipkeeper-keys",
        ),
        (
            password(json!({"authentication": {"password": {"secretRef": {"namespace": "x"}}}})),
            "spec.authentication.password.secretRef.name",
            "namespace x",
        ),
        (
            password(json!({"authentication": {"password": {"secretRef": {"key": "x"}}}})),
            "spec.authentication.password.secretRef.key",
            "[password]",
        ),
        (
            json!({"version": 2, "checksum": "RFC9568"}),
            "spec.checksum",
            "version 2",
        ),
        (
            ipv6(&["2001:db8::100"], json!({"checksum": "RFC5798"})),
            "spec.checksum",
            "IPv6",
        ),
        (
            json!({"addressLifetime": "5s"}),
            "spec.addressLifetime",
            "10s to 1h",
        ),
        (
            json!({"addressLifetime": "2h"}),
            "spec.addressLifetime",
            "10s to 1h",
        ),
    ];
    for (patch, path, message) in bad {
        let compiled = compile(&objects(vec![router("r", patch.clone())]), "a");
        let found = compiled.findings.iter().any(|f| {
            f.severity == Severity::Error && f.path == path && f.message.contains(message)
        });
        assert!(
            found,
            "{patch}: {path}: {message}: {:#?}",
            compiled.findings
        );
        assert_eq!(compiled.configs, [], "{patch}");
    }
}
