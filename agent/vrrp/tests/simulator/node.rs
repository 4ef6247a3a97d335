//! One node: its election and what surrounds it in an agent: the receive queue, the thread that installs
//! addresses, the process that can stop and start.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use vipkeeper_vrrp::{
    Election, Fact, Ifindex, Install, InterfaceState, Park, Plan, RouterId, StateName, Ticket,
    Withdraw,
};
use vipkeeper_wire::{Family, MacAddr};

use crate::frame::Frame;
use crate::group::{Group, Member, Nanos, NodeAddresses};
use crate::reference::Reference;

/// What waits for a node's next wake-up.
pub(crate) enum Input {
    Fact(Fact),
    /// A plan: what it says of each group.
    Apply(Vec<Option<Member>>),
    Shutdown,
}

/// A node of the LAN.
pub(crate) struct Node {
    pub(crate) addresses: NodeAddresses,
    pub(crate) mac: MacAddr,
    pub(crate) interface: Ifindex,
    /// `None` while no agent runs.
    pub(crate) election: Option<Election>,
    /// Counts the agents that ran here: what was meant for an earlier one is lost.
    pub(crate) generation: u32,
    /// The carrier, as the LAN sees it.
    pub(crate) link: bool,
    /// It has an address to send from.
    pub(crate) addressed: bool,
    /// By its own configuration it has the addresses of these groups.
    pub(crate) host: Vec<bool>,
    /// It is not run before this.
    pub(crate) stalled_until: Nanos,
    pub(crate) inputs: Vec<Input>,
    pub(crate) frames: Vec<(Nanos, Rc<Frame>)>,
    /// How many frames wait at most; the newest are dropped.
    pub(crate) queue_limit: usize,
    /// The wake-up that is planned, if one is.
    pub(crate) wake_at: Option<Nanos>,
    pub(crate) plan: Vec<Option<Member>>,
    pub(crate) routers: Vec<Router>,
    /// Which group an id of the running election belongs to.
    pub(crate) ids: BTreeMap<RouterId, usize>,
    /// The agent was told to stop and is gone when its election has left.
    pub(crate) leaving: bool,
}

/// One group on one node.
pub(crate) struct Router {
    pub(crate) reference: Reference,
    pub(crate) state: StateName,
    pub(crate) addresses: Holding,
    /// Up to here it may serve on as a lame duck.
    pub(crate) lame_until: Option<Nanos>,
}

/// The addresses of one group on one node, as the network thread sees them.
#[derive(Default)]
pub(crate) struct Holding {
    ordered: Option<Ticket>,
    held: Vec<IpAddr>,
    /// On the loopback interface, and since when.
    parked: Vec<IpAddr>,
    pub(crate) parked_at: Nanos,
    /// The election was told that some are held, and did not let them go since.
    pub(crate) serves: bool,
    /// The election was told that these are held.
    pub(crate) confirmed: Vec<IpAddr>,
}

impl Node {
    pub(crate) fn new(number: usize, addresses: NodeAddresses, groups: &[Group]) -> Self {
        Self {
            addresses,
            mac: MacAddr([2, 0, 0, 0, 0, number as u8 + 1]),
            interface: Ifindex::new(number as u32 + 2).unwrap(),
            election: None,
            generation: 0,
            link: true,
            addressed: true,
            host: vec![false; groups.len()],
            stalled_until: 0,
            inputs: Vec::new(),
            frames: Vec::new(),
            queue_limit: 1_024,
            wake_at: None,
            plan: Vec::new(),
            routers: groups.iter().map(|_| Router::new()).collect(),
            ids: BTreeMap::new(),
            leaving: false,
        }
    }

    /// A new agent: nothing that the last one knew or held is left.
    pub(crate) fn start(&mut self, groups: &[Group]) {
        self.stop();
        self.election = Some(Election::new());
        self.inputs.push(self.host_fact(groups));
        self.inputs.push(Input::Apply(self.plan.clone()));
        self.inputs.push(self.interface_fact());
    }

    /// The agent is gone, in order or not.
    pub(crate) fn stop(&mut self) {
        self.election = None;
        self.generation += 1;
        self.stalled_until = 0;
        self.inputs.clear();
        self.frames.clear();
        self.wake_at = None;
        self.ids.clear();
        self.leaving = false;
        for router in &mut self.routers {
            *router = Router::new();
        }
    }

    pub(crate) fn interface_fact(&self) -> Input {
        Input::Fact(Fact::Interface {
            interface: self.interface,
            state: InterfaceState {
                running: self.link,
                mac: Some(self.mac),
                mtu: 1_500,
                ipv4: self.addressed.then_some(self.addresses.ipv4),
                ipv6: self.addressed.then_some(self.addresses.ipv6),
                forwards_ipv6: true,
            },
        })
    }

    /// What the monitor tells of addresses that are the host's own.
    pub(crate) fn host_fact(&self, groups: &[Group]) -> Input {
        let owned = groups.iter().zip(&self.host).filter(|(_, has)| **has);
        let mut addresses: Vec<IpAddr> = owned
            .flat_map(|(group, _)| group.addresses.iter().map(|a| a.address))
            .collect();
        addresses.sort_unstable();
        Input::Fact(Fact::HostAddresses {
            interface: self.interface,
            addresses: addresses.into(),
        })
    }

    pub(crate) fn is_stalled(&self, now: Nanos) -> bool {
        now < self.stalled_until
    }

    /// The address that it sends advertisements of `family` from.
    pub(crate) fn source(&self, family: Family) -> IpAddr {
        self.addresses.of(family)
    }
}

/// The plan that says this of each group.
pub(crate) fn plan(
    groups: &[Group],
    members: &[Option<Member>],
    node: usize,
    interface: Ifindex,
) -> Arc<Plan> {
    let named = groups.iter().zip(members);
    Arc::new(Plan {
        routers: named
            .filter_map(|(group, member)| Some(group.config(member.as_ref()?, node, interface)))
            .collect(),
        ..Plan::default()
    })
}

impl Router {
    fn new() -> Self {
        Self {
            reference: Reference::new(),
            state: StateName::Initialize,
            addresses: Holding::default(),
            lame_until: None,
        }
    }
}

impl Holding {
    pub(crate) fn order(&mut self, install: &Install) {
        self.ordered = Some(install.ticket);
        self.confirmed.clear();
    }

    pub(crate) fn is_waiting_for(&self, ticket: Ticket) -> bool {
        self.ordered == Some(ticket)
    }

    /// The network thread's turn; false if a withdrawal cancelled the order.
    pub(crate) fn carry_out(&mut self, install: &Install, refused: &[IpAddr]) -> bool {
        if !self.is_waiting_for(install.ticket) {
            return false;
        }
        let addresses = install.addresses.iter().map(|a| a.address);
        self.held = addresses.filter(|a| !refused.contains(a)).collect();
        self.parked.clear();
        true
    }

    /// The order failed as a whole: nothing of it is held.
    pub(crate) fn fail(&mut self, ticket: Ticket) {
        if self.is_waiting_for(ticket) {
            self.held.clear();
            self.parked.clear();
        }
    }

    /// The election reads the outcome of `ticket`.
    pub(crate) fn confirm(&mut self, ticket: Ticket) {
        if self.is_waiting_for(ticket) {
            self.confirmed.clone_from(&self.held);
            self.serves = true;
        }
    }

    /// False if there is nothing to park.
    pub(crate) fn park(&mut self, park: &Park, now: Nanos) -> bool {
        if self.ordered.is_some_and(|ticket| ticket < park.ticket) {
            self.ordered = None;
        }
        self.confirmed.clear();
        self.serves = false;
        self.parked.append(&mut self.held);
        self.parked_at = now;
        !self.parked.is_empty()
    }

    pub(crate) fn is_parked(&self) -> bool {
        !self.parked.is_empty()
    }

    pub(crate) fn withdraw(&mut self, withdraw: &Withdraw) {
        if self.ordered.is_some_and(|ticket| ticket < withdraw.ticket) {
            self.ordered = None;
        }
        self.serves = false;
        let gone = |address| withdraw.addresses.iter().any(|a| a.address == address);
        self.held.retain(|&address| !gone(address));
        self.parked.retain(|&address| !gone(address));
        self.confirmed.retain(|&address| !gone(address));
    }

    /// Something is on the interface, or on its way there.
    pub(crate) fn is_ordered(&self) -> bool {
        self.ordered.is_some()
    }

    pub(crate) fn holds(&self, address: IpAddr) -> bool {
        self.held.contains(&address)
    }

    /// Nothing is on the interface.
    pub(crate) fn is_empty(&self) -> bool {
        self.ordered.is_none() && self.held.is_empty()
    }
}
