//! TCP: a connection is accepted.
//!
//! Never sends a byte. The connection is reset and not closed, so that thousands of probes leave no sockets in TIME_WAIT
//! on the node, nor half-closed ones on the target.

use std::time::Duration;

use super::engine::Asked;
use super::outcome::Answer;
use super::socket;

pub(super) async fn ask(asked: &Asked<'_>) -> Answer {
    let stream = socket::connect(asked).await?;
    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
    Ok(None)
}
