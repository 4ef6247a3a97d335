//! Requests to rtnetlink and their answers, by a blocking socket; for the network thread and the monitor, each
//! with a socket of its own.
//!
//! Knows the framing alone: what is asked, and what the answers mean, is the caller's.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "netlink messages are an open set: what we did not ask for does not concern us"
)]

use std::io;
use std::time::Duration;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use nix::errno::Errno;
use socket2::SockRef;

/// A message with its header.
pub type Message = NetlinkMessage<RouteNetlinkMessage>;

/// Requests of one system call. Their answers, some 800 bytes each in the kernel's accounting, fit into any
/// receive buffer.
const BATCH: usize = 64;
/// What one read can bring: more than the kernel puts into one message of a dump.
pub const BUFFER: usize = 64 << 10;
/// The kernel answers before `send` returns; after this long an answer is lost.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often a list is asked for that changes while it is read.
const ATTEMPTS: usize = 8;
/// Bytes of a message's header.
const HEADER: usize = 16;

/// A request/answer socket of NETLINK_ROUTE.
pub struct Connection {
    socket: Socket,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Connection {
    /// Opens a socket.
    ///
    /// # Errors
    /// If the kernel has none for us.
    pub fn open() -> io::Result<Self> {
        let socket = open(NETLINK_ROUTE, PATIENCE)?;
        // Dumps only of what was asked for.
        socket.set_netlink_get_strict_chk(true)?;
        Ok(Self {
            socket,
            sequence: 0,
            buffer: Vec::with_capacity(BUFFER),
        })
    }

    /// Carries out `requests`, each with its flags beside REQUEST and ACK, in their order; gives the outcome of
    /// each.
    ///
    /// # Errors
    /// If the kernel cannot be asked or does not answer; some requests may have been carried out.
    pub fn transact(
        &mut self,
        requests: Vec<(u16, RouteNetlinkMessage)>,
    ) -> io::Result<Vec<Result<(), Errno>>> {
        let mut outcomes = Vec::with_capacity(requests.len());
        let mut requests = requests.into_iter().peekable();
        while requests.peek().is_some() {
            outcomes.extend(self.transact_batch(requests.by_ref().take(BATCH).collect())?);
        }
        Ok(outcomes)
    }

    /// Everything of the kind that `request` names, as it was at one moment.
    ///
    /// # Errors
    /// If the kernel cannot be asked or refuses, or if there is no such moment because things change all the time.
    pub fn dump(&mut self, request: RouteNetlinkMessage) -> io::Result<Vec<RouteNetlinkMessage>> {
        for _ in 0..ATTEMPTS {
            if let Some(entries) = self.dump_once(request.clone())? {
                return Ok(entries);
            }
        }
        Err(io::Error::other("the list changes while it is read"))
    }

    /// The one answer to `request`.
    ///
    /// # Errors
    /// If the kernel cannot be asked or has none.
    pub fn get(&mut self, request: RouteNetlinkMessage) -> io::Result<RouteNetlinkMessage> {
        let number = self.send(vec![(0, request)])?;
        let mut answer = None;
        while answer.is_none() {
            self.read(|message| {
                if message.header.sequence_number == number {
                    match message.payload {
                        NetlinkPayload::InnerMessage(entry) => answer = Some(Ok(entry)),
                        NetlinkPayload::Error(error) => answer = Some(Err(error.to_io())),
                        _ => {}
                    }
                }
            })?;
        }
        answer.unwrap_or_else(|| Err(io::ErrorKind::NotFound.into()))
    }

    /// `None` if things changed meanwhile: entries may be missing.
    fn dump_once(
        &mut self,
        request: RouteNetlinkMessage,
    ) -> io::Result<Option<Vec<RouteNetlinkMessage>>> {
        let number = self.send(vec![(NLM_F_DUMP, request)])?;
        let mut entries = Vec::new();
        let mut interrupted = false;
        let mut outcome = None;
        while outcome.is_none() {
            self.read(|message| {
                if message.header.sequence_number != number {
                    return;
                }
                interrupted |= message.header.flags & NLM_F_DUMP_INTR != 0;
                match message.payload {
                    NetlinkPayload::InnerMessage(entry) => entries.push(entry),
                    NetlinkPayload::Done(_) => outcome = Some(Ok(())),
                    NetlinkPayload::Error(error) => outcome = Some(Err(error.to_io())),
                    _ => {}
                }
            })?;
        }
        outcome.unwrap_or(Ok(()))?;
        Ok((!interrupted).then_some(entries))
    }

    fn transact_batch(
        &mut self,
        requests: Vec<(u16, RouteNetlinkMessage)>,
    ) -> io::Result<Vec<Result<(), Errno>>> {
        let mut outcomes: Vec<Option<Result<(), Errno>>> = vec![None; requests.len()];
        let requests = requests
            .into_iter()
            .map(|(flags, payload)| (flags | NLM_F_ACK, payload));
        let first = self.send(requests.collect())?;
        while outcomes.iter().any(Option::is_none) {
            self.read(|message| {
                let index = message.header.sequence_number.wrapping_sub(first) as usize;
                if let (Some(slot), NetlinkPayload::Error(error)) =
                    (outcomes.get_mut(index), &message.payload)
                {
                    *slot = Some(match error.raw_code() {
                        0 => Ok(()),
                        code => Err(Errno::from_raw(code.saturating_neg())),
                    });
                }
            })?;
        }
        Ok(outcomes.into_iter().flatten().collect())
    }

    /// Sends `requests` by one system call, each with a number of its own; gives the first number.
    fn send(&mut self, requests: Vec<(u16, RouteNetlinkMessage)>) -> io::Result<u32> {
        let first = self.sequence.wrapping_add(1);
        let mut bytes = Vec::with_capacity(BUFFER);
        for (flags, payload) in requests {
            self.sequence = self.sequence.wrapping_add(1);
            let mut message = NetlinkMessage::from(payload);
            message.header.flags = NLM_F_REQUEST | flags;
            message.header.sequence_number = self.sequence;
            message.finalize();
            let start = bytes.len();
            bytes.resize(start + message.buffer_len(), 0);
            message.serialize(bytes.get_mut(start..).unwrap_or_default());
        }
        retry(|| self.socket.send(&bytes, 0))?;
        Ok(first)
    }

    /// Reads once and hands every message to `each`.
    fn read(&mut self, mut each: impl FnMut(Message)) -> io::Result<()> {
        receive(&self.socket, &mut self.buffer)?;
        // What the crate cannot read is of a newer kernel, and nothing we know how to use.
        for bytes in messages(&self.buffer) {
            if let Ok(message) = Message::deserialize(bytes) {
                each(message);
            }
        }
        Ok(())
    }
}

/// A socket of `protocol` that is connected to the kernel, for requests and their answers; after `patience` an answer is
/// lost.
///
/// # Errors
/// If the kernel has none for us.
pub fn open(protocol: isize, patience: Duration) -> io::Result<Socket> {
    let mut socket = Socket::new(protocol)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    // Answers without the request, which we know.
    socket.set_cap_ack(true)?;
    SockRef::from(&socket).set_read_timeout(Some(patience))?;
    Ok(socket)
}

/// Reads once into `buffer`, which holds nothing else afterwards.
///
/// # Errors
/// If the kernel does not answer, or lost what it said.
pub fn receive(socket: &Socket, buffer: &mut Vec<u8>) -> io::Result<()> {
    retry(|| {
        buffer.clear();
        socket.recv(buffer, 0)
    })
    .map(drop)
}

/// The messages that `bytes` holds, one after the other, each with its header.
pub fn messages(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let length = u32::from_ne_bytes(*rest.first_chunk::<4>()?) as usize;
        let message = rest.get(..length).filter(|_| length >= HEADER)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(message)
    })
}

/// The type of `message`, which has its header.
#[must_use]
pub fn message_type(message: &[u8]) -> u16 {
    match message {
        [_, _, _, _, low, high, ..] => u16::from_ne_bytes([*low, *high]),
        _ => 0,
    }
}

/// Calls `operation` until no signal interrupts it.
///
/// # Errors
/// Those of `operation`, but EINTR.
pub fn retry<T>(mut operation: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match operation() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            outcome => return outcome,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message(length: u32, kind: u16, bytes: usize) -> Vec<u8> {
        let mut message = vec![0; bytes];
        message[..4].copy_from_slice(&length.to_ne_bytes());
        message[4..6].copy_from_slice(&kind.to_ne_bytes());
        message
    }

    #[test]
    fn messages_are_found_behind_their_padding() {
        // 17 bytes are padded to 20.
        let bytes = [message(17, 20, 20), message(16, 3, 16)].concat();
        let kinds: Vec<_> = messages(&bytes).map(message_type).collect();
        assert_eq!(kinds, [20, 3]);
    }

    #[test]
    fn a_length_that_lies_ends_the_messages() {
        for length in [0, 15, 21, u32::MAX] {
            assert_eq!(messages(&message(length, 20, 20)).count(), 0, "{length}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_framing_panic(bytes in any::<Vec<u8>>()) {
            let total: usize = messages(&bytes).map(<[u8]>::len).sum();
            prop_assert!(total <= bytes.len());
        }
    }
}
