//! The API's words in the kernel's: services and their keys, ways of forwarding. Pure.

use std::str::FromStr;

use vipkeeper_crds::AddressFamily;
use vipkeeper_crds::node_server::{Listener, NodeForwarding, NodeServer};
use vipkeeper_crds::server::{PersistenceEngine, Protocol, SchedulerName, TunnelChecksum};
use vipkeeper_ipvs as ipvs;
use vipkeeper_ipvs::{Service, ServiceKey};
use vipkeeper_nft as nft;

pub(super) fn service(key: ServiceKey, server: &NodeServer) -> Service {
    let family = key.family();
    let persistence = server.persistence.and_then(|persistence| {
        let length = match family {
            ipvs::Family::V4 => persistence.ipv4_prefix_length,
            ipvs::Family::V6 => persistence.ipv6_prefix_length,
        };
        Some(ipvs::Persistence {
            timeout: persistence.seconds,
            netmask: ipvs::Netmask::prefix(family, length)?,
        })
    });
    let engine = server.persistence.and_then(|p| p.engine);
    Service {
        key,
        scheduler: scheduler(server.scheduler.name),
        flags: ipvs::ServiceFlags {
            one_packet: server.one_packet,
            scheduler_1: server.scheduler.fallback,
            scheduler_2: server.scheduler.by_port,
            scheduler_3: false,
        },
        persistence,
        engine: engine.map(|engine| match engine {
            PersistenceEngine::Sip => name("sip"),
        }),
    }
}

fn scheduler(scheduler: SchedulerName) -> ipvs::SchedulerName {
    name(scheduler.as_str())
}

/// A name of the API as the kernel's.
#[expect(
    clippy::expect_used,
    reason = "those of the API are constants of 2 to 5 letters"
)]
fn name<T: FromStr<Err = ipvs::InvalidName>>(name: &str) -> T {
    name.parse().expect("a short name")
}

pub(super) fn service_key(listener: &Listener) -> ServiceKey {
    match listener {
        Listener::Address {
            address,
            port,
            protocol,
            ..
        } => ServiceKey::Address {
            protocol: match protocol {
                Protocol::Tcp => ipvs::Protocol::Tcp,
                Protocol::Udp => ipvs::Protocol::Udp,
                Protocol::Sctp => ipvs::Protocol::Sctp,
            },
            address: *address,
            port: *port,
        },
        Listener::Mark { mark, family } => ServiceKey::Mark {
            family: match family {
                AddressFamily::V4 => ipvs::Family::V4,
                AddressFamily::V6 => ipvs::Family::V6,
            },
            mark: *mark,
        },
    }
}

/// What our table of nftables knows a service by.
pub(in crate::services) enum FirewallKey {
    Traffic(nft::Traffic),
    Mark(nft::Mark),
    /// It is none of ours.
    None,
}

pub(in crate::services) fn firewall_key(key: &ServiceKey) -> FirewallKey {
    match *key {
        ServiceKey::Address {
            protocol,
            address,
            port,
        } => FirewallKey::Traffic(nft::Traffic {
            address,
            protocol: match protocol {
                ipvs::Protocol::Tcp => nft::Protocol::Tcp,
                ipvs::Protocol::Udp => nft::Protocol::Udp,
                ipvs::Protocol::Sctp => nft::Protocol::Sctp,
                ipvs::Protocol::Other(_) => return FirewallKey::None,
            },
            ports: match port {
                0 => nft::Ports::All,
                port => nft::Ports::One(port),
            },
        }),
        ServiceKey::Mark { family, mark } => FirewallKey::Mark(nft::Mark {
            family: match family {
                ipvs::Family::V4 => nft::Family::V4,
                ipvs::Family::V6 => nft::Family::V6,
            },
            mark,
        }),
    }
}

/// The address and port of `traffic`, if it has one port.
pub(super) const fn endpoint(traffic: nft::Traffic) -> Option<nft::Endpoint> {
    let nft::Traffic {
        address,
        protocol,
        ports,
    } = traffic;
    match ports {
        nft::Ports::One(port) => Some(nft::Endpoint {
            address,
            protocol,
            port,
        }),
        nft::Ports::All => None,
    }
}

/// The kernel's word for a way of forwarding. The source address of FullNAT is not IPVS's to change.
pub(super) fn forwarding(forwarding: NodeForwarding) -> ipvs::Forwarding {
    match forwarding {
        NodeForwarding::Nat | NodeForwarding::FullNat => ipvs::Forwarding::Masquerade,
        NodeForwarding::DirectRouting => ipvs::Forwarding::DirectRoute,
        NodeForwarding::Ipip => ipvs::Forwarding::Tunnel(ipvs::Tunnel::Ipip),
        NodeForwarding::Gre { checksum } => ipvs::Forwarding::Tunnel(ipvs::Tunnel::Gre {
            checksum: self::checksum(checksum),
        }),
        NodeForwarding::Gue { port, checksum } => ipvs::Forwarding::Tunnel(ipvs::Tunnel::Gue {
            port,
            checksum: self::checksum(checksum),
        }),
    }
}

fn checksum(checksum: TunnelChecksum) -> ipvs::TunnelChecksum {
    match checksum {
        TunnelChecksum::None => ipvs::TunnelChecksum::None,
        TunnelChecksum::Full => ipvs::TunnelChecksum::Full,
        TunnelChecksum::Remote => ipvs::TunnelChecksum::Remote,
    }
}
