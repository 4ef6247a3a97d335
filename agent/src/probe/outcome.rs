//! What one probe comes to, in our own words.
//!
//! Owns every sentence that can become a [`Judgement`](super::Judgement)'s reason: they are made of our words and of
//! numbers, never of what a server answered.

use std::io;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use vipkeeper_crds::node_server::ProbeKind;

/// The kinds of probes, as reasons and metrics name them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    /// A connection.
    Tcp,
    /// An HTTP request.
    Http,
    /// The same over TLS.
    Https,
    /// A datagram.
    Udp,
    /// A question by DNS.
    Dns,
    /// A greeting by SMTP.
    Smtp,
    /// ICMP echo.
    Ping,
    /// The health protocol of gRPC.
    Grpc,
    /// A file.
    File,
    /// A script.
    Exec,
}

impl Kind {
    /// All of them, in the order of their numbers.
    pub(super) const ALL: [Self; 10] = [
        Self::Tcp,
        Self::Http,
        Self::Https,
        Self::Udp,
        Self::Dns,
        Self::Smtp,
        Self::Ping,
        Self::Grpc,
        Self::File,
        Self::Exec,
    ];

    /// The kind of a probe.
    pub(super) const fn of(kind: &ProbeKind) -> Self {
        match kind {
            ProbeKind::Tcp => Self::Tcp,
            ProbeKind::Http { tls: None, .. } => Self::Http,
            ProbeKind::Http { tls: Some(_), .. } => Self::Https,
            ProbeKind::Udp { .. } => Self::Udp,
            ProbeKind::Dns { .. } => Self::Dns,
            ProbeKind::Smtp { .. } => Self::Smtp,
            ProbeKind::Ping => Self::Ping,
            ProbeKind::Grpc { .. } => Self::Grpc,
            ProbeKind::File { .. } => Self::File,
            ProbeKind::Exec { .. } => Self::Exec,
        }
    }

    /// Its word in the API.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Http => "HTTP",
            Self::Https => "HTTPS",
            Self::Udp => "UDP",
            Self::Dns => "DNS",
            Self::Smtp => "SMTP",
            Self::Ping => "Ping",
            Self::Grpc => "GRPC",
            Self::File => "File",
            Self::Exec => "Exec",
        }
    }
}

/// What one probe comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// As it should be.
    Success { weight: Option<u32> },
    /// Not as it should be.
    Failure(Failure),
    /// The node lacked what it takes to ask, which says nothing about the target.
    Unable(Lack),
}

/// What ends a probe without success.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    Failure(Failure),
    Lack(Lack),
}

/// What is said with success: the weight, if the probe says one.
pub(super) type Answer = Result<Option<u32>, Stop>;

impl From<Answer> for Outcome {
    fn from(answer: Answer) -> Self {
        match answer {
            Ok(weight) => Self::Success { weight },
            Err(Stop::Failure(failure)) => Self::Failure(failure),
            Err(Stop::Lack(lack)) => Self::Unable(lack),
        }
    }
}

/// What a node can lack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lack {
    /// File descriptors, of the process or the machine.
    Descriptors,
    /// Memory of the kernel.
    Memory,
    /// Ports to connect from.
    Ports,
    /// Processes.
    Processes,
    /// A turn at matching a body.
    Matchers,
}

impl Lack {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Descriptors => "file descriptors",
            Self::Memory => "memory",
            Self::Ports => "local ports",
            Self::Processes => "processes",
            Self::Matchers => "turns at matching bodies",
        }
    }

    fn of(error: &io::Error) -> Option<Self> {
        match error.raw_os_error()? {
            libc::EMFILE | libc::ENFILE => Some(Self::Descriptors),
            libc::ENOMEM | libc::ENOBUFS => Some(Self::Memory),
            // EAGAIN: a datagram socket that finds no port.
            libc::EADDRNOTAVAIL | libc::EADDRINUSE | libc::EAGAIN => Some(Self::Ports),
            _ => None,
        }
    }
}

/// What was wrong with a target.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Failure {
    #[error("refused")]
    Refused,
    #[error("reset")]
    Reset,
    #[error("closed too early")]
    Closed,
    #[error("unreachable")]
    Unreachable,
    #[error("not permitted on this node")]
    Forbidden,
    #[error("the source address is not on this node")]
    Source,
    #[error("the interface is not on this node")]
    Interface,
    #[error("{}", late(*stage, *limit))]
    Late { stage: Stage, limit: Duration },
    #[error("malformed answer")]
    Malformed,
    #[error("answer too long")]
    TooLong,
    #[error("status {0}")]
    Status(u16),
    #[error("another body than its digest")]
    Digest,
    #[error("no match in the body")]
    Regex,
    #[error("HTTP/2: {0}")]
    Stream(h2::Reason),
    #[error("no HTTP/2 over TLS")]
    Version,
    #[error("certificate: {0}")]
    Certificate(&'static str),
    #[error("TLS: {0}")]
    Tls(&'static str),
    #[error("another answer")]
    Reply,
    #[error("response code {0}")]
    Code(u8),
    #[error("greeted with {0}")]
    Greeting(u16),
    #[error("HELO answered with {0}")]
    Helo(u16),
    #[error("gRPC status {0}")]
    Grpc(u16),
    #[error("{0}")]
    Serving(&'static str),
    #[error("the file {0}")]
    File(&'static str),
    #[error("the script {0}")]
    Script(&'static str),
    #[error("exit code {0}")]
    Exit(i32),
    #[error("killed by signal {0}")]
    Signal(i32),
    #[error("{0}")]
    System(io::ErrorKind),
    #[error("cannot be asked: {0}")]
    Unaskable(&'static str),
    #[error("internal error")]
    Internal,
}

fn late(stage: Stage, limit: Duration) -> String {
    let limit = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
    let limit = vipkeeper_crds::Duration::from_millis(limit);
    match stage {
        Stage::Connecting => format!("no connection in {limit}"),
        Stage::Handshaking => format!("no TLS session in {limit}"),
        Stage::Waiting => format!("no answer in {limit}"),
        Stage::Reading => format!("answer not complete in {limit}"),
        Stage::Queued | Stage::Matching => format!("body not matched in {limit}"),
        Stage::Running => format!("not done in {limit}"),
    }
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Lack::of(&error).map_or_else(|| Self::Failure(Failure::from(&error)), Self::Lack)
    }
}

impl From<&io::Error> for Failure {
    fn from(error: &io::Error) -> Self {
        if error.raw_os_error() == Some(libc::ENODEV) {
            return Self::Interface;
        }
        #[expect(
            clippy::wildcard_enum_match_arm,
            reason = "the library's, and non-exhaustive"
        )]
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Self::Refused,
            io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe => Self::Reset,
            io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::NetworkDown
            | io::ErrorKind::TimedOut => Self::Unreachable,
            io::ErrorKind::PermissionDenied => Self::Forbidden,
            io::ErrorKind::UnexpectedEof => Self::Closed,
            kind => Self::System(kind),
        }
    }
}

/// How far a probe got, for what to say if it takes too long.
#[derive(Debug, Default)]
pub(super) struct Progress(AtomicU8);

/// What a probe waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Connecting,
    Handshaking,
    Waiting,
    Reading,
    /// Its turn at matching a body.
    Queued,
    Matching,
    Running,
}

impl Stage {
    const ALL: [Self; 7] = [
        Self::Connecting,
        Self::Handshaking,
        Self::Waiting,
        Self::Reading,
        Self::Queued,
        Self::Matching,
        Self::Running,
    ];
}

impl Progress {
    pub(super) fn reach(&self, stage: Stage) {
        self.0.store(stage as u8, Ordering::Relaxed);
    }

    pub(super) fn stage(&self) -> Stage {
        let place: usize = self.0.load(Ordering::Relaxed).into();
        Stage::ALL.get(place).copied().unwrap_or(Stage::Connecting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_node_lacks_is_not_held_against_the_target() {
        let stop = |code| Stop::from(io::Error::from_raw_os_error(code));
        assert_eq!(stop(libc::EMFILE), Stop::Lack(Lack::Descriptors));
        assert_eq!(stop(libc::ENFILE), Stop::Lack(Lack::Descriptors));
        assert_eq!(stop(libc::ENOBUFS), Stop::Lack(Lack::Memory));
        assert_eq!(stop(libc::EADDRNOTAVAIL), Stop::Lack(Lack::Ports));
        assert_eq!(stop(libc::ECONNREFUSED), Failure::Refused.into());
        assert_eq!(stop(libc::ECONNRESET), Failure::Reset.into());
        assert_eq!(stop(libc::EHOSTUNREACH), Failure::Unreachable.into());
        assert_eq!(stop(libc::ENODEV), Failure::Interface.into());
    }

    #[test]
    fn a_late_probe_says_what_it_waited_for() {
        let progress = Progress::default();
        let said = Stage::ALL.map(|stage| {
            progress.reach(stage);
            let failure = Failure::Late {
                stage: progress.stage(),
                limit: Duration::from_millis(2_500),
            };
            failure.to_string()
        });
        assert_eq!(
            said,
            [
                "no connection in 2s500ms",
                "no TLS session in 2s500ms",
                "no answer in 2s500ms",
                "answer not complete in 2s500ms",
                "body not matched in 2s500ms",
                "body not matched in 2s500ms",
                "not done in 2s500ms",
            ]
        );
    }

    #[test]
    fn kinds_are_in_the_order_of_their_numbers() {
        for (number, kind) in Kind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, number);
        }
    }
}
