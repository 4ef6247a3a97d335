//! The ledger: a file that says which addresses and settings are ours, so that whoever comes after a crash
//! knows what to clean up.
//!
//! Written when a plan arrives, before anything of it can be installed, by rename and without fsync: a ledger
//! does not outlive the machine's boot anyway. A file of another boot, network namespace or instance, or one
//! that cannot be read, is worth nothing and is discarded.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use vipkeeper_vrrp::Ifindex;

use super::kernel::{Address, Setting};

/// The first line; another version is discarded.
const MAGIC: &str = "vipkeeper-ledger 1";
/// The last line: what lacks it is cut off.
pub(crate) const END: &str = "end";
/// A ledger is shorter than this, by far.
const MAX_BYTES: u64 = 16 << 20;

/// To whom a ledger belongs: nobody else may believe it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The kernel's name for this boot.
    pub boot: String,
    /// The inode of the network namespace.
    pub namespace: u64,
    /// `--instance`.
    pub instance: String,
}

impl Identity {
    /// This boot, this process's network namespace, and `instance`.
    ///
    /// # Errors
    /// If /proc is not there.
    pub fn of_this_process(instance: &str) -> io::Result<Self> {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
        Ok(Self {
            boot: boot.trim().to_owned(),
            namespace: fs::metadata("/proc/self/ns/net")?.ino(),
            instance: instance.to_owned(),
        })
    }
}

/// What is ours.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rows {
    /// Addresses that are, or may come to be, on an interface because of us.
    pub addresses: BTreeSet<(Ifindex, Address)>,
    /// The values that settings had before we changed them.
    pub originals: BTreeMap<(Ifindex, Setting), u32>,
}

/// Why a ledger was not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Discarded {
    /// It belongs to somebody else.
    #[error("it was written in another boot, network namespace or instance")]
    NotOurs,
    /// It is not what we write.
    #[error("line {0} is not one of a ledger")]
    Line(usize),
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Unreadable(String),
}

/// The file and what it says.
#[derive(Debug)]
pub struct Ledger {
    path: PathBuf,
    identity: Identity,
    rows: Rows,
}

impl Ledger {
    /// Reads the ledger at `path`. A missing one is empty; why another one is taken for empty comes with it.
    #[must_use]
    pub fn open(path: PathBuf, identity: Identity) -> (Self, Option<Discarded>) {
        let (rows, discarded) = match read(&path) {
            Ok(None) => (Rows::default(), None),
            Ok(Some(text)) => match parse(&text, &identity) {
                Ok(rows) => (rows, None),
                Err(reason) => (Rows::default(), Some(reason)),
            },
            Err(error) => {
                let reason = Discarded::Unreadable(error.to_string());
                (Rows::default(), Some(reason))
            }
        };
        let ledger = Self {
            path,
            identity,
            rows,
        };
        (ledger, discarded)
    }

    /// The ledger at `path` as another process of the same identity has it: its `text`.
    ///
    /// # Errors
    /// If it is not believed; for one because that process lives in another network namespace.
    pub fn take_over(path: PathBuf, identity: Identity, text: &str) -> Result<Self, Discarded> {
        let rows = parse(text, &identity)?;
        Ok(Self {
            path,
            identity,
            rows,
        })
    }

    /// Its text.
    #[must_use]
    pub fn text(&self) -> String {
        render(&self.rows, &self.identity)
    }

    /// What it says.
    #[must_use]
    pub const fn rows(&self) -> &Rows {
        &self.rows
    }

    /// Makes it say `rows`; does nothing if it does already.
    ///
    /// # Errors
    /// If the file cannot be written; the rows are known here all the same.
    pub fn save(&mut self, rows: Rows) -> io::Result<()> {
        if rows == self.rows && self.path.exists() {
            return Ok(());
        }
        self.rows = rows;
        replace(&self.path, &render(&self.rows, &self.identity))
    }
}

/// Makes `text` the file at `path`, at once: no reader sees a part of it.
///
/// # Errors
/// If it cannot be written.
pub(crate) fn replace(path: &Path, text: &str) -> io::Result<()> {
    let beside = path.with_extension("new");
    fs::write(&beside, text)?;
    fs::rename(&beside, path)
}

/// The text at `path`, `None` if there is no file.
///
/// # Errors
/// If it cannot be read.
pub(crate) fn read(path: &Path) -> io::Result<Option<String>> {
    let file = match fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut text = String::new();
    file.take(MAX_BYTES).read_to_string(&mut text)?;
    Ok(Some(text))
}

/// A ledger as text.
#[must_use]
pub fn render(rows: &Rows, identity: &Identity) -> String {
    let mut text = header(MAGIC, identity);
    // Writing to a String cannot fail.
    for (
        interface,
        Address {
            address,
            prefix_length,
        },
    ) in &rows.addresses
    {
        writeln!(text, "address {interface} {address} {prefix_length}").ok();
    }
    for ((interface, setting), value) in &rows.originals {
        writeln!(text, "original {interface} {} {value}", setting.as_str()).ok();
    }
    text.push_str(END);
    text.push('\n');
    text
}

/// The lines before the rows, of a ledger whose first is `magic`.
pub(crate) fn header(magic: &str, identity: &Identity) -> String {
    let Identity {
        boot,
        namespace,
        instance,
    } = identity;
    format!("{magic}\nboot {boot}\nnamespace {namespace}\ninstance {instance}\n")
}

/// The rows of a ledger that belongs to `identity`.
///
/// # Errors
/// Why it is not believed.
pub fn parse(text: &str, identity: &Identity) -> Result<Rows, Discarded> {
    let mut rows = Rows::default();
    for (number, line) in lines(text, MAGIC, identity)? {
        row(line, &mut rows).ok_or(Discarded::Line(number))?;
    }
    Ok(rows)
}

/// The lines that are rows, with their numbers, of a ledger whose first line is `magic` and that belongs to `identity`.
///
/// # Errors
/// Why it is not believed.
pub(crate) fn lines<'a>(
    text: &'a str,
    magic: &str,
    identity: &Identity,
) -> Result<Vec<(usize, &'a str)>, Discarded> {
    let mut lines = (1..).zip(text.lines());
    let mut next = || lines.next().unwrap_or((0, ""));
    if next().1 != magic {
        return Err(Discarded::Line(1));
    }
    for (name, ours) in [
        ("boot", identity.boot.clone()),
        ("namespace", identity.namespace.to_string()),
        ("instance", identity.instance.clone()),
    ] {
        let (number, line) = next();
        let theirs = line
            .strip_prefix(name)
            .and_then(|rest| rest.strip_prefix(' '))
            .ok_or(Discarded::Line(number))?;
        if theirs != ours {
            return Err(Discarded::NotOurs);
        }
    }
    let mut rows = Vec::new();
    loop {
        let (number, line) = next();
        match line {
            END => return Ok(rows),
            // A ledger that is cut off.
            "" => return Err(Discarded::Line(number)),
            line => rows.push((number, line)),
        }
    }
}

/// Reads one row into `rows`.
fn row(line: &str, rows: &mut Rows) -> Option<()> {
    let mut words = line.split(' ');
    let kind = words.next()?;
    let interface = Ifindex::new(words.next()?.parse().ok()?)?;
    match kind {
        "address" => {
            let address: std::net::IpAddr = words.next()?.parse().ok()?;
            let prefix_length = words.next()?.parse().ok()?;
            let longest = if address.is_ipv4() { 32 } else { 128 };
            if prefix_length > longest {
                return None;
            }
            rows.addresses.insert((
                interface,
                Address {
                    address,
                    prefix_length,
                },
            ));
        }
        "original" => {
            let name = words.next()?;
            let setting = Setting::ALL.into_iter().find(|s| s.as_str() == name)?;
            rows.originals
                .insert((interface, setting), words.next()?.parse().ok()?);
        }
        _ => return None,
    }
    words.next().is_none().then_some(())
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(in crate::network) fn identity() -> Identity {
        Identity {
            boot: "b3f1a9a6-0f54-4b58-8a6c-7b8c1d0e2f3a".to_owned(),
            namespace: 4_026_531_840,
            instance: "default".to_owned(),
        }
    }

    fn rows() -> Rows {
        let two = Ifindex::new(2).unwrap();
        let seven = Ifindex::new(7).unwrap();
        Rows {
            addresses: [
                (two, "192.0.2.100", 32),
                (two, "2001:db8::100", 128),
                (seven, "192.0.2.100", 24),
            ]
            .into_iter()
            .map(|(interface, address, prefix_length)| {
                let address = address.parse().unwrap();
                (
                    interface,
                    Address {
                        address,
                        prefix_length,
                    },
                )
            })
            .collect(),
            originals: [
                ((two, Setting::ArpIgnore), 0),
                ((two, Setting::ArpAnnounce), 1),
            ]
            .into(),
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let text = render(&rows(), &identity());
        assert_eq!(parse(&text, &identity()), Ok(rows()));
    }

    #[test]
    fn a_ledger_of_another_boot_namespace_or_instance_is_discarded() {
        let text = render(&rows(), &identity());
        let others = [
            Identity {
                boot: "another".to_owned(),
                ..identity()
            },
            Identity {
                namespace: 1,
                ..identity()
            },
            Identity {
                instance: "second".to_owned(),
                ..identity()
            },
        ];
        for other in others {
            assert_eq!(parse(&text, &other), Err(Discarded::NotOurs));
        }
    }

    #[test]
    fn a_ledger_that_is_cut_off_anywhere_is_discarded() {
        let text = render(&rows(), &identity());
        let whole = text.trim_end().len();
        for length in 0..whole {
            assert!(parse(&text[..length], &identity()).is_err(), "{length}");
        }
    }

    #[test]
    fn a_missing_ledger_is_empty_and_a_saved_one_is_there_again() {
        let directory = crate::scratch::Directory::new();
        let path = directory.path().join("ledger");
        let (mut ledger, discarded) = Ledger::open(path.clone(), identity());
        assert_eq!((ledger.rows(), discarded), (&Rows::default(), None));
        ledger.save(rows()).unwrap();
        let (ledger, discarded) = Ledger::open(path, identity());
        assert_eq!((ledger.rows(), discarded), (&rows(), None));
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in any::<String>()) {
            let text = text.as_str();
            prop_assert!(parse(text, &identity()).is_err());
        }

        #[test]
        fn no_row_makes_the_parser_panic(row in "(address|original) [0-9a-f.: ]{0,40}") {
            let header = render(&Rows::default(), &identity());
            let text = header.replace("end\n", &format!("{row}\nend\n"));
            let whole = parse(&text, &identity());
            if let Ok(rows) = whole {
                prop_assert_eq!(parse(&render(&rows, &identity()), &identity()), Ok(rows));
            }
        }
    }
}
