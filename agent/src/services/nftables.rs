//! The real nftables, by a blocking socket of nfnetlink.
//!
//! Knows the exchange alone: the bytes are `vipkeeper-nft`'s.

use std::io;

use netlink_sys::{Socket, protocols::NETLINK_NETFILTER};
use nix::errno::Errno;
use nix::sys::socket::{setsockopt, sockopt};
use vipkeeper_nft::{
    Answer, Batch, Content, Difference, Observation, Question, Table, TableName, answers,
};

use super::firewall::Nftables;
use super::kernel::Unavailable;
use super::netlink::Netlink;
use super::socket::{self, Connect};
use crate::netlink::{BUFFER, receive, retry};

/// A batch is one datagram, and so long at most: some 100,000 addresses and ports.
const LONGEST_BATCH: usize = 8 << 20;
/// How often the table is asked for that changes while it is read.
const ATTEMPTS: usize = 8;

impl Nftables for Netlink {
    fn generation(&mut self) -> Result<u32, Unavailable> {
        self.nftables.with(Connection::generation)
    }

    fn compare(&mut self, table: &Table) -> Result<Option<Difference>, Unavailable> {
        self.nftables.with(|connection| connection.compare(table))
    }

    fn replace(&mut self, table: &Table) -> Result<(), Unavailable> {
        self.nftables.with(|connection| {
            let batch = Batch::replacement(table, connection.sequence);
            connection.carry_out(batch)
        })
    }

    fn remove(&mut self, name: &TableName) -> Result<(), Unavailable> {
        self.nftables.with(|connection| {
            let batch = Batch::removal(name, connection.sequence);
            connection.carry_out(batch)
        })
    }
}

/// A conversation with it.
pub(super) struct Connection {
    socket: Socket,
    sequence: u32,
    buffer: Vec<u8>,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").finish_non_exhaustive()
    }
}

impl Connect for Connection {
    fn connect() -> Result<Self, Unavailable> {
        let socket = socket::open(NETLINK_NETFILTER)?;
        // Without CAP_NET_ADMIN the first message says it better.
        setsockopt(&socket, sockopt::SndBufForce, &LONGEST_BATCH).ok();
        Ok(Self {
            socket,
            sequence: 1,
            buffer: Vec::with_capacity(BUFFER),
        })
    }
}

impl Connection {
    fn generation(&mut self) -> Result<u32, Unavailable> {
        let mut generation = None;
        self.ask(&Question::Generation, |answer| {
            if let Ok(Content::Generation(number)) = answer.content {
                generation = Some(number);
            }
        })?;
        let absent = || io::Error::other("the kernel does not say the number of its rules");
        generation.ok_or_else(|| absent().into())
    }

    fn compare(&mut self, table: &Table) -> Result<Option<Difference>, Unavailable> {
        for _ in 0..ATTEMPTS {
            let mut observation = Observation::new(table.name().clone());
            let mut is_interrupted = false;
            for question in table.questions() {
                self.ask(&question, |answer| {
                    is_interrupted |= answer.interrupted;
                    observation.take(answer);
                })?;
            }
            if !is_interrupted {
                return Ok(table.compare(&observation).err());
            }
        }
        Err(io::Error::other("the table changes while it is read").into())
    }

    /// Asks `question` and hands every answer to `each`.
    fn ask(
        &mut self,
        question: &Question,
        mut each: impl FnMut(Answer),
    ) -> Result<(), Unavailable> {
        let number = self.sequence;
        self.sequence = self.sequence.wrapping_add(1);
        let mut message = Vec::new();
        question.emit(number, &mut message);
        retry(|| self.socket.send(&message, 0))?;
        let mut outcome = None;
        while outcome.is_none() {
            self.receive(|answer| {
                if answer.sequence != number {
                    return;
                }
                match &answer.content {
                    Ok(Content::Acknowledged | Content::Done) => outcome = Some(Ok(())),
                    Ok(Content::Refused(refusal)) => outcome = Some(Err(refusal.clone())),
                    Ok(Content::Generation(_) | Content::Observed(_) | Content::Other { .. })
                    | Err(_) => {}
                }
                each(answer);
            })?;
        }
        match outcome {
            // What was asked for does not exist: that is the answer.
            Some(Err(refusal)) if refusal.errno.0 != Errno::ENOENT as i32 => {
                Err(Unavailable::Refused((&refusal).into()))
            }
            Some(_) | None => Ok(()),
        }
    }

    fn carry_out(&mut self, mut batch: Batch) -> Result<(), Unavailable> {
        self.sequence = batch.next_sequence();
        retry(|| self.socket.send(batch.bytes(), 0))?;
        let mut outcome = None;
        while outcome.is_none() {
            self.receive(|answer| {
                if outcome.is_none() {
                    outcome = batch.take(&answer);
                }
            })?;
        }
        match outcome {
            Some(Err(refusal)) => Err(Unavailable::Refused((&refusal).into())),
            Some(Ok(())) | None => Ok(()),
        }
    }

    /// Reads once and hands every message to `each`.
    fn receive(&mut self, each: impl FnMut(Answer)) -> io::Result<()> {
        receive(&self.socket, &mut self.buffer)?;
        answers(&self.buffer).flatten().for_each(each);
        Ok(())
    }
}
