//! One election under test: its clock, its kernel and the story of what it did.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU8;
use std::sync::Arc;
use std::time::Duration;

use vipkeeper_vrrp::{
    AnnouncementBudget, Centiseconds, ChecksumForm, ChecksumPolicy, Command, Election, Evidence,
    Fact, Ifindex, Install, InterfaceState, Output, Peer, Plan, Preemption, Priority, Protocol,
    Report, RouterConfig, RouterCounters, RouterStatus, StateName, Time, Transmit, Transport,
    VirtualAddress,
};
use vipkeeper_wire::vrrp::{Accept, Endpoints, GROUP_V4, GROUP_V6, Packet};
use vipkeeper_wire::{Family, MacAddr, Vrid};

use crate::forge::Frame;

/// The interface that every router runs on unless told otherwise.
pub(crate) const IFINDEX: Ifindex = Ifindex::new(2).unwrap();
/// Another one.
pub(crate) const OTHER_IFINDEX: Ifindex = Ifindex::new(3).unwrap();
pub(crate) const OWN_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0xff, 1]);
/// Our own addresses: peers may be above and below.
pub(crate) const OWN: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 5);
pub(crate) const OWN_V6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 5);
pub(crate) const VIP: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 77, 0, 100));
pub(crate) const VIP_V6: [IpAddr; 2] = [
    IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x100)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x100)),
];

pub(crate) const SECOND: Duration = Duration::from_secs(1);

pub(crate) const fn millis(value: u64) -> Duration {
    Duration::from_millis(value)
}

pub(crate) fn nanos(value: u64) -> Duration {
    Duration::from_nanos(value)
}

/// Skew_Time of `priority` at an interval of one second: 1/256 s is 3,906,250 ns.
pub(crate) fn skew(priority: u8) -> Duration {
    nanos((256 - u64::from(priority)) * 3_906_250)
}

/// Active_Down_Interval of `priority` at an interval of one second.
pub(crate) fn down(priority: u8) -> Duration {
    3 * SECOND + skew(priority)
}

/// Version 3, IPv4, VRID 10, 10.77.0.100, every second, multicast, checksum of RFC 9568.
pub(crate) fn router(priority: u8) -> RouterConfig {
    RouterConfig {
        name: "web".into(),
        family: Family::V4,
        vrid: Vrid::new(10).unwrap(),
        interface: Some(IFINDEX),
        protocol: v3(100),
        priority: Priority::new(priority).unwrap(),
        addresses: addresses(&[VIP]),
        address_lifetime: Some(30 * SECOND),
        transport: Transport::Multicast {
            group: GROUP_V4.into(),
            extra_peers: Vec::new(),
        },
        source: None,
        preemption: Preemption::Always,
        down_advertisements: NonZeroU8::new(3).unwrap(),
        strict: false,
        sync: None,
        linger: Duration::ZERO,
        drained: false,
    }
}

/// The same over IPv6 with a link-local address and a global one.
pub(crate) fn router_v6(priority: u8) -> RouterConfig {
    RouterConfig {
        family: Family::V6,
        addresses: addresses(&VIP_V6),
        transport: Transport::Multicast {
            group: GROUP_V6.into(),
            extra_peers: Vec::new(),
        },
        ..router(priority)
    }
}

/// Version 2.
pub(crate) fn router_v2(priority: u8) -> RouterConfig {
    RouterConfig {
        protocol: v2(1, None),
        ..router(priority)
    }
}

pub(crate) fn v3(centiseconds: u16) -> Protocol {
    Protocol::V3 {
        interval: Centiseconds::new(centiseconds).unwrap(),
        checksum: ChecksumPolicy::Only(ChecksumForm::Rfc9568),
    }
}

pub(crate) fn v2(seconds: u8, password: Option<[u8; 8]>) -> Protocol {
    Protocol::V2 {
        seconds: NonZeroU8::new(seconds).unwrap(),
        password,
    }
}

pub(crate) fn unicast(peers: &[(&str, u8)]) -> Transport {
    let peers = peers.iter().map(|(address, min_ttl)| Peer {
        address: address.parse().unwrap(),
        min_ttl: *min_ttl,
    });
    Transport::Unicast {
        peers: peers.collect(),
    }
}

pub(crate) fn addresses(list: &[IpAddr]) -> Arc<[VirtualAddress]> {
    let virtual_address = |address: &IpAddr| VirtualAddress {
        address: *address,
        prefix_length: match Family::of(address) {
            Family::V4 => 32,
            Family::V6 => 128,
        },
        interface: None,
    };
    list.iter().map(virtual_address).collect()
}

/// A usable interface.
pub(crate) fn running() -> InterfaceState {
    InterfaceState {
        running: true,
        mac: Some(OWN_MAC),
        mtu: 1_500,
        ipv4: Some(OWN),
        ipv6: Some(OWN_V6),
        forwards_ipv6: true,
    }
}

/// How the kernel answers an `Install`.
#[derive(Clone, Debug)]
pub(crate) enum Kernel {
    /// At once.
    Confirms,
    /// At once, but for these.
    Refuses(Vec<IpAddr>),
    /// It cannot.
    Fails,
    /// Not yet: the test answers.
    Waits,
}

/// An output and when it was made.
pub(crate) type Log = Vec<(Time, Output)>;

/// An election, its clock and its kernel.
pub(crate) struct Bench {
    pub(crate) election: Election,
    pub(crate) now: Time,
    pub(crate) kernel: Kernel,
    /// Of a plan, everything but routers and announcements.
    pub(crate) surroundings: Plan,
}

impl Bench {
    /// An election that was told nothing, an hour after boot.
    pub(crate) fn empty() -> Self {
        Self {
            election: Election::new(),
            now: Time::ZERO + Duration::from_secs(3_600),
            kernel: Kernel::Confirms,
            surroundings: Plan::default(),
        }
    }

    /// `routers` on running interfaces, just started.
    pub(crate) fn new(routers: &[RouterConfig]) -> Self {
        Self::started(routers).0
    }

    /// The same, and what it did at its start.
    pub(crate) fn started(routers: &[RouterConfig]) -> (Self, Log) {
        let mut bench = Self::empty();
        let mut log = bench.apply(routers);
        for interface in [IFINDEX, OTHER_IFINDEX] {
            let owners = routers.iter().filter(|r| r.priority.is_owner());
            let owned = owners.flat_map(|r| r.addresses.iter().map(|a| a.address));
            log.extend(bench.host(interface, &owned.collect::<Vec<_>>()));
            log.extend(bench.link(interface, running()));
        }
        (bench, log)
    }

    /// `router`, Backup to nobody until its Active_Down_Timer ended: Active for ten seconds, all announced.
    pub(crate) fn active(router: RouterConfig) -> Self {
        let mut bench = Self::new(&[router]);
        bench.until_active();
        bench.advance(10 * SECOND);
        bench
    }

    /// Lets time pass until the first router is Active; what it did on the way.
    pub(crate) fn until_active(&mut self) -> Log {
        let mut log = Log::new();
        while self.state() != StateName::Active {
            log.extend(self.fire());
        }
        log
    }

    /// Lets time pass until the first router is Active and has said so for the last time.
    pub(crate) fn settled(mut self) -> Self {
        self.until_active();
        self.advance(10 * SECOND);
        self
    }

    /// The same as [`until_active`](Self::until_active) where the kernel refuses the addresses: until the router was Active and is out again.
    pub(crate) fn until_active_or_out(&mut self) -> Log {
        let mut log = Log::new();
        while self.state() == StateName::Backup {
            log.extend(self.fire());
        }
        log
    }

    pub(crate) fn apply(&mut self, routers: &[RouterConfig]) -> Log {
        self.apply_with(routers, AnnouncementBudget::default())
    }

    pub(crate) fn apply_with(
        &mut self,
        routers: &[RouterConfig],
        announcements: AnnouncementBudget,
    ) -> Log {
        let plan = Plan {
            routers: routers.to_vec(),
            announcements,
            ..self.surroundings.clone()
        };
        self.command(Command::Apply(Arc::new(plan)))
    }

    pub(crate) fn command(&mut self, command: Command) -> Log {
        self.election.handle_command(self.now, command);
        self.settle()
    }

    pub(crate) fn fact(&mut self, fact: Fact) -> Log {
        self.election.handle_fact(self.now, fact);
        self.settle()
    }

    pub(crate) fn link(&mut self, interface: Ifindex, state: InterfaceState) -> Log {
        self.fact(Fact::Interface { interface, state })
    }

    /// What an interface has by the host's own configuration.
    pub(crate) fn host(&mut self, interface: Ifindex, addresses: &[IpAddr]) -> Log {
        let mut addresses = addresses.to_vec();
        addresses.sort_unstable();
        self.fact(Fact::HostAddresses {
            interface,
            addresses: addresses.into(),
        })
    }

    pub(crate) fn weight(&mut self, weight: i16) -> Log {
        self.fact(Fact::Weight {
            name: "web".into(),
            family: Family::V4,
            weight,
        })
    }

    /// Hears `frame` as it arrives.
    pub(crate) fn hear(&mut self, frame: &Frame) -> Log {
        self.hear_late(frame, self.now)
    }

    /// Hears `frame`, which arrived at `arrival`.
    pub(crate) fn hear_late(&mut self, frame: &Frame, arrival: Time) -> Log {
        frame.with(arrival, |received| {
            self.election.handle_frame(self.now, received);
        });
        self.settle()
    }

    /// Whatever is due now, fires; the kernel answers. One wake-up of a driver from its third step on.
    pub(crate) fn settle(&mut self) -> Log {
        self.election.handle_timeout(self.now);
        let mut log = Log::new();
        while let Some(output) = self.election.poll_output() {
            if let Output::Install(install) = &output {
                self.answer(install);
            }
            log.push((self.now, output));
        }
        log
    }

    /// The kernel's answer to `install`.
    fn answer(&mut self, install: &Install) {
        let (router, ticket) = (install.router, install.ticket);
        let fact = match &self.kernel {
            Kernel::Waits => return,
            Kernel::Fails => Fact::InstallFailed { router, ticket },
            Kernel::Confirms => Fact::Installed {
                router,
                ticket,
                refused: Vec::new(),
            },
            Kernel::Refuses(refused) => Fact::Installed {
                router,
                ticket,
                refused: refused.clone(),
            },
        };
        self.election.handle_fact(self.now, fact);
    }

    /// Goes on to the next deadline, and to nothing else.
    pub(crate) fn fire(&mut self) -> Log {
        let next = self.election.next_timeout().expect("nothing is due, ever");
        self.now = self.now.max(next);
        self.settle()
    }

    /// Lets `span` pass, firing each deadline exactly when it is due.
    pub(crate) fn advance(&mut self, span: Duration) -> Log {
        let end = self.now + span;
        let mut log = Log::new();
        while self.election.next_timeout().is_some_and(|at| at <= end) {
            log.extend(self.fire());
        }
        self.now = end;
        log
    }

    /// Nothing is run for `span`.
    pub(crate) fn stall(&mut self, span: Duration) {
        self.now = self.now + span;
    }

    /// How long until the next deadline.
    pub(crate) fn timeout(&self) -> Duration {
        let next = self.election.next_timeout().expect("nothing is due, ever");
        next.since(self.now)
    }

    /// The first router of the plan.
    pub(crate) fn status(&self) -> RouterStatus {
        self.election.snapshot(self.now).routers.remove(0)
    }

    /// The router called `name`.
    pub(crate) fn status_of(&self, name: &str) -> RouterStatus {
        let routers = self.election.snapshot(self.now).routers;
        let found = routers.into_iter().find(|r| &*r.name == name);
        found.expect("no router of this name")
    }

    pub(crate) fn state(&self) -> StateName {
        self.status().state
    }

    pub(crate) fn counters(&self) -> RouterCounters {
        self.status().counters
    }

    /// Everything of the first router that a refused frame must leave alone.
    pub(crate) fn untouched(&self) -> (RouterStatus, Option<Time>) {
        let status = self.status();
        let status = RouterStatus {
            counters: RouterCounters::default(),
            // That frames are refused is told, and changes nothing.
            evidence: status
                .evidence
                .iter()
                .filter(|s| !matches!(s.evidence, Evidence::PeerRejected { .. }))
                .copied()
                .collect(),
            ..status
        };
        (status, self.election.next_timeout())
    }
}

/// What was done, a line each: `send 100`, `install`, `withdraw`, `announce 10.77.0.100`,
/// `Backup > Active: NoResponse`, `refused: Ttl`. Without the figures of `Announced`, which `observed` tests.
pub(crate) fn story(log: &Log) -> Vec<String> {
    let figures = |output: &Output| matches!(output, Output::Report(Report::Announced { .. }));
    let told = log.iter().filter(|(_, output)| !figures(output));
    told.map(|(_, output)| line(output)).collect()
}

fn line(output: &Output) -> String {
    match output {
        Output::Send(send) => format!("send {}", read(send).priority),
        Output::Install(_) => "install".into(),
        Output::Withdraw(_) => "withdraw".into(),
        Output::Park(_) => "park".into(),
        Output::Announce(announcement) => format!("announce {}", announcement.address),
        Output::Probe(probe) => format!("probe {}", probe.address),
        Output::Beat(beat) => format!("beat {}", beat.destination),
        Output::Report(Report::Transition {
            from, to, reason, ..
        }) => format!("{} > {}: {}", from.as_str(), to.as_str(), reason.as_str()),
        Output::Report(Report::Refused { reason, .. }) => format!("refused: {}", reason.as_str()),
        Output::Report(Report::AddressesRefused { count, .. }) => {
            format!("addresses refused: {count}")
        }
        Output::Report(Report::AddressConflict { count, .. }) => {
            format!("address conflict: {count}")
        }
        Output::Report(Report::Announced { silence, .. }) => {
            format!("announced after {} ms", silence.as_millis())
        }
        Output::Report(Report::Stalled { .. }) => "stalled".into(),
        Output::Report(Report::Evidence {
            evidence, ended, ..
        }) => {
            let ended = if *ended { " over" } else { "" };
            format!("evidence: {}{ended}", evidence.as_str())
        }
    }
}

/// What was done but for reports.
pub(crate) fn deeds(log: &Log) -> Vec<String> {
    let deeds = log
        .iter()
        .filter(|(_, output)| !matches!(output, Output::Report(_)));
    deeds.map(|(_, output)| line(output)).collect()
}

/// An advertisement that was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) at: Time,
    pub(crate) interface: Ifindex,
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    pub(crate) vrid: u8,
    pub(crate) version: u8,
    pub(crate) priority: u8,
    pub(crate) interval: Duration,
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) form: Option<ChecksumForm>,
    pub(crate) authentication: Option<(u8, [u8; 8])>,
}

/// The advertisements in `log`.
pub(crate) fn sent(log: &Log) -> Vec<Sent> {
    let mut sent = Vec::new();
    for (at, output) in log {
        if let Output::Send(send) = output {
            sent.push(Sent {
                at: *at,
                ..read(send)
            });
        }
    }
    sent
}

fn read(send: &Transmit) -> Sent {
    let endpoints = Endpoints::new(send.source, send.destination).unwrap();
    let packet = Packet::parse(&send.payload, &endpoints, Accept::Either).unwrap();
    Sent {
        at: Time::ZERO,
        interface: send.interface,
        source: send.source,
        destination: send.destination,
        vrid: packet.vrid().get(),
        version: send.payload[0] >> 4,
        priority: packet.priority(),
        interval: packet.interval(),
        addresses: packet.addresses().collect(),
        form: packet.checksum_form(),
        authentication: packet.authentication(),
    }
}

/// The announcements in `log`: after how long from `start`, and of which address.
pub(crate) fn announced(log: &Log, start: Time) -> Vec<(u128, IpAddr)> {
    let mut announced = Vec::new();
    for (at, output) in log {
        if let Output::Announce(announcement) = output {
            announced.push((at.since(start).as_millis(), announcement.address));
        }
    }
    announced
}
