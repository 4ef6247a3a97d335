//! Advertisements as they travel, and the flaws that make them unacceptable. Reads and writes the bytes by the
//! RFCs' tables, not with the codec under test.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use serde::Serialize;
use vipkeeper_vrrp::{ChecksumForm, ChecksumPolicy};
use vipkeeper_wire::MacAddr;

use crate::group::{Group, Member, Nanos};
use crate::random::Random;

/// An IP datagram on the LAN.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Frame {
    /// Which virtual router it is, or pretends to be, of.
    pub(crate) group: usize,
    /// The node that sent it; a forged frame has none.
    pub(crate) sender: Option<usize>,
    pub(crate) mac: MacAddr,
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    pub(crate) ttl: u8,
    /// What makes it unacceptable to everybody.
    pub(crate) flaw: Option<Flaw>,
    pub(crate) advertisement: Advertisement,
    #[serde(skip)]
    pub(crate) payload: Arc<[u8]>,
}

/// What an advertisement says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Advertisement {
    pub(crate) priority: u8,
    pub(crate) interval: Nanos,
    /// The checksum's form, where there are two.
    pub(crate) form: Option<ChecksumForm>,
}

/// Why a forged frame must be refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) enum Flaw {
    TimeToLive,
    FlippedBit,
    CutShort,
    ForeignVrid,
    OtherVersion,
    OtherType,
    NoAddresses,
    OtherInterval,
    OtherPassword,
    OtherForm,
    Stranger,
    /// A node's own frame, sent back to it by the LAN.
    Loop,
}

impl Frame {
    /// Whether a member must act on it (RFC 9568 §7.1).
    pub(crate) fn acceptable(&self, member: &Member) -> bool {
        let form = match (member.checksum, self.advertisement.form) {
            (ChecksumPolicy::Only(demanded), Some(form)) => demanded == form,
            (ChecksumPolicy::Auto, _) | (ChecksumPolicy::Only(_), None) => true,
        };
        form && self.flaw.is_none_or(|flaw| flaw == Flaw::OtherForm)
    }

    /// This frame with a flaw that `receiver` must refuse it for, and contents that would do harm; `None` if
    /// the flaw does not exist for this virtual router.
    pub(crate) fn forge(
        &self,
        group: &Group,
        receiver: &Member,
        random: &mut Random,
    ) -> Option<Self> {
        let flaw = random.pick(&Flaw::FORGED);
        if !flaw.exists(group, receiver) {
            return None;
        }
        let mut bytes = self.payload.to_vec();
        bytes[2] = random.pick(&[255, 254, self.advertisement.priority, 0, 1]);
        let mut forged = Self {
            sender: None,
            flaw: Some(flaw),
            ..self.clone()
        };
        let form = match receiver.checksum {
            ChecksumPolicy::Only(form) => form,
            ChecksumPolicy::Auto => self.advertisement.form.unwrap_or(group.form),
        };
        forged.advertisement.priority = bytes[2];
        if flaw == Flaw::OtherForm {
            forged.advertisement.form = Some(other(form));
        }
        match flaw {
            Flaw::TimeToLive => forged.ttl = 254,
            Flaw::ForeignVrid => bytes[1] = 250,
            Flaw::OtherVersion => bytes[0] ^= 0x10,
            Flaw::OtherType => bytes[0] = (bytes[0] & 0xf0) | 2,
            Flaw::NoAddresses => bytes[3] = 0,
            Flaw::OtherInterval => bytes[5] += 1,
            Flaw::OtherPassword => {
                let last = bytes.len() - 8;
                bytes[last] ^= 0x20;
            }
            Flaw::Stranger => forged.source = group.stranger(),
            Flaw::FlippedBit | Flaw::CutShort | Flaw::OtherForm | Flaw::Loop => {}
        }
        forged.write_checksum(group, &mut bytes, form);
        if flaw == Flaw::FlippedBit {
            let bit = random.index(bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        if flaw == Flaw::CutShort {
            bytes.truncate(random.index(bytes.len()));
        }
        if flaw == Flaw::OtherForm {
            forged.write_checksum(group, &mut bytes, other(form));
        }
        forged.payload = bytes.into();
        Some(forged)
    }

    fn write_checksum(&self, group: &Group, bytes: &mut [u8], form: ChecksumForm) {
        bytes[6..8].fill(0);
        let pseudo = match (self.source, group.version, form) {
            (IpAddr::V6(_), _, _) | (_, 3, ChecksumForm::Rfc5798) => {
                pseudo_header(self.source, self.destination, bytes.len())
            }
            _ => Vec::new(),
        };
        let sum = checksum(&[&pseudo, bytes]);
        bytes[6..8].copy_from_slice(&sum.to_be_bytes());
    }

    /// The IP header before it, as a socket shows it: raw IPv6 sockets show none.
    pub(crate) fn ip_header(&self) -> Option<[u8; 20]> {
        let (IpAddr::V4(source), IpAddr::V4(destination)) = (self.source, self.destination) else {
            return None;
        };
        Some(ipv4_header(
            source,
            destination,
            self.ttl,
            self.payload.len(),
        ))
    }
}

impl Advertisement {
    /// What `payload` says, if it is a well-formed advertisement of `group` on its way between these
    /// addresses.
    pub(crate) fn read(
        group: &Group,
        source: IpAddr,
        destination: IpAddr,
        payload: &[u8],
    ) -> Result<Self, String> {
        let size = match source {
            IpAddr::V4(_) => 4,
            IpAddr::V6(_) => 16,
        };
        let trailer = if group.version == 2 { 8 } else { 0 };
        if payload.len() != 8 + size * group.addresses.len() + trailer {
            return Err(format!("its length is {}", payload.len()));
        }
        let head = [payload[0], payload[1], payload[3]];
        let expected = [
            group.version << 4 | 1,
            group.vrid,
            group.addresses.len() as u8,
        ];
        if head != expected {
            return Err(format!("version, VRID and count are {head:?}"));
        }
        let (interval, kind) = match group.version {
            2 => (u16::from(payload[5]), payload[4]),
            _ => (u16::from_be_bytes([payload[4], payload[5]]), 0),
        };
        if kind != u8::from(group.password.is_some()) || !group.intervals.contains(&interval) {
            return Err(format!("type is {kind}, interval {interval}"));
        }
        let sums = |with_pseudo_header: bool| {
            let pseudo = match with_pseudo_header {
                true => pseudo_header(source, destination, payload.len()),
                false => Vec::new(),
            };
            checksum(&[&pseudo, payload]) == 0
        };
        let form = match (source, group.version) {
            (IpAddr::V6(_), _) if sums(true) => None,
            (IpAddr::V4(_), 2) if sums(false) => None,
            (IpAddr::V4(_), 3) if sums(false) => Some(ChecksumForm::Rfc9568),
            (IpAddr::V4(_), 3) if sums(true) => Some(ChecksumForm::Rfc5798),
            _ => return Err("its checksum is wrong".to_owned()),
        };
        Ok(Self {
            priority: payload[2],
            interval: group.nanos(interval),
            form,
        })
    }
}

impl Flaw {
    const FORGED: [Self; 11] = [
        Self::TimeToLive,
        Self::FlippedBit,
        Self::CutShort,
        Self::ForeignVrid,
        Self::OtherVersion,
        Self::OtherType,
        Self::NoAddresses,
        Self::OtherInterval,
        Self::OtherPassword,
        Self::OtherForm,
        Self::Stranger,
    ];

    fn exists(self, group: &Group, receiver: &Member) -> bool {
        let two_forms = group.version == 3 && group.sources[0].is_ipv4();
        match self {
            Self::TimeToLive
            | Self::FlippedBit
            | Self::CutShort
            | Self::ForeignVrid
            | Self::OtherVersion
            | Self::OtherType => true,
            // Version 2 has no such rule; there it is a wrong length, which CutShort stands for.
            Self::NoAddresses => group.version == 3,
            Self::OtherInterval => group.version == 2,
            Self::OtherPassword => group.password.is_some(),
            Self::OtherForm => two_forms && receiver.checksum != ChecksumPolicy::Auto,
            Self::Stranger => group.unicast,
            Self::Loop => false,
        }
    }
}

fn other(form: ChecksumForm) -> ChecksumForm {
    match form {
        ChecksumForm::Rfc9568 => ChecksumForm::Rfc5798,
        ChecksumForm::Rfc5798 => ChecksumForm::Rfc9568,
    }
}

fn pseudo_header(source: IpAddr, destination: IpAddr, length: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(40);
    for address in [source, destination] {
        match address {
            IpAddr::V4(a) => bytes.extend(a.octets()),
            IpAddr::V6(a) => bytes.extend(a.octets()),
        }
    }
    let length = length as u16;
    match source {
        IpAddr::V4(_) => bytes.extend([0, 112]),
        IpAddr::V6(_) => bytes.extend([0, 112, 0, 0]),
    }
    bytes.extend(length.to_be_bytes());
    bytes
}

fn ipv4_header(source: Ipv4Addr, destination: Ipv4Addr, ttl: u8, payload: usize) -> [u8; 20] {
    let mut bytes = [0; 20];
    bytes[0] = 0x45;
    bytes[1] = 0xc0;
    bytes[2..4].copy_from_slice(&(20 + payload as u16).to_be_bytes());
    bytes[8] = ttl;
    bytes[9] = 112;
    bytes[12..16].copy_from_slice(&source.octets());
    bytes[16..20].copy_from_slice(&destination.octets());
    let sum = checksum(&[&bytes]);
    bytes[10..12].copy_from_slice(&sum.to_be_bytes());
    bytes
}

/// The Internet checksum (RFC 1071) over parts of even length.
fn checksum(parts: &[&[u8]]) -> u16 {
    let words = parts.iter().flat_map(|part| part.chunks(2));
    let mut sum: u32 = words
        .map(|word| u32::from(word[0]) << 8 | u32::from(word.get(1).copied().unwrap_or(0)))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}
