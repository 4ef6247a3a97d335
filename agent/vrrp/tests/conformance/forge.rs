//! Frames that other routers, or somebody who pretends to be one, put on the wire.

use std::net::{IpAddr, Ipv4Addr};

use vipkeeper_vrrp::{Ifindex, Received, Time};
use vipkeeper_wire::vrrp::{Advertisement, Body, ChecksumForm, Endpoints, GROUP_V4, GROUP_V6};
use vipkeeper_wire::{Family, MacAddr, Vrid};

use crate::bench::{IFINDEX, OWN, OWN_V6, VIP, VIP_V6};

/// A frame to be, with the values of a faultless advertisement of a peer; tests change what they are about.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) interface: Ifindex,
    pub(crate) mac: Option<MacAddr>,
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    pub(crate) protocol: u8,
    pub(crate) ttl: u8,
    pub(crate) vrid: u8,
    pub(crate) priority: u8,
    pub(crate) body: Body,
    pub(crate) addresses: Vec<IpAddr>,
    /// What is done to the finished message: offset, which bits, and their new value. The checksum is put right
    /// afterwards, unless it is overwritten itself.
    pub(crate) overwrite: Vec<(usize, u8, u8)>,
    /// How many bytes are cut off the end, before the checksum is put right.
    pub(crate) cut: usize,
}

/// The peer's address: 10.77.0.`last`. Ours is 10.77.0.5.
pub(crate) fn peer(last: u8) -> IpAddr {
    Ipv4Addr::new(10, 77, 0, last).into()
}

/// An advertisement of version 3 over IPv4 from 10.77.0.`last`: interval 1 s, checksum of RFC 9568.
pub(crate) fn from(last: u8, priority: u8) -> Frame {
    Frame {
        interface: IFINDEX,
        mac: Some(MacAddr([2, 0, 0, 0, 0, last])),
        source: peer(last),
        destination: GROUP_V4.into(),
        protocol: 112,
        ttl: 255,
        vrid: 10,
        priority,
        body: Body::V3 {
            centiseconds: 100,
            form: ChecksumForm::Rfc9568,
        },
        addresses: vec![VIP],
        overwrite: Vec::new(),
        cut: 0,
    }
}

/// The same over IPv6 from fe80::`last`.
pub(crate) fn from_v6(last: u8, priority: u8) -> Frame {
    Frame {
        source: std::net::Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, last.into()).into(),
        destination: GROUP_V6.into(),
        addresses: VIP_V6.to_vec(),
        ..from(last, priority)
    }
}

/// Version 2 without a password.
pub(crate) fn from_v2(last: u8, priority: u8) -> Frame {
    Frame {
        body: Body::V2 {
            seconds: 1,
            password: None,
        },
        ..from(last, priority)
    }
}

impl Frame {
    pub(crate) fn vrid(self, vrid: u8) -> Self {
        Self { vrid, ..self }
    }

    pub(crate) fn ttl(self, ttl: u8) -> Self {
        Self { ttl, ..self }
    }

    pub(crate) fn source(self, source: &str) -> Self {
        let source = source.parse().unwrap();
        Self { source, ..self }
    }

    pub(crate) fn destination(self, destination: &str) -> Self {
        let destination = destination.parse().unwrap();
        Self {
            destination,
            ..self
        }
    }

    /// To our own address.
    pub(crate) fn unicast(self) -> Self {
        let destination = match Family::of(&self.source) {
            Family::V4 => OWN.into(),
            Family::V6 => OWN_V6.into(),
        };
        Self {
            destination,
            ..self
        }
    }

    pub(crate) fn mac(self, mac: Option<MacAddr>) -> Self {
        Self { mac, ..self }
    }

    pub(crate) fn on(self, interface: Ifindex) -> Self {
        Self { interface, ..self }
    }

    pub(crate) fn addresses(self, addresses: &[&str]) -> Self {
        let addresses = addresses.iter().map(|a| a.parse().unwrap()).collect();
        Self { addresses, ..self }
    }

    pub(crate) fn centiseconds(mut self, value: u16) -> Self {
        match &mut self.body {
            Body::V3 { centiseconds, .. } => *centiseconds = value,
            Body::V2 { .. } => panic!("version 2 counts seconds"),
        }
        self
    }

    pub(crate) fn seconds(mut self, value: u8) -> Self {
        match &mut self.body {
            Body::V2 { seconds, .. } => *seconds = value,
            Body::V3 { .. } => panic!("version 3 counts centiseconds"),
        }
        self
    }

    pub(crate) fn password(mut self, text: &[u8; 8]) -> Self {
        match &mut self.body {
            Body::V2 { password, .. } => *password = Some(*text),
            Body::V3 { .. } => panic!("version 3 has no password"),
        }
        self
    }

    pub(crate) fn form(mut self, value: ChecksumForm) -> Self {
        match &mut self.body {
            Body::V3 { form, .. } => *form = value,
            Body::V2 { .. } => panic!("version 2 has one form"),
        }
        self
    }

    /// Byte `offset` of the message is `value`.
    pub(crate) fn byte(self, offset: usize, value: u8) -> Self {
        self.bits(offset, 0xff, value)
    }

    /// The bits `mask` of byte `offset` are those of `value`.
    pub(crate) fn bits(mut self, offset: usize, mask: u8, value: u8) -> Self {
        self.overwrite.push((offset, mask, value));
        self
    }

    pub(crate) fn bad_checksum(self) -> Self {
        self.byte(6, 0xde).byte(7, 0xad)
    }

    pub(crate) fn cut(self, cut: usize) -> Self {
        Self { cut, ..self }
    }

    /// Behind an Authentication Header.
    pub(crate) fn authentication_header(self) -> Self {
        Self {
            protocol: 51,
            ..self
        }
    }

    /// What an election gets of it.
    pub(crate) fn with<T>(&self, arrival: Time, hear: impl FnOnce(&Received<'_>) -> T) -> T {
        let payload = self.payload();
        hear(&Received {
            interface: self.interface,
            arrival,
            source_mac: self.mac,
            source: self.source,
            destination: self.destination,
            protocol: self.protocol,
            ttl: self.ttl,
            ip_header: &[],
            payload: &payload,
        })
    }

    fn payload(&self) -> Vec<u8> {
        let mut message = self.message();
        if self.protocol != 51 {
            return message;
        }
        // RFC 4302 §2: next header, length in words less two, reserved, SPI, sequence, 12 bytes of ICV.
        let mut payload = vec![112, 4, 0, 0];
        payload.resize(24, 0x55);
        payload.append(&mut message);
        payload
    }

    fn message(&self) -> Vec<u8> {
        let endpoints = Endpoints::new(self.source, self.destination).unwrap();
        let mut bytes = Advertisement {
            vrid: Vrid::new(self.vrid.max(1)).unwrap(),
            priority: self.priority,
            body: self.body,
            addresses: &self.addresses,
        }
        .to_vec(&endpoints)
        .unwrap();
        if self.vrid == 0 {
            bytes[1] = 0;
        }
        for &(offset, mask, value) in &self.overwrite {
            bytes[offset] = bytes[offset] & !mask | value & mask;
        }
        bytes.truncate(bytes.len() - self.cut);
        if !self
            .overwrite
            .iter()
            .any(|(offset, ..)| (6..8).contains(offset))
        {
            self.put_checksum_right(&mut bytes);
        }
        bytes
    }

    /// The Internet checksum, written anew here so that forged frames do not depend on the code under test.
    fn put_checksum_right(&self, bytes: &mut [u8]) {
        if bytes.len() < 8 {
            return;
        }
        bytes[6] = 0;
        bytes[7] = 0;
        let mut covered = match (self.body, self.source, self.destination) {
            (
                Body::V3 {
                    form: ChecksumForm::Rfc5798,
                    ..
                },
                IpAddr::V4(source),
                IpAddr::V4(destination),
            ) => [&source.octets()[..], &destination.octets()].concat(),
            (Body::V3 { .. }, IpAddr::V6(source), IpAddr::V6(destination)) => {
                [&source.octets()[..], &destination.octets()].concat()
            }
            _ => Vec::new(),
        };
        if !covered.is_empty() {
            covered.extend([0, 112]);
            covered.extend(u16::try_from(bytes.len()).unwrap().to_be_bytes());
        }
        covered.extend_from_slice(bytes);
        let mut sum = 0_u32;
        for word in covered.chunks(2) {
            sum += u32::from(word[0]) << 8 | u32::from(word.get(1).copied().unwrap_or(0));
        }
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        let checksum = !u16::try_from(sum).unwrap();
        bytes[6..8].copy_from_slice(&checksum.to_be_bytes());
    }
}
