//! `/metrics`: a state as Prometheus text.
//!
//! Made anew for each scrape from the same [`State`] that `/state` shows, so that both say the same. Labels are
//! bounded by the configuration and by our own words.

mod evidence;

use prometheus::core::{AtomicF64, AtomicU64, GenericCounterVec, GenericGaugeVec};
use prometheus::{Encoder as _, Opts, Registry, TextEncoder};
use vipkeeper_vrrp::{NodeCounters, RouterCounters, StateName};

use crate::probe::Figures;
use crate::state::{Router, State};

mod distributions;
mod probes;
mod servers;
mod transitions;

pub use distributions::Distributions;

type Gauges = GenericGaugeVec<AtomicF64>;
type Counters = GenericCounterVec<AtomicU64>;

/// The labels of everything about a router.
const ROUTER: [&str; 3] = ["router", "family", "interface"];

/// `state`, `distributions` and what `probes` came to in Prometheus' text format.
///
/// # Errors
/// Only if a name of ours is none of Prometheus', which the tests would find.
pub fn render(
    state: &State,
    distributions: &Distributions,
    probes: &Figures,
) -> prometheus::Result<String> {
    let page = Page(Registry::new());
    page.node(state)?;
    page.states(&state.routers)?;
    page.router_gauges(&state.routers)?;
    page.router_counters(&state.routers)?;
    page.refusals(&state.routers)?;
    page.node_refusals(&state.counters)?;
    page.evidence(&state.routers)?;
    page.heartbeat(&state.heartbeat)?;
    page.ipvs(&state.ipvs)?;
    page.virtual_servers(&state.servers)?;
    page.real_servers(&state.servers)?;
    page.threads(state)?;
    page.transitions(&state.routers)?;
    page.silence(&state.routers)?;
    page.distributions(distributions)?;
    page.probes(probes)?;
    let mut text = Vec::new();
    TextEncoder::new().encode(&page.0.gather(), &mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

struct Page(Registry);

impl Page {
    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<Gauges> {
        let gauges = Gauges::new(Opts::new(name, help).namespace("vipkeeper"), labels)?;
        self.0.register(Box::new(gauges.clone()))?;
        Ok(gauges)
    }

    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<Counters> {
        let counters = Counters::new(Opts::new(name, help).namespace("vipkeeper"), labels)?;
        self.0.register(Box::new(counters.clone()))?;
        Ok(counters)
    }

    fn gauge(&self, name: &str, help: &str, value: f64) -> prometheus::Result<()> {
        self.gauges(name, help, &[])?
            .get_metric_with_label_values(&[] as &[&str])?
            .set(value);
        Ok(())
    }

    fn node(&self, state: &State) -> prometheus::Result<()> {
        self.gauges(
            "build_info",
            "1, with the version as a label.",
            &["version"],
        )?
        .get_metric_with_label_values(&[env!("CARGO_PKG_VERSION")])?
        .set(1.0);
        self.gauge(
            "ready",
            "Whether a verified configuration is served.",
            flag(state.ready),
        )?;
        self.gauge(
            "configuration_findings",
            "Findings and notes about the configuration.",
            state.findings.len() as f64,
        )?;
        self.gauge(
            "foreign_routers",
            "Virtual routers of others heard on our links.",
            state.foreign.len() as f64,
        )
    }

    fn states(&self, routers: &[Router]) -> prometheus::Result<()> {
        let help = "1 for the state that the router is in (RFC 9568 section 6.4).";
        let labels = ["router", "family", "interface", "state"];
        let states = self.gauges("router_state", help, &labels)?;
        for router in routers {
            let [name, family, interface] = labels_of(router);
            for state in StateName::ALL {
                let labels = [&name, &family, &interface, state.as_str()];
                states
                    .get_metric_with_label_values(&labels)?
                    .set(flag(router.state == state.as_str()));
            }
        }
        Ok(())
    }

    fn router_gauges(&self, routers: &[Router]) -> prometheus::Result<()> {
        type Value = fn(&Router) -> f64;
        let gauges: [(&str, &str, Value); 7] = [
            ("router_priority", "The configured priority.", |r| {
                r.priority.into()
            }),
            (
                "router_effective_priority",
                "The priority with weights, as advertised.",
                |r| r.effective_priority.into(),
            ),
            (
                "router_addresses",
                "The virtual addresses of the router.",
                |r| r.addresses.len() as f64,
            ),
            (
                "router_addresses_installed",
                "Virtual addresses of the router that the kernel confirmed.",
                |r| r.installed as f64,
            ),
            (
                "router_addresses_refused",
                "Virtual addresses of the router that the kernel or the ledger refused.",
                |r| r.refused.len() as f64,
            ),
            (
                "router_address_conflicts",
                "Those of them that are on the interface and not because of us.",
                |r| r.conflicts.len() as f64,
            ),
            (
                "router_active_down_interval_seconds",
                "Active_Down_Interval, in seconds.",
                |r| r.active_down_interval_ms / 1_000.0,
            ),
        ];
        for (name, help, value) in gauges {
            let gauges = self.gauges(name, help, &ROUTER)?;
            for router in routers {
                let labels = labels_of(router);
                gauges
                    .get_metric_with_label_values(&labels)?
                    .set(value(router));
            }
        }
        Ok(())
    }

    fn router_counters(&self, routers: &[Router]) -> prometheus::Result<()> {
        type Value = fn(&Router) -> u64;
        let counters: [(&str, &str, Value); 10] = [
            (
                "router_active_transitions_total",
                "Times it became Active.",
                |r| r.counters.active_transitions,
            ),
            (
                "advertisements_received_total",
                "Acceptable advertisements.",
                |r| r.counters.advertisements_received,
            ),
            ("advertisements_sent_total", "Advertisements sent.", |r| {
                r.counters.advertisements_sent
            }),
            (
                "priority_zero_received_total",
                "Advertisements of leaving routers.",
                |r| r.counters.priority_zero_received,
            ),
            (
                "priority_zero_sent_total",
                "Advertisements sent on leaving.",
                |r| r.counters.priority_zero_sent,
            ),
            (
                "announcements_sent_total",
                "Gratuitous ARP and unsolicited neighbour advertisements sent.",
                |r| r.counters.announcements_sent,
            ),
            (
                "split_brains_total",
                "Times another Active was noticed beside the router.",
                |r| r.counters.split_brains,
            ),
            (
                "address_conflicts_total",
                "Claims of others to an address that the router held.",
                |r| r.counters.address_conflicts,
            ),
            (
                "checksums_rfc9568_total",
                "IPv4 advertisements accepted with the checksum of RFC 9568.",
                |r| r.counters.checksum_rfc9568,
            ),
            (
                "checksums_rfc5798_total",
                "IPv4 advertisements accepted with the checksum of RFC 5798.",
                |r| r.counters.checksum_rfc5798,
            ),
        ];
        for (name, help, value) in counters {
            let counters = self.counters(name, help, &ROUTER)?;
            for router in routers {
                let labels = labels_of(router);
                counters
                    .get_metric_with_label_values(&labels)?
                    .inc_by(value(router));
            }
        }
        Ok(())
    }

    fn refusals(&self, routers: &[Router]) -> prometheus::Result<()> {
        let help = "Advertisements for the router that were refused, or accepted though odd.";
        let labels = ["router", "family", "interface", "reason"];
        let counters = self.counters("advertisements_odd_total", help, &labels)?;
        for router in routers {
            let [name, family, interface] = labels_of(router);
            for (reason, count) in router_reasons(&router.counters) {
                counters
                    .get_metric_with_label_values(&[&name, &family, &interface, reason])?
                    .inc_by(count);
            }
        }
        Ok(())
    }

    fn node_refusals(&self, node: &NodeCounters) -> prometheus::Result<()> {
        let help = "Datagrams that were refused on this node, those for a router included.";
        let counters = self.counters("datagrams_refused_total", help, &["reason"])?;
        for (reason, count) in node_reasons(node) {
            counters
                .get_metric_with_label_values(&[reason])?
                .inc_by(count);
        }
        Ok(())
    }

    fn threads(&self, state: &State) -> prometheus::Result<()> {
        let health = &state.health;
        let micros = |value: u64| value as f64 / 1e6;
        let gauges = [
            (
                "election_alive",
                "Whether the election ticked lately.",
                flag(health.alive),
            ),
            (
                "election_realtime",
                "Whether the election is scheduled as SCHED_FIFO.",
                flag(state.realtime.scheduling == "SCHED_FIFO"),
            ),
            (
                "memory_locked",
                "Whether the process's memory is locked.",
                flag(state.realtime.memory_locked),
            ),
            (
                "election_lateness_seconds",
                "How many seconds late the last timer was served.",
                micros(state.lateness.last_us),
            ),
            (
                "election_lateness_max_seconds",
                "The most seconds late that a timer was served since the start.",
                micros(state.lateness.max_us),
            ),
            (
                "addresses_held",
                "Virtual addresses on interfaces because of us.",
                health.addresses_held as f64,
            ),
            (
                "ledger_rows",
                "Rows of the ledger: addresses that may be there because of us, and settings that we changed.",
                health.ledger_rows as f64,
            ),
        ];
        for (name, help, value) in gauges {
            self.gauge(name, help, value)?;
        }
        let counters = [
            (
                "datagrams_received_total",
                "Datagrams read.",
                health.received,
            ),
            (
                "events_dropped_total",
                "Events that did not fit into their ring.",
                health.events_dropped,
            ),
            (
                "notices_dropped_total",
                "Notices of the network thread that did not fit into their channel.",
                health.notices_dropped,
            ),
            (
                "addresses_restored_total",
                "Addresses that somebody took off and that were put back.",
                health.addresses_restored,
            ),
            (
                "event_overruns_total",
                "Times that the kernel's events came too fast and everything was listed anew.",
                health.event_overruns,
            ),
            (
                "addresses_refused_total",
                "Addresses that could not be installed.",
                health.addresses_refused,
            ),
            (
                "install_failures_total",
                "Orders to install that failed as a whole.",
                health.install_failures,
            ),
            (
                "renewal_failures_total",
                "Renewals of addresses that failed.",
                health.renewal_failures,
            ),
        ];
        for (name, help, value) in counters {
            self.counters(name, help, &[])?
                .get_metric_with_label_values(&[] as &[&str])?
                .inc_by(value);
        }
        let help = "Socket operations of the election that failed.";
        let failures = self.counters("socket_failures_total", help, &["activity"])?;
        for (activity, count) in [
            ("receive", health.receive_failures),
            ("advertise", health.advertise_failures),
            ("announce", health.announce_failures),
        ] {
            failures
                .get_metric_with_label_values(&[activity])?
                .inc_by(count);
        }
        Ok(())
    }
}

const fn flag(value: bool) -> f64 {
    if value { 1.0 } else { 0.0 }
}

fn labels_of(router: &Router) -> [String; 3] {
    [
        router.name.clone(),
        router.family.to_string(),
        router.interface.clone().unwrap_or_default(),
    ]
}

/// The words for what can be wrong or odd about an advertisement, with how often it was.
pub(crate) const fn router_reasons(counters: &RouterCounters) -> [(&'static str, u64); 14] {
    [
        ("Ttl", counters.ip_ttl_errors),
        ("Version", counters.version_errors),
        ("Checksum", counters.checksum_errors),
        ("Type", counters.invalid_type_errors),
        ("Length", counters.packet_length_errors),
        ("Interval", counters.interval_errors),
        ("AddressList", counters.address_list_errors),
        ("LinkLocal", counters.link_local_errors),
        ("AuthenticationType", counters.authentication_type_errors),
        ("Authentication", counters.authentication_failures),
        ("Destination", counters.destination_errors),
        ("UnknownPeer", counters.unknown_peers),
        ("OwnerConflict", counters.owner_conflicts),
        ("DuplicateSource", counters.duplicate_sources),
    ]
}

const fn node_reasons(counters: &NodeCounters) -> [(&'static str, u64); 7] {
    [
        ("Malformed", counters.malformed),
        ("Ttl", counters.ip_ttl_errors),
        ("Version", counters.version_errors),
        ("Checksum", counters.checksum_errors),
        ("Vrid", counters.vrid_errors),
        ("Length", counters.packet_length_errors),
        ("Looped", counters.looped),
    ]
}

#[cfg(test)]
mod tests;
