//! The rules of one VirtualRouter on its own: identity and addresses here, the rest in the modules below.
//! What depends on other objects is `allocation`'s.
//!
//! All fields are looked at, so that one reading finds every mistake. A field that cannot be read gives `None`,
//! and the whole is `Some` only if every field is.

mod attach;
mod candidates;
mod interface;
mod protocol;
mod transport;

use std::net::IpAddr;

use vipkeeper_crds::{
    AddressFamily, AddressLifetime, Attach, Checksum, Duration, Election, Families,
    InterfaceChoice, NodeAddress, NodeAuthentication, NodePreemption, ProtocolVersion,
    VirtualRouter, VirtualRouterSpec,
};

use crate::address;
use crate::finding::Remarks;
use crate::index::Setting;

pub use candidates::ACTIVE_NODE_ANNOTATION;
pub(crate) use candidates::{Balance, Candidates, Listed, MAX_CANDIDATES, OWNER};
pub(crate) use transport::{Transport, Way};

/// The bytes that IPv4 and VRRP take of the 1500 of a frame are few enough for 255 addresses; IPv6 has room for
/// (1500 − 40 − 8) / 16.
const IPV6_ADDRESSES_IN_1500: usize = 90;

/// The most addresses of a router, and of one family: the count is one byte (RFC 9568 §5.2.5).
const MAX_ADDRESSES: usize = 256;
const MAX_OF_A_FAMILY: usize = 255;
/// The longest name of a group.
const MAX_GROUP: usize = 63;

/// A router whose own rules have passed.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Router {
    pub(crate) name: String,
    /// Of its object; 0 if it has none.
    pub(crate) generation: i64,
    /// IPv4 first; one or two.
    pub(crate) families: Vec<AddressFamily>,
    pub(crate) movement: Families,
    pub(crate) sync_group: Option<String>,
    /// `None` if it is to be allocated.
    pub(crate) vrid: Option<u8>,
    pub(crate) version: ProtocolVersion,
    pub(crate) interval: Duration,
    /// Of all families, as written.
    pub(crate) addresses: Vec<NodeAddress>,
    pub(crate) interface: InterfaceChoice,
    pub(crate) candidates: Candidates,
    pub(crate) transport: Transport,
    pub(crate) authentication: NodeAuthentication,
    pub(crate) preemption: NodePreemption,
    pub(crate) election: Election,
    pub(crate) checksum: Checksum,
    pub(crate) address_lifetime: AddressLifetime,
    pub(crate) linger: Duration,
    /// Who may serve on the addresses.
    pub(crate) attach: Attach,
}

impl Router {
    /// The address by which the interface is found if nothing else is said.
    pub(crate) fn anchor(&self) -> Option<&NodeAddress> {
        anchor(&self.addresses)
    }

    /// The addresses of one family.
    pub(crate) fn addresses_of(&self, family: AddressFamily) -> Vec<NodeAddress> {
        let all = self.addresses.iter();
        let own = all.filter(|a| AddressFamily::of(&a.address) == family);
        own.cloned().collect()
    }

    /// Whether the two have elections of one family.
    pub(crate) fn meets(&self, other: &Self) -> bool {
        self.families.iter().any(|f| other.families.contains(f))
    }
}

/// Looks at everything `object` says. `None` if something cannot be read; `remarks` says what, and whether
/// what could be read is refused.
pub(crate) fn check(
    object: &VirtualRouter,
    setting: Setting,
    remarks: &mut Remarks,
) -> Option<Router> {
    let spec = &object.spec;
    let name = identity(object, remarks);
    let addresses = addresses(spec, remarks);
    let sync_group = group(spec, remarks);
    let interface = interface::of_router(spec, addresses.as_deref(), remarks);
    let vrid = vrid(spec, setting, remarks);
    let version = protocol::version(spec, remarks);
    let interval = protocol::interval(spec, version, remarks);
    let preemption = protocol::preemption(spec, remarks);
    protocol::election(spec, remarks);
    let authentication = protocol::authentication(spec, version, remarks);
    protocol::address_lifetime(spec, remarks);
    protocol::handover(spec, remarks);
    attach::attach(&spec.attach, remarks);
    let candidates = candidates::candidates(object, version.zip(interval), remarks);

    // The rest depends on the families, which the addresses decide.
    let addresses = addresses?;
    let families = families(&addresses);
    protocol::of_families(spec, version, &families, &addresses, remarks);
    let transport = transport::transport(spec, &families, &addresses, remarks);
    Some(Router {
        name: name?,
        generation: object.metadata.generation.unwrap_or(0),
        families,
        movement: spec.families,
        sync_group: sync_group?,
        vrid: vrid?,
        version: version?,
        interval: interval?,
        addresses,
        interface: interface?,
        candidates,
        transport,
        authentication: authentication?,
        preemption: preemption?,
        election: spec.election.clone(),
        checksum: spec.checksum,
        address_lifetime: spec.address_lifetime,
        linger: spec.handover.linger,
        attach: spec.attach.clone(),
    })
}

/// The families of `addresses`, IPv4 first.
fn families(addresses: &[NodeAddress]) -> Vec<AddressFamily> {
    let present = |f: &AddressFamily| {
        let mut all = addresses.iter();
        all.any(|a| AddressFamily::of(&a.address) == *f)
    };
    let all = [AddressFamily::V4, AddressFamily::V6];
    all.into_iter().filter(present).collect()
}

/// The address by which the interface is found if nothing else is said: one that does not say where it is itself.
fn anchor(addresses: &[NodeAddress]) -> Option<&NodeAddress> {
    let mut addresses = addresses.iter();
    addresses.find(|a| a.interface.is_none() && !address::link_local(a.address))
}

/// The group; inside, `None` if it is in none.
fn group(spec: &VirtualRouterSpec, remarks: &mut Remarks) -> Option<Option<String>> {
    let Some(group) = &spec.sync_group else {
        return Some(None);
    };
    if group.is_empty() || group.chars().count() > MAX_GROUP {
        let message = format!("a group's name has 1 to {MAX_GROUP} characters");
        remarks.error("spec.syncGroup", message);
        return None;
    }
    Some(Some(group.clone()))
}

fn identity(object: &VirtualRouter, remarks: &mut Remarks) -> Option<String> {
    if object.metadata.namespace.is_some() {
        remarks.warn(
            "metadata.namespace",
            "a VirtualRouter lives in no namespace: remove this",
        );
    }
    let name = object.metadata.name.clone().unwrap_or_default();
    match address::bad_object_name(&name) {
        Some(message) => {
            remarks.error("metadata.name", message);
            None
        }
        None => Some(name),
    }
}

/// The VRID; inside, `None` if it is to be allocated.
fn vrid(spec: &VirtualRouterSpec, setting: Setting, remarks: &mut Remarks) -> Option<Option<u8>> {
    let path = "spec.virtualRouterId";
    let Some(vrid) = spec.virtual_router_id else {
        return match setting {
            Setting::Cluster => Some(None),
            Setting::Standalone => {
                remarks.error(
                    path,
                    "required, because nodes that share nothing cannot allocate it: choose 1 to 255, unused on the link and equal on all nodes",
                );
                None
            }
        };
    };
    match u8::try_from(vrid) {
        Ok(vrid) if vrid > 0 => Some(Some(vrid)),
        Ok(_) | Err(_) => {
            remarks.error(path, format!("{vrid} is no VRID: choose 1 to 255"));
            None
        }
    }
}

/// The addresses, if every one is usable.
fn addresses(spec: &VirtualRouterSpec, remarks: &mut Remarks) -> Option<Vec<NodeAddress>> {
    let count = spec.addresses.len();
    if count == 0 || count > MAX_ADDRESSES {
        let message = format!("{count} addresses: a virtual router has 1 to {MAX_ADDRESSES}");
        remarks.error("spec.addresses", message);
        return None;
    }
    let mut good: Vec<NodeAddress> = Vec::with_capacity(count);
    for (i, entry) in spec.addresses.iter().enumerate() {
        let path = format!("spec.addresses[{i}].address");
        let address = match address::parse(&entry.address) {
            Ok(address) => address,
            Err(message) => {
                remarks.error(path, message);
                continue;
            }
        };
        let own = AddressFamily::of(&address);
        let length_path = format!("spec.addresses[{i}].prefixLength");
        let prefix_length = prefix_length(entry.prefix_length, own, length_path, remarks);
        let interface = interface::of_address(entry, i, own, remarks);
        if let Some(message) = why_not(address, prefix_length, &good) {
            remarks.error(path, message);
            continue;
        }
        if let (Some(prefix_length), Some(interface)) = (prefix_length, interface) {
            good.push(NodeAddress {
                address,
                prefix_length,
                interface,
            });
        }
    }
    for family in families(&good) {
        let of_family = good.iter().map(|a| AddressFamily::of(&a.address));
        let count = of_family.filter(|f| *f == family).count();
        if count > MAX_OF_A_FAMILY {
            let message = format!(
                "{count} {family} addresses: an advertisement has at most {MAX_OF_A_FAMILY}; put the others into another VirtualRouter"
            );
            remarks.error("spec.addresses", message);
        }
    }
    (good.len() == count).then_some(good)
}

fn prefix_length(
    given: Option<i64>,
    family: AddressFamily,
    path: String,
    remarks: &mut Remarks,
) -> Option<u8> {
    let bits = family.bits();
    let Some(given) = given else {
        return Some(bits);
    };
    let length = u8::try_from(given).ok().filter(|l| (1..=bits).contains(l));
    if length.is_none() {
        let message =
            format!("{given} is no prefix length of an {family} address: choose 1 to {bits}");
        remarks.error(path, message);
    }
    length
}

/// Why a well-formed address cannot be the next virtual address, if so.
fn why_not(address: IpAddr, prefix_length: Option<u8>, before: &[NodeAddress]) -> Option<String> {
    if before.iter().any(|a| a.address == address) {
        return Some(format!("{address} is listed twice: remove one"));
    }
    address::unusable(address)
        .or_else(|| prefix_length.and_then(|length| address::no_host(address, length)))
}

/// The member of a union that its type asks for.
fn required<'a, T>(
    member: &'a Option<T>,
    path: &str,
    because: &str,
    remarks: &mut Remarks,
) -> Option<&'a T> {
    if member.is_none() {
        remarks.error(path, format!("required with `{because}`"));
    }
    member.as_ref()
}

/// More addresses than a frame of 1500 bytes carries.
fn crowded(addresses: &[NodeAddress], remarks: &mut Remarks) {
    let addresses = addresses.iter().enumerate();
    let ipv6 = addresses.filter(|(_, a)| a.address.is_ipv6());
    let places: Vec<usize> = ipv6.map(|(i, _)| i).collect();
    let count = places.len();
    if let Some(beyond) = places.get(IPV6_ADDRESSES_IN_1500) {
        remarks.warn(
            format!("spec.addresses[{beyond}]"),
            format!(
                "{count} IPv6 addresses need an MTU of {}: an advertisement on a link of 1500 carries {IPV6_ADDRESSES_IN_1500}; spread them over several routers",
                40 + 8 + 16 * count
            ),
        );
    }
}
