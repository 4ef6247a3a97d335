//! Probes of real servers on the loopback, well and badly behaved.

mod datagrams;
mod grpc;
mod http;
mod local;
mod streams;
mod tls;

use std::net::SocketAddr;
use std::time::Instant;

use serde_json::Value;
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpStream};
use vipkeeper_crds::node_server::NodeProbe;

use super::super::outcome::Kind;
use super::super::tests::probe;
use super::*;

/// The timeout where it is to be met.
const LONG: Duration = Duration::from_secs(10);
/// The timeout where it is to pass.
const SHORT: Duration = Duration::from_millis(200);
/// How much longer than its timeout a probe may take on a busy machine.
const ROOM: Duration = Duration::from_secs(2);

/// Asks once; the words of the outcome.
async fn ask(kind: Value, address: SocketAddr) -> String {
    ask_with(kind, address, |_| ()).await
}

/// Asks one that is to take too long: it ends in time all the same.
async fn ask_late(kind: Value, address: SocketAddr) -> String {
    let began = Instant::now();
    let said = ask_with(kind, address, |p| {
        p.timeout = vipkeeper_crds::Duration::from_millis(200);
    });
    let said = said.await;
    let took = began.elapsed();
    assert!(took >= SHORT && took < SHORT + ROOM, "{took:?}");
    said
}

async fn ask_with(kind: Value, address: SocketAddr, edit: impl FnOnce(&mut NodeProbe)) -> String {
    let mut probe = probe(kind);
    probe.timeout = vipkeeper_crds::Duration::from_millis(LONG.as_millis() as u64);
    edit(&mut probe);
    words(&probe, address, Path::new("/nowhere")).await
}

async fn words(probe: &NodeProbe, address: SocketAddr, scripts: &Path) -> String {
    let target = Target::of(probe, address);
    let engine = Engines::new(scripts.to_owned()).engine(target.shape());
    let kind = Kind::of(target.shape().kind()).as_str();
    match Engines::ask(engine, target, 0x0102_0304_0506_0708).await {
        Outcome::Success { weight: None } => "ok".to_owned(),
        Outcome::Success {
            weight: Some(weight),
        } => format!("ok {weight}"),
        Outcome::Failure(failure) => format!("{kind}: {failure}"),
        Outcome::Unable(lack) => format!("unable: {}", lack.as_str()),
    }
}

/// A server that does `serve` with every connection.
async fn server<F>(serve: impl Fn(TcpStream) -> F + Send + 'static) -> SocketAddr
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    address
}

/// A port that nobody listens on, and for the test's time nobody else gets.
fn nobody() -> (SocketAddr, socket2::Socket) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket
        .bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())
        .unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    (address, socket)
}

/// Reads until the other end closes.
async fn drain(stream: &mut (impl tokio::io::AsyncRead + Unpin)) {
    let mut buffer = [0; 1024];
    while let Ok(1..) = stream.read(&mut buffer).await {}
}

/// Resets the connection.
fn reset(stream: TcpStream) {
    socket2::SockRef::from(&stream)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
    drop(stream);
}
