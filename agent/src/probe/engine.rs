//! One probe: who asks what, and that it ends in time.
//!
//! Owns what is made once for all targets of a shape. Never decides what follows from an answer, and remembers none.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::timeout;
use vipkeeper_crds::node_server::ProbeKind;

use super::body::Matchers;
use super::outcome::{Answer, Failure, Lack, Outcome, Progress, Stage};
use super::prober::Ask;
use super::{Shape, Target, dns, exec, file, grpc, http, ping, smtp, tcp, udp};

/// The engines of the shapes that are in use.
pub(super) struct Engines {
    scripts_dir: PathBuf,
    matchers: Matchers,
    made: HashMap<Arc<Shape>, Weak<Engine>>,
}

/// What is asked, ready to be asked of any target of a shape, or why it cannot be asked.
pub(super) struct Engine(Result<Question, Failure>);

enum Question {
    Tcp,
    Http(Box<http::Question>),
    Udp(udp::Question),
    Dns(dns::Question),
    Smtp(smtp::Question),
    Ping,
    Grpc(grpc::Question),
    File(file::Question),
    Exec(exec::Question),
}

/// One probe of one target.
pub(super) struct Asked<'a> {
    /// Where from and how.
    pub(super) shape: &'a Shape,
    /// Whom.
    pub(super) address: SocketAddr,
    /// A number that nobody else knows.
    pub(super) nonce: u64,
    /// How far it got.
    pub(super) progress: &'a Progress,
}

impl Engines {
    pub(super) fn new(scripts_dir: PathBuf) -> Self {
        Self {
            scripts_dir,
            matchers: Matchers::default(),
            made: HashMap::new(),
        }
    }
}

impl Ask for Engines {
    type Engine = Arc<Engine>;

    fn engine(&mut self, shape: &Arc<Shape>) -> Arc<Engine> {
        if let Some(engine) = self.made.get(shape).and_then(Weak::upgrade) {
            return engine;
        }
        self.made.retain(|_, engine| engine.strong_count() > 0);
        let question = question(shape.kind(), &self.scripts_dir, &self.matchers);
        let engine = Arc::new(Engine(question));
        self.made.insert(shape.clone(), Arc::downgrade(&engine));
        engine
    }

    async fn ask(engine: Arc<Engine>, target: Target, nonce: u64) -> Outcome {
        let question = match &engine.0 {
            Ok(question) => question,
            Err(failure) => return Outcome::Failure(failure.clone()),
        };
        let progress = Progress::default();
        let asked = Asked {
            shape: target.shape(),
            address: SocketAddr::new(target.address(), target.port()),
            nonce,
            progress: &progress,
        };
        let limit = target.shape().timeout();
        match timeout(limit, question.ask(&asked)).await {
            Ok(answer) => answer.into(),
            Err(_) => question.late(progress.stage(), limit),
        }
    }
}

fn question(
    kind: &ProbeKind,
    scripts_dir: &Path,
    matchers: &Matchers,
) -> Result<Question, Failure> {
    Ok(match kind {
        ProbeKind::Tcp => Question::Tcp,
        ProbeKind::Http { .. } => Question::Http(Box::new(http::Question::of(kind, matchers)?)),
        ProbeKind::Udp { payload, reply } => {
            Question::Udp(udp::Question::of(payload, reply.as_deref())?)
        }
        ProbeKind::Dns { record, name, code } => {
            Question::Dns(dns::Question::of(*record, name, *code)?)
        }
        ProbeKind::Smtp { helo } => Question::Smtp(smtp::Question::of(helo)?),
        ProbeKind::Ping => Question::Ping,
        ProbeKind::Grpc { service } => Question::Grpc(grpc::Question::of(service)),
        ProbeKind::File {
            path,
            dynamic_weight,
        } => Question::File(file::Question::of(path, *dynamic_weight)),
        ProbeKind::Exec {
            script,
            dynamic_weight,
        } => Question::Exec(exec::Question::of(scripts_dir, script, *dynamic_weight)?),
    })
}

impl Question {
    async fn ask(&self, asked: &Asked<'_>) -> Answer {
        // The large ones are boxed, so that a small one's task is small.
        match self {
            Self::Tcp => tcp::ask(asked).await,
            Self::Http(question) => Box::pin(question.ask(asked)).await,
            Self::Udp(question) => question.ask(asked).await,
            Self::Dns(question) => question.ask(asked).await,
            Self::Smtp(question) => Box::pin(question.ask(asked)).await,
            Self::Ping => ping::ask(asked).await,
            Self::Grpc(question) => Box::pin(question.ask(asked)).await,
            Self::File(question) => question.ask(asked).await,
            Self::Exec(question) => Box::pin(question.ask(asked)).await,
        }
    }

    /// What it comes to when it takes longer than `limit`.
    const fn late(&self, stage: Stage, limit: Duration) -> Outcome {
        match stage {
            Stage::Waiting if self.takes_silence() => Outcome::Success { weight: None },
            // Other bodies took too long, not this one.
            Stage::Queued => Outcome::Unable(Lack::Matchers),
            Stage::Connecting
            | Stage::Handshaking
            | Stage::Waiting
            | Stage::Reading
            | Stage::Matching
            | Stage::Running => Outcome::Failure(Failure::Late { stage, limit }),
        }
    }

    const fn takes_silence(&self) -> bool {
        match self {
            Self::Udp(question) => question.takes_silence(),
            Self::Tcp
            | Self::Http(_)
            | Self::Dns(_)
            | Self::Smtp(_)
            | Self::Ping
            | Self::Grpc(_)
            | Self::File(_)
            | Self::Exec(_) => false,
        }
    }
}

#[cfg(test)]
mod tests;
