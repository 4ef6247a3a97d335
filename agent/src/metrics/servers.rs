//! Metrics of virtual servers and real servers. Labels are those of the configuration: a service of the kernel, and the
//! real servers that it has or should have.

use super::{Page, flag};
use crate::state::{Ipvs, RealServer, Server, Service, Traffic};

/// The labels of everything about a listener.
const SERVICE: [&str; 3] = ["namespace", "server", "service"];
/// The labels of everything about a real server.
const REAL_SERVER: [&str; 4] = ["namespace", "server", "service", "real_server"];

/// Real servers that have series of their own: a page of more is too long for a scrape.
const MOST: usize = 1_000;

type Count = fn(&Traffic) -> u64;

/// What the kernel counts, for listeners and for real servers alike.
const TRAFFIC: [(&str, &str, Count); 5] = [
    ("connections", "Connections that were scheduled", |t| {
        t.connections
    }),
    ("incoming_packets", "Packets from clients", |t| {
        t.incoming_packets
    }),
    (
        "outgoing_packets",
        "Packets to clients, counted with NAT and FullNAT alone",
        |t| t.outgoing_packets,
    ),
    ("incoming_bytes", "Bytes from clients", |t| t.incoming_bytes),
    (
        "outgoing_bytes",
        "Bytes to clients, counted with NAT and FullNAT alone",
        |t| t.outgoing_bytes,
    ),
];

impl Page {
    /// How the kernel follows.
    pub(super) fn ipvs(&self, ipvs: &Ipvs) -> prometheus::Result<()> {
        let gauges = [
            (
                "ipvs_foreign_services",
                "Services of IPVS that somebody else has on this node.",
                ipvs.others as f64,
            ),
            (
                "ipvs_settings_lacking",
                "Settings of the node that virtual servers need or are better with, and that are not so.",
                ipvs.lacks.len() as f64,
            ),
        ];
        for (name, help, value) in gauges {
            self.gauge(name, help, value)?;
        }
        let counters = [
            (
                "ipvs_passes_total",
                "Times that the table of IPVS was read.",
                ipvs.passes,
            ),
            (
                "ipvs_operations_total",
                "Changes that IPVS was told, those that it refused included.",
                ipvs.operations,
            ),
            (
                "ipvs_repairs_total",
                "Changes of them that put back what somebody had removed or changed.",
                ipvs.repairs,
            ),
            (
                "ipvs_refusals_total",
                "Changes of them that IPVS refused.",
                ipvs.refusals,
            ),
            (
                "ipvs_failures_total",
                "Times that IPVS could not be asked, or the ledger of services not be written.",
                ipvs.failures,
            ),
        ];
        for (name, help, count) in counters {
            self.counters(name, help, &[])?
                .get_metric_with_label_values(&[] as &[&str])?
                .inc_by(count);
        }
        Ok(())
    }

    /// How each listener stands.
    pub(super) fn virtual_servers(&self, servers: &[Server]) -> prometheus::Result<()> {
        type Value = fn(&Service) -> f64;
        let gauges: [(&str, &str, Value); 5] = [
            (
                "virtual_server_programmed",
                "Whether the kernel has the service as it should be.",
                |s| flag(s.programmed),
            ),
            (
                "virtual_server_quorum",
                "Whether enough real servers are healthy.",
                |s| flag(s.quorum == Some(true)),
            ),
            (
                "virtual_server_sorry",
                "Whether the sorry server serves.",
                |s| flag(s.real_servers.iter().any(|r| r.sorry)),
            ),
            (
                "virtual_server_real_servers",
                "Real servers without those that leave.",
                |s| listed(s).count() as f64,
            ),
            (
                "virtual_server_real_servers_healthy",
                "Real servers of them that are healthy.",
                |s| listed(s).filter(|r| r.healthy).count() as f64,
            ),
        ];
        for (name, help, value) in gauges {
            let gauges = self.gauges(name, help, &SERVICE)?;
            for (server, service) in services(servers) {
                gauges
                    .get_metric_with_label_values(&labels(server, service))?
                    .set(value(service));
            }
        }
        for (name, help, count) in TRAFFIC {
            let name = format!("virtual_server_{name}_total");
            let help = format!("{help}, since the service was made.");
            let counters = self.counters(&name, &help, &SERVICE)?;
            for (server, service) in services(servers) {
                counters
                    .get_metric_with_label_values(&labels(server, service))?
                    .inc_by(count(&service.counters));
            }
        }
        Ok(())
    }

    /// How each real server stands, up to a bound.
    pub(super) fn real_servers(&self, servers: &[Server]) -> prometheus::Result<()> {
        let beyond = real_servers(servers).skip(MOST).count();
        self.gauge(
            "real_servers_unlisted",
            "Real servers without series of their own, for there are more than 1000.",
            beyond as f64,
        )?;
        type Value = fn(&RealServer) -> f64;
        let gauges: [(&str, &str, Value); 5] = [
            (
                "real_server_healthy",
                "Whether the probes say that it is healthy.",
                |r| flag(r.healthy),
            ),
            (
                "real_server_leaving",
                "Whether it leaves: it keeps its connections and gets no new ones.",
                |r| flag(r.leaving),
            ),
            (
                "real_server_weight",
                "Its weight in the kernel; 0 also while the kernel does not have it.",
                |r| r.weight.unwrap_or(0).into(),
            ),
            (
                "real_server_active_connections",
                "Established connections.",
                |r| r.active_connections.into(),
            ),
            (
                "real_server_inactive_connections",
                "Connections in any other state.",
                |r| r.inactive_connections.into(),
            ),
        ];
        for (name, help, value) in gauges {
            let gauges = self.gauges(name, help, &REAL_SERVER)?;
            for (server, service, real_server) in real_servers(servers).take(MOST) {
                let [namespace, name, key] = labels(server, service);
                gauges
                    .get_metric_with_label_values(&[namespace, name, key, &real_server.address])?
                    .set(value(real_server));
            }
        }
        for (name, help, count) in TRAFFIC {
            let name = format!("real_server_{name}_total");
            let help = format!("{help}, since the real server was added.");
            let counters = self.counters(&name, &help, &REAL_SERVER)?;
            for (server, service, real_server) in real_servers(servers).take(MOST) {
                let [namespace, name, key] = labels(server, service);
                counters
                    .get_metric_with_label_values(&[namespace, name, key, &real_server.address])?
                    .inc_by(count(&real_server.counters));
            }
        }
        Ok(())
    }
}

fn listed(service: &Service) -> impl Iterator<Item = &RealServer> {
    let all = service.real_servers.iter();
    all.filter(|r| !r.sorry && !r.leaving)
}

fn services(servers: &[Server]) -> impl Iterator<Item = (&Server, &Service)> {
    let of = |server| move |service| (server, service);
    servers
        .iter()
        .flat_map(move |s| s.services.iter().map(of(s)))
}

fn real_servers(servers: &[Server]) -> impl Iterator<Item = (&Server, &Service, &RealServer)> {
    services(servers).flat_map(|(server, service)| {
        let all = service.real_servers.iter();
        all.map(move |real_server| (server, service, real_server))
    })
}

fn labels<'a>(server: &'a Server, service: &'a Service) -> [&'a str; 3] {
    [&server.namespace, &server.name, &service.service]
}
