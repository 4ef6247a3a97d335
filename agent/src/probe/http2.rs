//! HTTP/2 (RFC 9113): one exchange on one connection.
//!
//! Owns the connection, which lives and ends with the exchange: no task is left behind. Never accepts a push.

use std::pin::pin;

use futures::future::{Either, select};
use hyper::body::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};

use super::outcome::{Failure, Stop};

/// The longest header that is taken, in bytes.
const HEADER: u32 = 64 << 10;
/// How much a server may send before it is read: what is looked at of a body.
const WINDOW: u32 = 1 << 20;

/// Who sends the request.
pub(super) type Sender = h2::client::SendRequest<Bytes>;

/// Makes a connection of `stream` and lets `ask` ask over it.
pub(super) async fn exchange<S, F, T>(stream: S, ask: impl FnOnce(Sender) -> F) -> Result<T, Stop>
where
    S: AsyncRead + AsyncWrite + Unpin,
    F: Future<Output = Result<T, Stop>>,
{
    let handshake = h2::client::Builder::new()
        .enable_push(false)
        .max_header_list_size(HEADER)
        .initial_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .handshake(stream);
    let (sender, connection) = handshake.await?;
    let exchange = async { ask(sender.ready().await?).await };
    beside(connection, exchange).await
}

/// Runs a connection as long as `exchange` does.
pub(super) async fn beside<T>(connection: impl Future, exchange: impl Future<Output = T>) -> T {
    match select(pin!(exchange), pin!(connection)).await {
        Either::Left((outcome, _)) => outcome,
        // What came before the end is there, and the exchange notices the end by itself.
        Either::Right((_, exchange)) => exchange.await,
    }
}

impl From<h2::Error> for Stop {
    fn from(error: h2::Error) -> Self {
        if let Some(io) = error.get_io() {
            return Failure::from(io).into();
        }
        let failure = error.reason().map_or(Failure::Malformed, Failure::Stream);
        failure.into()
    }
}
