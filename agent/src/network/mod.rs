//! The network thread: puts addresses on interfaces and takes them off, in the order the election asks.
//!
//! Owns the kernel's addresses and per-interface settings as far as they are ours, and the ledger. Decides
//! nothing. The election's orders come first, then plans, then renewals. It blocks on rtnetlink, which may take
//! tens of milliseconds while others hold the host's lock; that is why it is not the election thread.

pub mod cleanup;
#[cfg(test)]
mod fake;
mod frozen;
mod holdings;
pub mod kernel;
pub mod ledger;
pub mod leftovers;
pub mod rtnetlink;
mod settings;

use std::collections::VecDeque;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use nix::errno::Errno;
use vipkeeper_vrrp::{Fact, Ifindex, Install};

pub use self::frozen::Frozen;
use self::holdings::Holdings;
use self::kernel::{Kernel, Setting};
use self::ledger::Ledger;
use crate::election::{Order, Ports};
use crate::{clock, sys};

/// Below the election, so that it never waits for us; above everything else.
const FIFO_PRIORITY: u8 = 49;
/// How soon an answer that did not fit is tried again.
const ANSWER_RETRY: Duration = Duration::from_millis(1);
/// How soon a stale heartbeat is looked at again when renewals are due.
const HEARTBEAT_RETRY: Duration = Duration::from_millis(100);

/// What the network thread has to tell. Goes to the runtime by a channel of 1,024; when it is full, new ones are
/// dropped and counted.
#[derive(Debug)]
pub enum Notice {
    /// The kernel's addresses could not be listed.
    Sweep(io::Error),
    /// So many addresses of a process before us were taken off.
    Swept(usize),
    /// An address carries our tag, but is in no ledger of ours: untouched.
    TagOnly {
        /// Where.
        interface: Ifindex,
        /// Which.
        address: IpAddr,
    },
    /// A planned address is there already, and not because of us: untouched.
    Foreign {
        /// Where.
        interface: Ifindex,
        /// Which.
        address: IpAddr,
    },
    /// One address of an order could not be installed; EEXIST says it is somebody else's.
    Refused {
        /// Where.
        interface: Ifindex,
        /// Which.
        address: IpAddr,
        /// Why.
        errno: Errno,
    },
    /// An order could not be carried out at all.
    InstallFailed {
        /// Where.
        interface: Ifindex,
        /// Why.
        reason: io::Error,
    },
    /// An address could not be taken off; it is tried again.
    Stuck {
        /// Where.
        interface: Ifindex,
        /// Which.
        address: IpAddr,
        /// Why.
        errno: Errno,
    },
    /// An address could not be parked: until the neighbours know its successor, what they send here is lost.
    NotParked {
        /// Which.
        address: IpAddr,
        /// Why.
        errno: Errno,
    },
    /// Somebody had taken off an address that we hold; it is back.
    Restored {
        /// Where.
        interface: Ifindex,
        /// Which.
        address: IpAddr,
    },
    /// An address could not be renewed; it is tried again.
    RenewalFailed {
        /// Where.
        interface: Ifindex,
        /// Which.
        address: IpAddr,
        /// Why.
        errno: Errno,
    },
    /// The kernel told more than could be read in time; all was listed again and compared.
    EventsLost,
    /// The ledger could not be written: a crash would leave addresses until their lifetime ends.
    Ledger(io::Error),
    /// A setting could not be read or changed.
    Setting {
        /// Where.
        interface: Ifindex,
        /// Its name.
        setting: &'static str,
        /// Why.
        reason: io::Error,
    },
}

impl Notice {
    fn setting((interface, setting): (Ifindex, Setting), reason: io::Error) -> Self {
        Self::Setting {
            interface,
            setting: setting.as_str(),
            reason,
        }
    }
}

/// How the network thread is. Written by it alone.
#[derive(Debug, Default)]
pub struct Vitals {
    /// Addresses held.
    pub held: AtomicUsize,
    /// Rows of the ledger.
    pub ledger_rows: AtomicUsize,
    /// Addresses that somebody took off and that were put back.
    pub restored: AtomicU64,
    /// Addresses that were refused.
    pub refused: AtomicU64,
    /// Times that the monitor lost events and listed everything anew.
    pub overruns: AtomicU64,
    /// Orders that failed as a whole.
    pub install_failures: AtomicU64,
    /// Renewals that failed.
    pub renewal_failures: AtomicU64,
    /// Notices that did not fit into their channel.
    pub notices_dropped: AtomicU64,
}

/// What the network thread runs with.
pub struct Context {
    /// The channels of the election.
    pub ports: Arc<Ports>,
    /// Where it tells how it is.
    pub vitals: Arc<Vitals>,
    /// Where it tells what happened.
    pub notices: tokio::sync::mpsc::Sender<Notice>,
}

/// What the network thread begins with.
#[derive(Debug)]
pub enum Beginning {
    /// The ledger, by which it sweeps what a process before left.
    Sweep(Ledger),
    /// What the process before holds, and goes on to hold in this one's name.
    Takeover(Ledger, Frozen),
}

/// Runs until the process ends.
///
/// # Errors
/// If the thread cannot wait, which ends the process.
pub fn run<K: Kernel>(kernel: K, beginning: Beginning, context: Context) -> anyhow::Result<()> {
    // The election's own attempt tells whether this is allowed.
    sys::enter_fifo(FIFO_PRIORITY).ok();
    let mut network = Network {
        holdings: match beginning {
            Beginning::Sweep(ledger) => Holdings::new(kernel, ledger),
            Beginning::Takeover(ledger, frozen) => Holdings::take_over(kernel, ledger, frozen),
        },
        stands_still: false,
        commands: VecDeque::new(),
        others: VecDeque::new(),
        answers: VecDeque::new(),
        context,
    };
    loop {
        network.turn()?;
    }
}

struct Network<K> {
    holdings: Holdings<K>,
    /// Another process may be about to hold what this one holds: nothing is done before that is settled.
    stands_still: bool,
    /// Installs and withdrawals: the election waits for them.
    commands: VecDeque<Order>,
    others: VecDeque<Order>,
    /// Answers for which the election had no room.
    answers: VecDeque<Fact>,
    context: Context,
}

impl<K: Kernel> Network<K> {
    fn turn(&mut self) -> anyhow::Result<()> {
        self.context.ports.orders.wake().clear();
        self.collect();
        while !self.stands_still
            && let Some(order) = self
                .commands
                .pop_front()
                .or_else(|| self.others.pop_front())
        {
            self.carry_out(order);
            self.collect();
        }
        if self.stands_still {
            return Ok(self.context.ports.orders.wake().wait(None)?);
        }
        let alive = self.context.ports.vitals.is_alive();
        self.holdings.maintain(clock::now(), alive);
        self.answers.extend(self.holdings.take_facts());
        self.flush_answers();
        self.tell();
        let timeout = self.timeout(alive);
        Ok(self.context.ports.orders.wake().wait(timeout)?)
    }

    fn collect(&mut self) {
        while let Some(order) = self.context.ports.orders.pop() {
            match order {
                Order::Install(_) | Order::Park(_) | Order::Withdraw(_) => {
                    self.commands.push_back(order)
                }
                Order::Prepare(..) | Order::Vanished(..) | Order::Verify | Order::StandStill(_) => {
                    self.others.push_back(order);
                }
                Order::Finish(_) => {
                    self.stands_still = false;
                    self.others.push_back(order);
                }
                Order::GoOn => self.stands_still = false,
            }
        }
    }

    fn carry_out(&mut self, order: Order) {
        let now = clock::now();
        match order {
            Order::Install(install) => {
                let answer = if self.is_cancelled(&install) {
                    Fact::InstallFailed {
                        router: install.router,
                        ticket: install.ticket,
                    }
                } else {
                    self.holdings.install(now, &install)
                };
                self.answers.push_back(answer);
                self.flush_answers();
            }
            Order::Park(park) => self.holdings.park(now, &park),
            Order::Withdraw(withdraw) => self.holdings.withdraw(now, &withdraw),
            Order::Prepare(plan, done) => {
                self.holdings.prepare(&plan);
                // Whoever asked may have stopped waiting.
                done.send(()).ok();
            }
            Order::Vanished(interface, address) => self.holdings.vanished(now, interface, address),
            Order::StandStill(told) => {
                let answers = self.answers.iter().cloned().collect();
                let frozen = self.holdings.freeze(answers);
                self.tell();
                // Whoever does not wait any more does not say that it goes on, either.
                self.stands_still = told.send(frozen).is_ok();
            }
            Order::GoOn => {}
            Order::Verify => self.holdings.verify(now),
            Order::Finish(done) => {
                self.holdings.finish(now);
                self.tell();
                done.send(()).ok();
            }
        }
    }

    /// Whether the election has changed its mind meanwhile.
    fn is_cancelled(&self, install: &Install) -> bool {
        self.commands.iter().any(|order| match order {
            Order::Withdraw(withdraw) => {
                withdraw.router == install.router && withdraw.ticket > install.ticket
            }
            Order::Park(park) => park.router == install.router && park.ticket > install.ticket,
            Order::Install(_)
            | Order::Prepare(..)
            | Order::Vanished(..)
            | Order::Verify
            | Order::Finish(_)
            | Order::StandStill(_)
            | Order::GoOn => false,
        })
    }

    fn flush_answers(&mut self) {
        while let Some(answer) = self.answers.pop_front() {
            if let Err(answer) = self.context.ports.answers.push(answer) {
                self.answers.push_front(answer);
                return;
            }
        }
    }

    fn tell(&mut self) {
        let vitals = &self.context.vitals;
        vitals.held.store(self.holdings.count(), Ordering::Relaxed);
        let rows = self.holdings.ledger_rows();
        vitals.ledger_rows.store(rows, Ordering::Relaxed);
        for notice in self.holdings.take_notices() {
            if let Some(counter) = counter(vitals, &notice) {
                counter.fetch_add(1, Ordering::Relaxed);
            }
            if self.context.notices.try_send(notice).is_err() {
                vitals.notices_dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    fn timeout(&self, alive: bool) -> Option<Duration> {
        if !self.answers.is_empty() {
            return Some(ANSWER_RETRY);
        }
        let due = self.holdings.next_due()?.since(clock::now());
        Some(if alive { due } else { due.max(HEARTBEAT_RETRY) })
    }
}

/// What counts `notice`, if anything does.
const fn counter<'a>(vitals: &'a Vitals, notice: &Notice) -> Option<&'a AtomicU64> {
    match notice {
        Notice::Refused { .. } => Some(&vitals.refused),
        Notice::InstallFailed { .. } => Some(&vitals.install_failures),
        Notice::Restored { .. } => Some(&vitals.restored),
        Notice::EventsLost => Some(&vitals.overruns),
        Notice::RenewalFailed { .. } => Some(&vitals.renewal_failures),
        Notice::Sweep(_)
        | Notice::Swept(_)
        | Notice::TagOnly { .. }
        | Notice::Foreign { .. }
        | Notice::Stuck { .. }
        | Notice::NotParked { .. }
        | Notice::Ledger(_)
        | Notice::Setting { .. } => None,
    }
}
