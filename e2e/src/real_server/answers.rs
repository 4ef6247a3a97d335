//! What a real server answers.
//!
//! TCP: a line that is no HTTP request is answered by the name and a line feed, as many as come on a connection.
//! HTTP/1.1: `GET /` has the name as its body, `GET /health` the status that `GET /set-health/STATUS` set last,
//! `GET /download/BYTES/MILLISECONDS` as many bytes spread over that time. SCTP, where the kernel has it: as TCP. UDP: a
//! datagram is answered by the name, a space and itself.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::tcp::OwnedWriteHalf;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinSet;

/// A piece of a download: more than a packet carries.
const PIECE: usize = 4096;
/// Is there if the kernel has SCTP. A socket that is asked for would load its module.
const HAS_SCTP: &str = "/proc/net/sctp";

/// Answers with `name` at `addresses`, until it is killed.
///
/// # Errors
/// When it cannot listen.
pub fn serve(name: &str, addresses: &[SocketAddr]) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let server = Arc::new(Server {
            name: name.to_owned(),
            health: AtomicU16::new(200),
        });
        let mut all = JoinSet::new();
        for &address in addresses {
            let what = || format!("listen at {address}");
            let listener = TcpListener::bind(address).await.with_context(what)?;
            let socket = UdpSocket::bind(address).await.with_context(what)?;
            all.spawn(Arc::clone(&server).accept(listener));
            all.spawn(Arc::clone(&server).datagrams(socket));
            if has_sctp() {
                let listener = listen_by_sctp(address).with_context(what)?;
                all.spawn(Arc::clone(&server).accept(listener));
            }
        }
        while let Some(ended) = all.join_next().await {
            ended??;
        }
        Ok(())
    })
}

/// Whether the kernel of this machine has sockets of SCTP.
#[must_use]
pub fn has_sctp() -> bool {
    Path::new(HAS_SCTP).exists()
}

/// A socket of SCTP that takes one association at a time behaves as one of TCP.
fn listen_by_sctp(address: SocketAddr) -> Result<TcpListener> {
    let domain = Domain::for_address(address);
    let socket = Socket::new(domain, Type::STREAM, Some(Protocol::SCTP))?;
    socket.bind(&address.into())?;
    socket.listen(128)?;
    socket.set_nonblocking(true)?;
    Ok(TcpListener::from_std(socket.into())?)
}

struct Server {
    name: String,
    /// The status of `GET /health`.
    health: AtomicU16,
}

impl Server {
    async fn accept(self: Arc<Self>, listener: TcpListener) -> Result<()> {
        loop {
            let (stream, _) = listener.accept().await?;
            let server = Arc::clone(&self);
            // A connection that breaks is the client's to count.
            tokio::spawn(async move { server.connection(stream).await.ok() });
        }
    }

    async fn datagrams(self: Arc<Self>, socket: UdpSocket) -> Result<()> {
        let mut buffer = [0; 2048];
        loop {
            // The error is an earlier answer's: nobody was there any more.
            let Ok((length, from)) = socket.recv_from(&mut buffer).await else {
                continue;
            };
            let mut answer = format!("{} ", self.name).into_bytes();
            answer.extend_from_slice(buffer.get(..length).unwrap_or_default());
            socket.send_to(&answer, from).await.ok();
        }
    }

    async fn connection(&self, stream: TcpStream) -> Result<()> {
        // SCTP has no such option, and does not need it for answers of one line.
        stream.set_nodelay(true).ok();
        let (reader, mut writer) = stream.into_split();
        let mut lines = BufReader::new(reader).lines();
        while let Some(line) = lines.next_line().await? {
            let Some(path) = line.strip_prefix("GET ") else {
                writer
                    .write_all(format!("{}\n", self.name).as_bytes())
                    .await?;
                continue;
            };
            let path = path.split(' ').next().unwrap_or("/").to_owned();
            let mut last = false;
            while let Some(header) = lines.next_line().await? {
                last |= header.eq_ignore_ascii_case("connection: close");
                if header.is_empty() {
                    break;
                }
            }
            self.request(&path, &mut writer).await?;
            if last {
                break;
            }
        }
        Ok(())
    }

    async fn request(&self, path: &str, writer: &mut OwnedWriteHalf) -> Result<()> {
        let words: Vec<&str> = path.split('/').skip(1).collect();
        match words.as_slice() {
            [""] => self.answer(200, writer).await,
            ["health"] => {
                self.answer(self.health.load(Ordering::Relaxed), writer)
                    .await
            }
            ["set-health", status] => {
                self.health.store(status.parse()?, Ordering::Relaxed);
                self.answer(200, writer).await
            }
            ["download", bytes, milliseconds] => {
                download(bytes.parse()?, milliseconds.parse()?, writer).await
            }
            _ => self.answer(404, writer).await,
        }
    }

    async fn answer(&self, status: u16, writer: &mut OwnedWriteHalf) -> Result<()> {
        let body = format!("{}\n", self.name);
        let head = format!(
            "HTTP/1.1 {status} Lab\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        Ok(writer.write_all((head + &body).as_bytes()).await?)
    }
}

/// Sends `bytes` bytes, spread evenly over `milliseconds`.
async fn download(bytes: usize, milliseconds: u64, writer: &mut OwnedWriteHalf) -> Result<()> {
    let head = format!("HTTP/1.1 200 Lab\r\nContent-Length: {bytes}\r\n\r\n");
    writer.write_all(head.as_bytes()).await?;
    let pieces = bytes.div_ceil(PIECE).max(1);
    let pause = Duration::from_millis(milliseconds) / u32::try_from(pieces)?;
    let mut left = bytes;
    while left > 0 {
        let length = left.min(PIECE);
        writer.write_all(&[b'.'; PIECE][..length]).await?;
        left -= length;
        tokio::time::sleep(pause).await;
    }
    Ok(())
}
