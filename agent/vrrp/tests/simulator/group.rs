//! One virtual router over all nodes: what its members share, what each has of its own, and the timers that
//! follow from that. The simulator's own arithmetic: nothing here asks the election.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU8;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use vipkeeper_vrrp::{
    Centiseconds, ChecksumForm, ChecksumPolicy, Ifindex, Peer, Preemption, Priority, Protocol,
    RouterConfig, Transport, VirtualAddress,
};
use vipkeeper_wire::{Family, Vrid};

use crate::random::Random;

/// Nanoseconds, of virtual time or between two moments of it.
pub(crate) type Nanos = u64;
pub(crate) const MICRO: Nanos = 1_000;
pub(crate) const MILLI: Nanos = 1_000_000;
pub(crate) const SECOND: Nanos = 1_000_000_000;

const ALWAYS: Option<Preemption> = Some(Preemption::Always);
const NEVER: Option<Preemption> = Some(Preemption::Never);

/// What the members of a virtual router have in common.
pub(crate) struct Group {
    pub(crate) name: Arc<str>,
    pub(crate) family: Family,
    pub(crate) vrid: u8,
    pub(crate) version: u8,
    pub(crate) password: Option<[u8; 8]>,
    /// The one checksum form that members who insist on a form insist on.
    pub(crate) form: ChecksumForm,
    pub(crate) addresses: Arc<[VirtualAddress]>,
    pub(crate) unicast: bool,
    pub(crate) down_advertisements: u8,
    pub(crate) strict: bool,
    /// Intervals that members may be given, in the version's unit: one alone where a mismatch is refused.
    pub(crate) intervals: Vec<u16>,
    /// Every node's own address, which peers and tie-breaks go by.
    pub(crate) sources: Vec<IpAddr>,
    /// Whether priorities are drawn from few, so that ties are common.
    ties: bool,
    /// Whether a member may own the addresses.
    pub(crate) owners: bool,
    /// What members may do about a lower priority; `None` is Delayed, which each has a delay of its own for.
    preemptions: &'static [Option<Preemption>],
    policies: Vec<ChecksumPolicy>,
    /// How long addresses serve on after a move.
    pub(crate) linger: Nanos,
}

/// How one member is configured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Member {
    pub(crate) priority: u8,
    /// In the version's unit: seconds or centiseconds.
    pub(crate) interval: u16,
    pub(crate) preemption: Preemption,
    pub(crate) checksum: ChecksumPolicy,
    pub(crate) drained: bool,
}

impl Member {
    /// Whether priority 1 would not make its peers take over: it has to say priority 0.
    pub(crate) fn stands_aside(&self) -> bool {
        self.drained && self.priority < 255 && self.preemption != Preemption::Always
    }
}

impl Group {
    /// A virtual router; a second one has intervals of about the same length as the `first`.
    pub(crate) fn random(
        random: &mut Random,
        number: usize,
        nodes: &[NodeAddresses],
        first: Option<&Self>,
    ) -> Self {
        loop {
            let group = Self::any(random, number, nodes);
            let close = first.is_none_or(|first| {
                let (a, b) = (first.longest().0, group.longest().0);
                a <= b * 4 && b <= a * 4
            });
            if close {
                return group;
            }
        }
    }

    fn any(random: &mut Random, number: usize, nodes: &[NodeAddresses]) -> Self {
        let kind = random.pick(&[
            (Family::V4, 3),
            (Family::V4, 3),
            (Family::V6, 3),
            (Family::V4, 2),
        ]);
        let (family, version) = kind;
        let strict = random.chance(150);
        let mut intervals = match version {
            2 => vec![random.pick(&[1, 1, 2, 3])],
            _ => {
                let base = random.pick(&[1, 1, 2, 5, 10, 25, 100, 400]);
                vec![base, base, base * 2, base * 3, base + 1]
            }
        };
        if strict || random.chance(400) {
            intervals.truncate(1);
        }
        let form = random.pick(&[ChecksumForm::Rfc9568, ChecksumForm::Rfc5798]);
        let mut policies = vec![ChecksumPolicy::Auto, ChecksumPolicy::Only(form)];
        match random.up_to(3) {
            0 => policies.truncate(1),
            1 | 2 => drop(policies.remove(0)),
            _ => {}
        }
        Self {
            name: format!("group-{number}").into(),
            family,
            vrid: 10 + number as u8,
            version,
            password: (version == 2 && random.chance(500)).then_some(*b"secret\0\0"),
            form,
            addresses: virtual_addresses(random, number, family),
            unicast: random.chance(250),
            down_advertisements: random.pick(&[3, 3, 3, 2, 5]),
            strict,
            intervals,
            sources: nodes.iter().map(|n| n.of(family)).collect(),
            ties: random.chance(350),
            owners: random.chance(200),
            preemptions: random.pick(&[&[ALWAYS], &[NEVER], &[None], &[ALWAYS, NEVER, None]]),
            policies,
            linger: random.pick(&[0, 20 * MILLI, 200 * MILLI, SECOND]),
        }
    }

    pub(crate) fn random_member(&self, random: &mut Random) -> Member {
        let interval = random.pick(&self.intervals);
        Member {
            priority: self.random_priority(random),
            interval,
            preemption: self.random_preemption(random, interval),
            checksum: random.pick(&self.policies),
            drained: random.chance(30),
        }
    }

    pub(crate) fn random_priority(&self, random: &mut Random) -> u8 {
        if self.owners && random.chance(200) {
            return 255;
        }
        match self.ties {
            true => random.pick(&[100, 100, 100, 254, 1]),
            false => random.between(1, 254) as u8,
        }
    }

    pub(crate) fn random_preemption(&self, random: &mut Random, interval: u16) -> Preemption {
        let tenths = random.pick(&[0, 5, 10, 25, 60, 120]);
        let delay = Duration::from_nanos(self.nanos(interval) * tenths / 10);
        random
            .pick(self.preemptions)
            .unwrap_or(Preemption::Delayed(delay))
    }

    /// What the election of node `node` is told about this router.
    pub(crate) fn config(&self, member: &Member, node: usize, interface: Ifindex) -> RouterConfig {
        RouterConfig {
            name: Arc::clone(&self.name),
            family: self.family,
            vrid: Vrid::new(self.vrid).unwrap(),
            interface: Some(interface),
            protocol: match self.version {
                2 => Protocol::V2 {
                    seconds: NonZeroU8::new(member.interval as u8).unwrap(),
                    password: self.password,
                },
                _ => Protocol::V3 {
                    interval: Centiseconds::new(member.interval).unwrap(),
                    checksum: member.checksum,
                },
            },
            priority: Priority::new(member.priority).unwrap(),
            addresses: Arc::clone(&self.addresses),
            address_lifetime: Some(Duration::from_secs(30)),
            transport: self.transport(node),
            source: None,
            preemption: member.preemption,
            down_advertisements: NonZeroU8::new(self.down_advertisements).unwrap(),
            strict: self.strict,
            sync: None,
            linger: Duration::from_nanos(self.linger),
            drained: member.drained,
        }
    }

    fn transport(&self, node: usize) -> Transport {
        if !self.unicast {
            return Transport::Multicast {
                group: self.multicast_group(),
                extra_peers: Vec::new(),
            };
        }
        let others = self.sources.iter().enumerate().filter(|(n, _)| *n != node);
        Transport::Unicast {
            peers: others
                .map(|(_, &address)| Peer {
                    address,
                    min_ttl: 255,
                })
                .collect(),
        }
    }

    /// Nobody's address.
    pub(crate) fn stranger(&self) -> IpAddr {
        match self.family {
            Family::V4 => Ipv4Addr::new(10, 0, 0, 77).into(),
            Family::V6 => Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x77).into(),
        }
    }

    pub(crate) fn multicast_group(&self) -> IpAddr {
        match self.family {
            Family::V4 => Ipv4Addr::new(224, 0, 0, 18).into(),
            Family::V6 => Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12).into(),
        }
    }

    /// An interval of the version's unit in nanoseconds.
    pub(crate) fn nanos(&self, interval: u16) -> Nanos {
        u64::from(interval)
            * match self.version {
                2 => SECOND,
                _ => 10 * MILLI,
            }
    }

    /// Skew_Time for `priority` when advertisements come every `interval`: of a second in version 2
    /// (RFC 3768 §6.1), of the interval in version 3 (RFC 9568 §6.1).
    pub(crate) fn skew(&self, priority: u8, interval: Nanos) -> Nanos {
        let unit = match self.version {
            2 => SECOND,
            _ => interval,
        };
        (256 - u64::from(priority)) * unit / 256
    }

    /// Active_Down_Interval.
    pub(crate) fn down_interval(&self, priority: u8, interval: Nanos) -> Nanos {
        u64::from(self.down_advertisements) * interval + self.skew(priority, interval)
    }

    /// How long one that said priority 0 serves on while nobody takes over.
    pub(crate) fn patience(&self, interval: Nanos) -> Nanos {
        self.down_interval(0, interval) + 200 * MILLI
    }

    /// The shortest interval any member may have.
    pub(crate) fn shortest(&self) -> Nanos {
        self.nanos(self.intervals.iter().copied().min().unwrap())
    }

    /// Whether members that demand one checksum form meet members that choose.
    pub(crate) fn mixes_forms(&self) -> bool {
        self.version == 3 && self.family == Family::V4 && self.policies.len() > 1
    }

    /// Whether who waits for a member's advertisements may give up before another's next one is due.
    pub(crate) fn has_an_interval_beyond_a_down_interval(&self) -> bool {
        let (longest, _) = self.longest();
        self.version == 3 && longest > self.down_interval(254, self.shortest())
    }

    /// The longest interval any member may have, and the longest Active_Down_Interval.
    pub(crate) fn longest(&self) -> (Nanos, Nanos) {
        let interval = self.intervals.iter().copied().max().unwrap();
        let interval = self.nanos(interval);
        (interval, self.down_interval(1, interval))
    }
}

/// Where a node is on the LAN.
#[derive(Clone, Copy)]
pub(crate) struct NodeAddresses {
    pub(crate) ipv4: Ipv4Addr,
    pub(crate) ipv6: Ipv6Addr,
}

impl NodeAddresses {
    /// `count` nodes whose addresses are in another order as bytes than as text, or as signed numbers.
    pub(crate) fn random(random: &mut Random, count: usize) -> Vec<Self> {
        let mut ipv4 = [
            [10, 0, 0, 9],
            [10, 0, 0, 200],
            [192, 0, 2, 1],
            [10, 0, 128, 1],
            [9, 255, 255, 254],
        ];
        let mut ipv6 = [0x7f, 0x80, 0x1, 0xffff, 0x100];
        random.shuffle(&mut ipv4);
        random.shuffle(&mut ipv6);
        ipv4.iter()
            .zip(ipv6)
            .take(count)
            .map(|(&v4, v6)| Self {
                ipv4: v4.into(),
                ipv6: Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, v6),
            })
            .collect()
    }

    pub(crate) fn of(&self, family: Family) -> IpAddr {
        match family {
            Family::V4 => self.ipv4.into(),
            Family::V6 => self.ipv6.into(),
        }
    }
}

fn virtual_addresses(random: &mut Random, number: usize, family: Family) -> Arc<[VirtualAddress]> {
    let number = number as u8 + 1;
    (1..=random.pick(&[1u8, 1, 2, 3]))
        .map(|host| match family {
            Family::V4 => VirtualAddress {
                address: Ipv4Addr::new(203, 0, 113, number * 16 + host).into(),
                prefix_length: 32,
                interface: None,
            },
            // The first of an IPv6 list is link-local (RFC 9568 §5.2.9).
            Family::V6 => VirtualAddress {
                address: Ipv6Addr::new(
                    if host == 1 { 0xfe80 } else { 0x2001 },
                    0,
                    0,
                    0,
                    0,
                    0,
                    0xfab0 + u16::from(number),
                    u16::from(host),
                )
                .into(),
                prefix_length: 128,
                interface: None,
            },
        })
        .collect()
}
