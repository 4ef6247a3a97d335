//! The thread's loop: orders first, then the latest table, then what is due.

use std::sync::Arc;

use tokio::sync::watch;

use super::kernel::Ipvs;
use super::ledger::Ledger;
use super::mailbox::{Finished, Mailbox, Order};
use super::report::Observed;

/// What the thread runs with.
#[derive(Debug)]
pub struct Context {
    /// Where it is told.
    pub mailbox: Arc<Mailbox>,
    /// Where it tells.
    pub observed: watch::Sender<Arc<Observed>>,
}

/// Runs until the process ends.
///
/// # Errors
/// If the thread cannot wait, which ends the process.
pub fn run<K: Ipvs>(kernel: K, ledger: Ledger, context: Context) -> anyhow::Result<()> {
    drop((kernel, ledger));
    loop {
        context.mailbox.wake().wait(None)?;
        context.mailbox.wake().clear();
        while let Some(order) = context.mailbox.order() {
            match order {
                Order::Finish(done) => drop(done.send(Finished::default())),
                Order::Release(done) => drop(done.send(())),
                Order::Resume => {}
            }
        }
        let observed = Observed {
            table: context.mailbox.table(),
            ..Observed::default()
        };
        context.observed.send_replace(Arc::new(observed));
    }
}
