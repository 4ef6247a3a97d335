//! What `vipkeeper-agent cleanup` does: takes away all that an agent left that does not run any more.
//!
//! By the same rule as the sweep of an agent that starts; but settings are put back, too, because no agent comes.

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;

use nix::errno::Errno;
use vipkeeper_vrrp::Ifindex;

use super::Notice;
use super::kernel::{Kernel, Setting};
use super::ledger::Rows;
use super::leftovers::{Leftovers, Row};
use super::settings::Settings;

/// What came of it.
#[derive(Debug, Default)]
pub struct Cleaned {
    /// Addresses that were taken off.
    pub removed: Vec<Row>,
    /// Addresses that the kernel kept, and why.
    pub kept: Vec<(Row, Errno)>,
    /// Addresses with our tag that are in no ledger of this instance: untouched.
    pub tag_only: Vec<(Ifindex, IpAddr)>,
    /// Settings that have their old value again.
    pub restored: Vec<(Ifindex, Setting, u32)>,
    /// Settings that could not be put back.
    pub failed: Vec<(Ifindex, &'static str, io::Error)>,
}

impl Cleaned {
    /// Whether nothing of this instance is left.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.kept.is_empty() && self.failed.is_empty()
    }

    /// Whether there was nothing to do.
    #[must_use]
    pub const fn is_nothing(&self) -> bool {
        self.is_complete() && self.removed.is_empty() && self.restored.is_empty()
    }
}

/// Takes away what `rows` name.
///
/// # Errors
/// If the kernel cannot be asked.
pub fn clean<K: Kernel>(kernel: &mut K, rows: &Rows) -> io::Result<Cleaned> {
    let mut cleaned = Cleaned::default();
    let present = kernel.addresses()?;
    let found = Leftovers::find(&present, rows, kernel.keeps_tags());
    let outcomes = kernel.change(&found.removals())?;
    for (row, outcome) in found.ours.into_iter().zip(outcomes) {
        match outcome {
            Ok(()) => cleaned.removed.push(row),
            // It went by itself meanwhile.
            Err(Errno::EADDRNOTAVAIL | Errno::ENODEV) => {}
            Err(errno) => cleaned.kept.push((row, errno)),
        }
    }
    cleaned.tag_only = found.tag_only;
    restore(kernel, rows, &mut cleaned);
    Ok(cleaned)
}

fn restore<K: Kernel>(kernel: &mut K, rows: &Rows, cleaned: &mut Cleaned) {
    let ours: Vec<_> = rows
        .originals
        .iter()
        .filter(|((interface, setting), _)| {
            kernel.setting(*interface, *setting).ok() == Some(setting.wanted())
        })
        .map(|(&(interface, setting), &original)| (interface, setting, original))
        .collect();
    let mut notices = Vec::new();
    Settings::new(rows.originals.clone()).apply(kernel, &BTreeSet::new(), &mut notices);
    for (interface, setting, original) in ours {
        if kernel.setting(interface, setting).ok() == Some(original) {
            cleaned.restored.push((interface, setting, original));
        }
    }
    for notice in notices {
        if let Notice::Setting {
            interface,
            setting,
            reason,
        } = notice
        {
            cleaned.failed.push((interface, setting, reason));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::fake::Fake;
    use crate::network::kernel::{PARKED_TAG, Present, TAG};
    use crate::network::leftovers::row_of;

    fn eth() -> Ifindex {
        Ifindex::new(2).unwrap()
    }

    /// A machine after a crash: two addresses of ours, one of somebody's, both settings changed; and the ledger.
    fn crashed() -> (Fake, Rows) {
        let mut kernel = Fake::new(&[eth()]);
        kernel.put(eth(), "192.0.2.1", 24, None);
        kernel.put(eth(), "192.0.2.100", 32, Some(TAG));
        kernel.put(eth(), "192.0.2.101", 32, Some(PARKED_TAG));
        let ours = kernel
            .addresses
            .iter()
            .filter(|a: &&Present| a.tag.is_some());
        let mut rows = Rows {
            addresses: ours.map(row_of).collect(),
            ..Rows::default()
        };
        for (setting, original) in Setting::ALL.into_iter().zip([0, 1]) {
            kernel.settings.insert((eth(), setting), setting.wanted());
            rows.originals.insert((eth(), setting), original);
        }
        (kernel, rows)
    }

    #[test]
    fn everything_of_the_ledger_goes_and_nothing_else() {
        let (mut kernel, rows) = crashed();
        kernel.put(eth(), "192.0.2.102", 32, Some(TAG));
        let cleaned = clean(&mut kernel, &rows).unwrap();
        assert!(cleaned.is_complete() && !cleaned.is_nothing());
        assert_eq!(cleaned.removed.len(), 2);
        assert_eq!(cleaned.restored.len(), 2);
        assert_eq!(cleaned.tag_only.len(), 1, "another instance's");
        assert_eq!(kernel.on(eth()), ["192.0.2.1/24", "192.0.2.102/32"]);
        let values: Vec<_> = kernel.settings.values().copied().collect();
        assert_eq!(values, [0, 1]);
    }

    #[test]
    fn a_second_time_finds_nothing() {
        let (mut kernel, rows) = crashed();
        clean(&mut kernel, &rows).unwrap();
        assert!(clean(&mut kernel, &rows).unwrap().is_nothing());
    }

    #[test]
    fn what_the_kernel_keeps_is_told() {
        let (mut kernel, rows) = crashed();
        let kept = "192.0.2.100".parse().unwrap();
        kernel.failures.insert(kept, Errno::EBUSY);
        kernel.settings_are_fixed = true;
        let cleaned = clean(&mut kernel, &rows).unwrap();
        assert!(!cleaned.is_complete());
        let [((_, address), Errno::EBUSY)] = cleaned.kept[..] else {
            panic!("{cleaned:?}");
        };
        assert_eq!(address.address, kept);
        assert_eq!((cleaned.removed.len(), cleaned.failed.len()), (1, 2));
        assert!(cleaned.restored.is_empty());
    }

    #[test]
    fn a_setting_that_somebody_changed_since_stays() {
        let (mut kernel, rows) = crashed();
        kernel.settings.insert((eth(), Setting::ArpIgnore), 2);
        let cleaned = clean(&mut kernel, &rows).unwrap();
        assert_eq!(kernel.settings[&(eth(), Setting::ArpIgnore)], 2);
        assert_eq!(cleaned.restored, [(eth(), Setting::ArpAnnounce, 1)]);
    }
}
