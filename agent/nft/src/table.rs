//! The table: sets, chains and rules as the kernel takes them.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use vipkeeper_netlink::Draft;

use crate::expression::{Expressions, Verdict};
use crate::layout::{Field, KeyType, LAYOUTS, Layout, key, octets};
use crate::numbers::{chain, rule, set};
use crate::ruleset::{Family, Ports, Ruleset, disjoint};

/// Netfilter's hooks and verdicts.
const LOCAL_IN: u32 = 1;
const POST_ROUTING: u32 = 4;
const ACCEPT: u32 = 1;

/// The number of `lo`, in every network namespace.
const LOOPBACK: u32 = 1;

const FULL_NAT: &str = "fullnat";
const SOURCE_RANGES: &str = "source-ranges";
const ACCEPT_MODE: &str = "accept-mode";
const CLOSED: &str = "closed";

/// The name of a table: 1..=100 letters, digits, `-` and `_`, the first a letter, as `nft` can write it without quotes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableName(String);

/// A text that cannot be the name of a table.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the name of a table is 1 to 100 letters, digits, `-` and `_`, the first a letter; not `{0}`"
)]
pub struct InvalidTableName(String);

impl TableName {
    /// `name` as the name of a table.
    ///
    /// # Errors
    ///
    /// It cannot be one.
    pub fn new(name: &str) -> Result<Self, InvalidTableName> {
        let letters = name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
        let begins = name
            .bytes()
            .next()
            .is_some_and(|byte| byte.is_ascii_alphabetic());
        if letters && begins && name.len() <= 100 {
            Ok(Self(name.to_owned()))
        } else {
            Err(InvalidTableName(name.to_owned()))
        }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A table of the family `inet`: what a [`Ruleset`] wants, as sets, chains and rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    pub(crate) name: TableName,
    pub(crate) sets: Vec<Set>,
    pub(crate) chains: Vec<Chain>,
    pub(crate) rules: Vec<Rule>,
}

/// A set with its elements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Set {
    pub(crate) name: String,
    pub(crate) attributes: Vec<u8>,
    pub(crate) elements: BTreeSet<Element>,
}

/// An element of a set: a key, or the keys between two.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Element {
    pub(crate) key: Vec<u8>,
    pub(crate) end: Option<Vec<u8>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Chain {
    pub(crate) name: &'static str,
    pub(crate) attributes: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    pub(crate) chain: &'static str,
    pub(crate) attributes: Vec<u8>,
}

impl Table {
    /// The table `name` that does what `ruleset` wants.
    #[must_use]
    pub fn new(name: TableName, ruleset: &Ruleset) -> Self {
        let mut table = Self {
            name,
            sets: Vec::new(),
            chains: Vec::new(),
            rules: Vec::new(),
        };
        table.full_nat(ruleset);
        table.source_ranges(ruleset);
        table.accept_mode(ruleset);
        table
    }

    /// Its name.
    #[must_use]
    pub const fn name(&self) -> &TableName {
        &self.name
    }

    /// It does nothing, and is better [removed](crate::Batch::removal).
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.chains.is_empty()
    }

    /// Connections that IPVS rewrites are told from those of the same service that it sends on as they are by who
    /// answers: a real server, or the service's own address.
    fn full_nat(&mut self, ruleset: &Ruleset) {
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
                let set = self.port_set(FULL_NAT, layout, elements);
                let [client_side, server_side] = [
                    [
                        layout.original_destination,
                        Field::PROTOCOL,
                        Field::ORIGINAL_DESTINATION_PORT,
                    ],
                    [
                        layout.reply_source,
                        Field::PROTOCOL,
                        Field::REPLY_SOURCE_PORT,
                    ],
                ];
                self.rule(FULL_NAT, |rule| {
                    rule.within(&client_side, &set)
                        .not_within(&server_side, &set)
                        .masquerade();
                });
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

    fn source_ranges(&mut self, ruleset: &Ruleset) {
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

    fn accept_mode(&mut self, ruleset: &Ruleset) {
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

    /// A set of addresses with protocol and port; its name.
    fn port_set(&mut self, name: &str, layout: &Layout, elements: BTreeSet<Element>) -> String {
        let fields = [layout.destination, Field::PROTOCOL, Field::DESTINATION_PORT];
        let types = [layout.address_type, KeyType::PROTOCOL, KeyType::PORT];
        self.set(name, layout, &fields, &types, elements)
    }

    /// A set of which an element is `fields`, of the lengths that these have; its name.
    fn set(
        &mut self,
        name: &str,
        layout: &Layout,
        fields: &[Field],
        types: &[KeyType],
        elements: BTreeSet<Element>,
    ) -> String {
        let name = format!("{name}{}", layout.suffix);
        // Six bits each.
        let key_type = types.iter().fold(0, |all, kind| all << 6 | kind.0);
        let key_len = match fields {
            [only] => only.length(),
            several => several.iter().map(|field| field.words() * 4).sum(),
        };
        let ranges = elements.iter().any(|element| element.end.is_some());
        let attributes = self.named(set::TABLE, |draft| {
            draft.text(set::NAME, &name);
            if ranges {
                draft.be32(set::FLAGS, set::INTERVAL | set::CONCATENATED);
            }
            draft
                .be32(set::KEY_TYPE, key_type)
                .be32(set::KEY_LEN, key_len);
            if ranges {
                draft.nest(set::DESCRIPTION, |draft| put_fields(draft, fields));
            }
        });
        self.sets.push(Set {
            name: name.clone(),
            attributes,
            elements,
        });
        name
    }

    fn base_chain(&mut self, name: &'static str, kind: &str, hook: u32, priority: u32) {
        let attributes = self.named(chain::TABLE, |draft| {
            draft
                .text(chain::NAME, name)
                .be32(chain::POLICY, ACCEPT)
                .text(chain::TYPE, kind)
                .nest(chain::HOOK, |draft| {
                    draft
                        .be32(chain::HOOK_NUMBER, hook)
                        .be32(chain::HOOK_PRIORITY, priority);
                });
        });
        self.chains.push(Chain { name, attributes });
    }

    fn rule(&mut self, chain: &'static str, fill: impl FnOnce(&mut Expressions<'_, '_>)) {
        let attributes = self.named(rule::TABLE, |draft| {
            draft
                .text(rule::CHAIN, chain)
                .nest(rule::EXPRESSIONS, |draft| fill(&mut Expressions(draft)));
        });
        self.rules.push(Rule { chain, attributes });
    }

    /// Attributes that begin with the table's name.
    #[expect(
        clippy::expect_used,
        reason = "the longest rule has a dozen expressions of at most 60 bytes"
    )]
    fn named(&self, kind: u16, fill: impl FnOnce(&mut Draft<'_>)) -> Vec<u8> {
        Draft::attributes(|draft| {
            draft.text(kind, self.name.as_str());
            fill(draft);
        })
        .expect("an object of ours is at most 1,500 bytes")
    }
}

impl Element {
    const fn exactly(key: Vec<u8>) -> Self {
        Self { key, end: None }
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

/// The lengths of the fields of a concatenation with ranges.
fn put_fields(draft: &mut Draft<'_>, fields: &[Field]) {
    draft.nest(set::CONCATENATION, |draft| {
        for field in fields {
            draft.nest(crate::numbers::LIST_MEMBER, |draft| {
                draft.be32(set::FIELD_LEN, field.length());
            });
        }
    });
}
