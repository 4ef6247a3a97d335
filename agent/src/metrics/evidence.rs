//! Metrics of what should not be, and of the heartbeat.

use vipkeeper_vrrp::Evidence;

use super::{Page, flag, labels_of};
use crate::state::{Heartbeat, Router};

impl Page {
    /// What each router instance sees that should not be.
    pub(super) fn evidence(&self, routers: &[Router]) -> prometheus::Result<()> {
        let help = "1 while a router has evidence of this condition, or is held back by it.";
        let labels = ["router", "family", "interface", "condition"];
        let gauges = self.gauges("router_condition", help, &labels)?;
        for router in routers {
            let [name, family, interface] = labels_of(router);
            for condition in Evidence::WORDS {
                let stands = router.evidence.iter().any(|e| e.condition == condition);
                let labels = [&name, &family, &interface, condition];
                gauges
                    .get_metric_with_label_values(&labels)?
                    .set(flag(stands));
            }
        }
        Ok(())
    }

    /// Heartbeats by what became of them.
    pub(super) fn heartbeat(&self, heartbeat: &Heartbeat) -> prometheus::Result<()> {
        self.gauge(
            "heartbeat_authenticated",
            "Whether heartbeats are signed and must be.",
            flag(heartbeat.authenticated),
        )?;
        self.gauge(
            "heartbeat_peers",
            "Other nodes that heartbeats go to.",
            heartbeat.peers as f64,
        )?;
        let help = "Heartbeats, by what became of them.";
        let counters = self.counters("heartbeats_total", help, &["outcome"])?;
        let own = &heartbeat.counters;
        for (outcome, count) in [
            ("sent", own.sent),
            ("send_failed", heartbeat.send_failures),
            ("received", own.received),
            ("replayed", own.replayed),
            ("stale", own.stale),
            ("unknown", own.unknown),
            ("refused", heartbeat.refused),
        ] {
            counters
                .get_metric_with_label_values(&[outcome])?
                .inc_by(count);
        }
        Ok(())
    }
}
