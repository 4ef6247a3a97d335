//! What a router instance sends, and to whom.

use std::net::IpAddr;

use vipkeeper_wire::Family;

use crate::config::{ChecksumForm, Protocol, Transport};
use crate::effects::Effects;
use crate::frames::Variant;
use crate::output::{Output, Transmit};
use crate::router::Router;
use crate::time::Time;

impl Router {
    /// Advertises `priority` to the group and every peer, in each checksum form that is in use. Sends nothing
    /// where the interface cannot: down, or without an address.
    pub(crate) fn advertise(&mut self, fx: &mut Effects, now: Time, priority: u8) {
        let running = self.link.is_some_and(|link| link.running);
        let (true, Some(interface), Some(source)) = (running, self.config.interface, self.source())
        else {
            return;
        };
        let group = match self.config.transport {
            Transport::Multicast { group, .. } => Some(group),
            Transport::Unicast { .. } => None,
        };
        let peers = self.config.transport.peers().len();
        for &form in self.forms(now) {
            for place in 0..=peers {
                let destination = match place.checked_sub(1) {
                    None => group,
                    Some(peer) => self.peer(peer),
                };
                let Some(destination) = destination else {
                    continue;
                };
                let variant = Variant {
                    priority,
                    form,
                    source,
                    destination,
                };
                if let Some(payload) = self.frames.get(&self.config, variant) {
                    let router = self.id;
                    fx.push(Output::Send(Transmit {
                        router,
                        interface,
                        source,
                        destination,
                        payload,
                    }));
                }
            }
        }
        self.counters.advertisements_sent += 1;
        if priority == 0 {
            self.counters.priority_zero_sent += 1;
        }
    }

    fn peer(&self, index: usize) -> Option<IpAddr> {
        self.config.transport.peers().get(index).map(|p| p.address)
    }

    /// Only version 3 over IPv4 has a choice.
    fn forms(&self, now: Time) -> &'static [ChecksumForm] {
        match (self.config.protocol, self.config.family) {
            (Protocol::V3 { checksum, .. }, Family::V4) => {
                self.lessons
                    .forms(checksum, self.config.protocol.interval(), now)
            }
            (Protocol::V2 { .. }, _) | (Protocol::V3 { .. }, Family::V6) => {
                &[ChecksumForm::Rfc9568]
            }
        }
    }
}
