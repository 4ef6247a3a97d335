//! Of several operators one writes: whoever holds the Lease.
//!
//! Another's hold is over when its Lease has not changed for as long as it says, by this process's own clock: nodes'
//! clocks differ. A holder that cannot renew stops writing before others may begin.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tracing::{info, warn};

/// For how long a Lease holds that nobody renews.
const DURATION: Duration = Duration::from_secs(15);
/// A holder that could not renew for so long does not hold any more.
const DEADLINE: Duration = Duration::from_secs(10);
/// Between two attempts.
const PAUSE: Duration = Duration::from_secs(2);

/// A claim to the Lease `name`.
#[derive(Debug)]
pub struct Claim {
    api: Api<Lease>,
    name: String,
    identity: String,
    holds: watch::Sender<bool>,
    /// The Lease as it was seen last, and when it was first seen so.
    seen: Option<(Lease, Instant)>,
    renewed_at: Option<Instant>,
}

impl Claim {
    /// Does nothing yet; the receiver says whether this process holds the Lease.
    #[must_use]
    pub fn new(
        client: Client,
        namespace: &str,
        name: &str,
        identity: &str,
    ) -> (Self, watch::Receiver<bool>) {
        let (holds, receiver) = watch::channel(false);
        let claim = Self {
            api: Api::namespaced(client, namespace),
            name: name.to_owned(),
            identity: identity.to_owned(),
            holds,
            seen: None,
            renewed_at: None,
        };
        (claim, receiver)
    }

    /// Tries to get and to keep the Lease for as long as it is polled.
    pub async fn keep(&mut self) {
        loop {
            match timeout(PAUSE, self.attempt()).await {
                Ok(Ok(true)) => {
                    self.renewed_at = Some(Instant::now());
                    if !self.holds.send_replace(true) {
                        info!(identity = self.identity, "leading");
                    }
                }
                Ok(Ok(false)) => {
                    self.renewed_at = None;
                    self.lose("another holds the Lease");
                }
                Ok(Err(error)) => {
                    warn!(%error, "the Lease");
                    self.expire();
                }
                Err(_) => self.expire(),
            }
            sleep(PAUSE).await;
        }
    }

    /// Gives the Lease to whoever comes first.
    pub async fn release(&mut self) {
        if !self.holds.send_replace(false) {
            return;
        }
        let Some((mut lease, _)) = self.seen.take() else {
            return;
        };
        if let Some(spec) = &mut lease.spec {
            spec.holder_identity = None;
            spec.renew_time = Some(MicroTime(Timestamp::now()));
        }
        let parameters = PostParams::default();
        let given = self.api.replace(&self.name, &parameters, &lease);
        if !matches!(timeout(PAUSE, given).await, Ok(Ok(_))) {
            warn!("the Lease was not released: another operator waits for its end");
        }
    }

    fn expire(&mut self) {
        if self.renewed_at.is_some_and(|at| at.elapsed() > DEADLINE) {
            self.renewed_at = None;
            self.lose("the Lease could not be renewed");
        }
    }

    fn lose(&self, reason: &str) {
        if self.holds.send_replace(false) {
            warn!(identity = self.identity, reason, "not leading any more");
        }
    }

    /// Whether the Lease is ours now.
    async fn attempt(&mut self) -> kube::Result<bool> {
        let Some(lease) = self.api.get_opt(&self.name).await? else {
            let lease = self.claimed(Lease {
                metadata: ObjectMeta {
                    name: Some(self.name.clone()),
                    ..ObjectMeta::default()
                },
                spec: None,
            });
            let written = self.api.create(&PostParams::default(), &lease).await;
            return self.write(written);
        };
        let same = |seen: &Lease| seen.metadata.resource_version == lease.metadata.resource_version;
        let since = match &self.seen {
            Some((seen, since)) if same(seen) => *since,
            Some(_) | None => Instant::now(),
        };
        self.seen = Some((lease.clone(), since));
        let spec = lease.spec.clone().unwrap_or_default();
        let holder = spec.holder_identity.unwrap_or_default();
        let seconds = spec
            .lease_duration_seconds
            .and_then(|s| u64::try_from(s).ok());
        let lasts = seconds.map_or(DURATION, Duration::from_secs);
        if holder.is_empty() || holder == self.identity || since.elapsed() > lasts {
            let lease = self.claimed(lease);
            let parameters = PostParams::default();
            let written = self.api.replace(&self.name, &parameters, &lease).await;
            return self.write(written);
        }
        Ok(false)
    }

    fn write(&mut self, outcome: kube::Result<Lease>) -> kube::Result<bool> {
        match outcome {
            Ok(lease) => {
                self.seen = Some((lease, Instant::now()));
                Ok(true)
            }
            // Another was faster.
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn claimed(&self, mut lease: Lease) -> Lease {
        let now = MicroTime(Timestamp::now());
        let before = lease.spec.take().unwrap_or_default();
        let stays = before.holder_identity.as_deref() == Some(self.identity.as_str());
        let transitions = before.lease_transitions.unwrap_or(0);
        lease.spec = Some(LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
            acquire_time: before.acquire_time.filter(|_| stays).or(Some(now.clone())),
            renew_time: Some(now),
            lease_transitions: Some(if stays { transitions } else { transitions + 1 }),
            ..LeaseSpec::default()
        });
        lease
    }
}
