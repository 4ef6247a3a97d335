//! The addresses of the calling thread's namespace, read from the kernel by rtnetlink: iproute2 before 6.4 does
//! not show who set an address.
//!
//! Only reads. Knows just the attributes that tests look at.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsRawFd;

use anyhow::{Context, Result, bail};
use nix::net::if_::if_indextoname;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto, socket,
};

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const RTM_NEWADDR: u16 = 20;
const RTM_GETADDR: u16 = 22;
const NLM_F_REQUEST_DUMP: u16 = 0x301;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_CACHEINFO: u16 = 6;
const IFA_FLAGS: u16 = 8;
const IFA_PROTO: u16 = 11;

/// An address as the kernel has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelAddress {
    /// The interface's name.
    pub interface: String,
    /// The address.
    pub address: IpAddr,
    /// Its prefix length.
    pub prefix_length: u8,
    /// IFA_F_ bits.
    pub flags: u32,
    /// Who set it (IFA_PROTO, Linux 5.18); `None` if nobody said.
    pub protocol: Option<u8>,
    /// Seconds until it goes; `u32::MAX` for never.
    pub valid_lifetime: u32,
    /// Seconds until it is deprecated; `u32::MAX` for never.
    pub preferred_lifetime: u32,
    /// When it was made and when it was changed last, in hundredths of seconds since boot.
    pub stamps: [u32; 2],
}

impl KernelAddress {
    /// Duplicate address detection was not asked for.
    pub const NODAD: u32 = 0x02;
    /// Duplicate address detection runs.
    pub const TENTATIVE: u32 = 0x40;
    /// Without a route to its prefix.
    pub const NOPREFIXROUTE: u32 = 0x200;
}

/// All addresses, sorted, so that two dumps of the same state are equal but for lifetimes.
///
/// # Errors
/// When the kernel refuses or answers something unknown.
pub fn dump() -> Result<Vec<KernelAddress>> {
    let socket = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkRoute,
    )?;
    let mut request = Vec::with_capacity(24);
    request.extend(24u32.to_ne_bytes());
    request.extend(RTM_GETADDR.to_ne_bytes());
    request.extend(NLM_F_REQUEST_DUMP.to_ne_bytes());
    request.extend([0; 16]);
    sendto(
        socket.as_raw_fd(),
        &request,
        &NetlinkAddr::new(0, 0),
        MsgFlags::empty(),
    )?;
    let mut found = Vec::new();
    let mut buffer = vec![0; 65_536];
    loop {
        let length = recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
        let mut rest = buffer.get(..length).unwrap_or_default();
        while !rest.is_empty() {
            let (kind, body, next) = message(rest).context("a netlink message cut short")?;
            match kind {
                NLMSG_DONE => {
                    found.sort_by_key(|a: &KernelAddress| (a.interface.clone(), a.address));
                    return Ok(found);
                }
                NLMSG_ERROR => bail!("the kernel refuses to list addresses"),
                RTM_NEWADDR => found.push(address(body).context("an address cut short")?),
                _ => {}
            }
            rest = next;
        }
    }
}

/// Splits off one message: its type, its body, and what follows.
fn message(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = u32_at(bytes, 0)? as usize;
    let kind = u16_at(bytes, 4)?;
    let next = length.next_multiple_of(4).min(bytes.len());
    Some((kind, bytes.get(16..length)?, bytes.get(next..)?))
}

fn address(body: &[u8]) -> Option<KernelAddress> {
    let [_, prefix_length, flags, _] = *body.first_chunk::<4>()?;
    let index = u32_at(body, 4)?;
    let mut found = KernelAddress {
        interface: if_indextoname(index).ok()?.into_string().ok()?,
        address: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        prefix_length,
        flags: flags.into(),
        protocol: None,
        valid_lifetime: u32::MAX,
        preferred_lifetime: u32::MAX,
        stamps: [0; 2],
    };
    let mut rest = body.get(8..)?;
    let mut local = false;
    while rest.len() >= 4 {
        let length = usize::from(u16_at(rest, 0)?);
        let value = rest.get(4..length)?;
        match u16_at(rest, 2)? {
            IFA_LOCAL => {
                local = true;
                found.address = ip(value)?;
            }
            IFA_ADDRESS if !local => found.address = ip(value)?,
            IFA_CACHEINFO => {
                found.preferred_lifetime = u32_at(value, 0)?;
                found.valid_lifetime = u32_at(value, 4)?;
                found.stamps = [u32_at(value, 8)?, u32_at(value, 12)?];
            }
            IFA_FLAGS => found.flags = u32_at(value, 0)?,
            IFA_PROTO => found.protocol = value.first().copied(),
            _ => {}
        }
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Some(found)
}

fn ip(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => Some(Ipv4Addr::from(*bytes.first_chunk::<4>()?).into()),
        _ => Some(Ipv6Addr::from(*bytes.first_chunk::<16>()?).into()),
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}
