//! What has to be done to make one of the other: desired minus present, in an order that no client notices.
//!
//! Pure. At no step does a service lack a real server that it has before and after, whatever of it is refused; real
//! servers come before others go, and services go last.

use std::collections::BTreeSet;

use vipkeeper_ipvs::ServiceKey;

use super::kernel::Operation;
use super::present::{Present, PresentService};
use super::table::{Entry, Table};

/// The operations that make the services `ours` of `present` those of `desired`, each about another service or real
/// server. Of what is right nothing is written. A service of ours that is not desired is removed whether it was seen or
/// not: a listing can miss one.
#[must_use]
pub fn reconcile(
    desired: &Table,
    present: &Present,
    ours: &BTreeSet<ServiceKey>,
) -> Vec<Operation> {
    let mut operations = Vec::new();
    for (key, entry) in desired.services() {
        if ours.contains(key) {
            mend(entry, present.services.get(key), &mut operations);
        }
    }
    let superfluous = ours.iter().filter(|key| desired.get(key).is_none());
    operations.extend(superfluous.copied().map(Operation::DeleteService));
    operations
}

/// New real servers, then what takes more than before, then what takes less, then those that go.
fn mend(entry: &Entry, present: Option<&PresentService>, operations: &mut Vec<Operation>) {
    let service = entry.service();
    let key = service.key;
    let Some(present) = present else {
        operations.push(Operation::AddService(*service));
        let added = entry.destinations().values();
        operations.extend(added.map(|wanted| Operation::AddDestination(key, *wanted)));
        return;
    };
    if present.service != *service {
        operations.push(Operation::SetService(*service));
    }
    let (mut added, mut raised, mut lowered) = (Vec::new(), Vec::new(), Vec::new());
    for wanted in entry.destinations().values() {
        match present.destinations.get(&wanted.key) {
            None => added.push(Operation::AddDestination(key, *wanted)),
            Some(there) if there.destination == *wanted => {}
            Some(there) if there.destination.weight <= wanted.weight => {
                raised.push(Operation::SetDestination(key, *wanted));
            }
            Some(_) => lowered.push(Operation::SetDestination(key, *wanted)),
        }
    }
    let removed = present
        .destinations
        .keys()
        .filter(|there| !entry.destinations().contains_key(there))
        .map(|there| Operation::DeleteDestination(key, *there));
    operations.extend(
        added
            .into_iter()
            .chain(raised)
            .chain(lowered)
            .chain(removed),
    );
}

#[cfg(test)]
mod tests {
    use super::super::fake::examples::{address, destination, entry, key, present};
    use super::*;

    fn all_ours(present: &Present) -> BTreeSet<ServiceKey> {
        present.services.keys().copied().collect()
    }

    #[test]
    fn nothing_is_written_where_nothing_differs() {
        let table: Table = [entry(80, &[(1, 1), (2, 0)]), entry(81, &[])]
            .into_iter()
            .collect();
        let present = present(&table);
        assert_eq!(reconcile(&table, &present, &all_ours(&present)), []);
    }

    #[test]
    fn a_changed_real_server_costs_two_operations_at_most() {
        let before: Table = [entry(80, &[(1, 1), (2, 1)])].into_iter().collect();
        let present = present(&before);
        let ours = all_ours(&present);
        let weighed: Table = [entry(80, &[(1, 1), (2, 5)])].into_iter().collect();
        let replaced: Table = [entry(80, &[(1, 1), (3, 1)])].into_iter().collect();
        assert_eq!(
            reconcile(&weighed, &present, &ours),
            [Operation::SetDestination(key(80), destination(2, 5))]
        );
        assert_eq!(
            reconcile(&replaced, &present, &ours),
            [
                Operation::AddDestination(key(80), destination(3, 1)),
                Operation::DeleteDestination(key(80), address(2)),
            ]
        );
    }

    #[test]
    fn what_comes_comes_before_what_goes() {
        let before: Table = [entry(80, &[(1, 2), (2, 1), (3, 1)]), entry(81, &[(1, 1)])]
            .into_iter()
            .collect();
        let after: Table = [entry(80, &[(1, 1), (2, 2), (4, 1)]), entry(82, &[(1, 1)])]
            .into_iter()
            .collect();
        let present = present(&before);
        let ours = [80, 81, 82].map(key).into();
        assert_eq!(
            reconcile(&after, &present, &ours),
            [
                Operation::AddDestination(key(80), destination(4, 1)),
                Operation::SetDestination(key(80), destination(2, 2)),
                Operation::SetDestination(key(80), destination(1, 1)),
                Operation::DeleteDestination(key(80), address(3)),
                Operation::AddService(*entry(82, &[]).service()),
                Operation::AddDestination(key(82), destination(1, 1)),
                Operation::DeleteService(key(81)),
            ]
        );
    }

    #[test]
    fn what_is_not_ours_is_left_alone() {
        let before: Table = [entry(80, &[(1, 1)]), entry(81, &[(1, 1)])]
            .into_iter()
            .collect();
        let after: Table = [entry(80, &[(2, 2)])].into_iter().collect();
        assert_eq!(reconcile(&after, &present(&before), &BTreeSet::new()), []);
    }

    #[test]
    fn what_is_ours_and_was_not_seen_is_removed_all_the_same() {
        let ours = [key(80)].into();
        assert_eq!(
            reconcile(&Table::default(), &Present::default(), &ours),
            [Operation::DeleteService(key(80))]
        );
    }
}
