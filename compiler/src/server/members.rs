//! The rules of those who serve: real servers, a Service's endpoints, the sorry server.

use std::collections::BTreeMap;
use std::net::IpAddr;

use vipkeeper_crds::VirtualServerSpec;
use vipkeeper_crds::node_server::{
    Members, NodeForwarding, NodeQuorum, NodeRealServer, NodeServer, NodeSorryServer, ProbeKind,
};
use vipkeeper_crds::server::{ProbeType, RealServer};

use super::{Wanted, forwarding, number};
use crate::address;
use crate::finding::Remarks;

/// The most real servers.
const MAX_REAL_SERVERS: usize = 1024;
/// The heaviest, and the highest threshold (what ipvsadm lets through).
const MAX_NUMBER: i64 = 65_535;

/// Who serves: those listed, or a Service's endpoints.
pub(super) fn members(
    spec: &VirtualServerSpec,
    wanted: Option<&Wanted>,
    forwarding: Option<NodeForwarding>,
    remarks: &mut Remarks,
) -> Option<Members> {
    let path = "spec.serviceRef";
    let Some(service) = &spec.service_ref else {
        if spec.real_servers.is_empty() {
            let message =
                "required: list 1 to 1024 real servers, or name a Service in `serviceRef`";
            remarks.error("spec.realServers", message);
            return None;
        }
        let real_servers = real_servers(spec, wanted, forwarding, remarks)?;
        return Some(Members::Static { real_servers });
    };
    let mut good = true;
    if !spec.real_servers.is_empty() {
        let message = "the endpoints of the Service are the real servers: remove one of the two";
        remarks.error("spec.realServers", message);
        good = false;
    }
    if let Some(message) = bad_service_name(&service.name) {
        remarks.error(format!("{path}.name"), message);
        good = false;
    }
    if let Some(port) = &service.port {
        let portpath = format!("{path}.port");
        good &= super::short(port, 63, &portpath, remarks);
        if wanted.is_some_and(|w| matches!(w, Wanted::Ports { .. }) && w.portless()) {
            let message = "with `all: true` a connection keeps its port: remove this";
            remarks.error(portpath, message);
            good = false;
        }
    }
    good.then(|| Members::Service {
        service: service.name.clone(),
        port: service.port.clone(),
        // The router says it.
        trusted: false,
    })
}

fn bad_service_name(name: &str) -> Option<String> {
    let bad = name.contains('.') || name.len() > 63 || address::bad_object_name(name).is_some();
    bad.then(|| {
        format!("`{name}` cannot be a Service: use lower case letters, digits and `-`, at most 63")
    })
}

fn real_servers(
    spec: &VirtualServerSpec,
    wanted: Option<&Wanted>,
    all: Option<NodeForwarding>,
    remarks: &mut Remarks,
) -> Option<Vec<NodeRealServer>> {
    let count = spec.real_servers.len();
    if count > MAX_REAL_SERVERS {
        let message = format!("{count} real servers: at most {MAX_REAL_SERVERS}");
        remarks.error("spec.realServers", message);
        return None;
    }
    let mut good = Vec::with_capacity(count);
    let mut seen = BTreeMap::new();
    for (i, entry) in spec.real_servers.iter().enumerate() {
        let path = format!("spec.realServers[{i}]");
        let Some(server) = real_server(entry, &path, wanted, all, remarks) else {
            continue;
        };
        if twice(&server, i, wanted, &mut seen, remarks) {
            continue;
        }
        good.push(server);
    }
    (good.len() == count).then_some(good)
}

/// Whether the kernel would have `server`, of this index, twice for one listener.
fn twice(
    server: &NodeRealServer,
    index: usize,
    wanted: Option<&Wanted>,
    seen: &mut BTreeMap<(IpAddr, u16, usize), usize>,
    remarks: &mut Remarks,
) -> bool {
    let ports = wanted.map_or(&[][..], Wanted::ports);
    let targets: Vec<u16> = match ports {
        [] => vec![server.port],
        ports if server.port == 0 => ports.iter().map(|p| p.target_port).collect(),
        ports => vec![server.port; ports.len()],
    };
    for (listener, port) in targets.into_iter().enumerate() {
        if let Some(other) = seen.insert((server.address, port, listener), index) {
            let address = server.address;
            let message = format!(
                "port {port} of {address} is spec.realServers[{other}] already: remove one, and say how much it gets with `weight`"
            );
            remarks.error(format!("spec.realServers[{index}].address"), message);
            return true;
        }
    }
    false
}

fn real_server(
    entry: &RealServer,
    path: &str,
    wanted: Option<&Wanted>,
    all: Option<NodeForwarding>,
    remarks: &mut Remarks,
) -> Option<NodeRealServer> {
    let address = serving(&entry.address, &format!("{path}.address"), remarks);
    let at = format!("{path}.port");
    let port: Option<u16> = number(entry.port, 0..=MAX_NUMBER, &at, remarks);
    let at = format!("{path}.weight");
    let weight = number(entry.weight, 0..=MAX_NUMBER, &at, remarks);
    let at = format!("{path}.upperThreshold");
    let upper: Option<u32> = number(entry.upper_threshold, 0..=MAX_NUMBER, &at, remarks);
    let at = format!("{path}.lowerThreshold");
    let lower: Option<u32> = number(entry.lower_threshold, 0..=MAX_NUMBER, &at, remarks);
    if let (Some(upper), Some(lower)) = (upper, lower)
        && lower > upper
    {
        let message = format!("{lower}: must be at most `upperThreshold`, which is {upper}");
        remarks.error(at, message);
    }
    let own = way(entry.forwarding.as_ref(), path, wanted, remarks);
    if let (Some(own), Some(port)) = (own, port) {
        keeps_ports(own, all, port, path, wanted, remarks);
    }
    Some(NodeRealServer {
        address: address?,
        port: port?,
        weight: weight?,
        upper_threshold: upper?,
        lower_threshold: lower?,
        forwarding: own?,
    })
}

/// The way to one that may say its own; inside, `None` if it does not.
fn way(
    given: Option<&vipkeeper_crds::server::Forwarding>,
    path: &str,
    wanted: Option<&Wanted>,
    remarks: &mut Remarks,
) -> Option<Option<NodeForwarding>> {
    match given {
        None => Some(None),
        Some(own) => {
            let path = format!("{path}.forwarding");
            forwarding::forwarding(own, &path, wanted, remarks).map(Some)
        }
    }
}

/// Says where the port of one who serves differs from that of a listener, and the way to it cannot change ports.
fn keeps_ports(
    own: Option<NodeForwarding>,
    all: Option<NodeForwarding>,
    port: u16,
    path: &str,
    wanted: Option<&Wanted>,
    remarks: &mut Remarks,
) {
    let (Some(way), Some(wanted)) = (own.or(all), wanted) else {
        return;
    };
    if wanted.portless() {
        let all = matches!(wanted, Wanted::Ports { .. });
        if port != 0 && (all || !way.changes_port()) {
            let why = if all {
                "with `all: true` a connection keeps its port".to_owned()
            } else {
                format!("{} cannot change ports", forwarding::word(way))
            };
            remarks.error(format!("{path}.port"), format!("{why}: remove this"));
        }
        return;
    }
    if way.changes_port() {
        return;
    }
    let word = forwarding::word(way);
    for listener in wanted.ports() {
        if port != 0 && port != listener.port {
            let message = format!(
                "{port}: {word} cannot change the port {}; remove this, or choose NAT",
                listener.port
            );
            remarks.error(format!("{path}.port"), message);
            return;
        }
        // Where all real servers are meant, it was said at the port.
        if port == 0
            && own.is_some_and(|own| Some(own) != all)
            && listener.target_port != listener.port
        {
            let message = format!(
                "{word} cannot change the port {} to {}: choose NAT, or remove `targetPort`",
                listener.port, listener.target_port
            );
            remarks.error(format!("{path}.forwarding.method"), message);
            return;
        }
    }
}

/// The sorry server; inside, `None` if there is none.
pub(super) fn sorry(
    spec: &VirtualServerSpec,
    wanted: Option<&Wanted>,
    all: Option<NodeForwarding>,
    members: Option<&Members>,
    remarks: &mut Remarks,
) -> Option<Option<NodeSorryServer>> {
    let Some(sorry) = &spec.sorry_server else {
        return Some(None);
    };
    let path = "spec.sorryServer";
    let address = serving(&sorry.address, "spec.sorryServer.address", remarks);
    let port = match sorry.port {
        None => Some(0),
        Some(port) => super::port(port, "spec.sorryServer.port", remarks),
    };
    let own = way(sorry.forwarding.as_ref(), path, wanted, remarks);
    if let (Some(own), Some(port)) = (own, port) {
        keeps_ports(own, all, port, path, wanted, remarks);
    }
    let sorry = NodeSorryServer {
        address: address?,
        port: port?,
        keep_healthy: sorry.keep_healthy,
        forwarding: own?,
    };
    if let Some(i) = members.and_then(|m| also_real(&sorry, m, wanted)) {
        let message = format!(
            "is spec.realServers[{i}] as well: name somebody else, or take it out of the list"
        );
        remarks.error("spec.sorryServer.address", message);
        return None;
    }
    Some(Some(sorry))
}

/// The real server that the sorry server is too, on some listener.
fn also_real(sorry: &NodeSorryServer, members: &Members, wanted: Option<&Wanted>) -> Option<usize> {
    let Members::Static { real_servers } = members else {
        return None;
    };
    let ports = wanted.map_or(&[][..], Wanted::ports);
    let on = |port: u16, target: u16| if port == 0 { target } else { port };
    let same_port = |real: &NodeRealServer| match ports {
        [] => real.port == sorry.port,
        ports => ports
            .iter()
            .any(|p| on(real.port, p.target_port) == on(sorry.port, p.target_port)),
    };
    let same = |real: &NodeRealServer| real.address == sorry.address && same_port(real);
    real_servers.iter().position(same)
}

/// Says if the quorum can never be reached.
pub(super) fn enough(
    spec: &VirtualServerSpec,
    quorum: NodeQuorum,
    members: &Members,
    remarks: &mut Remarks,
) {
    let Members::Static { real_servers } = members else {
        return;
    };
    // A probe may say another weight.
    let dynamic = spec.probes.iter().any(|probe| match probe.kind {
        ProbeType::File => probe.file.as_ref().is_some_and(|f| f.dynamic_weight),
        ProbeType::Exec => probe.exec.as_ref().is_some_and(|e| e.dynamic_weight),
        ProbeType::Tcp
        | ProbeType::Http
        | ProbeType::Https
        | ProbeType::Udp
        | ProbeType::Dns
        | ProbeType::Smtp
        | ProbeType::Ping
        | ProbeType::Grpc => false,
    });
    let total: u32 = real_servers.iter().map(|r| r.weight).sum();
    let needed = quorum.weight.saturating_add(quorum.hysteresis);
    if !dynamic && needed > total {
        let message = format!(
            "the quorum comes at {needed}, and all real servers together weigh {total}: it is never there; lower it"
        );
        remarks.warn("spec.quorum.weight", message);
    }
}

/// The address of somebody who serves.
fn serving(text: &str, path: &str, remarks: &mut Remarks) -> Option<IpAddr> {
    let address = target(text, path, remarks)?;
    match on_some_link(address) {
        None => Some(address),
        Some(message) => {
            remarks.error(path, message);
            None
        }
    }
}

/// Why IPVS cannot find `address`, if so.
fn on_some_link(address: IpAddr) -> Option<String> {
    match address {
        IpAddr::V6(address) if address.is_unicast_link_local() => Some(format!(
            "{address} is link-local, and IPVS does not know on which link: name a global address"
        )),
        IpAddr::V4(_) | IpAddr::V6(_) => None,
    }
}

/// Why nobody at `address` can be a real server, whoever says so.
pub(crate) fn no_real_server(address: IpAddr) -> Option<String> {
    address::no_target(address).or_else(|| on_some_link(address))
}

/// The address of somebody who serves or is probed.
pub(super) fn target(text: &str, path: &str, remarks: &mut Remarks) -> Option<IpAddr> {
    let checked = address::parse(text).and_then(|address| match address::no_target(address) {
        None => Ok(address),
        Some(message) => Err(message),
    });
    match checked {
        Ok(address) => Some(address),
        Err(message) => {
            remarks.error(path, message);
            None
        }
    }
}

/// Everybody who gets packets, with the field that says so: those who serve, and those who are probed in their place.
pub(crate) fn everybody(server: &NodeServer) -> Vec<(String, IpAddr)> {
    let mut all = Vec::new();
    match &server.members {
        Members::Static { real_servers } => {
            let each = real_servers.iter().enumerate();
            all.extend(each.map(|(i, r)| (format!("spec.realServers[{i}].address"), r.address)));
        }
        Members::Service { .. } => {}
    }
    let sorry = server.sorry.iter();
    all.extend(sorry.map(|s| ("spec.sorryServer.address".to_owned(), s.address)));
    for (i, probe) in server.probes.iter().enumerate() {
        let address = probe.address.iter();
        all.extend(address.map(|a| (format!("spec.probes[{i}].address"), *a)));
    }
    all
}

/// What kind of address of the node or the link this is, if so.
pub(crate) fn link_local_or_loopback(address: IpAddr) -> Option<&'static str> {
    if address.is_loopback() {
        Some("a loopback address")
    } else if address::link_local(address) {
        Some("a link-local address")
    } else {
        None
    }
}

/// Whether a probe runs something, or reads a file, on the node.
pub(crate) const fn local(kind: &ProbeKind) -> bool {
    match kind {
        ProbeKind::File { .. } | ProbeKind::Exec { .. } => true,
        ProbeKind::Tcp
        | ProbeKind::Http { .. }
        | ProbeKind::Udp { .. }
        | ProbeKind::Dns { .. }
        | ProbeKind::Smtp { .. }
        | ProbeKind::Ping
        | ProbeKind::Grpc { .. } => false,
    }
}
