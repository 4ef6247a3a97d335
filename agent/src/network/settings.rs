//! The interfaces' settings that virtual addresses need: `arp_ignore` 1 and `arp_announce` 2, on the interfaces
//! that carry them and nowhere else.
//!
//! Owns the values that were there before, which the ledger keeps, and puts them back. A setting that cannot be
//! changed is told once and done without. `conf.all` is never written.

use std::collections::{BTreeMap, BTreeSet};

use vipkeeper_vrrp::Ifindex;

use super::Notice;
use super::kernel::{Address, Kernel, Setting};

/// What was there before us.
#[derive(Debug)]
pub(super) struct Settings {
    originals: BTreeMap<(Ifindex, Setting), u32>,
    /// What could not be changed; told once.
    failed: BTreeSet<(Ifindex, Setting)>,
}

impl Settings {
    /// Begins with the values that a process before us found.
    #[must_use]
    pub(super) const fn new(originals: BTreeMap<(Ifindex, Setting), u32>) -> Self {
        Self {
            originals,
            failed: BTreeSet::new(),
        }
    }

    /// The values to put back.
    #[must_use]
    pub(super) const fn originals(&self) -> &BTreeMap<(Ifindex, Setting), u32> {
        &self.originals
    }

    /// Notes the values of interfaces that are new in `wanted`, for the ledger, before they change.
    pub(super) fn read_originals<K: Kernel>(
        &mut self,
        kernel: &mut K,
        wanted: &BTreeSet<Ifindex>,
        notices: &mut Vec<Notice>,
    ) {
        for &interface in wanted {
            for setting in Setting::ALL {
                let key = (interface, setting);
                if self.originals.contains_key(&key) {
                    continue;
                }
                match kernel.setting(interface, setting) {
                    Ok(value) if value == setting.wanted() => {}
                    Ok(value) => {
                        self.originals.insert(key, value);
                    }
                    Err(error) if self.failed.insert(key) => {
                        notices.push(Notice::setting(key, error));
                    }
                    Err(_) => {}
                }
            }
        }
    }

    /// Sets what the interfaces of `wanted` need, and puts back what the others had.
    pub(super) fn apply<K: Kernel>(
        &mut self,
        kernel: &mut K,
        wanted: &BTreeSet<Ifindex>,
        notices: &mut Vec<Notice>,
    ) {
        let mut kept = BTreeMap::new();
        for (key, original) in std::mem::take(&mut self.originals) {
            let (interface, setting) = key;
            if wanted.contains(&interface) {
                kept.insert(key, original);
                if kernel.setting(interface, setting).ok() == Some(setting.wanted()) {
                    // Nothing is rewritten.
                    continue;
                }
                let outcome = kernel.change_setting(interface, setting, setting.wanted());
                match outcome {
                    Ok(()) => {
                        self.failed.remove(&key);
                    }
                    Err(error) if self.failed.insert(key) => {
                        notices.push(Notice::setting(key, error));
                    }
                    Err(_) => {}
                }
            } else if kernel.setting(interface, setting).ok() == Some(setting.wanted()) {
                // Only what still is as we made it; and a vanished interface needs nothing.
                if let Err(error) = kernel.change_setting(interface, setting, original) {
                    notices.push(Notice::setting(key, error));
                }
            }
        }
        self.originals = kept;
    }
}

/// The interfaces of `addresses` that have an IPv4 one: ARP is IPv4's.
#[must_use]
pub(super) fn interfaces_with_ipv4(addresses: &BTreeSet<(Ifindex, Address)>) -> BTreeSet<Ifindex> {
    addresses
        .iter()
        .filter(|(_, a)| a.address.is_ipv4())
        .map(|(interface, _)| *interface)
        .collect()
}
