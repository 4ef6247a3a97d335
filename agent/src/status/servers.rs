//! How the virtual servers stand, as part of the status of the NodeConfig that has them: their router's, or a shard's.
//! Pure.
//!
//! What only counts (connections, bytes) is in the metrics and never here: the same standing gives the same status.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use vipkeeper_compiler::ServiceName;
use vipkeeper_crds::conditions::{Condition, ConditionStatus, ConditionType, Reason};
use vipkeeper_crds::node_server::{NodeServer, ServerName};
use vipkeeper_crds::status::{NodeConfigStatus, ServerHealth, ServerStatus, UnhealthyServer};
use vipkeeper_ipvs::{DestinationKey, ServiceKey};

use super::lacks;
use crate::services::{Lack, Observed, Report, Trouble};
use crate::source::Desired;

/// Most servers of one NodeConfig, as its schema has it.
const MOST_SERVERS: usize = 4096;
/// Most real servers that are named.
const MOST_UNHEALTHY: usize = 16;
/// Most characters of a reason.
const MOST_REASON: usize = 256;
/// Most troubles that a message names, and its most characters.
const MOST_TROUBLES: usize = 4;
const MOST_TEXT: usize = 1024;

/// What it is made of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Standing<'a> {
    pub(super) reports: &'a [Report],
    pub(super) observed: &'a Observed,
    pub(super) desired: &'a Desired,
}

/// What is wrong, without what only counts: when this is the same, so is the status.
pub(super) fn is_news(before: &Observed, now: &Observed) -> bool {
    type Wrong<'a> = (
        bool,
        Option<&'a Trouble>,
        &'a BTreeMap<DestinationKey, Trouble>,
    );
    fn wrong(observed: &Observed) -> impl Iterator<Item = (&ServiceKey, Wrong<'_>)> {
        let services = observed.services.iter();
        services.map(|(key, s)| (key, (s.is_programmed, s.trouble.as_ref(), &s.destinations)))
    }
    before.trouble != now.trouble
        || before.firewall != now.firewall
        || lacks::are_news(before, now)
        || !wrong(before).eq(wrong(now))
}

/// The same, where each server is found at once.
#[derive(Debug)]
pub(super) struct Index<'a> {
    standing: Standing<'a>,
    configs: HashMap<(&'a str, &'a ServerName), &'a NodeServer>,
    reports: HashMap<(&'a str, &'a ServerName), &'a Report>,
    /// What was said of it, in whichever NodeConfig.
    before: HashMap<&'a ServerName, &'a ServerStatus>,
}

impl<'a> Index<'a> {
    /// Of `standing`, and of what was said `before`.
    pub(super) fn new(
        standing: Standing<'a>,
        before: impl Iterator<Item = &'a NodeConfigStatus>,
    ) -> Self {
        let configs = standing.desired.configs.iter();
        let configs = configs.flat_map(|config| {
            let servers = config.servers.iter();
            servers.map(|server| ((config.router.as_str(), &server.name), server))
        });
        let reports = standing.reports.iter();
        Self {
            standing,
            configs: configs.collect(),
            reports: reports.map(|r| ((&*r.router, &r.server), r)).collect(),
            before: before
                .flat_map(|status| &status.servers)
                .map(|said| (&said.server, said))
                .collect(),
        }
    }

    /// Of the servers on the addresses of `router` those `named`; what was said `before`, in the NodeConfig for which
    /// this is or else in another, keeps its times.
    pub(super) fn of_object(
        &self,
        router: &str,
        named: &BTreeSet<ServerName>,
        before: Option<&NodeConfigStatus>,
        now: &Time,
    ) -> Vec<ServerStatus> {
        let before = before.into_iter().flat_map(|b| &b.servers);
        let before: HashMap<&ServerName, &ServerStatus> = before.map(|s| (&s.server, s)).collect();
        let statuses = named.iter().filter_map(|name| {
            let report = self.reports.get(&(router, name))?;
            let config = self.configs.get(&(router, name)).copied();
            let before = before.get(name).or_else(|| self.before.get(name));
            self.standing.status(report, config, before.copied(), now)
        });
        statuses.take(MOST_SERVERS).collect()
    }
}

impl Standing<'_> {
    /// Nothing while it cannot be told yet whether there is a quorum, and nothing else is wrong.
    fn status(
        &self,
        report: &Report,
        config: Option<&NodeServer>,
        before: Option<&ServerStatus>,
        now: &Time,
    ) -> Option<ServerStatus> {
        let lacks = lacks::of_server(report, self.observed);
        let condition = self.condition(report, config, &lacks, before, now);
        let quorum = report.quorum().or(before.map(|b| b.health.quorum));
        let quorum = quorum.or(condition.is_some().then_some(false))?;
        let real_servers = report.real_servers();
        let unhealthy = real_servers.iter();
        let unhealthy = unhealthy.filter_map(|(key, why)| Some((key, why.as_ref()?)));
        let count = unhealthy.clone().count();
        let unhealthy = unhealthy.take(MOST_UNHEALTHY);
        Some(ServerStatus {
            server: report.server.clone(),
            generation: report.generation,
            health: ServerHealth {
                programmed: report.is_programmed(self.observed),
                quorum,
                sorry: report.sorry(),
                healthy: whole(real_servers.len().saturating_sub(count)),
                total: whole(real_servers.len()),
                unhealthy: unhealthy
                    .map(|(key, why)| UnhealthyServer {
                        address: key.address.to_string(),
                        port: key.port.into(),
                        reason: why.chars().take(MOST_REASON).collect(),
                    })
                    .collect(),
            },
            conditions: condition.into_iter().collect(),
        })
    }

    /// What is wrong on this node: the reason of the gravest, and what each says.
    fn condition(
        &self,
        report: &Report,
        config: Option<&NodeServer>,
        lacks: &[Lack],
        before: Option<&ServerStatus>,
        now: &Time,
    ) -> Option<Condition> {
        let mut wrong = BTreeSet::new();
        let firewall = self.observed.firewall.trouble.iter();
        let firewall = firewall.filter(|_| report.masquerades());
        for trouble in self.troubles(report).chain(firewall) {
            wrong.insert((reason_of(trouble), trouble.to_string()));
        }
        if let Some(service) = config.and_then(ServiceName::of)
            && !self.desired.endpoints.knows(&service)
        {
            let text = format!("Service {service}: {}", Reason::ServiceMissing.text());
            wrong.insert((Reason::ServiceMissing, text));
        }
        let more = wrong.len().saturating_sub(MOST_TROUBLES);
        let mut texts: Vec<(Reason, String)> = wrong.into_iter().take(MOST_TROUBLES).collect();
        if let Some((_, text)) = texts.last_mut().filter(|_| more > 0) {
            text.push_str(&format!("; and {more} more"));
        }
        // The mildest reason; its commands are never left out.
        if !lacks.is_empty() {
            texts.push((Reason::SettingMissing, lacks::text(lacks)));
        }
        let reason = texts.first()?.0;
        let texts: Vec<String> = texts.into_iter().map(|(_, text)| text).collect();
        let earlier = before.into_iter().flat_map(|b| &b.conditions);
        let mut earlier = earlier.filter(|c| c.kind == ConditionType::Degraded);
        let since = earlier.next().map(|c| c.last_transition_time.clone());
        Some(Condition {
            kind: ConditionType::Degraded,
            status: ConditionStatus::True,
            reason,
            message: texts.join("; ").chars().take(MOST_TEXT).collect(),
            last_transition_time: since.unwrap_or_else(|| now.clone()),
            observed_generation: report.generation,
        })
    }

    fn troubles(&self, report: &Report) -> impl Iterator<Item = &Trouble> {
        let services = report.services.keys();
        let services = services.filter_map(|key| self.observed.services.get(key));
        let own = services.flat_map(|s| s.trouble.iter().chain(s.destinations.values()));
        self.observed.trouble.iter().chain(own)
    }
}

const fn reason_of(trouble: &Trouble) -> Reason {
    match trouble {
        Trouble::Foreign => Reason::ForeignService,
        Trouble::SchedulerMissing(_)
        | Trouble::EngineMissing(_)
        | Trouble::SchedulerOrEngineMissing { .. } => Reason::SchedulerMissing,
        Trouble::IpvsMissing => Reason::IpvsMissing,
        Trouble::Refused(_) | Trouble::Unreachable(_) => Reason::NotProgrammed,
    }
}

fn whole(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use vipkeeper_ipvs::{Protocol, Service, ServiceFlags};
    use vipkeeper_nft::{Endpoint, Ruleset};

    use super::*;
    use crate::services::settings::{Importance, Setting};
    use crate::services::{
        Entry, MemberStanding, ServiceReport, Standing as ListenerStanding, Table,
    };
    use crate::status::composition::time;

    fn key() -> ServiceKey {
        ServiceKey::Address {
            protocol: Protocol::Tcp,
            address: [192, 0, 2, 100].into(),
            port: 80,
        }
    }

    /// A server of 20 real servers, of which so many are healthy.
    fn report(healthy: u8, quorum: Option<bool>) -> Report {
        let members = (0..20).map(|host| {
            let key = DestinationKey {
                address: [10, 0, 0, host].into(),
                port: 8080,
            };
            let why_not = (host >= healthy).then(|| Arc::from("web: refused"));
            let is_leaving = false;
            (
                key,
                MemberStanding {
                    why_not,
                    is_leaving,
                },
            )
        });
        let standing = ListenerStanding {
            quorum,
            sorry: None,
            masquerades: false,
            members: members.collect(),
        };
        Report {
            server: ServerName {
                namespace: "shop".to_owned(),
                name: "one".to_owned(),
            },
            router: Arc::from("web"),
            generation: 2,
            services: BTreeMap::from([(key(), standing)]),
        }
    }

    fn observed(is_programmed: bool, trouble: Option<Trouble>) -> Observed {
        let service = ServiceReport {
            is_programmed,
            ..ServiceReport::default()
        };
        Observed {
            trouble,
            services: BTreeMap::from([(key(), service)]),
            ..Observed::default()
        }
    }

    fn said(
        report: &Report,
        observed: &Observed,
        before: &[ServerStatus],
        second: u64,
    ) -> Vec<ServerStatus> {
        let standing = Standing {
            reports: std::slice::from_ref(report),
            observed,
            desired: &Desired::default(),
        };
        let before = NodeConfigStatus {
            servers: before.to_vec(),
            ..NodeConfigStatus::default()
        };
        let now = time(std::time::Duration::from_secs(second));
        let index = Index::new(standing, std::iter::empty());
        let named = BTreeSet::from([report.server.clone()]);
        index.of_object("web", &named, Some(&before), &now)
    }

    #[test]
    fn a_server_is_reported_with_the_first_that_are_out() {
        let all = said(&report(3, Some(true)), &observed(true, None), &[], 1);
        let [status] = &all[..] else {
            panic!("{all:?}");
        };
        let health = &status.health;
        assert!(health.programmed && health.quorum);
        assert_eq!(
            (health.healthy, health.total, health.unhealthy.len()),
            (3, 20, 16)
        );
        assert_eq!(health.unhealthy[0].address, "10.0.0.3");
        assert_eq!(health.unhealthy[0].reason, "web: refused");
        assert_eq!((status.generation, status.conditions.len()), (2, 0));
    }

    #[test]
    fn a_kernel_without_ipvs_is_said_and_keeps_its_time() {
        let observed = observed(false, Some(Trouble::IpvsMissing));
        let first = said(&report(20, Some(true)), &observed, &[], 1);
        assert!(!first[0].health.programmed);
        let condition = &first[0].conditions[0];
        assert_eq!(condition.kind, ConditionType::Degraded);
        assert_eq!(condition.reason, Reason::IpvsMissing);
        assert!(
            condition.message.contains("modprobe ip_vs"),
            "{}",
            condition.message
        );
        assert_eq!(said(&report(20, Some(true)), &observed, &first, 9), first);
    }

    /// A table with one server's service, of which packets are masqueraded or not, and what it lacks.
    fn lacking(is_masqueraded: bool, lacks: &[(Setting, Importance)]) -> Observed {
        let service = Service {
            key: key(),
            scheduler: "wlc".parse().unwrap(),
            flags: ServiceFlags::default(),
            persistence: None,
            engine: None,
        };
        let mut table: Table = [Entry::new(service)].into_iter().collect();
        let endpoint = Endpoint {
            address: [192, 0, 2, 100].into(),
            protocol: vipkeeper_nft::Protocol::Tcp,
            port: 80,
        };
        table.set_firewall(Ruleset {
            masqueraded: is_masqueraded
                .then_some(endpoint.into())
                .into_iter()
                .collect(),
            ..Ruleset::default()
        });
        let lack = |&(setting, importance): &_| Lack {
            setting,
            is: Some(0),
            wanted: 1,
            importance,
        };
        Observed {
            table: Some(Arc::new(table)),
            lacks: lacks.iter().map(lack).collect(),
            ..observed(true, None)
        }
    }

    const SLOPPY: (Setting, Importance) = (Setting::SloppyTcp, Importance::Advised);
    const CONNTRACK: (Setting, Importance) = (Setting::Conntrack, Importance::Needed);

    #[test]
    fn a_missing_setting_is_said_with_its_command_of_whom_it_concerns() {
        let advised = lacking(false, &[SLOPPY]);
        let all = said(&report(20, Some(true)), &advised, &[], 1);
        assert!(all[0].health.programmed, "it works without");
        let condition = &all[0].conditions[0];
        assert_eq!(condition.reason, Reason::SettingMissing);
        assert_eq!(
            condition.message,
            "better with: `sysctl -w net.ipv4.vs.sloppy_tcp=1`"
        );

        // Another server of the node needs it.
        let other = lacking(false, &[CONNTRACK]);
        let all = said(&report(20, Some(true)), &other, &[], 1);
        assert!(all[0].health.programmed && all[0].conditions.is_empty());
    }

    #[test]
    fn a_server_that_cannot_work_without_a_setting_is_not_programmed() {
        let mut needed = lacking(true, &[CONNTRACK, SLOPPY]);
        needed.firewall.is_programmed = true;
        let mut report = report(20, Some(true));
        let listeners = report.services.values_mut();
        listeners.for_each(|listener| listener.masquerades = true);
        let all = said(&report, &needed, &[], 1);
        assert!(!all[0].health.programmed);
        assert_eq!(
            all[0].conditions[0].message,
            "needed: `sysctl -w net.ipv4.vs.conntrack=1`; better with: `sysctl -w net.ipv4.vs.sloppy_tcp=1`"
        );
    }

    #[test]
    fn a_graver_reason_comes_before_a_missing_setting() {
        let mut observed = lacking(false, &[SLOPPY]);
        observed.trouble = Some(Trouble::Foreign);
        let all = said(&report(20, Some(true)), &observed, &[], 1);
        let condition = &all[0].conditions[0];
        assert_eq!(condition.reason, Reason::ForeignService);
        assert!(condition.message.contains("sloppy_tcp"));
    }

    #[test]
    fn before_probes_have_answered_nothing_is_said() {
        let observed = observed(true, None);
        assert_eq!(said(&report(0, None), &observed, &[], 1), []);
        let first = said(&report(20, Some(true)), &observed, &[], 1);
        let later = said(&report(0, None), &observed, &first, 2);
        assert!(later[0].health.quorum);
    }

    #[test]
    fn counters_are_no_news() {
        let before = observed(true, None);
        let mut now = before.clone();
        now.counts.passes += 1;
        now.at = Some(vipkeeper_vrrp::Time::from_nanos(7));
        assert!(!is_news(&before, &now));
        assert!(is_news(&before, &observed(false, None)));
        assert!(is_news(
            &before,
            &observed(true, Some(Trouble::IpvsMissing))
        ));
        assert!(is_news(&before, &lacking(false, &[SLOPPY])));
        let lacks = [CONNTRACK];
        assert!(!is_news(&lacking(true, &lacks), &lacking(true, &lacks)));
        // Another server is concerned, and nothing else has changed.
        assert!(is_news(&lacking(false, &lacks), &lacking(true, &lacks)));
    }
}
