//! The rules of version, interval, authentication, checksum and timers.

use vipkeeper_crds::{
    AddressFamily, AddressLifetime, AuthenticationType, Checksum, Duration, KEY_NAMESPACE,
    NodeAddress, NodeAuthentication, NodePreemption, PreemptionMode, ProtocolVersion, SecretKey,
    VirtualRouterSpec,
};

use super::{crowded, required};
use crate::address;
use crate::finding::Remarks;

/// The longest stay after a planned move, in milliseconds.
const MAX_LINGER: u64 = 60_000;

pub(super) fn version(spec: &VirtualRouterSpec, remarks: &mut Remarks) -> Option<ProtocolVersion> {
    match spec.version {
        2 => Some(ProtocolVersion::V2),
        3 => Some(ProtocolVersion::V3),
        other => {
            remarks.error(
                "spec.version",
                format!("{other} is no version of VRRP: choose 3, or 2"),
            );
            None
        }
    }
}

/// The interval, or its version's default.
pub(super) fn interval(
    spec: &VirtualRouterSpec,
    version: Option<ProtocolVersion>,
    remarks: &mut Remarks,
) -> Option<Duration> {
    let (step, most, default, rule) = match version? {
        ProtocolVersion::V2 => (
            1_000,
            255_000,
            1_000,
            "version 2 has whole seconds from 1s to 4m15s",
        ),
        ProtocolVersion::V3 => (
            10,
            40_950,
            250,
            "version 3 has steps of 10ms from 10ms to 40s950ms",
        ),
    };
    let Some(interval) = spec.advertisement_interval else {
        return Some(Duration::from_millis(default));
    };
    let millis = interval.as_millis();
    if millis == 0 || millis > most || millis % step != 0 {
        remarks.error("spec.advertisementInterval", format!("{interval}: {rule}"));
        return None;
    }
    Some(interval)
}

pub(super) fn preemption(
    spec: &VirtualRouterSpec,
    remarks: &mut Remarks,
) -> Option<NodePreemption> {
    let path = "spec.preemption.delay";
    let given = &spec.preemption;
    if given.delay.is_some() && given.mode != PreemptionMode::Delayed {
        remarks.error(
            path,
            "belongs to `mode: Delayed`: remove it, or change the mode",
        );
    }
    match given.mode {
        PreemptionMode::Always => Some(NodePreemption::Always),
        PreemptionMode::Never => Some(NodePreemption::Never),
        PreemptionMode::Delayed => {
            let delay = *required(&given.delay, path, "mode: Delayed", remarks)?;
            if !(1..=3_600_000).contains(&delay.as_millis()) {
                let message = format!("{delay}: choose 1ms to 1h, or `mode: Always` for no delay");
                remarks.error(path, message);
                return None;
            }
            Some(NodePreemption::Delayed { delay })
        }
    }
}

pub(super) fn election(spec: &VirtualRouterSpec, remarks: &mut Remarks) {
    let missed = spec.election.down_advertisements;
    if !(1..=10).contains(&missed) {
        remarks.error(
            "spec.election.downAdvertisements",
            format!("{missed}: choose 1 to 10; RFC 9568 has 3"),
        );
    }
}

pub(super) fn address_lifetime(spec: &VirtualRouterSpec, remarks: &mut Remarks) {
    if let AddressLifetime::Finite(lifetime) = spec.address_lifetime
        && !(10_000..=3_600_000).contains(&lifetime.as_millis())
    {
        remarks.error(
            "spec.addressLifetime",
            format!("{lifetime}: choose 10s to 1h, or `Forever`"),
        );
    }
}

pub(super) fn handover(spec: &VirtualRouterSpec, remarks: &mut Remarks) {
    let linger = spec.handover.linger;
    if linger.as_millis() > MAX_LINGER {
        let message = format!("{linger}: choose 0s to 1m");
        remarks.error("spec.handover.linger", message);
    }
}

pub(super) fn authentication(
    spec: &VirtualRouterSpec,
    version: Option<ProtocolVersion>,
    remarks: &mut Remarks,
) -> Option<NodeAuthentication> {
    let given = &spec.authentication;
    match given.kind {
        AuthenticationType::None => {
            if given.password.is_some() {
                remarks.error(
                    "spec.authentication.password",
                    "belongs to `type: Password`: remove it, or change the type",
                );
            }
            Some(NodeAuthentication::None)
        }
        AuthenticationType::Password => {
            if version == Some(ProtocolVersion::V3) {
                remarks.error(
                    "spec.authentication.type",
                    "version 3 has no password: say `type: None`, or `version: 2` for peers that have one",
                );
            }
            let path = "spec.authentication.password";
            let password = required(&given.password, path, "type: Password", remarks)?;
            let reference = &password.secret_ref;
            let namespace = reference.namespace.as_deref().unwrap_or(KEY_NAMESPACE);
            let secret = SecretKey {
                namespace: namespace.to_owned(),
                name: reference.name.clone(),
                key: reference.key.clone(),
            };
            Some(NodeAuthentication::Password { secret })
        }
    }
}

/// What depends on the families.
pub(super) fn of_families(
    spec: &VirtualRouterSpec,
    version: Option<ProtocolVersion>,
    families: &[AddressFamily],
    addresses: &[NodeAddress],
    remarks: &mut Remarks,
) {
    if version == Some(ProtocolVersion::V2) && families.contains(&AddressFamily::V6) {
        remarks.error(
            "spec.version",
            "version 2 exists for IPv4 only: say `version: 3`",
        );
    }
    if spec.checksum != Checksum::Auto {
        if version == Some(ProtocolVersion::V2) {
            remarks.error(
                "spec.checksum",
                "version 2 has one checksum: say `Auto`, or remove this",
            );
        }
        if families == [AddressFamily::V6] {
            remarks.error(
                "spec.checksum",
                "IPv6 has one checksum: say `Auto`, or remove this",
            );
        }
    }
    let mut ipv6 = addresses.iter().enumerate();
    let first = ipv6.find(|(_, a)| a.address.is_ipv6());
    let first_is_global = first.filter(|(_, a)| !address::link_local(a.address));
    if let Some((i, _)) = first_is_global
        && spec.election.strict
    {
        remarks.error(
            format!("spec.addresses[{i}].address"),
            "with `election.strict` an IPv6 list begins with a link-local address (RFC 9568 §5.2.9): put one first, or leave `strict` out",
        );
    }
    crowded(addresses, remarks);
}
