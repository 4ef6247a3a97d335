//! Metrics of what happened to routers: transitions by kind, and how long the Active has been silent.

use super::{Page, ROUTER, labels_of};
use crate::state::Router;

impl Page {
    /// Only kinds that happened have a series.
    pub(super) fn transitions(&self, routers: &[Router]) -> prometheus::Result<()> {
        let help = "Changes of state since the router was configured, by from, to and reason.";
        let labels = ["router", "family", "interface", "from", "to", "reason"];
        let counters = self.counters("router_transitions_total", help, &labels)?;
        for router in routers {
            let [name, family, interface] = labels_of(router);
            for kind in &router.transitions_by_kind {
                let labels = [
                    &name,
                    &family,
                    &interface,
                    &kind.from,
                    &kind.to,
                    &kind.reason,
                ];
                counters
                    .get_metric_with_label_values(&labels)?
                    .inc_by(kind.count);
            }
        }
        Ok(())
    }

    /// Only routers that heard one have a series.
    pub(super) fn silence(&self, routers: &[Router]) -> prometheus::Result<()> {
        let help = "Seconds since the last acceptable advertisement of another router.";
        let gauges = self.gauges("router_last_advertisement_age_seconds", help, &ROUTER)?;
        for router in routers {
            if let Some(heard) = &router.last_advertisement {
                let labels = labels_of(router);
                gauges
                    .get_metric_with_label_values(&labels)?
                    .set(heard.age_ms as f64 / 1e3);
            }
        }
        Ok(())
    }
}
