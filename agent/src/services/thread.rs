//! The thread's loop: orders first, then the latest table, then what is due; and a report when something was done.
//!
//! Blocks on generic netlink, which waits for a lock of the whole host: that is why it is no task of the runtime.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::watch;

use super::firewall::table_name;
use super::kernel::Kernel;
use super::ledger::Ledger;
use super::mailbox::{Finished, Mailbox, Order};
use super::report::Observed;
use super::upkeep::Upkeep;
use crate::clock;

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
pub fn run<K: Kernel>(kernel: K, ledger: Ledger, context: Context) -> anyhow::Result<()> {
    let table = table_name(ledger.instance()).context("the name of our table of nftables")?;
    let mut services = Services {
        upkeep: Upkeep::new(kernel, ledger, table),
        duty: Duty::Keeps,
        context,
    };
    loop {
        let wait = services.turn();
        services.context.mailbox.wake().wait(wait)?;
    }
}

/// Removes everything that `ledger` calls ours, for a process that has no thread for it.
///
/// # Errors
/// If the instance's name is none.
pub fn clean<K: Kernel>(kernel: K, ledger: Ledger) -> anyhow::Result<Finished> {
    let table = table_name(ledger.instance()).context("the name of our table of nftables")?;
    Ok(Upkeep::new(kernel, ledger, table).finish(clock::now))
}

/// What the thread is for at present.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Duty {
    /// It keeps the kernel as the table says.
    Keeps,
    /// A successor may write: it does nothing.
    Released,
    /// Everything is removed: it does nothing more.
    Finished,
}

struct Services<K> {
    upkeep: Upkeep<K>,
    duty: Duty,
    context: Context,
}

impl<K: Kernel> Services<K> {
    /// Gives how long there is nothing to do, if nobody rings; `None` is for ever.
    fn turn(&mut self) -> Option<Duration> {
        let mailbox = Arc::clone(&self.context.mailbox);
        mailbox.wake().clear();
        // After the orders that were given before it.
        let mut is_told = false;
        while let Some(order) = mailbox.order() {
            self.obey(order);
            is_told = true;
        }
        if let Some(table) = mailbox.table() {
            self.upkeep.want(table);
            is_told = true;
        }
        if self.duty != Duty::Keeps {
            return None;
        }
        let is_due = |due| due <= clock::now();
        if is_told || self.upkeep.next_due().is_some_and(is_due) {
            self.upkeep.turn(clock::now);
            self.tell();
        }
        let due = self.upkeep.next_due();
        due.map(|due| due.since(clock::now()))
    }

    fn obey(&mut self, order: Order) {
        match (order, self.duty) {
            (Order::Finish(done), Duty::Keeps | Duty::Finished | Duty::Released) => {
                let finished = self.upkeep.finish(clock::now);
                self.duty = Duty::Finished;
                self.tell();
                // Whoever asked may have stopped waiting.
                done.send(finished).ok();
            }
            (Order::Release(done), duty) => {
                self.duty = match duty {
                    Duty::Keeps | Duty::Released => Duty::Released,
                    Duty::Finished => Duty::Finished,
                };
                done.send(()).ok();
            }
            (Order::Resume, Duty::Released) => {
                self.duty = Duty::Keeps;
                self.upkeep.resume();
            }
            (Order::Resume, Duty::Keeps | Duty::Finished) => {}
        }
    }

    fn tell(&self) {
        let observed = Arc::new(self.upkeep.observed());
        self.context.observed.send_replace(observed);
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use tokio::time::timeout;

    use super::super::fake::Fake;
    use super::super::fake::examples::{entry, key, present};
    use super::super::table::Table;
    use super::super::upkeep::tests::ledger_of;
    use super::*;
    use crate::scratch::Directory;

    /// Longer than anything takes.
    const PATIENCE: Duration = Duration::from_secs(30);

    struct Running {
        mailbox: Arc<Mailbox>,
        observed: watch::Receiver<Arc<Observed>>,
        directory: Directory,
    }

    impl Running {
        fn start(kernel: Fake, ours: &[u16]) -> Self {
            let directory = Directory::new();
            let ledger = ledger_of(&directory, ours);
            let mailbox = Arc::new(Mailbox::new().unwrap());
            let (sender, observed) = watch::channel(Arc::default());
            let context = Context {
                mailbox: Arc::clone(&mailbox),
                observed: sender,
            };
            // It ends with the process, as in the agent.
            thread::spawn(move || run(kernel, ledger, context));
            Self {
                mailbox,
                observed,
                directory,
            }
        }

        async fn until(&mut self, what: impl Fn(&Observed) -> bool) -> Arc<Observed> {
            let seen = timeout(PATIENCE, self.observed.wait_for(|observed| what(observed)));
            Arc::clone(&seen.await.expect("in time").expect("the thread runs"))
        }
    }

    fn table(port: u16) -> Arc<Table> {
        Arc::new([entry(port, &[(1, 1)])].into_iter().collect())
    }

    fn is_programmed(port: u16) -> impl Fn(&Observed) -> bool {
        move |observed| {
            let report = observed.services.get(&key(port));
            report.is_some_and(|report| report.is_programmed)
        }
    }

    #[tokio::test]
    async fn a_table_that_is_offered_is_what_the_kernel_has_soon() {
        let mut running = Running::start(Fake::default(), &[]);
        running.mailbox.offer(table(80));
        running.until(is_programmed(80)).await;
        running.mailbox.offer(table(81));
        let observed = running.until(is_programmed(81)).await;
        assert!(!observed.services.contains_key(&key(80)));
    }

    #[tokio::test]
    async fn it_tells_what_a_process_before_left_before_it_has_a_table() {
        let left = present(&table(80));
        let kernel = Fake {
            present: left.clone(),
            ..Fake::default()
        };
        let mut running = Running::start(kernel, &[80]);
        let observed = running.until(|observed| observed.at.is_some()).await;
        assert!(observed.table.is_none());
        let report = &observed.services[&key(80)];
        assert_eq!(report.present.as_ref(), left.services.get(&key(80)));
        assert_eq!(observed.counts.operations, 0);
    }

    #[tokio::test]
    async fn what_is_finished_is_gone_and_stays_so() {
        let mut running = Running::start(Fake::default(), &[]);
        running.mailbox.offer(table(80));
        running.until(is_programmed(80)).await;
        let finished = timeout(PATIENCE, running.mailbox.finish()).await.unwrap();
        let finished = finished.unwrap();
        assert_eq!((finished.removed, finished.left), (1, vec![]));
        running.mailbox.offer(table(81));
        // Orders are answered in their order: the table was seen before.
        timeout(PATIENCE, running.mailbox.release())
            .await
            .unwrap()
            .unwrap();
        let observed = running.observed.borrow().clone();
        assert!(observed.services.is_empty());
    }

    #[tokio::test]
    async fn a_released_thread_writes_nothing_until_it_resumes() {
        let mut running = Running::start(Fake::default(), &[]);
        running.mailbox.offer(table(80));
        running.until(is_programmed(80)).await;
        for _ in 0..2 {
            let released = timeout(PATIENCE, running.mailbox.release()).await;
            assert_eq!(released.unwrap(), Ok(()));
            running.mailbox.offer(table(81));
        }
        let operations = running.observed.borrow().counts.operations;
        assert_eq!(operations, 2);
        running.mailbox.resume().unwrap();
        running.until(is_programmed(81)).await;
    }

    #[tokio::test]
    async fn what_a_successor_added_before_it_failed_is_ours() {
        // Foreign to this process until the successor's ledger calls it ours.
        let added: Table = [entry(81, &[(7, 7)])].into_iter().collect();
        let kernel = Fake {
            present: present(&added),
            ..Fake::default()
        };
        let mut running = Running::start(kernel, &[]);
        running.mailbox.offer(table(80));
        running.until(is_programmed(80)).await;
        let released = timeout(PATIENCE, running.mailbox.release()).await;
        assert_eq!(released.unwrap(), Ok(()));
        drop(ledger_of(&running.directory, &[80, 81]));
        running.mailbox.offer(table(81));
        running.mailbox.resume().unwrap();
        let observed = running.until(is_programmed(81)).await;
        assert!(!observed.services.contains_key(&key(80)));
    }
}
