//! Ping: ICMP echo, of either family (RFC 792, RFC 4443 §4).
//!
//! Owns the messages. A socket without privileges where the kernel's `ping_group_range` allows it, else a raw one.

use std::net::IpAddr;

use socket2::{Protocol, Type};
use tokio::net::UdpSocket;

use super::engine::Asked;
use super::outcome::{Answer, Failure, Stage, Stop};
use super::socket;

/// Of an echo: type, code, checksum, identifier, sequence number, and the nonce.
const LENGTH: usize = 16;
/// The longest answer that is looked at: an IPv4 header with options, and an echo.
const LONGEST: usize = 60 + LENGTH;

pub(super) async fn ask(asked: &Asked<'_>) -> Answer {
    let (socket, header) = open(asked)?;
    let echo = Echo {
        ipv6: asked.address.is_ipv6(),
        nonce: asked.nonce,
    };
    asked.progress.reach(Stage::Waiting);
    socket.send(&echo.request()).await?;
    let mut message = [0; LONGEST];
    loop {
        let length = socket.recv(&mut message).await?;
        let message = message.get(..length).unwrap_or_default();
        let message = if header { payload(message) } else { message };
        if echo.is_answered_by(message) {
            return Ok(None);
        }
    }
}

/// A socket to the target, and whether an IPv4 header precedes what it receives.
fn open(asked: &Asked<'_>) -> Result<(UdpSocket, bool), Stop> {
    let protocol = match asked.address.ip() {
        IpAddr::V4(_) => Protocol::ICMPV4,
        IpAddr::V6(_) => Protocol::ICMPV6,
    };
    let (socket, raw) = match socket::open(asked, Type::DGRAM, Some(protocol)) {
        Err(Stop::Failure(Failure::Forbidden)) => {
            (socket::open(asked, Type::RAW, Some(protocol))?, true)
        }
        outcome => (outcome?, false),
    };
    // From then on it receives what comes from there alone.
    socket.connect(&asked.address.into())?;
    // For reading and writing any connected socket of datagrams is like another.
    let socket = UdpSocket::from_std(socket.into())?;
    Ok((socket, raw && asked.address.is_ipv4()))
}

struct Echo {
    ipv6: bool,
    nonce: u64,
}

impl Echo {
    fn request(&self) -> [u8; LENGTH] {
        let kind = if self.ipv6 { 128 } else { 8 };
        let mut message = self.message(kind);
        // For ICMPv6 the kernel knows the addresses that belong in the sum, and makes it.
        if !self.ipv6 {
            let [high, low] = checksum(&message).to_be_bytes();
            message[2] = high;
            message[3] = low;
        }
        message
    }

    /// Without a checksum. The nonce is also the identifier and the number, which a socket without privileges replaces.
    fn message(&self, kind: u8) -> [u8; LENGTH] {
        let [a, b, c, d, e, f, g, h] = self.nonce.to_be_bytes();
        [kind, 0, 0, 0, a, b, c, d, a, b, c, d, e, f, g, h]
    }

    fn is_answered_by(&self, message: &[u8]) -> bool {
        let kind = if self.ipv6 { 129 } else { 0 };
        message.first() == Some(&kind)
            && message.get(1) == Some(&0)
            && message.get(8..) == self.message(kind).get(8..)
    }
}

/// What follows the IPv4 header.
fn payload(packet: &[u8]) -> &[u8] {
    let length = packet
        .first()
        .map_or(0, |first| usize::from(first & 0x0f) * 4);
    packet.get(length..).unwrap_or_default()
}

/// The sum of RFC 1071.
fn checksum(message: &[u8; LENGTH]) -> u16 {
    let words = message.chunks_exact(2).map(|pair| match pair {
        [high, low] => u32::from(u16::from_be_bytes([*high, *low])),
        _ => 0,
    });
    let sum: u32 = words.sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let folded = (folded & 0xffff) + (folded >> 16);
    !(folded as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ECHO: Echo = Echo {
        ipv6: false,
        nonce: 0x0001_0203_0405_0607,
    };

    #[test]
    fn an_echo_request_is_as_rfc_792_lays_it_out() {
        // The words but the sum: 0800 0001 0203 0001 0203 0405 0607 make 0x1213 + 0x0407.
        let request = ECHO.request();
        let words = request
            .chunks_exact(2)
            .map(|w| u32::from(w[0]) << 8 | u32::from(w[1]));
        assert_eq!(words.sum::<u32>(), 0xffff);
        assert_eq!(request[..2], [8, 0]);
        assert_eq!(request[4..], [0, 1, 2, 3, 0, 1, 2, 3, 4, 5, 6, 7]);
    }

    #[test]
    fn only_the_reply_to_this_request_is_an_answer() {
        let mut reply = ECHO.request();
        assert!(!ECHO.is_answered_by(&reply), "its own request");
        reply[0] = 0;
        assert!(ECHO.is_answered_by(&reply));
        reply[4] = 0xff;
        assert!(ECHO.is_answered_by(&reply), "with the kernel's identifier");
        reply[15] ^= 1;
        assert!(!ECHO.is_answered_by(&reply), "of another");
        assert!(!ECHO.is_answered_by(&reply[..12]));
    }

    #[test]
    fn a_header_ends_where_it_says() {
        let mut packet = vec![0x46; 24];
        packet.extend([1, 2]);
        assert_eq!(payload(&packet), [1, 2]);
        assert_eq!(payload(&[0x4f]), [0; 0]);
        assert_eq!(payload(&[]), [0; 0]);
    }
}
