//! The chains of the table, each with its sets and rules.
//!
//! Owns what is matched and what is done with it. Never how a set or a rule is written: [`Table`] does.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::{Chain, Element, Table};
use crate::expression::Verdict;
use crate::layout::{Field, KeyType, LAYOUTS, Layout, key, octets};
use crate::numbers::chain;
use crate::ruleset::{Endpoint, Family, Ports, Ruleset, disjoint};

/// Netfilter's hooks.
const LOCAL_IN: u32 = 1;
const POST_ROUTING: u32 = 4;

/// The number of `lo`, in every network namespace.
const LOOPBACK: u32 = 1;

const FULL_NAT: &str = "fullnat";
const NAT: &str = "nat";
const SOURCE_RANGES: &str = "source-ranges";
const ACCEPT_MODE: &str = "accept-mode";
const CLOSED: &str = "closed";

impl Table {
    /// Connections that IPVS rewrites are told from those of the same service that it sends on as they are by who
    /// answers: a real server, or the service's own address; and so are those to real servers that see the client.
    pub(super) fn full_nat(&mut self, ruleset: &Ruleset) {
        if ruleset.masqueraded.is_empty() && ruleset.masqueraded_marks.is_empty() {
            return;
        }
        self.base_chain(FULL_NAT, "nat", POST_ROUTING, 100);
        for layout in &LAYOUTS {
            let of_family = ruleset
                .masqueraded
                .iter()
                .filter(|traffic| layout.has(&traffic.address));
            let elements: BTreeSet<_> = of_family
                .clone()
                .filter_map(|traffic| match traffic.ports {
                    Ports::One(port) => {
                        let key = port_key(&traffic.address, traffic.protocol.number(), port);
                        Some(Element { key, end: None })
                    }
                    Ports::All => None,
                })
                .collect();
            if !elements.is_empty() {
                self.full_nat_of_ports(layout, elements, ruleset);
            }
            for traffic in of_family.filter(|traffic| traffic.ports == Ports::All) {
                let address = octets(&traffic.address);
                self.rule(FULL_NAT, |rule| {
                    rule.is(Field::PROTOCOL, &[traffic.protocol.number()])
                        .is(layout.original_destination, &address)
                        .is_not(layout.reply_source, &address)
                        .masquerade();
                });
            }
            let marks = ruleset.masqueraded_marks.iter();
            for mark in marks.filter(|mark| mark.family == layout.family) {
                self.rule(FULL_NAT, |rule| {
                    rule.is(Field::FAMILY, &[layout.number])
                        .is(Field::MARK, &mark.mark.get().to_ne_bytes())
                        .masquerade();
                });
            }
        }
    }

    /// Of the services in `elements`, without the real servers that see the client.
    fn full_nat_of_ports(
        &mut self,
        layout: &Layout,
        elements: BTreeSet<Element>,
        ruleset: &Ruleset,
    ) {
        let set = self.port_set(FULL_NAT, layout, elements);
        let client_side = [
            layout.original_destination,
            Field::PROTOCOL,
            Field::ORIGINAL_DESTINATION_PORT,
        ];
        let server_side = [
            layout.reply_source,
            Field::PROTOCOL,
            Field::REPLY_SOURCE_PORT,
        ];
        let kept = self.nat_set(layout, ruleset);
        self.rule(FULL_NAT, |rule| {
            rule.within(&client_side, &set)
                .not_within(&server_side, &set);
            if let Some(kept) = kept {
                let [a, b, c] = client_side;
                let both = [a, b, c, layout.reply_source, Field::REPLY_SOURCE_PORT];
                rule.not_within(&both, &kept);
            }
            rule.masquerade();
        });
    }

    /// The services with the real servers of each that see the client; its name, if there are any.
    fn nat_set(&mut self, layout: &Layout, ruleset: &Ruleset) -> Option<String> {
        let masqueraded = |endpoint: &Endpoint| ruleset.masqueraded.contains(&(*endpoint).into());
        let of_family = ruleset
            .unmasqueraded
            .iter()
            .filter(|(endpoint, _)| layout.has(&endpoint.address) && masqueraded(endpoint));
        let mut elements = BTreeSet::new();
        for (endpoint, real_servers) in of_family {
            let to = port_key(&endpoint.address, endpoint.protocol.number(), endpoint.port);
            for real_server in real_servers.iter().filter(|r| layout.has(&r.ip())) {
                let port = real_server.port().to_be_bytes();
                let both = key(&[&to, &octets(&real_server.ip()), &port]);
                elements.insert(Element::exactly(both));
            }
        }
        if elements.is_empty() {
            return None;
        }
        let fields = [
            layout.original_destination,
            Field::PROTOCOL,
            Field::ORIGINAL_DESTINATION_PORT,
            layout.reply_source,
            Field::REPLY_SOURCE_PORT,
        ];
        let types = [
            layout.address_type,
            KeyType::PROTOCOL,
            KeyType::PORT,
            layout.address_type,
            KeyType::PORT,
        ];
        Some(self.set(NAT, layout, &fields, &types, elements))
    }

    pub(super) fn source_ranges(&mut self, ruleset: &Ruleset) {
        if ruleset.restricted.is_empty() {
            return;
        }
        self.base_chain(SOURCE_RANGES, "filter", LOCAL_IN, 90);
        for layout in &LAYOUTS {
            let (mut restricted, mut allowed) = (BTreeSet::new(), BTreeSet::new());
            let of_family = ruleset
                .restricted
                .iter()
                .filter(|(endpoint, _)| layout.has(&endpoint.address));
            for (endpoint, prefixes) in of_family {
                let to = port_key(&endpoint.address, endpoint.protocol.number(), endpoint.port);
                for prefix in disjoint(prefixes, layout.family) {
                    allowed.insert(Element {
                        key: key(&[&to, &octets(&prefix.first())]),
                        end: Some(key(&[&to, &octets(&prefix.last())])),
                    });
                }
                restricted.insert(Element { key: to, end: None });
            }
            if restricted.is_empty() {
                continue;
            }
            let restricted = self.port_set("restricted", layout, restricted);
            let to = [layout.destination, Field::PROTOCOL, Field::DESTINATION_PORT];
            let [a, b, c] = to;
            let to_and_from = [a, b, c, layout.source];
            let types = [
                layout.address_type,
                KeyType::PROTOCOL,
                KeyType::PORT,
                layout.address_type,
            ];
            let allowed = self.set("allowed", layout, &to_and_from, &types, allowed);
            self.rule(SOURCE_RANGES, |rule| {
                // The first lookup is of a hash, and most packets end there.
                rule.is(Field::FAMILY, &[layout.number])
                    .within(&to, &restricted)
                    .is_not(Field::INTERFACE, &LOOPBACK.to_ne_bytes())
                    .not_within(&to_and_from, &allowed)
                    .verdict(Verdict::Drop);
            });
        }
    }

    pub(super) fn accept_mode(&mut self, ruleset: &Ruleset) {
        if ruleset.closed.is_empty() {
            return;
        }
        self.base_chain(ACCEPT_MODE, "filter", LOCAL_IN, 110);
        self.chains.push(Chain {
            name: CLOSED,
            attributes: self.named(chain::TABLE, |draft| {
                draft.text(chain::NAME, CLOSED);
            }),
        });
        for layout in &LAYOUTS {
            let of_family = ruleset
                .closed
                .iter()
                .filter(|(address, _)| layout.has(address));
            let closed: BTreeSet<_> = of_family
                .clone()
                .map(|(address, _)| Element::exactly(octets(address)))
                .collect();
            if closed.is_empty() {
                continue;
            }
            let closed = self.set(
                CLOSED,
                layout,
                &[layout.destination],
                &[layout.address_type],
                closed,
            );
            self.rule(ACCEPT_MODE, |rule| {
                rule.is(Field::FAMILY, &[layout.number])
                    .within(&[layout.destination], &closed)
                    .verdict(Verdict::Jump(CLOSED));
            });
            self.taken_icmp(layout);
            let open = of_family.flat_map(|(address, open)| {
                open.iter()
                    .map(move |(protocol, ports)| (address, *protocol, *ports))
            });
            let mut elements = BTreeSet::new();
            for (address, protocol, ports) in open {
                match ports {
                    Ports::One(port) => {
                        elements.insert(Element::exactly(port_key(
                            address,
                            protocol.number(),
                            port,
                        )));
                    }
                    Ports::All => self.rule(CLOSED, |rule| {
                        rule.is(Field::FAMILY, &[layout.number])
                            .is(layout.destination, &octets(address))
                            .is(Field::PROTOCOL, &[protocol.number()])
                            .verdict(Verdict::Accept);
                    }),
                }
            }
            if !elements.is_empty() {
                let open = self.port_set("open", layout, elements);
                let to = [layout.destination, Field::PROTOCOL, Field::DESTINATION_PORT];
                self.rule(CLOSED, |rule| {
                    rule.is(Field::FAMILY, &[layout.number])
                        .within(&to, &open)
                        .verdict(Verdict::Accept);
                });
            }
        }
        self.rule(CLOSED, |rule| rule.verdict(Verdict::Drop));
    }

    fn taken_icmp(&mut self, layout: &Layout) {
        let types = layout
            .icmp
            .taken
            .iter()
            .map(|kind| Element::exactly(vec![*kind]))
            .collect();
        let set = self.set(
            "icmp",
            layout,
            &[Field::ICMP_TYPE],
            &[layout.icmp.key_type],
            types,
        );
        self.rule(CLOSED, |rule| {
            rule.is(Field::FAMILY, &[layout.number])
                .is(Field::PROTOCOL, &[layout.icmp.protocol])
                .within(&[Field::ICMP_TYPE], &set)
                .verdict(Verdict::Accept);
        });
    }
}

impl Layout {
    fn has(&self, address: &IpAddr) -> bool {
        Family::of(address) == self.family
    }
}

fn port_key(address: &IpAddr, protocol: u8, port: u16) -> Vec<u8> {
    key(&[&octets(address), &[protocol], &port.to_be_bytes()])
}
