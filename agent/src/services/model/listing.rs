//! Which real servers a listener should have: those of the list, or the endpoints of the Service. Pure.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use vipkeeper_compiler::{Endpoint, EndpointCondition, EndpointPort};
use vipkeeper_crds::AddressFamily;
use vipkeeper_crds::node_server::{Listener, Members, NodeForwarding, NodeRealServer, NodeServer};
use vipkeeper_crds::server::Protocol;
use vipkeeper_ipvs::DestinationKey;

use super::gate::Gate;
use super::member::{Listed, Place};
use crate::probe::Target;

/// The real servers that `listener` should have; of a Service, by its `endpoints`.
pub(super) fn listed(
    server: &NodeServer,
    listener: &Listener,
    endpoints: &[Endpoint],
    gate: &Gate<'_>,
) -> BTreeMap<DestinationKey, Listed> {
    let mut all = match &server.members {
        Members::Static { real_servers } => of_list(server, listener, real_servers),
        Members::Service { port, trusted, .. } => {
            let endpoints = endpoints.iter().map(|e| Offer {
                endpoint: e,
                barred: gate.why_not(e.address, *trusted),
            });
            of_service(server, listener, port.as_deref(), endpoints.collect())
        }
    };
    set_targets(server, &mut all);
    all
}

/// Says how each is judged.
fn set_targets(server: &NodeServer, all: &mut BTreeMap<DestinationKey, Listed>) {
    let mut all: Vec<(&DestinationKey, &mut Listed)> =
        all.iter_mut().filter(|(_, l)| l.barred.is_none()).collect();
    let mut of_each = vec![Vec::with_capacity(server.probes.len()); all.len()];
    for probe in &server.probes {
        let addresses = all.iter().map(|(k, _)| SocketAddr::new(k.address, k.port));
        for (targets, target) in of_each.iter_mut().zip(Target::each(probe, addresses)) {
            targets.push(target);
        }
    }
    for ((_, listed), targets) in all.iter_mut().zip(of_each) {
        listed.targets = targets.into();
    }
}

fn of_list(
    server: &NodeServer,
    listener: &Listener,
    real_servers: &[NodeRealServer],
) -> BTreeMap<DestinationKey, Listed> {
    let way = |r: &NodeRealServer| r.forwarding.unwrap_or(server.forwarding);
    let own = |r: &&NodeRealServer| AddressFamily::of(&r.address) == listener.family();
    let has_own = real_servers.iter().any(|r| own(&r));
    let serves = |r: &&NodeRealServer| own(r) || (!has_own && way(r).crosses_families());
    let listed = |r: &NodeRealServer| {
        let key = DestinationKey {
            address: r.address,
            port: port_of(listener, r.port, way(r)),
        };
        let listed = Listed {
            weight: r.weight,
            upper_threshold: r.upper_threshold,
            lower_threshold: r.lower_threshold,
            forwarding: way(r),
            place: Place::Serves,
            barred: None,
            targets: Arc::default(),
        };
        (key, listed)
    };
    real_servers.iter().filter(serves).map(listed).collect()
}

/// An endpoint, and why it may not serve, if so.
struct Offer<'a> {
    endpoint: &'a Endpoint,
    barred: Option<Arc<str>>,
}

/// The endpoints as kube-proxy takes them: those that are ready, or, if none is, those that end and still serve. One that
/// may not serve is there to be told of while it is ready, and for nothing else.
fn of_service(
    server: &NodeServer,
    listener: &Listener,
    port: Option<&str>,
    offers: Vec<Offer<'_>>,
) -> BTreeMap<DestinationKey, Listed> {
    let crosses = server.forwarding.crosses_families();
    let own = |o: &Offer<'_>| AddressFamily::of(&o.endpoint.address) == listener.family();
    let has_own = offers.iter().any(own);
    let mine: Vec<Offer<'_>> = offers
        .into_iter()
        .filter(|o| own(o) || (!has_own && crosses))
        .collect();
    let is_ready = |o: &Offer<'_>| o.endpoint.condition == EndpointCondition::Ready;
    let any_ready = mine.iter().any(|o| o.barred.is_none() && is_ready(o));
    let mut all = BTreeMap::new();
    for Offer { endpoint, barred } in mine {
        let place = match endpoint.condition {
            EndpointCondition::Draining if barred.is_some() => Place::Gone,
            EndpointCondition::Draining if any_ready => Place::Ends,
            EndpointCondition::Ready | EndpointCondition::Draining => Place::Serves,
            EndpointCondition::Gone => Place::Gone,
        };
        let own = if keeps_port(listener, server.forwarding) {
            Some(0)
        } else {
            endpoint_port(listener, port, &endpoint.ports)
        };
        let Some(own) = own else {
            continue;
        };
        let key = DestinationKey {
            address: endpoint.address,
            port: port_of(listener, own, server.forwarding),
        };
        let listed = Listed {
            weight: 1,
            upper_threshold: 0,
            lower_threshold: 0,
            forwarding: server.forwarding,
            place,
            barred,
            targets: Arc::default(),
        };
        all.insert(key, listed);
    }
    all
}

/// Whether a connection has at the real server the port that it had, whichever that is.
const fn keeps_port(listener: &Listener, forwarding: NodeForwarding) -> bool {
    match listener {
        Listener::Address { port, .. } => *port == 0,
        Listener::Mark { .. } => !forwarding.changes_port(),
    }
}

/// Which of an endpoint's ports is meant: the one with the name that was given, or with the listener's; or the only
/// one of the protocol.
fn endpoint_port(listener: &Listener, given: Option<&str>, ports: &[EndpointPort]) -> Option<u16> {
    let (protocol, name) = match listener {
        Listener::Address { protocol, name, .. } => (*protocol, name.as_deref()),
        Listener::Mark { .. } => (Protocol::Tcp, None),
    };
    let mut fitting = ports.iter().filter(|p| p.protocol == protocol);
    if let Some(wanted) = given {
        return fitting
            .find(|p| p.name.as_deref() == Some(wanted))
            .map(|p| p.port);
    }
    let fitting: Vec<&EndpointPort> = fitting.collect();
    let named = fitting
        .iter()
        .find(|p| name.is_some() && p.name.as_deref() == name);
    match (named, fitting.as_slice()) {
        (Some(port), _) => Some(port.port),
        (None, [only]) => Some(only.port),
        (None, _) => None,
    }
}

/// The port in the kernel: what does not change packets keeps that of the listener.
pub(super) fn port_of(listener: &Listener, own: u16, forwarding: NodeForwarding) -> u16 {
    match listener {
        Listener::Address { port, .. } if !forwarding.changes_port() => *port,
        Listener::Address { target_port, .. } if own == 0 => *target_port,
        Listener::Mark { .. } if !forwarding.changes_port() => 0,
        Listener::Address { .. } | Listener::Mark { .. } => own,
    }
}
