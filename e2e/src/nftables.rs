//! Tables of `vipkeeper-nft` in the kernel: put there, read back and removed through a netlink socket of the namespace.
//!
//! Owns the socket. Never says what a table does, and takes no table away by itself: namespaces go with what they have.

use std::os::fd::{AsRawFd, OwnedFd};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, setsockopt, socket,
    sockopt,
};
use nix::sys::time::TimeVal;
use vipkeeper_nft::{Answer, Batch, Content, Observation, Question, Table, answers};

use crate::namespace::Namespace;

/// Room for a batch, which must be one datagram.
const BATCH: usize = 4 << 20;
/// The kernel answers within the call that asks; what has not come by then never will.
const PATIENCE: TimeVal = TimeVal::new(5, 0);

/// Netlink's nftables of a namespace.
#[derive(Debug)]
pub struct Nftables {
    socket: OwnedFd,
}

impl Nftables {
    /// Those of `namespace`.
    ///
    /// # Errors
    /// When the kernel has none.
    pub fn of(namespace: &Namespace) -> Result<Self> {
        let socket = namespace.run(|| {
            let (family, kind) = (AddressFamily::Netlink, SockType::Raw);
            let protocol = SockProtocol::NetlinkNetFilter;
            Ok(socket(family, kind, SockFlag::SOCK_CLOEXEC, protocol)?)
        })?;
        setsockopt(&socket, sockopt::SndBufForce, &BATCH)?;
        setsockopt(&socket, sockopt::ReceiveTimeout, &PATIENCE)?;
        Ok(Self { socket })
    }

    /// Puts `table` in the place of the one with its name.
    ///
    /// # Errors
    /// When the kernel refuses it, with what it says.
    pub fn put(&self, table: &Table) -> Result<()> {
        self.apply(Batch::replacement(table, 1))
    }

    /// Removes the table with the name of `table`.
    ///
    /// # Errors
    /// When the kernel refuses, with what it says.
    pub fn remove(&self, table: &Table) -> Result<()> {
        self.apply(Batch::removal(table.name(), 1))
    }

    /// What the kernel has of `table`.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn observe(&self, table: &Table) -> Result<Observation> {
        let mut observation = Observation::new(table.name().clone());
        for question in table.questions() {
            self.ask(&question, |answer| observation.take(answer))?;
        }
        Ok(observation)
    }

    /// The number of the namespace's ruleset.
    ///
    /// # Errors
    /// When the kernel does not answer.
    pub fn generation(&self) -> Result<u32> {
        let mut generation = None;
        self.ask(&Question::Generation, |answer| {
            if let Ok(Content::Generation(id)) = answer.content {
                generation = Some(id);
            }
        })?;
        generation.context("no generation")
    }

    fn apply(&self, mut batch: Batch) -> Result<()> {
        self.send(batch.bytes())?;
        loop {
            for answer in answers(&self.receive()?) {
                if let Some(end) = batch.take(&answer?) {
                    return Ok(end?);
                }
            }
        }
    }

    fn ask(&self, question: &Question, mut take: impl FnMut(Answer)) -> Result<()> {
        let mut bytes = Vec::new();
        question.emit(1, &mut bytes);
        self.send(&bytes)?;
        loop {
            for answer in answers(&self.receive()?) {
                let answer = answer?;
                ensure!(!answer.interrupted, "a dump was interrupted");
                match &answer.content {
                    Ok(Content::Acknowledged | Content::Done | Content::Refused(_)) => {
                        return Ok(());
                    }
                    Ok(Content::Generation(_) | Content::Observed(_)) => take(answer),
                    Ok(Content::Other { kind }) => bail!("an answer of the type {kind}"),
                    Err(error) => bail!("an answer that makes no sense: {error}"),
                }
            }
        }
    }

    fn send(&self, bytes: &[u8]) -> Result<()> {
        let sent = send(self.socket.as_raw_fd(), bytes, MsgFlags::empty())?;
        ensure!(
            sent == bytes.len(),
            "{sent} of {} bytes are sent",
            bytes.len()
        );
        Ok(())
    }

    fn receive(&self) -> Result<Vec<u8>> {
        let mut bytes = vec![0; 1 << 17];
        let length = recv(self.socket.as_raw_fd(), &mut bytes, MsgFlags::empty())
            .context("an answer of nftables")?;
        bytes.truncate(length);
        Ok(bytes)
    }
}
