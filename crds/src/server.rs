//! VirtualServer: ports of virtual addresses whose connections the kernel (IPVS) spreads over real servers.
#![expect(
    clippy::duplicated_attributes,
    reason = "several columns have one type"
)]

mod probe;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::duration::Duration;
use crate::node_config::AddressFamily;
use crate::rules::server as rules;
use crate::status::VirtualServerStatus;

pub use probe::{
    BodyDigest, ConfigMapKey, DigestAlgorithm, DnsProbe, DnsType, ExecProbe, FileProbe, GrpcProbe,
    HttpHeader, HttpMethod, HttpProbe, HttpVersion, HttpsProbe, Probe, ProbeType, SmtpProbe,
    UdpProbe,
};

/// Ports of a VirtualRouter's addresses, spread over real servers by the kernel of the node that holds the addresses.
#[derive(CustomResource, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "vipkeeper.io",
    version = "v1alpha1",
    kind = "VirtualServer",
    plural = "virtualservers",
    shortname = "vks",
    category = "vip",
    namespaced,
    derive = "PartialEq",
    doc = "Ports of a VirtualRouter's addresses, spread over real servers by the kernel of the node that holds the addresses.",
    status = "VirtualServerStatus",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.readySummary"),
    printcolumn(name = "Router", type_ = "string", json_path = ".spec.routerRef.name"),
    printcolumn(
        name = "Accepted",
        type_ = "string",
        json_path = ".status.acceptedSummary"
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules::server()))]
pub struct VirtualServerSpec {
    /// The VirtualRouter whose addresses are served. Its `attach` must allow this namespace.
    pub router_ref: RouterRef,
    /// Serves what carries a firewall mark instead of addresses and ports; the router's `attach.fwmark` must allow it.
    /// Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fwmark: Option<FirewallMark>,
    /// Which of the router's addresses are served, at most 256, in canonical form. Default: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(min = 2, max = 45)), extend("x-kubernetes-list-type" = "set"))]
    pub addresses: Vec<String>,
    /// The ports, at most 64; one is required unless `all` or `fwmark` says otherwise. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["port", "protocol"]))]
    pub ports: Vec<ServerPort>,
    /// Every TCP port that no other VirtualServer serves; needs `persistence`, and leaves `ports` out. Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub all: bool,
    /// Which real server gets the next connection. Default: `name: wlc`.
    #[serde(default)]
    pub scheduler: Scheduler,
    /// How packets reach the real servers. Default: `method: NAT`.
    #[serde(default)]
    pub forwarding: Forwarding,
    /// Connections of one client go to one real server. Default: they do not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persistence: Option<Persistence>,
    /// Every datagram by itself, for servers that answer with one packet, as DNS: UDP alone, and by DR or Tunnel,
    /// because nobody remembers the connection whose answer NAT would change (the engine `sip` does). Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub one_packet: bool,
    /// The real servers, at most 1024; or `serviceRef`. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1024), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["address", "port"]))]
    pub real_servers: Vec<RealServer>,
    /// The Service, in the VirtualServer's namespace, whose endpoints are the real servers. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_ref: Option<ServiceRef>,
    /// Who serves while too few real servers are healthy. Default: nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sorry_server: Option<SorryServer>,
    /// How many real servers are enough. Default: `weight: 1`, `hysteresis: 0`, `onLoss: [Sorry]`.
    #[serde(default)]
    pub quorum: Quorum,
    /// How it is found out whether a real server is healthy, at most 8 ways, all of which must say so. Default: none;
    /// every real server is then taken for healthy.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub probes: Vec<Probe>,
    /// What a real server is that was never judged on a node: `Down`, or `Up` as with keepalived. Default: `Down`.
    #[serde(default)]
    pub initial_state: InitialState,
    /// What becomes of a real server that fails: `Remove` it, or `Quiesce` it with weight 0, where its connections
    /// stay. Default: `Remove`.
    #[serde(default)]
    pub on_failure: OnFailure,
    /// How real servers leave that are taken out of the list, or whose endpoint ends. Default: `timeout: 60s`.
    #[serde(default)]
    pub drain: Drain,
}

/// A VirtualRouter by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules::router_ref()))]
pub struct RouterRef {
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// A firewall mark: packets that the node's own packet filter marked, whatever their address and port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FirewallMark {
    /// The mark, 1 to 4294967295.
    #[schemars(range(min = 1, max = 4_294_967_295_i64))]
    pub value: i64,
    /// The family of the packets.
    pub family: AddressFamily,
}

/// A port that is served.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServerPort {
    /// Its name, at most 63 characters; with `serviceRef` that of the Service's port. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub name: Option<String>,
    /// The port, 1 to 65535.
    #[schemars(range(min = 1, max = 65_535))]
    pub port: i64,
    /// `TCP`, `UDP` or `SCTP`. Default: `TCP`.
    #[serde(default)]
    pub protocol: Protocol,
    /// The port of the real servers, 1 to 65535; `DR` and `Tunnel` cannot change it. Not with `serviceRef`, where each
    /// endpoint says its own. Default: `port`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65_535))]
    pub target_port: Option<i64>,
}

/// A transport protocol.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
)]
pub enum Protocol {
    /// TCP.
    #[default]
    #[serde(rename = "TCP")]
    Tcp,
    /// UDP.
    #[serde(rename = "UDP")]
    Udp,
    /// SCTP.
    #[serde(rename = "SCTP")]
    Sctp,
}

/// Which real server gets the next connection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules::scheduler()))]
pub struct Scheduler {
    /// A scheduler of the kernel. Default: `wlc`.
    #[serde(default)]
    pub name: SchedulerName,
    /// `Fallback`: where the chosen real server does not take connections, another is. `Port`: the client's port counts
    /// as well as its address. With `sh` and `mh` alone, at most 2. Default: `[Fallback]` with `sh` and `mh`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2), extend("x-kubernetes-list-type" = "set"))]
    pub flags: Option<Vec<SchedulerFlag>>,
}

/// The schedulers of IPVS.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum SchedulerName {
    /// Round robin.
    Rr,
    /// Weighted round robin.
    Wrr,
    /// Least connections.
    Lc,
    /// Weighted least connections.
    #[default]
    Wlc,
    /// Least connections by destination.
    Lblc,
    /// The same with several servers for each.
    Lblcr,
    /// Destination hash.
    Dh,
    /// Source hash.
    Sh,
    /// Shortest expected delay.
    Sed,
    /// Never queue.
    Nq,
    /// The heaviest that is there.
    Fo,
    /// The heaviest until it is full.
    Ovf,
    /// Maglev hash: two directors choose alike.
    Mh,
    /// The better of two taken at random.
    Twos,
}

impl SchedulerName {
    /// As the kernel and the API write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rr => "rr",
            Self::Wrr => "wrr",
            Self::Lc => "lc",
            Self::Wlc => "wlc",
            Self::Lblc => "lblc",
            Self::Lblcr => "lblcr",
            Self::Dh => "dh",
            Self::Sh => "sh",
            Self::Sed => "sed",
            Self::Nq => "nq",
            Self::Fo => "fo",
            Self::Ovf => "ovf",
            Self::Mh => "mh",
            Self::Twos => "twos",
        }
    }
}

/// What a scheduler does besides.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum SchedulerFlag {
    /// Another real server where the chosen one does not take connections.
    Fallback,
    /// The client's port counts, too.
    Port,
}

/// How packets reach a real server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules::forwarding()))]
pub struct Forwarding {
    /// `NAT`: with the real server's address and port; answers must come back through the node. `FullNAT`: also with
    /// the node's address as source, so that they do. `DR`: with the real server's MAC address and nothing else
    /// changed. `Tunnel`: in packets to the real server. With the last two, the real server has the virtual address
    /// itself and answers clients directly. Default: `NAT`.
    #[serde(default)]
    pub method: ForwardingMethod,
    /// With `method: Tunnel`: in what packets. Default: `type: IPIP`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tunnel: Option<Tunnel>,
}

/// The ways of forwarding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ForwardingMethod {
    /// Destination address and port are changed.
    #[default]
    #[serde(rename = "NAT")]
    Nat,
    /// The source as well.
    #[serde(rename = "FullNAT")]
    FullNat,
    /// Only the MAC address is changed.
    #[serde(rename = "DR")]
    DirectRouting,
    /// Within other packets.
    Tunnel,
}

/// The packets that carry packets to a real server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules::tunnel()))]
pub struct Tunnel {
    /// `IPIP`, `GRE`, or `GUE` in UDP. Default: `IPIP`.
    #[serde(rename = "type", default)]
    pub kind: TunnelType,
    /// With `type: GUE`, and only then: the UDP port, 1 to 65535.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65_535))]
    pub port: Option<i64>,
    /// A checksum over the outer packet: `None`, `Full` (GRE, GUE), or `Remote`, offloaded to the receiver (GUE).
    /// Default: `None`.
    #[serde(default)]
    pub checksum: TunnelChecksum,
}

/// The kinds of tunnels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TunnelType {
    /// IP in IP.
    #[default]
    #[serde(rename = "IPIP")]
    Ipip,
    /// Generic routing encapsulation.
    #[serde(rename = "GRE")]
    Gre,
    /// Generic UDP encapsulation.
    #[serde(rename = "GUE")]
    Gue,
}

/// The checksums of tunnels.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
)]
pub enum TunnelChecksum {
    /// None.
    #[default]
    None,
    /// Over the whole packet.
    Full,
    /// Left to the receiver.
    Remote,
}

/// Connections of one client go to one real server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules::persistence()))]
pub struct Persistence {
    /// How long after its last connection a client is remembered, `1s` to `744h`, whole seconds. Default: `300s`.
    #[serde(default = "default_persistence")]
    pub timeout: Duration,
    /// How many leading bits of an IPv4 address make a client, 1 to 32. Default: 32.
    #[serde(rename = "ipv4PrefixLength", default = "default_ipv4_prefix_length")]
    #[schemars(range(min = 1, max = 32))]
    pub ipv4_prefix_length: i64,
    /// How many leading bits of an IPv6 address make a client, 1 to 128. Default: 128.
    #[serde(rename = "ipv6PrefixLength", default = "default_ipv6_prefix_length")]
    #[schemars(range(min = 1, max = 128))]
    pub ipv6_prefix_length: i64,
    /// What makes a client instead of its address: `sip`, the Call-ID of SIP over UDP. Default: its address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<PersistenceEngine>,
}

fn default_persistence() -> Duration {
    Duration::from_secs(300)
}

fn default_ipv4_prefix_length() -> i64 {
    32
}

fn default_ipv6_prefix_length() -> i64 {
    128
}

/// The persistence engines of IPVS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PersistenceEngine {
    /// The Call-ID of SIP.
    Sip,
}

/// A real server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules::real_server()))]
pub struct RealServer {
    /// Its address in canonical form, and not link-local of IPv6. It serves the virtual addresses of its family, and with
    /// `Tunnel` those of the other where no real server has that.
    #[schemars(length(min = 2, max = 45))]
    pub address: String,
    /// Its port, 1 to 65535. Default: 0, the `targetPort` of each port.
    #[serde(default)]
    #[schemars(range(min = 0, max = 65_535))]
    pub port: i64,
    /// How much of the connections it gets, 0 to 65535; 0 for none but those it has. Default: 1.
    #[serde(default = "default_weight")]
    #[schemars(range(min = 0, max = 65_535))]
    pub weight: i64,
    /// How many connections are too many, 0 to 65535. Default: 0, never.
    #[serde(default)]
    #[schemars(range(min = 0, max = 65_535))]
    pub upper_threshold: i64,
    /// How few connections are few enough again, below `upperThreshold`. Default: 0, three quarters of it.
    #[serde(default)]
    #[schemars(range(min = 0, max = 65_535))]
    pub lower_threshold: i64,
    /// How packets reach this one. Default: as all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forwarding: Option<Forwarding>,
}

fn default_weight() -> i64 {
    1
}

/// A Service whose endpoints are the real servers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules::service_ref()))]
pub struct ServiceRef {
    /// Its name.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// The name of the Service's port that all `ports` go to. Default: the one with the name of each port, or the only
    /// one there is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub port: Option<String>,
}

/// Who serves while too few real servers are healthy. Nobody probes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules::sorry_server()))]
pub struct SorryServer {
    /// Its address in canonical form.
    #[schemars(length(min = 2, max = 45))]
    pub address: String,
    /// Its port, 1 to 65535. Default: the `targetPort` of each port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65_535))]
    pub port: Option<i64>,
    /// Real servers that are still healthy go on serving beside it. Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub keep_healthy: bool,
    /// How packets reach it. Default: as all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forwarding: Option<Forwarding>,
}

/// How many real servers are enough.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules::quorum()))]
pub struct Quorum {
    /// The sum of the weights of the healthy that must be there, 1 to 67107840. Default: 1.
    #[serde(default = "default_quorum")]
    #[schemars(range(min = 1, max = 67_107_840))]
    pub weight: i64,
    /// How much more brings the quorum back, and how much less loses it; below `weight`. Default: 0.
    #[serde(default)]
    #[schemars(range(min = 0, max = 67_107_839))]
    pub hysteresis: i64,
    /// What happens without the quorum, at most 2. `Sorry`: the sorry server takes the place of the real servers.
    /// Default: `[Sorry]`.
    #[serde(default = "default_on_loss")]
    #[schemars(length(max = 2), extend("x-kubernetes-list-type" = "set"))]
    pub on_loss: Vec<OnLoss>,
}

fn default_quorum() -> i64 {
    1
}

fn default_on_loss() -> Vec<OnLoss> {
    vec![OnLoss::Sorry]
}

impl Default for Quorum {
    fn default() -> Self {
        Self {
            weight: default_quorum(),
            hysteresis: 0,
            on_loss: default_on_loss(),
        }
    }
}

/// What happens without a quorum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnLoss {
    /// The sorry server serves.
    Sorry,
}

/// What a real server is that was never judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum InitialState {
    /// It gets nothing.
    #[default]
    Down,
    /// It gets connections.
    Up,
}

/// What becomes of a real server that fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnFailure {
    /// It is taken out.
    #[default]
    Remove,
    /// Its weight becomes 0.
    Quiesce,
}

/// How real servers leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules::drain()))]
pub struct Drain {
    /// How long one that leaves keeps its connections, without new ones, `0s` to `24h`; it goes as soon as it has none.
    /// Default: `60s`.
    #[serde(default = "default_drain")]
    pub timeout: Duration,
}

fn default_drain() -> Duration {
    Duration::from_secs(60)
}

impl Default for Drain {
    fn default() -> Self {
        Self {
            timeout: default_drain(),
        }
    }
}
