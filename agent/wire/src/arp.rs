//! ARP over Ethernet for IPv4 (RFC 826): gratuitous packets to announce a virtual address, probes to ask whether it is
//! free, and a view of any packet, by which another host's use of one is seen.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::{MacAddr, ethernet};

/// Length of a packet, in bytes.
pub const LEN: usize = 28;
/// Length of a frame with one, without padding.
pub const FRAME_LEN: usize = ethernet::HEADER_LEN + LEN;
/// Hardware type Ethernet, protocol IPv4, and the lengths of their addresses.
const ETHERNET_IPV4: [u8; 6] = [0x00, 0x01, 0x08, 0x00, 6, 4];

/// The two forms of a gratuitous ARP. Some receivers honour only one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum GratuitousForm {
    /// Operation 1.
    Request,
    /// Operation 2.
    Reply,
}

/// The Ethernet frame of a gratuitous ARP: `address` is at `mac`, told to everyone.
///
/// The target hardware address is `mac` as well. No receiver minds it in a request, and Linux takes a reply for
/// gratuitous only with it.
#[must_use]
pub fn gratuitous(mac: MacAddr, address: Ipv4Addr, form: GratuitousForm) -> [u8; FRAME_LEN] {
    gratuitous_with_target(mac, address, form, mac)
}

/// [`gratuitous`] with a target hardware address of choice; keepalived sends requests with ff:ff:ff:ff:ff:ff.
#[must_use]
pub fn gratuitous_with_target(
    mac: MacAddr,
    address: Ipv4Addr,
    form: GratuitousForm,
    target_mac: MacAddr,
) -> [u8; FRAME_LEN] {
    let packet = ArpPacket {
        operation: match form {
            GratuitousForm::Request => Operation::Request,
            GratuitousForm::Reply => Operation::Reply,
        },
        sender_mac: mac,
        sender_address: address,
        target_mac,
        target_address: address,
    };
    broadcast(mac, &packet)
}

/// A probe from `mac` for `address` (RFC 5227 §2.1.1): whoever has the address answers, and nobody learns ours.
#[must_use]
pub fn probe(mac: MacAddr, address: Ipv4Addr) -> [u8; FRAME_LEN] {
    let packet = ArpPacket {
        operation: Operation::Request,
        sender_mac: mac,
        sender_address: Ipv4Addr::UNSPECIFIED,
        target_mac: MacAddr([0; 6]),
        target_address: address,
    };
    broadcast(mac, &packet)
}

/// The frame of `packet` from `mac` to everybody.
fn broadcast(mac: MacAddr, packet: &ArpPacket) -> [u8; FRAME_LEN] {
    let header = ethernet::header(MacAddr::BROADCAST, mac, ethernet::ARP);
    let mut frame = [0; FRAME_LEN];
    for (slot, byte) in frame
        .iter_mut()
        .zip(header.into_iter().chain(packet.to_bytes()))
    {
        *slot = byte;
    }
    frame
}

/// What a packet does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Operation {
    /// 1: asks for the target's hardware address.
    Request,
    /// 2: answers.
    Reply,
    /// Anything else: reverse ARP and its kin.
    Other(u16),
}

impl From<u16> for Operation {
    fn from(number: u16) -> Self {
        match number {
            1 => Self::Request,
            2 => Self::Reply,
            other => Self::Other(other),
        }
    }
}

impl From<Operation> for u16 {
    fn from(operation: Operation) -> Self {
        match operation {
            Operation::Request => 1,
            Operation::Reply => 2,
            Operation::Other(other) => other,
        }
    }
}

/// An ARP packet for IPv4 over Ethernet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArpPacket {
    /// What it does.
    pub operation: Operation,
    /// Sender hardware address.
    pub sender_mac: MacAddr,
    /// Sender protocol address; 0.0.0.0 in a probe (RFC 5227 §1.1).
    pub sender_address: Ipv4Addr,
    /// Target hardware address; means nothing in a request.
    pub target_mac: MacAddr,
    /// Target protocol address.
    pub target_address: Ipv4Addr,
}

/// Why bytes are not an ARP packet for IPv4 over Ethernet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ArpError {
    /// Fewer than 28 bytes.
    #[error("{0} bytes; an ARP packet has 28")]
    Truncated(usize),
    /// Another hardware or protocol type, or other address lengths.
    #[error("not ARP for IPv4 over Ethernet")]
    Kind,
}

impl ArpPacket {
    /// Reads an Ethernet frame's payload; what follows the packet is padding and ignored.
    ///
    /// # Errors
    ///
    /// As [`ArpError`] says, in its order.
    pub fn parse(payload: &[u8]) -> Result<Self, ArpError> {
        let packet = payload
            .first_chunk::<LEN>()
            .ok_or(ArpError::Truncated(payload.len()))?;
        #[rustfmt::skip]
        let &[
            kind @ .., op0, op1,
            sm0, sm1, sm2, sm3, sm4, sm5, sa0, sa1, sa2, sa3,
            tm0, tm1, tm2, tm3, tm4, tm5, ta0, ta1, ta2, ta3,
        ] = packet;
        if kind != ETHERNET_IPV4 {
            return Err(ArpError::Kind);
        }
        Ok(Self {
            operation: u16::from_be_bytes([op0, op1]).into(),
            sender_mac: MacAddr([sm0, sm1, sm2, sm3, sm4, sm5]),
            sender_address: Ipv4Addr::new(sa0, sa1, sa2, sa3),
            target_mac: MacAddr([tm0, tm1, tm2, tm3, tm4, tm5]),
            target_address: Ipv4Addr::new(ta0, ta1, ta2, ta3),
        })
    }

    /// The packet's bytes.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; LEN] {
        let fields = ETHERNET_IPV4
            .into_iter()
            .chain(u16::from(self.operation).to_be_bytes())
            .chain(self.sender_mac.0)
            .chain(self.sender_address.octets())
            .chain(self.target_mac.0)
            .chain(self.target_address.octets());
        let mut bytes = [0; LEN];
        for (slot, byte) in bytes.iter_mut().zip(fields) {
            *slot = byte;
        }
        bytes
    }

    /// Whether it tells everyone who has its sender's address: a request or reply whose sender and target address are the
    /// same, and an address (RFC 5227 §3).
    #[must_use]
    pub fn is_gratuitous(&self) -> bool {
        let known = match self.operation {
            Operation::Request | Operation::Reply => true,
            Operation::Other(_) => false,
        };
        known && self.sender_address == self.target_address && !self.sender_address.is_unspecified()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::arbitrary;
    use crate::{Family, Vrid};

    const VIP: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 100);

    /// 00:00:5e:00:01:0a.
    fn virtual_mac() -> MacAddr {
        MacAddr::of_virtual_router(Family::V4, Vrid::new(10).unwrap())
    }

    #[rustfmt::skip]
    const GOLDEN: [u8; 42] = [
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x5e, 0x00, 0x01, 0x0a, 0x08, 0x06,
        0x00, 0x01, 0x08, 0x00, 0x06, 0x04, 0x00, 0x01,
        0x00, 0x00, 0x5e, 0x00, 0x01, 0x0a, 10, 77, 0, 100,
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 10, 77, 0, 100,
    ];

    #[test]
    fn c39_a_request_with_the_broadcast_target_has_the_golden_bytes() {
        let frame = gratuitous_with_target(
            virtual_mac(),
            VIP,
            GratuitousForm::Request,
            MacAddr::BROADCAST,
        );
        assert_eq!(frame, GOLDEN);
    }

    #[test]
    fn c39_sender_and_target_address_are_the_vip_and_both_hardware_addresses_the_senders() {
        let golden = |operation| {
            let mut frame = GOLDEN;
            frame[21] = operation;
            frame[32..38].copy_from_slice(&[0x00, 0x00, 0x5e, 0x00, 0x01, 0x0a]);
            frame
        };
        assert_eq!(
            gratuitous(virtual_mac(), VIP, GratuitousForm::Request),
            golden(1)
        );
        assert_eq!(
            gratuitous(virtual_mac(), VIP, GratuitousForm::Reply),
            golden(2)
        );
    }

    #[test]
    fn both_forms_are_read_as_gratuitous() {
        for form in [GratuitousForm::Request, GratuitousForm::Reply] {
            let bytes = gratuitous(virtual_mac(), VIP, form);
            let frame = ethernet::Frame::parse(&bytes).unwrap();
            assert_eq!(
                (frame.destination, frame.source),
                (MacAddr::BROADCAST, virtual_mac())
            );
            assert_eq!(frame.ethertype, ethernet::ARP);
            let packet = ArpPacket::parse(frame.payload).unwrap();
            assert_eq!(
                (packet.sender_mac, packet.sender_address),
                (virtual_mac(), VIP)
            );
            assert!(packet.is_gratuitous());
        }
    }

    #[test]
    fn questions_answers_probes_and_unknown_operations_are_not_gratuitous() {
        let gratuitous = ArpPacket::parse(&GOLDEN[14..]).unwrap();
        let other = Ipv4Addr::new(10, 77, 0, 1);
        let question = ArpPacket {
            sender_address: other,
            ..gratuitous
        };
        let answer = ArpPacket {
            operation: Operation::Reply,
            ..question
        };
        let probe = ArpPacket {
            sender_address: Ipv4Addr::UNSPECIFIED,
            ..gratuitous
        };
        let empty = ArpPacket {
            target_address: Ipv4Addr::UNSPECIFIED,
            ..probe
        };
        let reverse = ArpPacket {
            operation: Operation::Other(3),
            ..gratuitous
        };
        assert!(gratuitous.is_gratuitous());
        for packet in [question, answer, probe, empty, reverse] {
            assert!(!packet.is_gratuitous(), "{packet:?}");
        }
    }

    #[test]
    #[rustfmt::skip]
    fn a_probe_names_no_sender_address_and_no_target_hardware() {
        let golden = [
            0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x5e, 0x00, 0x01, 0x0a, 0x08, 0x06,
            0x00, 0x01, 0x08, 0x00, 0x06, 0x04, 0x00, 0x01,
            0x00, 0x00, 0x5e, 0x00, 0x01, 0x0a, 0, 0, 0, 0,
            0, 0, 0, 0, 0, 0, 10, 77, 0, 100,
        ];
        assert_eq!(probe(virtual_mac(), VIP), golden);
    }

    #[test]
    fn padding_is_ignored_and_every_truncation_refused() {
        let mut payload = GOLDEN[14..].to_vec();
        let packet = ArpPacket::parse(&payload).unwrap();
        for length in 0..LEN {
            assert_eq!(
                ArpPacket::parse(&payload[..length]),
                Err(ArpError::Truncated(length))
            );
        }
        payload.extend([0xa5; 18]);
        assert_eq!(ArpPacket::parse(&payload), Ok(packet));
    }

    #[test]
    fn arp_for_anything_but_ipv4_over_ethernet_is_refused() {
        for at in 0..6 {
            let mut payload = GOLDEN[14..].to_vec();
            payload[at] ^= 1;
            assert_eq!(ArpPacket::parse(&payload), Err(ArpError::Kind), "byte {at}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(10_000))]

        #[test]
        fn arbitrary_bytes_never_panic_and_what_is_read_is_what_is_written(
            kind in prop_oneof![Just(ETHERNET_IPV4.to_vec()), arbitrary::bytes(0, 8)],
            rest in arbitrary::bytes(0, 40),
        ) {
            let bytes = [kind, rest].concat();
            if let Ok(packet) = ArpPacket::parse(&bytes) {
                prop_assert_eq!(&packet.to_bytes()[..], &bytes[..LEN]);
            }
        }
    }
}
