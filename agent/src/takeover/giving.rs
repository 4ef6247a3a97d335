//! The old process's side: stands still, hands over, and leaves; or goes on as if nothing had been.

use std::fs::File;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::timeout;
use vipkeeper_vrrp::{Fact, Time};

use super::channel::{Channel, HungUp};
use super::estate::{Estate, LinkEstate};
use super::{PATIENCE, Word};
use crate::clock;
use crate::election::{Order, Ports, Stillness};
use crate::network;

/// How long a process without any router may stand still: nobody waits for it.
const NO_INTERVAL: Duration = Duration::from_secs(1);
/// How much longer than the limit the first turn of the new process may take.
const FIRST_TURN: Duration = Duration::from_secs(1);

/// What is given besides what the threads have.
pub struct Assets {
    /// `--node`.
    pub node: String,
    /// `--listen`.
    pub listen: String,
    /// The threads' channels.
    pub ports: Arc<Ports>,
    /// Of the state directory and the run directory.
    pub locks: [File; 2],
    /// What `--listen` listens with.
    pub listener: OwnedFd,
}

/// How it ended.
#[derive(Debug)]
pub enum Outcome {
    /// The new process runs. This one has nothing any more and must end at once.
    Given,
    /// This process goes on.
    Stays(anyhow::Error),
    /// This process goes on until it has left in the ordinary way.
    Leaves(anyhow::Error),
    /// The new process has everything and says nothing: this one must take the addresses off and end.
    Lost(anyhow::Error),
}

/// Hands over to the process at the other end of `stream`. The caller sees to it that no plan is delivered meanwhile;
/// `shortest` is the shortest advertisement interval of the last one. Blocks; needs the runtime's context.
pub fn give(stream: UnixStream, assets: &Assets, shortest: Option<Duration>) -> Outcome {
    let limit = shortest.unwrap_or(NO_INTERVAL);
    let mut channel = match begin(stream) {
        Ok(channel) => channel,
        Err(error) => return Outcome::Stays(error),
    };
    let pause = match Pause::begin(&assets.ports, limit) {
        Ok(pause) => pause,
        Err(error) => return Outcome::Stays(error),
    };
    match pause.hand_over(&mut channel, assets) {
        Ok(()) => {}
        Err(Refused::Failed(error)) => {
            pause.end();
            return Outcome::Stays(error);
        }
        Err(Refused::Never(reason)) => {
            pause.end();
            return Outcome::Leaves(anyhow!(reason));
        }
    }
    // From here on the other process may elect, unless it is dead.
    match channel.expect(&Word::Running, clock::now() + limit + FIRST_TURN) {
        Ok(()) => Outcome::Given,
        Err(error) if error.is::<HungUp>() => {
            pause.end();
            Outcome::Stays(error.context("after it was told to go"))
        }
        Err(error) => Outcome::Lost(error.context("waiting for its first turn")),
    }
}

/// Makes sure that somebody is there before anything stands still.
fn begin(stream: UnixStream) -> anyhow::Result<Channel> {
    let mut channel = Channel::new(stream)?;
    channel.expect(&Word::Begin, clock::now() + PATIENCE)?;
    Ok(channel)
}

/// Why nothing is handed over.
enum Refused {
    Failed(anyhow::Error),
    /// The new process will not take it at any other time, either.
    Never(String),
}

impl From<anyhow::Error> for Refused {
    fn from(error: anyhow::Error) -> Self {
        Self::Failed(error)
    }
}

/// The time for which both real-time threads stand still.
struct Pause<'a> {
    ports: &'a Ports,
    still: Stillness,
    network: network::Frozen,
    /// Read from their ring, not by the election.
    answers: Vec<Fact>,
    limit: Duration,
}

impl<'a> Pause<'a> {
    fn begin(ports: &'a Ports, limit: Duration) -> anyhow::Result<Self> {
        let still = stand_still(ports, limit)?;
        let network = match stand_still_too(ports, still.last_wake + limit) {
            Ok(network) => network,
            Err(error) => {
                go_on(ports, still, Vec::new());
                return Err(error);
            }
        };
        Ok(Self {
            answers: std::iter::from_fn(|| ports.answers.pop()).collect(),
            ports,
            still,
            network,
            limit,
        })
    }

    /// Gives everything away, up to the commitment.
    fn hand_over(&self, channel: &mut Channel, assets: &Assets) -> Result<(), Refused> {
        let deadline = self.deadline();
        channel.send(&self.estate(assets), deadline)?;
        channel.send_descriptors(&self.descriptors(assets), deadline)?;
        match channel.receive(deadline)? {
            Word::Ready => Ok(channel.send(&Word::Go, deadline)?),
            Word::No {
                reason,
                leave: true,
            } => Err(Refused::Never(reason)),
            Word::No { reason, .. } => Err(anyhow!(reason).into()),
            other @ (Word::Begin | Word::Go | Word::Running) => {
                Err(anyhow!("unexpected word {other:?}").into())
            }
        }
    }

    fn deadline(&self) -> Time {
        self.still.last_wake + self.limit
    }

    fn estate(&self, assets: &Assets) -> impl serde::Serialize {
        let links = self.still.links.iter().map(|link| LinkEstate {
            key: link.key,
            groups: link.groups(),
        });
        let answers = self.answers.iter().chain(&self.network.answers);
        Estate {
            node: assets.node.clone(),
            limit: self.limit,
            election: &self.still.election,
            last_wake: self.still.last_wake,
            answers: answers.cloned().collect(),
            network: self.network.clone(),
            links: links.collect(),
            listen: assets.listen.clone(),
        }
    }

    fn descriptors<'b>(&'b self, assets: &'b Assets) -> Vec<BorrowedFd<'b>> {
        let locks = assets.locks.iter().map(|lock| lock.as_fd());
        let links = self.still.links.iter().flat_map(|link| link.descriptors());
        locks
            .chain([assets.listener.as_fd()])
            .chain(links)
            .collect()
    }

    /// Both threads go on where they stood.
    fn end(self) {
        go_on(self.ports, self.still, self.answers);
    }
}

/// The election, between two wake-ups.
fn stand_still(ports: &Ports, limit: Duration) -> anyhow::Result<Stillness> {
    // Half an interval: with one phase for all, the time after it was due is the best.
    ports.want_stillness(limit / 2);
    let patience = clock::now() + limit.saturating_mul(4) + PATIENCE;
    loop {
        if let Some(still) = ports.still.pop() {
            return Ok(still);
        }
        let remaining = patience.since(clock::now());
        if remaining.is_zero() && ports.stillness_wanted.swap(0, Ordering::AcqRel) != 0 {
            bail!("the election does not come to rest");
        }
        // If the wish is gone, the election is on its way.
        let wait = remaining.max(Duration::from_millis(10));
        ports.still.wake().wait(Some(wait))?;
        ports.still.wake().clear();
    }
}

/// What the network thread holds, after all that the election has ordered.
fn stand_still_too(ports: &Ports, deadline: Time) -> anyhow::Result<network::Frozen> {
    let (told, hear) = oneshot::channel();
    let order = Order::StandStill(told);
    ports
        .orders
        .push(order)
        .map_err(|_| anyhow!("the network thread does not take orders"))?;
    let wait = deadline.since(clock::now());
    Handle::current()
        .block_on(timeout(wait, hear))
        .context("the network thread is busy")?
        .context("the network thread is gone")
}

fn go_on(ports: &Ports, still: Stillness, answers: Vec<Fact>) {
    for answer in answers {
        // They were in this ring, and nobody has put others there.
        ports.answers.push(answer).ok();
    }
    // The ring takes orders again as soon as the thread has looked; a lost word would keep it still for ever.
    while ports.orders.push(Order::GoOn).is_err() {
        std::thread::yield_now();
    }
    // The thread waits for it, so the ring is empty.
    ports.going_on.push(still).ok();
}
