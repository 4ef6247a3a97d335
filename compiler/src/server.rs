//! The rules of one VirtualServer on its own: what it listens to, and how it spreads, here; the rest in the modules
//! below. What depends on its router and on other objects is `attachment`'s.
//!
//! All fields are looked at, so that one reading finds every mistake. A field that cannot be read gives `None`,
//! and the whole is `Some` only if every field is.

mod forwarding;
mod members;
mod probe;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::num::NonZeroU32;

use vipkeeper_crds::node_server::{
    NodePersistence, NodeQuorum, NodeScheduler, NodeServer, ServerName,
};
use vipkeeper_crds::server::{
    ConfigMapKey, Forwarding, ForwardingMethod, OnLoss, Persistence, PersistenceEngine, Protocol,
    SchedulerFlag, SchedulerName,
};
use vipkeeper_crds::{AddressFamily, Duration, VirtualServer, VirtualServerSpec};

use crate::address;
use crate::finding::Remarks;

pub(crate) use members::{everybody, link_local_or_loopback, local, no_real_server};
pub use probe::BODY_REGEX_SIZE;

/// The namespace of an object that says none.
const DEFAULT_NAMESPACE: &str = "default";
/// The most ports, and the most addresses, of one object.
const MAX_PORTS: usize = 64;
const MAX_ADDRESSES: usize = 256;
/// The longest time that a client is remembered, in milliseconds: 31 days.
const MAX_PERSISTENCE: u64 = 2_678_400_000;
/// The longest drain, in milliseconds.
const MAX_DRAIN: u64 = 86_400_000;
/// The most that 1024 real servers weigh together.
const MAX_WEIGHT: i64 = 67_107_840;

/// A VirtualServer whose own rules have passed.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Server {
    /// The VirtualRouter it wants.
    pub(crate) router: String,
    pub(crate) wanted: Wanted,
    /// Where the authorities of probes are, by the index of the probe.
    pub(crate) authorities: BTreeMap<usize, ConfigMapKey>,
    /// What nodes will do, but for listeners and authorities.
    pub(crate) body: NodeServer,
}

/// What a VirtualServer listens to.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Wanted {
    /// A firewall mark.
    Mark {
        mark: NonZeroU32,
        family: AddressFamily,
    },
    /// Ports of addresses.
    Ports {
        /// Those of the router; all if there are none.
        addresses: Vec<IpAddr>,
        /// At least one.
        ports: Vec<Port>,
    },
}

/// A port that is served.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Port {
    pub(crate) name: Option<String>,
    /// 0 for all.
    pub(crate) port: u16,
    pub(crate) protocol: Protocol,
    pub(crate) target_port: u16,
}

impl Wanted {
    /// The ports; none with a mark.
    fn ports(&self) -> &[Port] {
        match self {
            Self::Mark { .. } => &[],
            Self::Ports { ports, .. } => ports,
        }
    }

    /// Whether real servers may have no port at all.
    fn portless(&self) -> bool {
        match self {
            Self::Mark { .. } => true,
            Self::Ports { ports, .. } => ports.iter().any(|p| p.port == 0),
        }
    }

    /// Whether every packet is of UDP, as far as that is told.
    fn only_udp(&self) -> bool {
        self.ports().iter().all(|p| p.protocol == Protocol::Udp)
    }
}

/// The full name of `object`, as good or bad as it is.
pub(crate) fn name_of(object: &VirtualServer) -> ServerName {
    let metadata = &object.metadata;
    let namespace = metadata.namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE);
    ServerName {
        namespace: namespace.to_owned(),
        name: metadata.name.clone().unwrap_or_default(),
    }
}

/// Looks at everything `object` says. `None` if something cannot be read; `remarks` says what, and whether
/// what could be read is refused.
pub(crate) fn check(object: &VirtualServer, remarks: &mut Remarks) -> Option<Server> {
    let spec = &object.spec;
    let name = identity(object, remarks);
    let router = router(spec, remarks);
    let wanted = wanted(spec, remarks);
    let scheduler = scheduler(spec, remarks);
    let persistence = persistence(spec, wanted.as_ref(), remarks);
    one_packet(spec, wanted.as_ref(), remarks);
    let quorum = quorum(spec, remarks);
    drain(spec, remarks);
    let forwarding = forwarding::of_server(spec, wanted.as_ref(), remarks);
    let members = members::members(spec, wanted.as_ref(), forwarding, remarks);
    let sorry = members::sorry(spec, wanted.as_ref(), forwarding, members.as_ref(), remarks);
    let probes = probe::probes(spec, wanted.as_ref(), forwarding, members.as_ref(), remarks);
    if let (Some(quorum), Some(members)) = (quorum, &members) {
        members::enough(spec, quorum, members, remarks);
    }
    let (probes, authorities) = probes?;
    Some(Server {
        router: router?,
        wanted: wanted?,
        authorities,
        body: NodeServer {
            name: name?,
            generation: object.metadata.generation.unwrap_or(0),
            listeners: Vec::new(),
            scheduler: scheduler?,
            persistence: persistence?,
            one_packet: spec.one_packet,
            forwarding: forwarding?,
            members: members?,
            sorry: sorry?,
            quorum: quorum?,
            probes,
            initial_state: spec.initial_state,
            on_failure: spec.on_failure,
            drain_timeout: spec.drain.timeout,
        },
    })
}

fn identity(object: &VirtualServer, remarks: &mut Remarks) -> Option<ServerName> {
    let name = name_of(object);
    let bad = address::bad_object_name(&name.name);
    if let Some(message) = &bad {
        remarks.error("metadata.name", message);
    }
    let label = !name.namespace.contains('.') && name.namespace.len() <= 63;
    if !label || address::bad_object_name(&name.namespace).is_some() {
        let message = format!(
            "`{}` cannot be a namespace: use lower case letters, digits and `-`, at most 63",
            name.namespace
        );
        remarks.error("metadata.namespace", message);
        return None;
    }
    bad.is_none().then_some(name)
}

fn router(spec: &VirtualServerSpec, remarks: &mut Remarks) -> Option<String> {
    let name = &spec.router_ref.name;
    if let Some(message) = address::bad_object_name(name) {
        remarks.error("spec.routerRef.name", message);
        return None;
    }
    Some(name.clone())
}

/// What is listened to: a mark, or ports, or all of them.
fn wanted(spec: &VirtualServerSpec, remarks: &mut Remarks) -> Option<Wanted> {
    let addresses = addresses(spec, remarks);
    let ports = ports(spec, remarks);
    let Some(fwmark) = spec.fwmark else {
        let (addresses, ports) = (addresses?, ports?);
        return Some(Wanted::Ports { addresses, ports });
    };
    let beside = [
        (!spec.addresses.is_empty(), "spec.addresses"),
        (!spec.ports.is_empty(), "spec.ports"),
        (spec.all, "spec.all"),
    ];
    for (_, path) in beside.into_iter().filter(|(said, _)| *said) {
        let message = "packets with the mark of spec.fwmark are served, whatever their address and port: remove one of the two";
        remarks.error(path, message);
    }
    Some(Wanted::Mark {
        mark: mark(fwmark.value, "spec.fwmark.value", remarks)?,
        family: fwmark.family,
    })
}

/// A firewall mark at `path`.
fn mark(value: i64, path: &str, remarks: &mut Remarks) -> Option<NonZeroU32> {
    let mark = u32::try_from(value).ok().and_then(NonZeroU32::new);
    if mark.is_none() {
        let message = format!("{value} is no mark: choose 1 to 4294967295");
        remarks.error(path, message);
    }
    mark
}

fn addresses(spec: &VirtualServerSpec, remarks: &mut Remarks) -> Option<Vec<IpAddr>> {
    let path = "spec.addresses";
    let count = spec.addresses.len();
    if count > MAX_ADDRESSES {
        remarks.error(path, format!("{count} addresses: at most {MAX_ADDRESSES}"));
        return None;
    }
    let mut good: Vec<IpAddr> = Vec::with_capacity(count);
    for (i, text) in spec.addresses.iter().enumerate() {
        match address::parse(text) {
            Ok(address) if good.contains(&address) => {
                let message = format!("{address} is listed twice: remove one");
                remarks.error(format!("{path}[{i}]"), message);
            }
            Ok(address) => good.push(address),
            Err(message) => remarks.error(format!("{path}[{i}]"), message),
        }
    }
    (good.len() == count).then_some(good)
}

fn ports(spec: &VirtualServerSpec, remarks: &mut Remarks) -> Option<Vec<Port>> {
    let path = "spec.ports";
    let count = spec.ports.len();
    if spec.all {
        return all_ports(spec, remarks);
    }
    if count > MAX_PORTS || (count == 0 && spec.fwmark.is_none()) {
        let message =
            format!("{count} ports: list 1 to {MAX_PORTS}, or say `all: true` with persistence");
        remarks.error(path, message);
        return None;
    }
    let mut good: Vec<Port> = Vec::with_capacity(count);
    for (i, entry) in spec.ports.iter().enumerate() {
        let path = format!("{path}[{i}]");
        let port = port(entry.port, &format!("{path}.port"), remarks);
        let target = match entry.target_port {
            Some(_) if spec.service_ref.is_some() => {
                let message =
                    "belongs to `realServers`: with `serviceRef` each endpoint says its own port";
                remarks.error(format!("{path}.targetPort"), message);
                None
            }
            Some(target) => self::port(target, &format!("{path}.targetPort"), remarks),
            None => port,
        };
        if let Some(name) = &entry.name {
            short(name, 63, &format!("{path}.name"), remarks);
        }
        if let Some(port) = port
            && good
                .iter()
                .any(|p| (p.port, p.protocol) == (port, entry.protocol))
        {
            let message = format!("port {port} of this protocol is listed twice: remove one");
            remarks.error(format!("{path}.port"), message);
            continue;
        }
        if let (Some(port), Some(target_port)) = (port, target) {
            good.push(Port {
                name: entry.name.clone(),
                port,
                protocol: entry.protocol,
                target_port,
            });
        }
    }
    (good.len() == count).then_some(good)
}

fn all_ports(spec: &VirtualServerSpec, remarks: &mut Remarks) -> Option<Vec<Port>> {
    if !spec.ports.is_empty() {
        let message = "`all: true` serves every port: remove one of the two";
        remarks.error("spec.ports", message);
    }
    if spec.persistence.is_none() {
        let message = "needs `persistence`: the kernel has a service of all ports with that alone; add it, or list `ports`";
        remarks.error("spec.all", message);
    }
    Some(vec![Port {
        name: None,
        port: 0,
        protocol: Protocol::Tcp,
        target_port: 0,
    }])
}

/// A port number at `path`.
fn port(given: i64, path: &str, remarks: &mut Remarks) -> Option<u16> {
    let port = u16::try_from(given).ok().filter(|p| *p > 0);
    if port.is_none() {
        remarks.error(path, format!("{given} is no port: choose 1 to 65535"));
    }
    port
}

/// A number within bounds at `path`.
fn number<T: TryFrom<i64>>(
    given: i64,
    range: std::ops::RangeInclusive<i64>,
    path: &str,
    remarks: &mut Remarks,
) -> Option<T> {
    let good = range.contains(&given).then(|| T::try_from(given).ok());
    if good.is_none() {
        let message = format!("{given}: choose {} to {}", range.start(), range.end());
        remarks.error(path, message);
    }
    good.flatten()
}

/// Whether a text has 1 to `most` characters, none of which is a control.
fn short(text: &str, most: usize, path: &str, remarks: &mut Remarks) -> bool {
    let good = (1..=most).contains(&text.chars().count()) && !text.contains(char::is_control);
    if !good {
        let message = format!("write 1 to {most} characters that can be printed");
        remarks.error(path, message);
    }
    good
}

/// The flags of `sh` and `mh`, which let nobody wait for a real server that is not there unless told to.
fn scheduler(spec: &VirtualServerSpec, remarks: &mut Remarks) -> Option<NodeScheduler> {
    let name = spec.scheduler.name;
    let hashes = matches!(name, SchedulerName::Sh | SchedulerName::Mh);
    let flags = spec.scheduler.flags.as_deref();
    let path = "spec.scheduler.flags";
    let has = |flag| flags.is_some_and(|all| all.contains(&flag));
    if !hashes && flags.is_some_and(|all| !all.is_empty()) {
        let message = format!(
            "belong to the schedulers sh and mh: remove them, or choose one of these instead of {}",
            name.as_str()
        );
        remarks.error(path, message);
        return None;
    }
    let count = |flag| flags.map_or(0, |all| all.iter().filter(|f| **f == flag).count());
    if count(SchedulerFlag::Fallback) > 1 || count(SchedulerFlag::Port) > 1 {
        remarks.error(path, "a flag is listed twice: remove one");
        return None;
    }
    Some(NodeScheduler {
        name,
        fallback: hashes && (flags.is_none() || has(SchedulerFlag::Fallback)),
        by_port: has(SchedulerFlag::Port),
    })
}

/// Persistence; inside, `None` if there is none.
fn persistence(
    spec: &VirtualServerSpec,
    wanted: Option<&Wanted>,
    remarks: &mut Remarks,
) -> Option<Option<NodePersistence>> {
    let Some(persistence) = spec.persistence else {
        return Some(None);
    };
    let timeout = persistence.timeout;
    let whole = whole_seconds(timeout, 1_000..=MAX_PERSISTENCE);
    if whole.is_none() {
        let message = format!("{timeout}: choose whole seconds from 1s to 744h");
        remarks.error("spec.persistence.timeout", message);
    }
    let path = "spec.persistence.ipv4PrefixLength";
    let ipv4_prefix_length = number(persistence.ipv4_prefix_length, 1..=32, path, remarks);
    let path = "spec.persistence.ipv6PrefixLength";
    let ipv6_prefix_length = number(persistence.ipv6_prefix_length, 1..=128, path, remarks);
    match persistence.engine {
        None => {}
        Some(PersistenceEngine::Sip) if wanted.is_none_or(Wanted::only_udp) => {}
        Some(PersistenceEngine::Sip) => {
            let message =
                "`sip` reads datagrams: every port must be of UDP; remove the others, or this";
            remarks.error("spec.persistence.engine", message);
        }
    }
    Some(Some(NodePersistence {
        seconds: whole?,
        ipv4_prefix_length: ipv4_prefix_length?,
        ipv6_prefix_length: ipv6_prefix_length?,
        engine: persistence.engine,
    }))
}

/// The seconds of a duration that has nothing else, and is within a range of milliseconds.
fn whole_seconds(duration: Duration, range: std::ops::RangeInclusive<u64>) -> Option<u32> {
    let millis = duration.as_millis();
    let good = range.contains(&millis) && millis.is_multiple_of(1_000);
    good.then(|| u32::try_from(millis / 1_000).ok()).flatten()
}

fn one_packet(spec: &VirtualServerSpec, wanted: Option<&Wanted>, remarks: &mut Remarks) {
    if !spec.one_packet {
        return;
    }
    if !wanted.is_none_or(Wanted::only_udp) {
        let message = "is for UDP: every port must be of it; remove the others, or this";
        remarks.error("spec.onePacket", message);
    }
    // Of the kernel's engines, sip alone finds the way back without a connection (ip_vs_core.c, conn_out).
    let finds_back = |persistence: &Persistence| persistence.engine.is_some();
    let is_nat = |way: &Forwarding| match way.method {
        ForwardingMethod::Nat | ForwardingMethod::FullNat => true,
        ForwardingMethod::DirectRouting | ForwardingMethod::Tunnel => false,
    };
    let apart = spec
        .real_servers
        .iter()
        .filter_map(|r| r.forwarding.as_ref());
    let sorry = spec
        .sorry_server
        .iter()
        .filter_map(|s| s.forwarding.as_ref());
    let mut all = apart.chain(sorry).chain([&spec.forwarding]);
    if all.any(is_nat) && !spec.persistence.as_ref().is_some_and(finds_back) {
        let message = "forgets whom it sent a datagram to, and with NAT and FullNAT the answer comes back to be changed: choose DR or Tunnel, or remove this";
        remarks.error("spec.onePacket", message);
    }
}

fn quorum(spec: &VirtualServerSpec, remarks: &mut Remarks) -> Option<NodeQuorum> {
    let quorum = &spec.quorum;
    let weight: Option<u32> = number(quorum.weight, 1..=MAX_WEIGHT, "spec.quorum.weight", remarks);
    let path = "spec.quorum.hysteresis";
    let hysteresis: Option<u32> = number(quorum.hysteresis, 0..=MAX_WEIGHT, path, remarks);
    let sorry = quorum.on_loss.contains(&OnLoss::Sorry);
    if quorum.on_loss.len() > 1 {
        remarks.error("spec.quorum.onLoss", "`Sorry` is listed twice: remove one");
    }
    let (weight, hysteresis) = (weight?, hysteresis?);
    if hysteresis >= weight {
        let message = format!("{hysteresis}: must be below `weight`, which is {weight}");
        remarks.error(path, message);
        return None;
    }
    if spec.sorry_server.is_some() && !sorry {
        let message = "never serves: `spec.quorum.onLoss` does not have `Sorry`";
        remarks.warn("spec.sorryServer", message);
    }
    Some(NodeQuorum {
        weight,
        hysteresis,
        sorry,
    })
}

fn drain(spec: &VirtualServerSpec, remarks: &mut Remarks) {
    let timeout = spec.drain.timeout;
    if timeout.as_millis() > MAX_DRAIN {
        let message = format!("{timeout}: choose 0s to 24h");
        remarks.error("spec.drain.timeout", message);
    }
}
