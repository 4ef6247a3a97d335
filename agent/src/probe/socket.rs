//! Sockets that send as a probe wants it: from its source address, by its interface, with its mark.
//!
//! Owns how they are opened and connected. Never reads or writes.

use std::io;
use std::net::SocketAddr;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpStream, UdpSocket};

use super::engine::Asked;
use super::outcome::{Failure, Stage, Stop};

/// A connection to the target.
pub(super) async fn connect(asked: &Asked<'_>) -> Result<TcpStream, Stop> {
    let socket = open(asked, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_tcp_nodelay(true)?;
    begin(&socket, asked.address).map_err(|error| unconnected(asked, error))?;
    let stream = TcpStream::from_std(socket.into())?;
    stream.writable().await?;
    if let Some(error) = stream.take_error()? {
        return Err(error.into());
    }
    // Of a port that nobody listens on, a kernel that happens to choose it as the source's connects with itself.
    if stream.local_addr()? == asked.address {
        return Err(Failure::Refused.into());
    }
    Ok(stream)
}

/// A datagram socket that talks with the target alone.
pub(super) fn datagrams(asked: &Asked<'_>) -> Result<UdpSocket, Stop> {
    let socket = open(asked, Type::DGRAM, Some(Protocol::UDP))?;
    socket.connect(&asked.address.into())?;
    asked.progress.reach(Stage::Waiting);
    Ok(UdpSocket::from_std(socket.into())?)
}

/// A socket that does not block, for the target's family.
pub(super) fn open(
    asked: &Asked<'_>,
    kind: Type,
    protocol: Option<Protocol>,
) -> Result<Socket, Stop> {
    let domain = Domain::for_address(asked.address);
    let socket = Socket::new(domain, kind.nonblocking(), protocol)?;
    if let Some(mark) = asked.shape.mark {
        socket.set_mark(mark.get())?;
    }
    if let Some(interface) = &asked.shape.interface {
        socket.bind_device(Some(interface.as_bytes()))?;
    }
    if let Some(source) = asked.shape.source {
        let source = SocketAddr::new(source, 0);
        socket
            .bind(&source.into())
            .map_err(|error| unbound(&error))?;
    }
    Ok(socket)
}

/// An address that the node does not have is no lack of ports.
fn unbound(error: &io::Error) -> Stop {
    match error.raw_os_error() {
        Some(libc::EADDRNOTAVAIL | libc::EINVAL) => Failure::Source.into(),
        Some(_) | None => Failure::from(error).into(),
    }
}

/// For IPv6 the kernel says the same of a port that is not left as of an address that there is no source for, and only
/// the latter is true of datagrams too.
fn unconnected(asked: &Asked<'_>, error: io::Error) -> Stop {
    if error.raw_os_error() == Some(libc::EADDRNOTAVAIL) && datagrams(asked).is_err() {
        return Failure::Unreachable.into();
    }
    error.into()
}

fn begin(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    match socket.connect(&address.into()) {
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => Ok(()),
        outcome => outcome,
    }
}
