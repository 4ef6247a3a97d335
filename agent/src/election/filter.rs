//! The classic BPF programs of the election's sockets.
//!
//! What a program drops never wakes the election thread; everything it lets through is judged again by the
//! election itself, so a program may only ever be too generous.

use std::collections::BTreeSet;
use std::net::IpAddr;

use socket2::SockFilter;
use vipkeeper_wire::Family;

/// `ldb [k]`: loads a byte, from the network header on for a SOCK_DGRAM packet socket.
const LOAD_BYTE: u16 = (libc::BPF_LD | libc::BPF_B | libc::BPF_ABS) as u16;
/// `ldxb 4*([k]&0xf)`: the length of an IPv4 header into the index register.
const LOAD_HEADER_LENGTH: u16 = (libc::BPF_LDX | libc::BPF_B | libc::BPF_MSH) as u16;
/// `ldb [x + k]`.
const LOAD_INDEXED_BYTE: u16 = (libc::BPF_LD | libc::BPF_B | libc::BPF_IND) as u16;
/// `ldx #k`: k into the index register.
const LOAD_INDEX: u16 = (libc::BPF_LDX | libc::BPF_W | libc::BPF_IMM) as u16;
/// `ld [k]`: loads four bytes, big endian.
const LOAD_WORD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
/// `and #k`.
const AND: u16 = (libc::BPF_ALU | libc::BPF_AND | libc::BPF_K) as u16;
/// `jeq #k, if_equal, otherwise`.
const JUMP_IF_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
/// `ret #k`: accepts k bytes.
const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;

/// The ancillary "byte" that is the packet's type; the kernel takes negative offsets as names.
const PACKET_TYPE: u32 = (libc::SKF_AD_OFF + libc::SKF_AD_PKTTYPE) as u32;
/// PACKET_OTHERHOST: seen only because the interface is promiscuous.
const OTHER_HOST: u32 = 3;
/// VRRP.
const VRRP: u32 = 112;
/// The authentication header, behind which VRRP may be.
const AUTHENTICATION_HEADER: u32 = 51;
/// Where a VRRP message has its priority (RFC 9568 §5.2).
const PRIORITY_OFFSET: u32 = 2;
/// The length of an IPv6 header.
const IPV6_HEADER: u32 = 40;
/// ICMPv6.
const ICMPV6: u32 = 58;
/// ICMPv6 type.
const NEIGHBOUR_ADVERTISEMENT: u32 = 136;
/// Every byte of the datagram.
const WHOLE: u32 = u32::MAX;

/// One instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    code: u16,
    if_equal: u8,
    otherwise: u8,
    k: u32,
}

/// Accepts VRRP and AH of `family` that is addressed to this host, fragments included, which the election
/// counts as malformed.
#[must_use]
pub const fn receive(family: Family) -> [Instruction; 7] {
    let protocol_offset = match family {
        Family::V4 => 9,
        Family::V6 => 6,
    };
    [
        plain(LOAD_BYTE, PACKET_TYPE),
        jump(OTHER_HOST, 4, 0),
        plain(LOAD_BYTE, protocol_offset),
        jump(VRRP, 1, 0),
        jump(AUTHENTICATION_HEADER, 0, 1),
        plain(RETURN, WHOLE),
        plain(RETURN, 0),
    ]
}

/// Accepts a byte of every VRRP message of `family`, addressed to this host, that has priority 0: an Active
/// leaves, and its Backups have Skew_Time alone.
#[must_use]
pub const fn farewell(family: Family) -> [Instruction; 9] {
    let (protocol_offset, header_length) = match family {
        Family::V4 => (9, plain(LOAD_HEADER_LENGTH, 0)),
        Family::V6 => (6, plain(LOAD_INDEX, IPV6_HEADER)),
    };
    [
        plain(LOAD_BYTE, PACKET_TYPE),
        jump(OTHER_HOST, 6, 0),
        plain(LOAD_BYTE, protocol_offset),
        jump(VRRP, 0, 4),
        header_length,
        plain(LOAD_INDEXED_BYTE, PRIORITY_OFFSET),
        jump(0, 0, 1),
        plain(RETURN, 1),
        plain(RETURN, 0),
    ]
}

/// Accepts what begins like a heartbeat, for a UDP socket, whose data begins with the UDP header.
#[must_use]
pub const fn heartbeat() -> [Instruction; 4] {
    [
        plain(LOAD_WORD, 8),
        jump(u32::from_be_bytes(*b"VKHB"), 0, 1),
        plain(RETURN, WHOLE),
        plain(RETURN, 0),
    ]
}

/// Accepts what neighbours say that have one of `addresses`, which are of one family: ARP whose sender address it
/// is, for a packet socket of ARP; neighbour advertisements whose target ends like it, for one of IPv6.
///
/// Beyond [`MOST_ADDRESSES`], accepts whatever begins with the bits that all have in common.
#[must_use]
pub fn neighbours(addresses: &BTreeSet<IpAddr>) -> Vec<Instruction> {
    let words: BTreeSet<u32> = addresses
        .iter()
        .map(|address| last_word(*address))
        .collect();
    let Some((first, last)) = words.first().zip(words.last()) else {
        return nothing().to_vec();
    };
    let mut program = match addresses.first() {
        // Network header: 40 bytes of IPv6, then ICMPv6 with its target at 8.
        Some(IpAddr::V6(_)) => vec![
            plain(LOAD_BYTE, 6),
            jump(ICMPV6, 1, 0),
            plain(RETURN, 0),
            plain(LOAD_BYTE, 40),
            jump(NEIGHBOUR_ADVERTISEMENT, 1, 0),
            plain(RETURN, 0),
            plain(LOAD_WORD, 40 + 8 + 12),
        ],
        Some(IpAddr::V4(_)) | None => vec![plain(LOAD_WORD, 14)],
    };
    if words.len() <= MOST_ADDRESSES {
        for word in &words {
            program.extend([jump(*word, 0, 1), plain(RETURN, WHOLE)]);
        }
    } else {
        // In order of value, whatever the first and the last have in common, all have.
        let mask = match (first ^ last).leading_zeros() {
            0 => 0,
            common => u32::MAX << (u32::BITS - common.min(31)),
        };
        program.push(plain(AND, mask));
        program.extend([jump(first & mask, 0, 1), plain(RETURN, WHOLE)]);
    }
    program.push(plain(RETURN, 0));
    program
}

/// How many addresses a filter names one by one: the kernel charges programs to the socket, 20 KB at most.
pub const MOST_ADDRESSES: usize = 512;

fn last_word(address: IpAddr) -> u32 {
    match address {
        IpAddr::V4(address) => address.to_bits(),
        IpAddr::V6(address) => {
            let [.., a, b, c, d] = address.octets();
            u32::from_be_bytes([a, b, c, d])
        }
    }
}

/// Accepts nothing: for sockets that only send.
#[must_use]
pub const fn nothing() -> [Instruction; 1] {
    [plain(RETURN, 0)]
}

/// `program` as a socket takes it.
#[must_use]
pub fn assemble(program: &[Instruction]) -> Vec<SockFilter> {
    program
        .iter()
        .map(|i| SockFilter::new(i.code, i.if_equal, i.otherwise, i.k))
        .collect()
}

const fn plain(code: u16, k: u32) -> Instruction {
    Instruction {
        code,
        if_equal: 0,
        otherwise: 0,
        k,
    }
}

const fn jump(k: u32, if_equal: u8, otherwise: u8) -> Instruction {
    Instruction {
        code: JUMP_IF_EQUAL,
        if_equal,
        otherwise,
        k,
    }
}

#[cfg(test)]
mod tests {
    use std::mem::MaybeUninit;

    use socket2::{Domain, Socket, Type};

    use super::*;

    const TO_US: u8 = 0;
    const MULTICAST: u8 = 2;

    #[test]
    fn vrrp_and_ah_pass_and_other_protocols_do_not() {
        for family in [Family::V4, Family::V6] {
            for protocol in 0..=255 {
                let wanted = protocol == 112 || protocol == 51;
                let datagram = datagram(family, protocol);
                let program = receive(family);
                assert_eq!(
                    interpret(&program, MULTICAST, &datagram),
                    wanted,
                    "{family} {protocol}"
                );
                assert_eq!(
                    kernel_accepts(&program, &datagram),
                    wanted,
                    "{family} {protocol} by the kernel"
                );
            }
        }
    }

    #[test]
    fn frames_for_other_hosts_are_dropped() {
        for family in [Family::V4, Family::V6] {
            let datagram = datagram(family, 112);
            assert!(interpret(&receive(family), TO_US, &datagram));
            assert!(!interpret(&receive(family), OTHER_HOST as u8, &datagram));
        }
    }

    #[test]
    fn a_datagram_that_ends_before_its_protocol_is_dropped() {
        for family in [Family::V4, Family::V6] {
            for length in 1..=6 {
                let datagram = vec![112; length];
                assert!(!interpret(&receive(family), TO_US, &datagram));
                assert!(!kernel_accepts(&receive(family), &datagram));
            }
        }
    }

    #[test]
    fn farewells_alone_ring() {
        for family in [Family::V4, Family::V6] {
            let program = farewell(family);
            for (protocol, priority) in [(112, 0), (112, 1), (112, 255), (51, 0), (17, 0)] {
                let mut bytes = datagram(family, protocol);
                let header = match family {
                    // With options: the message begins where the header says.
                    Family::V4 => {
                        bytes[0] = 0x46;
                        24
                    }
                    Family::V6 => 40,
                };
                bytes.resize(header + 8, 1);
                bytes[header + 2] = priority;
                let wanted = (protocol, priority) == (112, 0);
                assert_eq!(interpret(&program, MULTICAST, &bytes), wanted, "{family}");
                assert_eq!(
                    kernel_keeps(&program, &bytes) == Some(1),
                    wanted,
                    "{family}"
                );
                assert!(!interpret(&program, OTHER_HOST as u8, &bytes));
                bytes.truncate(header + 2);
                assert_eq!(kernel_keeps(&program, &bytes), None, "{family}");
            }
        }
    }

    #[test]
    fn a_heartbeat_begins_with_its_magic() {
        let program = heartbeat();
        assert!(kernel_accepts(&program, b"12345678VKHB...."));
        assert!(!kernel_accepts(&program, b"12345678VKHC...."));
        assert!(!kernel_accepts(&program, b"12345678VKH"));
    }

    fn arp_from(address: [u8; 4]) -> Vec<u8> {
        let mut packet = vec![0; 28];
        packet[14..18].copy_from_slice(&address);
        packet
    }

    #[test]
    fn only_arp_that_claims_one_of_the_addresses_passes() {
        let addresses = [[192, 0, 2, 100], [192, 0, 2, 101], [10, 0, 0, 1]];
        let program = neighbours(&addresses.into_iter().map(IpAddr::from).collect());
        for address in addresses {
            assert!(kernel_accepts(&program, &arp_from(address)), "{address:?}");
        }
        // Another's claim, a question about ours, a probe for ours.
        let mut question = arp_from([192, 0, 2, 7]);
        question[24..28].copy_from_slice(&addresses[0]);
        let mut probe = arp_from([0; 4]);
        probe[24..28].copy_from_slice(&addresses[0]);
        for other in [arp_from([192, 0, 2, 102]), question, probe] {
            assert!(!kernel_accepts(&program, &other));
        }
        assert!(!kernel_accepts(
            &neighbours(&BTreeSet::new()),
            &arp_from([0; 4])
        ));
    }

    #[test]
    fn only_neighbour_advertisements_of_one_of_the_addresses_pass() {
        let address: std::net::Ipv6Addr = "2001:db8::100".parse().unwrap();
        let program = neighbours(&[IpAddr::V6(address)].into());
        let message = |kind: u8, target: &str| {
            let mut datagram = vec![0; 64];
            (datagram[6], datagram[40]) = (58, kind);
            let target: std::net::Ipv6Addr = target.parse().unwrap();
            datagram[48..64].copy_from_slice(&target.octets());
            datagram
        };
        assert!(kernel_accepts(&program, &message(136, "2001:db8::100")));
        assert!(!kernel_accepts(&program, &message(135, "2001:db8::100")));
        assert!(!kernel_accepts(&program, &message(136, "2001:db8::101")));
        let mut other = message(136, "2001:db8::100");
        other[6] = 17;
        assert!(!kernel_accepts(&program, &other));
    }

    #[test]
    fn many_addresses_are_told_by_what_they_have_in_common() {
        for count in [MOST_ADDRESSES, MOST_ADDRESSES + 1, 65_536] {
            let addresses: BTreeSet<IpAddr> = (0..count as u32)
                .map(|i| std::net::Ipv4Addr::from_bits(0x0a01_0000 + i).into())
                .collect();
            let program = neighbours(&addresses);
            assert!(program.len() < 4_096);
            for host in [0, 255, count - 1] {
                let [a, b] = (host as u16).to_be_bytes();
                assert!(
                    kernel_accepts(&program, &arp_from([10, 1, a, b])),
                    "{count}"
                );
            }
            assert!(
                !kernel_accepts(&program, &arp_from([10, 2, 0, 0])),
                "{count}"
            );
        }
    }

    #[test]
    fn a_sending_socket_queues_nothing() {
        assert!(!kernel_accepts(&nothing(), &datagram(Family::V4, 112)));
    }

    fn datagram(family: Family, protocol: u8) -> Vec<u8> {
        let mut bytes = vec![0; 40];
        match family {
            Family::V4 => bytes[9] = protocol,
            Family::V6 => bytes[6] = protocol,
        }
        bytes
    }

    /// What the kernel makes of `program`: a Unix socket runs its filter on what is sent to it, with the data at
    /// offset 0 as in a SOCK_DGRAM packet socket, and packet type 0. The queue is filled when `send` returns.
    fn kernel_accepts(program: &[Instruction], datagram: &[u8]) -> bool {
        kernel_keeps(program, datagram) == Some(datagram.len())
    }

    /// How many bytes the kernel lets through.
    fn kernel_keeps(program: &[Instruction], datagram: &[u8]) -> Option<usize> {
        let (ours, theirs) = Socket::pair(Domain::UNIX, Type::DGRAM, None).unwrap();
        theirs.attach_filter(&assemble(program)).unwrap();
        theirs.set_nonblocking(true).unwrap();
        ours.send(datagram).unwrap();
        let mut buffer = [MaybeUninit::uninit(); 128];
        theirs.recv(&mut buffer).ok()
    }

    /// Runs the instructions that our programs are made of.
    fn interpret(program: &[Instruction], packet_type: u8, data: &[u8]) -> bool {
        let (mut next, mut accumulator, mut index) = (0, 0, 0);
        loop {
            let instruction = program[next];
            next += 1;
            match instruction.code {
                LOAD_BYTE if instruction.k == PACKET_TYPE => accumulator = u32::from(packet_type),
                // The kernel drops what ends before the byte.
                LOAD_BYTE => match data.get(instruction.k as usize) {
                    Some(byte) => accumulator = u32::from(*byte),
                    None => return false,
                },
                LOAD_INDEXED_BYTE => match data.get((index + instruction.k) as usize) {
                    Some(byte) => accumulator = u32::from(*byte),
                    None => return false,
                },
                LOAD_HEADER_LENGTH => index = u32::from(data[instruction.k as usize] & 0xf) * 4,
                LOAD_INDEX => index = instruction.k,
                JUMP_IF_EQUAL if accumulator == instruction.k => {
                    next += usize::from(instruction.if_equal);
                }
                JUMP_IF_EQUAL => next += usize::from(instruction.otherwise),
                RETURN => return instruction.k > 0,
                other => panic!("instruction {other:#x} is not ours"),
            }
        }
    }
}
