//! What the real-time threads have to tell, as log lines.
//!
//! Owns no state but the rate limit of refusals: the threads themselves never log.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Context as _;
use nix::errno::Errno;
use tokio::sync::{mpsc, watch};
use tracing::{debug, info, warn};
use vipkeeper_vrrp::{Evidence, Ifindex, Refusal, Report, Time};
use vipkeeper_wire::Family;

use crate::admin::Admin;
use crate::election::{Event, Ports};
use crate::guardian::Guardian;
use crate::inventory::Inventory;
use crate::network::Notice;
use crate::sys;

/// The same refusal is a warning once in this time; in between it is told at debug level.
const QUIET: Duration = Duration::from_secs(60);

/// Tells what the election reports, until the process ends; `news` counts how often there was something.
///
/// # Errors
/// If the ring's doorbell cannot be heard, which ends the process.
pub async fn tell_events(
    ports: Arc<Ports>,
    inventory: watch::Receiver<Arc<Inventory>>,
    admin: Arc<Admin>,
    news: watch::Sender<u64>,
) -> anyhow::Result<()> {
    let doorbell = sys::register(ports.events.wake().clone()).context("events")?;
    let mut teller = Teller {
        inventory,
        refusals: BTreeMap::new(),
        heartbeats: Loudness::default(),
    };
    let mut known_drops = 0;
    loop {
        doorbell.readable().await.context("events")?.clear_ready();
        ports.events.wake().clear();
        while let Some(event) = ports.events.pop() {
            teller.tell(&event);
        }
        news.send_modify(|count| *count = count.wrapping_add(1));
        let drops = ports.vitals.events_dropped.load(Ordering::Relaxed);
        if drops > known_drops {
            tell_states(&admin, drops - known_drops).await;
            known_drops = drops;
        }
    }
}

/// Tells when the guardian is gone.
pub async fn tell_guardian(guardian: Arc<Guardian>) {
    match guardian.ended().await {
        Ok(()) => warn!(
            "the guardian was killed: if this agent dies now, its addresses stay until their lifetime ends; \
             start it again when that suits"
        ),
        Err(error) => warn!(%error, "the guardian's end would go unnoticed"),
    }
}

/// Tells what the network thread notices.
///
/// # Errors
/// If that thread has ended.
pub async fn tell_notices(
    mut notices: mpsc::Receiver<Notice>,
    inventory: watch::Receiver<Arc<Inventory>>,
) -> anyhow::Result<()> {
    while let Some(notice) = notices.recv().await {
        tell_notice(&notice, &inventory);
    }
    anyhow::bail!("the network thread tells nothing any more")
}

struct Teller {
    inventory: watch::Receiver<Arc<Inventory>>,
    /// When a refusal was told last; bounded by the interfaces and the reasons.
    refusals: BTreeMap<(Ifindex, &'static str), Time>,
    heartbeats: Loudness,
}

impl Teller {
    fn tell(&mut self, event: &Event) {
        match event {
            Event::Report(report) => self.tell_report(report),
            Event::NotRealtime { errno } => {
                let error = Errno::from_raw(*errno);
                warn!(%error, "SCHED_FIFO is not allowed: a busy machine may delay the election");
            }
            Event::HeartbeatRefused { from, reason } => {
                if self.heartbeats.may_be_loud() {
                    warn!(%from, %reason, "heartbeat refused: see that all nodes have the same Settings and key");
                } else {
                    debug!(%from, %reason, "heartbeat refused");
                }
            }
            Event::Trouble {
                key: (interface, family),
                activity,
                errno,
            } => {
                let interface = self.name(*interface);
                let error = Errno::from_raw(*errno);
                let activity = activity.as_str();
                if error == Errno::ENETDOWN {
                    // The interface says so itself, and its routers leave.
                    info!(%interface, %family, activity, %error, "socket trouble");
                } else {
                    warn!(%interface, %family, activity, %error, "socket trouble");
                }
            }
        }
    }

    fn tell_report(&mut self, report: &Report) {
        match report {
            Report::Transition {
                at,
                name,
                family,
                interface,
                from,
                to,
                reason,
                source,
                member,
            } => {
                let interface = interface.map(|interface| self.name(interface));
                let source = source.map(tracing::field::display);
                let member = member.as_ref().map(tracing::field::display);
                let (from, to, reason) = (from.as_str(), to.as_str(), reason.as_str());
                info!(router = %name, %family, interface, from, to, reason, source, member, at = %at, "transition");
            }
            Report::Refused {
                at,
                interface,
                name,
                source,
                reason,
            } => {
                let router = name.as_deref().map(tracing::field::display);
                let loud = self.may_be_loud((*interface, refusal_name(*reason)), *at);
                let (interface, reason) = (self.name(*interface), refusal_name(*reason));
                if loud {
                    warn!(%interface, router, %source, reason, "advertisement refused or odd");
                } else {
                    debug!(%interface, router, %source, reason, "advertisement refused or odd");
                }
            }
            Report::Announced {
                at: _,
                name,
                family,
                reason,
                silence,
            } => {
                let (reason, ms) = (reason.as_str(), silence.as_secs_f64() * 1e3);
                info!(router = %name, %family, reason, since_last_advertisement_ms = ms, "announced");
            }
            Report::AddressesRefused {
                at: _,
                name,
                family,
                count,
                first,
            } => {
                warn!(router = %name, %family, count, %first, "addresses cannot be installed; the others are held");
            }
            Report::AddressConflict {
                at: _,
                name,
                family,
                interface,
                count,
                first,
            } => {
                let interface = self.name(*interface);
                warn!(router = %name, %family, %interface, count, %first, "AddressConflict: addresses are there already, and not because of us: left alone");
            }
            Report::Evidence {
                at: _,
                name,
                family,
                evidence,
                ended,
            } => tell_evidence(name, family, evidence, *ended),
            Report::Stalled { at: _, late } => {
                warn!(?late, "the election was not run; it listens before it acts");
            }
        }
    }

    fn may_be_loud(&mut self, key: (Ifindex, &'static str), at: Time) -> bool {
        let last = self.refusals.get(&key);
        let loud = last.is_none_or(|last| at.since(*last) >= QUIET);
        if loud {
            self.refusals.insert(key, at);
        }
        loud
    }

    fn name(&self, interface: Ifindex) -> String {
        self.inventory.borrow().name_of(interface)
    }
}

/// Evidence that appears may wake somebody; that it is over is good to know.
fn tell_evidence(router: &str, family: &Family, evidence: &Evidence, ended: bool) {
    let condition = evidence.as_str();
    let (peer, address, mac, cause, proven) = match evidence {
        Evidence::SplitBrain {
            peer,
            cause,
            proven,
        } => (Some(*peer), None, None, Some(cause.as_str()), Some(*proven)),
        Evidence::AddressConflict { address, mac } | Evidence::ClaimHeld { address, mac } => {
            (None, Some(*address), Some(*mac), None, None)
        }
        Evidence::PeerRejected { source, reason } => {
            (Some(*source), None, None, Some(refusal_name(*reason)), None)
        }
        Evidence::PromotionHeld { peer } => (Some(*peer), None, None, None, None),
    };
    let peer = peer.map(tracing::field::display);
    let address = address.map(tracing::field::display);
    let mac = mac.map(tracing::field::display);
    if ended {
        info!(router, %family, condition, peer, address, mac, cause, proven, "evidence is over");
    } else {
        warn!(router, %family, condition, peer, address, mac, cause, proven, "evidence");
    }
}

/// Limits what is told of refused heartbeats.
#[derive(Default)]
struct Loudness {
    last: Option<std::time::Instant>,
}

impl Loudness {
    fn may_be_loud(&mut self) -> bool {
        let may = self.last.is_none_or(|last| last.elapsed() >= QUIET);
        if may {
            self.last = Some(std::time::Instant::now());
        }
        may
    }
}

/// Events were lost: what became of every router is told from a snapshot.
async fn tell_states(admin: &Admin, count: u64) {
    warn!(count, "events were dropped; this is how things are");
    match admin.state().await {
        Ok(state) => {
            for router in state.routers {
                let (reason, since) = (router.last_reason, router.since);
                info!(router = router.name, family = %router.family, state = router.state, reason, since, "state");
            }
        }
        Err(error) => warn!(error = format!("{error:#}"), "no snapshot"),
    }
}

fn tell_notice(notice: &Notice, inventory: &watch::Receiver<Arc<Inventory>>) {
    let name = |interface: Ifindex| inventory.borrow().name_of(interface);
    match notice {
        Notice::Sweep(error) => warn!(%error, "the kernel's addresses cannot be listed"),
        Notice::Swept(count) => info!(count, "took off addresses that an agent before us left"),
        Notice::TagOnly { interface, address } => {
            let interface = name(*interface);
            warn!(%interface, %address, "an address has our tag but is not in our ledger: left alone");
        }
        Notice::Foreign { interface, address } => {
            let interface = name(*interface);
            warn!(%interface, %address, "a virtual address is there already, and not because of us: left alone");
        }
        Notice::Refused {
            interface,
            address,
            errno,
        } => {
            warn!(interface = %name(*interface), %address, error = %errno, "an address cannot be installed")
        }
        Notice::InstallFailed { interface, reason } => {
            warn!(interface = %name(*interface), error = %reason, "addresses cannot be installed");
        }
        Notice::Stuck {
            interface,
            address,
            errno,
        } => {
            warn!(interface = %name(*interface), %address, error = %errno, "an address cannot be taken off; trying again")
        }
        Notice::NotParked { address, errno } => {
            warn!(%address, error = %errno, "an address cannot be parked: what is sent to it here is lost until its successor is known");
        }
        Notice::Restored { interface, address } => {
            let interface = name(*interface);
            warn!(%interface, %address, "somebody had taken off an address that we hold; it is back");
        }
        Notice::RenewalFailed {
            interface,
            address,
            errno,
        } => {
            warn!(interface = %name(*interface), %address, error = %errno, "an address cannot be renewed; trying again")
        }
        Notice::EventsLost => {
            warn!("the kernel's events came too fast; everything was listed anew and compared");
        }
        Notice::Ledger(error) => {
            warn!(%error, "the ledger cannot be written: after a crash, addresses stay until their lifetime ends");
        }
        Notice::Setting {
            interface,
            setting,
            reason,
        } => {
            info!(interface = %name(*interface), setting, error = %reason, "a setting stays as it is")
        }
    }
}

/// A word for logs and metrics.
#[must_use]
pub const fn refusal_name(reason: Refusal) -> &'static str {
    match reason {
        Refusal::Malformed => "Malformed",
        Refusal::Looped => "Looped",
        Refusal::Ttl => "Ttl",
        Refusal::Version => "Version",
        Refusal::Type => "Type",
        Refusal::Length => "Length",
        Refusal::Checksum => "Checksum",
        Refusal::Vrid => "Vrid",
        Refusal::Destination => "Destination",
        Refusal::UnknownPeer => "UnknownPeer",
        Refusal::OwnerConflict => "OwnerConflict",
        Refusal::AuthenticationType => "AuthenticationType",
        Refusal::Authentication => "Authentication",
        Refusal::Interval => "Interval",
        Refusal::LinkLocal => "LinkLocal",
        Refusal::AddressList => "AddressList",
        Refusal::DuplicateSource => "DuplicateSource",
    }
}
