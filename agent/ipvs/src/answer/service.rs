//! A service from the kernel's attributes.

use std::num::NonZeroU32;

use vipkeeper_netlink::{Attribute, Attributes};

use super::{Odd, UnknownAttribute, unpadded};
use crate::numbers::{flag, service};
use crate::{
    EngineName, Family, Netmask, Persistence, SchedulerName, Service, ServiceFlags, ServiceKey,
    Statistics,
};

/// A service as the kernel has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedService {
    /// The service.
    pub service: Service,
    /// All its flags, the kernel's own and unknown ones too.
    pub flags: u32,
    /// What is counted of it.
    pub statistics: Statistics,
    /// Attributes that were not known when this was written.
    pub unknown: Vec<UnknownAttribute>,
}

impl ObservedService {
    pub(super) fn parse(attributes: Attributes<'_>) -> Result<Self, Odd> {
        let mut raw = RawService::default();
        for attribute in attributes {
            raw.take(&attribute?)?;
        }
        let family = raw.family.ok_or(Odd::Missing("a service's family"))?;
        let flags = raw.flags.ok_or(Odd::Missing("a service's flags"))?;
        let persistence = match flags & flag::PERSISTENT {
            0 => None,
            _ => Some(Persistence {
                timeout: raw
                    .timeout
                    .ok_or(Odd::Missing("a service's persistence timeout"))?,
                netmask: Netmask::from_bytes(
                    family,
                    raw.netmask.ok_or(Odd::Missing("a service's netmask"))?,
                ),
            }),
        };
        Ok(Self {
            service: Service {
                key: raw.key(family)?,
                scheduler: raw.scheduler.ok_or(Odd::Missing("a service's scheduler"))?,
                flags: ServiceFlags {
                    one_packet: flags & flag::ONE_PACKET != 0,
                    scheduler_1: flags & flag::SCHEDULER_1 != 0,
                    scheduler_2: flags & flag::SCHEDULER_2 != 0,
                    scheduler_3: flags & flag::SCHEDULER_3 != 0,
                },
                persistence,
                engine: raw.engine,
            },
            flags,
            statistics: raw.wide.or(raw.narrow).unwrap_or_default(),
            unknown: raw.unknown,
        })
    }
}

/// A service's attributes as far as they have come.
#[derive(Default)]
struct RawService<'a> {
    family: Option<Family>,
    protocol: Option<u16>,
    address: Option<&'a [u8]>,
    port: Option<u16>,
    mark: Option<u32>,
    scheduler: Option<SchedulerName>,
    flags: Option<u32>,
    timeout: Option<u32>,
    netmask: Option<[u8; 4]>,
    engine: Option<EngineName>,
    narrow: Option<Statistics>,
    wide: Option<Statistics>,
    unknown: Vec<UnknownAttribute>,
}

impl<'a> RawService<'a> {
    fn take(&mut self, attribute: &Attribute<'a>) -> Result<(), Odd> {
        match attribute.kind {
            service::FAMILY => self.family = Some(attribute.u16()?.try_into()?),
            service::PROTOCOL => self.protocol = Some(attribute.u16()?),
            service::ADDRESS => self.address = Some(attribute.value),
            service::PORT => self.port = Some(attribute.be16()?),
            service::MARK => self.mark = Some(attribute.u32()?),
            service::SCHEDULER => {
                let name = SchedulerName::from_bytes(attribute.until_zero());
                self.scheduler = Some(name.map_err(Odd::name("scheduler"))?);
            }
            service::FLAGS => {
                let [f0, f1, f2, f3, ..]: [u8; 8] = attribute.bytes()?;
                self.flags = Some(u32::from_ne_bytes([f0, f1, f2, f3]));
            }
            service::TIMEOUT => self.timeout = Some(attribute.u32()?),
            service::NETMASK => self.netmask = Some(attribute.bytes()?),
            service::ENGINE => {
                let name = EngineName::from_bytes(attribute.until_zero());
                self.engine = Some(name.map_err(Odd::name("persistence engine"))?);
            }
            service::STATISTICS => self.narrow = Some(Statistics::parse(attribute.nested())?),
            service::STATISTICS_64 => self.wide = Some(Statistics::parse(attribute.nested())?),
            _ => self.unknown.push(attribute.into()),
        }
        Ok(())
    }

    fn key(&self, family: Family) -> Result<ServiceKey, Odd> {
        if let Some(mark) = self.mark.and_then(NonZeroU32::new) {
            return Ok(ServiceKey::Mark { family, mark });
        }
        let protocol = self.protocol.ok_or(Odd::Missing("a service's protocol"))?;
        let address = self.address.ok_or(Odd::Missing("a service's address"))?;
        Ok(ServiceKey::Address {
            protocol: protocol.into(),
            address: unpadded(family, address)?,
            port: self.port.ok_or(Odd::Missing("a service's port"))?,
        })
    }
}
