//! What an Active does with its addresses: what became of them in the kernel, how it lets them go, and whom it
//! tells.

use std::net::IpAddr;
use std::sync::Arc;

use super::{Router, State};
use crate::config::VirtualAddress;
use crate::effects::Effects;
use crate::output::{Output, Reason, Report, Withdraw};
use crate::places::Places;
use crate::time::Time;
use crate::timers;

impl Router {
    /// The kernel confirmed; `refused` addresses are done without. Holding none at all is no service.
    pub(super) fn hold(&mut self, fx: &mut Effects, now: Time, refused: Vec<IpAddr>) {
        if refused.len() >= self.config.addresses.len() {
            return self.give_up(fx, now, Reason::InstallFailed);
        }
        if let Some(&first) = refused.first() {
            fx.report(Report::AddressesRefused {
                at: now,
                name: self.config.name.clone(),
                family: self.config.family,
                count: u16::try_from(refused.len()).unwrap_or(u16::MAX),
                first,
            });
        }
        self.install_failures = 0;
        if let State::Active(active) = &mut self.state {
            active.confirm(now, refused);
        }
        self.announce(fx, now);
    }

    /// The interface does not take the addresses, or nobody puts them there: somebody else shall have them, and it is tried again later.
    pub(super) fn give_up(&mut self, fx: &mut Effects, now: Time, reason: Reason) {
        self.install_failures = self.install_failures.saturating_add(1);
        let retry = now + timers::retry_delay(self.install_failures);
        self.leave(fx, now, reason);
        self.state = State::Initialize { retry: Some(retry) };
    }

    /// Takes the addresses off and leaves the shared phase.
    pub(super) fn release(&mut self, fx: &mut Effects) {
        if let State::Active(active) = &self.state {
            active.part(fx);
            self.withdraw(fx, self.config.addresses.clone());
        }
    }

    /// Takes addresses off. The owner's are the host's and stay.
    pub(super) fn withdraw(&self, fx: &mut Effects, addresses: Arc<[VirtualAddress]>) {
        let (Some(interface), false) = (self.config.interface, self.config.priority.is_owner())
        else {
            return;
        };
        let ticket = fx.next_ticket();
        fx.push(Output::Withdraw(Withdraw {
            router: self.id,
            ticket,
            interface,
            addresses,
        }));
    }

    /// Sends the announcements that are due.
    pub(super) fn announce(&mut self, fx: &mut Effects, now: Time) {
        let places = Places::new(self.config.interface, self.link.as_ref(), &self.side_links);
        let (State::Active(active), Some(places)) = (&mut self.state, places) else {
            return;
        };
        let sent = active.announce(fx, now, places, &self.config.addresses);
        self.counters.announcements_sent += sent;
        if sent > 0
            && let Some(promotion) = active.take_promotion()
            && let Some(heard_at) = promotion.heard_at
        {
            fx.report(Report::Announced {
                at: now,
                name: self.config.name.clone(),
                family: self.config.family,
                reason: promotion.reason,
                silence: now.since(heard_at),
            });
        }
    }
}
