//! `--listen`: `/healthz`, `/readyz` and `/metrics`, read-only, for anybody.

use std::convert::Infallible;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::CONTENT_TYPE;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tracing::debug;

use crate::metrics::Metrics;

/// Connections at a time; more wait.
const CONNECTIONS: usize = 64;
/// How long a connection may last, idle or not.
const CONNECTION_LIFETIME: Duration = Duration::from_secs(10);
/// How long nothing is accepted after accepting failed.
const BREATHER: Duration = Duration::from_millis(100);
/// A loop that did not tick for so long is stuck.
const STUCK: Duration = Duration::from_secs(60);
/// What a scrape is served as.
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// How the loop is; a clone tells the same.
#[derive(Clone, Debug)]
pub struct Pulse(Arc<State>);

#[derive(Debug)]
struct State {
    began: Instant,
    /// Milliseconds from then to the last tick.
    ticked: AtomicU64,
    complete: AtomicBool,
}

impl Default for Pulse {
    fn default() -> Self {
        Self(Arc::new(State {
            began: Instant::now(),
            ticked: AtomicU64::new(0),
            complete: AtomicBool::new(false),
        }))
    }
}

impl Pulse {
    /// The loop runs; `complete` says whether it knows all objects.
    pub fn tick(&self, complete: bool) {
        self.0.ticked.store(self.now(), Ordering::Relaxed);
        self.0.complete.store(complete, Ordering::Relaxed);
    }

    fn now(&self) -> u64 {
        let millis = self.0.began.elapsed().as_millis();
        u64::try_from(millis).unwrap_or(u64::MAX)
    }

    fn is_alive(&self) -> bool {
        let since = self
            .now()
            .saturating_sub(self.0.ticked.load(Ordering::Relaxed));
        Duration::from_millis(since) < STUCK
    }
}

/// Listens on `address`: `:PORT` is every address of both families, where the host has both.
///
/// # Errors
/// If the address is none, or in use.
pub async fn listen(address: &str) -> anyhow::Result<TcpListener> {
    let what = || format!("listening on {address}");
    if let Some(port) = address.strip_prefix(':') {
        let port: u16 = port.parse().with_context(what)?;
        let both = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
        if let Ok(listener) = TcpListener::bind(both).await {
            return Ok(listener);
        }
        let one = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
        return TcpListener::bind(one).await.with_context(what);
    }
    let mut addresses = address.to_socket_addrs().with_context(what)?;
    let address = addresses.next().with_context(what)?;
    TcpListener::bind(address).await.with_context(what)
}

/// Serves for as long as it is polled, to so many at a time and for so long that nobody keeps the others out.
///
/// # Errors
/// Never by what a client does.
pub async fn serve(listener: TcpListener, pulse: Pulse, metrics: Metrics) -> anyhow::Result<()> {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let place = Arc::clone(&places).acquire_owned().await?;
        while connections.try_join_next().is_some() {}
        let stream = match listener.accept().await {
            Ok((stream, _)) => TokioIo::new(stream),
            Err(error) => {
                // The client has gone, or there are too many open files: neither is the listener's end.
                debug!(%error, "accepting a connection");
                sleep(BREATHER).await;
                continue;
            }
        };
        let (pulse, metrics) = (pulse.clone(), metrics.clone());
        let service = service_fn(move |request: Request<Incoming>| {
            let response = answer(&request, &pulse, &metrics);
            async move { Ok::<_, Infallible>(response) }
        });
        let connection = http1::Builder::new().serve_connection(stream, service);
        connections.spawn(async move {
            // However it ends, it concerns the client alone.
            timeout(CONNECTION_LIFETIME, connection).await.ok();
            drop(place);
        });
    }
}

fn answer(request: &Request<Incoming>, pulse: &Pulse, metrics: &Metrics) -> Response<Full<Bytes>> {
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    let (status, kind, text) = match request.uri().path() {
        _ if !is_read => (StatusCode::METHOD_NOT_ALLOWED, "text/plain", String::new()),
        "/healthz" if pulse.is_alive() => (StatusCode::OK, "text/plain", "ok\n".to_owned()),
        "/healthz" => {
            let text = "the loop is stuck\n".to_owned();
            (StatusCode::SERVICE_UNAVAILABLE, "text/plain", text)
        }
        "/readyz" if pulse.0.complete.load(Ordering::Relaxed) => {
            (StatusCode::OK, "text/plain", "ok\n".to_owned())
        }
        "/readyz" => {
            let text = "the API server has not told all objects yet\n".to_owned();
            (StatusCode::SERVICE_UNAVAILABLE, "text/plain", text)
        }
        "/metrics" => match metrics.render() {
            Ok(text) => (StatusCode::OK, PROMETHEUS, text),
            Err(error) => {
                let text = format!("{error}\n");
                (StatusCode::INTERNAL_SERVER_ERROR, "text/plain", text)
            }
        },
        _ => (StatusCode::NOT_FOUND, "text/plain", String::new()),
    };
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    if let Ok(kind) = kind.parse() {
        response.headers_mut().insert(CONTENT_TYPE, kind);
    }
    response
}
