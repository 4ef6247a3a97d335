//! Tells news as Events of the objects that they are about.
//!
//! At a bounded rate: what comes faster is dropped and counted, because it is in the status too. An Event that cannot
//! be written is not tried again.

use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, warn};

use crate::apply::MANAGER;
use crate::metrics::Metrics;
use crate::news::News;

/// Events that wait to be written; more are dropped.
const WAITING: usize = 512;
/// Events that may be written at once after a quiet time, and one more each [`PAUSE`].
const BURST: u32 = 100;
const PAUSE: Duration = Duration::from_millis(200);
/// Where Events of cluster-scoped objects live.
const NAMESPACE: &str = "default";
/// For how long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(5);
/// Most characters of a note.
const MOST_TEXT: usize = 1024;

/// Where news go in.
#[derive(Clone, Debug)]
pub struct Publisher {
    sender: mpsc::Sender<(ObjectReference, News)>,
    metrics: Metrics,
}

impl Publisher {
    /// Begins to publish as `instance`; ends when the last publisher is dropped.
    #[must_use]
    pub fn start(client: Client, instance: &str, metrics: Metrics) -> Self {
        let (sender, receiver) = mpsc::channel(WAITING);
        tokio::spawn(publish(
            client,
            instance.to_owned(),
            receiver,
            metrics.clone(),
        ));
        Self { sender, metrics }
    }

    /// Tells what happened to `about`.
    pub fn tell(&self, about: &ObjectReference, all: Vec<News>) {
        for news in all {
            if self.sender.try_send((about.clone(), news)).is_err() {
                self.metrics.told("dropped");
            }
        }
    }
}

async fn publish(
    client: Client,
    instance: String,
    mut receiver: mpsc::Receiver<(ObjectReference, News)>,
    metrics: Metrics,
) {
    let mut budget = Budget::new(Instant::now());
    while let Some((about, news)) = receiver.recv().await {
        if let Some(pause) = budget.take(Instant::now()) {
            sleep(pause).await;
        }
        let event = event(about, news, &instance, Timestamp::now());
        let namespace = event.metadata.namespace.as_deref().unwrap_or(NAMESPACE);
        let api: Api<Event> = Api::namespaced(client.clone(), namespace);
        let parameters = PostParams {
            field_manager: Some(MANAGER.to_owned()),
            ..PostParams::default()
        };
        let outcome = match timeout(PATIENCE, api.create(&parameters, &event)).await {
            Ok(Ok(_)) => "ok",
            Ok(Err(error)) => {
                warn!(%error, reason = event.reason, "an Event was not written");
                "error"
            }
            Err(_) => "timeout",
        };
        metrics.told(outcome);
        debug!(reason = event.reason, outcome, "told");
    }
}

fn event(about: ObjectReference, news: News, instance: &str, now: Timestamp) -> Event {
    let name = about.name.clone().unwrap_or_default();
    // The suffix has 17 bytes, and a name has 253.
    let head: String = name.chars().take(236).collect();
    let namespace = about.namespace.clone();
    Event {
        metadata: ObjectMeta {
            name: Some(format!("{head}.{:016x}", now.as_nanosecond())),
            namespace: Some(namespace.unwrap_or_else(|| NAMESPACE.to_owned())),
            ..ObjectMeta::default()
        },
        action: Some("Reconcile".to_owned()),
        event_time: Some(MicroTime(now)),
        note: Some(news.note.chars().take(MOST_TEXT).collect()),
        reason: Some(news.reason),
        regarding: Some(about),
        reporting_controller: Some("vipkeeper.io/operator".to_owned()),
        reporting_instance: Some(instance.to_owned()),
        type_: Some(if news.warning { "Warning" } else { "Normal" }.to_owned()),
        ..Event::default()
    }
}

/// A token bucket.
#[derive(Debug)]
struct Budget {
    left: u32,
    filled: Instant,
}

impl Budget {
    fn new(now: Instant) -> Self {
        Self {
            left: BURST,
            filled: now,
        }
    }

    /// Takes one; how long to wait before it may be used.
    fn take(&mut self, now: Instant) -> Option<Duration> {
        let gained = now.saturating_duration_since(self.filled).as_millis() / PAUSE.as_millis();
        let gained = u32::try_from(gained).unwrap_or(u32::MAX);
        if gained > 0 {
            self.left = self.left.saturating_add(gained).min(BURST);
            self.filled = now;
        }
        if self.left == 0 {
            self.filled = now + PAUSE;
            return Some(PAUSE);
        }
        self.left -= 1;
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_have_a_bounded_rate() {
        let start = Instant::now();
        let mut budget = Budget::new(start);
        let at_once = (0..BURST).filter(|_| budget.take(start).is_none());
        assert_eq!(at_once.count(), 100);
        assert_eq!(budget.take(start), Some(PAUSE));
        let later = start + PAUSE * 4;
        let later = (0..10).filter(|_| budget.take(later).is_none());
        assert_eq!(later.count(), 3);
    }

    #[test]
    fn the_longest_name_makes_a_valid_event() {
        let about = ObjectReference {
            name: Some("r".repeat(253)),
            ..ObjectReference::default()
        };
        let news = News {
            warning: true,
            reason: "Conflict".to_owned(),
            note: "n".repeat(2_000),
        };
        let event = event(about, news, "operator", Timestamp::from_second(1).unwrap());
        assert!(event.metadata.name.unwrap().len() <= 253);
        assert_eq!(event.note.unwrap().len(), MOST_TEXT);
        assert_eq!(event.type_.as_deref(), Some("Warning"));
    }
}
