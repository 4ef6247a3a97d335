//! Probes: whether real servers are healthy.
//!
//! Owns what is probed ([`Target`]), when, and what the answers amount to ([`Judgement`]). Never decides what follows
//! from a judgement, touches no kernel table, and keeps nothing of what a server answers.
//!
//! - `prober`, `slot`: the targets, each probed when it is due, and word of every change. [`Prober`] is where to begin.
//! - `targets`: what it is asked; pure.
//! - `verdict`, `schedule`: rise and fall, and the first times; pure.
//! - `places`: how many at once.
//! - `engine`: one probe, by `tcp`, `http`, `udp`, `dns`, `smtp`, `ping`, `grpc`, `file` and `exec`.
//! - `tls`, `authorities`: how one speaks over TLS, and whom it believes.
//! - `outcome`: what one comes to, in words; `statistics`: in numbers.

mod authorities;
mod body;
mod dns;
mod engine;
mod exec;
mod file;
mod grpc;
mod http;
mod http2;
mod outcome;
mod ping;
mod places;
mod prober;
mod schedule;
mod slot;
mod smtp;
mod socket;
mod statistics;
mod targets;
mod tcp;
mod tls;
mod udp;
mod verdict;

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use vipkeeper_crds::node_server::{NodeProbe, ProbeKind};

pub use self::prober::{Change, Prober, Settings};
pub use self::statistics::{Figures, OfKind, RESULTS, Statistics};
pub use self::targets::Targets;
pub use self::verdict::Verdict;

/// What is asked, where from and how often: a probe without its target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    kind: ProbeKind,
    source: Option<IpAddr>,
    interface: Option<String>,
    mark: Option<NonZeroU32>,
    interval: Duration,
    timeout: Duration,
    rise: u8,
    fall: u8,
    delay_after_failure: Duration,
    /// Of everything above. Authorities are long, and a set of targets is hashed whenever a configuration changes.
    digest: u64,
}

impl Shape {
    /// The shape of `probe`.
    #[must_use]
    pub fn of(probe: &NodeProbe) -> Self {
        let mut shape = Self {
            kind: probe.kind.clone(),
            source: probe.source,
            interface: probe.interface.clone(),
            mark: probe.mark,
            interval: probe.interval.into(),
            timeout: probe.timeout.into(),
            rise: probe.rise,
            fall: probe.fall,
            delay_after_failure: probe.delay_after_failure.into(),
            digest: 0,
        };
        shape.digest = shape.digest();
        shape
    }

    fn digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.kind.hash(&mut hasher);
        (self.source, &self.interface, self.mark).hash(&mut hasher);
        (self.interval, self.timeout, self.delay_after_failure).hash(&mut hasher);
        (self.rise, self.fall).hash(&mut hasher);
        hasher.finish()
    }

    /// Tells shapes apart, also between two processes of one build.
    #[must_use]
    pub const fn fingerprint(&self) -> u64 {
        self.digest
    }

    /// What is asked.
    #[must_use]
    pub const fn kind(&self) -> &ProbeKind {
        &self.kind
    }

    /// From the beginning of a probe to that of the next.
    #[must_use]
    pub const fn interval(&self) -> Duration {
        self.interval
    }

    /// The longest that one probe takes, from its beginning to its last byte.
    #[must_use]
    pub const fn timeout(&self) -> Duration {
        self.timeout
    }
}

impl Hash for Shape {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.digest.hash(state);
    }
}

/// Everything that makes a probe one and the same: two virtual servers that ask the same of the same place in the same
/// way have equal targets, and are probed once.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    shape: Arc<Shape>,
    address: IpAddr,
    port: u16,
}

impl Target {
    /// That of `probe` for `real_server`: the probe's own address and port go before the real server's.
    #[must_use]
    pub fn of(probe: &NodeProbe, real_server: SocketAddr) -> Self {
        Self::shaped(&Arc::new(Shape::of(probe)), probe, real_server)
    }

    /// Those of `probe` for each of `real_servers`; they share their shape's memory.
    pub fn each(
        probe: &NodeProbe,
        real_servers: impl IntoIterator<Item = SocketAddr>,
    ) -> impl Iterator<Item = Self> {
        let shape = Arc::new(Shape::of(probe));
        real_servers
            .into_iter()
            .map(move |real_server| Self::shaped(&shape, probe, real_server))
    }

    fn shaped(shape: &Arc<Shape>, probe: &NodeProbe, real_server: SocketAddr) -> Self {
        let address = probe.address.unwrap_or(real_server.ip());
        let port = probe.port.unwrap_or(real_server.port());
        // What is not asked must not keep apart.
        let (address, port) = match shape.kind {
            ProbeKind::Tcp
            | ProbeKind::Http { .. }
            | ProbeKind::Udp { .. }
            | ProbeKind::Dns { .. }
            | ProbeKind::Smtp { .. }
            | ProbeKind::Grpc { .. }
            | ProbeKind::Exec { .. } => (address, port),
            ProbeKind::Ping => (address, 0),
            ProbeKind::File { .. } => (std::net::Ipv4Addr::UNSPECIFIED.into(), 0),
        };
        Self {
            shape: shape.clone(),
            address,
            port,
        }
    }

    /// What is asked, where from and how often.
    #[must_use]
    pub const fn shape(&self) -> &Arc<Shape> {
        &self.shape
    }

    /// The address that is asked; unspecified for a file.
    #[must_use]
    pub const fn address(&self) -> IpAddr {
        self.address
    }

    /// The port that is asked; 0 for a ping and a file.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }
}

/// What is thought of a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// Whether it is to get traffic.
    pub healthy: bool,
    /// The weight that the probe said, 0..=65535: only of a healthy one whose probe has `dynamicWeight`.
    pub weight: Option<u32>,
    /// Why it is not healthy, at most 256 bytes, such as `HTTP: status 503`; empty if it is. Never quotes an answer.
    pub reason: Arc<str>,
}

#[cfg(test)]
mod tests;
