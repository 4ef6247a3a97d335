//! `vipkeeper-agent prepare`: the machine gets what virtual servers need of its kernel, once.
//!
//! For an init container with the privileges that the agent itself does without, or before an agent starts. Loads IPVS
//! by the machine's own modprobe, the only program that is ever started here, and sets settings. Keeps no ledger: what
//! it does stays until the machine restarts. What cannot be done is told and keeps nobody from starting: agents say
//! what is lacking, and the VirtualServers that it concerns.

use std::io::{self, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::Context as _;

use crate::services::SystemSettings;
use crate::services::settings::{Importance, Setting, WANTED};

/// Where programs of a machine are.
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";
/// The module. Schedulers and persistence engines the kernel loads itself when they are asked for.
const MODULE: &str = "ip_vs";

/// Prepares the machine whose file system is at `root`; tells to `out` what was done, and what could not be.
///
/// # Errors
/// If `root` cannot be entered, or nothing can be told.
pub fn run(root: &Path, out: &mut impl Write) -> anyhow::Result<()> {
    if root != Path::new("/") {
        // The machine's modprobe finds its libraries and modules there, and /proc is the machine's.
        std::os::unix::fs::chroot(root).with_context(|| root.display().to_string())?;
        std::env::set_current_dir("/").context("/")?;
    }
    let settings = SystemSettings::default();
    if settings.has_ipvs() {
        writeln!(out, "IPVS: there already")?;
    } else {
        match modprobe() {
            Ok(()) => writeln!(out, "IPVS: loaded")?,
            Err(why) => writeln!(out, "IPVS: modprobe {MODULE}: {why}")?,
        }
    }
    set(&settings, out).context("standard output")
}

fn modprobe() -> Result<(), String> {
    let output = Command::new("modprobe")
        .arg(MODULE)
        .env_clear()
        .env("PATH", PATH)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("{}: {}", output.status, said.trim()))
}

/// Makes each setting what virtual servers need, and tells of each.
fn set(settings: &SystemSettings, out: &mut impl Write) -> io::Result<()> {
    let wanted = Setting::ALL.into_iter().filter(|s| is_harmless(*s));
    let wanted = wanted
        .map(|setting| (setting, Importance::Needed))
        .collect();
    let lacks = settings.lacks(&wanted);
    for setting in wanted.keys() {
        let Some(lack) = lacks.iter().find(|lack| lack.setting == *setting) else {
            writeln!(out, "{setting}: {WANTED} already")?;
            continue;
        };
        match (lack.is, settings.write(lack)) {
            (_, Err(why)) => writeln!(out, "{setting}: cannot be set: {why}")?,
            (Some(was), Ok(())) => writeln!(out, "{setting}: {was}, now {}", lack.wanted)?,
            (None, Ok(())) => writeln!(out, "{setting}: now {}", lack.wanted)?,
        }
    }
    Ok(())
}

/// Whether it does no harm where nobody needs it. With IPv6 forwarding a node that learns its routes by router
/// advertisements loses them.
const fn is_harmless(setting: Setting) -> bool {
    match setting {
        Setting::Conntrack
        | Setting::ExpireNodestConn
        | Setting::ExpireQuiescentTemplate
        | Setting::SloppyTcp
        | Setting::SloppySctp
        | Setting::Ipv4Forwarding => true,
        Setting::Ipv6Forwarding => false,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::scratch::Directory;
    use crate::services::settings::Policy;

    /// Settings that exist with the value 0, but for one that is 1 and one that is not there.
    fn settings(directory: &Directory) -> SystemSettings {
        let directory = directory.path().join("sys");
        for setting in Setting::ALL {
            let path = directory.join(setting.path());
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            let is_set = setting == Setting::SloppyTcp;
            fs::write(path, if is_set { "1\n" } else { "0\n" }).unwrap();
        }
        fs::remove_file(directory.join(Setting::SloppySctp.path())).unwrap();
        SystemSettings {
            directory,
            policy: Policy::Verify,
        }
    }

    #[test]
    fn what_is_not_so_is_set_and_what_cannot_be_is_told() {
        let directory = Directory::new();
        let settings = settings(&directory);
        assert!(settings.has_ipvs());
        let mut out = Vec::new();
        set(&settings, &mut out).unwrap();
        let said = String::from_utf8(out).unwrap();
        let lines: Vec<&str> = said.lines().collect();
        assert_eq!(
            lines[..4],
            [
                "net.ipv4.vs.conntrack: 0, now 1",
                "net.ipv4.vs.expire_nodest_conn: 0, now 1",
                "net.ipv4.vs.expire_quiescent_template: 0, now 1",
                "net.ipv4.vs.sloppy_tcp: 1 already",
            ]
        );
        assert!(
            lines[4].starts_with("net.ipv4.vs.sloppy_sctp: cannot be set: No such file"),
            "{said}"
        );
        assert_eq!(lines[5..], ["net.ipv4.ip_forward: 0, now 1"]);
        let six = settings.directory.join(Setting::Ipv6Forwarding.path());
        assert_eq!(fs::read_to_string(six).unwrap(), "0\n");
    }
}
