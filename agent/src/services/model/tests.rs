//! Who serves, from every side that has a say.

mod continuity;
mod endpoints;

use std::net::{IpAddr, SocketAddr};
use std::slice;
use std::time::Duration;

use serde_json::{Value, json};
use vipkeeper_compiler::Endpoints;
use vipkeeper_crds::NodeCandidate;
use vipkeeper_crds::node_server::NodeServer;
use vipkeeper_ipvs as ipvs;
use vipkeeper_ipvs::{DestinationCounters, DestinationKey, ServiceKey};
use vipkeeper_vrrp::Time;

use super::*;
use crate::services::{Observed, PresentDestination, PresentService, ServiceReport};

/// A server `default/web` of 192.0.2.1:80 with three real servers and a TCP probe; `edit` changes what a test is about.
fn web(edit: impl Fn(&mut Value)) -> NodeServer {
    let real = |n: u8| json!({"address": format!("10.0.0.{n}"), "port": 8080, "weight": 1});
    let mut server = json!({
        "namespace": "default", "name": "web",
        "listeners": [{"type": "Address", "address": "192.0.2.1", "port": 80, "protocol": "TCP", "targetPort": 80}],
        "scheduler": {"name": "rr"},
        "forwarding": {"method": "NAT"},
        "members": {"type": "Static", "realServers": [real(1), real(2), real(3)]},
        "quorum": {"weight": 1, "hysteresis": 0, "sorry": true},
        "probes": [{
            "name": "tcp", "kind": {"type": "TCP"}, "interval": "1s", "timeout": "1s", "rise": 1, "fall": 3,
            "delayAfterFailure": "1s",
        }],
        "initialState": "Down", "onFailure": "Remove", "drainTimeout": "60s",
    });
    edit(&mut server);
    serde_json::from_value(server).unwrap()
}

fn unprobed(edit: impl Fn(&mut Value)) -> NodeServer {
    web(|server| {
        server["probes"] = json!([]);
        edit(server);
    })
}

/// A model with its servers, and the moment.
struct World {
    model: Model,
    endpoints: Endpoints,
    own: BTreeSet<IpAddr>,
    now: Time,
}

impl World {
    fn new(servers: &[NodeServer]) -> Self {
        let mut world = Self {
            model: Model::default(),
            endpoints: Endpoints::default(),
            own: BTreeSet::new(),
            now: Time::ZERO,
        };
        world.configure(servers);
        world
    }

    /// The model of the next process, which finds what this one told the kernel, with a connection everywhere.
    fn successor(&self) -> Self {
        let mut model = Model::default();
        model.inherit(&kernel(&self.model.table(), 1));
        Self {
            model,
            endpoints: self.endpoints.clone(),
            own: self.own.clone(),
            now: self.now,
        }
    }

    fn configure(&mut self, servers: &[NodeServer]) {
        let mut config = crate::plan::tests::config("web", "192.0.2.1");
        config.servers = servers.to_vec();
        config.others = vec![NodeCandidate {
            node: "b".into(),
            addresses: vec![[10, 1, 0, 2].into()],
        }];
        let (endpoints, own) = (&self.endpoints, &self.own);
        self.model.configure(&[config], endpoints, own, self.now);
    }

    fn judge(&mut self, server: &NodeServer, real_server: &str, healthy: bool) {
        let at: SocketAddr = real_server.parse().unwrap();
        let judgement = Judgement {
            healthy,
            weight: None,
            reason: if healthy { "" } else { "TCP: refused" }.into(),
        };
        let targets = server.probes.iter().map(|p| Target::of(p, at));
        self.model
            .judge(targets.map(|t| (t, judgement.clone())), self.now);
    }

    fn judge_all(&mut self, server: &NodeServer, healthy: bool) {
        for n in 1..=3 {
            self.judge(server, &format!("10.0.0.{n}:8080"), healthy);
        }
    }

    fn wait(&mut self, seconds: u64) {
        self.now = self.now + Duration::from_secs(seconds);
    }

    /// The kernel as the table says, with `active` connections on every real server.
    fn observe(&mut self, active: u32) -> Observed {
        let observed = kernel(&self.model.table(), active);
        self.model.observe(&observed, self.now);
        observed
    }

    /// What the service `key` has, as `10.0.0.1:8080=1`.
    fn weights_of(&self, key: &str) -> String {
        let table = self.model.table();
        let mut entries = table.services().iter();
        let found = entries.find(|(k, _)| k.to_string() == key);
        let (_, entry) = found.unwrap_or_else(|| panic!("no {key} in {table:?}"));
        let all = entry.destinations().values();
        let all: Vec<String> = all.map(|d| format!("{}={}", d.key, d.weight)).collect();
        all.join(" ").replace("10.0.0.", ".").replace(":8080", "")
    }

    fn weights(&self) -> String {
        self.weights_of("TCP 192.0.2.1:80")
    }

    fn report(&self) -> Report {
        let reports = self.model.reports();
        assert_eq!(reports.len(), 1, "{reports:?}");
        reports.into_iter().next().unwrap()
    }
}

fn kernel(table: &Table, active: u32) -> Observed {
    let services = table.services().iter().map(|(key, entry)| {
        let destinations = entry.destinations().iter().map(|(at, destination)| {
            let present = PresentDestination {
                destination: *destination,
                counters: DestinationCounters {
                    active,
                    ..DestinationCounters::default()
                },
                statistics: ipvs::Statistics::default(),
            };
            (*at, present)
        });
        let report = ServiceReport {
            present: Some(PresentService {
                service: *entry.service(),
                statistics: ipvs::Statistics::default(),
                destinations: destinations.collect(),
            }),
            is_programmed: true,
            ..ServiceReport::default()
        };
        (*key, report)
    });
    Observed {
        services: services.collect(),
        ..Observed::default()
    }
}

#[test]
fn only_healthy_real_servers_serve() {
    let server = web(|_| {});
    let mut world = World::new(slice::from_ref(&server));
    assert_eq!(world.weights(), "", "nobody is judged yet");
    world.judge_all(&server, true);
    assert_eq!(world.weights(), ".1=1 .2=1 .3=1");
    world.judge(&server, "10.0.0.2:8080", false);
    assert_eq!(world.weights(), ".1=1 .3=1");
    world.judge(&server, "10.0.0.2:8080", true);
    assert_eq!(world.weights(), ".1=1 .2=1 .3=1");
}

#[test]
fn a_failed_one_stays_without_weight_where_it_is_quiesced() {
    let server = web(|s| s["onFailure"] = json!("Quiesce"));
    let mut world = World::new(slice::from_ref(&server));
    assert_eq!(world.weights(), ".1=0 .2=0 .3=0");
    world.judge_all(&server, true);
    world.judge(&server, "10.0.0.3:8080", false);
    assert_eq!(world.weights(), ".1=1 .2=1 .3=0");
}

#[test]
fn what_is_never_judged_is_up_where_that_is_asked_for() {
    let server = web(|s| s["initialState"] = json!("Up"));
    let mut world = World::new(slice::from_ref(&server));
    assert_eq!(world.weights(), ".1=1 .2=1 .3=1");
    world.judge(&server, "10.0.0.1:8080", false);
    assert_eq!(world.weights(), ".2=1 .3=1");
}

#[test]
fn without_probes_everybody_is_healthy() {
    let world = World::new(&[unprobed(|_| {})]);
    assert_eq!(world.weights(), ".1=1 .2=1 .3=1");
}

#[test]
fn every_probe_must_say_so_and_the_lowest_weight_counts() {
    let server = web(|s| {
        let mut second = s["probes"][0].clone();
        second["name"] = json!("other");
        second["port"] = json!(9);
        s["probes"].as_array_mut().unwrap().push(second);
    });
    let mut world = World::new(slice::from_ref(&server));
    let targets: Vec<Target> = server
        .probes
        .iter()
        .map(|p| Target::of(p, "10.0.0.1:8080".parse().unwrap()))
        .collect();
    let up = |weight| Judgement {
        healthy: true,
        weight,
        reason: "".into(),
    };
    world
        .model
        .judge([(targets[0].clone(), up(Some(7)))], world.now);
    assert_eq!(world.weights(), "");
    world
        .model
        .judge([(targets[1].clone(), up(Some(3)))], world.now);
    assert_eq!(world.weights(), ".1=3");
    world
        .model
        .judge([(targets[1].clone(), up(None))], world.now);
    assert_eq!(world.weights(), ".1=7");
}

#[test]
fn the_sorry_server_serves_while_the_quorum_is_lost() {
    let server = web(|s| {
        s["sorry"] = json!({"address": "10.0.0.9", "port": 80});
        s["quorum"] = json!({"weight": 2, "hysteresis": 1, "sorry": true});
    });
    let mut world = World::new(slice::from_ref(&server));
    assert_eq!(world.weights(), "", "it may come to be yet");
    world.judge_all(&server, true);
    assert_eq!(world.weights(), ".1=1 .2=1 .3=1");
    world.judge(&server, "10.0.0.1:8080", false);
    world.judge(&server, "10.0.0.2:8080", false);
    assert_eq!(world.weights(), ".3=1", "one is not below two less one");
    world.judge(&server, "10.0.0.3:8080", false);
    assert_eq!(world.weights(), ".9:80=1");
    world.judge(&server, "10.0.0.3:8080", true);
    assert_eq!(world.weights(), ".3=0 .9:80=1", "what it has it keeps");
    world.judge_all(&server, true);
    assert_eq!(world.weights(), ".1=1 .2=1 .3=1");
}

#[test]
fn healthy_ones_may_go_on_beside_the_sorry_server() {
    let server = web(|s| {
        s["sorry"] = json!({"address": "10.0.0.9", "port": 80, "keepHealthy": true});
        s["quorum"] = json!({"weight": 2, "hysteresis": 0, "sorry": true});
    });
    let mut world = World::new(slice::from_ref(&server));
    world.judge_all(&server, false);
    world.judge(&server, "10.0.0.1:8080", true);
    assert_eq!(world.weights(), ".1=1 .9:80=1");
}

#[test]
fn who_is_taken_out_of_the_list_leaves_when_its_connections_have_ended() {
    let without_third = unprobed(|s| {
        s["members"]["realServers"].as_array_mut().unwrap().pop();
    });
    let mut world = World::new(&[unprobed(|_| {})]);
    world.wait(10);
    world.configure(slice::from_ref(&without_third));
    assert_eq!(world.weights(), ".1=1 .2=1 .3=0");
    world.observe(0);
    assert_eq!(
        world.weights(),
        ".1=1 .2=1 .3=0",
        "not before it has settled"
    );
    world.wait(2);
    world.observe(1);
    assert_eq!(world.weights(), ".1=1 .2=1 .3=0");
    world.observe(0);
    assert_eq!(world.weights(), ".1=1 .2=1");
}

#[test]
fn nobody_leaves_longer_than_the_timeout() {
    let mut world = World::new(&[unprobed(|_| {})]);
    world.configure(&[unprobed(|s| s["members"]["realServers"] = json!([]))]);
    assert_eq!(world.weights(), ".1=0 .2=0 .3=0");
    assert_eq!(
        world.model.next_deadline(),
        Some(Time::ZERO + Duration::from_secs(60))
    );
    world.wait(59);
    world.observe(5);
    assert_eq!(world.weights(), ".1=0 .2=0 .3=0");
    world.wait(1);
    world.observe(5);
    assert_eq!(world.weights(), "");
    assert_eq!(world.model.next_deadline(), None);
}

#[test]
fn who_comes_back_while_leaving_serves_again() {
    let mut world = World::new(&[unprobed(|_| {})]);
    world.configure(&[unprobed(|s| s["members"]["realServers"] = json!([]))]);
    world.wait(30);
    world.configure(&[unprobed(|_| {})]);
    assert_eq!(world.weights(), ".1=1 .2=1 .3=1");
    assert_eq!(world.model.next_deadline(), None);
}

#[test]
fn a_drain_of_no_time_is_none() {
    let mut world = World::new(&[unprobed(|_| {})]);
    world.configure(&[unprobed(|s| {
        s["members"]["realServers"] = json!([]);
        s["drainTimeout"] = json!("0s");
    })]);
    assert_eq!(world.weights(), "");
}

#[test]
fn one_probe_serves_all_who_ask_the_same() {
    let other = web(|s| {
        s["name"] = json!("other");
        s["listeners"][0]["port"] = json!(81);
    });
    let server = web(|_| {});
    let mut world = World::new(&[server.clone(), other]);
    assert_eq!(world.model.targets().len(), 3);
    world.judge(&server, "10.0.0.1:8080", true);
    assert_eq!(world.weights(), ".1=1");
    assert_eq!(world.weights_of("TCP 192.0.2.1:81"), ".1=1");
}

#[test]
fn one_that_two_routers_have_is_the_newer_one() {
    let with = |name: &str, generation: i64, port: u16| {
        let mut config = crate::plan::tests::config(name, "192.0.2.1");
        let mut server = unprobed(|s| s["listeners"][0]["port"] = json!(port));
        server.generation = generation;
        config.servers = vec![server];
        config
    };
    let ports = |configs: [NodeConfigSpec; 2]| -> Vec<String> {
        let mut model = Model::default();
        let (endpoints, own) = (Endpoints::default(), BTreeSet::new());
        model.configure(&configs, &endpoints, &own, Time::ZERO);
        let table = model.table();
        table.services().keys().map(ToString::to_string).collect()
    };
    let newer = ["TCP 192.0.2.1:81"];
    assert_eq!(ports([with("a", 1, 80), with("b", 2, 81)]), newer);
    assert_eq!(ports([with("b", 2, 81), with("a", 1, 80)]), newer);
}

#[test]
fn each_listener_has_its_family_and_a_tunnel_crosses() {
    let both = |method: &str| {
        unprobed(|s| {
            s["forwarding"] = json!({"method": method});
            s["listeners"] = json!([
                {"type": "Address", "address": "192.0.2.1", "port": 80, "protocol": "TCP", "targetPort": 80},
                {"type": "Address", "address": "2001:db8::1", "port": 80, "protocol": "TCP", "targetPort": 80},
            ]);
        })
    };
    let world = World::new(&[both("NAT")]);
    assert_eq!(world.weights(), ".1=1 .2=1 .3=1");
    assert_eq!(world.weights_of("TCP [2001:db8::1]:80"), "");
    let world = World::new(&[both("IPIP")]);
    assert_eq!(
        world.weights_of("TCP [2001:db8::1]:80"),
        ".1:80=1 .2:80=1 .3:80=1",
        "with the port of the listener, which a tunnel does not change"
    );
}

#[test]
fn nat_beside_full_nat_keeps_the_client_where_it_is_asked_for() {
    let text = |server: NodeServer| {
        let firewall = World::new(&[server]).model.table().firewall().clone();
        let kept = firewall.unmasqueraded.into_values().flatten();
        let kept: Vec<String> = kept.map(|at| at.to_string()).collect();
        (firewall.masqueraded.len(), kept.join(" "))
    };
    let way = |s: &mut Value, n: usize, method: &str| {
        s["members"]["realServers"][n]["forwarding"] = json!({"method": method});
    };
    assert_eq!(text(unprobed(|_| {})), (0, String::new()));
    let all = unprobed(|s| s["forwarding"] = json!({"method": "FullNAT"}));
    assert_eq!(text(all), (1, String::new()));
    // Whichever of the two is the rule, and whichever the exception; what is not rewritten needs no exception.
    let some = unprobed(|s| {
        s["forwarding"] = json!({"method": "FullNAT"});
        way(s, 1, "NAT");
        way(s, 2, "DR");
    });
    assert_eq!(text(some), (1, "10.0.0.2:8080".to_owned()));
    let one = unprobed(|s| way(s, 1, "FullNAT"));
    assert_eq!(text(one), (1, "10.0.0.1:8080 10.0.0.3:8080".to_owned()));
    let sorry = unprobed(|s| {
        s["forwarding"] = json!({"method": "FullNAT"});
        s["sorry"] = json!({"address": "10.0.0.9", "port": 81, "forwarding": {"method": "NAT"}});
    });
    assert_eq!(text(sorry), (1, "10.0.0.9:81".to_owned()));
    let both = unprobed(|s| {
        s["forwarding"] = json!({"method": "FullNAT"});
        s["sorry"] = json!({"address": "10.0.0.1", "port": 8080, "forwarding": {"method": "NAT"}});
    });
    assert_eq!(
        text(both),
        (1, String::new()),
        "it must work in either part"
    );
}

#[test]
fn who_masquerades_is_programmed_with_our_table_of_nftables() {
    let programmed = |server: NodeServer, is_table_there: bool| {
        let mut world = World::new(&[server]);
        let mut observed = world.observe(0);
        observed.firewall.is_programmed = is_table_there;
        let report = world.report();
        let shown = crate::state::Server::new(&report, &observed);
        let of_services: Vec<bool> = shown.services.iter().map(|s| s.programmed).collect();
        assert_eq!(of_services, [shown.programmed]);
        assert_eq!(shown.programmed, report.is_programmed(&observed));
        shown.programmed
    };
    let nat = unprobed(|_| {});
    let one = unprobed(|s| {
        s["members"]["realServers"][1]["forwarding"] = json!({"method": "FullNAT"});
    });
    assert!(programmed(nat, false));
    assert!(!programmed(one.clone(), false));
    assert!(programmed(one, true));
    let report = World::new(&[unprobed(|_| {})]).report();
    assert!(!report.is_programmed(&Observed::default()));
}

#[test]
fn a_report_says_who_is_out_and_why() {
    let server = web(|_| {});
    let mut world = World::new(slice::from_ref(&server));
    assert_eq!(world.report().quorum(), None);
    world.judge_all(&server, true);
    world.judge(&server, "10.0.0.2:8080", false);
    let report = world.report();
    assert_eq!(report.quorum(), Some(true));
    assert!(!report.sorry());
    let second = DestinationKey {
        address: IpAddr::from([10, 0, 0, 2]),
        port: 8080,
    };
    let real_servers = report.real_servers();
    let unhealthy: Vec<_> = real_servers.iter().filter(|(_, r)| r.is_some()).collect();
    assert_eq!(real_servers.len(), 3);
    assert_eq!(unhealthy, [(&second, &Some("TCP: refused".into()))]);
}

#[test]
fn a_service_that_is_not_asked_for_any_more_is_not_in_the_table() {
    let mut world = World::new(&[unprobed(|_| {})]);
    world.configure(&[]);
    assert!(world.model.table().services().is_empty());
    let key: Vec<ServiceKey> = world.model.table().services().keys().copied().collect();
    assert!(key.is_empty() && world.model.targets().is_empty());
}
