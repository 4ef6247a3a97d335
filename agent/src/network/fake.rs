//! A kernel in memory for the tests: it keeps addresses by the rules of the real one, and fails when told to.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use nix::errno::Errno;
use vipkeeper_vrrp::Ifindex;

use super::kernel::{Action, Change, Kernel, LOOPBACK, Present, Setting, tag_of};

/// Addresses and settings of a machine whose interfaces are those that have settings.
#[derive(Debug)]
pub(super) struct Fake {
    pub(super) addresses: Vec<Present>,
    pub(super) lifetimes: BTreeMap<IpAddr, Option<Duration>>,
    pub(super) settings: BTreeMap<(Ifindex, Setting), u32>,
    pub(super) keeps_tags: bool,
    /// /proc/sys is read-only.
    pub(super) settings_are_fixed: bool,
    /// What the next changes of an address come to, instead of what they would.
    pub(super) failures: BTreeMap<IpAddr, Errno>,
    /// The same for additions to the loopback interface.
    pub(super) parking_failures: BTreeMap<IpAddr, Errno>,
    /// Whole calls that fail, from the next on.
    pub(super) broken: VecDeque<io::ErrorKind>,
    /// Every change that was asked for.
    pub(super) log: Vec<Change>,
}

impl Fake {
    /// A machine with `interfaces`.
    pub(super) fn new(interfaces: &[Ifindex]) -> Self {
        let settings = interfaces
            .iter()
            .flat_map(|&interface| Setting::ALL.map(|setting| ((interface, setting), 0)));
        Self {
            addresses: Vec::new(),
            lifetimes: BTreeMap::new(),
            settings: settings.collect(),
            keeps_tags: true,
            settings_are_fixed: false,
            failures: BTreeMap::new(),
            parking_failures: BTreeMap::new(),
            broken: VecDeque::new(),
            log: Vec::new(),
        }
    }

    /// Somebody's address, with or without our tag.
    pub(super) fn put(
        &mut self,
        interface: Ifindex,
        address: &str,
        prefix_length: u8,
        tag: Option<u8>,
    ) {
        self.addresses.push(Present {
            interface,
            address: address.parse().unwrap(),
            prefix_length,
            tag,
        });
    }

    /// The addresses of `interface`, as text.
    pub(super) fn on(&self, interface: Ifindex) -> Vec<String> {
        let there = self.addresses.iter().filter(|a| a.interface == interface);
        there
            .map(|a| format!("{}/{}", a.address, a.prefix_length))
            .collect()
    }

    /// The interface and all that is on it goes.
    pub(super) fn unplug(&mut self, interface: Ifindex) {
        self.addresses.retain(|a| a.interface != interface);
        self.settings.retain(|(i, _), _| *i != interface);
    }

    fn change_one(&mut self, change: &Change) -> Result<(), Errno> {
        let Change {
            action,
            interface,
            address,
        } = *change;
        if let Some(errno) = self.failures.get(&address.address) {
            return Err(*errno);
        }
        if interface == LOOPBACK
            && let Some(errno) = self.parking_failures.get(&address.address)
        {
            return Err(*errno);
        }
        let known = self.settings.keys().any(|(i, _)| *i == interface);
        if !known && interface != LOOPBACK {
            return Err(Errno::ENODEV);
        }
        // IPv4 tells addresses of different prefixes apart, IPv6 does not.
        let same = |there: &Present| {
            there.interface == interface
                && there.address == address.address
                && (there.prefix_length == address.prefix_length || there.address.is_ipv6())
        };
        let known = self.addresses.iter().position(same);
        match (action, known) {
            (Action::Add { .. }, Some(_)) => Err(Errno::EEXIST),
            (Action::Add { lifetime } | Action::Replace { lifetime }, known) => {
                self.lifetimes.insert(address.address, lifetime);
                if known.is_none() {
                    let tag = self.keeps_tags.then_some(tag_of(interface));
                    let text = address.address.to_string();
                    self.put(interface, &text, address.prefix_length, tag);
                }
                Ok(())
            }
            (Action::Remove, Some(known)) => {
                self.addresses.remove(known);
                Ok(())
            }
            (Action::Remove, None) => Err(Errno::EADDRNOTAVAIL),
        }
    }
}

impl Kernel for Fake {
    fn change(&mut self, changes: &[Change]) -> io::Result<Vec<Result<(), Errno>>> {
        self.log.extend(changes);
        if let Some(kind) = self.broken.pop_front() {
            return Err(kind.into());
        }
        Ok(changes.iter().map(|c| self.change_one(c)).collect())
    }

    fn addresses(&mut self) -> io::Result<Vec<Present>> {
        Ok(self.addresses.clone())
    }

    fn keeps_tags(&self) -> bool {
        self.keeps_tags
    }

    fn setting(&mut self, interface: Ifindex, setting: Setting) -> io::Result<u32> {
        let value = self.settings.get(&(interface, setting));
        value.copied().ok_or(io::ErrorKind::NotFound.into())
    }

    fn change_setting(
        &mut self,
        interface: Ifindex,
        setting: Setting,
        value: u32,
    ) -> io::Result<()> {
        if self.settings_are_fixed {
            return Err(io::ErrorKind::ReadOnlyFilesystem.into());
        }
        match self.settings.get_mut(&(interface, setting)) {
            Some(known) => {
                *known = value;
                Ok(())
            }
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }
}
