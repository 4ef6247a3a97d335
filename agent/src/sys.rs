//! System calls that no safe crate covers: scheduling class, socket options of packet and raw sockets,
//! `recvmmsg` and `sendmmsg`, descriptors over Unix sockets.
//!
//! Owns the buffers of both, allocated once. With [`memory`] the only module with unsafe code; it never decides,
//! retries or logs.
#![expect(
    unsafe_code,
    reason = "the kernel's interfaces below have no safe wrapper"
)]

pub mod memory;

use std::io;
use std::mem;
use std::net::{IpAddr, Ipv6Addr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};
use std::time::Duration;

use libc::{c_int, c_void, socklen_t};
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};
use tokio::io::unix::AsyncFd;
use vipkeeper_vrrp::Ifindex;
use vipkeeper_wire::MacAddr;

use crate::ring::Wake;

/// The longest datagram that is received whole: an IPv6 advertisement of 255 addresses has 4,128 bytes.
const DATAGRAM: usize = 4352;
/// Control bytes of a message: room for one timestamp or one packet information, and then some.
const CONTROL: usize = 128;
/// Messages of one `recvmmsg` or `sendmmsg`.
pub const BATCH: usize = 64;

/// Puts the calling thread into SCHED_FIFO with `priority`, 1..=99; its children do not inherit it.
///
/// # Errors
/// EPERM without CAP_SYS_NICE, or in a cgroup without real-time budget.
pub fn enter_fifo(priority: u8) -> io::Result<()> {
    // The system call, not the library: musl's sched_setscheduler always fails.
    let parameter: c_int = priority.into();
    let policy = libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK;
    // SAFETY: the kernel reads a `struct sched_param`, which is one int, from a pointer that is valid for the
    // call; thread 0 is the caller.
    let outcome = unsafe {
        libc::syscall(
            libc::SYS_sched_setscheduler,
            0,
            policy,
            &raw const parameter,
        )
    };
    if outcome == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Gives the calling thread the best nice value, -20: what there is below SCHED_FIFO.
///
/// # Errors
/// EACCES without CAP_SYS_NICE.
pub fn raise_niceness() -> io::Result<()> {
    // SAFETY: takes numbers alone; process 0 is, on Linux, the calling thread.
    let outcome = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, -20) };
    if outcome == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// The two processes after [`fork`].
pub enum Forked {
    /// The process that called it.
    Parent {
        /// The new one.
        child: nix::unistd::Pid,
    },
    /// The new process.
    Child,
}

/// Makes a copy of the process that runs on from here. Refused when there is more than one thread: a copy of one
/// of several would find the locks of the others held for ever.
///
/// # Errors
/// EAGAIN and ENOMEM; ResourceBusy beside other threads.
pub fn fork() -> io::Result<Forked> {
    if std::fs::read_dir("/proc/self/task")?.count() != 1 {
        return Err(io::ErrorKind::ResourceBusy.into());
    }
    // SAFETY: this is the only thread, so the child's memory has no lock that another one held.
    match unsafe { nix::unistd::fork() }? {
        nix::unistd::ForkResult::Parent { child } => Ok(Forked::Parent { child }),
        nix::unistd::ForkResult::Child => Ok(Forked::Child),
    }
}

/// A doorbell for the runtime to wait for.
///
/// # Errors
/// If the runtime's own epoll does not take it.
pub fn register(doorbell: Wake) -> io::Result<AsyncFd<Wake>> {
    // SAFETY: `Wake` owns its descriptor, always gives the same one, and closes it only when it is dropped,
    // which AsyncFd does after it has taken it from epoll.
    unsafe { AsyncFd::register(doorbell) }.map_err(Into::into)
}

/// Binds a packet socket to `protocol` (an Ethertype; 0 receives nothing) on `interface`.
///
/// # Errors
/// ENODEV, ENETDOWN and whatever else the kernel says.
pub fn bind_packet(socket: BorrowedFd<'_>, protocol: u16, interface: Ifindex) -> io::Result<()> {
    let mut address = link_address();
    address.sll_protocol = protocol.to_be();
    address.sll_ifindex = signed(interface)?;
    // SAFETY: the pointer and the length describe `address`, which outlives the call.
    let outcome = unsafe {
        libc::bind(
            socket.as_raw_fd(),
            (&raw const address).cast(),
            length_of::<libc::sockaddr_ll>(),
        )
    };
    if outcome == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Whether a bound packet socket still has its interface: the kernel unbinds it when the interface goes.
#[must_use]
pub fn packet_is_bound(socket: BorrowedFd<'_>) -> bool {
    let mut address = link_address();
    let mut length = length_of::<libc::sockaddr_ll>();
    // SAFETY: the kernel writes at most `length` bytes to `address`, and both outlive the call.
    let outcome = unsafe {
        libc::getsockname(
            socket.as_raw_fd(),
            (&raw mut address).cast(),
            &raw mut length,
        )
    };
    outcome == 0 && address.sll_ifindex > 0
}

/// `PACKET_IGNORE_OUTGOING`: our own frames are not received.
///
/// # Errors
/// ENOPROTOOPT before Linux 4.20.
pub fn ignore_outgoing(socket: BorrowedFd<'_>) -> io::Result<()> {
    set::<c_int>(socket, libc::SOL_PACKET, libc::PACKET_IGNORE_OUTGOING, &1)
}

/// `SO_TIMESTAMPNS`: every datagram carries the time at which the kernel saw it.
///
/// # Errors
/// Whatever the kernel says.
pub fn stamp_arrivals(socket: BorrowedFd<'_>) -> io::Result<()> {
    set::<c_int>(socket, libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, &1)
}

/// Sets the receive buffer to `bytes` beyond the system's limit, or up to the limit without CAP_NET_ADMIN.
///
/// # Errors
/// Whatever the kernel says.
pub fn set_receive_buffer(socket: BorrowedFd<'_>, bytes: u32) -> io::Result<()> {
    set::<u32>(socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, &bytes)
        .or_else(|_| set::<u32>(socket, libc::SOL_SOCKET, libc::SO_RCVBUF, &bytes))
}

/// `SO_BINDTOIFINDEX`: the socket sends and receives on `interface` alone.
///
/// # Errors
/// ENODEV and whatever else the kernel says.
pub fn bind_to_interface(socket: BorrowedFd<'_>, interface: Ifindex) -> io::Result<()> {
    set::<c_int>(
        socket,
        libc::SOL_SOCKET,
        libc::SO_BINDTOIFINDEX,
        &signed(interface)?,
    )
}

/// `IP_MULTICAST_IF` by index.
///
/// # Errors
/// ENODEV and whatever else the kernel says.
pub fn set_multicast_interface_v4(socket: BorrowedFd<'_>, interface: Ifindex) -> io::Result<()> {
    let unset = libc::in_addr { s_addr: 0 };
    let request = libc::ip_mreqn {
        imr_multiaddr: unset,
        imr_address: unset,
        imr_ifindex: signed(interface)?,
    };
    set::<libc::ip_mreqn>(socket, libc::IPPROTO_IP, libc::IP_MULTICAST_IF, &request)
}

/// Sends `descriptors` over a Unix socket, with one byte that means nothing. The kernel takes 253 at most.
///
/// # Errors
/// EPIPE if the other end is closed, and whatever else the kernel says.
pub fn send_descriptors(socket: BorrowedFd<'_>, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let descriptors: Vec<RawFd> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
    sendmsg::<()>(
        socket.as_raw_fd(),
        &[io::IoSlice::new(&[0])],
        &[ControlMessage::ScmRights(&descriptors)],
        MsgFlags::MSG_NOSIGNAL,
        None,
    )?;
    Ok(())
}

/// Receives the descriptors, `most` at most, that were sent with one byte; `None` if the other end is closed.
///
/// # Errors
/// Whatever the kernel says.
pub fn receive_descriptors(
    socket: BorrowedFd<'_>,
    most: usize,
) -> io::Result<Option<Vec<OwnedFd>>> {
    let mut byte = [0];
    let mut parts = [io::IoSliceMut::new(&mut byte)];
    let mut control = vec![0; nix::sys::socket::cmsg_space::<RawFd>() * most.max(1)];
    let message = recvmsg::<()>(
        socket.as_raw_fd(),
        &mut parts,
        Some(&mut control),
        MsgFlags::MSG_CMSG_CLOEXEC,
    )?;
    let mut descriptors = Vec::new();
    for part in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(received) = part {
            // SAFETY: the kernel has just made these descriptors for us, and nobody else knows of them.
            descriptors.extend(
                received
                    .into_iter()
                    .map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }),
            );
        }
    }
    Ok((message.bytes > 0).then_some(descriptors))
}

/// Sets an option whose value the kernel reads as a `T`.
fn set<T>(socket: BorrowedFd<'_>, level: c_int, name: c_int, value: &T) -> io::Result<()> {
    // SAFETY: the kernel reads `size_of::<T>()` bytes of `value`, which outlives the call.
    let outcome = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            std::ptr::from_ref(value).cast::<c_void>(),
            length_of::<T>(),
        )
    };
    if outcome == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// A datagram as a packet socket gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram<'a> {
    /// From the IP header on; cut off beyond 4,352 bytes.
    pub bytes: &'a [u8],
    /// The sender's Ethernet address, where the link has one.
    pub source_mac: Option<MacAddr>,
    /// The sender's IP address, where it is no packet socket.
    pub source: Option<IpAddr>,
    /// When the kernel saw it, since the epoch (CLOCK_REALTIME).
    pub stamp: Option<Duration>,
}

/// The buffers of `recvmmsg`, allocated once.
pub struct ReceiveBatch {
    slots: Box<[ReceiveSlot]>,
    headers: Vec<libc::mmsghdr>,
}

struct ReceiveSlot {
    bytes: [u8; DATAGRAM],
    length: usize,
    address: Sender,
    control: Control,
    stamp: Option<Duration>,
    vector: libc::iovec,
}

/// The address of a sender, of whatever family.
#[repr(C)]
union Sender {
    link: libc::sockaddr_ll,
    ipv4: libc::sockaddr_in,
    ipv6: libc::sockaddr_in6,
}

impl Sender {
    fn new() -> Self {
        // SAFETY: zeroes are valid values of every member, and family 0 is none.
        unsafe { mem::zeroed() }
    }

    /// Ethernet address and IP address, whichever it has.
    fn read(&self) -> (Option<MacAddr>, Option<IpAddr>) {
        // SAFETY: every member begins with its family, and every bit pattern of their integers is valid; all bytes
        // were written when the slot was made.
        unsafe {
            match c_int::from(self.link.sll_family) {
                libc::AF_PACKET => {
                    let mac = match (self.link.sll_halen, self.link.sll_addr) {
                        (6, [a, b, c, d, e, f, ..]) => Some(MacAddr([a, b, c, d, e, f])),
                        _ => None,
                    };
                    (mac, None)
                }
                libc::AF_INET => {
                    let octets = self.ipv4.sin_addr.s_addr.to_ne_bytes();
                    (None, Some(IpAddr::from(octets)))
                }
                libc::AF_INET6 => (None, Some(IpAddr::from(self.ipv6.sin6_addr.s6_addr))),
                _ => (None, None),
            }
        }
    }
}

/// Control bytes with the alignment that `cmsghdr` wants.
#[repr(C, align(8))]
struct Control([u8; CONTROL]);

// SAFETY: the pointers in `headers` and in the slots' vectors are written and used within `receive` alone.
unsafe impl Send for ReceiveBatch {}

impl Default for ReceiveBatch {
    fn default() -> Self {
        Self::new()
    }
}

impl ReceiveBatch {
    /// Buffers for 64 datagrams.
    #[must_use]
    pub fn new() -> Self {
        let slots = (0..BATCH).map(|_| ReceiveSlot {
            bytes: [0; DATAGRAM],
            length: 0,
            address: Sender::new(),
            control: Control([0; CONTROL]),
            stamp: None,
            vector: libc::iovec {
                iov_base: std::ptr::null_mut(),
                iov_len: 0,
            },
        });
        Self {
            slots: slots.collect(),
            headers: Vec::with_capacity(BATCH),
        }
    }

    /// Reads what is queued at the packet or UDP socket `socket`, at most 64 datagrams and at most `limit`; gives the
    /// number read. Never waits.
    ///
    /// # Errors
    /// WouldBlock if nothing is queued; ENETDOWN once when the interface went down.
    pub fn receive(&mut self, socket: BorrowedFd<'_>, limit: usize) -> io::Result<usize> {
        self.headers.clear();
        for slot in self.slots.iter_mut().take(limit) {
            slot.vector = libc::iovec {
                iov_base: slot.bytes.as_mut_ptr().cast(),
                iov_len: DATAGRAM,
            };
            let mut header = empty_header();
            header.msg_hdr.msg_name = (&raw mut slot.address).cast();
            header.msg_hdr.msg_namelen = length_of::<Sender>();
            header.msg_hdr.msg_iov = &raw mut slot.vector;
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_control = slot.control.0.as_mut_ptr().cast();
            header.msg_hdr.msg_controllen = CONTROL as _;
            self.headers.push(header);
        }
        let count = u32::try_from(self.headers.len()).unwrap_or(0);
        // SAFETY: `count` headers are initialised; each points to the name, vector, buffer and control bytes of
        // its own slot with their lengths, and the slots are neither moved nor read during the call.
        let received = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                self.headers.as_mut_ptr(),
                count as _,
                libc::MSG_DONTWAIT as _,
                std::ptr::null_mut(),
            )
        };
        let received = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
        for (slot, header) in self.slots.iter_mut().zip(&self.headers).take(received) {
            slot.length = usize::try_from(header.msg_len).unwrap_or(0).min(DATAGRAM);
            slot.stamp = timestamp(&header.msg_hdr);
        }
        Ok(received)
    }

    /// Datagram `index` of the last `receive`, `None` beyond the batch.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<Datagram<'_>> {
        let slot = self.slots.get(index)?;
        let (source_mac, source) = slot.address.read();
        Some(Datagram {
            bytes: slot.bytes.get(..slot.length)?,
            source_mac,
            source,
            stamp: slot.stamp,
        })
    }
}

/// The SO_TIMESTAMPNS of a received message.
fn timestamp(message: &libc::msghdr) -> Option<Duration> {
    // SAFETY: `message` was filled by recvmmsg: its control pointer and length describe initialised bytes of a
    // slot, which are alive and not written meanwhile; the macros stay within them.
    let mut control = unsafe { libc::CMSG_FIRSTHDR(message) };
    while !control.is_null() {
        // SAFETY: CMSG_FIRSTHDR and CMSG_NXTHDR give null or a whole, aligned header within the control bytes.
        let header = unsafe { control.read_unaligned() };
        if header.cmsg_level == libc::SOL_SOCKET && header.cmsg_type == libc::SCM_TIMESTAMPNS {
            // SAFETY: the kernel puts a `timespec` behind a header of this type.
            let stamp = unsafe {
                libc::CMSG_DATA(control)
                    .cast::<libc::timespec>()
                    .read_unaligned()
            };
            let seconds = u64::try_from(stamp.tv_sec).ok()?;
            return Some(Duration::new(seconds, u32::try_from(stamp.tv_nsec).ok()?));
        }
        // SAFETY: as for CMSG_FIRSTHDR.
        control = unsafe { libc::CMSG_NXTHDR(message, control) };
    }
    None
}

/// Where a message of a [`SendBatch`] goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Where the socket is bound to: a frame.
    Bound,
    /// To `destination`, from the source in the header that the message itself brings.
    Address {
        /// IP destination.
        destination: IpAddr,
    },
    /// To a UDP `port` of `destination`, from whatever address the routes choose.
    Port {
        /// IP destination.
        destination: IpAddr,
        /// UDP port.
        port: u16,
    },
    /// To `destination`, with a source address of `interface`.
    AddressFrom {
        /// IPv6 destination.
        destination: Ipv6Addr,
        /// IPv6 source, an address of the interface.
        source: Ipv6Addr,
        /// The interface it leaves by.
        interface: Ifindex,
    },
}

/// A message to send: `parts` one after the other.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// Where to.
    pub target: Target,
    /// Its bytes.
    pub parts: [&'a [u8]; 2],
}

/// What became of the messages given to [`SendBatch::send`].
#[derive(Debug, Default)]
pub struct Sent {
    /// Handed to the kernel.
    pub sent: u64,
    /// Refused by it.
    pub failed: u64,
    /// Why the last one was refused.
    pub error: Option<io::Error>,
}

/// The headers of `sendmmsg`, allocated once.
pub struct SendBatch {
    slots: Box<[SendSlot]>,
    headers: Vec<libc::mmsghdr>,
}

struct SendSlot {
    name: Name,
    control: Control,
    vectors: [libc::iovec; 2],
}

/// A socket address of either family.
#[repr(C)]
union Name {
    v4: libc::sockaddr_in,
    v6: libc::sockaddr_in6,
}

// SAFETY: the pointers in `headers` and in the slots are written and used within `send` alone.
unsafe impl Send for SendBatch {}

impl Default for SendBatch {
    fn default() -> Self {
        Self::new()
    }
}

impl SendBatch {
    /// Headers for 64 messages.
    #[must_use]
    pub fn new() -> Self {
        let vector = libc::iovec {
            iov_base: std::ptr::null_mut(),
            iov_len: 0,
        };
        let slots = (0..BATCH).map(|_| SendSlot {
            // SAFETY: a socket address of zeroes is valid: family 0, no address.
            name: unsafe { mem::zeroed() },
            control: Control([0; CONTROL]),
            vectors: [vector; 2],
        });
        Self {
            slots: slots.collect(),
            headers: Vec::with_capacity(BATCH),
        }
    }

    /// Sends `messages` in their order by as few system calls as 64 a call allows. A message that the kernel
    /// refuses is skipped and counted. Never waits.
    pub fn send<'a>(
        &mut self,
        socket: BorrowedFd<'_>,
        messages: impl Iterator<Item = Message<'a>>,
    ) -> Sent {
        let mut outcome = Sent::default();
        // Fused: an iterator that ended is not asked again.
        let mut messages = messages.fuse();
        loop {
            self.headers.clear();
            for slot in &mut self.slots {
                let Some(message) = messages.next() else {
                    break;
                };
                self.headers.push(slot.fill(&message));
            }
            if self.headers.is_empty() {
                return outcome;
            }
            // The bytes that the headers point to are borrowed for 'a, which outlives this call.
            self.flush(socket, &mut outcome);
        }
    }

    /// Sends the headers that are filled.
    fn flush(&mut self, socket: BorrowedFd<'_>, outcome: &mut Sent) {
        let mut rest = self.headers.as_mut_slice();
        while !rest.is_empty() {
            let count = u32::try_from(rest.len()).unwrap_or(0);
            // SAFETY: `rest` has `count` headers, filled by `SendSlot::fill` of slots that were not touched
            // since, with bytes that the caller of `send` keeps alive.
            let sent = unsafe {
                libc::sendmmsg(
                    socket.as_raw_fd(),
                    rest.as_mut_ptr(),
                    count as _,
                    libc::MSG_DONTWAIT as _,
                )
            };
            let done = match usize::try_from(sent) {
                Ok(sent) if sent > 0 => {
                    outcome.sent += sent as u64;
                    sent
                }
                Ok(_) | Err(_) => {
                    let error = io::Error::last_os_error();
                    if error.kind() == io::ErrorKind::Interrupted {
                        continue;
                    }
                    outcome.error = Some(error);
                    outcome.failed += 1;
                    1
                }
            };
            rest = rest.get_mut(done..).unwrap_or_default();
        }
    }
}

impl SendSlot {
    /// The header of `message`, which points into this slot and to the message's bytes.
    fn fill(&mut self, message: &Message<'_>) -> libc::mmsghdr {
        let mut header = empty_header();
        for (vector, part) in self.vectors.iter_mut().zip(message.parts) {
            *vector = libc::iovec {
                iov_base: part.as_ptr().cast_mut().cast(),
                iov_len: part.len(),
            };
        }
        header.msg_hdr.msg_iov = self.vectors.as_mut_ptr();
        header.msg_hdr.msg_iovlen = self.vectors.len() as _;
        match message.target {
            Target::Bound => {}
            Target::Port { destination, port } => {
                header.msg_hdr.msg_namelen = self.name(destination, port, 0);
                header.msg_hdr.msg_name = (&raw mut self.name).cast();
            }
            Target::Address { destination } => {
                header.msg_hdr.msg_namelen = self.name(destination, 0, 0);
                header.msg_hdr.msg_name = (&raw mut self.name).cast();
            }
            Target::AddressFrom {
                destination,
                source,
                interface,
            } => {
                header.msg_hdr.msg_namelen = self.name(destination.into(), 0, interface.get());
                header.msg_hdr.msg_name = (&raw mut self.name).cast();
                header.msg_hdr.msg_control = self.control.0.as_mut_ptr().cast();
                header.msg_hdr.msg_controllen =
                    self.source(&header.msg_hdr, source, interface) as _;
            }
        }
        header
    }

    /// Fills in the destination and gives its length.
    fn name(&mut self, destination: IpAddr, port: u16, scope: u32) -> socklen_t {
        match destination {
            IpAddr::V4(address) => {
                let address = SocketAddrV4::new(address, port);
                self.name.v4 = libc::sockaddr_in {
                    sin_family: libc::AF_INET as libc::sa_family_t,
                    sin_port: address.port().to_be(),
                    sin_addr: libc::in_addr {
                        s_addr: u32::from_ne_bytes(address.ip().octets()),
                    },
                    sin_zero: [0; 8],
                };
                length_of::<libc::sockaddr_in>()
            }
            IpAddr::V6(address) => {
                let address = SocketAddrV6::new(address, port, 0, scope);
                self.name.v6 = libc::sockaddr_in6 {
                    sin6_family: libc::AF_INET6 as libc::sa_family_t,
                    sin6_port: address.port().to_be(),
                    sin6_flowinfo: 0,
                    sin6_addr: libc::in6_addr {
                        s6_addr: address.ip().octets(),
                    },
                    sin6_scope_id: address.scope_id(),
                };
                length_of::<libc::sockaddr_in6>()
            }
        }
    }

    /// Fills in IPV6_PKTINFO and gives the length of the control bytes.
    fn source(&mut self, message: &libc::msghdr, source: Ipv6Addr, interface: Ifindex) -> usize {
        let information = libc::in6_pktinfo {
            ipi6_addr: libc::in6_addr {
                s6_addr: source.octets(),
            },
            ipi6_ifindex: interface.get() as _,
        };
        let length = length_of::<libc::in6_pktinfo>();
        let mut message = *message;
        message.msg_controllen = CONTROL as _;
        // SAFETY: `message` points to this slot's control bytes, aligned for a header and longer than
        // CMSG_SPACE of an in6_pktinfo, so the first header is not null and header and data fit.
        unsafe {
            let control = libc::CMSG_FIRSTHDR(&raw const message);
            (*control).cmsg_level = libc::IPPROTO_IPV6;
            (*control).cmsg_type = libc::IPV6_PKTINFO;
            (*control).cmsg_len = libc::CMSG_LEN(length) as _;
            libc::CMSG_DATA(control)
                .cast::<libc::in6_pktinfo>()
                .write_unaligned(information);
            libc::CMSG_SPACE(length) as usize
        }
    }
}

/// A message header with nothing in it.
fn empty_header() -> libc::mmsghdr {
    // SAFETY: null pointers and zero lengths are valid values of every field.
    unsafe { mem::zeroed() }
}

/// A link-layer address with nothing but its family.
fn link_address() -> libc::sockaddr_ll {
    // SAFETY: zeroes are valid values of every field.
    let mut address: libc::sockaddr_ll = unsafe { mem::zeroed() };
    address.sll_family = libc::AF_PACKET as libc::c_ushort;
    address
}

/// The index as the kernel's interfaces want it.
fn signed(interface: Ifindex) -> io::Result<c_int> {
    c_int::try_from(interface.get()).map_err(|_| io::ErrorKind::InvalidInput.into())
}

/// The size of a `T` as the kernel's interfaces want it.
const fn length_of<T>() -> socklen_t {
    size_of::<T>() as socklen_t
}

#[cfg(test)]
mod tests;
