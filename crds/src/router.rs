//! VirtualRouter: virtual addresses that move together between nodes by VRRP.
#![expect(
    clippy::duplicated_attributes,
    reason = "several columns have one type"
)]

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::duration::{AddressLifetime, Duration};
use crate::rules;
use crate::selector::{LabelSelector, PreferredNodes};
use crate::status::VirtualRouterStatus;

/// Virtual addresses that one node holds at a time. The nodes elect the holder among
/// themselves by VRRP (RFC 9568); the API server is not asked.
#[derive(CustomResource, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "vipkeeper.io",
    version = "v1alpha1",
    kind = "VirtualRouter",
    plural = "virtualrouters",
    shortname = "vkr",
    category = "vip",
    derive = "PartialEq",
    doc = "Virtual addresses that one node holds at a time. The nodes elect the holder among themselves by VRRP (RFC 9568); the API server is not asked.",
    status = "VirtualRouterStatus",
    printcolumn(name = "Active", type_ = "string", json_path = ".status.activeSummary"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.readySummary"),
    printcolumn(
        name = "VRID",
        type_ = "integer",
        json_path = ".status.virtualRouterId"
    ),
    printcolumn(
        name = "Addresses",
        type_ = "string",
        json_path = ".status.addressSummary"
    ),
    printcolumn(name = "Nodes", type_ = "string", json_path = ".status.nodeSummary"),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules::router()))]
pub struct VirtualRouterSpec {
    /// The virtual addresses, 1 to 256 and at most 255 of one family, in the order in which they are advertised. IPv4
    /// and IPv6 addresses make one election each: see `families`.
    #[schemars(
        length(min = 1, max = 256),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["address"])
    )]
    pub addresses: Vec<RouterAddress>,
    /// The interface on which the election runs, and the addresses live that name none of their own. Default: the
    /// interface whose subnet holds the first of those addresses that is not link-local.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<Interface>,
    /// How the elections of IPv4 and IPv6 belong together if there are addresses of both. `Together`: one node holds
    /// all, and a family that cannot run takes the other along. `Independent`: each has its own holder. Default:
    /// `Together`.
    #[serde(default)]
    pub families: Families,
    /// The VRID, 1 to 255: unique on the link for each address family, equal on all nodes. Default: one that nobody
    /// uses on the link, chosen once and kept, see the status; without a cluster nobody chooses, and it is required.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 255))]
    pub virtual_router_id: Option<i64>,
    /// The version of VRRP: 3, or 2 for peers that know nothing newer (IPv4 and whole seconds only).
    /// Default: 3.
    #[serde(default = "default_version")]
    #[schemars(range(min = 2, max = 3))]
    pub version: i64,
    /// The time between two advertisements of the holder: `10ms` to `40s950ms` in steps of 10ms with version 3,
    /// `1s` to `4m15s` in whole seconds with version 2. A dead holder is replaced within about three of them.
    /// Default: `250ms` with version 3, `1s` with version 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advertisement_interval: Option<Duration>,
    /// Which nodes take part, and how much each is preferred. Default: the first five of every Linux node.
    #[serde(default)]
    pub nodes: Nodes,
    /// Whether a node takes the addresses from a holder of lower priority. Default: `mode: Always`.
    #[serde(default)]
    pub preemption: Preemption,
    /// How the election treats what it hears, and does not hear. Default: as RFC 9568 has it, and tolerant of what
    /// deployed routers send: `downAdvertisements: 3`, `strict: false`.
    #[serde(default)]
    pub election: Election,
    /// How advertisements reach the other nodes. Default: `mode: Multicast`.
    #[serde(default)]
    pub transport: Transport,
    /// How advertisements are authenticated. Default: `type: None`.
    #[serde(default)]
    pub authentication: Authentication,
    /// Which checksum version 3 has over IPv4: that of RFC 9568, that of RFC 5798 (with a pseudo-header, as
    /// keepalived sends), or `Auto`, which accepts both and learns what the peers send. Default: `Auto`.
    #[serde(default)]
    pub checksum: Checksum,
    /// How long the kernel keeps a virtual address when the agent no longer renews it, `10s` to `1h`, or
    /// `Forever`. Default: `30s`.
    #[serde(default)]
    pub address_lifetime: AddressLifetime,
    /// The name of a group of VirtualRouters that move together, 1 to 63 characters: one node holds the addresses of
    /// all, and a router that cannot run there takes the others along. Its members have the same candidates, with
    /// the same order. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub sync_group: Option<String>,
    /// How a planned move goes: a stop, a drain, a changed priority. Default: `linger: 1s`.
    #[serde(default)]
    pub handover: Handover,
    /// Which VirtualServers may use the addresses. Default: none.
    #[serde(default)]
    pub attach: Attach,
}

/// Which VirtualServers may use a router's addresses, and what they may do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Attach {
    /// The namespaces whose VirtualServers may. Default: `from: None`.
    #[serde(default)]
    pub namespaces: AttachNamespaces,
    /// They may run scripts and read files of the nodes, and have real servers and probes at loopback, link-local, node
    /// and control-plane addresses. Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub trusted: bool,
    /// They may serve what carries a firewall mark. Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fwmark: bool,
}

/// Namespaces.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules::namespaces()))]
pub struct AttachNamespaces {
    /// `None`, `All`, or `Selector`: those with certain labels. Default: `None`.
    #[serde(default)]
    pub from: AttachFrom,
    /// With `from: Selector`, and only then: the labels of the namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
}

/// Which namespaces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AttachFrom {
    /// No namespace.
    #[default]
    None,
    /// Every namespace.
    All,
    /// Those with certain labels.
    Selector,
}

/// How the elections of IPv4 and IPv6 belong together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Families {
    /// One node holds the addresses of both.
    #[default]
    Together,
    /// Each has its own holder.
    Independent,
}

/// How a planned move goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules::handover()))]
pub struct Handover {
    /// How long the old holder keeps the addresses, on its loopback and without answering ARP or neighbour
    /// discovery, after the new one has them, so that packets on their way still arrive: `0s` to `1m`. Default: `1s`.
    #[serde(default = "default_linger")]
    pub linger: Duration,
}

fn default_linger() -> Duration {
    Duration::from_secs(1)
}

impl Default for Handover {
    fn default() -> Self {
        Self {
            linger: default_linger(),
        }
    }
}

fn default_version() -> i64 {
    3
}

/// A virtual address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules::address()))]
pub struct RouterAddress {
    /// The address in its canonical form: `192.0.2.100`, `2001:db8::1`.
    #[schemars(length(min = 2, max = 45))]
    pub address: String,
    /// The prefix length on the interface, 1 to 32 or 1 to 128. Default: 32 for IPv4, 128 for IPv6: the address
    /// alone, and no route to its subnet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 128))]
    pub prefix_length: Option<i64>,
    /// The interface that this address is put on and announced on; the election stays on the router's. A node where it
    /// is missing or down takes no part. Default: the router's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<Interface>,
}

/// How a node finds the interface. Exactly the member that `type` asks for is set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules::interface()))]
pub struct Interface {
    /// `Name`: by `name`. `Subnet`: an interface with an address in `subnet`. `DefaultRoute`: the interface of the
    /// default route, of the family of the router's first address or of the address that it is for.
    #[serde(rename = "type")]
    pub kind: InterfaceType,
    /// With `type: Name`: the interface's name on every node, 1 to 15 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 15))]
    pub name: Option<String>,
    /// With `type: Subnet`: a subnet such as `192.0.2.0/24`, host bits zero.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 4, max = 49))]
    pub subnet: Option<String>,
}

/// The ways to find an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum InterfaceType {
    /// By name.
    Name,
    /// By an address in a subnet.
    Subnet,
    /// By the default route.
    DefaultRoute,
}

/// The candidates: `priorities` alone, or the other fields.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules::nodes()))]
pub struct Nodes {
    /// Which nodes may take part if `priorities` is left out: those that at least one of these selectors matches, at
    /// most 16. Nodes of other systems than Linux (label `kubernetes.io/os`) never do. Default: every Linux node.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub selectors: Vec<LabelSelector>,
    /// How many nodes take part if `priorities` is left out, 1 to 32; further ones that match stand by without a part.
    /// A node that shall not be used (label, taint or deletion say so, or in a cluster it was not ready for five
    /// minutes) does not count, but stays below all others. Default: 5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 32))]
    pub max_candidates: Option<i64>,
    /// The priority of each candidate, at most 32. A node that is not listed takes no part. Default: placed by the
    /// compiler from 254 down, so far apart that two Backups do not take over together; each VirtualRouter has its
    /// own order of nodes. In manifests that order follows from the names of the router and of the Nodes described
    /// there; in a cluster it spreads the holders over the nodes and stays when nodes come and go.
    #[serde(default)]
    #[schemars(
        length(max = 32),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["node"])
    )]
    pub priorities: Vec<Priority>,
    /// Which nodes come first if `priorities` is left out, at most 16 entries. In a cluster neither a changed
    /// preference nor a preferred node that joins moves addresses from their holder. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub preferred: Vec<PreferredNodes>,
}

/// The priority of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Priority {
    /// The node's name.
    #[schemars(length(min = 1, max = 253))]
    pub node: String,
    /// 1 to 254; the highest that is alive holds the addresses. 255 for the address owner, at most one: the node whose
    /// own configuration has every address of the router on its interface; the agent uses them there and neither
    /// adds nor removes them.
    #[schemars(range(min = 1, max = 255))]
    pub priority: i64,
}

/// Who takes over from a holder of lower priority.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules::preemption()))]
pub struct Preemption {
    /// `Always`: a node of higher priority takes the addresses as soon as it is up. `Never`: it waits until the
    /// holder leaves. `Delayed`: it takes them `delay` after it first heard the lower priority. Default: `Always`.
    #[serde(default)]
    pub mode: PreemptionMode,
    /// With `mode: Delayed`, and only then: how long to wait, `1ms` to `1h`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay: Option<Duration>,
}

/// The modes of preemption.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PreemptionMode {
    /// At once.
    #[default]
    Always,
    /// Not at all.
    Never,
    /// After a delay.
    Delayed,
}

/// How the election treats what it hears, and does not hear.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Election {
    /// How many advertisements may be missed before another node takes over, 1 to 10. Must be equal on all nodes.
    /// Default: 3, as RFC 9568 has it.
    #[serde(default = "default_down_advertisements")]
    #[schemars(range(min = 1, max = 10))]
    pub down_advertisements: i64,
    /// Refuse, rather than report, what errata of the RFC forbid and deployed routers send: another address
    /// list or version 3 interval than ours, an IPv6 list that does not begin with a link-local address.
    /// Default: false.
    #[serde(default)]
    pub strict: bool,
}

fn default_down_advertisements() -> i64 {
    3
}

impl Default for Election {
    fn default() -> Self {
        Self {
            down_advertisements: default_down_advertisements(),
            strict: false,
        }
    }
}

/// How advertisements reach the other nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules::transport()))]
pub struct Transport {
    /// `Multicast`: to a group of the link. `Unicast`: to the internal address of each other candidate's Node and
    /// to `extraPeers`. Default: `Multicast`.
    #[serde(default)]
    pub mode: TransportMode,
    /// More peers, at most 32, that get unicast advertisements and may send them; routers that are no candidates,
    /// or candidates without a Node. An address of the node itself is passed over. Default: none.
    #[serde(default)]
    #[schemars(
        length(max = 32),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["address"])
    )]
    pub extra_peers: Vec<Peer>,
    /// The source address of advertisements of its family. Default: with `Multicast` the primary IPv4 or the link-local IPv6
    /// address of the interface, with `Unicast` the internal address of the own Node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 45))]
    pub source: Option<String>,
    /// With `mode: Multicast`: the group of its family, of link-local scope (224.0.0.0/24, ff02::/16), equal on all nodes.
    /// Default: `224.0.0.18` or `ff02::12`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 45))]
    pub group: Option<String>,
}

/// The ways to send advertisements.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TransportMode {
    /// To a group.
    #[default]
    Multicast,
    /// To each peer.
    Unicast,
}

/// A peer that is reached by unicast.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules::peer()))]
pub struct Peer {
    /// Its address, of a family that the router has, in canonical form.
    #[schemars(length(min = 2, max = 45))]
    pub address: String,
    /// The lowest TTL or hop limit that is accepted from it, 0 to 255: 255 for a peer on the link that sends
    /// 255. Default: 0, any.
    #[serde(default, rename = "minTTL")]
    #[schemars(range(min = 0, max = 255))]
    pub min_ttl: i64,
}

/// How advertisements are authenticated. Exactly the member that `type` asks for is set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules::authentication()))]
pub struct Authentication {
    /// `None`, or `Password`: the simple text password of version 2, which keeps mistakes apart and stops nobody.
    #[serde(rename = "type")]
    pub kind: AuthenticationType,
    /// With `type: Password`: where the password is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Password>,
}

/// The ways to authenticate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AuthenticationType {
    /// Nothing.
    #[default]
    None,
    /// The simple text password of version 2.
    Password,
}

/// A password of version 2: 1 to 8 bytes, readable by everybody on the link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Password {
    /// The Secret that holds it.
    pub secret_ref: SecretRef,
}

/// A key of a Secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretRef {
    /// The Secret's name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The Secret's namespace. Default: `vipkeeper-keys`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub namespace: Option<String>,
    /// The key in the Secret's `data`.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

/// The checksums of version 3 over IPv4.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Checksum {
    /// Whatever the peers have.
    #[default]
    Auto,
    /// Over the message alone.
    #[serde(rename = "RFC9568")]
    Rfc9568,
    /// Over a pseudo-header and the message.
    #[serde(rename = "RFC5798")]
    Rfc5798,
}

#[cfg(test)]
mod tests {
    use kube::{CustomResourceExt, Resource};

    use super::*;

    #[test]
    fn the_shortest_router_has_the_documented_defaults() {
        let spec: VirtualRouterSpec =
            serde_json::from_value(serde_json::json!({"addresses": [{"address": "192.0.2.1"}]}))
                .unwrap();
        assert_eq!(spec.version, 3);
        assert_eq!(spec.election.down_advertisements, 3);
        assert_eq!(spec.preemption.mode, PreemptionMode::Always);
        assert_eq!(spec.transport.mode, TransportMode::Multicast);
        assert_eq!(spec.address_lifetime.to_string(), "30s");
        assert_eq!(spec.checksum, Checksum::Auto);
        assert_eq!(spec.families, Families::Together);
        assert_eq!(spec.sync_group, None);
        assert_eq!(spec.handover.linger.to_string(), "1s");
        assert_eq!(spec.nodes, Nodes::default());
        let json = serde_json::to_value(&spec.nodes).unwrap();
        assert_eq!(json, serde_json::json!({"priorities": []}));
    }

    #[test]
    fn an_operator_that_does_not_exist_is_refused() {
        let read = |operator: &str| {
            serde_json::from_value::<Nodes>(serde_json::json!({
                "selectors": [{"matchExpressions": [{"key": "zone", "operator": operator}]}],
            }))
        };
        assert!(read("Exists").is_ok());
        let error = read("Gt").unwrap_err().to_string();
        assert!(error.contains("`In`, `NotIn`, `Exists`"), "{error}");
    }

    #[test]
    fn every_field_of_the_schema_is_described_with_its_default() {
        let settings = serde_json::to_value(crate::Settings::crd()).unwrap();
        let schema = settings.pointer("/spec/versions/0/schema/openAPIV3Schema/properties/spec");
        assert_described("spec", schema.unwrap());
        let crd = serde_json::to_value(VirtualRouter::crd()).unwrap();
        let spec = crd
            .pointer("/spec/versions/0/schema/openAPIV3Schema/properties/spec")
            .unwrap();
        assert_described("spec", spec);
        assert_eq!(crd["spec"]["scope"], "Cluster");
        assert_eq!(crd["spec"]["names"]["shortNames"][0], "vkr");
        assert_eq!(crd["spec"]["names"]["categories"][0], "vip");
        assert_eq!(VirtualRouter::group(&()), crate::GROUP);
    }

    fn assert_described(path: &str, schema: &serde_json::Value) {
        let required = schema["required"].as_array().into_iter().flatten();
        let required: Vec<&str> = required.filter_map(serde_json::Value::as_str).collect();
        for (name, field) in schema["properties"].as_object().into_iter().flatten() {
            let path = format!("{path}.{name}");
            let text = field["description"].as_str().unwrap_or_default();
            assert!(text.len() > 10, "{path} is not described: {field}");
            // What may be left out says what it then is; what belongs to one type says to which.
            let says = text.contains("Default:") || text.starts_with("With `");
            assert!(
                required.contains(&name.as_str()) || says,
                "{path} has no default: {text}"
            );
            assert_described(&path, field);
            assert_described(&path, &field["items"]);
        }
    }

    #[test]
    fn the_schema_is_structural() {
        let crd = serde_json::to_string(&VirtualRouter::crd()).unwrap();
        for forbidden in ["$ref", "\"additionalProperties\":false", "\"definitions\""] {
            assert!(!crd.contains(forbidden), "{forbidden} in {crd}");
        }
    }
}
