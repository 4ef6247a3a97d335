//! What is abnormal about a router instance, as conditions.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use vipkeeper_crds::conditions::{Condition, ConditionStatus, ConditionType, Reason};
use vipkeeper_vrrp::{Evidence, Refusal, RouterStatus};

use crate::telling::refusal_name;

/// How many addresses a message names.
const NAMED: usize = 4;

/// The conditions of `router`, of which there is `notes` to say beside what the election knows; each since `now` unless
/// it is known better.
pub(super) fn conditions(
    router: &RouterStatus,
    notes: &[&str],
    generation: i64,
    since: impl Fn(vipkeeper_vrrp::Time) -> Time,
    now: &Time,
) -> Vec<Condition> {
    let condition = |kind, reason: Reason, message: String, since: Time| Condition {
        kind,
        status: ConditionStatus::True,
        reason,
        message: message.chars().take(1024).collect(),
        last_transition_time: since,
        observed_generation: generation,
    };
    let mut all = Vec::new();
    for standing in &router.evidence {
        if let Some((kind, reason, message)) = of_evidence(&standing.evidence) {
            all.push(condition(kind, reason, message, since(standing.since)));
        }
    }
    let listed = |addresses: &[std::net::IpAddr]| {
        let named = addresses.iter().take(NAMED).map(ToString::to_string);
        let more = if addresses.len() > NAMED {
            " and more"
        } else {
            ""
        };
        format!("{}{more}", named.collect::<Vec<_>>().join(", "))
    };
    let is_known = |all: &[Condition], kind| all.iter().any(|c: &Condition| c.kind == kind);
    if !router.conflicts.is_empty() && !is_known(&all, ConditionType::AddressConflict) {
        let (kind, reason) = (ConditionType::AddressConflict, Reason::AddressExists);
        let message = format!("{}: {}", listed(&router.conflicts), reason.text());
        all.push(condition(kind, reason, message, now.clone()));
    }
    if !router.refused.is_empty() {
        let (kind, reason) = (ConditionType::Degraded, Reason::AddressSkipped);
        let message = format!("{}: {}", listed(&router.refused), reason.text());
        all.push(condition(kind, reason, message, now.clone()));
    } else if router.interface.is_none() {
        let (kind, reason) = (ConditionType::Degraded, Reason::InterfaceMissing);
        let message = if notes.is_empty() {
            reason.text().to_owned()
        } else {
            notes.join("; ")
        };
        all.push(condition(kind, reason, message, now.clone()));
    }
    all
}

/// What evidence means to a user; `None` for what the election does about something that is told anyway.
fn of_evidence(evidence: &Evidence) -> Option<(ConditionType, Reason, String)> {
    Some(match evidence {
        Evidence::SplitBrain {
            peer,
            cause,
            proven,
        } => {
            let proof = if *proven {
                " and proves to be of this installation"
            } else {
                ""
            };
            let text = format!(
                "{peer} is Active as well ({}){proof}: {}",
                cause.as_str(),
                Reason::SeveralActive.text()
            );
            (ConditionType::SplitBrain, Reason::SeveralActive, text)
        }
        Evidence::AddressConflict { address, mac } | Evidence::ClaimHeld { address, mac } => {
            let text = format!("{mac} has {address}: {}", Reason::ForeignHost.text());
            (ConditionType::AddressConflict, Reason::ForeignHost, text)
        }
        Evidence::PeerRejected { source, reason } => {
            let (word, reason) = (refusal_name(*reason), rejection(*reason));
            let text = format!("{source} ({word}): {}", reason.text());
            (ConditionType::PeerRejected, reason, text)
        }
        Evidence::PromotionHeld { .. } => return None,
    })
}

/// Why a peer's advertisements are refused, in the words of conditions.
const fn rejection(refusal: Refusal) -> Reason {
    match refusal {
        Refusal::Version => Reason::VersionMismatch,
        Refusal::Checksum => Reason::ChecksumMismatch,
        Refusal::AuthenticationType | Refusal::Authentication => Reason::AuthenticationMismatch,
        Refusal::Interval => Reason::IntervalMismatch,
        Refusal::AddressList | Refusal::LinkLocal => Reason::AddressListMismatch,
        Refusal::Ttl => Reason::TtlTooLow,
        Refusal::Malformed
        | Refusal::Looped
        | Refusal::Type
        | Refusal::Length
        | Refusal::Vrid
        | Refusal::Destination
        | Refusal::UnknownPeer
        | Refusal::OwnerConflict
        | Refusal::DuplicateSource => Reason::AdvertisementRefused,
    }
}
