//! What can be said to the kernel, as bytes. Attributes are in ipvsadm's order.

use std::net::IpAddr;

use vipkeeper_netlink::{Draft, flags};

use crate::numbers::{
    FAMILY_NAME, FAMILY_VERSION, command, controller, daemon, destination, flag, service, top,
};
use crate::{
    Daemon, DaemonRole, Destination, DestinationKey, Family, Forwarding, Netmask, Persistence,
    Service, ServiceFlags, ServiceKey, Timeouts,
};

/// The number that the kernel has given to IPVS, the type of its messages. It stays until the module is unloaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FamilyId(pub u16);

/// A message to IPVS. All need CAP_NET_ADMIN in the user namespace of the network namespace, those that only ask too.
///
/// Each ends with exactly one of [`Acknowledged`](crate::Content::Acknowledged), [`Refused`](crate::Content::Refused)
/// and, if it dumps, [`Done`](crate::Content::Done); answers come before. The errors named here are those of its own; any
/// may end with EPERM and ENOMEM.
///
/// There is none that removes everything at once: it would remove the services of others as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// Adds a service. EEXIST; ENOENT: no such scheduler or engine; EINVAL; EAFNOSUPPORT: a kernel without IPv6.
    NewService(Service),
    /// Changes a service to this; its destinations and connections stay. ESRCH: it does not exist; else as above.
    SetService(Service),
    /// Removes a service with its destinations. ESRCH: it does not exist.
    DeleteService(ServiceKey),
    /// Answered by one [`Service`](crate::Content::Service). ESRCH: it does not exist.
    GetService(ServiceKey),
    /// Answered by a [`Service`](crate::Content::Service) each. What is added or removed meanwhile may make it lack
    /// another, or have it twice, and the kernel does not tell.
    DumpServices,
    /// Adds a destination. ESRCH: no such service; EEXIST; ERANGE: weight or thresholds; EINVAL: see
    /// [`DestinationKey::address`].
    NewDestination(ServiceKey, Destination),
    /// Changes a destination to this; its connections stay. ESRCH: no such service; ENOENT: no such destination; else as
    /// above.
    SetDestination(ServiceKey, Destination),
    /// Removes a destination. ESRCH: no such service; ENOENT: no such destination.
    DeleteDestination(ServiceKey, DestinationKey),
    /// Answered by a [`Destination`](crate::Content::Destination) each; by none, without an error, if the service does not
    /// exist. As with [`Request::DumpServices`].
    DumpDestinations(ServiceKey),
    /// Starts a sync daemon. EEXIST: one of its role runs; ENODEV: no such interface; EINVAL.
    NewDaemon(Daemon),
    /// Stops a sync daemon. ESRCH: it does not run.
    DeleteDaemon(DaemonRole),
    /// Answered by a [`Daemon`](crate::Content::Daemon) each.
    DumpDaemons,
    /// Changes timeouts. EINVAL: out of range.
    SetTimeouts(Timeouts),
    /// Answered by [`Timeouts`](crate::Content::Timeouts).
    GetTimeouts,
    /// Answered by [`Info`](crate::Content::Info).
    GetInfo,
    /// Makes the statistics of a service and its destinations 0. ESRCH: it does not exist.
    Zero(ServiceKey),
}

/// Appends to `buffer` the question for the [`FamilyId`] of IPVS, to which the answer is
/// [`Family`](crate::Content::Family). ENOENT: the kernel lacks IPVS, or its module is not loaded.
pub fn emit_family_request(sequence: u32, buffer: &mut Vec<u8>) {
    let mut draft = Draft::begin(
        buffer,
        controller::MESSAGE,
        flags::REQUEST | flags::ACK,
        sequence,
    );
    draft
        .header(&[controller::GET_FAMILY, controller::VERSION, 0, 0])
        .text(controller::FAMILY_NAME, FAMILY_NAME);
    finish(draft);
}

impl Request {
    /// Appends the message to `buffer`: at most 256 bytes. Several in one datagram are worked off in their order; one that
    /// is refused does not keep the kernel from the next.
    pub fn emit(&self, family: FamilyId, sequence: u32, buffer: &mut Vec<u8>) {
        self.write(flags::ACK, family, sequence, buffer);
    }

    /// The same, but the kernel answers only if it refuses. One that changes something, and has one after it in its
    /// datagram that is answered, was carried out if there is no refusal by then.
    pub fn emit_quietly(&self, family: FamilyId, sequence: u32, buffer: &mut Vec<u8>) {
        self.write(0, family, sequence, buffer);
    }

    fn write(&self, answered: u16, family: FamilyId, sequence: u32, buffer: &mut Vec<u8>) {
        let (command, dump) = self.command();
        let dump = if dump { flags::DUMP } else { 0 };
        let flags = flags::REQUEST | answered | dump;
        let mut draft = Draft::begin(buffer, family.0, flags, sequence);
        draft.header(&[command, FAMILY_VERSION, 0, 0]);
        self.put(&mut draft);
        finish(draft);
    }

    /// The command, and whether it dumps.
    const fn command(&self) -> (u8, bool) {
        match self {
            Self::NewService(_) => (command::NEW_SERVICE, false),
            Self::SetService(_) => (command::SET_SERVICE, false),
            Self::DeleteService(_) => (command::DEL_SERVICE, false),
            Self::GetService(_) => (command::GET_SERVICE, false),
            Self::DumpServices => (command::GET_SERVICE, true),
            Self::NewDestination(..) => (command::NEW_DEST, false),
            Self::SetDestination(..) => (command::SET_DEST, false),
            Self::DeleteDestination(..) => (command::DEL_DEST, false),
            Self::DumpDestinations(_) => (command::GET_DEST, true),
            Self::NewDaemon(_) => (command::NEW_DAEMON, false),
            Self::DeleteDaemon(_) => (command::DEL_DAEMON, false),
            Self::DumpDaemons => (command::GET_DAEMON, true),
            Self::SetTimeouts(_) => (command::SET_CONFIG, false),
            Self::GetTimeouts => (command::GET_CONFIG, false),
            Self::GetInfo => (command::GET_INFO, false),
            Self::Zero(_) => (command::ZERO, false),
        }
    }

    fn put(&self, draft: &mut Draft<'_>) {
        match self {
            Self::NewService(service) | Self::SetService(service) => {
                draft.nest(top::SERVICE, |nest| put_service(nest, service));
            }
            Self::DeleteService(key)
            | Self::GetService(key)
            | Self::DumpDestinations(key)
            | Self::Zero(key) => {
                draft.nest(top::SERVICE, |nest| put_service_key(nest, key));
            }
            Self::NewDestination(key, destination) | Self::SetDestination(key, destination) => {
                draft
                    .nest(top::SERVICE, |nest| put_service_key(nest, key))
                    .nest(top::DESTINATION, |nest| put_destination(nest, destination));
            }
            Self::DeleteDestination(key, destination) => {
                draft
                    .nest(top::SERVICE, |nest| put_service_key(nest, key))
                    .nest(top::DESTINATION, |nest| {
                        put_destination_key(nest, destination);
                    });
            }
            Self::NewDaemon(daemon) => {
                draft.nest(top::DAEMON, |nest| put_daemon(nest, daemon));
            }
            Self::DeleteDaemon(role) => {
                draft.nest(top::DAEMON, |nest| {
                    nest.u32(daemon::ROLE, (*role).into());
                });
            }
            Self::SetTimeouts(timeouts) => {
                draft
                    .u32(top::TIMEOUT_TCP, timeouts.tcp)
                    .u32(top::TIMEOUT_TCP_FIN, timeouts.tcp_fin)
                    .u32(top::TIMEOUT_UDP, timeouts.udp);
            }
            Self::DumpServices | Self::DumpDaemons | Self::GetTimeouts | Self::GetInfo => {}
        }
    }
}

fn put_service(nest: &mut Draft<'_>, service: &Service) {
    put_service_key(nest, &service.key);
    nest.text(service::SCHEDULER, service.scheduler.as_str());
    if let Some(engine) = &service.engine {
        nest.text(service::ENGINE, engine.as_str());
    }
    // The mask says which flags are meant: all, so that none stays that somebody else has set.
    let flags = service_flags(service.flags, service.persistence.is_some());
    let [f0, f1, f2, f3] = flags.to_ne_bytes();
    nest.attribute(service::FLAGS, &[f0, f1, f2, f3, 0xff, 0xff, 0xff, 0xff]);
    let Persistence { timeout, netmask } = service.persistence.unwrap_or_else(|| Persistence {
        timeout: 0,
        netmask: Netmask::whole(service.key.family()),
    });
    nest.u32(service::TIMEOUT, timeout)
        .attribute(service::NETMASK, &netmask.to_bytes());
}

fn put_service_key(nest: &mut Draft<'_>, key: &ServiceKey) {
    nest.u16(service::FAMILY, key.family().into());
    match key {
        ServiceKey::Address {
            protocol,
            address,
            port,
        } => {
            nest.u16(service::PROTOCOL, (*protocol).into())
                .attribute(service::ADDRESS, &padded(address))
                .attribute(service::PORT, &port.to_be_bytes());
        }
        ServiceKey::Mark { family: _, mark } => {
            nest.u32(service::MARK, mark.get());
        }
    }
}

fn put_destination(nest: &mut Draft<'_>, destination: &Destination) {
    put_destination_key(nest, &destination.key);
    let (kind, port, flags) = match destination.forwarding {
        Forwarding::Tunnel(tunnel) => tunnel.numbers(),
        Forwarding::Masquerade
        | Forwarding::LocalNode
        | Forwarding::DirectRoute
        | Forwarding::Bypass
        | Forwarding::Other(_) => (0, 0, 0),
    };
    nest.u32(destination::FORWARDING, destination.forwarding.number())
        .u32(destination::WEIGHT, destination.weight)
        .attribute(destination::TUNNEL_KIND, &[kind])
        .attribute(destination::TUNNEL_PORT, &port.to_be_bytes())
        .u16(destination::TUNNEL_FLAGS, flags)
        .u32(destination::UPPER_THRESHOLD, destination.upper_threshold)
        .u32(destination::LOWER_THRESHOLD, destination.lower_threshold);
}

fn put_destination_key(nest: &mut Draft<'_>, key: &DestinationKey) {
    nest.u16(destination::FAMILY, Family::of(&key.address).into())
        .attribute(destination::ADDRESS, &padded(&key.address))
        .attribute(destination::PORT, &key.port.to_be_bytes());
}

fn put_daemon(nest: &mut Draft<'_>, daemon: &Daemon) {
    nest.u32(daemon::ROLE, daemon.role.into())
        .text(daemon::INTERFACE, daemon.interface.as_str())
        .u32(daemon::SYNC_ID, daemon.sync_id.into());
    if let Some(length) = daemon.longest_message {
        nest.u16(daemon::LONGEST_MESSAGE, length.get());
    }
    if let Some(port) = daemon.port {
        nest.u16(daemon::PORT, port.get());
    }
    if let Some(ttl) = daemon.ttl {
        nest.attribute(daemon::TTL, &[ttl.get()]);
    }
    match daemon.group {
        Some(IpAddr::V4(group)) => {
            nest.attribute(daemon::GROUP, &group.octets());
        }
        Some(IpAddr::V6(group)) => {
            nest.attribute(daemon::GROUP_6, &group.octets());
        }
        None => {}
    }
}

/// The kernel's `union nf_inet_addr`: IPv4 is in the first four bytes.
fn padded(address: &IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
        }
        IpAddr::V6(address) => address.octets(),
    }
}

fn service_flags(flags: ServiceFlags, persistent: bool) -> u32 {
    let ServiceFlags {
        one_packet,
        scheduler_1,
        scheduler_2,
        scheduler_3,
    } = flags;
    [
        (persistent, flag::PERSISTENT),
        (one_packet, flag::ONE_PACKET),
        (scheduler_1, flag::SCHEDULER_1),
        (scheduler_2, flag::SCHEDULER_2),
        (scheduler_3, flag::SCHEDULER_3),
    ]
    .into_iter()
    .fold(0, |all, (set, flag)| if set { all | flag } else { all })
}

#[expect(
    clippy::expect_used,
    reason = "names have at most 15 bytes and everything else a fixed length"
)]
fn finish(draft: Draft<'_>) {
    draft.finish().expect("a request is at most 256 bytes");
}
