//! Frames that a test sends in somebody's name, well-formed or not.
//!
//! The VRRP message is the codec's, so that what is spoilt here is exactly one thing.

use std::net::IpAddr;

use anyhow::{Context, Result, bail};
use vipkeeper_wire::Vrid;
use vipkeeper_wire::ip::{ipv4_header, ipv6_header};
use vipkeeper_wire::vrrp::{Advertisement, Body, ChecksumForm, Endpoints, GROUP_V4, GROUP_V6};

const PROTOCOL: u8 = 112;
const NETWORK_CONTROL: u8 = 0xc0;

/// An advertisement and the headers around it.
#[derive(Clone, Debug)]
pub struct Forgery {
    /// Ethernet source.
    pub source_mac: [u8; 6],
    /// IP source.
    pub source: IpAddr,
    /// IP destination, the group by default; also makes the Ethernet one.
    pub destination: IpAddr,
    /// TTL or hop limit, 255 by default.
    pub ttl: u8,
    /// VRID.
    pub vrid: u8,
    /// Priority.
    pub priority: u8,
    /// Version 3 by default, an interval of 100 ms, the RFC 9568 checksum.
    pub body: Body,
    /// Virtual addresses.
    pub addresses: Vec<IpAddr>,
}

impl Forgery {
    /// A version 3 advertisement to the group with priority 1 from `source`.
    #[must_use]
    pub fn new(source_mac: [u8; 6], source: IpAddr, vrid: u8, addresses: &[IpAddr]) -> Self {
        Self {
            source_mac,
            source,
            destination: match source {
                IpAddr::V4(_) => GROUP_V4.into(),
                IpAddr::V6(_) => GROUP_V6.into(),
            },
            ttl: 255,
            vrid,
            priority: 1,
            body: Body::V3 {
                centiseconds: 10,
                form: ChecksumForm::Rfc9568,
            },
            addresses: addresses.to_vec(),
        }
    }

    /// The whole Ethernet frame.
    ///
    /// # Errors
    /// When the codec refuses to write such a message.
    pub fn frame(&self) -> Result<Vec<u8>> {
        self.frame_with(|_| {})
    }

    /// The whole Ethernet frame, with the VRRP message spoilt after its checksum was made.
    ///
    /// # Errors
    /// When the codec refuses to write the message.
    pub fn frame_with(&self, spoil: impl FnOnce(&mut [u8])) -> Result<Vec<u8>> {
        let endpoints = Endpoints::new(self.source, self.destination)
            .context("source and destination of two families")?;
        let advertisement = Advertisement {
            vrid: Vrid::new(self.vrid).context("VRID 0")?,
            priority: self.priority,
            body: self.body,
            addresses: &self.addresses,
        };
        let mut message = advertisement.to_vec(&endpoints)?;
        spoil(&mut message);
        let length = u16::try_from(message.len())?;
        let mut frame = self.destination_mac()?.to_vec();
        frame.extend(self.source_mac);
        match (self.source, self.destination) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                frame.extend([0x08, 0x00]);
                let (ttl, class) = (self.ttl, NETWORK_CONTROL);
                frame.extend(ipv4_header(from, to, PROTOCOL, length, ttl, class, 0));
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                frame.extend([0x86, 0xdd]);
                let (ttl, class) = (self.ttl, NETWORK_CONTROL);
                frame.extend(ipv6_header(from, to, PROTOCOL, length, ttl, class));
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => {
                bail!("source and destination of two families")
            }
        }
        frame.extend(message);
        Ok(frame)
    }

    fn destination_mac(&self) -> Result<[u8; 6]> {
        match self.destination {
            IpAddr::V4(group) if group.is_multicast() => {
                let [_, b, c, d] = group.octets();
                Ok([0x01, 0x00, 0x5e, b & 0x7f, c, d])
            }
            IpAddr::V6(group) if group.is_multicast() => {
                let [.., a, b, c, d] = group.octets();
                Ok([0x33, 0x33, a, b, c, d])
            }
            // Everybody's network card takes a broadcast frame, whatever the IP destination.
            IpAddr::V4(_) => Ok([0xff; 6]),
            IpAddr::V6(_) => bail!("forged unicast is for IPv4"),
        }
    }
}
