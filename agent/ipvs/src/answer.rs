//! What the kernel answers, from bytes. Anything odd in one message is that message's error and no other's.

mod destination;
mod service;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use vipkeeper_netlink::{
    Attribute, Attributes, Control, Malformed, Message, Messages, Refusal, flags, messages,
};

use crate::numbers::{GENERIC_HEADER_LEN, command, controller, daemon, info, top};
use crate::{
    Daemon, DaemonRole, Family, FamilyId, Info, InterfaceName, InvalidName, Timeouts, Version,
};

pub use destination::ObservedDestination;
pub use service::ObservedService;

/// A message of the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The sequence number of the request that it answers.
    pub sequence: u32,
    /// What is dumped changed meanwhile, and the kernel noticed.
    pub interrupted: bool,
    /// What it says.
    pub content: Result<Content, Odd>,
}

/// What a message says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// The request is done.
    Acknowledged,
    /// The request, or the rest of a dump, is refused.
    Refused(Refusal),
    /// The dump is complete.
    Done,
    /// The number of IPVS.
    Family(FamilyId),
    /// A service.
    Service(ObservedService),
    /// A destination of the service that was asked for.
    Destination(ObservedDestination),
    /// A sync daemon that runs; its optional values are all there.
    Daemon(Daemon),
    /// Timeouts.
    Timeouts(Timeouts),
    /// Version and table.
    Info(Info),
    /// Something that no request asks for.
    Other {
        /// The message's type.
        kind: u16,
    },
}

/// An attribute as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownAttribute {
    /// Its type.
    pub kind: u16,
    /// Its value.
    pub value: Vec<u8>,
}

/// Why a message cannot be understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Odd {
    /// Its bytes are no message.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// It lacks something that this kind of message has.
    #[error("the kernel's answer lacks {0}")]
    Missing(&'static str),
    /// A number is none of those that have a meaning.
    #[error("the kernel answers with {number} as {what}")]
    Unknown {
        /// What the number says.
        what: &'static str,
        /// The number.
        number: u32,
    },
    /// A name cannot be one.
    #[error("the kernel answers with an impossible {what}")]
    Name {
        /// Whose name.
        what: &'static str,
        /// Why.
        #[source]
        source: InvalidName,
    },
}

/// The answers in `datagram`, from a socket of which IPVS has the number `family`; `None` while it is not known.
#[must_use]
pub const fn answers(family: Option<FamilyId>, datagram: &[u8]) -> Answers<'_> {
    Answers {
        family,
        messages: messages(datagram),
    }
}

/// The answers in a datagram; see [`answers`].
#[derive(Clone, Debug)]
pub struct Answers<'a> {
    family: Option<FamilyId>,
    messages: Messages<'a>,
}

impl Iterator for Answers<'_> {
    /// Bytes that are no message are an error of the datagram, and its last item.
    type Item = Result<Answer, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        let family = self.family;
        self.messages.next().map(|message| {
            message.map(|message| Answer {
                sequence: message.sequence,
                interrupted: message.flags & flags::DUMP_INTERRUPTED != 0,
                content: content(family, &message),
            })
        })
    }
}

fn content(family: Option<FamilyId>, message: &Message<'_>) -> Result<Content, Odd> {
    let other = Content::Other { kind: message.kind };
    if let Some(control) = Control::of(message)? {
        return Ok(match control {
            Control::Acknowledged => Content::Acknowledged,
            Control::Refused(refusal) => Content::Refused(refusal),
            Control::Done => Content::Done,
            Control::Overrun | Control::Nothing => other,
        });
    }
    let ([command, ..], attributes) = message.split::<GENERIC_HEADER_LEN>()?;
    if message.kind == controller::MESSAGE && command == controller::NEW_FAMILY {
        return Ok(Content::Family(family_id(attributes)?));
    }
    if family != Some(FamilyId(message.kind)) {
        return Ok(other);
    }
    Ok(match command {
        command::NEW_SERVICE => {
            let nest = find(attributes, top::SERVICE, "its service")?;
            Content::Service(ObservedService::parse(nest.nested())?)
        }
        command::NEW_DEST => {
            let nest = find(attributes, top::DESTINATION, "its destination")?;
            Content::Destination(ObservedDestination::parse(nest.nested())?)
        }
        command::NEW_DAEMON => {
            let nest = find(attributes, top::DAEMON, "its sync daemon")?;
            Content::Daemon(parse_daemon(nest.nested())?)
        }
        command::SET_CONFIG => Content::Timeouts(parse_timeouts(attributes)?),
        command::SET_INFO => Content::Info(parse_info(attributes)?),
        _ => other,
    })
}

fn family_id(attributes: Attributes<'_>) -> Result<FamilyId, Odd> {
    let id = find(attributes, controller::FAMILY_ID, "the family's number")?;
    Ok(FamilyId(id.u16()?))
}

/// The attribute `kind`, called `what`.
fn find<'a>(
    attributes: Attributes<'a>,
    kind: u16,
    what: &'static str,
) -> Result<Attribute<'a>, Odd> {
    for attribute in attributes {
        let attribute = attribute?;
        if attribute.kind == kind {
            return Ok(attribute);
        }
    }
    Err(Odd::Missing(what))
}

fn parse_daemon(attributes: Attributes<'_>) -> Result<Daemon, Odd> {
    let (mut role, mut interface, mut sync_id) = (None, None, None);
    let (mut longest_message, mut group, mut port, mut ttl) = (None, None, None, None);
    for attribute in attributes {
        let attribute = attribute?;
        match attribute.kind {
            daemon::ROLE => role = Some(DaemonRole::try_from(attribute.u32()?)?),
            daemon::INTERFACE => {
                let name = InterfaceName::from_bytes(attribute.until_zero());
                interface = Some(name.map_err(Odd::name("interface"))?);
            }
            daemon::SYNC_ID => sync_id = Some(attribute.u32()?),
            daemon::LONGEST_MESSAGE => longest_message = attribute.u16()?.try_into().ok(),
            daemon::GROUP => group = Some(IpAddr::from(attribute.bytes::<4>()?)),
            daemon::GROUP_6 => group = Some(IpAddr::from(attribute.bytes::<16>()?)),
            daemon::PORT => port = attribute.u16()?.try_into().ok(),
            daemon::TTL => ttl = attribute.u8()?.try_into().ok(),
            _ => {}
        }
    }
    let sync_id = sync_id.ok_or(Odd::Missing("a sync daemon's id"))?;
    Ok(Daemon {
        role: role.ok_or(Odd::Missing("a sync daemon's role"))?,
        interface: interface.ok_or(Odd::Missing("a sync daemon's interface"))?,
        sync_id: u8::try_from(sync_id).map_err(|_| Odd::Unknown {
            what: "a sync daemon's id",
            number: sync_id,
        })?,
        longest_message,
        group,
        port,
        ttl,
    })
}

fn parse_timeouts(attributes: Attributes<'_>) -> Result<Timeouts, Odd> {
    // A kernel without TCP or UDP for IPVS leaves theirs out.
    let mut timeouts = Timeouts::default();
    for attribute in attributes {
        let attribute = attribute?;
        match attribute.kind {
            top::TIMEOUT_TCP => timeouts.tcp = attribute.u32()?,
            top::TIMEOUT_TCP_FIN => timeouts.tcp_fin = attribute.u32()?,
            top::TIMEOUT_UDP => timeouts.udp = attribute.u32()?,
            _ => {}
        }
    }
    Ok(timeouts)
}

fn parse_info(attributes: Attributes<'_>) -> Result<Info, Odd> {
    let version = find(attributes.clone(), info::VERSION, "its version")?.u32()?;
    let size = find(
        attributes,
        info::CONNECTION_TABLE_SIZE,
        "its connection table's size",
    )?;
    Ok(Info {
        version: Version(version),
        connection_table_size: size.u32()?,
    })
}

/// The kernel's `union nf_inet_addr` as an address of `family`.
fn unpadded(family: Family, bytes: &[u8]) -> Result<IpAddr, Odd> {
    let address = match family {
        Family::V4 => bytes
            .first_chunk::<4>()
            .map(|octets| IpAddr::from(Ipv4Addr::from(*octets))),
        Family::V6 => bytes
            .first_chunk::<16>()
            .map(|octets| IpAddr::from(Ipv6Addr::from(*octets))),
    };
    address.ok_or(Odd::Missing("the end of an address"))
}

impl Odd {
    fn name(what: &'static str) -> impl Fn(InvalidName) -> Self {
        move |source| Self::Name { what, source }
    }
}

impl From<&Attribute<'_>> for UnknownAttribute {
    fn from(attribute: &Attribute<'_>) -> Self {
        Self {
            kind: attribute.kind,
            value: attribute.value.to_vec(),
        }
    }
}
