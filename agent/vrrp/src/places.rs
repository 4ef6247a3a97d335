//! Where the addresses of a router are, and how it is there: most on the router's own interface, some on one of
//! their own, the side interfaces.
//!
//! Owns what is known of the side interfaces. Decides nothing.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use vipkeeper_wire::MacAddr;

use crate::config::{Ifindex, RouterConfig, VirtualAddress};
use crate::input::InterfaceState;
use crate::output::{Announcement, GratuitousForm, Reason};

/// The side interfaces of a router; `None` for one that is not known, or gone.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct SideLinks(BTreeMap<Ifindex, Option<InterfaceState>>);

impl SideLinks {
    /// Those that `config` names; what was known of them is known still.
    pub(crate) fn name(&mut self, config: &RouterConfig) {
        let known = std::mem::take(&mut self.0);
        let state = |interface| known.get(&interface).copied().flatten();
        let named = config.side_interfaces();
        self.0 = named.map(|i| (i, state(i))).collect();
    }

    /// Whether `interface` is one.
    pub(crate) fn has(&self, interface: Ifindex) -> bool {
        self.0.contains_key(&interface)
    }

    /// Takes note of `interface` as it is now, if it is one: gives how it was.
    pub(crate) fn set(
        &mut self,
        interface: Ifindex,
        state: Option<InterfaceState>,
    ) -> Option<InterfaceState> {
        let known = self.0.get_mut(&interface)?;
        std::mem::replace(known, state)
    }

    /// Learns from `links` how those are of which nothing is known.
    pub(crate) fn learn(&mut self, links: &BTreeMap<Ifindex, InterfaceState>) {
        for (interface, known) in &mut self.0 {
            *known = known.or_else(|| links.get(interface).copied());
        }
    }

    /// What they have against the router's taking part: it would tell the world that it has addresses which nobody
    /// reaches.
    pub(crate) fn obstacle(&self) -> Option<Reason> {
        let mut all = self.0.values();
        if all.clone().any(Option::is_none) {
            return Some(Reason::InterfaceMissing);
        }
        let is_down = |link: &InterfaceState| !link.running;
        all.any(|link| link.as_ref().is_some_and(is_down))
            .then_some(Reason::InterfaceDown)
    }
}

/// The interfaces of a router that takes part.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Places<'a> {
    interface: Ifindex,
    link: &'a InterfaceState,
    sides: &'a SideLinks,
}

impl<'a> Places<'a> {
    /// Of a router on `interface`.
    pub(crate) fn new(
        interface: Option<Ifindex>,
        link: Option<&'a InterfaceState>,
        sides: &'a SideLinks,
    ) -> Option<Self> {
        Some(Self {
            interface: interface?,
            link: link?,
            sides,
        })
    }

    /// How `interface` is.
    fn link(&self, interface: Ifindex) -> Option<&'a InterfaceState> {
        if interface == self.interface {
            return Some(self.link);
        }
        self.sides.0.get(&interface)?.as_ref()
    }

    /// The Ethernet address of `interface`.
    pub(crate) fn mac(&self, interface: Ifindex) -> Option<MacAddr> {
        self.link(interface)?.mac
    }

    /// Where `address` is, and the Ethernet address there.
    pub(crate) fn of(&self, address: &VirtualAddress) -> Option<(Ifindex, MacAddr)> {
        let interface = address.on(self.interface);
        Some((interface, self.mac(interface)?))
    }

    /// That `address` is there; `None` where there is no Ethernet.
    pub(crate) fn announcement(
        &self,
        address: &VirtualAddress,
        form: GratuitousForm,
    ) -> Option<Announcement> {
        let (interface, mac) = self.of(address)?;
        Some(Announcement {
            interface,
            mac,
            address: address.address,
            form,
            forwards: self.link(interface)?.forwards_ipv6,
        })
    }
}
