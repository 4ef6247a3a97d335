//! Conditions of objects: which there are, why they are as they are, and the text for each reason.
//!
//! One place for what `kubectl describe` shows. Messages never hold a secret or what a peer answered.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A side of an object's state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// Which side.
    #[serde(rename = "type")]
    pub kind: ConditionType,
    /// Whether it is so.
    pub status: ConditionStatus,
    /// Why, in one word.
    pub reason: Reason,
    /// Why, in a sentence, with the way out if there is something to do.
    #[schemars(length(max = 1024))]
    pub message: String,
    /// Since when `status` is what it is.
    pub last_transition_time: Time,
    /// The `metadata.generation` that was looked at.
    #[serde(default)]
    pub observed_generation: i64,
}

/// The conditions. Those after `Ready` tell of something abnormal and are left out while it is not so.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub enum ConditionType {
    /// No rule is broken, and candidates have it.
    Accepted,
    /// Exactly one confirmed Active per family, and its addresses are programmed; of a VirtualServer: the node that
    /// holds the addresses spreads connections over enough real servers.
    Ready,
    /// More than one node is Active for a family.
    SplitBrain,
    /// No node is Active for a family.
    NoActive,
    /// Somebody else advertises the VRID on the link, for other addresses.
    #[serde(rename = "VRIDConflict")]
    VridConflict,
    /// Another host has one of the addresses.
    AddressConflict,
    /// Advertisements of a peer are refused.
    PeerRejected,
    /// Fewer real servers are healthy than `spec.quorum` asks for.
    QuorumLost,
    /// It works, but less well than asked.
    Degraded,
}

impl ConditionType {
    /// As the API writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "Accepted",
            Self::Ready => "Ready",
            Self::SplitBrain => "SplitBrain",
            Self::NoActive => "NoActive",
            Self::VridConflict => "VRIDConflict",
            Self::AddressConflict => "AddressConflict",
            Self::PeerRejected => "PeerRejected",
            Self::QuorumLost => "QuorumLost",
            Self::Degraded => "Degraded",
        }
    }

    /// Its status while all is well.
    #[must_use]
    pub const fn when_well(self) -> ConditionStatus {
        match self {
            Self::Accepted | Self::Ready => ConditionStatus::True,
            Self::SplitBrain
            | Self::NoActive
            | Self::VridConflict
            | Self::AddressConflict
            | Self::PeerRejected
            | Self::QuorumLost
            | Self::Degraded => ConditionStatus::False,
        }
    }
}

/// Whether a condition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ConditionStatus {
    /// It does.
    True,
    /// It does not.
    False,
    /// Nobody can tell now.
    Unknown,
}

impl ConditionStatus {
    /// As the API writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

/// Why a condition is as it is. Of several that a condition of one type has, the first here is the gravest.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub enum Reason {
    /// `Accepted`: no rule is broken.
    Valid,
    /// `Accepted`: a rule is broken; the message names the field.
    Invalid,
    /// `Accepted`: an older object has the address, the VRID, the port or the mark.
    Conflict,
    /// `Accepted`: a Secret or key that is referred to does not exist.
    SecretMissing,
    /// `Accepted`: no node can take part.
    NoCandidates,
    /// `Accepted`: the agent of a candidate is too old for what is asked.
    UnsupportedFeature,
    /// `Accepted` of a VirtualServer: its router does not exist, or is refused itself.
    RouterMissing,
    /// `Accepted` of a VirtualServer: its router's `attach` does not let it have what it asks for.
    NotAllowed,
    /// `Accepted` of a VirtualServer: a ConfigMap or key that is referred to does not exist.
    ConfigMapMissing,
    /// `Ready`: one Active per family.
    OneActive,
    /// `Ready`, `NoActive`: no candidate reports itself Active.
    NobodyActive,
    /// `Ready`, `SplitBrain`: several nodes confirmed that they are Active.
    SeveralActive,
    /// `Ready`: the node that serves has not programmed everything yet.
    NotProgrammed,
    /// `Ready`: no agent has reported yet, or not for this generation.
    Pending,
    /// `Ready`: the node that was Active does not report any more.
    StatusUnknown,
    /// `Ready` of a VirtualServer: enough real servers are healthy, and the node that holds the addresses uses them.
    Serving,
    /// `Ready` of a VirtualServer: no node holds the addresses.
    NotServed,
    /// `Ready`, `QuorumLost`: fewer real servers are healthy than the quorum, and nobody takes their place.
    TooFewHealthy,
    /// `Ready`, `QuorumLost`: the sorry server serves.
    SorryServing,
    /// `VRIDConflict`: the message names who advertises.
    ForeignAdvertisements,
    /// `AddressConflict`: the address was on the interface already and is not ours.
    AddressExists,
    /// `AddressConflict`: another host answers for the address; the message has its MAC address.
    ForeignHost,
    /// `PeerRejected`: another version of VRRP.
    VersionMismatch,
    /// `PeerRejected`: another checksum.
    ChecksumMismatch,
    /// `PeerRejected`: another password, or none.
    AuthenticationMismatch,
    /// `PeerRejected`: another interval, which its version forbids.
    IntervalMismatch,
    /// `PeerRejected`: another list of addresses, while `election.strict` is on.
    AddressListMismatch,
    /// `PeerRejected`: the TTL or hop limit is too low: it came from another link.
    TtlTooLow,
    /// `PeerRejected`: for a reason that the message names.
    AdvertisementRefused,
    /// `Degraded`: a single address could not be added.
    AddressSkipped,
    /// `Degraded`: a node has no interface of the kind asked for.
    InterfaceMissing,
    /// `Degraded`: fewer nodes take part than are listed.
    CandidatesMissing,
    /// `Degraded` of a VirtualServer: real servers are not healthy; there are enough others.
    RealServersUnhealthy,
    /// `Degraded` of a VirtualServer: a node's kernel has no IPVS.
    #[serde(rename = "IPVSMissing")]
    IpvsMissing,
    /// `Degraded` of a VirtualServer: a node's kernel does not have the scheduler, or the persistence engine.
    SchedulerMissing,
    /// `Degraded` of a VirtualServer: the Service that it refers to has no endpoints that are told of.
    ServiceMissing,
    /// `Degraded` of a VirtualServer: a service that is not ours has the address and port, or the mark.
    ForeignService,
    /// `Degraded` of a VirtualServer: a setting of a node's kernel is not as it should be.
    SettingMissing,
}

impl Reason {
    /// What the reason means, for a message that says nothing more particular.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Valid => "no rule is broken",
            Self::Invalid => "a rule is broken",
            Self::Conflict => "an older object has what this one asks for",
            Self::SecretMissing => "a Secret that is referred to does not exist",
            Self::NoCandidates => "no node can take part: change spec.nodes, or add nodes",
            Self::UnsupportedFeature => "an agent is too old for this: upgrade it",
            Self::OneActive => "one node is Active",
            Self::NobodyActive => "no node is Active",
            Self::SeveralActive => {
                "several nodes are Active: they do not hear each other's advertisements"
            }
            Self::NotProgrammed => "the node that serves has not programmed everything yet",
            Self::Pending => "no agent has reported on this yet",
            Self::StatusUnknown => "the node that was Active does not report any more",
            Self::ForeignAdvertisements => {
                "somebody else uses this VRID on the link: choose another, or change theirs"
            }
            Self::AddressExists => {
                "the address is there by the host's own configuration: remove it there, or here"
            }
            Self::ForeignHost => "another host has the address: take it away from one of the two",
            Self::VersionMismatch => "a peer speaks another version of VRRP: change one of the two",
            Self::ChecksumMismatch => "a peer's checksum is another: set spec.checksum",
            Self::AuthenticationMismatch => "a peer has another password: make them equal",
            Self::IntervalMismatch => "a peer has another interval: make them equal",
            Self::AddressListMismatch => {
                "a peer has another list of addresses: make them equal, or leave election.strict out"
            }
            Self::TtlTooLow => "advertisements come from another link",
            Self::AdvertisementRefused => {
                "advertisements of a peer are refused: see who sends them, and its log"
            }
            Self::AddressSkipped => "an address could not be added and is left out",
            Self::InterfaceMissing => "a node has no interface of the kind asked for",
            Self::CandidatesMissing => "fewer nodes take part than are listed",
            Self::RouterMissing => {
                "there is no such VirtualRouter: create it, or change spec.routerRef"
            }
            Self::NotAllowed => "the VirtualRouter does not allow this: see its spec.attach",
            Self::ConfigMapMissing => "a ConfigMap that is referred to does not exist",
            Self::Serving => "enough real servers are healthy",
            Self::NotServed => "no node holds the addresses: see the VirtualRouter",
            Self::TooFewHealthy => "too few real servers are healthy: see status.nodes",
            Self::SorryServing => {
                "too few real servers are healthy, and the sorry server takes their place"
            }
            Self::RealServersUnhealthy => "real servers are not healthy: see status.nodes",
            Self::IpvsMissing => "a node's kernel has no IPVS: run `modprobe ip_vs` there",
            Self::SchedulerMissing => {
                "a node's kernel does not have the scheduler: load its module, or choose another"
            }
            Self::ServiceMissing => {
                "the Service has no endpoints: does it exist, with a selector that matches?"
            }
            Self::ForeignService => {
                "IPVS has this service of somebody else: remove it there, or here"
            }
            Self::SettingMissing => "a setting of a node's kernel is not as it should be",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What people read about conditions.
    const PAGE: &str = include_str!("../../docs/conditions.md");

    #[test]
    fn every_condition_and_reason_is_explained() {
        let words = [
            schemars::schema_for!(ConditionType),
            schemars::schema_for!(Reason),
        ];
        for schema in words {
            let schema = serde_json::to_value(schema).unwrap();
            let values = schema["oneOf"].as_array().unwrap();
            assert!(values.len() > 7, "{schema}");
            for value in values {
                let word = value["const"].as_str().unwrap();
                let found = [format!("`{word}`"), format!("`{word}=")];
                assert!(
                    found.iter().any(|f| PAGE.contains(f)),
                    "docs/conditions.md does not explain {word}"
                );
            }
        }
    }

    #[test]
    fn conditions_are_written_as_kubernetes_reads_them() {
        let condition = serde_json::json!({
            "type": "VRIDConflict", "status": "True", "reason": "ForeignAdvertisements",
            "message": Reason::ForeignAdvertisements.text(),
            "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": 3,
        });
        let read: Condition = serde_json::from_value(condition.clone()).unwrap();
        assert_eq!(read.kind, ConditionType::VridConflict);
        assert_eq!(read.kind.as_str(), condition["type"]);
        assert_eq!(serde_json::to_value(&read).unwrap(), condition);
    }
}
