//! The classic BPF programs of the election's sockets.
//!
//! What a program drops never wakes the election thread; everything it lets through is judged again by the
//! election itself, so a program may only ever be too generous.

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
