//! The threads of the process, and a word from the first that ends.

use std::panic::{AssertUnwindSafe, catch_unwind};

use anyhow::{Context as _, anyhow};
use tokio::sync::mpsc;

/// The stack of our threads; with locked memory, what is touched of it stays.
const STACK: usize = 256 << 10;

/// Threads, and a word from the first that ends.
pub(super) struct Threads {
    ends: mpsc::UnboundedReceiver<anyhow::Error>,
    /// Not bounded by itself, but by the number of threads: each says one word.
    end: mpsc::UnboundedSender<anyhow::Error>,
}

impl Threads {
    pub(super) fn new() -> Self {
        let (end, ends) = mpsc::unbounded_channel();
        Self { ends, end }
    }

    /// Starts a thread that is to run for ever.
    pub(super) fn start(
        &self,
        name: &'static str,
        body: impl FnOnce() -> anyhow::Result<()> + Send + 'static,
    ) -> anyhow::Result<()> {
        let end = self.end.clone();
        let run = move || {
            let reason = match catch_unwind(AssertUnwindSafe(body)) {
                Ok(Ok(())) => anyhow!("thread {name} ended"),
                Ok(Err(error)) => error.context(format!("thread {name}")),
                Err(_) => anyhow!("thread {name} panicked"),
            };
            // Nobody listens when the process ends anyway.
            end.send(reason).ok();
        };
        std::thread::Builder::new()
            .name(name.to_owned())
            .stack_size(STACK)
            .spawn(run)
            .with_context(|| format!("starting thread {name}"))?;
        Ok(())
    }

    pub(super) async fn first_end(&mut self) -> anyhow::Error {
        let word = self.ends.recv().await;
        word.unwrap_or_else(|| anyhow!("all threads ended"))
    }
}
