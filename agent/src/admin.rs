//! What the agent answers: `/state`, `/record` and `/drain` on its socket in the run directory, `/metrics`, `/healthz`
//! and `/readyz` there and on `--listen`.
//!
//! Owns the one way to a snapshot: requests are served one after the other. Nothing changes but by a POST on the
//! socket.

use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::Json;
use axum::Router;
use axum::body::Body;
use axum::extract::{Path as Segment, Request, State as Extract};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use hyper::server::conn::http1;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use socket2::{Domain, Socket, Type};
use tokio::io::unix::AsyncFd;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{Mutex, Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::{debug, info};
use vipkeeper_vrrp::Snapshot;

use crate::clock;
use crate::drain::{self, Drains, Refusal};
use crate::election::Ports;
use crate::inventory::Inventory;
use crate::metrics::{self, Distributions};
use crate::network;
use crate::probe::Statistics;
use crate::record;
use crate::ring::Wake;
use crate::services::{Observed, Report};
use crate::source::Desired;
use crate::state::{Finding, Health, Heartbeat, Ipvs, Realtime, Server, State, Surroundings};
use crate::supply::Served;
use crate::{sys, takeover};

/// The socket's name in the run directory.
pub const SOCKET: &str = "agent.sock";
/// An election that does not give a snapshot within this time is ill.
const PATIENCE: Duration = Duration::from_secs(2);
/// Connections to `--listen` at a time; more wait.
const CONNECTIONS: usize = 64;
/// How long a connection to `--listen` may last, idle or not.
const CONNECTION_LIFETIME: Duration = Duration::from_secs(10);
/// How long nothing is accepted after accepting failed.
const BREATHER: Duration = Duration::from_millis(100);
/// Where `drain`, `failover` and `undrain` are asked for: POST, a [`drain::Request`] as JSON.
pub const DRAIN: &str = "/drain";
/// What a state is served as.
const JSON: &str = "application/json";
/// What a record is served as.
const JSON_LINES: &str = "application/x-ndjson";
/// What a scrape is served as.
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What the answers are made of.
pub struct Sources {
    /// `--node`.
    pub node: String,
    /// `--instance`.
    pub instance: String,
    /// The election.
    pub ports: Arc<Ports>,
    /// The network thread.
    pub network: Arc<network::Vitals>,
    /// What probes come to.
    pub probes: Arc<Statistics>,
    /// Names of interfaces.
    pub inventory: watch::Receiver<Arc<Inventory>>,
    /// Findings of the configuration.
    pub desired: watch::Receiver<Arc<Desired>>,
    /// How each virtual server stands.
    pub reports: watch::Receiver<Arc<Vec<Report>>>,
    /// What the kernel's IPVS has.
    pub observed: watch::Receiver<Arc<Observed>>,
    /// What is drained.
    pub drains: Drains,
    /// What is served.
    pub served: watch::Receiver<Arc<Served>>,
    /// Why memory is not locked, if it is not.
    pub memory: Result<(), String>,
    /// To whom takes care of takeovers: one at a time.
    pub successors: mpsc::Sender<Successor>,
}

/// Another process of this instance wants to take over.
#[derive(Debug)]
pub enum Successor {
    /// It speaks our protocol: by this, once the answer is sent.
    Speaks(OnUpgrade),
    /// It speaks another one, so this process has to leave in the ordinary way.
    SpeaksOther(String),
}

/// Answers, shared by all listeners.
pub struct Admin {
    sources: Sources,
    snapshots: Mutex<AsyncFd<Wake>>,
    /// Held while a record is taken: one at a time.
    recording: Arc<Mutex<()>>,
}

impl Admin {
    /// Answers made of `sources`.
    ///
    /// # Errors
    /// If the election's doorbell cannot be heard.
    pub fn new(sources: Sources) -> anyhow::Result<Arc<Self>> {
        let doorbell = sys::register(sources.ports.snapshots.wake().clone());
        Ok(Arc::new(Self {
            snapshots: Mutex::new(doorbell.context("snapshots")?),
            recording: Arc::default(),
            sources,
        }))
    }

    /// Serves the socket in the run directory, which is root's alone.
    ///
    /// # Errors
    /// Never by what a client does.
    pub async fn serve_socket(self: Arc<Self>, listener: UnixListener) -> anyhow::Result<()> {
        let routes = self
            .routes_for_everyone()
            .route("/state", get(state))
            .route("/record/{seconds}", get(record))
            .route(DRAIN, post(heed))
            .route(takeover::PATH, post(take_over));
        let service = TowerToHyperService::new(routes.with_state(self));
        let mut connections = JoinSet::new();
        loop {
            while connections.try_join_next().is_some() {}
            let stream = match listener.accept().await {
                Ok((stream, _)) => TokioIo::new(stream),
                Err(error) => {
                    debug!(%error, "accepting a connection");
                    tokio::time::sleep(BREATHER).await;
                    continue;
                }
            };
            let connection = http1::Builder::new().serve_connection(stream, service.clone());
            connections.spawn(async move {
                // However it ends, it concerns the client alone.
                connection.with_upgrades().await.ok();
            });
        }
    }

    /// Serves what anybody may ask, to so many at a time and for so long that nobody keeps the others out.
    ///
    /// # Errors
    /// Never by what a client does.
    pub async fn serve_tcp(self: Arc<Self>, listener: TcpListener) -> anyhow::Result<()> {
        let routes = self.routes_for_everyone().with_state(self);
        let service = TowerToHyperService::new(routes);
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
                    tokio::time::sleep(BREATHER).await;
                    continue;
                }
            };
            let connection = http1::Builder::new().serve_connection(stream, service.clone());
            connections.spawn(async move {
                // However it ends, it concerns the client alone.
                timeout(CONNECTION_LIFETIME, connection).await.ok();
                drop(place);
            });
        }
    }

    fn routes_for_everyone(&self) -> Router<Arc<Self>> {
        Router::new()
            .route("/metrics", get(scrape))
            .route("/healthz", get(health))
            .route("/readyz", get(ready))
    }

    /// The state now.
    ///
    /// # Errors
    /// If the election gives no snapshot in time.
    pub async fn state(&self) -> anyhow::Result<State> {
        let snapshot = self.snapshot().await?;
        let sources = &self.sources;
        let served = Arc::clone(&sources.served.borrow());
        let inventory = Arc::clone(&sources.inventory.borrow());
        let wall = clock::wall().saturating_sub(clock::now().since(snapshot.at));
        let surroundings = Surroundings {
            node: sources.node.clone(),
            instance: sources.instance.clone(),
            generation: served.generation,
            realtime: self.realtime(),
            lateness: sources.ports.vitals.lateness(),
            health: Health::of(&sources.ports.vitals, &sources.network),
            heartbeat: Heartbeat::of(&served.heartbeat, &sources.ports.vitals),
            servers: self.servers(),
            ipvs: Ipvs::of(&self.sources.observed.borrow()),
            findings: self.findings(&served),
        };
        Ok(State::new(&snapshot, &inventory, wall, surroundings))
    }

    /// The election as it is now.
    ///
    /// # Errors
    /// If the election gives none in time.
    pub async fn snapshot(&self) -> anyhow::Result<Snapshot> {
        let ports = &self.sources.ports;
        let doorbell = self.snapshots.lock().await;
        // One that nobody waited for any more.
        drop(ports.snapshots.pop());
        ports.want_snapshot();
        let answer = async {
            loop {
                if let Some(snapshot) = ports.snapshots.pop() {
                    return anyhow::Ok(snapshot);
                }
                doorbell
                    .readable()
                    .await
                    .context("snapshots")?
                    .clear_ready();
                ports.snapshots.wake().clear();
            }
        };
        timeout(PATIENCE, answer)
            .await
            .context("the election does not answer")?
    }

    /// How the election is scheduled.
    #[must_use]
    pub fn realtime(&self) -> Realtime {
        let scheduling = self.sources.ports.vitals.scheduling.get();
        let scheduling = match scheduling {
            Some(outcome) => outcome.clone(),
            None => Err("the election has not started".to_owned()),
        };
        let memory = self.sources.memory.clone();
        let name = if scheduling.is_ok() {
            "SCHED_FIFO"
        } else {
            "SCHED_OTHER"
        };
        let reasons = [
            scheduling.err().map(|e| format!("SCHED_FIFO: {e}")),
            memory.clone().err().map(|e| format!("mlockall: {e}")),
        ];
        let reasons: Vec<_> = reasons.into_iter().flatten().collect();
        Realtime {
            scheduling: name.to_owned(),
            memory_locked: memory.is_ok(),
            reason: (!reasons.is_empty()).then(|| reasons.join("; ")),
        }
    }

    fn servers(&self) -> Vec<Server> {
        let reports = Arc::clone(&self.sources.reports.borrow());
        let observed = Arc::clone(&self.sources.observed.borrow());
        let servers = reports.iter().map(|r| Server::new(r, &observed));
        servers.collect()
    }

    fn findings(&self, served: &Served) -> Vec<Finding> {
        let desired = Arc::clone(&self.sources.desired.borrow());
        let of_source = desired.findings.iter().map(crate::supply::finding);
        let of_plan = served.notes.iter().map(|note| Finding {
            severity: "note".to_owned(),
            place: format!("{} {}", note.router, note.family),
            message: note.message.clone(),
        });
        of_source.chain(of_plan).collect()
    }
}

async fn state(Extract(admin): Extract<Arc<Admin>>) -> Response {
    // For people, too: indented, and in the order in which it is documented.
    let text = admin
        .state()
        .await
        .and_then(|state| Ok(serde_json::to_string_pretty(&state)?));
    match text {
        Ok(text) => ([(header::CONTENT_TYPE, JSON)], text).into_response(),
        Err(error) => unavailable(&format!("{error:#}")),
    }
}

async fn record(Extract(admin): Extract<Arc<Admin>>, Segment(seconds): Segment<u64>) -> Response {
    if !(1..=record::LONGEST).contains(&seconds) {
        let why = format!("1 to {} seconds\n", record::LONGEST);
        return (StatusCode::BAD_REQUEST, why).into_response();
    }
    let Ok(place) = Arc::clone(&admin.recording).try_lock_owned() else {
        let why = "a record is being taken already\n";
        return (StatusCode::CONFLICT, why).into_response();
    };
    let span = Duration::from_secs(seconds);
    match record::start(&admin.sources.ports, span, place) {
        Ok(body) => ([(header::CONTENT_TYPE, JSON_LINES)], Body::new(body)).into_response(),
        Err(error) => unavailable(&format!("{error:#}")),
    }
}

/// Another process of this instance asks for everything.
async fn take_over(Extract(admin): Extract<Arc<Admin>>, mut request: Request) -> Response {
    let ours = takeover::PROTOCOL.to_string();
    let theirs = request.headers().get(header::UPGRADE);
    let theirs = theirs.map_or(String::new(), |name| {
        String::from_utf8_lossy(name.as_bytes()).into_owned()
    });
    let (status, successor) = if theirs == ours {
        let upgrade = hyper::upgrade::on(&mut request);
        (StatusCode::SWITCHING_PROTOCOLS, Successor::Speaks(upgrade))
    } else if theirs.starts_with(takeover::NAME) {
        (StatusCode::UPGRADE_REQUIRED, Successor::SpeaksOther(theirs))
    } else {
        return (StatusCode::BAD_REQUEST, "this is for an agent to ask\n").into_response();
    };
    if admin.sources.successors.try_send(successor).is_err() {
        return unavailable("a takeover is on its way already");
    }
    let Ok(upgrade) = HeaderValue::from_str(&ours) else {
        return unavailable("no protocol");
    };
    let headers = [
        (header::CONNECTION, HeaderValue::from_static("upgrade")),
        (header::UPGRADE, upgrade),
    ];
    (status, headers).into_response()
}

async fn scrape(Extract(admin): Extract<Arc<Admin>>) -> Response {
    let text = admin.state().await.and_then(|state| {
        Ok(metrics::render(
            &state,
            &Distributions::of(&admin.sources.ports.vitals),
            &admin.sources.probes.read(),
        )?)
    });
    match text {
        Ok(text) => ([(header::CONTENT_TYPE, PROMETHEUS)], text).into_response(),
        Err(error) => unavailable(&format!("{error:#}")),
    }
}

async fn heed(
    Extract(admin): Extract<Arc<Admin>>,
    Json(request): Json<drain::Request>,
) -> Response {
    let desired = Arc::clone(&admin.sources.desired.borrow());
    match admin.sources.drains.ask(&request, &desired.configs).await {
        Ok(answer) => {
            info!(?request, "asked by the admin socket");
            answer.into_response()
        }
        Err(refusal) => {
            let status = match &refusal {
                Refusal::Unknown { .. } => StatusCode::NOT_FOUND,
                Refusal::Ambiguous(_) => StatusCode::BAD_REQUEST,
                Refusal::Owner(_) | Refusal::WholeNode | Refusal::NotDrained(_) => {
                    StatusCode::CONFLICT
                }
                Refusal::Unwritable { .. } => StatusCode::INTERNAL_SERVER_ERROR,
            };
            let text = format!("{:#}\n", anyhow::Error::from(refusal));
            (status, text).into_response()
        }
    }
}

/// The election's tick, and nothing else: whether a restart would help.
async fn health(Extract(admin): Extract<Arc<Admin>>) -> Response {
    if admin.sources.ports.vitals.is_alive() {
        "ok\n".into_response()
    } else {
        unavailable("the election does not tick")
    }
}

async fn ready(Extract(admin): Extract<Arc<Admin>>) -> Response {
    let served = admin.sources.served.borrow().generation.is_some();
    if served && admin.sources.ports.vitals.is_alive() {
        "ok\n".into_response()
    } else {
        unavailable("no verified configuration is served yet")
    }
}

fn unavailable(why: &str) -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response()
}

/// Makes the socket at `path`, for root alone. It takes the place of another process's at once: nobody ever finds none.
///
/// # Errors
/// If it cannot be made.
pub fn bind(path: &Path) -> anyhow::Result<UnixListener> {
    let beside = path.with_extension("new");
    match std::fs::remove_file(&beside) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(error).context("removing an old socket"),
    }
    let listener = UnixListener::bind(&beside).with_context(|| beside.display().to_string())?;
    let owner_only = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(&beside, owner_only).context("permissions of the socket")?;
    std::fs::rename(&beside, path).with_context(|| path.display().to_string())?;
    Ok(listener)
}

/// Listens on `address`: `:PORT` is every address of both families, where the host has both.
///
/// # Errors
/// If the address is none, or in use.
pub fn listen(address: &str) -> anyhow::Result<TcpListener> {
    let what = || format!("listening on {address}");
    let listener = match address.strip_prefix(':') {
        Some(port) => {
            let port = port.parse().with_context(what)?;
            let everything = SocketAddr::from(([0_u16; 8], port));
            listener(everything, true)
                .or_else(|_| listener((Ipv4Addr::UNSPECIFIED, port).into(), false))
        }
        None => {
            use std::net::ToSocketAddrs as _;
            let mut addresses = address.to_socket_addrs().with_context(what)?;
            listener(addresses.next().with_context(what)?, false)
        }
    };
    TcpListener::from_std(listener.with_context(what)?).with_context(what)
}

fn listener(address: SocketAddr, both: bool) -> std::io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    if both {
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(64)?;
    Ok(socket.into())
}
