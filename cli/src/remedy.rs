//! What to do about a condition.

use vipkeeper_crds::conditions::{Condition, Reason};

/// Whether a condition says that something is not as it should be.
pub(crate) fn is_abnormal(condition: &Condition) -> bool {
    condition.status != condition.kind.when_well()
}

/// What to do about `reason`; empty where there is nothing but to wait.
pub(crate) const fn remedy(reason: Reason) -> &'static str {
    match reason {
        Reason::Valid | Reason::OneActive | Reason::Serving => "",
        Reason::Invalid => {
            "mend the field that the message names; until then what ran before runs on"
        }
        Reason::Conflict => "choose another address or VRID here, or remove the older object",
        Reason::SecretMissing => {
            "create the Secret with the key in the namespace for keys (vipkeeper-keys)"
        }
        Reason::NoCandidates => {
            "compare spec.nodes with the labels of the Nodes: `kubectl vipkeeper why ROUTER` says what each node lacks"
        }
        Reason::UnsupportedFeature => {
            "upgrade the agents: `kubectl vipkeeper doctor` shows the version of each"
        }
        Reason::NobodyActive => {
            "`kubectl vipkeeper why ROUTER` says how each candidate is; see the agents' logs if none reports"
        }
        Reason::SeveralActive => {
            "see that the nodes reach each other by VRRP (IP protocol 112) on the router's interface; if the network carries no multicast, set spec.transport.mode: Unicast"
        }
        Reason::NotProgrammed => {
            "wait a moment; if it stays, see the agent's log on the Active node"
        }
        Reason::Pending => {
            "see that the agents run on the candidates: kubectl -n vipkeeper-system get pods -o wide"
        }
        Reason::StatusUnknown => {
            "see that the node and its agent run; others take over without being asked"
        }
        Reason::ForeignAdvertisements => {
            "set spec.virtualRouterId to one that nobody else uses on the link"
        }
        Reason::AddressExists => {
            "take the address off the host's own configuration, or out of this router"
        }
        Reason::ForeignHost => "find the host by its MAC address and take the address off there",
        Reason::VersionMismatch => "set spec.version to what the peer speaks, or change the peer",
        Reason::ChecksumMismatch => "set spec.checksum to the one that the peer sends",
        Reason::AuthenticationMismatch => "give both the same authentication and the same password",
        Reason::IntervalMismatch => "give both the same advertisement interval",
        Reason::AddressListMismatch => {
            "give both the same addresses in the same order, or leave spec.election.strict out"
        }
        Reason::AdvertisementRefused => {
            "the message says why; `vipkeeper-agent state` on the node counts them by reason"
        }
        Reason::TtlTooLow => "find who sends: it is not on the router's link",
        Reason::AddressSkipped => "the message names the address; see that nobody else has it",
        Reason::InterfaceMissing => {
            "see spec.interface, and the interfaces of the node: kubectl get vkc -o yaml"
        }
        Reason::CandidatesMissing => "see that the listed nodes exist and run the agent",
        Reason::RouterMissing => "create or mend the VirtualRouter, or change spec.routerRef",
        Reason::NotAllowed => "ask the owner of the VirtualRouter to extend its spec.attach",
        Reason::ConfigMapMissing => "create the ConfigMap with the key beside the VirtualServer",
        Reason::NotServed => "see the VirtualRouter: no node holds its addresses",
        Reason::TooFewHealthy | Reason::SorryServing | Reason::RealServersUnhealthy => {
            "see status.nodes: which real servers are out, and which probe said so"
        }
        Reason::IpvsMissing => "load the kernel's module on the node: modprobe ip_vs",
        Reason::SchedulerMissing => {
            "load its module on the node: modprobe ip_vs_NAME; or choose another spec.scheduler"
        }
        Reason::SettingMissing => "run the command of the message on the node",
        Reason::ServiceMissing => "see that the Service exists and has EndpointSlices",
        Reason::ForeignService => {
            "see `ipvsadm -Ln` on the node: remove that service there, or the port here"
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn condition(kind: &str, status: &str) -> Condition {
        let object = json!({"type": kind, "status": status, "reason": "Valid", "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z"});
        serde_json::from_value(object).unwrap()
    }

    #[test]
    fn what_should_be_true_and_is_not_is_abnormal_and_the_reverse() {
        assert!(!is_abnormal(&condition("Ready", "True")));
        assert!(is_abnormal(&condition("Ready", "Unknown")));
        assert!(is_abnormal(&condition("Accepted", "False")));
        assert!(!is_abnormal(&condition("SplitBrain", "False")));
        assert!(is_abnormal(&condition("VRIDConflict", "True")));
    }
}
