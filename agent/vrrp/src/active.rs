//! What an Active does: it advertises on the shared tick, holds its addresses and announces them
//! (RFC 9568 §6.4.3).

use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::announce::Schedule;
use crate::config::{Ifindex, RouterConfig, VirtualAddress};
use crate::effects::Effects;
use crate::input::{RouterId, Ticket};
use crate::output::{GratuitousForm, Install, Output, Reason};
use crate::phase::Choir;
use crate::places::Places;
use crate::time::Time;
use crate::timers;

/// The Active's timers and addresses.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Active {
    choir: Choir,
    /// The Adver_Timer.
    advertise_at: Time,
    /// When it advertised last.
    advertised_at: Time,
    /// Nobody is answered before this.
    reassert_after: Time,
    holding: Holding,
    /// Addresses are on the interface, even if the last order is not confirmed yet.
    serves: bool,
    announcing: Option<Schedule>,
    /// What the first announcement will tell, until it is sent.
    untold: Option<Promotion>,
}

/// How it became Active.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Promotion {
    /// When the Active before it was heard last, if it was.
    pub(crate) heard_at: Option<Time>,
    /// Why.
    pub(crate) reason: Reason,
}

/// What became of the addresses.
#[derive(Clone, Debug, Serialize, Deserialize)]
enum Holding {
    /// Not ordered yet.
    Nothing,
    /// Ordered under this number.
    Ordered {
        ticket: Ticket,
        /// An answer is not waited for any longer.
        until: Time,
    },
    /// Confirmed, but for these.
    Held { refused: Vec<IpAddr> },
}

impl Active {
    /// Falls in with the routers that advertise together on `interface`.
    pub(crate) fn join(
        fx: &mut Effects,
        now: Time,
        config: &RouterConfig,
        interface: Ifindex,
    ) -> Self {
        let interval = config.protocol.interval();
        let choir = Choir {
            interface,
            family: config.family,
            interval,
        };
        fx.phases.join(choir, now);
        Self {
            choir,
            advertise_at: fx.phases.next_tick(&choir, now),
            advertised_at: now,
            reassert_after: now,
            holding: Holding::Nothing,
            serves: false,
            announcing: None,
            untold: None,
        }
    }

    /// Follows whoever was heard last at `heard_at`.
    pub(crate) fn succeeds(&mut self, heard_at: Option<Time>, reason: Reason) {
        self.untold = Some(Promotion { heard_at, reason });
    }

    /// How it became Active, if neighbours have just been told for the first time.
    pub(crate) fn take_promotion(&mut self) -> Option<Promotion> {
        self.untold.take()
    }

    /// Leaves them.
    pub(crate) fn part(&self, fx: &mut Effects) {
        fx.phases.leave(&self.choir);
    }

    /// Orders the router's addresses; what is there already is confirmed. The owner's are there.
    pub(crate) fn install(
        &mut self,
        fx: &mut Effects,
        now: Time,
        router: RouterId,
        config: &RouterConfig,
        interface: Ifindex,
    ) {
        if config.priority.is_owner() {
            return self.confirm(now, Vec::new());
        }
        let ticket = fx.next_ticket();
        let until = now + timers::INSTALL_PATIENCE;
        self.holding = Holding::Ordered { ticket, until };
        self.announcing = None;
        fx.push(Output::Install(Install {
            router,
            ticket,
            interface,
            addresses: config.addresses.clone(),
            lifetime: config.address_lifetime,
        }));
    }

    /// Whether `ticket` is the order it waits for; answers to older orders mean nothing.
    pub(crate) fn is_waiting_for(&self, ticket: Ticket) -> bool {
        match self.holding {
            Holding::Ordered {
                ticket: ordered, ..
            } => ordered == ticket,
            Holding::Nothing | Holding::Held { .. } => false,
        }
    }

    /// Until when the order that it waits for must be answered.
    fn answer_by(&self) -> Option<Time> {
        match self.holding {
            Holding::Ordered { until, .. } => Some(until),
            Holding::Nothing | Holding::Held { .. } => None,
        }
    }

    /// Whether nobody carries out its order.
    pub(crate) fn is_unanswered(&self, now: Time) -> bool {
        self.answer_by().is_some_and(|until| until <= now)
    }

    /// The kernel confirmed the order.
    pub(crate) fn confirm(&mut self, now: Time, refused: Vec<IpAddr>) {
        self.holding = Holding::Held { refused };
        self.serves = true;
        self.announcing = Some(Schedule::start(now));
    }

    /// Whether addresses are on the interface because of us.
    pub(crate) fn serves(&self) -> bool {
        self.serves
    }

    /// They are, from before it became Active.
    pub(crate) fn serve_on(&mut self) {
        self.serves = true;
    }

    /// How many of `total` addresses are held, and which are not.
    pub(crate) fn holding(&self, total: usize) -> (usize, &[IpAddr]) {
        match &self.holding {
            Holding::Nothing | Holding::Ordered { .. } => (0, &[]),
            Holding::Held { refused } => (total.saturating_sub(refused.len()), refused),
        }
    }

    /// Whether an advertisement is due; the next one is on the grid, so that lateness does not add up.
    pub(crate) fn tick(&mut self, fx: &Effects, now: Time) -> bool {
        if self.advertise_at > now {
            return false;
        }
        self.advertise_at = fx.phases.next_tick(&self.choir, now);
        self.advertised_at = now;
        true
    }

    /// Whether it slept until its peers gave it up, after `down_interval` of silence, and for more than a whole
    /// interval longer than it should have.
    pub(crate) fn is_stalled(&self, now: Time, down_interval: Duration) -> bool {
        let silence = now.since(self.advertised_at);
        silence > down_interval && now.since(self.advertise_at) > self.choir.interval
    }

    pub(crate) fn change_interval(
        &mut self,
        fx: &mut Effects,
        now: Time,
        config: &RouterConfig,
        interface: Ifindex,
    ) {
        self.part(fx);
        let interval = config.protocol.interval();
        self.choir = Choir {
            interface,
            family: config.family,
            interval,
        };
        fx.phases.join(self.choir, now);
        self.advertise_at = self.advertise_at.min(fx.phases.next_tick(&self.choir, now));
    }

    /// Whether somebody may be answered now; if so, the next one waits.
    pub(crate) fn may_reassert(&mut self, now: Time) -> bool {
        let may = self.reassert_after <= now;
        if may {
            self.reassert_after = now + timers::REASSERTION_PAUSE;
            self.advertised_at = now;
        }
        may
    }

    /// Somebody else may have announced our addresses: begins anew, unless the next round is near anyway.
    pub(crate) fn announce_again(&mut self, now: Time) {
        if self.announcing.is_none_or(|schedule| schedule.is_late()) {
            self.announce_anew(now);
        }
    }

    /// Begins the announcements anew. What is not held yet will be announced when it is.
    pub(crate) fn announce_anew(&mut self, now: Time) {
        match self.holding {
            Holding::Held { .. } => self.announcing = Some(Schedule::start(now)),
            Holding::Nothing | Holding::Ordered { .. } => {}
        }
    }

    /// Sends what is due and allowed; says how many.
    pub(crate) fn announce(
        &mut self,
        fx: &mut Effects,
        now: Time,
        places: Places<'_>,
        addresses: &[VirtualAddress],
    ) -> u64 {
        let Holding::Held { refused } = &self.holding else {
            return 0;
        };
        let mut sent = 0;
        while let Some(schedule) = &mut self.announcing
            && let Some((index, form)) = schedule.current(now)
        {
            if let Some(address) = addresses.get(index)
                && !refused.contains(&address.address)
                && let Some(frame) = places.announcement(address, form)
            {
                if let Err(at) = fx.announce(frame, now) {
                    schedule.wait_until(at);
                    return sent;
                }
                sent += 1;
            }
            self.announcing = schedule.advance(addresses.len(), now);
        }
        sent
    }

    /// Announces one address out of turn, if it is held and the budget allows.
    pub(crate) fn defend(
        &self,
        fx: &mut Effects,
        now: Time,
        places: Places<'_>,
        address: &VirtualAddress,
    ) -> bool {
        let Holding::Held { refused } = &self.holding else {
            return false;
        };
        if refused.contains(&address.address) {
            return false;
        }
        let announcement = places.announcement(address, GratuitousForm::Request);
        announcement.is_some_and(|frame| fx.announce(frame, now).is_ok())
    }

    /// The Adver_Timer, the next announcement, or the end of its patience with an order, whichever is first.
    pub(crate) fn deadline(&self) -> Time {
        let announce_at = self.announcing.as_ref().map(Schedule::due);
        let others = announce_at.into_iter().chain(self.answer_by());
        others.fold(self.advertise_at, Time::min)
    }
}
