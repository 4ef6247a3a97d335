//! A destination from the kernel's attributes.

use vipkeeper_netlink::{Attribute, Attributes};

use super::{Odd, UnknownAttribute, unpadded};
use crate::numbers::destination;
use crate::{
    Destination, DestinationCounters, DestinationKey, Family, Forwarding, Statistics, Tunnel,
};

/// A destination as the kernel has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedDestination {
    /// The destination.
    pub destination: Destination,
    /// Its connections.
    pub counters: DestinationCounters,
    /// What is counted of it.
    pub statistics: Statistics,
    /// Attributes that were not known when this was written.
    pub unknown: Vec<UnknownAttribute>,
}

impl ObservedDestination {
    pub(super) fn parse(attributes: Attributes<'_>) -> Result<Self, Odd> {
        let mut raw = RawDestination::default();
        for attribute in attributes {
            raw.take(&attribute?)?;
        }
        // Linux has told a destination's family since destinations may be of another than their service (3.18).
        let family = raw.family.ok_or(Odd::Missing("a destination's family"))?;
        let address = raw.address.ok_or(Odd::Missing("a destination's address"))?;
        let (kind, port, flags) = raw.tunnel;
        Ok(Self {
            destination: Destination {
                key: DestinationKey {
                    address: unpadded(family, address)?,
                    port: raw.port.ok_or(Odd::Missing("a destination's port"))?,
                },
                forwarding: Forwarding::of(
                    raw.forwarding
                        .ok_or(Odd::Missing("a destination's forwarding method"))?,
                    Tunnel::of(kind, port, flags),
                ),
                weight: raw.weight.ok_or(Odd::Missing("a destination's weight"))?,
                upper_threshold: raw.upper_threshold,
                lower_threshold: raw.lower_threshold,
            },
            counters: raw.counters,
            statistics: raw.wide.or(raw.narrow).unwrap_or_default(),
            unknown: raw.unknown,
        })
    }
}

/// A destination's attributes as far as they have come.
#[derive(Default)]
struct RawDestination<'a> {
    family: Option<Family>,
    address: Option<&'a [u8]>,
    port: Option<u16>,
    forwarding: Option<u32>,
    weight: Option<u32>,
    /// Type, port, flags.
    tunnel: (u8, u16, u16),
    upper_threshold: u32,
    lower_threshold: u32,
    counters: DestinationCounters,
    narrow: Option<Statistics>,
    wide: Option<Statistics>,
    unknown: Vec<UnknownAttribute>,
}

impl<'a> RawDestination<'a> {
    fn take(&mut self, attribute: &Attribute<'a>) -> Result<(), Odd> {
        match attribute.kind {
            destination::FAMILY => self.family = Some(attribute.u16()?.try_into()?),
            destination::ADDRESS => self.address = Some(attribute.value),
            destination::PORT => self.port = Some(attribute.be16()?),
            destination::FORWARDING => self.forwarding = Some(attribute.u32()?),
            destination::WEIGHT => self.weight = Some(attribute.u32()?),
            destination::TUNNEL_KIND => self.tunnel.0 = attribute.u8()?,
            destination::TUNNEL_PORT => self.tunnel.1 = attribute.be16()?,
            destination::TUNNEL_FLAGS => self.tunnel.2 = attribute.u16()?,
            destination::UPPER_THRESHOLD => self.upper_threshold = attribute.u32()?,
            destination::LOWER_THRESHOLD => self.lower_threshold = attribute.u32()?,
            destination::ACTIVE => self.counters.active = attribute.u32()?,
            destination::INACTIVE => self.counters.inactive = attribute.u32()?,
            destination::PERSISTENT => self.counters.persistent = attribute.u32()?,
            destination::STATISTICS => self.narrow = Some(Statistics::parse(attribute.nested())?),
            destination::STATISTICS_64 => self.wide = Some(Statistics::parse(attribute.nested())?),
            _ => self.unknown.push(attribute.into()),
        }
        Ok(())
    }
}
