//! How the thread is reached: the latest table, and orders that are answered.

use std::io;
use std::sync::Arc;

use tokio::sync::oneshot;
use vipkeeper_ipvs::ServiceKey;

use super::report::Trouble;
use super::settings::Setting;
use super::table::Table;
use crate::ring::{Ring, Wake};

/// Orders that can wait: more than anybody gives at once.
const ORDERS: usize = 8;

/// The thread's end of it is [`Context`](super::Context)'s; any number of others may offer and order.
#[derive(Debug)]
pub struct Mailbox {
    tables: Ring<Arc<Table>>,
    orders: Ring<Order>,
}

/// What the thread is told besides tables.
#[derive(Debug)]
pub(super) enum Order {
    /// Remove everything that is ours, and do nothing more.
    Finish(oneshot::Sender<Finished>),
    /// Do nothing more, and leave everything as it is.
    Release(oneshot::Sender<()>),
    /// Go on after a release.
    Resume,
}

/// What came of removing everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Finished {
    /// Services that were removed.
    pub removed: usize,
    /// Services that are still there, and why; they stay in the ledger.
    pub left: Vec<(ServiceKey, Trouble)>,
    /// Why our table of nftables is still there, if it is; it stays in the ledger.
    pub firewall: Option<Trouble>,
    /// Settings that have the value again that they had before us.
    pub restored: Vec<Setting>,
    /// Settings that could not be put back, and why; they stay in the ledger.
    pub unrestored: Vec<(Setting, String)>,
}

impl Finished {
    /// Whether nothing of ours is left.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.left.is_empty() && self.firewall.is_none() && self.unrestored.is_empty()
    }
}

/// The thread does not answer: it has ended, and the process is about to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the services thread is gone")]
pub struct Gone;

impl Mailbox {
    /// An empty one.
    ///
    /// # Errors
    /// If the process has too many open files.
    pub fn new() -> io::Result<Self> {
        let wake = Wake::new()?;
        Ok(Self {
            tables: Ring::new(1, wake.clone()),
            orders: Ring::new(ORDERS, wake),
        })
    }

    /// Makes the kernel as `table` says, from now on. One that waits is forgotten.
    pub fn offer(&self, table: Arc<Table>) {
        self.tables.replace(table);
    }

    /// Removes every service that is ours, and our table of nftables, and restores settings; then the thread does nothing more. For an agent that leaves.
    ///
    /// # Errors
    /// If the thread is gone, or does not take orders any more.
    pub async fn finish(&self) -> Result<Finished, Gone> {
        let (done, finished) = oneshot::channel();
        self.orders.push(Order::Finish(done)).map_err(|_| Gone)?;
        finished.await.map_err(|_| Gone)
    }

    /// Ends all writing, to the kernel and to the ledger, and leaves everything as it is: answered when that is so. For
    /// an agent whose successor takes over, which reads the ledger afterwards.
    ///
    /// # Errors
    /// If the thread is gone, or does not take orders any more.
    pub async fn release(&self) -> Result<(), Gone> {
        let (done, released) = oneshot::channel();
        self.orders.push(Order::Release(done)).map_err(|_| Gone)?;
        released.await.map_err(|_| Gone)
    }

    /// Goes on after [`release`](Self::release), for the successor did not come about. Does nothing otherwise.
    ///
    /// # Errors
    /// If the thread does not take orders any more.
    pub fn resume(&self) -> Result<(), Gone> {
        self.orders.push(Order::Resume).map_err(|_| Gone)
    }

    pub(super) fn table(&self) -> Option<Arc<Table>> {
        self.tables.pop()
    }

    pub(super) fn order(&self) -> Option<Order> {
        self.orders.pop()
    }

    pub(super) const fn wake(&self) -> &Wake {
        self.orders.wake()
    }
}
