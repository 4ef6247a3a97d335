//! A takeover: one process of an instance hands everything it has to the next, and no VIP moves.
//!
//! The new process asks over `agent.sock` with an HTTP upgrade that names [`PROTOCOL`]; then both speak these words:
//!
//! | | says | and then |
//! |---|---|---|
//! | new | `Begin` | |
//! | old | the [`Estate`](estate::Estate), and the descriptors | its election and its network thread stand still |
//! | new | `Ready`, or `No` with a reason | has everything that it needs |
//! | old | `Go` | **the commitment**: if this is not said, or not within an interval, the old one goes on |
//! | new | `Running` | its election has had its first turn |
//! | old | nothing | exits with 0, without priority 0 |
//!
//! Never two elect, and never nobody does for longer than an interval: the new one elects once it has read `Go`, and
//! from then on hangs up only after `Running` or by dying. So whenever the old one sees the other end close before
//! `Running`, no other process elects, and it goes on. A new one that says nothing after `Go`, but lives, may come back
//! at any time: then the old one takes the addresses off and leaves, as a guardian would.
//!
//! Another protocol is no reason to stay: the old one leaves in the ordinary way, and the new one starts as usual.

mod channel;
pub mod estate;
pub mod giving;
pub mod taking;

use std::fmt;
use std::time::Duration;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::sys;

/// What this version speaks: the words, then the format of a frozen election. Only equals understand each other.
pub const PROTOCOL: Protocol = Protocol {
    words: 2,
    election: vipkeeper_vrrp::FORMAT,
};

/// What every protocol's name begins with.
pub const NAME: &str = "vipkeeper-takeover/";

/// The path of the request.
pub const PATH: &str = "/takeover";

/// The longest that a process waits for the other's next word where nothing stands still meanwhile.
const PATIENCE: Duration = Duration::from_secs(2);

/// Below the real-time threads, above all else: an interval is not long on a busy machine.
const FIFO_PRIORITY: u8 = 48;
/// The stack of the thread that reads and writes an estate.
const STACK: usize = 1 << 20;

/// Does `work`, which may block, on a thread that nothing ordinary delays; in the context of the runtime.
///
/// # Errors
/// If there can be no such thread, or it panics.
pub async fn urgently<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> anyhow::Result<T> {
    let (done, outcome) = oneshot::channel();
    let runtime = Handle::current();
    let run = move || {
        // The election's own attempt tells whether this is allowed.
        sys::enter_fifo(FIFO_PRIORITY).ok();
        let _context = runtime.enter();
        // Nobody waits any more when the process ends.
        done.send(work()).ok();
    };
    std::thread::Builder::new()
        .name("takeover".to_owned())
        .stack_size(STACK)
        .spawn(run)
        .context("starting thread takeover")?;
    outcome.await.context("thread takeover panicked")
}

/// A protocol, as the `upgrade` header names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Protocol {
    words: u32,
    election: u32,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{NAME}{}.{}", self.words, self.election)
    }
}

/// What the two say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Word {
    Begin,
    Ready,
    No {
        reason: String,
        /// It will never say yes: the old one had better leave.
        leave: bool,
    },
    Go,
    Running,
}
