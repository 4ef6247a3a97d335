//! Histograms: distributions that the election fills, in Prometheus' form.

use std::collections::HashMap;

use prometheus::core::{Collector, Desc};
use prometheus::proto::{Bucket, Histogram, LabelPair, Metric, MetricFamily, MetricType};

use super::Page;
use crate::distribution::Buckets;
use crate::election::Vitals;

/// Distributions at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Distributions {
    /// How late the election's wake-ups for timers were.
    pub lateness: Buckets,
    /// How long failovers took, by the promotion's reason.
    pub failovers: Vec<(&'static str, Buckets)>,
}

impl Distributions {
    /// As the election has them.
    #[must_use]
    pub fn of(vitals: &Vitals) -> Self {
        Self {
            lateness: vitals.lateness_distribution.read(),
            failovers: vitals.failovers.read().into(),
        }
    }
}

impl Page {
    pub(super) fn distributions(&self, all: &Distributions) -> prometheus::Result<()> {
        self.histogram(
            "election_wakeup_lateness_seconds",
            "How many seconds after its deadline a timer of the election was served.",
            None,
            vec![(String::new(), &all.lateness)],
        )?;
        let by_reason = all.failovers.iter();
        self.histogram(
            "failover_duration_seconds",
            "Seconds from the last advertisement of the Active before to the first announcement of this node, \
             by the promotion's reason.",
            Some("reason"),
            by_reason.map(|(reason, buckets)| ((*reason).to_owned(), buckets)).collect(),
        )
    }

    pub(super) fn histogram(
        &self,
        name: &str,
        help: &str,
        label: Option<&str>,
        series: Vec<(String, &Buckets)>,
    ) -> prometheus::Result<()> {
        let name = format!("vipkeeper_{name}");
        let labels = label.iter().map(|label| (*label).to_owned()).collect();
        let desc = Desc::new(name.clone(), help.to_owned(), labels, HashMap::new())?;
        let mut family = MetricFamily::default();
        family.set_name(name);
        family.set_help(help.to_owned());
        family.set_field_type(MetricType::HISTOGRAM);
        let metrics = series
            .iter()
            .map(|(value, buckets)| metric(label, value, buckets));
        family.set_metric(metrics.collect());
        self.0.register(Box::new(Ready { desc, family }))
    }
}

fn metric(label: Option<&str>, value: &str, buckets: &Buckets) -> Metric {
    let mut histogram = Histogram::default();
    let bucket = |(bound, count): &(std::time::Duration, u64)| {
        let mut bucket = Bucket::default();
        bucket.set_upper_bound(bound.as_secs_f64());
        bucket.set_cumulative_count(*count);
        bucket
    };
    histogram.set_bucket(buckets.cumulative.iter().map(bucket).collect());
    histogram.set_sample_count(buckets.count);
    histogram.set_sample_sum(buckets.sum.as_secs_f64());
    let labels = label.map(|label| {
        let mut pair = LabelPair::default();
        pair.set_name(label.to_owned());
        pair.set_value(value.to_owned());
        pair
    });
    let mut metric = Metric::from_label(labels.into_iter().collect());
    metric.set_histogram(histogram);
    metric
}

/// A family that is made already.
struct Ready {
    desc: Desc,
    family: MetricFamily,
}

impl Collector for Ready {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        vec![self.family.clone()]
    }
}
