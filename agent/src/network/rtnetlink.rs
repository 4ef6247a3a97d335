//! The real kernel: a blocking rtnetlink socket and /proc/sys.
//!
//! Knows the shape of our addresses; knows no ledger and decides nothing.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "netlink messages are an open set: what we did not ask for does not concern us"
)]

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::address::{
    AddressAttribute, AddressFlags, AddressMessage, AddressProtocol, AddressScope, CacheInfo,
};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteType};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use nix::errno::Errno;
use vipkeeper_vrrp::Ifindex;

use super::kernel::{Action, Address, Change, Kernel, Present, Setting, tag_of};
use crate::netlink::Connection;

/// A lifetime that never ends.
const FOREVER: u32 = u32::MAX;
/// How often and how long apart it is looked whether the kernel routes to a new IPv6 address: 20 ms at most.
const ROUTE_LOOKS: u32 = 100;
const ROUTE_PAUSE: Duration = Duration::from_micros(200);

/// Where the kernel has the IPv4 settings of interfaces.
pub const SETTINGS: &str = "/proc/sys/net/ipv4/conf";

/// The kernel of this network namespace.
pub struct Rtnetlink {
    connection: Connection,
    keeps_tags: bool,
    settings: PathBuf,
}

impl Rtnetlink {
    /// Opens a socket.
    ///
    /// # Errors
    /// If the kernel has none for us.
    pub fn open() -> io::Result<Self> {
        Ok(Self {
            connection: Connection::open()?,
            keeps_tags: keeps_tags()?,
            settings: PathBuf::from(SETTINGS),
        })
    }

    /// Reads and writes interfaces' settings in another directory than [`SETTINGS`]: in a container that one is
    /// read-only, and the host's may be mounted elsewhere.
    #[must_use]
    pub fn with_settings_in(self, settings: &Path) -> Self {
        Self {
            settings: settings.to_owned(),
            ..self
        }
    }

    fn setting_path(&self, interface: Ifindex, setting: Setting) -> io::Result<PathBuf> {
        let name = nix::net::if_::if_indextoname(interface.get())?;
        let name = name
            .to_str()
            .map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
        Ok(self.settings.join(name).join(setting.as_str()))
    }
}

impl Kernel for Rtnetlink {
    fn change(&mut self, changes: &[Change]) -> io::Result<Vec<Result<(), Errno>>> {
        let outcomes = self
            .connection
            .transact(changes.iter().map(request).collect())?;
        let added = changes
            .iter()
            .zip(&outcomes)
            .rev()
            .find(|(change, outcome)| {
                matches!(change.action, Action::Add { .. }) && outcome.is_ok()
            });
        if let Some((change, _)) = added
            && let IpAddr::V6(address) = change.address.address
        {
            self.await_route(address);
        }
        Ok(outcomes)
    }

    fn addresses(&mut self) -> io::Result<Vec<Present>> {
        let all = RouteNetlinkMessage::GetAddress(AddressMessage::default());
        let entries = self.connection.dump(all)?;
        let present = entries.iter().filter_map(|entry| match entry {
            RouteNetlinkMessage::NewAddress(address) => present_of(address),
            _ => None,
        });
        Ok(present.collect())
    }

    fn keeps_tags(&self) -> bool {
        self.keeps_tags
    }

    fn setting(&mut self, interface: Ifindex, setting: Setting) -> io::Result<u32> {
        let text = fs::read_to_string(self.setting_path(interface, setting)?)?;
        text.trim()
            .parse()
            .map_err(|_| io::Error::from(io::ErrorKind::InvalidData))
    }

    fn change_setting(
        &mut self,
        interface: Ifindex,
        setting: Setting,
        value: u32,
    ) -> io::Result<()> {
        fs::write(self.setting_path(interface, setting)?, value.to_string())
    }
}

impl Rtnetlink {
    /// The kernel acknowledges an IPv6 address before it routes to it, which a worker of its does a moment later, in
    /// the order of the additions: packets that an announcement attracts meanwhile are lost.
    fn await_route(&mut self, address: Ipv6Addr) {
        for _ in 0..ROUTE_LOOKS {
            match self.connection.get(route_to(address)) {
                Ok(RouteNetlinkMessage::NewRoute(route))
                    if route.header.kind == RouteType::Local =>
                {
                    return;
                }
                // The worker may need this processor.
                Ok(_) | Err(_) => std::thread::sleep(ROUTE_PAUSE),
            }
        }
    }
}

fn route_to(address: Ipv6Addr) -> RouteNetlinkMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = AddressFamily::Inet6;
    message.header.destination_prefix_length = 128;
    let destination = RouteAddress::Inet6(address);
    message.attributes = vec![RouteAttribute::Destination(destination)];
    RouteNetlinkMessage::GetRoute(message)
}

/// What an address message says, if it says enough.
#[must_use]
pub fn present_of(message: &AddressMessage) -> Option<Present> {
    let (mut address, mut local, mut tag) = (None, None, None);
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Address(value) => address = Some(*value),
            AddressAttribute::Local(value) => local = Some(*value),
            AddressAttribute::Protocol(value) => tag = Some(u8::from(*value)),
            _ => {}
        }
    }
    Some(Present {
        interface: Ifindex::new(message.header.index)?,
        // On a point-to-point link the address is the other end's.
        address: local.or(address)?,
        prefix_length: message.header.prefix_len,
        tag,
    })
}

/// The flags and the message that ask for `change`.
fn request(change: &Change) -> (u16, RouteNetlinkMessage) {
    let (flags, lifetime) = match change.action {
        Action::Add { lifetime } => (NLM_F_CREATE | NLM_F_EXCL, lifetime),
        Action::Replace { lifetime } => (NLM_F_CREATE | NLM_F_REPLACE, lifetime),
        Action::Remove => {
            let message = address_message(change);
            return (0, RouteNetlinkMessage::DelAddress(message));
        }
    };
    let mut message = address_message(change);
    let attributes = &mut message.attributes;
    attributes.push(AddressAttribute::Flags(flags_of(change.address)));
    attributes.push(AddressAttribute::CacheInfo(lifetimes(
        change.address.address,
        lifetime,
    )));
    let tag = AddressProtocol::from(tag_of(change.interface));
    attributes.push(AddressAttribute::Protocol(tag));
    (flags, RouteNetlinkMessage::NewAddress(message))
}

fn address_message(change: &Change) -> AddressMessage {
    let Address {
        address,
        prefix_length,
    } = change.address;
    let mut message = AddressMessage::default();
    message.header.family = match address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    };
    message.header.prefix_len = prefix_length;
    message.header.scope = AddressScope::Universe;
    message.header.index = change.interface.get();
    message.attributes = vec![
        AddressAttribute::Local(address),
        AddressAttribute::Address(address),
    ];
    message
}

/// No duplicate address detection, which the old Active's answer would fail; and no route of a subnet that a
/// single address does not have.
fn flags_of(address: Address) -> AddressFlags {
    let host = if address.address.is_ipv4() { 32 } else { 128 };
    if address.prefix_length == host {
        AddressFlags::Nodad | AddressFlags::Noprefixroute
    } else {
        AddressFlags::Nodad
    }
}

/// An IPv6 address is deprecated from the start, so that nothing chooses it as its source.
fn lifetimes(address: IpAddr, lifetime: Option<Duration>) -> CacheInfo {
    let valid = lifetime.map_or(FOREVER, |span| {
        let seconds = span.as_secs() + u64::from(span.subsec_nanos() > 0);
        u32::try_from(seconds.max(1)).unwrap_or(FOREVER)
    });
    let mut times = CacheInfo::default();
    times.ifa_valid = valid;
    times.ifa_preferred = match address {
        IpAddr::V4(_) => valid,
        IpAddr::V6(_) => 0,
    };
    times
}

/// Whether this kernel keeps the tags of addresses.
///
/// # Errors
/// If /proc is not there.
pub fn keeps_tags() -> io::Result<bool> {
    release().map(|release| release_keeps_tags(&release))
}

/// The kernel's release, such as `6.12.0`.
///
/// # Errors
/// If /proc cannot be read.
pub fn release() -> io::Result<String> {
    fs::read_to_string("/proc/sys/kernel/osrelease").map(|release| release.trim().to_owned())
}

/// IFA_PROTO came with Linux 5.18.
#[must_use]
pub fn release_keeps_tags(release: &str) -> bool {
    let mut numbers = release
        .split(|c: char| !c.is_ascii_digit())
        .map(|word| word.parse().unwrap_or(0));
    let version: (u32, u32) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    version >= (5, 18)
}

#[cfg(test)]
mod tests {
    use netlink_packet_core::{NLM_F_ACK, NLM_F_REQUEST, NetlinkMessage};

    use super::*;

    fn change(action: Action, address: &str, prefix_length: u8) -> Change {
        Change {
            action,
            interface: Ifindex::new(3).unwrap(),
            address: Address {
                address: address.parse().unwrap(),
                prefix_length,
            },
        }
    }

    fn bytes(change: &Change) -> Vec<u8> {
        let (flags, payload) = request(change);
        let mut message = NetlinkMessage::from(payload);
        message.header.flags = NLM_F_REQUEST | NLM_F_ACK | flags;
        message.finalize();
        let mut bytes = vec![0xa5; message.buffer_len()];
        message.serialize(&mut bytes);
        bytes
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|b| format!("{b:02x}")).collect()
    }

    /// The layout of linux/if_addr.h, field by field.
    #[test]
    fn a_first_ipv4_install_is_exclusive_tagged_and_finite() {
        let lifetime = Some(Duration::from_secs(30));
        let bytes = bytes(&change(Action::Add { lifetime }, "192.0.2.100", 32));
        let expected = [
            "4c000000", "1400", "0506", "00000000",
            "00000000", // NEWADDR; REQUEST ACK EXCL CREATE
            "02", "20", "00", "00", "03000000", // inet, /32, flags, universe, interface
            "0800", "0200", "c0000264", // IFA_LOCAL
            "0800", "0100", "c0000264", // IFA_ADDRESS
            "0800", "0800", "02020000", // IFA_FLAGS nodad noprefixroute
            "1400", "0600", "1e000000", "1e000000", "00000000",
            "00000000", // preferred, valid
            "0500", "0b00", "56000000", // IFA_PROTO
        ]
        .concat();
        assert_eq!(hex(&bytes), expected);
    }

    #[test]
    fn an_ipv6_address_is_never_preferred_and_may_last_for_ever() {
        let (flags, message) = request(&change(
            Action::Replace { lifetime: None },
            "2001:db8::1",
            64,
        ));
        assert_eq!(flags, NLM_F_CREATE | NLM_F_REPLACE);
        let RouteNetlinkMessage::NewAddress(message) = message else {
            panic!("not an address message");
        };
        let mut times = CacheInfo::default();
        times.ifa_valid = FOREVER;
        assert!(
            message
                .attributes
                .contains(&AddressAttribute::CacheInfo(times))
        );
        let nodad = AddressAttribute::Flags(AddressFlags::Nodad);
        assert!(
            message.attributes.contains(&nodad),
            "a subnet keeps its route"
        );
    }

    #[test]
    fn a_lifetime_is_rounded_up_to_seconds_and_never_zero() {
        let address = IpAddr::from([192, 0, 2, 1]);
        let valid = |millis| lifetimes(address, Some(Duration::from_millis(millis))).ifa_valid;
        assert_eq!(
            [valid(0), valid(1), valid(1_000), valid(1_001)],
            [1, 1, 1, 2]
        );
    }

    #[test]
    fn tags_are_kept_from_linux_5_18_on() {
        let known = ["5.18.0", "5.19-rc1", "6.18.44-fc-v595", "10.0"];
        assert!(known.iter().all(|release| release_keeps_tags(release)));
        let unknown = ["5.17.9", "4.19.0-26-amd64", "5.4", ""];
        assert!(!unknown.iter().any(|release| release_keeps_tags(release)));
    }
}
