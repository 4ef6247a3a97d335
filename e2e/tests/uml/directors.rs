//! The scene of virtual servers: directors with agents, real servers, a client; one router with an address of each
//! family, and one VirtualServer `web` on it.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use vipkeeper_e2e::manifest::{self, Router};
use vipkeeper_e2e::wait::{self, Seen};
use vipkeeper_e2e::{Agent, Client, DirectorLan, Ipvsadm, Node, Place, RealServer, Taking, Tally};

use crate::machine;
use crate::scene::{SOON, manifests};

/// The port of the virtual server and of its real servers.
pub(crate) const PORT: u16 = 80;
/// Where GUE arrives.
const GUE_PORT: u16 = 6080;
/// The VRID of the virtual addresses, and of those that real servers behind NAT have as gateways.
pub(crate) const VRIDS: [u8; 2] = [61, 62];

/// A forwarding method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    Nat,
    FullNat,
    Direct,
    Ipip,
    Gre,
    Gue,
}

/// Directors at work.
pub(crate) struct Directors {
    // The agents and servers go before the namespaces they live in.
    pub(crate) agents: Vec<Agent>,
    pub(crate) servers: Vec<RealServer>,
    pub(crate) lan: DirectorLan,
    method: Method,
    spec: Value,
}

impl Method {
    fn place(self) -> Place {
        match self {
            Self::Nat | Self::FullNat => Place::Inside,
            Self::Direct | Self::Ipip | Self::Gre | Self::Gue => Place::Beside,
        }
    }

    /// What real servers do for it.
    fn taking(self) -> Option<Taking> {
        match self {
            Self::Nat | Self::FullNat => None,
            Self::Direct => Some(Taking::Direct),
            Self::Ipip => Some(Taking::Ipip),
            Self::Gre => Some(Taking::Gre),
            Self::Gue => Some(Taking::Gue(GUE_PORT)),
        }
    }

    /// `spec.forwarding`.
    fn forwarding(self) -> Value {
        match self {
            Self::Nat => json!({"method": "NAT"}),
            Self::FullNat => json!({"method": "FullNAT"}),
            Self::Direct => json!({"method": "DR"}),
            Self::Ipip => json!({"method": "Tunnel", "tunnel": {"type": "IPIP"}}),
            Self::Gre => json!({"method": "Tunnel", "tunnel": {"type": "GRE"}}),
            Self::Gue => json!({"method": "Tunnel", "tunnel": {"type": "GUE", "port": GUE_PORT}}),
        }
    }

    /// The outer packets of GRE and GUE are IPv4 alone: one kind of device at the real servers takes both families out.
    fn is_dual(self) -> bool {
        match self {
            Self::Nat | Self::FullNat | Self::Direct | Self::Ipip => true,
            Self::Gre | Self::Gue => false,
        }
    }
}

impl Directors {
    /// So many directors, the first Active, and real servers by `method`. The VirtualServer has TCP and UDP and a round
    /// robin, unless `more`, which is laid over its `spec`, says otherwise. Returns when every real server answers for
    /// every virtual address.
    pub(crate) fn start(
        directors: usize,
        servers: u8,
        method: Method,
        more: &Value,
    ) -> Result<Self> {
        machine::need_agent()?;
        let lan = DirectorLan::new(directors, servers, method.place())?;
        let taken = DirectorLan::virtual_addresses();
        let taken = match method.taking() {
            Some(taking) => {
                lan.take(&taken, taking)?;
                &taken[..]
            }
            None => &[],
        };
        if method == Method::Nat {
            for gateway in DirectorLan::shared(1) {
                lan.set_gateway(gateway)?;
            }
        }
        if method == Method::FullNat {
            // The administrator's, as docs/fullnat.md says.
            for director in lan.directors() {
                let conntrack = [("ipv4/vs/conntrack", "1")];
                director.namespace().sysctl(&conntrack)?;
            }
        }
        let mut scene = Self {
            agents: Vec::new(),
            servers: lan.start_servers(PORT, taken)?,
            spec: Value::Null,
            lan,
            method,
        };
        scene.spec = scene.spec_with(more);
        let text = scene.manifests();
        for director in scene.lan.directors() {
            let mut agent = Agent::start(director, &text)?;
            // Priorities fall, so the first is Active before the others hear of it.
            let state = if scene.agents.is_empty() {
                "Active"
            } else {
                "Backup"
            };
            agent.await_state("web", state, SOON)?;
            scene.agents.push(agent);
        }
        let all: Vec<usize> = (0..scene.servers.len()).collect();
        for director in 0..directors {
            scene.await_serving(director, &all)?;
        }
        Ok(scene)
    }

    /// The manifests of all directors as they are now.
    pub(crate) fn manifests(&self) -> String {
        let lab = self.lan.lab();
        let priorities: Vec<(&str, u8)> = (lab.nodes().iter().map(Node::name))
            .zip((0..).map(|number| 120 - 10 * number))
            .collect();
        let router = |name: &str, vrid, segment| Router {
            attach: segment == 0,
            sync_group: (self.method == Method::Nat).then(|| "both".to_owned()),
            ..Router::new(name, vrid, &DirectorLan::shared(segment), &priorities)
        };
        let mut routers = vec![router("web", VRIDS[0], 0)];
        if self.method == Method::Nat {
            routers.push(router("inner", VRIDS[1], 1));
        }
        let server = manifest::virtual_server("web", &self.spec);
        manifest::documents(&[manifests(lab, &routers), server])
    }

    /// Lays `more` over the spec of the VirtualServer, and gives it to all directors.
    pub(crate) fn edit(&mut self, more: &Value) -> Result<()> {
        lay_over(&mut self.spec, more);
        let text = self.manifests();
        self.agents.iter().try_for_each(|agent| agent.edit(&text))
    }

    fn spec_with(&self, more: &Value) -> Value {
        let port = |protocol: &str| json!({"port": PORT, "protocol": protocol});
        let all: Vec<usize> = (0..self.servers.len()).collect();
        let mut spec = json!({
            "routerRef": {"name": "web"},
            "ports": [port("TCP"), port("UDP")],
            "scheduler": {"name": "rr"},
            "forwarding": self.method.forwarding(),
            "realServers": self.real_servers(&all),
        });
        lay_over(&mut spec, more);
        spec
    }

    /// `spec.realServers` with these real servers, by number.
    pub(crate) fn real_servers(&self, which: &[usize]) -> Value {
        let entries = which.iter().flat_map(|number| self.addresses_of(*number));
        entries
            .map(|address| json!({"address": address.to_string()}))
            .collect()
    }

    /// The addresses by which a real server is known to the directors.
    pub(crate) fn addresses_of(&self, server: usize) -> Vec<IpAddr> {
        let host = &self.lan.servers()[server];
        let mut addresses = DirectorLan::virtual_addresses().to_vec();
        addresses.retain(|address| address.is_ipv4() || self.method.is_dual());
        addresses
            .iter()
            .map(|like| self.lan.address_of(host, *like))
            .collect()
    }

    /// Where the service is, for each family.
    pub(crate) fn targets(&self) -> [SocketAddr; 2] {
        DirectorLan::virtual_addresses().map(|address| (address, PORT).into())
    }

    /// The client, with little patience for what should be there at once.
    pub(crate) fn client(&self) -> Client {
        self.lan.client().with_patience(Duration::from_secs(2))
    }

    /// ipvsadm at a director.
    pub(crate) fn ipvsadm(&self, director: usize) -> Ipvsadm {
        Ipvsadm::at(&self.lan.directors()[director])
    }

    /// Waits until the kernel of a director has exactly these real servers, with a weight that is not 0.
    pub(crate) fn await_serving(&self, director: usize, which: &[usize]) -> Result<()> {
        self.await_serving_besides(director, which, &[])
    }

    /// The same beside real servers that others have programmed.
    pub(crate) fn await_serving_besides(
        &self,
        director: usize,
        which: &[usize],
        others: &[&str],
    ) -> Result<()> {
        let own = which.iter().flat_map(|number| self.addresses_of(*number));
        let mut wanted: Vec<SocketAddr> = own.map(|address| (address, PORT).into()).collect();
        for other in others {
            wanted.push(other.parse()?);
        }
        self.await_destinations(director, &wanted)
    }

    /// Waits until the kernel of a director has exactly these destinations with a weight that is not 0, whatever their
    /// services.
    pub(crate) fn await_destinations(&self, director: usize, wanted: &[SocketAddr]) -> Result<()> {
        let mut wanted: Vec<String> = wanted.iter().map(SocketAddr::to_string).collect();
        wanted.sort();
        let ipvsadm = self.ipvsadm(director);
        wait::until(
            &format!("director {director} serves by {wanted:?}"),
            SOON,
            || {
                let table = ipvsadm.table()?;
                Ok(Seen::when(table, |table| serving(table) == wanted).map(|_| ()))
            },
        )
    }

    /// Waits until the table of a director is as `wanted`.
    pub(crate) fn await_table(&self, director: usize, wanted: &[String]) -> Result<()> {
        let ipvsadm = self.ipvsadm(director);
        wait::until(
            &format!("director {director} has {wanted:#?}"),
            SOON,
            || Ok(Seen::when(ipvsadm.table()?, |table| table == wanted).map(|_| ())),
        )
    }

    /// Waits until a line of a director's table begins with `begin` and has `words` in it.
    pub(crate) fn await_line(&self, director: usize, begin: &str, words: &str) -> Result<()> {
        let ipvsadm = self.ipvsadm(director);
        wait::until(&format!("{begin} with {words}"), SOON, || {
            Ok(Seen::when(ipvsadm.table()?, |table| {
                let mut lines = table.iter();
                lines.any(|line| line.starts_with(begin) && line.contains(words))
            })
            .map(|_| ()))
        })
    }

    /// Waits until the kernel of a director has so many established connections.
    pub(crate) fn await_connections(&self, director: usize, count: usize) -> Result<()> {
        let ipvsadm = self.ipvsadm(director);
        wait::until(&format!("{count} connections"), SOON, || {
            let text = ipvsadm.run("-L -n -c")?;
            let open = text
                .lines()
                .filter(|line| line.contains("ESTABLISHED"))
                .count();
            Ok(Seen::when(open, |open| *open == count).map(|_| ()))
        })
    }

    /// Waits until the kernel of a director, which counts every two seconds, has counted at least so many connections to
    /// the service at `target`.
    pub(crate) fn await_counted(
        &self,
        director: usize,
        target: SocketAddr,
        count: usize,
    ) -> Result<()> {
        let ipvsadm = self.ipvsadm(director);
        let what = format!("{count} connections counted to {target} at director {director}");
        wait::until(&what, SOON, || {
            let counted = counted(&ipvsadm.run("-L -n --stats --exact")?, target);
            Ok(Seen::when(counted, |counted| *counted >= count).map(|_| ()))
        })
    }

    /// `count` connections to each family, all answered.
    pub(crate) fn connect(&self, count: usize) -> Result<Tally> {
        let mut whole = Tally::default();
        for target in self.targets() {
            let tally = self.client().tcp(target, count)?;
            ensure!(tally.failed() == 0, "{target}: {tally}");
            whole.add(&tally);
        }
        Ok(whole)
    }

    /// A real server by number, to end it.
    pub(crate) fn server(&mut self, number: usize) -> Result<&mut RealServer> {
        self.servers.get_mut(number).context("no such real server")
    }
}

/// The destinations of a table with a weight above 0, each once, sorted.
fn serving(table: &[String]) -> Vec<String> {
    let destination = |line: &String| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let after = |option: &str| {
            let place = words.iter().position(|word| *word == option)?;
            words.get(place + 1).map(|word| (*word).to_owned())
        };
        (after("-w")? != "0").then(|| after("-r"))?
    };
    let mut all: Vec<String> = table.iter().filter_map(destination).collect();
    all.sort();
    all.dedup();
    all
}

/// The connections to the service at `target` in `text`, whatever its protocol.
fn counted(text: &str, target: SocketAddr) -> usize {
    let target = target.to_string();
    let counts = text.lines().filter_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [protocol, address, count, ..] = &words[..] else {
            return None;
        };
        // An arrow begins the line of a real server.
        let is_service = *protocol != "->" && *address == target;
        is_service.then(|| count.parse::<usize>().ok())?
    });
    counts.sum()
}

/// Replaces the members of `base` that `more` has; null takes one away.
fn lay_over(base: &mut Value, more: &Value) {
    let (Some(base), Some(more)) = (base.as_object_mut(), more.as_object()) else {
        return;
    };
    for (name, value) in more {
        if value.is_null() {
            base.remove(name);
        } else {
            base.insert(name.clone(), value.clone());
        }
    }
}
