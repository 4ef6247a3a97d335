//! The endpoints of Services, put together of their EndpointSlices.
//!
//! Owns what slices say and how several that name one address are read: as kube-proxy does. Never says who becomes a
//! real server: the port, the weight and the drain are for those who serve.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::api::discovery::v1 as discovery;
use vipkeeper_crds::node_server::{Members, NodeServer};
use vipkeeper_crds::server::Protocol;

use crate::server;

/// The label of a slice that names its Service.
pub const SERVICE_LABEL: &str = "kubernetes.io/service-name";

/// A Service's full name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceName {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl ServiceName {
    /// The Service whose endpoints are the real servers of `server`, if it has one.
    #[must_use]
    pub fn of(server: &NodeServer) -> Option<Self> {
        match &server.members {
            Members::Static { .. } => None,
            Members::Service { service, .. } => Some(Self {
                namespace: server.name.namespace.clone(),
                name: service.clone(),
            }),
        }
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// An address behind a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The address.
    pub address: IpAddr,
    /// Its ports, in order; none where the Service has none.
    pub ports: Vec<EndpointPort>,
    /// Whether it takes connections.
    pub condition: EndpointCondition,
    /// The node it is on, where that is told.
    pub node: Option<String>,
}

/// Where an address is, as far as it tells by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Locality {
    /// At some host.
    Host,
    /// At the node itself, or on one of its links; in words. Who serves there needs the router's trust.
    Local(&'static str),
    /// Nowhere that IPVS can send to, and why.
    Nowhere(String),
}

impl Locality {
    /// That of `address`.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        match server::no_real_server(address) {
            Some(why) => Self::Nowhere(why),
            None => match server::link_local_or_loopback(address) {
                Some(what) => Self::Local(what),
                None => Self::Host,
            },
        }
    }
}

/// A port of an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EndpointPort {
    /// The name of the Service's port; `None` if the Service has one alone and does not name it.
    pub name: Option<String>,
    /// The number; not 0.
    pub port: u16,
    /// The protocol.
    pub protocol: Protocol,
}

/// Whether an endpoint takes connections. Better ones are smaller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EndpointCondition {
    /// It takes new ones.
    Ready,
    /// It terminates and serves those that it has.
    Draining,
    /// It takes none.
    Gone,
}

/// The endpoints of all Services.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Endpoints {
    /// What each slice says.
    services: BTreeMap<ServiceName, BTreeMap<String, Arc<[Endpoint]>>>,
    /// Whose slice each one is, by namespace and name.
    owners: BTreeMap<(String, String), ServiceName>,
}

impl Endpoints {
    /// Takes in a slice, instead of what it said before. Gives the Services whose slices say something else now: none
    /// if nothing changed, two if the slice went from one to another.
    pub fn set_slice(&mut self, slice: &discovery::EndpointSlice) -> BTreeSet<ServiceName> {
        let namespace = slice.metadata.namespace.as_deref().unwrap_or("default");
        let name = slice.metadata.name.as_deref().unwrap_or_default();
        let labels = slice.metadata.labels.as_ref();
        let service = labels.and_then(|l| l.get(SERVICE_LABEL));
        let Some(service) = service.filter(|s| !s.is_empty()) else {
            return self.remove_slice(namespace, name).into_iter().collect();
        };
        let service = ServiceName {
            namespace: namespace.to_owned(),
            name: service.clone(),
        };
        let mut changed = BTreeSet::new();
        let id = (namespace.to_owned(), name.to_owned());
        if self.owners.get(&id).is_some_and(|owner| *owner != service) {
            changed.extend(self.remove_slice(namespace, name));
        }
        self.owners.insert(id, service.clone());
        let says: Arc<[Endpoint]> = endpoints(slice).into();
        let slices = self.services.entry(service.clone()).or_default();
        if slices.get(name) != Some(&says) {
            slices.insert(name.to_owned(), says);
            changed.insert(service);
        }
        changed
    }

    /// Forgets a slice. Gives the Service that had it.
    pub fn remove_slice(&mut self, namespace: &str, name: &str) -> Option<ServiceName> {
        let id = (namespace.to_owned(), name.to_owned());
        let service = self.owners.remove(&id)?;
        if let Some(slices) = self.services.get_mut(&service) {
            slices.remove(name);
            if slices.is_empty() {
                self.services.remove(&service);
            }
        }
        Some(service)
    }

    /// Whether anything is known of a Service: one without a slice has perhaps no endpoints, perhaps it does not exist.
    #[must_use]
    pub fn knows(&self, service: &ServiceName) -> bool {
        self.services.contains_key(service)
    }

    /// The Services that have slices.
    pub fn services(&self) -> impl Iterator<Item = &ServiceName> {
        self.services.keys()
    }

    /// Forgets the Services that are not `wanted`.
    pub fn retain(&mut self, wanted: impl Fn(&ServiceName) -> bool) {
        self.services.retain(|service, _| wanted(service));
        self.owners.retain(|_, service| wanted(service));
    }

    /// The endpoints of a Service by address, each port of an address once. Where slices disagree, the better condition
    /// counts, so an address is here twice if one of its ports is ready and another drains.
    #[must_use]
    pub fn of(&self, service: &ServiceName) -> Vec<Endpoint> {
        let slices = self.services.get(service).into_iter().flatten();
        let mut best: BTreeMap<IpAddr, Ports<'_>> = BTreeMap::new();
        for endpoint in slices.flat_map(|(_, says)| says.iter()) {
            let said = (endpoint.condition, endpoint.node.as_deref());
            let known = best.entry(endpoint.address).or_default();
            let ports = endpoint.ports.iter().map(Some);
            let none = endpoint.ports.is_empty().then_some(None);
            for port in ports.chain(none) {
                let known = known.entry(port).or_insert(said);
                if said.0 < known.0 {
                    *known = said;
                }
            }
        }
        best.iter()
            .flat_map(|(a, ports)| grouped(*a, ports))
            .collect()
    }
}

/// What is known of each port of an address; `None` is the port of a Service without ports.
type Ports<'a> = BTreeMap<Option<&'a EndpointPort>, (EndpointCondition, Option<&'a str>)>;

/// An endpoint for each condition that ports of `address` have.
fn grouped(address: IpAddr, ports: &Ports<'_>) -> Vec<Endpoint> {
    let mut all: BTreeMap<EndpointCondition, Endpoint> = BTreeMap::new();
    for (port, (condition, node)) in ports {
        let endpoint = all.entry(*condition).or_insert_with(|| Endpoint {
            address,
            ports: Vec::new(),
            condition: *condition,
            node: None,
        });
        endpoint.ports.extend(port.cloned());
        if endpoint.node.is_none() {
            endpoint.node = node.map(str::to_owned);
        }
    }
    all.into_values().collect()
}

/// What a slice says; nothing if it is one of names.
fn endpoints(slice: &discovery::EndpointSlice) -> Vec<Endpoint> {
    let ports: Vec<EndpointPort> = slice.ports.iter().flatten().filter_map(port).collect();
    let of_family = |address: &IpAddr| match slice.address_type.as_str() {
        "IPv4" => address.is_ipv4(),
        "IPv6" => address.is_ipv6(),
        _ => false,
    };
    let endpoints = slice.endpoints.iter().filter_map(|endpoint| {
        // The addresses are fungible, and the first alone is to be used.
        let address = endpoint.addresses.first()?.parse().ok();
        Some(Endpoint {
            address: address.filter(of_family)?,
            ports: ports.clone(),
            condition: condition(endpoint.conditions.as_ref()),
            node: endpoint.node_name.clone(),
        })
    });
    endpoints.collect()
}

/// A port with a number, of a protocol that IPVS knows.
fn port(port: &discovery::EndpointPort) -> Option<EndpointPort> {
    let protocol = match port.protocol.as_deref() {
        None | Some("TCP") => Protocol::Tcp,
        Some("UDP") => Protocol::Udp,
        Some("SCTP") => Protocol::Sctp,
        Some(_) => return None,
    };
    Some(EndpointPort {
        name: port.name.clone().filter(|name| !name.is_empty()),
        port: u16::try_from(port.port?).ok().filter(|p| *p > 0)?,
        protocol,
    })
}

/// What is not told of is well: `ready` is then true, and `serving` what `ready` is.
fn condition(said: Option<&discovery::EndpointConditions>) -> EndpointCondition {
    let ready = said.and_then(|s| s.ready).unwrap_or(true);
    let serving = said.and_then(|s| s.serving).unwrap_or(ready);
    let terminating = said.and_then(|s| s.terminating).unwrap_or(false);
    if ready {
        EndpointCondition::Ready
    } else if serving && terminating {
        EndpointCondition::Draining
    } else {
        EndpointCondition::Gone
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn what_is_not_told_of_is_well() {
        let mut known = Endpoints::default();
        let conditions = [
            json!(null),
            json!({}),
            json!({"ready": true, "serving": true, "terminating": false}),
            json!({"ready": false}),
            json!({"ready": false, "serving": true, "terminating": true}),
            json!({"ready": false, "serving": false, "terminating": true}),
            json!({"ready": false, "serving": true}),
            // With publishNotReadyAddresses.
            json!({"ready": true, "serving": false, "terminating": true}),
        ];
        let endpoints = (1..).zip(&conditions).map(|(i, conditions)| {
            json!({"addresses": [format!("10.0.0.{i}")], "conditions": conditions})
        });
        known.set_slice(&slice("a", "IPv4", &endpoints.collect::<Vec<_>>(), &http()));
        let found: Vec<_> = known.of(&web()).iter().map(|e| e.condition).collect();
        use EndpointCondition::{Draining, Gone, Ready};
        assert_eq!(
            found,
            [Ready, Ready, Ready, Gone, Draining, Gone, Gone, Ready]
        );
    }

    #[test]
    fn an_address_tells_whether_anybody_can_be_there() {
        let locality = |address: &str| Locality::of(address.parse().unwrap());
        for host in ["10.0.0.1", "2001:db8::1", "fd00::1"] {
            assert_eq!(locality(host), Locality::Host, "{host}");
        }
        for local in ["127.0.0.1", "::1", "169.254.1.1"] {
            assert!(matches!(locality(local), Locality::Local(_)), "{local}");
        }
        for nowhere in [
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "fe80::1",
            "::ffff:10.0.0.1",
        ] {
            assert!(
                matches!(locality(nowhere), Locality::Nowhere(_)),
                "{nowhere}"
            );
        }
    }

    #[test]
    fn an_address_in_two_slices_is_one_endpoint_and_the_better_word_counts() {
        let mut known = Endpoints::default();
        let leaving = json!({"addresses": ["10.0.0.1"], "conditions": {"ready": false, "serving": true, "terminating": true}});
        let ready = json!({"addresses": ["10.0.0.1"], "nodeName": "n"});
        known.set_slice(&slice("a", "IPv4", std::slice::from_ref(&leaving), &http()));
        known.set_slice(&slice("b", "IPv4", std::slice::from_ref(&ready), &http()));
        known.set_slice(&slice("c", "IPv4", &[leaving], &http()));
        let [one] = &known.of(&web())[..] else {
            panic!("{known:?}");
        };
        assert_eq!(one.condition, EndpointCondition::Ready);
        assert_eq!((one.ports.len(), one.node.as_deref()), (1, Some("n")));

        // A port of its own has a condition of its own.
        let metrics = json!([{"name": "metrics", "port": 9090}]);
        known.set_slice(&slice("b", "IPv4", &[ready], &metrics));
        let found = known.of(&web());
        let ports = found.iter().map(|e| (e.condition, e.ports[0].port));
        assert_eq!(
            ports.collect::<Vec<_>>(),
            [
                (EndpointCondition::Ready, 9090),
                (EndpointCondition::Draining, 8080)
            ]
        );
    }

    #[test]
    fn both_families_are_read_and_names_are_not() {
        let mut known = Endpoints::default();
        let of = |address: &str| [json!({"addresses": [address, "192.0.2.99"]})];
        known.set_slice(&slice("a", "IPv4", &of("10.0.0.1"), &http()));
        known.set_slice(&slice("b", "IPv6", &of("2001:db8::1"), &http()));
        known.set_slice(&slice("c", "FQDN", &of("example.org"), &http()));
        known.set_slice(&slice("d", "FQDN", &of("10.0.0.4"), &http()));
        known.set_slice(&slice("e", "IPv6", &of("10.0.0.5"), &http()));
        let found: Vec<_> = known.of(&web()).iter().map(|e| e.address).collect();
        assert_eq!(
            found,
            ["10.0.0.1", "2001:db8::1"].map(|a| a.parse::<IpAddr>().unwrap())
        );
    }

    #[test]
    fn a_port_without_a_number_or_of_a_strange_protocol_is_none() {
        let mut known = Endpoints::default();
        let one = [json!({"addresses": ["10.0.0.1"]})];
        let ports = json!([
            {"name": "", "port": 80}, {"name": "dns", "port": 53, "protocol": "UDP"},
            {"name": "any"}, {"port": 0}, {"port": 70000}, {"port": 7, "protocol": "DCCP"},
        ]);
        known.set_slice(&slice("a", "IPv4", &one, &ports));
        let port = |name: Option<&str>, port, protocol| EndpointPort {
            name: name.map(str::to_owned),
            port,
            protocol,
        };
        assert_eq!(
            known.of(&web())[0].ports,
            [
                port(None, 80, Protocol::Tcp),
                port(Some("dns"), 53, Protocol::Udp)
            ]
        );
        known.set_slice(&slice("a", "IPv4", &one, &json!(null)));
        assert_eq!(known.of(&web())[0].ports, []);
    }

    #[test]
    fn an_edit_names_the_services_that_it_changed() {
        let mut known = Endpoints::default();
        let one = [json!({"addresses": ["10.0.0.1"]})];
        let first = slice("a", "IPv4", &one, &http());
        assert_eq!(known.set_slice(&first), [web()].into());
        assert_eq!(known.set_slice(&first), [].into());
        let before = known.clone();

        // The slice goes to another Service, and then to none.
        let mut other = first.clone();
        let labels = other.metadata.labels.as_mut().unwrap();
        labels.insert(SERVICE_LABEL.into(), "other".into());
        let name = ServiceName {
            name: "other".into(),
            ..web()
        };
        assert_eq!(known.set_slice(&other), [name.clone(), web()].into());
        assert_ne!(known, before);
        assert_eq!((known.of(&web()).len(), known.of(&name).len()), (0, 1));
        other.metadata.labels = None;
        assert_eq!(known.set_slice(&other), [name].into());
        assert_eq!(known.remove_slice("shop", "a"), None);
        assert_eq!(known, Endpoints::default());

        known.set_slice(&first);
        known.set_slice(&slice("b", "IPv4", &[], &http()));
        assert_eq!(known.remove_slice("shop", "a"), Some(web()));
        assert!(known.knows(&web()) && known.of(&web()).is_empty());
        known.retain(|_| false);
        assert_eq!(known, Endpoints::default());
    }

    fn web() -> ServiceName {
        ServiceName {
            namespace: "shop".into(),
            name: "web".into(),
        }
    }

    fn http() -> Value {
        json!([{"name": "http", "port": 8080, "protocol": "TCP"}])
    }

    /// A slice of `web`.
    fn slice(
        name: &str,
        kind: &str,
        endpoints: &[Value],
        ports: &Value,
    ) -> discovery::EndpointSlice {
        serde_json::from_value(json!({
            "metadata": {"name": name, "namespace": "shop", "labels": {SERVICE_LABEL: "web"}},
            "addressType": kind, "endpoints": endpoints, "ports": ports,
        }))
        .unwrap()
    }
}
