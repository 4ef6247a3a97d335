//! The directory of manifests, watched.
//!
//! Owns one thread, `source`: it waits for the file system, reads the directory once things are quiet, and offers
//! what is in force. It ends when [`Watch`] is dropped; should it end otherwise, receivers learn it from
//! `changed()`. Events only say that something happened, and the directory is read again now and then without
//! any: a lost event delays an edit and loses nothing.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::watch;
use tracing::{info, warn};

use super::{DOCUMENT, Desired, Diagnosis, Position, Severity, Store, desired, directory};

/// Nothing must happen for this long before the directory is read.
const QUIET: Duration = Duration::from_millis(100);
/// It is read after this long though something happens all the time.
const PATIENCE: Duration = Duration::from_secs(1);
/// It is read this often though nothing happens: files that are links may change unseen.
const PERIOD: Duration = Duration::from_secs(10);
/// And this often while it is not there: nobody tells when it is made again.
const PERIOD_MISSING: Duration = Duration::from_secs(1);

/// A watched directory; stops when dropped.
#[derive(Debug)]
pub struct Watch {
    desired: watch::Receiver<Arc<Desired>>,
    stop: Arc<AtomicBool>,
    wake: SyncSender<()>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// What is in force now and from now on.
    #[must_use]
    pub fn desired(&self) -> watch::Receiver<Arc<Desired>> {
        self.desired.clone()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        // A full channel wakes the thread as well.
        self.wake.try_send(()).ok();
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

/// Reads the manifests in `dir` for `node` and watches them.
///
/// # Errors
/// If the directory cannot be read or watched, or no thread can be made. Bad manifests are no error.
pub fn watch(dir: &Path, node: &str) -> io::Result<Watch> {
    // One event in the channel is enough: it says to read everything. More are dropped.
    let (wake, woken) = sync_channel(1);
    let mut notifier = notifier(wake.clone()).map_err(io::Error::other)?;
    // Watched before it is read, so that no edit falls between.
    notifier
        .watch(dir, RecursiveMode::NonRecursive)
        .map_err(io::Error::other)?;
    let files = directory::read(dir)?;
    let mut store = Store::default();
    let first = Arc::new(Desired::from(store.update(&files, node)).numbered(1));
    log(&first, &[]);
    let (offer, desired) = watch::channel(first);
    let stop = Arc::new(AtomicBool::new(false));
    let mut source = Source {
        dir: dir.to_owned(),
        node: node.to_owned(),
        store,
        notifier,
        woken,
        stop: stop.clone(),
        offer,
        period: PERIOD,
    };
    let thread = thread::Builder::new()
        .name("source".to_owned())
        .spawn(move || source.run())?;
    Ok(Watch {
        desired,
        stop,
        wake,
        thread: Some(thread),
    })
}

fn notifier(wake: SyncSender<()>) -> notify::Result<RecommendedWatcher> {
    notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // Our own reading is no change. An error may hide one.
        if event.map_or(true, |event| is_change(&event.kind)) {
            wake.try_send(()).ok();
        }
    })
}

fn is_change(kind: &EventKind) -> bool {
    match kind {
        EventKind::Access(access) => *access == AccessKind::Close(AccessMode::Write),
        EventKind::Any
        | EventKind::Create(_)
        | EventKind::Modify(_)
        | EventKind::Remove(_)
        | EventKind::Other => true,
    }
}

struct Source {
    dir: PathBuf,
    node: String,
    store: Store,
    notifier: RecommendedWatcher,
    woken: Receiver<()>,
    stop: Arc<AtomicBool>,
    offer: watch::Sender<Arc<Desired>>,
    period: Duration,
}

impl Source {
    fn run(&mut self) {
        while self.wait() {
            // Again each time: the directory may have been deleted and made again. What it says about a directory
            // that is not there, reading says as well.
            self.notifier
                .watch(&self.dir, RecursiveMode::NonRecursive)
                .ok();
            let next = match directory::read(&self.dir) {
                Ok(files) => {
                    self.period = PERIOD;
                    self.store.update(&files, &self.node).into()
                }
                Err(error) => {
                    self.period = PERIOD_MISSING;
                    self.without_directory(&error)
                }
            };
            desired::offer(&self.offer, next, |now, before| {
                log(now, &before.findings);
            });
        }
    }

    /// Waits for a reason to read. `false` to end.
    fn wait(&self) -> bool {
        match self.woken.recv_timeout(self.period) {
            Ok(()) => {
                let since = Instant::now();
                while !self.stopped()
                    && since.elapsed() < PATIENCE
                    && self.woken.recv_timeout(QUIET).is_ok()
                {}
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return false,
        }
        !self.stopped()
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// What was in force, with the reason why nothing newer is.
    fn without_directory(&self, error: &io::Error) -> Desired {
        let last = self.offer.borrow();
        let missing = Diagnosis {
            file: self.dir.display().to_string(),
            position: Position::START,
            severity: Severity::Error,
            path: DOCUMENT.to_owned(),
            message: format!("cannot be read, and everything keeps its last good state: {error}"),
        };
        let others = last.findings.iter().filter(|f| f.file != missing.file);
        let mut findings: Vec<Diagnosis> = others.cloned().collect();
        findings.insert(0, missing);
        Desired {
            findings,
            ..(**last).clone()
        }
    }
}

/// Says what is in force, and what is wrong that was not before.
fn log(now: &Desired, before: &[Diagnosis]) {
    for finding in now.findings.iter().filter(|f| !before.contains(f)) {
        warn!(
            file = %finding.file,
            line = finding.position.line,
            column = finding.position.column,
            severity = %finding.severity,
            path = %finding.path,
            "manifest: {}", finding.message
        );
    }
    info!(
        routers = now.configs.len(),
        servers = now.configs.iter().map(|c| c.servers.len()).sum::<usize>(),
        findings = now.findings.len(),
        "manifests read"
    );
}
