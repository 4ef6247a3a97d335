//! Metrics of probes, by kind: as many series as kinds are used.

use super::Page;
use crate::probe::{Figures, RESULTS};

impl Page {
    pub(super) fn probes(&self, figures: &Figures) -> prometheus::Result<()> {
        let help = "Targets that are probed, each once however many virtual servers ask.";
        let targets = self.gauges("probe_targets", help, &["kind"])?;
        let help = "Probes, by what they came to.";
        let results = self.counters("probe_results_total", help, &["kind", "result"])?;
        for of_kind in &figures.kinds {
            targets
                .get_metric_with_label_values(&[of_kind.kind])?
                .set(of_kind.targets as f64);
            for (result, count) in RESULTS.into_iter().zip(of_kind.results) {
                results
                    .get_metric_with_label_values(&[of_kind.kind, result])?
                    .inc_by(count);
            }
        }
        self.histogram(
            "probe_duration_seconds",
            "Seconds that probes took from their beginning to their judgement.",
            Some("kind"),
            figures
                .kinds
                .iter()
                .map(|of_kind| (of_kind.kind.to_owned(), &of_kind.durations))
                .collect(),
        )?;
        self.gauge("probe_running", "Probes under way.", figures.running as f64)?;
        let help = "Probes that are due and wait for others to end.";
        self.gauge("probe_waiting", help, figures.waiting as f64)?;
        let help = "Probes that had to wait for others to end.";
        self.counters("probe_delayed_total", help, &[])?
            .get_metric_with_label_values(&[] as &[&str])?
            .inc_by(figures.delayed);
        Ok(())
    }
}
