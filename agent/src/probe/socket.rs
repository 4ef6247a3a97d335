//! Sockets that send as a probe wants it: from its source address, by its interface, with its mark.
//!
//! Owns how they are opened and connected. Never reads or writes.

use std::io;
use std::net::SocketAddr;

use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpStream, UdpSocket};

use super::engine::Asked;
use super::outcome::{Failure, Lack, Stage, Stop};

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
    // Without it the kernel tells of a closed port alone, and a host that is gone looks like one that is silent.
    if asked.address.is_ipv4() {
        setsockopt(&socket, sockopt::Ipv4RecvErr, &true).map_err(io::Error::from)?;
    } else {
        setsockopt(&socket, sockopt::Ipv6RecvErr, &true).map_err(io::Error::from)?;
    }
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
        if kind == Type::STREAM {
            // A port for this target alone, chosen when it connects: one that is chosen here nobody else of the node can
            // have for any target.
            setsockopt(&socket, sockopt::IpBindAddressNoPort, &true).map_err(io::Error::from)?;
        }
        socket.bind(&source.into()).map_err(unbound)?;
    }
    Ok(socket)
}

/// An address that the node does not have is no lack of ports.
fn unbound(error: io::Error) -> Stop {
    match error.raw_os_error() {
        Some(libc::EADDRNOTAVAIL | libc::EINVAL) => Failure::Source.into(),
        Some(_) | None => error.into(),
    }
}

/// For IPv6 the kernel says the same of a port that is not left as of an address that there is no source for, and only
/// the latter is true of datagrams too. With a source of its own a probe lacks a port.
fn unconnected(asked: &Asked<'_>, error: io::Error) -> Stop {
    let either = error.raw_os_error() == Some(libc::EADDRNOTAVAIL) && asked.shape.source.is_none();
    let sourceless = |stop| match stop {
        Stop::Failure(_) | Stop::Lack(Lack::Ports) => true,
        Stop::Lack(Lack::Descriptors | Lack::Memory | Lack::Processes | Lack::Matchers) => false,
    };
    if either && datagrams(asked).is_err_and(sourceless) {
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

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use nix::sys::socket::getsockopt;

    use super::super::Target;
    use super::super::outcome::Progress;
    use super::super::tests::probe;
    use super::*;

    /// What `then` makes of a probe of `address`, from `source`.
    fn asking<T>(
        address: SocketAddr,
        source: Option<IpAddr>,
        then: impl FnOnce(&Asked<'_>) -> T,
    ) -> T {
        let mut probe = probe(serde_json::json!({"type": "TCP"}));
        probe.source = source;
        let target = Target::of(&probe, address);
        let progress = Progress::default();
        then(&Asked {
            shape: target.shape(),
            address,
            nonce: 0,
            progress: &progress,
        })
    }

    /// The loopback's addresses that this machine has.
    fn loopback() -> impl Iterator<Item = IpAddr> {
        ["127.0.0.1", "::1"]
            .map(|address| address.parse().unwrap())
            .into_iter()
            .filter(|address: &IpAddr| std::net::UdpSocket::bind((*address, 0)).is_ok())
    }

    #[test]
    fn a_stream_with_a_source_takes_no_port_before_it_connects() {
        for address in loopback() {
            let open = |asked: &Asked<'_>| open(asked, Type::STREAM, Some(Protocol::TCP));
            let socket = asking((address, 9).into(), Some(address), open).unwrap();
            let own = socket.local_addr().unwrap().as_socket();
            assert_eq!(own, Some((address, 0).into()));
        }
    }

    #[test]
    fn what_the_node_lacks_to_bind_is_not_held_against_the_target() {
        let stop = |code| unbound(io::Error::from_raw_os_error(code));
        assert_eq!(stop(libc::EADDRINUSE), Stop::Lack(Lack::Ports));
        assert_eq!(stop(libc::ENOMEM), Stop::Lack(Lack::Memory));
        assert_eq!(stop(libc::ENOBUFS), Stop::Lack(Lack::Memory));
        assert_eq!(stop(libc::EADDRNOTAVAIL), Failure::Source.into());
        assert_eq!(stop(libc::EACCES), Failure::Forbidden.into());
    }

    #[tokio::test]
    async fn datagrams_are_told_of_hosts_that_cannot_be_reached() {
        for address in loopback() {
            let socket = asking((address, 9).into(), None, datagrams).unwrap();
            let told = if address.is_ipv4() {
                getsockopt(&socket, sockopt::Ipv4RecvErr)
            } else {
                getsockopt(&socket, sockopt::Ipv6RecvErr)
            };
            assert_eq!(told, Ok(true), "{address}");
        }
    }

    #[tokio::test]
    async fn an_error_that_was_told_keeps_no_answer_back() {
        for address in loopback() {
            // Who talks with somebody else takes nothing from us.
            let server = std::net::UdpSocket::bind((address, 0)).unwrap();
            server.connect((address, 9)).unwrap();
            let socket = asking(server.local_addr().unwrap(), None, datagrams).unwrap();
            socket.send(b"?").await.unwrap();
            let error = socket.recv(&mut [0]).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused, "{address}");
            server.connect(socket.local_addr().unwrap()).unwrap();
            server.send(b"!").unwrap();
            assert_eq!(socket.recv(&mut [0]).await.unwrap(), 1, "{address}");
        }
    }
}
