//! Asking a running agent by its socket: `state`, `health`, `ready`, `record`, `drain`, `failover` and `undrain`.

use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::http::request::Builder;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use crate::state::{Problem, Router, State};

mod notes;
mod servers;

/// An agent that does not answer within this time is ill.
const PATIENCE: Duration = Duration::from_secs(5);
/// What is on this machine answers within this time, or is not there.
const LOCAL_PATIENCE: Duration = Duration::from_secs(1);

/// How a record ends that was not cut off.
const LAST_LINE: &[u8] = b"{\"end\":{}}\n";

/// The body of `path`, from the agent behind `socket`.
///
/// # Errors
/// If there is no agent, or it answers with anything but 200.
pub async fn fetch(socket: &Path, path: &str) -> anyhow::Result<String> {
    exchange(socket, Request::get(path), Bytes::new()).await
}

/// What the agent behind `socket` says to a POST of `json` to `path`.
///
/// # Errors
/// If there is no agent, or it answers with anything but 200.
pub async fn post(socket: &Path, path: &str, json: String) -> anyhow::Result<String> {
    let request = Request::post(path).header(CONTENT_TYPE, "application/json");
    exchange(socket, request, json.into()).await
}

/// Makes sure that the agent behind `socket` is of this container: during an upgrade two share the directory.
///
/// # Errors
/// If there is none, or its process is in another PID namespace (unix(7), SO_PEERCRED).
pub async fn ensure_near(socket: &Path) -> anyhow::Result<()> {
    let stream = UnixStream::connect(socket)
        .await
        .with_context(|| format!("no agent at {}", socket.display()))?;
    match stream.peer_cred()?.pid() {
        Some(pid) if pid > 0 => Ok(()),
        Some(_) | None => bail!("the agent of another container serves: this one stands by"),
    }
}

async fn exchange(socket: &Path, request: Builder, body: Bytes) -> anyhow::Result<String> {
    let request = request.header(HOST, "localhost").body(Full::new(body))?;
    timeout(PATIENCE, exchange_patiently(socket, request))
        .await
        .context("the agent does not answer")?
}

async fn exchange_patiently(
    socket: &Path,
    request: Request<Full<Bytes>>,
) -> anyhow::Result<String> {
    let stream = UnixStream::connect(socket)
        .await
        .with_context(|| format!("no agent at {}", socket.display()))?;
    exchange_over(stream, request).await
}

/// The body of `path` from whoever serves HTTP at `address` of this machine.
///
/// # Errors
/// If nobody does, or answers with anything but 200 within a second.
pub async fn fetch_local(address: SocketAddr, path: &str) -> anyhow::Result<String> {
    let request = Request::get(path).header(HOST, "localhost");
    let request = request.body(Full::new(Bytes::new()))?;
    let exchange = async { exchange_over(TcpStream::connect(address).await?, request).await };
    timeout(LOCAL_PATIENCE, exchange)
        .await
        .context("no answer")?
}

async fn exchange_over<S>(stream: S, request: Request<Full<Bytes>>) -> anyhow::Result<String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let exchange = async {
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        anyhow::Ok((status, String::from_utf8_lossy(&body).into_owned()))
    };
    tokio::pin!(connection);
    let (status, body) = tokio::select! {
        answer = exchange => answer?,
        ended = &mut connection => bail!("the other side hung up: {ended:?}"),
    };
    if !status.is_success() {
        bail!("{status}: {}", body.trim_end());
    }
    Ok(body)
}

/// Copies the record at `path`, from the agent behind `socket`, to `to` as it comes.
///
/// # Errors
/// If there is no agent, it refuses, or it goes away before the record's end.
pub async fn copy(socket: &Path, path: &str, to: &mut impl io::Write) -> anyhow::Result<()> {
    let stream = UnixStream::connect(socket)
        .await
        .with_context(|| format!("no agent at {}", socket.display()))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // Its end is the body's, and told there.
    tokio::spawn(connection);
    let request = Request::get(path)
        .header("host", "localhost")
        .body(Full::<Bytes>::default())?;
    let response = timeout(PATIENCE, sender.send_request(request)).await;
    let response = response.context("the agent does not answer")??;
    let status = response.status();
    let mut body = response.into_body();
    if !status.is_success() {
        let why = body.collect().await?.to_bytes();
        bail!("{status}: {}", String::from_utf8_lossy(&why).trim_end());
    }
    let mut tail = Vec::new();
    // The election ticks twice a second, so there is always something.
    while let Some(frame) = timeout(PATIENCE, body.frame())
        .await
        .context("the agent fell silent")?
    {
        let frame = frame.context("the agent hung up")?;
        if let Some(bytes) = frame.data_ref() {
            let written = to.write_all(bytes).and_then(|()| to.flush());
            written.context("writing the record")?;
            tail.extend_from_slice(bytes);
            tail.drain(..tail.len().saturating_sub(LAST_LINE.len()));
        }
    }
    if tail != LAST_LINE {
        bail!("the record is cut off");
    }
    Ok(())
}

/// `state` as a table, and below it what is not as it should be.
#[must_use]
pub fn table(state: &State) -> String {
    let header = [
        "ROUTER",
        "FAMILY",
        "VRID",
        "INTERFACE",
        "STATE",
        "PRIORITY",
        "ADDRESSES",
        "SINCE",
        "REASON",
        "LAST ADVERTISEMENT",
    ];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    rows.extend(state.routers.iter().map(row));
    let mut text = columns(&rows);
    for router in &state.routers {
        for problem in &router.evidence {
            writeln!(text, "{}", line_of(router, problem)).ok();
        }
    }
    if let Some(trouble) = &state.heartbeat.trouble {
        writeln!(text, "warning: heartbeat: {trouble}").ok();
    }
    text.push_str(&servers::servers(state));
    text.push_str(&notes::notes(state));
    text
}

/// `rows`, the first of which is the header, with equal widths.
fn columns(rows: &[Vec<String>]) -> String {
    let count = rows.first().map_or(0, Vec::len);
    let widths: Vec<usize> = (0..count)
        .map(|column| {
            let cells = rows.iter().filter_map(|row| row.get(column));
            cells.map(String::len).max().unwrap_or(0)
        })
        .collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            // Writing to a String cannot fail.
            write!(line, "{cell:width$}  ").ok();
        }
        writeln!(text, "{}", line.trim_end()).ok();
    }
    text
}

fn line_of(router: &Router, problem: &Problem) -> String {
    let Problem {
        condition,
        since,
        peer,
        address,
        mac,
        cause,
        authenticated: _,
    } = problem;
    let mut line = format!("warning: {} {}: {condition}", router.name, router.family);
    let peer = peer.as_ref().map(|peer| (" with ", peer.to_string()));
    let address = address.map(|address| (" about ", address.to_string()));
    let mac = mac.as_ref().map(|mac| (" at ", mac.clone()));
    let cause = cause.as_ref().map(|cause| (" by ", cause.clone()));
    for (word, value) in [peer, address, mac, cause].into_iter().flatten() {
        line.push_str(word);
        line.push_str(&value);
    }
    line.push_str(" since ");
    line.push_str(since);
    line
}

fn row(router: &Router) -> Vec<String> {
    let priority = if router.priority == router.effective_priority {
        router.priority.to_string()
    } else {
        format!("{} ({})", router.effective_priority, router.priority)
    };
    let addresses = match router.addresses.as_slice() {
        [] => String::new(),
        [only] => only.to_string(),
        [first, rest @ ..] => format!("{first} +{}", rest.len()),
    };
    let heard = router.last_advertisement.as_ref().map_or_else(
        || "-".to_owned(),
        |heard| {
            format!(
                "{} ({}) {} ms ago",
                heard.from, heard.priority, heard.age_ms
            )
        },
    );
    vec![
        router.name.clone(),
        router.family.to_string(),
        router.virtual_router_id.to_string(),
        router.interface.clone().unwrap_or_else(|| "-".to_owned()),
        router.state.clone(),
        priority,
        addresses,
        router.since.clone(),
        match &router.member {
            Some(member) => format!("{}: {member}", router.last_reason),
            None => router.last_reason.clone(),
        },
        heard,
    ]
}

#[cfg(test)]
mod tests;
