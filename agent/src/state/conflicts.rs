//! Addresses that are on an interface and not because of us, as findings.
//!
//! Pure: the condition `AddressConflict` where there is no object to carry it.

use std::collections::BTreeMap;

use vipkeeper_vrrp::{Ifindex, RouterStatus};

use super::Finding;

/// The findings about `status`, one for each interface with conflicts; `name` says what interfaces are called.
pub(super) fn findings(status: &RouterStatus, name: impl Fn(Ifindex) -> String) -> Vec<Finding> {
    let mut by_interface: BTreeMap<Ifindex, Vec<String>> = BTreeMap::new();
    for address in &status.conflicts {
        let elsewhere = status.elsewhere.iter().find(|(a, _)| a == address);
        let interface = elsewhere.map(|(_, i)| *i).or(status.interface);
        if let Some(interface) = interface {
            let there = by_interface.entry(interface).or_default();
            there.push(address.to_string());
        }
    }
    by_interface
        .into_iter()
        .map(|(interface, addresses)| finding(status, &name(interface), &addresses))
        .collect()
}

/// That `addresses` of `status` are on `interface` because of the host.
fn finding(status: &RouterStatus, interface: &str, addresses: &[String]) -> Finding {
    let consequence = if status.conflicts.len() < status.addresses.len() {
        "the router does without"
    } else {
        "the router does not contend"
    };
    Finding {
        severity: "warning".to_owned(),
        place: format!("{} {}", status.name, status.family),
        message: format!(
            "AddressConflict: {} on {interface} by the host's own configuration, untouched: {consequence}; remove it \
             from {interface}, or from spec.addresses, or say priority 255 if this node owns the addresses",
            addresses.join(", ")
        ),
    }
}

#[cfg(test)]
mod tests {
    use crate::state::tests::snapshot;

    use super::*;

    fn found(router: &RouterStatus) -> Vec<Finding> {
        findings(router, |index| format!("eth{}", index.get() - 2))
    }

    #[test]
    fn a_conflict_names_the_address_the_interface_and_the_way_out() {
        let mut router = snapshot().routers.remove(0);
        router.interface = Ifindex::new(2);
        assert_eq!(found(&router), []);
        router.conflicts = vec![[192, 0, 2, 101].into()];
        let one = found(&router).remove(0);
        assert_eq!((&*one.severity, &*one.place), ("warning", "web IPv4"));
        let start = "AddressConflict: 192.0.2.101 on eth0 by the host's own configuration, untouched: the router does without; remove it";
        assert!(one.message.starts_with(start), "{}", one.message);
        router.conflicts = router.addresses.clone();
        let all = found(&router).remove(0);
        assert!(all.message.contains("does not contend"), "{}", all.message);
    }

    #[test]
    fn a_conflict_on_the_interface_of_an_address_names_that_one() {
        let mut router = snapshot().routers.remove(0);
        router.interface = Ifindex::new(2);
        router.conflicts = router.addresses.clone();
        let first = router.addresses[0];
        router.elsewhere = vec![(first, Ifindex::new(3).unwrap())];
        let found = found(&router);
        assert_eq!(found.len(), router.addresses.len().min(2));
        let last = found.last().unwrap();
        let start = format!("AddressConflict: {first} on eth1 by");
        assert!(last.message.starts_with(&start), "{}", last.message);
    }
}
