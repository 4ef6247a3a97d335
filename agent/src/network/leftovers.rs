//! What of the kernel's addresses a process before us left: the rule that sweep, guardian and cleanup share.
//!
//! Pure. In the ledger and, where the kernel keeps tags, carrying one of ours: that is ours to remove. What only
//! carries our tag may be another instance's; it is told and left alone.

use std::net::IpAddr;

use vipkeeper_vrrp::Ifindex;

use super::kernel::{Action, Address, Change, Present, is_ours};
use super::ledger::Rows;

/// An address with its place.
pub type Row = (Ifindex, Address);

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leftovers {
    /// Ours.
    pub ours: Vec<Row>,
    /// With our tag, in no ledger of ours.
    pub tag_only: Vec<(Ifindex, IpAddr)>,
}

impl Leftovers {
    /// Among `present`, by what `rows` say.
    #[must_use]
    pub fn find(present: &[Present], rows: &Rows, keeps_tags: bool) -> Self {
        let mut found = Self::default();
        for there in present {
            let tagged = there.tag.is_some_and(is_ours);
            let row = row_of(there);
            if rows.addresses.contains(&row) && (tagged || !keeps_tags) {
                found.ours.push(row);
            } else if tagged {
                found.tag_only.push((there.interface, there.address));
            }
        }
        found
    }

    /// What it takes to remove those that are ours.
    #[must_use]
    pub fn removals(&self) -> Vec<Change> {
        let remove = |&(interface, address): &Row| Change {
            action: Action::Remove,
            interface,
            address,
        };
        self.ours.iter().map(remove).collect()
    }
}

/// How an address that the kernel has would stand in the ledger.
#[must_use]
pub fn row_of(there: &Present) -> Row {
    let address = Address {
        address: there.address,
        prefix_length: there.prefix_length,
    };
    (there.interface, address)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::kernel::{PARKED_TAG, TAG};

    fn present(interface: u32, address: &str, prefix_length: u8, tag: Option<u8>) -> Present {
        Present {
            interface: Ifindex::new(interface).unwrap(),
            address: address.parse().unwrap(),
            prefix_length,
            tag,
        }
    }

    fn rows(present: &[Present]) -> Rows {
        Rows {
            addresses: present.iter().map(row_of).collect(),
            ..Rows::default()
        }
    }

    #[test]
    fn what_is_recorded_and_carries_one_of_our_tags_is_ours() {
        let there = [
            present(2, "192.0.2.100", 32, Some(TAG)),
            present(1, "192.0.2.101", 32, Some(PARKED_TAG)),
            present(2, "2001:db8::100", 128, Some(TAG)),
        ];
        let found = Leftovers::find(&there, &rows(&there), true);
        assert_eq!(found.ours, there.iter().map(row_of).collect::<Vec<_>>());
        assert!(found.tag_only.is_empty());
        assert_eq!(found.removals().len(), 3);
        let removes = |change: &Change| change.action == Action::Remove;
        assert!(found.removals().iter().all(removes));
    }

    #[test]
    fn what_is_recorded_with_somebody_elses_tag_or_none_is_not_ours() {
        for tag in [None, Some(0), Some(3), Some(0x58)] {
            let there = [present(2, "192.0.2.100", 32, tag)];
            let found = Leftovers::find(&there, &rows(&there), true);
            assert_eq!(found, Leftovers::default(), "{tag:?}");
        }
    }

    #[test]
    fn what_only_carries_our_tag_is_told_and_left_alone() {
        let other_prefix = present(2, "192.0.2.100", 24, Some(TAG));
        let other_interface = present(3, "192.0.2.100", 32, Some(PARKED_TAG));
        let recorded = rows(&[present(2, "192.0.2.100", 32, Some(TAG))]);
        let found = Leftovers::find(&[other_prefix, other_interface], &recorded, true);
        assert!(found.ours.is_empty());
        let address: IpAddr = "192.0.2.100".parse().unwrap();
        let told = [2, 3].map(|index| (Ifindex::new(index).unwrap(), address));
        assert_eq!(found.tag_only, told);
    }

    #[test]
    fn a_kernel_without_tags_leaves_the_ledger_to_decide() {
        let there = [
            present(2, "192.0.2.100", 32, None),
            present(2, "192.0.2.1", 24, None),
        ];
        let found = Leftovers::find(&there, &rows(&there[..1]), false);
        assert_eq!(found.ours, [row_of(&there[0])]);
        assert!(found.tag_only.is_empty());
    }
}
