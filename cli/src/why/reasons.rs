//! Reasons in words.

use vipkeeper_compiler::{Candidate, Reason, Withdrawal};

/// A reason in one word.
pub(super) const fn word(reason: Reason) -> &'static str {
    match reason {
        Reason::Listed => "Listed",
        Reason::Pinned => "Pinned",
        Reason::Kept => "Kept",
        Reason::Chosen => "Chosen",
        Reason::Withdrawn(_) => "Withdrawn",
    }
}

/// Why a candidate has its priority.
pub(super) fn of_place(candidate: &Candidate) -> String {
    match candidate.reason {
        Reason::Listed => "spec.nodes.priorities says so".to_owned(),
        Reason::Pinned => "first, because vipkeeper.io/active-node names it".to_owned(),
        Reason::Kept => "keeps its place".to_owned(),
        Reason::Chosen => "chosen by preference and by how little it holds".to_owned(),
        Reason::Withdrawn(why) => format!("below all others: {}", of_withdrawal(why)),
    }
}

/// Why a node is not to be used.
pub(crate) const fn of_withdrawal(why: Withdrawal) -> &'static str {
    match why {
        Withdrawal::Deleted => "its Node is being deleted",
        Withdrawal::OutOfService => "its Node has the taint node.kubernetes.io/out-of-service",
        Withdrawal::Drained => "its Node has the annotation vipkeeper.io/drain",
        Withdrawal::Cordoned => "its Node is cordoned",
        Withdrawal::NotReady => "its Node was not ready for five minutes",
    }
}

/// Why an election changed its state: the agent's word with its meaning. A word of a newer agent stays a word.
pub(super) fn of_transition(word: &str) -> String {
    let meaning = match word {
        "" => return "its agent does not say why".to_owned(),
        "Startup" => "it has just begun",
        "AddressOwner" => "it owns the addresses",
        "NoResponse" => "it heard no Active for the down interval",
        "Released" => "the Active before it left with priority 0",
        "Preempted" => "it took over from a lower priority",
        "HigherPriority" => "it heard a higher priority",
        "HigherAddress" => "it heard an equal priority from a higher address",
        "PeerActive" => "another that ranks above is Active by its heartbeat",
        "HoldEnded" => "another said that it is Active, and did not advertise",
        "InterfaceMissing" => "no interface of its node is of the kind asked for",
        "InterfaceDown" => "its interface is down or has no carrier",
        "SourceMissing" => "its interface has no address to advertise from",
        "InstallFailed" => "the kernel refused its addresses",
        "InstallTimeout" => "the kernel did not answer about its addresses",
        "AddressConflict" => "the host has its addresses by its own configuration",
        "NotAddressOwner" => "the host lacks an address that it would own",
        "Stalled" => "its agent stood still for longer than the down interval",
        "Reconfigured" => "its configuration changed",
        "SyncGroup" => "another router of its group cannot take part",
        "Shutdown" => "its agent is stopping",
        "Drained" => "it was drained",
        "NoSuccessor" => "it was drained and nobody took over",
        _ => return word.to_owned(),
    };
    format!("{meaning} ({word})")
}
