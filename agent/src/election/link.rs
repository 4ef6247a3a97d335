//! The sockets of one (interface, family): one that receives, one that wakes for farewells alone, one that sends
//! advertisements, one that sends announcements, and one that hears neighbours who say that they have our addresses.
//!
//! Opened and closed by the runtime, because joining a group and closing a packet socket wait for locks of the
//! whole host; the election thread only reads and writes them.

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Mutex;

use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};
use vipkeeper_vrrp::Ifindex;
use vipkeeper_wire::Family;

use super::filter;
use crate::sys;

/// VRRP's IP protocol number.
pub const VRRP: u8 = 112;
/// CS6, which every implementation uses for advertisements (RFC 9568 is silent).
pub const TRAFFIC_CLASS: u8 = 0xc0;
/// The TTL and hop limit of advertisements (RFC 9568 §5.1.1.3, §5.1.2.3).
pub const HOPS: u8 = 255;
/// Bytes of the receive queue: some 1,000 advertisements of ten addresses.
const RECEIVE_BUFFER: u32 = 1 << 20;
/// Bytes of the queue of farewells: the first one rings, the others only ring again.
const FAREWELL_BUFFER: u32 = 1 << 12;
/// Bytes of the queue of neighbours: of a flood, the first hundred or so tell everything.
const NEIGHBOUR_BUFFER: u32 = 64 << 10;
/// The highest priority, TC_PRIO_CONTROL: the first band of pfifo_fast and of most others.
const PRIORITY: u32 = 7;

/// Which sockets: an interface and a family.
pub type LinkKey = (Ifindex, Family);

/// How many sockets a link has.
pub const SOCKETS: usize = 5;

/// The sockets of one (interface, family).
#[derive(Debug)]
pub struct Link {
    /// Its interface and family.
    pub key: LinkKey,
    receive: Socket,
    farewell: Socket,
    advertise: Socket,
    announce: Socket,
    neighbours: Socket,
    /// The groups that are joined; touched by the runtime alone.
    groups: Mutex<BTreeSet<IpAddr>>,
}

impl Link {
    /// Opens them all, without any group.
    ///
    /// # Errors
    /// The first failure, with the socket that failed.
    pub fn open(key: LinkKey) -> anyhow::Result<Self> {
        use anyhow::Context as _;
        Ok(Self {
            key,
            receive: receive_socket(key).context("receive socket")?,
            farewell: farewell_socket(key).context("farewell socket")?,
            advertise: match key.1 {
                Family::V4 => advertise_socket_v4(key.0),
                Family::V6 => advertise_socket_v6(key.0),
            }
            .context("advertisement socket")?,
            announce: announce_socket(key.0).context("announcement socket")?,
            neighbours: neighbour_socket(key).context("neighbour socket")?,
            groups: Mutex::default(),
        })
    }

    /// The sockets of another process, in the order of [`descriptors`](Self::descriptors), with the groups that
    /// they have joined.
    #[must_use]
    pub fn take_over(key: LinkKey, groups: BTreeSet<IpAddr>, sockets: [OwnedFd; SOCKETS]) -> Self {
        let [receive, farewell, advertise, announce, neighbours] = sockets.map(Socket::from);
        Self {
            key,
            receive,
            farewell,
            advertise,
            announce,
            neighbours,
            groups: Mutex::new(groups),
        }
    }

    /// All its sockets.
    #[must_use]
    pub fn descriptors(&self) -> [BorrowedFd<'_>; SOCKETS] {
        [
            self.receive(),
            self.farewell(),
            self.advertise(),
            self.announce(),
            self.neighbours(),
        ]
    }

    /// The groups that are joined.
    #[must_use]
    pub fn groups(&self) -> BTreeSet<IpAddr> {
        match self.groups.lock() {
            Ok(joined) => joined.clone(),
            // The set is whole after every step.
            Err(poisoned) => poisoned.into_inner().clone(),
        }
    }

    /// Where advertisements of others are read: whole IP datagrams.
    #[must_use]
    pub fn receive(&self) -> BorrowedFd<'_> {
        self.receive.as_fd()
    }

    /// Readable when an advertisement of priority 0 waits to be read at [`receive`](Self::receive): wakes an
    /// election that lets everything else wait.
    #[must_use]
    pub fn farewell(&self) -> BorrowedFd<'_> {
        self.farewell.as_fd()
    }

    /// Empties the queue of farewells.
    pub fn hush(&self) {
        /// More than the queue holds; whoever refills it while it is emptied is heard in the next turn.
        const MOST: usize = 64;
        let mut byte = [std::mem::MaybeUninit::uninit(); 1];
        for _ in 0..MOST {
            if self.farewell.recv(&mut byte).is_err() {
                return;
            }
        }
    }

    /// Where advertisements are sent: IPv4 with its header, IPv6 without.
    #[must_use]
    pub fn advertise(&self) -> BorrowedFd<'_> {
        self.advertise.as_fd()
    }

    /// Where whole Ethernet frames are sent.
    #[must_use]
    pub fn announce(&self) -> BorrowedFd<'_> {
        self.announce.as_fd()
    }

    /// Where neighbours are heard that say that they have one of the watched addresses: ARP packets, or whole IPv6
    /// datagrams.
    #[must_use]
    pub fn neighbours(&self) -> BorrowedFd<'_> {
        self.neighbours.as_fd()
    }

    /// Hears from now on who else has one of `addresses`, and nothing else.
    ///
    /// # Errors
    /// ENOMEM and whatever else the kernel says; then the last filter stays.
    pub fn watch(&self, addresses: &BTreeSet<IpAddr>) -> io::Result<()> {
        let program = filter::assemble(&filter::neighbours(addresses));
        self.neighbours.attach_filter(&program)
    }

    /// Whether the interface it was opened on still exists.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        sys::packet_is_bound(self.receive())
    }

    /// Joins exactly `wanted`, so that the interface's filter and switches with snooping let them through.
    ///
    /// # Errors
    /// The last failure; the other groups are joined all the same.
    pub fn join(&self, wanted: &BTreeSet<IpAddr>) -> io::Result<()> {
        let mut joined = match self.groups.lock() {
            Ok(joined) => joined,
            // The set is whole after every step.
            Err(poisoned) => poisoned.into_inner(),
        };
        let mut outcome = Ok(());
        for group in wanted.difference(&joined.clone()) {
            match self.change_membership(group, true) {
                Ok(()) => {
                    joined.insert(*group);
                }
                Err(error) => outcome = Err(error),
            }
        }
        for group in joined.clone().difference(wanted) {
            match self.change_membership(group, false) {
                Ok(()) => {
                    joined.remove(group);
                }
                Err(error) => outcome = Err(error),
            }
        }
        outcome
    }

    fn change_membership(&self, group: &IpAddr, join: bool) -> io::Result<()> {
        let index = self.key.0.get();
        match (group, join) {
            (IpAddr::V4(group), true) => self
                .advertise
                .join_multicast_v4_n(group, &InterfaceIndexOrAddress::Index(index)),
            (IpAddr::V4(group), false) => self
                .advertise
                .leave_multicast_v4_n(group, &InterfaceIndexOrAddress::Index(index)),
            (IpAddr::V6(group), true) => self.advertise.join_multicast_v6(group, index),
            (IpAddr::V6(group), false) => self.advertise.leave_multicast_v6(group, index),
        }
    }
}

/// A packet socket that gives the datagrams of the filter from the IP header on.
fn receive_socket(key: LinkKey) -> io::Result<Socket> {
    let socket = listening_socket(&filter::receive(key.1), RECEIVE_BUFFER)?;
    sys::stamp_arrivals(socket.as_fd())?;
    listen(socket, key)
}

/// A packet socket that becomes readable by farewells alone. What it gives is never used.
fn farewell_socket(key: LinkKey) -> io::Result<Socket> {
    let socket = listening_socket(&filter::farewell(key.1), FAREWELL_BUFFER)?;
    listen(socket, key)
}

/// Hears nothing until [`listen`]: of another interface, and unfiltered, nothing gets in.
fn listening_socket(program: &[filter::Instruction], buffer: u32) -> io::Result<Socket> {
    let socket = Socket::new(Domain::PACKET, Type::DGRAM, None)?;
    socket.set_nonblocking(true)?;
    socket.attach_filter(&filter::assemble(program))?;
    sys::ignore_outgoing(socket.as_fd())?;
    sys::set_receive_buffer(socket.as_fd(), buffer)?;
    Ok(socket)
}

fn listen(socket: Socket, (interface, family): LinkKey) -> io::Result<Socket> {
    let protocol = match family {
        Family::V4 => libc::ETH_P_IP,
        Family::V6 => libc::ETH_P_IPV6,
    };
    sys::bind_packet(socket.as_fd(), protocol as u16, interface)?;
    Ok(socket)
}

fn advertise_socket_v4(interface: Ifindex) -> io::Result<Socket> {
    let socket = sending_socket(Domain::IPV4, interface)?;
    socket.set_header_included_v4(true)?;
    socket.set_multicast_loop_v4(false)?;
    sys::set_multicast_interface_v4(socket.as_fd(), interface)?;
    socket.set_tos_v4(TRAFFIC_CLASS.into())?;
    // After the traffic class, which would reset it.
    socket.set_priority(PRIORITY)?;
    Ok(socket)
}

fn advertise_socket_v6(interface: Ifindex) -> io::Result<Socket> {
    let socket = sending_socket(Domain::IPV6, interface)?;
    socket.set_multicast_loop_v6(false)?;
    socket.set_multicast_if_v6(interface.get())?;
    socket.set_multicast_hops_v6(HOPS.into())?;
    socket.set_unicast_hops_v6(HOPS.into())?;
    socket.set_tclass_v6(TRAFFIC_CLASS.into())?;
    socket.set_priority(PRIORITY)?;
    Ok(socket)
}

/// A raw VRRP socket on `interface` that queues nothing: every raw socket would get every advertisement.
fn sending_socket(domain: Domain, interface: Ifindex) -> io::Result<Socket> {
    let socket = Socket::new(domain, Type::RAW, Some(Protocol::from(i32::from(VRRP))))?;
    socket.attach_filter(&filter::assemble(&filter::nothing()))?;
    socket.set_nonblocking(true)?;
    socket.set_recv_buffer_size(0)?;
    sys::bind_to_interface(socket.as_fd(), interface)?;
    Ok(socket)
}

/// A packet socket that hears nothing until it is told what to watch.
fn neighbour_socket((interface, family): LinkKey) -> io::Result<Socket> {
    let protocol = match family {
        Family::V4 => libc::ETH_P_ARP,
        Family::V6 => libc::ETH_P_IPV6,
    };
    let socket = Socket::new(Domain::PACKET, Type::DGRAM, None)?;
    socket.set_nonblocking(true)?;
    socket.attach_filter(&filter::assemble(&filter::nothing()))?;
    sys::ignore_outgoing(socket.as_fd())?;
    sys::stamp_arrivals(socket.as_fd())?;
    sys::set_receive_buffer(socket.as_fd(), NEIGHBOUR_BUFFER)?;
    sys::bind_packet(socket.as_fd(), protocol as u16, interface)?;
    Ok(socket)
}

/// A packet socket for whole frames; protocol 0 receives nothing.
fn announce_socket(interface: Ifindex) -> io::Result<Socket> {
    let socket = Socket::new(Domain::PACKET, Type::RAW, None)?;
    socket.set_nonblocking(true)?;
    socket.set_priority(PRIORITY)?;
    sys::bind_packet(socket.as_fd(), 0, interface)?;
    Ok(socket)
}
