//! Settings of the whole network namespace that virtual servers need or are better with, and whether they are so.
//!
//! Reads them, and writes them only where that was asked for: then the ledger keeps what was there before, and it is
//! put back if nobody has changed it since. Never decides whether they are written.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;
use std::path::PathBuf;

use vipkeeper_ipvs::{Family, Forwarding, Protocol, ServiceKey};

use super::table::{Entry, Table};

/// Where the kernel shows settings.
pub const DIRECTORY: &str = "/proc/sys";
/// What each of them should be.
pub const WANTED: u32 = 1;
/// Where those of IPVS are below it, if the kernel has IPVS.
const IPVS: &str = "net/ipv4/vs";

/// A setting of the network namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Setting {
    /// `net.ipv4.vs.conntrack`: connections of IPVS are tracked, without which no source address is translated.
    Conntrack,
    /// `net.ipv4.vs.expire_nodest_conn`: connections to a real server that was removed end, instead of being sent into
    /// nothing until they time out.
    ExpireNodestConn,
    /// `net.ipv4.vs.expire_quiescent_template`: clients that persistence bound to a real server of weight 0 get another.
    ExpireQuiescentTemplate,
    /// `net.ipv4.vs.sloppy_tcp`: connections that another node began go on here.
    SloppyTcp,
    /// `net.ipv4.vs.sloppy_sctp`: the same for SCTP.
    SloppySctp,
    /// `net.ipv4.ip_forward`: what real servers answer is passed on.
    Ipv4Forwarding,
    /// `net.ipv6.conf.all.forwarding`: the same for IPv6. A node that learns its own routes by router advertisements
    /// needs `accept_ra=2` then.
    Ipv6Forwarding,
}

impl Setting {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Conntrack,
        Self::ExpireNodestConn,
        Self::ExpireQuiescentTemplate,
        Self::SloppyTcp,
        Self::SloppySctp,
        Self::Ipv4Forwarding,
        Self::Ipv6Forwarding,
    ];

    /// Its file below [`DIRECTORY`].
    #[must_use]
    pub const fn path(self) -> &'static str {
        match self {
            Self::Conntrack => "net/ipv4/vs/conntrack",
            Self::ExpireNodestConn => "net/ipv4/vs/expire_nodest_conn",
            Self::ExpireQuiescentTemplate => "net/ipv4/vs/expire_quiescent_template",
            Self::SloppyTcp => "net/ipv4/vs/sloppy_tcp",
            Self::SloppySctp => "net/ipv4/vs/sloppy_sctp",
            Self::Ipv4Forwarding => "net/ipv4/ip_forward",
            Self::Ipv6Forwarding => "net/ipv6/conf/all/forwarding",
        }
    }
}

impl fmt::Display for Setting {
    /// As sysctl(8) names it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path().replace('/', "."))
    }
}

/// Whether something works without a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Importance {
    /// It does, but worse.
    Advised,
    /// It does not.
    Needed,
}

/// A setting that is not as it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lack {
    /// Which.
    pub setting: Setting,
    /// What it is; `None` if it cannot be read, for one because the kernel lacks it.
    pub is: Option<u32>,
    /// What it should be.
    pub wanted: u32,
    /// What it is for.
    pub importance: Importance,
}

impl Lack {
    /// The command that sets it.
    #[must_use]
    pub fn command(&self) -> String {
        command([self])
    }
}

/// The one command that sets all `lacks`.
pub fn command<'a>(lacks: impl IntoIterator<Item = &'a Lack>) -> String {
    let mut command = "sysctl -w".to_owned();
    for lack in lacks {
        command.push_str(&format!(" {}={}", lack.setting, lack.wanted));
    }
    command
}

/// The settings that `table` needs, or is better with.
#[must_use]
pub fn wanted(table: &Table) -> BTreeMap<Setting, Importance> {
    let mut wanted = BTreeMap::new();
    for (key, entry) in table.services() {
        wanted_for(table, *key, entry, &mut |setting, importance| {
            let known = wanted.entry(setting).or_insert(importance);
            *known = importance.max(*known);
        });
    }
    wanted
}

/// Which of the `lacks` concern the service of `key` in `table`, and how much it matters to that one.
#[must_use]
pub fn concerning(table: &Table, key: ServiceKey, lacks: &[Lack]) -> Vec<Lack> {
    let mut concerning = Vec::new();
    if lacks.is_empty() {
        return concerning;
    }
    if let Some(entry) = table.get(&key) {
        wanted_for(table, key, entry, &mut |setting, importance| {
            let lacks = lacks.iter().filter(|lack| lack.setting == setting);
            concerning.extend(lacks.map(|&lack| Lack { importance, ..lack }));
        });
    }
    concerning
}

/// Tells `want` each setting once that a service of `table` needs, or is better with.
fn wanted_for(
    table: &Table,
    key: ServiceKey,
    entry: &Entry,
    want: &mut impl FnMut(Setting, Importance),
) {
    if table.is_masqueraded(key) {
        want(Setting::Conntrack, Importance::Needed);
    }
    want(Setting::ExpireNodestConn, Importance::Advised);
    if entry.service().persistence.is_some() {
        want(Setting::ExpireQuiescentTemplate, Importance::Advised);
    }
    match key {
        ServiceKey::Address { protocol, .. } => match protocol {
            Protocol::Tcp => want(Setting::SloppyTcp, Importance::Advised),
            Protocol::Sctp => want(Setting::SloppySctp, Importance::Advised),
            Protocol::Udp | Protocol::Other(_) => {}
        },
        ServiceKey::Mark { .. } => want(Setting::SloppyTcp, Importance::Advised),
    }
    let is_nat = |forwarding| forwarding == Forwarding::Masquerade;
    if entry
        .destinations()
        .values()
        .any(|to| is_nat(to.forwarding))
    {
        let forwarding = match key.family() {
            Family::V4 => Setting::Ipv4Forwarding,
            Family::V6 => Setting::Ipv6Forwarding,
        };
        want(forwarding, Importance::Needed);
    }
}

/// What is done about a setting that is not as it should be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Policy {
    /// It is told, with the command that sets it.
    #[default]
    Verify,
    /// It is set, and put back when the agent leaves.
    Write,
}

/// The settings of the network namespace.
#[derive(Clone, Debug)]
pub struct SystemSettings {
    /// Where they are; [`DIRECTORY`], or where a container has the host's.
    pub directory: PathBuf,
    /// What is done about them.
    pub policy: Policy,
}

impl Default for SystemSettings {
    fn default() -> Self {
        Self {
            directory: PathBuf::from(DIRECTORY),
            policy: Policy::Verify,
        }
    }
}

impl SystemSettings {
    /// Those of `wanted` that are not so. What is only advised and does not exist is no lack: this kernel has no use for
    /// it.
    #[must_use]
    pub fn lacks(&self, wanted: &BTreeMap<Setting, Importance>) -> Vec<Lack> {
        let wanted = wanted.iter();
        let lacks = wanted.filter_map(|(&setting, &importance)| {
            let is = self.read(setting).ok();
            let is_lacking = match is {
                Some(value) => value != WANTED,
                None => importance == Importance::Needed,
            };
            is_lacking.then_some(Lack {
                setting,
                is,
                wanted: WANTED,
                importance,
            })
        });
        lacks.collect()
    }

    /// Makes a setting what it should be.
    ///
    /// # Errors
    /// If it cannot be written, for one because /proc/sys is read-only.
    pub fn write(&self, lack: &Lack) -> io::Result<()> {
        self.set(lack.setting, lack.wanted)
    }

    /// Makes a setting `original` again, unless somebody has changed it since it was written. Says whether it did.
    ///
    /// # Errors
    /// If it cannot be read or written.
    pub fn restore(&self, setting: Setting, original: u32) -> io::Result<bool> {
        let is_ours = match self.read(setting) {
            Ok(value) => value == WANTED && value != original,
            // With the module goes its setting.
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => return Err(error),
        };
        if is_ours {
            self.set(setting, original)?;
        }
        Ok(is_ours)
    }

    /// Whether the kernel has IPVS, as far as can be seen here: its module is loaded, or it is built in.
    #[must_use]
    pub fn has_ipvs(&self) -> bool {
        self.directory.join(IPVS).is_dir()
    }

    fn read(&self, setting: Setting) -> io::Result<u32> {
        let text = fs::read_to_string(self.directory.join(setting.path()))?;
        text.trim().parse().map_err(io::Error::other)
    }

    fn set(&self, setting: Setting, value: u32) -> io::Result<()> {
        let path = self.directory.join(setting.path());
        // Never made: the kernel's are there or not.
        let mut file = fs::OpenOptions::new()
            .write(true)
            .truncate(true)
            .open(path)?;
        io::Write::write_all(&mut file, value.to_string().as_bytes())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use vipkeeper_ipvs::{Netmask, Persistence};
    use vipkeeper_nft::{Endpoint, Ruleset};

    use super::super::fake::examples::{destination, entry, key, service};
    use super::*;
    use crate::scratch::Directory;

    /// Settings that are all 0, in a directory of the test's.
    pub(in crate::services) fn zeroes(directory: &Directory, policy: Policy) -> SystemSettings {
        let directory = directory.path().join("sys");
        for setting in Setting::ALL {
            let path = directory.join(setting.path());
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "0\n").unwrap();
        }
        SystemSettings { directory, policy }
    }

    #[test]
    fn nothing_is_wanted_without_services() {
        assert!(wanted(&Table::default()).is_empty());
    }

    #[test]
    fn each_service_wants_what_it_is_made_of() {
        let mut persistent = service(key(80));
        persistent.persistence = Some(Persistence {
            timeout: 300,
            netmask: Netmask::whole(Family::V4),
        });
        let mut direct = destination(1, 1);
        direct.forwarding = Forwarding::DirectRoute;
        let direct: Table = [Entry::with(persistent, [direct])].into_iter().collect();
        let advised = |setting| (setting, Importance::Advised);
        let expected = [
            Setting::ExpireNodestConn,
            Setting::ExpireQuiescentTemplate,
            Setting::SloppyTcp,
        ];
        assert_eq!(wanted(&direct), expected.map(advised).into());

        let mut nat: Table = [entry(80, &[(1, 1)])].into_iter().collect();
        let endpoint = Endpoint {
            address: [192, 0, 2, 1].into(),
            protocol: vipkeeper_nft::Protocol::Tcp,
            port: 80,
        };
        nat.set_firewall(Ruleset {
            masqueraded: [endpoint.into()].into(),
            ..Ruleset::default()
        });
        let wanted = wanted(&nat);
        assert_eq!(wanted[&Setting::Conntrack], Importance::Needed);
        assert_eq!(wanted[&Setting::Ipv4Forwarding], Importance::Needed);
        assert!(!wanted.contains_key(&Setting::Ipv6Forwarding));
    }

    #[test]
    fn a_lack_concerns_the_services_that_want_the_setting() {
        let mut persistent = service(key(443));
        persistent.persistence = Some(Persistence {
            timeout: 300,
            netmask: Netmask::whole(Family::V4),
        });
        let mut table: Table = [entry(80, &[(1, 1)]), Entry::new(persistent)]
            .into_iter()
            .collect();
        let endpoint = Endpoint {
            address: [192, 0, 2, 1].into(),
            protocol: vipkeeper_nft::Protocol::Tcp,
            port: 80,
        };
        table.set_firewall(Ruleset {
            masqueraded: [endpoint.into()].into(),
            ..Ruleset::default()
        });
        let directory = Directory::new();
        let lacks = zeroes(&directory, Policy::Verify).lacks(&wanted(&table));
        let of = |port| {
            let own = concerning(&table, key(port), &lacks);
            own.iter().map(|l| l.setting).collect::<Vec<_>>()
        };
        let translated = [
            Setting::Conntrack,
            Setting::ExpireNodestConn,
            Setting::SloppyTcp,
            Setting::Ipv4Forwarding,
        ];
        assert_eq!(of(80), translated);
        let persistent = [
            Setting::ExpireNodestConn,
            Setting::ExpireQuiescentTemplate,
            Setting::SloppyTcp,
        ];
        assert_eq!(of(443), persistent);
        assert_eq!(of(8080), [], "there is no such service");
    }

    #[test]
    fn a_lack_says_what_is_and_the_command_that_helps() {
        let directory = Directory::new();
        let settings = zeroes(&directory, Policy::Verify);
        let path = settings.directory.join(Setting::SloppyTcp.path());
        fs::remove_file(path).unwrap();
        let table: Table = [entry(80, &[(1, 1)])].into_iter().collect();
        let lacks = settings.lacks(&wanted(&table));
        let commands: Vec<_> = lacks.iter().map(Lack::command).collect();
        assert_eq!(
            commands,
            [
                "sysctl -w net.ipv4.vs.expire_nodest_conn=1",
                "sysctl -w net.ipv4.ip_forward=1"
            ]
        );
        assert_eq!(lacks[0].is, Some(0));
        settings.write(&lacks[1]).unwrap();
        assert_eq!(settings.lacks(&wanted(&table)), lacks[..1]);
    }

    #[test]
    fn what_is_needed_and_cannot_be_read_is_a_lack() {
        let settings = SystemSettings {
            directory: "/nonexistent".into(),
            policy: Policy::Verify,
        };
        let table: Table = [entry(80, &[(1, 1)])].into_iter().collect();
        let lacks = settings.lacks(&wanted(&table));
        assert_eq!(lacks.len(), 1);
        assert_eq!(
            (lacks[0].setting, lacks[0].is),
            (Setting::Ipv4Forwarding, None)
        );
    }

    #[test]
    fn only_what_nobody_changed_since_is_put_back() {
        let directory = Directory::new();
        let settings = zeroes(&directory, Policy::Write);
        let setting = Setting::Ipv4Forwarding;
        assert!(!settings.restore(setting, 0).unwrap(), "it is 0 already");
        settings.set(setting, 1).unwrap();
        assert!(settings.restore(setting, 0).unwrap());
        assert_eq!(settings.read(setting).unwrap(), 0);
        settings.set(setting, 2).unwrap();
        assert!(!settings.restore(setting, 0).unwrap());
        assert_eq!(settings.read(setting).unwrap(), 2);
    }
}
