//! Sockets of netlink to parts of the kernel: opened when they are first needed, and anew after whatever went wrong, so
//! that no late answer is taken for one to a later question. Knows nothing of what is said.

use std::io;
use std::time::Duration;

use netlink_sys::Socket;

use super::kernel::Unavailable;
use crate::netlink;

/// The kernel answers before `send` returns, once it is its turn at the lock of generic netlink; after this long an
/// answer is lost.
const PATIENCE: Duration = Duration::from_secs(5);

/// A connection to a part of the kernel.
pub(super) trait Connect: Sized {
    /// Opens one.
    ///
    /// # Errors
    /// If the kernel has none for us, or lacks that part.
    fn connect() -> Result<Self, Unavailable>;
}

/// A connection, once there is one.
#[derive(Debug)]
pub(super) struct Held<C>(Option<C>);

impl<C> Default for Held<C> {
    fn default() -> Self {
        Self(None)
    }
}

impl<C: Connect> Held<C> {
    /// Has an exchange with the kernel. A connection on which one failed is not used again.
    ///
    /// # Errors
    /// Those of opening and of the exchange.
    pub(super) fn with<T>(
        &mut self,
        exchange: impl FnOnce(&mut C) -> Result<T, Unavailable>,
    ) -> Result<T, Unavailable> {
        let mut connection = match self.0.take() {
            Some(connection) => connection,
            None => C::connect()?,
        };
        let outcome = exchange(&mut connection)?;
        self.0 = Some(connection);
        Ok(outcome)
    }
}

/// A socket of `protocol` whose answers have the kernel's words.
///
/// # Errors
/// If the kernel has none for us.
pub(super) fn open(protocol: isize) -> io::Result<Socket> {
    let socket = netlink::open(protocol, PATIENCE)?;
    socket.set_ext_ack(true)?;
    Ok(socket)
}
