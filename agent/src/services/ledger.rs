//! The ledger: a file that says which services of IPVS, which table of nftables and which settings are ours, so that whoever comes after a crash, or takes over,
//! knows which to adopt and which to remove.
//!
//! Written before the kernel is told to add a service and after it has removed one; by rename and without fsync, for
//! it does not outlive the machine's boot anyway. A file of another boot, network namespace or instance, or one that
//! cannot be read, is worth nothing and is discarded.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

use vipkeeper_ipvs::{Family, Protocol, ServiceKey};

use super::settings::Setting;
use crate::network::ledger::{Discarded, END, Identity, header, lines, read, replace};

/// The first line; another version is discarded.
const MAGIC: &str = "vipkeeper-services 1";

/// The row of our table of nftables.
const FIREWALL: &str = "nftables";

/// What is ours.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rows {
    /// Services that are, or may come to be, in the kernel because of us.
    pub services: BTreeSet<ServiceKey>,
    /// Whether our table of nftables is, or may come to be, in the kernel.
    pub has_firewall: bool,
    /// The values that settings had before we changed them.
    pub originals: BTreeMap<Setting, u32>,
}

/// The file and what it says.
#[derive(Debug)]
pub struct Ledger {
    path: PathBuf,
    identity: Identity,
    rows: Rows,
    /// Whether the file says the same as `rows`.
    is_written: bool,
}

impl Ledger {
    /// Reads the ledger at `path`. A missing one is empty; why another one is taken for empty comes with it.
    #[must_use]
    pub fn open(path: PathBuf, identity: Identity) -> (Self, Option<Discarded>) {
        let outcome = load(&path, &identity);
        let is_written = matches!(outcome, Ok(Some(_)));
        let (rows, discarded) = match outcome {
            Ok(rows) => (rows.unwrap_or_default(), None),
            Err(reason) => (Rows::default(), Some(reason)),
        };
        let ledger = Self {
            path,
            identity,
            rows,
            is_written,
        };
        (ledger, discarded)
    }

    /// The instance that it is of.
    #[must_use]
    pub fn instance(&self) -> &str {
        &self.identity.instance
    }

    /// What it says.
    #[must_use]
    pub const fn rows(&self) -> &Rows {
        &self.rows
    }

    /// Reads the file again, for another process of the same identity may have written it: what either calls ours is ours.
    /// What is known here stays whatever has become of the file.
    ///
    /// # Errors
    /// If the file is not believed; the next [`Self::save`] replaces it.
    pub fn read_again(&mut self) -> Result<(), Discarded> {
        self.is_written = false;
        let Some(theirs) = load(&self.path, &self.identity)? else {
            return Ok(());
        };
        self.rows.services.extend(&theirs.services);
        self.rows.has_firewall |= theirs.has_firewall;
        for (setting, original) in &theirs.originals {
            // Ours is from before theirs.
            self.rows.originals.entry(*setting).or_insert(*original);
        }
        self.is_written = self.rows == theirs;
        Ok(())
    }

    /// Makes it say `rows`; does nothing if it does already.
    ///
    /// # Errors
    /// If the file cannot be written; the rows are known here all the same, and the next call tries again.
    pub fn save(&mut self, rows: Rows) -> io::Result<()> {
        if rows != self.rows {
            self.rows = rows;
            self.is_written = false;
        }
        if !self.is_written {
            replace(&self.path, &render(&self.rows, &self.identity))?;
            self.is_written = true;
        }
        Ok(())
    }
}

/// The rows of the file at `path`, if there is one.
fn load(path: &Path, identity: &Identity) -> Result<Option<Rows>, Discarded> {
    match read(path) {
        Ok(None) => Ok(None),
        Ok(Some(text)) => parse(&text, identity).map(Some),
        Err(error) => Err(Discarded::Unreadable(error.to_string())),
    }
}

/// A ledger as text.
fn render(rows: &Rows, identity: &Identity) -> String {
    let mut text = header(MAGIC, identity);
    // Writing to a String cannot fail.
    for key in &rows.services {
        match key {
            ServiceKey::Address {
                protocol,
                address,
                port,
            } => writeln!(text, "service {} {address} {port}", u16::from(*protocol)),
            ServiceKey::Mark { family, mark } => writeln!(text, "mark {family} {mark}"),
        }
        .ok();
    }
    for (setting, original) in &rows.originals {
        writeln!(text, "original {setting} {original}").ok();
    }
    if rows.has_firewall {
        text.push_str(FIREWALL);
        text.push('\n');
    }
    text.push_str(END);
    text.push('\n');
    text
}

/// The rows of a ledger that belongs to `identity`.
fn parse(text: &str, identity: &Identity) -> Result<Rows, Discarded> {
    let mut rows = Rows::default();
    for (number, line) in lines(text, MAGIC, identity)? {
        row(line, &mut rows).ok_or(Discarded::Line(number))?;
    }
    Ok(rows)
}

/// Reads one row into `rows`.
fn row(line: &str, rows: &mut Rows) -> Option<()> {
    if line == FIREWALL {
        rows.has_firewall = true;
        return Some(());
    }
    let mut words = line.split(' ');
    let key = match words.next()? {
        "service" => ServiceKey::Address {
            protocol: Protocol::from(words.next()?.parse::<u16>().ok()?),
            address: words.next()?.parse().ok()?,
            port: words.next()?.parse().ok()?,
        },
        "mark" => {
            let name = words.next()?;
            let family = [Family::V4, Family::V6]
                .into_iter()
                .find(|family| family.to_string() == name)?;
            ServiceKey::Mark {
                family,
                mark: words.next()?.parse().ok()?,
            }
        }
        "original" => {
            let name = words.next()?;
            let setting = Setting::ALL
                .into_iter()
                .find(|setting| setting.to_string() == name)?;
            rows.originals.insert(setting, words.next()?.parse().ok()?);
            return words.next().is_none().then_some(());
        }
        _ => return None,
    };
    rows.services.insert(key);
    words.next().is_none().then_some(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::scratch::Directory;

    fn identity() -> Identity {
        Identity {
            boot: "b3f1a9a6-0f54-4b58-8a6c-7b8c1d0e2f3a".to_owned(),
            namespace: 4_026_531_840,
            instance: "default".to_owned(),
        }
    }

    fn rows() -> Rows {
        let address = |protocol: u16, address: &str, port| ServiceKey::Address {
            protocol: protocol.into(),
            address: address.parse().unwrap(),
            port,
        };
        let mark = |family| ServiceKey::Mark {
            family,
            mark: 7.try_into().unwrap(),
        };
        Rows {
            services: [
                address(6, "192.0.2.1", 80),
                address(17, "2001:db8::1", 53),
                address(132, "192.0.2.1", 0),
                mark(Family::V4),
                mark(Family::V6),
            ]
            .into(),
            has_firewall: true,
            originals: [(Setting::Conntrack, 0), (Setting::Ipv6Forwarding, 2)].into(),
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let text = render(&rows(), &identity());
        assert_eq!(parse(&text, &identity()), Ok(rows()));
    }

    #[test]
    fn a_ledger_of_somebody_else_or_cut_off_is_discarded() {
        let text = render(&rows(), &identity());
        let other = Identity {
            instance: "second".to_owned(),
            ..identity()
        };
        assert_eq!(parse(&text, &other), Err(Discarded::NotOurs));
        for length in 0..text.trim_end().len() {
            assert!(parse(&text[..length], &identity()).is_err(), "{length}");
        }
    }

    #[test]
    fn the_ledger_of_addresses_is_none_of_services() {
        let theirs = crate::network::ledger::render(&Default::default(), &identity());
        assert_eq!(parse(&theirs, &identity()), Err(Discarded::Line(1)));
    }

    #[test]
    fn a_saved_ledger_is_there_again_and_not_written_twice() {
        let directory = Directory::new();
        let path = directory.path().join("services");
        let (mut ledger, discarded) = Ledger::open(path.clone(), identity());
        assert_eq!((ledger.rows(), discarded), (&Rows::default(), None));
        ledger.save(rows()).unwrap();
        std::fs::remove_file(&path).unwrap();
        ledger.save(rows()).unwrap();
        assert!(!path.exists(), "nothing differs");
        ledger.save(Rows::default()).unwrap();
        ledger.save(rows()).unwrap();
        let (ledger, discarded) = Ledger::open(path, identity());
        assert_eq!((ledger.rows(), discarded), (&rows(), None));
    }

    #[test]
    fn what_could_not_be_written_is_written_the_next_time() {
        let directory = Directory::new();
        let below = directory.path().join("later");
        let (mut ledger, _) = Ledger::open(below.join("services"), identity());
        assert!(ledger.save(rows()).is_err());
        assert_eq!(ledger.rows(), &rows());
        std::fs::create_dir(&below).unwrap();
        ledger.save(rows()).unwrap();
        assert!(below.join("services").exists());
    }

    #[test]
    fn what_another_process_wrote_is_added_when_it_is_read_again() {
        let directory = Directory::new();
        let path = directory.path().join("services");
        let all = rows();
        let mut some = all.clone();
        some.services.pop_first();
        some.has_firewall = false;
        some.originals = [(Setting::Conntrack, 1)].into();
        let (mut ours, _) = Ledger::open(path.clone(), identity());
        ours.save(some.clone()).unwrap();
        let (mut theirs, _) = Ledger::open(path.clone(), identity());
        theirs.save(all.clone()).unwrap();
        assert_eq!(ours.read_again(), Ok(()));
        let mut both = all;
        both.originals.insert(Setting::Conntrack, 1);
        assert_eq!(ours.rows(), &both);
        ours.save(both.clone()).unwrap();
        let (ledger, discarded) = Ledger::open(path, identity());
        assert_eq!((ledger.rows(), discarded), (&both, None));
    }

    #[test]
    fn a_file_that_is_gone_or_unreadable_leaves_what_is_known_and_is_written_again() {
        let directory = Directory::new();
        let path = directory.path().join("services");
        let (mut ledger, _) = Ledger::open(path.clone(), identity());
        ledger.save(rows()).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(ledger.read_again(), Ok(()));
        assert_eq!(ledger.rows(), &rows());
        std::fs::write(&path, "nonsense").unwrap();
        assert!(ledger.read_again().is_err());
        assert_eq!(ledger.rows(), &rows());
        ledger.save(rows()).unwrap();
        let (ledger, discarded) = Ledger::open(path, identity());
        assert_eq!((ledger.rows(), discarded), (&rows(), None));
    }

    proptest! {
        #[test]
        fn no_row_makes_the_parser_panic(row in "(service|mark|original) [0-9a-z_IP.: ]{0,40}") {
            let text = render(&Rows::default(), &identity()).replace("end\n", &format!("{row}\nend\n"));
            if let Ok(rows) = parse(&text, &identity()) {
                prop_assert_eq!(parse(&render(&rows, &identity()), &identity()), Ok(rows));
            }
        }
    }
}
