//! The sockets and keys of the node's heartbeat: UDP port 9651, one socket a family.
//!
//! Opened and closed by the runtime, read and written by the election thread, which signs what leaves and believes
//! nothing that does not verify. Keys stay here: no plan, report or record ever has one.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use socket2::{Domain, Protocol, Socket, Type};
use vipkeeper_vrrp::Beat;
use vipkeeper_wire::Family;
use vipkeeper_wire::heartbeat::{Authenticity, Heartbeat, HeartbeatError, Key, PORT};

use super::filter;
use super::link::TRAFFIC_CLASS;
use crate::sys;

/// Bytes of the receive queue: some 100 heartbeats.
const RECEIVE_BUFFER: u32 = 256 << 10;

/// The sockets.
#[derive(Debug)]
pub struct HeartbeatSockets {
    ipv4: Socket,
    ipv6: Option<Socket>,
}

impl HeartbeatSockets {
    /// Opens one for each family; without IPv6 on the machine, for IPv4 alone.
    ///
    /// # Errors
    /// EADDRINUSE if somebody has the port, and whatever else the kernel says.
    pub fn open() -> io::Result<Self> {
        Ok(Self {
            ipv4: socket(Family::V4)?,
            ipv6: match socket(Family::V6) {
                Ok(socket) => Some(socket),
                Err(error) if error.raw_os_error() == Some(libc::EAFNOSUPPORT) => None,
                Err(error) => return Err(error),
            },
        })
    }

    /// Those that there are.
    pub fn all(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        [Some(&self.ipv4), self.ipv6.as_ref()]
            .into_iter()
            .flatten()
            .map(AsFd::as_fd)
    }

    /// The one that reaches `destination`.
    #[must_use]
    pub fn towards(&self, destination: IpAddr) -> Option<BorrowedFd<'_>> {
        match destination {
            IpAddr::V4(_) => Some(self.ipv4.as_fd()),
            IpAddr::V6(_) => self.ipv6.as_ref().map(AsFd::as_fd),
        }
    }
}

fn socket(family: Family) -> io::Result<Socket> {
    let (domain, any) = match family {
        Family::V4 => (Domain::IPV4, IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        Family::V6 => (Domain::IPV6, IpAddr::V6(Ipv6Addr::UNSPECIFIED)),
    };
    let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    socket.attach_filter(&filter::assemble(&filter::heartbeat()))?;
    match family {
        Family::V4 => socket.set_tos_v4(TRAFFIC_CLASS.into())?,
        Family::V6 => {
            socket.set_only_v6(true)?;
            socket.set_tclass_v6(TRAFFIC_CLASS.into())?;
        }
    }
    sys::stamp_arrivals(socket.as_fd())?;
    sys::set_receive_buffer(socket.as_fd(), RECEIVE_BUFFER)?;
    socket.bind(&SocketAddr::new(any, PORT).into())?;
    Ok(socket)
}

/// What the election thread needs to speak and to listen.
#[derive(Clone, Debug)]
pub struct HeartbeatPort {
    /// Shared by all ports that differ in their keys alone.
    pub sockets: Arc<HeartbeatSockets>,
    /// The installation's key; empty where there is none.
    keys: Arc<[Key]>,
}

impl HeartbeatPort {
    /// `sockets` with the installation's `key`, if there is one.
    #[must_use]
    pub fn new(sockets: Arc<HeartbeatSockets>, key: Option<Key>) -> Self {
        let keys = key.into_iter().collect();
        Self { sockets, keys }
    }

    /// The signed datagram. `None` for one of more rows than fit, which the election does not make.
    #[must_use]
    pub fn sign(&self, beat: &Beat) -> Option<Vec<u8>> {
        beat.heartbeat.to_bytes(self.keys.first()).ok()
    }

    /// Reads and verifies a datagram.
    ///
    /// # Errors
    /// If it is not to be listened to.
    pub fn read(&self, bytes: &[u8]) -> Result<(Heartbeat, Authenticity), HeartbeatError> {
        Heartbeat::parse(bytes, &self.keys)
    }
}
