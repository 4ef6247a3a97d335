//! Ethernet II headers and multicast addresses.
//!
//! VLAN tags are not walked: Linux takes the tag out before a packet socket sees the frame. A tag still there shows as
//! its own ethertype.

use std::net::IpAddr;

use crate::MacAddr;

/// Length of a header, in bytes.
pub const HEADER_LEN: usize = 14;
/// Ethertype of IPv4.
pub const IPV4: u16 = 0x0800;
/// Ethertype of ARP.
pub const ARP: u16 = 0x0806;
/// Ethertype of IPv6.
pub const IPV6: u16 = 0x86dd;

/// A frame without preamble and check sequence, as packet sockets have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Receiver.
    pub destination: MacAddr,
    /// Sender.
    pub source: MacAddr,
    /// Ethertype; below 0x0600 the length of an IEEE 802.3 frame.
    pub ethertype: u16,
    /// What follows, padding included.
    pub payload: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Reads the header; `None` below its 14 bytes.
    #[must_use]
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (&[d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5, type0, type1], payload) =
            bytes.split_first_chunk::<HEADER_LEN>()?;
        Some(Self {
            destination: MacAddr([d0, d1, d2, d3, d4, d5]),
            source: MacAddr([s0, s1, s2, s3, s4, s5]),
            ethertype: u16::from_be_bytes([type0, type1]),
            payload,
        })
    }
}

/// A header's bytes.
#[must_use]
pub const fn header(destination: MacAddr, source: MacAddr, ethertype: u16) -> [u8; HEADER_LEN] {
    let [d0, d1, d2, d3, d4, d5] = destination.0;
    let [s0, s1, s2, s3, s4, s5] = source.0;
    let [type0, type1] = ethertype.to_be_bytes();
    [d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5, type0, type1]
}

/// Where frames to an IP multicast group go: RFC 1112 §6.4 for IPv4, RFC 2464 §7 for IPv6. `None` for an address that is
/// no multicast group.
#[must_use]
pub const fn multicast(group: IpAddr) -> Option<MacAddr> {
    match group {
        IpAddr::V4(group) if group.is_multicast() => {
            let [_, b, c, d] = group.octets();
            Some(MacAddr([0x01, 0x00, 0x5e, b & 0x7f, c, d]))
        }
        IpAddr::V6(group) if group.is_multicast() => {
            let [.., a, b, c, d] = group.octets();
            Some(MacAddr([0x33, 0x33, a, b, c, d]))
        }
        IpAddr::V4(_) | IpAddr::V6(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::arbitrary;
    use crate::vrrp::{GROUP_V4, GROUP_V6};

    #[test]
    fn the_vrrp_groups_have_the_multicast_addresses_of_their_rfcs() {
        let v4 = MacAddr([0x01, 0x00, 0x5e, 0x00, 0x00, 0x12]);
        assert_eq!(multicast(GROUP_V4.into()), Some(v4));
        let v6 = MacAddr([0x33, 0x33, 0x00, 0x00, 0x00, 0x12]);
        assert_eq!(multicast(GROUP_V6.into()), Some(v6));
    }

    #[test]
    fn an_ipv4_group_loses_its_highest_nine_bits_and_an_ipv6_group_all_but_four_bytes() {
        let v4 = MacAddr([0x01, 0x00, 0x5e, 0x7f, 0xff, 0xff]);
        assert_eq!(multicast("239.255.255.255".parse().unwrap()), Some(v4));
        let v6 = MacAddr([0x33, 0x33, 0xff, 0x12, 0x34, 0x56]);
        assert_eq!(multicast("ff02::1:ff12:3456".parse().unwrap()), Some(v6));
    }

    #[test]
    fn an_address_that_is_no_group_has_no_multicast_address() {
        for address in [
            "10.77.0.1",
            "223.255.255.255",
            "240.0.0.0",
            "fe80::1",
            "fdff::1",
        ] {
            assert_eq!(multicast(address.parse().unwrap()), None, "{address}");
        }
    }

    #[test]
    fn a_frame_below_fourteen_bytes_is_none() {
        let bytes = header(MacAddr::BROADCAST, MacAddr([2, 0, 0, 0, 0, 1]), ARP);
        for length in 0..HEADER_LEN {
            assert_eq!(Frame::parse(&bytes[..length]), None);
        }
        assert!(Frame::parse(&bytes).unwrap().payload.is_empty());
    }

    proptest! {
        #[test]
        fn a_frame_that_is_sent_is_read_back(
            destination: [u8; 6], source: [u8; 6], ethertype: u16,
            payload in arbitrary::bytes(0, 60),
        ) {
            let (destination, source) = (MacAddr(destination), MacAddr(source));
            let mut bytes = header(destination, source, ethertype).to_vec();
            bytes.extend(&payload);
            let frame = Frame { destination, source, ethertype, payload: &payload };
            prop_assert_eq!(Frame::parse(&bytes), Some(frame));
        }
    }
}
