//! What the process does, as numbers in Prometheus' text format. Labels are words of ours and names of kinds.

use std::sync::Arc;
use std::time::Duration;

use prometheus::core::{AtomicF64, AtomicU64, GenericCounterVec, GenericGaugeVec};
use prometheus::{Encoder as _, Histogram, HistogramOpts, Opts, Registry, TextEncoder};
use vipkeeper_crds::conditions::Condition;

use crate::cluster::Cluster;

type Gauges = GenericGaugeVec<AtomicF64>;
type Counters = GenericCounterVec<AtomicU64>;

/// Upper bounds of the buckets of compile times, in seconds.
const COMPILE: [f64; 10] = [
    0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.1, 0.25, 1.0, 5.0,
];

/// The numbers; a clone counts into the same.
#[derive(Clone, Debug)]
pub struct Metrics(Arc<Numbers>);

#[derive(Debug)]
struct Numbers {
    registry: Registry,
    leader: Gauges,
    writes: Counters,
    events: Counters,
    queue: Gauges,
    compile: Histogram,
    objects: Gauges,
    conditions: Gauges,
    servers: Gauges,
    findings: Gauges,
}

impl Metrics {
    /// With nothing counted.
    ///
    /// # Errors
    /// Only if a name of ours is none of Prometheus', which the tests would find.
    pub fn new() -> prometheus::Result<Self> {
        let registry = Registry::new();
        let gauges = |name: &str, help: &str, labels: &[&str]| {
            let all = Gauges::new(named(name, help), labels)?;
            registry.register(Box::new(all.clone()))?;
            Ok::<_, prometheus::Error>(all)
        };
        let counters = |name: &str, help: &str, labels: &[&str]| {
            let all = Counters::new(named(name, help), labels)?;
            registry.register(Box::new(all.clone()))?;
            Ok::<_, prometheus::Error>(all)
        };
        let build = gauges(
            "build_info",
            "1, with the version as a label.",
            &["version"],
        )?;
        build
            .get_metric_with_label_values(&[env!("CARGO_PKG_VERSION")])?
            .set(1.0);
        let help = "Seconds that one look at what changed took, compiling included.";
        let options = HistogramOpts::from(named("compile_seconds", help)).buckets(COMPILE.to_vec());
        let compile = Histogram::with_opts(options)?;
        registry.register(Box::new(compile.clone()))?;
        let leader = gauges("leader", "Whether this operator writes.", &[])?;
        leader
            .get_metric_with_label_values(&[] as &[&str])?
            .set(0.0);
        Ok(Self(Arc::new(Numbers {
            leader,
            writes: counters(
                "writes_total",
                "Writes to the API server, by what was written and what became of it.",
                &["kind", "outcome"],
            )?,
            events: counters(
                "events_total",
                "Events about objects, by what became of them.",
                &["outcome"],
            )?,
            queue: gauges("queue", "Writes that wait or are on their way.", &[])?,
            compile,
            objects: gauges("objects", "Objects that are known, by kind.", &["kind"])?,
            conditions: gauges(
                "routers",
                "Virtual routers, by condition and its status.",
                &["condition", "status"],
            )?,
            servers: gauges(
                "servers",
                "Virtual servers, by condition and its status.",
                &["condition", "status"],
            )?,
            findings: gauges(
                "findings",
                "Findings about Nodes and Settings, which are in the log.",
                &[],
            )?,
            registry,
        })))
    }

    /// Whether this operator writes.
    pub fn set_leader(&self, leads: bool) {
        set(&self.0.leader, &[], f64::from(u8::from(leads)));
    }

    /// How many writes wait or are on their way.
    pub fn set_queue(&self, count: usize) {
        set(&self.0.queue, &[], count as f64);
    }

    /// Counts a write.
    pub fn wrote(&self, kind: &str, outcome: &str) {
        if let Ok(counter) = self.0.writes.get_metric_with_label_values(&[kind, outcome]) {
            counter.inc();
        }
    }

    /// Counts an Event.
    pub fn told(&self, outcome: &str) {
        if let Ok(counter) = self.0.events.get_metric_with_label_values(&[outcome]) {
            counter.inc();
        }
    }

    /// Notes how long a look at what changed took.
    pub fn compiled(&self, took: Duration) {
        self.0.compile.observe(took.as_secs_f64());
    }

    /// Counts the objects.
    pub fn show(&self, cluster: &Cluster) {
        for (kind, count) in cluster.counts() {
            set(&self.0.objects, &[kind.as_str()], count as f64);
        }
        set(
            &self.0.findings,
            &[],
            cluster.findings_elsewhere().len() as f64,
        );
        let routers = cluster.routers().filter_map(|r| r.status.as_ref());
        count(&self.0.conditions, routers.flat_map(|s| &s.conditions));
        let servers = cluster.servers().filter_map(|s| s.status.as_ref());
        count(&self.0.servers, servers.flat_map(|s| &s.conditions));
    }

    /// Everything as text.
    ///
    /// # Errors
    /// Only if a metric of ours cannot be written.
    pub fn render(&self) -> prometheus::Result<String> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.0.registry.gather(), &mut text)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
}

/// Shows how many conditions there are of each type and status.
fn count<'a>(gauges: &Gauges, conditions: impl Iterator<Item = &'a Condition>) {
    gauges.reset();
    for condition in conditions {
        let labels = [condition.kind.as_str(), condition.status.as_str()];
        if let Ok(gauge) = gauges.get_metric_with_label_values(&labels) {
            gauge.inc();
        }
    }
}

fn named(name: &str, help: &str) -> Opts {
    Opts::new(name, help).namespace("vipkeeper_operator")
}

fn set(gauges: &Gauges, labels: &[&str], value: f64) {
    if let Ok(gauge) = gauges.get_metric_with_label_values(labels) {
        gauge.set(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOLDEN: &str = include_str!("metrics/golden.txt");
    const DOCUMENT: &str = include_str!("../../docs/metrics.md");

    fn page() -> String {
        let metrics = Metrics::new().unwrap();
        metrics.set_leader(true);
        metrics.set_queue(3);
        metrics.wrote("config", "ok");
        metrics.told("ok");
        metrics.compiled(Duration::from_millis(2));
        metrics.show(&Cluster::default());
        set(&metrics.0.conditions, &["Ready", "True"], 2.0);
        set(&metrics.0.servers, &["Accepted", "False"], 1.0);
        metrics.render().unwrap()
    }

    #[test]
    fn the_numbers_render_to_the_golden_page() {
        let page = page();
        assert_eq!(page, GOLDEN, "the page now:\n{page}");
    }

    #[test]
    fn every_metric_is_documented_as_it_is() {
        let page = page();
        let helps = page.lines().filter_map(|line| line.strip_prefix("# HELP "));
        let helps: Vec<_> = helps.filter_map(|h| h.split_once(' ')).collect();
        assert_eq!(helps.len(), 10);
        for (name, help) in helps {
            let kind = format!("# TYPE {name} ");
            let kind = page
                .lines()
                .find_map(|line| line.strip_prefix(&kind))
                .unwrap();
            let row = format!("| `{name}` | {kind} | {help} |");
            assert!(DOCUMENT.contains(&row), "docs/metrics.md lacks: {row}");
        }
    }
}
