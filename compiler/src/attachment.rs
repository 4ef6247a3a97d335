//! The rules between a VirtualServer and the objects around it: the router whose addresses it wants, the Nodes, its
//! ConfigMaps, and other VirtualServers.
//!
//! What is refused here takes nothing from anybody. One that an edit made wrong goes on with what it had, as far as
//! that is still allowed.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;

use vipkeeper_crds::node_server::{Listener, Members, NodeServer, ProbeKind, ServerName};
use vipkeeper_crds::server::{ConfigMapKey, Protocol};
use vipkeeper_crds::{AddressFamily, AttachFrom};

use crate::allocation::Allocation;
use crate::finding::{Cause, Finding, ObjectName, Remarks, Severity};
use crate::index::{Index, Setting};
use crate::router::Router;
use crate::selector::{self, Labels};
use crate::server::{self, Server, Wanted};
use crate::servers::{ConfigMapName, Served, ServerEntry};
use crate::shards::{self, MOST_SIZE, Room, Weighed};

/// The most VirtualServers of a router.
const MAX_SERVERS: usize = 16_384;
/// The most bytes of authorities in one probe.
const MAX_AUTHORITIES: usize = 1 << 16;
/// The label that Kubernetes gives every namespace.
const NAMESPACE_LABEL: &str = "kubernetes.io/metadata.name";

/// What is served on the addresses of each router, by namespace and name.
pub(crate) type Shares = BTreeMap<String, Arc<Vec<Weighed>>>;

/// A VirtualServer with its router and the objects around it, but without other VirtualServers.
#[derive(Clone, Debug)]
pub(crate) struct Attached {
    findings: Vec<Finding>,
    /// Whether what is written can be served.
    as_written: bool,
    /// What nodes would do, with the router; the best first: as written, as before if that is something else.
    choices: Vec<(String, Weighed)>,
}

impl Attached {
    /// Whether `served` is what is written.
    pub(crate) fn writes(&self, served: Option<&Served>) -> bool {
        let written = self.choices.first().filter(|_| self.as_written);
        written
            .zip(served)
            .is_some_and(|((router, written), served)| is_same(served, router, written))
    }

    /// Whether `served` is what is written, and there is nothing else to choose.
    pub(crate) fn is_only(&self, served: Option<&Served>) -> bool {
        self.choices.len() == 1 && self.writes(served)
    }
}

fn is_same(served: &Served, router: &str, other: &Weighed) -> bool {
    served.router == router && served.server == other.server
}

/// What all VirtualServers get of the routers in `routers`, and what is said about them, the oldest first.
pub(crate) fn attach(
    index: &Index,
    routers: &BTreeMap<String, Allocation>,
) -> (Shares, Vec<Finding>) {
    let all: Vec<_> = index
        .servers
        .by_age()
        .into_iter()
        .map(|(place, (name, entry))| {
            let attached = entry.attached.get_or_init(|| around(index, name, entry));
            (place, entry, attached)
        })
        .collect();
    let contested = is_contested(&all);
    let mut claims = Claims::default();
    let mut shares: BTreeMap<&str, Share<'_>> = BTreeMap::new();
    let mut findings = Vec::new();
    for (place, entry, attached) in all {
        let mut remarks = entry.remarks.clone();
        remarks.extend(&attached.findings);
        let mut written = attached.as_written;
        for (router, weighed) in &attached.choices {
            let server = &*weighed.server;
            let share = shares.entry(router.as_str()).or_default();
            let mut said = entry.remarks.anew();
            if !routers.contains_key(router) {
                let message = format!("VirtualRouter {router} is refused: mend that first");
                said.say(Severity::Error, Cause::RouterMissing, ROUTER, message);
            } else {
                share.has_room(index, router, weighed, &mut said);
            }
            if contested {
                claims.are_free(server, &mut said);
            }
            if !said.refused() {
                if !written {
                    let message = "what was served before goes on";
                    remarks.warn("metadata.name", message);
                }
                if contested {
                    claims.add(server);
                }
                share.add(place, weighed);
                break;
            }
            // What was served before is not written any more.
            if written {
                remarks.extend(&said.into_findings());
                written = false;
            }
        }
        findings.extend(remarks.into_findings());
    }
    let shares = shares.into_iter().filter(|(_, s)| !s.servers.is_empty());
    let shares = shares.map(|(router, share)| (router.to_owned(), Arc::new(share.by_name())));
    (shares.collect(), findings)
}

/// Whether two want to have something that the kernel can have once: mostly nobody does, and nobody need ask.
fn is_contested(all: &[(usize, &ServerEntry, &Attached)]) -> bool {
    let mut wanted: Vec<(Key, usize)> = Vec::with_capacity(all.len());
    for (place, _, attached) in all {
        let listeners = attached
            .choices
            .iter()
            .flat_map(|(_, s)| &s.server.listeners);
        wanted.extend(listeners.map(|listener| (key(listener), *place)));
    }
    wanted.sort_unstable();
    let mut pairs = wanted.iter().zip(wanted.iter().skip(1));
    pairs.any(|((key, one), (next, other))| key == next && one != other)
}

/// What is served on the addresses of one router, so far.
#[derive(Default)]
struct Share<'a> {
    /// With the place of each in the order of names.
    servers: Vec<(usize, &'a Weighed)>,
    room: Room,
}

impl<'a> Share<'a> {
    /// Whether one more can be told to nodes.
    fn has_room(&self, index: &Index, router: &str, server: &Weighed, remarks: &mut Remarks) {
        if self.servers.len() >= MAX_SERVERS {
            let message = format!(
                "VirtualRouter {router} has {MAX_SERVERS} VirtualServers: name another router"
            );
            remarks.error(ROUTER, message);
        }
        let told_whole = match index.setting {
            Setting::Standalone => true,
            Setting::Cluster => false,
        };
        let size = self.room.with(server, self.servers.iter().map(|(_, s)| *s));
        if !told_whole && size > MOST_SIZE {
            let message = format!(
                "it and others of VirtualRouter {router} whose names fall together take {size} bytes of what nodes are told, at most {MOST_SIZE}: choose another name, or name another router"
            );
            remarks.error("metadata.name", message);
        }
    }

    fn add(&mut self, place: usize, server: &'a Weighed) {
        let others = self.servers.iter().map(|(_, other)| *other);
        self.room.take(server, others);
        self.servers.push((place, server));
    }

    fn by_name(mut self) -> Vec<Weighed> {
        self.servers.sort_unstable_by_key(|(place, _)| *place);
        let all = self.servers.into_iter();
        all.map(|(_, server)| server.clone()).collect()
    }
}

/// Where the router is named.
const ROUTER: &str = "spec.routerRef.name";

/// `entry` with its router, the Nodes and its ConfigMaps.
fn around(index: &Index, name: &ServerName, entry: &ServerEntry) -> Attached {
    let mut remarks = Remarks::of(ObjectName::of_server(name));
    let mut choices = Vec::new();
    if let Some(server) = &entry.server
        && let Some(full) = resolved(index, server, &mut remarks)
        && !remarks.refused()
    {
        let weighed = Weighed::new(Arc::new(full));
        is_not_too_large(&weighed, &mut remarks);
        if !remarks.refused() {
            choices.push((server.router.clone(), weighed));
        }
    }
    let as_written = !choices.is_empty();
    let written = choices.first();
    // What is refused as it is written is refused as it was before, if that is the same.
    if let Some(served) = index.servers.served(name)
        && !written.is_some_and(|(router, written)| is_same(served, router, written))
        && let Some(router) = index.router(&served.router)
        && still_allowed(index, router, &served.server)
    {
        let mut server = Arc::clone(&served.server);
        trust(Arc::make_mut(&mut server), router);
        choices.push((served.router.clone(), Weighed::new(server)));
    }
    Attached {
        findings: remarks.into_findings(),
        as_written,
        choices,
    }
}

/// One VirtualServer is told as a whole.
fn is_not_too_large(weighed: &Weighed, remarks: &mut Remarks) {
    if weighed.size() <= MOST_SIZE {
        return;
    }
    let server = &weighed.server;
    let parts = [
        (
            shards::size(&server.listeners),
            "spec.ports",
            "fewer ports, or list fewer `addresses`",
        ),
        (
            shards::size(&server.members),
            "spec.realServers",
            "fewer real servers",
        ),
        (
            shards::size(&server.probes),
            "spec.probes",
            "fewer probes, or shorter texts",
        ),
    ];
    let largest = parts.into_iter().max_by_key(|(size, ..)| *size);
    let (path, way_out) = largest.map_or(("metadata.name", "less"), |(_, path, way)| (path, way));
    let message = format!(
        "nodes are told {} bytes of this VirtualServer, at most {MOST_SIZE}, and most are of this: write {way_out}, or make two of it",
        weighed.size()
    );
    remarks.error(path, message);
}

/// What nodes do for `server`, with listeners and authorities.
fn resolved(index: &Index, server: &Server, remarks: &mut Remarks) -> Option<NodeServer> {
    let name = &server.router;
    let Some(router) = index.router(name) else {
        let message = if index.entries().contains_key(name) {
            format!("VirtualRouter {name} breaks a rule: mend that first")
        } else {
            format!("there is no VirtualRouter {name}: create it, or name another")
        };
        remarks.say(Severity::Error, Cause::RouterMissing, ROUTER, message);
        return None;
    };
    let mut body = server.body.clone();
    let listeners = listeners(&server.wanted, router, remarks);
    for (probe, key) in &server.authorities {
        let path = format!("spec.probes[{probe}].https.caRef");
        let pem = authorities(index, &body.name.namespace, key, &path, remarks);
        if let Some(probe) = body.probes.get_mut(*probe)
            && let ProbeKind::Http { tls: Some(tls), .. } = &mut probe.kind
        {
            tls.authorities = pem;
        }
    }
    body.listeners = listeners?;
    trust(&mut body, router);
    allowed(index, router, &body, remarks);
    if !remarks.refused() {
        served_by_somebody(&body, remarks);
    }
    Some(body)
}

/// Lets agents take endpoints of a Service for real servers that the router must trust, if it does: they alone see them.
const fn trust(server: &mut NodeServer, router: &Router) {
    match &mut server.members {
        Members::Static { .. } => {}
        Members::Service { trusted, .. } => *trusted = router.attach.trusted,
    }
}

/// The listeners that are wanted, if their addresses are the router's.
fn listeners(wanted: &Wanted, router: &Router, remarks: &mut Remarks) -> Option<Vec<Listener>> {
    let (addresses, ports) = match wanted {
        Wanted::Mark { mark, family } => {
            return Some(vec![Listener::Mark {
                mark: *mark,
                family: *family,
            }]);
        }
        Wanted::Ports { addresses, ports } => (addresses, ports),
    };
    let of_router: Vec<IpAddr> = router.addresses.iter().map(|a| a.address).collect();
    let mut good = true;
    for (i, address) in addresses.iter().enumerate() {
        if !of_router.contains(address) {
            let message = format!(
                "{address} is not an address of VirtualRouter {}: it has {}",
                router.name,
                some(&of_router)
            );
            remarks.error(format!("spec.addresses[{i}]"), message);
            good = false;
        }
    }
    let served = if addresses.is_empty() {
        &of_router
    } else {
        addresses
    };
    let all = served.iter().flat_map(|address| {
        ports.iter().map(|port| Listener::Address {
            address: *address,
            port: port.port,
            protocol: port.protocol,
            name: port.name.clone(),
            target_port: port.target_port,
        })
    });
    good.then(|| all.collect())
}

/// The first of some addresses, in words.
fn some(addresses: &[IpAddr]) -> String {
    const SHOWN: usize = 4;
    let first = addresses.iter().take(SHOWN).map(IpAddr::to_string);
    let first = first.collect::<Vec<_>>().join(", ");
    match addresses.len().saturating_sub(SHOWN) {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}

/// The PEM text under `key`.
fn authorities(
    index: &Index,
    namespace: &str,
    key: &ConfigMapKey,
    path: &str,
    remarks: &mut Remarks,
) -> Option<String> {
    let name = ConfigMapName {
        namespace: namespace.to_owned(),
        name: key.name.clone(),
    };
    let mut missing = |path: String, message: String| {
        remarks.say(Severity::Error, Cause::ConfigMapMissing, path, message);
    };
    let Some(data) = index.servers.config_map(&name) else {
        let message = format!(
            "there is no ConfigMap {} in namespace {namespace}: create it there",
            key.name
        );
        missing(format!("{path}.name"), message);
        return None;
    };
    let Some(text) = data.get(&key.key) else {
        let known: Vec<&str> = data.keys().map(String::as_str).collect();
        let message = format!(
            "ConfigMap {namespace}/{} has no key `{}`: it has [{}]",
            key.name,
            key.key,
            known.join(", ")
        );
        missing(format!("{path}.key"), message);
        return None;
    };
    let path = format!("{path}.key");
    if !text.contains("-----BEGIN CERTIFICATE-----") {
        let message = format!("`{}` holds no certificate as PEM", key.key);
        remarks.error(path, message);
        return None;
    }
    if text.len() > MAX_AUTHORITIES {
        let message = format!(
            "`{}` has {} bytes: at most {MAX_AUTHORITIES}; leave out authorities that vouch for nobody here",
            key.key,
            text.len()
        );
        remarks.error(path, message);
        return None;
    }
    Some(text.clone())
}

/// Whether what was served before may be served still.
fn still_allowed(index: &Index, router: &Router, server: &NodeServer) -> bool {
    let mut remarks = Remarks::of(ObjectName::of_server(&server.name));
    allowed(index, router, server, &mut remarks);
    let own = |listener: &Listener| match listener {
        Listener::Mark { .. } => true,
        Listener::Address { address, .. } => router.addresses.iter().any(|a| a.address == *address),
    };
    server.listeners.iter().all(own) && !remarks.refused()
}

/// What the router and the Nodes say about a VirtualServer.
fn allowed(index: &Index, router: &Router, server: &NodeServer, remarks: &mut Remarks) {
    may_attach(index, router, &server.name.namespace, remarks);
    let marked = |l: &Listener| matches!(l, Listener::Mark { .. });
    if server.listeners.iter().any(marked) && !router.attach.fwmark {
        let message = format!(
            "VirtualRouter {} lets nobody serve firewall marks: its spec.attach.fwmark must be true",
            router.name
        );
        remarks.say(Severity::Error, Cause::NotAllowed, "spec.fwmark", message);
    }
    if !router.attach.trusted {
        trusts_nobody(index, router, server, remarks);
    }
    virtual_addresses_move(router, server, remarks);
}

/// Whether VirtualServers of a namespace may use the router's addresses.
fn may_attach(index: &Index, router: &Router, namespace: &str, remarks: &mut Remarks) {
    let allow = &router.attach.namespaces;
    let why = match (allow.from, &allow.selector) {
        (AttachFrom::All, _) => return,
        (AttachFrom::Selector, Some(selector)) => {
            let known = index.servers.namespace(namespace).cloned();
            let mut labels: Labels = known.unwrap_or_default();
            let own = NAMESPACE_LABEL.to_owned();
            labels.entry(own).or_insert_with(|| namespace.to_owned());
            match selector::missing(selector, &labels) {
                None => return,
                Some(missing) => format!("its spec.attach.namespaces.selector asks for {missing}"),
            }
        }
        (AttachFrom::None | AttachFrom::Selector, _) => {
            "its spec.attach.namespaces allows none".to_owned()
        }
    };
    let message = format!(
        "VirtualRouter {} does not take VirtualServers of namespace {namespace}: {why}",
        router.name
    );
    remarks.say(Severity::Error, Cause::NotAllowed, ROUTER, message);
}

/// What needs the router's trust.
fn trusts_nobody(index: &Index, router: &Router, server: &NodeServer, remarks: &mut Remarks) {
    let way_out = format!(
        "which takes spec.attach.trusted of VirtualRouter {}",
        router.name
    );
    let mut refuse = |path: String, message: String| {
        remarks.say(Severity::Error, Cause::NotAllowed, path, message);
    };
    for (i, probe) in server.probes.iter().enumerate() {
        if server::local(&probe.kind) {
            let message = format!("runs, or reads, what is on the nodes, {way_out}");
            refuse(format!("spec.probes[{i}].type"), message);
        }
    }
    for (path, address) in server::everybody(server) {
        let what = server::link_local_or_loopback(address).map(str::to_owned);
        let of_node = || Some(format!("an address of node {}", index.owner(address)?));
        if let Some(what) = what.or_else(of_node) {
            refuse(path, format!("{address} is {what}, {way_out}"));
        }
    }
}

/// No virtual address of the router serves, or asks, in its place.
fn virtual_addresses_move(router: &Router, server: &NodeServer, remarks: &mut Remarks) {
    let own = |address: IpAddr| router.addresses.iter().any(|a| a.address == address);
    for (path, address) in server::everybody(server) {
        if own(address) {
            let message = format!(
                "{address} is an address of VirtualRouter {} itself: name the address of a host",
                router.name
            );
            remarks.error(path, message);
        }
    }
    for (i, probe) in server.probes.iter().enumerate() {
        if let Some(source) = probe.source
            && own(source)
        {
            let message = format!(
                "{source} is on one node at a time, and every node probes: name an address that each has, or remove this"
            );
            remarks.error(format!("spec.probes[{i}].source"), message);
        }
    }
}

/// Warns of listeners that nobody serves, and of those who serve none.
fn served_by_somebody(server: &NodeServer, remarks: &mut Remarks) {
    let Members::Static { real_servers } = &server.members else {
        return;
    };
    let families = [AddressFamily::V4, AddressFamily::V6];
    let listens = |family| server.listeners.iter().any(|l| l.family() == family);
    let crosses = |own: Option<vipkeeper_crds::node_server::NodeForwarding>| {
        own.unwrap_or(server.forwarding).crosses_families()
    };
    for family in families.into_iter().filter(|f| listens(*f)) {
        let mut serve = real_servers.iter();
        if !serve.any(|r| AddressFamily::of(&r.address) == family || crosses(r.forwarding)) {
            let message = format!(
                "none of them is {family}, and {family} addresses are served: connections there are refused; add some, or list `addresses`"
            );
            remarks.warn("spec.realServers", message);
        }
    }
    for (i, real) in real_servers.iter().enumerate() {
        let family = AddressFamily::of(&real.address);
        if !listens(family) && !crosses(real.forwarding) {
            let message = format!("serves nothing: no {family} address is served");
            remarks.warn(format!("spec.realServers[{i}].address"), message);
        }
    }
    if let Some(sorry) = &server.sorry {
        let family = AddressFamily::of(&sorry.address);
        if !listens(family) && !crosses(sorry.forwarding) {
            let message = format!("serves nothing: no {family} address is served");
            remarks.warn("spec.sorryServer.address", message);
        }
    }
}

/// What the kernel can have once.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Port(IpAddr, u16, Protocol),
    Mark(NonZeroU32, AddressFamily),
}

/// What the VirtualServers accepted so far have.
#[derive(Default)]
struct Claims<'a>(BTreeMap<Key, &'a ServerName>);

impl<'a> Claims<'a> {
    /// Says which listeners of `server` belong to another; one for each of the others.
    fn are_free(&self, server: &NodeServer, remarks: &mut Remarks) {
        let mut others: Vec<&ServerName> = Vec::new();
        for (i, listener) in server.listeners.iter().enumerate() {
            let Some(other) = self.0.get(&key(listener)) else {
                continue;
            };
            if others.contains(other) {
                continue;
            }
            others.push(other);
            let (path, what) = match listener {
                Listener::Address {
                    address,
                    port,
                    protocol,
                    ..
                } => (place(server, i), taken(*address, *port, *protocol)),
                Listener::Mark { mark, .. } => ("spec.fwmark".to_owned(), format!("mark {mark}")),
            };
            let message = format!(
                "{what} belongs to VirtualServer {other}, which is older: remove it from one of the two"
            );
            remarks.say(Severity::Error, Cause::Taken, path, message);
        }
    }

    fn add(&mut self, server: &'a NodeServer) {
        for listener in &server.listeners {
            self.0.insert(key(listener), &server.name);
        }
    }
}

/// The field that asks for a listener of this index. The listeners are those of one address after those of another.
fn place(server: &NodeServer, index: usize) -> String {
    let address = |listener: &Listener| match listener {
        Listener::Address { address, port, .. } => Some((*address, *port)),
        Listener::Mark { .. } => None,
    };
    let all: Vec<(IpAddr, u16)> = server.listeners.iter().filter_map(address).collect();
    match all.first() {
        Some((_, 0)) | None => "spec.all".to_owned(),
        Some((first, _)) => {
            let ports = all.iter().filter(|(a, _)| a == first).count();
            let port = index.checked_rem(ports).unwrap_or_default();
            format!("spec.ports[{port}].port")
        }
    }
}

fn taken(address: IpAddr, port: u16, protocol: Protocol) -> String {
    let protocol = match protocol {
        Protocol::Tcp => "TCP",
        Protocol::Udp => "UDP",
        Protocol::Sctp => "SCTP",
    };
    match port {
        0 => format!("every other {protocol} port of {address}"),
        port => format!("{protocol} port {port} of {address}"),
    }
}

const fn key(listener: &Listener) -> Key {
    match listener {
        Listener::Address {
            address,
            port,
            protocol,
            ..
        } => Key::Port(*address, *port, *protocol),
        Listener::Mark { mark, family } => Key::Mark(*mark, *family),
    }
}
