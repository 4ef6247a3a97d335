//! Addresses that are on an interface and not because of us, as findings.
//!
//! Pure: the condition `AddressConflict` where there is no object to carry it.

use vipkeeper_vrrp::RouterStatus;

use super::Finding;

/// The finding about `status`, whose interface is called `interface`; `None` if there is nothing to find.
pub(super) fn finding(status: &RouterStatus, interface: &str) -> Option<Finding> {
    if status.conflicts.is_empty() {
        return None;
    }
    let addresses: Vec<String> = status.conflicts.iter().map(ToString::to_string).collect();
    let consequence = if status.conflicts.len() < status.addresses.len() {
        "the router does without"
    } else {
        "the router does not contend"
    };
    Some(Finding {
        severity: "warning".to_owned(),
        place: format!("{} {}", status.name, status.family),
        message: format!(
            "AddressConflict: {} on {interface} by the host's own configuration, untouched: {consequence}; remove it \
             from {interface}, or from spec.addresses, or say priority 255 if this node owns the addresses",
            addresses.join(", ")
        ),
    })
}

#[cfg(test)]
mod tests {
    use crate::state::tests::snapshot;

    use super::*;

    #[test]
    fn a_conflict_names_the_address_the_interface_and_the_way_out() {
        let mut router = snapshot().routers.remove(0);
        assert_eq!(finding(&router, "eth0"), None);
        router.conflicts = vec![[192, 0, 2, 101].into()];
        let found = finding(&router, "eth0").unwrap();
        assert_eq!((&*found.severity, &*found.place), ("warning", "web IPv4"));
        let start = "AddressConflict: 192.0.2.101 on eth0 by the host's own configuration, untouched: the router does without; remove it";
        assert!(found.message.starts_with(start), "{}", found.message);
        router.conflicts = router.addresses.clone();
        let found = finding(&router, "eth0").unwrap();
        assert!(
            found.message.contains("does not contend"),
            "{}",
            found.message
        );
    }
}
