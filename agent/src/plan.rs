//! From what a node was told to what its election runs: interfaces, passwords and peers of this machine.
//!
//! Pure: the same configurations, keys and inventory give the same plan. A router that cannot run is left out, or
//! waits without an interface, and a note says why; the others never notice.

mod address;
mod heartbeat;
mod interface;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU8;
use std::sync::Arc;
use std::time::Duration;

use vipkeeper_crds::{
    AddressFamily, AddressLifetime, Checksum, Families, NodeAuthentication, NodeConfigSpec,
    NodeFamily, NodePeer, NodePreemption, NodeSettings, NodeTransport, ProtocolVersion, SecretKey,
    features,
};
use vipkeeper_vrrp::{
    AnnouncementBudget, Centiseconds, ChecksumForm, ChecksumPolicy, Ifindex, Peer, Plan,
    Preemption, Priority, Protocol, RouterConfig, SyncGroup, Transport,
};
use vipkeeper_wire::{Family, Vrid};

pub use self::heartbeat::Speaker;
use crate::drain::Drained;
use crate::inventory::{Interface, Inventory};
use crate::source::Keys;

/// The IPv4 group of VRRP (RFC 9568 §5.1.1.2).
const GROUP_IPV4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);
/// The IPv6 group of VRRP (RFC 9568 §5.1.2.2).
const GROUP_IPV6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12);

/// A plan, and what there is to say about it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolved {
    /// What the election runs.
    pub plan: Plan,
    /// Why a router is left out, waits, or runs otherwise than perhaps meant; in the order of the routers.
    pub notes: Vec<Note>,
}

/// A remark about one router.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The VirtualRouter's name.
    pub router: String,
    /// Its family.
    pub family: Family,
    /// What there is to say, and the way out.
    pub message: String,
}

/// What the election of this machine runs, as `configs` and `settings` say: an instance for each router and family.
/// What is `drained` takes part with priority 1.
#[must_use]
pub fn resolve(
    configs: &[NodeConfigSpec],
    settings: &NodeSettings,
    keys: &Keys,
    inventory: &Inventory,
    speaker: &Speaker,
    drained: &Drained,
) -> Resolved {
    let mut resolved = Resolved {
        plan: Plan {
            routers: Vec::with_capacity(configs.len()),
            announcements: AnnouncementBudget {
                frames_per_second: settings.announcements_per_second,
                burst: settings.announcement_burst,
            },
            heartbeat: None,
            probes: true,
        },
        notes: Vec::new(),
    };
    let mut taken = Taken::default();
    let instances = configs
        .iter()
        .flat_map(|c| c.families.iter().map(move |f| (c, f)));
    for (config, own) in instances {
        let mut messages = Vec::new();
        let router = can_run(config)
            .and_then(|()| router(config, own, keys, inventory, &mut messages))
            .and_then(|router| taken.take(&router, inventory).map(|()| router));
        match router {
            Ok(mut router) => {
                router.drained = is_drained(config, configs, drained);
                if router.drained {
                    messages.push(drain_note(&router, config.gives_way, drained));
                }
                resolved.plan.routers.push(router);
            }
            Err(refusal) => messages.push(format!("left out: {refusal}")),
        }
        let note = |message| Note {
            router: config.router.clone(),
            family: family(own.family),
            message,
        };
        resolved.notes.extend(messages.into_iter().map(note));
    }
    let routers = &resolved.plan.routers;
    resolved.plan.heartbeat =
        heartbeat::heartbeat(speaker, configs, routers, settings, inventory).map(Arc::new);
    resolved
}

/// Whether `config` is to be left to other nodes: by itself, or because another of its sync group is.
fn is_drained(config: &NodeConfigSpec, configs: &[NodeConfigSpec], drained: &Drained) -> bool {
    let group = |other: &&NodeConfigSpec| {
        config.sync_group.is_some() && other.sync_group == config.sync_group
    };
    let mut group = configs.iter().filter(group);
    let alone = |config: &NodeConfigSpec| config.gives_way || drained.includes(&config.router);
    alone(config) || group.any(alone)
}

fn drain_note(router: &RouterConfig, gives_way: bool, drained: &Drained) -> String {
    if router.priority.is_owner() {
        return "cannot be drained: this node owns its addresses (priority 255)".to_owned();
    }
    if gives_way && !drained.includes(&router.name) {
        return "gives way: the Node is drained, cordoned, out of service, going, or not ready for long; takes part with priority 1".to_owned();
    }
    if !drained.includes(&router.name) {
        return "drained with its sync group: takes part with priority 1".to_owned();
    }
    let way_back = drained.way_back(&router.name);
    format!("drained: takes part with priority 1 until `{way_back}`")
}

/// Whether this agent is new enough for `config`.
fn can_run(config: &NodeConfigSpec) -> Result<(), String> {
    match unsupported(&config.requires) {
        Some(lacking) => Err(format!("UnsupportedFeature: {lacking}")),
        None => Ok(()),
    }
}

/// What this agent lacks of the features that a configuration needs, in words.
pub(crate) fn unsupported(requires: &[String]) -> Option<String> {
    let mut needed = requires.iter();
    let lacking = needed.find(|f| !features::ALL.contains(&f.as_str()))?;
    Some(format!(
        "it needs {lacking}, which this agent does not know: upgrade the agent"
    ))
}

/// What must be unique, as far as it is taken.
#[derive(Default)]
struct Taken {
    names: BTreeSet<(Arc<str>, Family)>,
    vrids: BTreeSet<(Ifindex, Family, Vrid)>,
}

impl Taken {
    fn take(&mut self, router: &RouterConfig, inventory: &Inventory) -> Result<(), String> {
        let RouterConfig { family, vrid, .. } = router;
        if let Some(interface) = router.interface
            && !self.vrids.insert((interface, *family, *vrid))
        {
            let name = interface::name_of(interface, inventory);
            return Err(format!(
                "another router has VRID {vrid} for {family} on {name}: choose another virtualRouterId"
            ));
        }
        if !self.names.insert((router.name.clone(), *family)) {
            return Err("another router has its name and family".to_owned());
        }
        Ok(())
    }
}

/// One instance, or why it is left out.
fn router(
    config: &NodeConfigSpec,
    own: &NodeFamily,
    keys: &Keys,
    inventory: &Inventory,
    notes: &mut Vec<String>,
) -> Result<RouterConfig, String> {
    let protocol = protocol(config, keys, notes)?;
    let found = interface::of_router(config, inventory, notes);
    let addresses = address::resolve(own, found, inventory, notes);
    if let Some((name, interface)) = found {
        fits(own, &protocol, name, interface)?;
    }
    let router = RouterConfig {
        name: config.router.as_str().into(),
        family: family(own.family),
        vrid: Vrid::new(config.virtual_router_id).ok_or("VRID 0")?,
        interface: found
            .filter(|(name, i)| has_source(own, name, i, notes) && addresses.have_interfaces)
            .map(|(_, i)| i.index),
        protocol,
        priority: Priority::new(config.priority).ok_or("priority 0")?,
        addresses: addresses.resolved,
        address_lifetime: lifetime(config.address_lifetime),
        transport: transport(own, inventory, notes),
        source: own.source,
        preemption: preemption(config.preemption),
        down_advertisements: u8::try_from(config.election.down_advertisements)
            .ok()
            .and_then(NonZeroU8::new)
            .ok_or("downAdvertisements is no small number")?,
        strict: config.election.strict,
        sync: sync_group(config),
        linger: config.linger.into(),
        drained: false,
    };
    if let Some((_, interface)) = found.filter(|_| router.priority.is_owner()) {
        notes.extend(address::lacking(&router.addresses, interface, inventory));
    }
    router.validate().map_err(|invalid| invalid.to_string())?;
    Ok(router)
}

/// Whom it moves with: a named group takes all families of a router along.
fn sync_group(config: &NodeConfigSpec) -> Option<SyncGroup> {
    match (&config.sync_group, config.movement) {
        (Some(name), _) => Some(SyncGroup::Named(name.as_str().into())),
        (None, Families::Together) => Some(SyncGroup::Families(config.router.as_str().into())),
        (None, Families::Independent) => None,
    }
}

fn protocol(
    config: &NodeConfigSpec,
    keys: &Keys,
    notes: &mut Vec<String>,
) -> Result<Protocol, String> {
    let millis = config.advertisement_interval.as_millis();
    let odd = || {
        format!(
            "advertisementInterval {} is not possible in its version",
            config.advertisement_interval
        )
    };
    let exactly = |unit: u64| millis.is_multiple_of(unit).then_some(millis / unit);
    match config.version {
        ProtocolVersion::V2 => Ok(Protocol::V2 {
            seconds: exactly(1_000)
                .and_then(|s| NonZeroU8::new(u8::try_from(s).ok()?))
                .ok_or_else(odd)?,
            password: match &config.authentication {
                NodeAuthentication::None => None,
                NodeAuthentication::Password { secret } => Some(password(secret, keys, notes)?),
            },
        }),
        ProtocolVersion::V3 => match config.authentication {
            NodeAuthentication::None => Ok(Protocol::V3 {
                interval: exactly(10)
                    .and_then(|c| Centiseconds::new(u16::try_from(c).ok()?))
                    .ok_or_else(odd)?,
                checksum: checksum(config.checksum),
            }),
            NodeAuthentication::Password { .. } => Err("version 3 has no password".to_owned()),
        },
    }
}

/// The 8 bytes on the wire. A line end, which files and `echo` leave, is no part of a password; of a longer
/// password the first 8 bytes count, as with keepalived.
fn password(secret: &SecretKey, keys: &Keys, notes: &mut Vec<String>) -> Result<[u8; 8], String> {
    let value = keys
        .get(secret)
        .ok_or_else(|| format!("its password, Secret key {secret}, is not known: create it"))?;
    let value = value.trim_ascii_end();
    if value.is_empty() {
        return Err(format!(
            "its password, Secret key {secret}, is empty: write 1 to 8 bytes"
        ));
    }
    if value.len() > 8 {
        notes.push(format!(
            "its password, Secret key {secret}, has {} bytes: the first 8 count",
            value.len()
        ));
    }
    let mut padded = [0; 8];
    padded
        .iter_mut()
        .zip(value)
        .for_each(|(to, from)| *to = *from);
    Ok(padded)
}

/// Whether an advertisement fits into the interface's MTU.
fn fits(
    own: &NodeFamily,
    protocol: &Protocol,
    name: &str,
    interface: &Interface,
) -> Result<(), String> {
    let (header, each) = match own.family {
        AddressFamily::V4 => (20 + 8, 4),
        AddressFamily::V6 => (40 + 8, 16),
    };
    let trailer = match protocol {
        Protocol::V2 { .. } => 8,
        Protocol::V3 { .. } => 0,
    };
    let count = own.addresses.len();
    let mtu = usize::try_from(interface.mtu).unwrap_or(usize::MAX);
    let needed = header + trailer + each * count;
    if needed > mtu {
        return Err(format!(
            "an advertisement of {count} addresses has {needed} bytes and {name} has an MTU of {mtu}: spread the addresses over several routers"
        ));
    }
    Ok(())
}

/// Whether the interface has the address from which the peers expect advertisements.
fn has_source(
    own: &NodeFamily,
    name: &str,
    interface: &Interface,
    notes: &mut Vec<String>,
) -> bool {
    let Some(source) = own.source else {
        return true;
    };
    let mut usable = interface
        .addresses
        .iter()
        .filter(|a| !a.virtual_address && !a.tentative);
    let found = usable.any(|a| a.address == source);
    if !found {
        notes.push(format!(
            "waits: {name} has no address {source} to advertise from: {}; choose the interface or the source by which its peers know this node",
            interface::addresses(interface)
        ));
    }
    found
}

fn transport(own: &NodeFamily, inventory: &Inventory, notes: &mut Vec<String>) -> Transport {
    let others = |peers: &[NodePeer]| -> Vec<Peer> {
        let foreign = peers.iter().filter(|p| !is_own(p.address, inventory));
        foreign
            .map(|p| Peer {
                address: p.address,
                min_ttl: p.min_ttl,
            })
            .collect()
    };
    match &own.transport {
        NodeTransport::Multicast { group, extra_peers } => Transport::Multicast {
            group: group.unwrap_or(match own.family {
                AddressFamily::V4 => GROUP_IPV4.into(),
                AddressFamily::V6 => GROUP_IPV6.into(),
            }),
            extra_peers: others(extra_peers),
        },
        NodeTransport::Unicast { peers } => {
            let peers = others(peers);
            if peers.is_empty() {
                notes.push("runs alone: nobody else takes part, and spec.transport.extraPeers lists no other node".to_owned());
            }
            Transport::Unicast { peers }
        }
    }
}

/// Whether `address` is this node's by its own configuration.
fn is_own(address: IpAddr, inventory: &Inventory) -> bool {
    let mut all = inventory.interfaces.values().flat_map(|i| &i.addresses);
    all.any(|a| a.address == address && !a.virtual_address)
}

fn family(family: AddressFamily) -> Family {
    match family {
        AddressFamily::V4 => Family::V4,
        AddressFamily::V6 => Family::V6,
    }
}

fn lifetime(lifetime: AddressLifetime) -> Option<Duration> {
    match lifetime {
        AddressLifetime::Finite(lifetime) => Some(lifetime.into()),
        AddressLifetime::Forever => None,
    }
}

fn preemption(preemption: NodePreemption) -> Preemption {
    match preemption {
        NodePreemption::Always => Preemption::Always,
        NodePreemption::Never => Preemption::Never,
        NodePreemption::Delayed { delay } => Preemption::Delayed(delay.into()),
    }
}

fn checksum(checksum: Checksum) -> ChecksumPolicy {
    match checksum {
        Checksum::Auto => ChecksumPolicy::Auto,
        Checksum::Rfc9568 => ChecksumPolicy::Only(ChecksumForm::Rfc9568),
        Checksum::Rfc5798 => ChecksumPolicy::Only(ChecksumForm::Rfc5798),
    }
}
