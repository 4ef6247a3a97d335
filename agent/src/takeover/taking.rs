//! The new process's side: asks, looks at what it is given, and goes on with it.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::mem::ManuallyDrop;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail, ensure};
use vipkeeper_vrrp::{Election, Fact};

use super::channel::Channel;
use super::estate::{Estate, LinkEstate};
use super::{PATH, PATIENCE, PROTOCOL, Word};
use crate::clock;
use crate::election::link::SOCKETS;
use crate::election::{Link, Stillness};
use crate::network::ledger::{Identity, Ledger};
use crate::network::{self};

/// The longest head of an answer.
const MOST_HEAD: usize = 4 << 10;

/// Who asks.
#[derive(Clone, Debug)]
pub struct Heir {
    /// `--node`.
    pub node: String,
    /// `--listen`.
    pub listen: String,
    /// Boot, network namespace, instance.
    pub identity: Identity,
    /// The lock files of the state directory and the run directory.
    pub locks: [PathBuf; 2],
    /// The ledger's file.
    pub ledger: PathBuf,
}

/// What came of asking.
#[derive(Debug)]
pub enum Answer {
    /// Everything is here; the other process stands still and waits.
    Offer(Box<Offer>),
    /// It leaves in the ordinary way.
    Leaves(String),
    /// Not now.
    NotNow(anyhow::Error),
}

/// An estate that may be had.
#[derive(Debug)]
pub struct Offer {
    channel: Channel,
    limit: Duration,
    inheritance: Inheritance,
}

/// An estate that is ours, once it was accepted.
#[derive(Debug)]
pub struct Inheritance {
    /// What the election thread goes on with.
    pub still: Stillness,
    /// What the election has not read yet.
    pub answers: Vec<Fact>,
    /// What the network thread begins with.
    pub ledger: Ledger,
    /// And what it holds.
    pub network: network::Frozen,
    /// Of the state directory and the run directory.
    pub locks: [File; 2],
    /// What `--listen` listens with, if it is the same `--listen`.
    pub listener: Option<OwnedFd>,
}

/// The other process waits for our first turn, and takes it for our death if this is closed before. So it is closed
/// by the end of the process alone, until [`confirm`](Self::confirm).
#[derive(Debug)]
pub struct Confirmation(ManuallyDrop<Channel>);

/// Asks the process behind `socket` for everything it has. Blocks.
#[must_use]
pub fn ask(socket: &Path, heir: &Heir) -> Answer {
    match request(socket) {
        Ok(Response::Switched(stream)) => receive(stream, heir),
        Ok(Response::OtherProtocol(theirs)) => {
            Answer::Leaves(format!("it speaks {theirs}, not {PROTOCOL}"))
        }
        Err(error) => Answer::NotNow(error),
    }
}

enum Response {
    Switched(UnixStream),
    OtherProtocol(String),
}

fn request(socket: &Path) -> anyhow::Result<Response> {
    let mut stream = UnixStream::connect(socket).with_context(|| socket.display().to_string())?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    write!(
        stream,
        "POST {PATH} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\nconnection: upgrade\r\nupgrade: {PROTOCOL}\r\n\r\n"
    )?;
    let head = head(&mut stream).context("no answer")?;
    let status = head.split(' ').nth(1).unwrap_or_default();
    match status {
        "101" => Ok(Response::Switched(stream)),
        "426" => {
            let mut lines = head.lines();
            let theirs = lines.find_map(|line| line.strip_prefix("upgrade: "));
            Ok(Response::OtherProtocol(
                theirs.unwrap_or("another protocol").to_owned(),
            ))
        }
        _ => bail!("it answers {:?}", head.lines().next().unwrap_or_default()),
    }
}

/// The head of an answer, and not a byte more: descriptors would be lost with it.
fn head(stream: &mut UnixStream) -> anyhow::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.extend(byte);
        ensure!(head.len() <= MOST_HEAD, "an endless answer");
    }
    Ok(String::from_utf8(head)?)
}

fn receive(stream: UnixStream, heir: &Heir) -> Answer {
    let mut channel = match Channel::new(stream) {
        Ok(channel) => channel,
        Err(error) => return Answer::NotNow(error.into()),
    };
    match offer(&mut channel, heir) {
        Ok((limit, inheritance)) => Answer::Offer(Box::new(Offer {
            channel,
            limit,
            inheritance,
        })),
        Err(error) => {
            let leave = error.is::<serde_json::Error>();
            let reason = format!("{error:#}");
            say_no(&mut channel, reason.clone(), leave);
            if leave {
                Answer::Leaves(reason)
            } else {
                Answer::NotNow(error)
            }
        }
    }
}

fn offer(channel: &mut Channel, heir: &Heir) -> anyhow::Result<(Duration, Inheritance)> {
    let until = clock::now() + PATIENCE;
    channel.send(&Word::Begin, until)?;
    // Its search for a good moment is in this.
    let until = clock::now() + PATIENCE.saturating_mul(4);
    let estate: Estate<Election> = channel.receive(until)?;
    let descriptors = channel.receive_descriptors(estate.descriptors(), until)?;
    let limit = estate.limit;
    Ok((limit, inherit(estate, descriptors, heir)?))
}

/// Whether the estate is that of `heir`'s instance, and what it is.
fn inherit(
    estate: Estate<Election>,
    descriptors: Vec<OwnedFd>,
    heir: &Heir,
) -> anyhow::Result<Inheritance> {
    ensure!(
        estate.node == heir.node,
        "it is node {}, this is node {}",
        estate.node,
        heir.node
    );
    let ledger = Ledger::take_over(
        heir.ledger.clone(),
        heir.identity.clone(),
        &estate.network.ledger,
    )
    .context("its ledger")?;
    let mut descriptors = descriptors.into_iter();
    let mut next = || descriptors.next().context("too few descriptors");
    let locks = [File::from(next()?), File::from(next()?)];
    for (lock, path) in locks.iter().zip(&heir.locks) {
        ensure!(
            is_same(lock, path)?,
            "its lock is not {}: it has other directories",
            path.display()
        );
    }
    let listener = next()?;
    let links = estate.links.into_iter().map(|LinkEstate { key, groups }| {
        let sockets: Vec<_> = std::iter::repeat_with(&mut next)
            .take(SOCKETS)
            .collect::<Result<_, _>>()?;
        let sockets = <[OwnedFd; SOCKETS]>::try_from(sockets);
        let sockets = sockets.map_err(|_| anyhow!("too few sockets"))?;
        anyhow::Ok(Arc::new(Link::take_over(key, groups, sockets)))
    });
    Ok(Inheritance {
        still: Stillness {
            election: estate.election,
            links: links.collect::<Result<_, _>>()?,
            last_wake: estate.last_wake,
        },
        answers: estate.answers,
        ledger,
        network: estate.network,
        locks,
        listener: (estate.listen == heir.listen).then_some(listener),
    })
}

fn is_same(file: &File, path: &Path) -> anyhow::Result<bool> {
    let of = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
    Ok(of(file.metadata()?) == of(fs::metadata(path)?))
}

fn say_no(channel: &mut Channel, reason: String, leave: bool) {
    // One that does not hear it takes our silence for it.
    let until = clock::now() + PATIENCE;
    channel.send(&Word::No { reason, leave }, until).ok();
}

impl Offer {
    /// What it consists of.
    #[must_use]
    pub const fn inheritance(&self) -> &Inheritance {
        &self.inheritance
    }

    /// Leaves it to the other process, for `reason`.
    pub fn refuse(mut self, reason: &str) {
        say_no(&mut self.channel, reason.to_owned(), false);
    }

    /// Takes it: when this returns it, nobody else has it any more. Blocks.
    ///
    /// # Errors
    /// If the other process keeps it.
    pub fn accept(mut self) -> anyhow::Result<(Inheritance, Confirmation)> {
        let until = clock::now() + self.limit + PATIENCE;
        self.channel.send(&Word::Ready, until)?;
        self.channel.expect(&Word::Go, until)?;
        let confirmation = Confirmation(ManuallyDrop::new(self.channel));
        Ok((self.inheritance, confirmation))
    }
}

impl Confirmation {
    /// The election has had its first turn: the other process may end.
    pub fn confirm(mut self) {
        // One that is gone needs no word.
        self.0.send(&Word::Running, clock::now() + PATIENCE).ok();
        drop(ManuallyDrop::into_inner(self.0));
    }
}
