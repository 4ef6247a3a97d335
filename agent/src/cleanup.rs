//! `vipkeeper-agent cleanup`: what an instance left on this machine goes, and each piece is told.
//!
//! For the time after a crash that nobody restarts the agent after, and before an uninstallation. Refuses beside an
//! agent of the same instance: what that one has is in use.

use std::fs;
use std::io::Write;
use std::path::Path;

use anyhow::{Context as _, bail};
use vipkeeper_vrrp::Ifindex;

use crate::home;
use crate::network::cleanup::{Cleaned, clean};
use crate::network::ledger::{Identity, Ledger};
use crate::network::rtnetlink::Rtnetlink;
use crate::services::{self, Netlink};

/// The ledger of services in a state directory.
const SERVICES: &str = "services";

/// Cleans up after the instance called `instance` whose state directory is `state_dir`; tells what to `out`.
///
/// # Errors
/// If an agent of the instance runs, or something could not be taken away.
pub fn run(instance: &str, state_dir: &Path, out: &mut impl Write) -> anyhow::Result<()> {
    let addresses = state_dir.join("ledger");
    let services = state_dir.join(SERVICES);
    if !addresses.exists() && !services.exists() {
        return say(out, "nothing to clean up: there is no ledger");
    }
    let Some(_lock) = home::lock(&state_dir.join("lock"))? else {
        bail!("an agent of instance {instance} runs, and needs what it has: stop it first");
    };
    let identity = Identity::of_this_process(instance).context("the ledger's identity")?;
    // Addresses before the services that they lead to.
    if addresses.exists() {
        clean_addresses(&addresses, identity.clone(), out)?;
    }
    if services.exists() {
        clean_services(&services, identity, out)?;
    }
    Ok(())
}

fn clean_addresses(path: &Path, identity: Identity, out: &mut impl Write) -> anyhow::Result<()> {
    let (ledger, discarded) = Ledger::open(path.to_owned(), identity);
    if let Some(reason) = discarded {
        bail!("{}: nothing is touched, because {reason}", path.display());
    }
    let mut kernel = Rtnetlink::open().context("netlink")?;
    let cleaned = clean(&mut kernel, ledger.rows()).context("asking the kernel")?;
    tell(&cleaned, out)?;
    if !cleaned.is_complete() {
        bail!("something is left; the ledger is kept for another attempt");
    }
    fs::remove_file(path).with_context(|| path.display().to_string())
}

fn clean_services(path: &Path, identity: Identity, out: &mut impl Write) -> anyhow::Result<()> {
    let (ledger, discarded) = services::ledger::Ledger::open(path.to_owned(), identity);
    if let Some(reason) = discarded {
        bail!("{}: nothing is touched, because {reason}", path.display());
    }
    let before = ledger.rows().clone();
    let finished = services::clean(Netlink::default(), ledger)?;
    for service in &before.services {
        match finished.left.iter().find(|(left, _)| left == service) {
            None => say(out, &format!("removed {service} from IPVS"))?,
            Some((_, why)) => say(out, &format!("could not remove {service} from IPVS: {why}"))?,
        }
    }
    match &finished.firewall {
        Some(why) => say(
            out,
            &format!("could not remove the table of nftables: {why}"),
        )?,
        None if before.has_firewall => say(out, "removed the table of nftables")?,
        None => {}
    }
    for setting in &finished.restored {
        say(out, &format!("restored {setting}"))?;
    }
    for (setting, why) in &finished.unrestored {
        say(out, &format!("could not restore {setting}: {why}"))?;
    }
    if !finished.is_complete() {
        bail!("something is left; the ledger of services is kept for another attempt");
    }
    fs::remove_file(path).with_context(|| path.display().to_string())
}

fn tell(cleaned: &Cleaned, out: &mut impl Write) -> anyhow::Result<()> {
    for (interface, address) in &cleaned.removed {
        let (address, length) = (address.address, address.prefix_length);
        say(
            out,
            &format!("removed {address}/{length} from {}", name(*interface)),
        )?;
    }
    for (interface, setting, original) in &cleaned.restored {
        let (name, setting) = (name(*interface), setting.as_str());
        say(out, &format!("restored {setting} of {name} to {original}"))?;
    }
    for (interface, address) in &cleaned.tag_only {
        let name = name(*interface);
        say(
            out,
            &format!("left {address} on {name}: another instance's, it is not in this ledger"),
        )?;
    }
    for ((interface, address), errno) in &cleaned.kept {
        let (address, name) = (address.address, name(*interface));
        say(
            out,
            &format!("could not remove {address} from {name}: {errno}"),
        )?;
    }
    for (interface, setting, error) in &cleaned.failed {
        let name = name(*interface);
        say(
            out,
            &format!("could not restore {setting} of {name}: {error}"),
        )?;
    }
    if cleaned.is_nothing() {
        say(out, "nothing to clean up: all of it is gone")?;
    }
    Ok(())
}

fn say(out: &mut impl Write, line: &str) -> anyhow::Result<()> {
    writeln!(out, "{line}").context("standard output")
}

/// An interface's name, or its number if it is gone.
fn name(interface: Ifindex) -> String {
    let name = nix::net::if_::if_indextoname(interface.get()).ok();
    let name = name.and_then(|name| name.into_string().ok());
    name.unwrap_or_else(|| format!("interface {interface}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::ledger::Rows;
    use crate::scratch::Directory;

    fn said(directory: &Directory) -> (Result<(), String>, String) {
        let mut out = Vec::new();
        let outcome = run("default", directory.path(), &mut out);
        let outcome = outcome.map_err(|error| format!("{error:#}"));
        (outcome, String::from_utf8(out).unwrap())
    }

    #[test]
    fn without_a_ledger_there_is_nothing_to_do_and_nothing_is_made() {
        let directory = Directory::new();
        let (outcome, said) = said(&directory);
        assert_eq!(outcome, Ok(()));
        assert!(said.starts_with("nothing to clean up"), "{said}");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn beside_a_running_agent_it_refuses() {
        let directory = Directory::new();
        fs::write(directory.path().join("ledger"), "").unwrap();
        let _agent = home::lock(&directory.path().join("lock")).unwrap().unwrap();
        let (outcome, _) = said(&directory);
        assert!(outcome.unwrap_err().contains("stop it first"));
    }

    #[test]
    fn a_ledger_of_services_that_names_none_is_removed() {
        let directory = Directory::new();
        let path = directory.path().join(SERVICES);
        let identity = Identity::of_this_process("default").unwrap();
        let rows = services::ledger::Rows {
            services: [vipkeeper_ipvs::ServiceKey::Mark {
                family: vipkeeper_ipvs::Family::V4,
                mark: 7.try_into().unwrap(),
            }]
            .into(),
            ..Default::default()
        };
        let (mut ledger, _) = services::ledger::Ledger::open(path.clone(), identity);
        ledger.save(rows).unwrap();
        ledger.save(services::ledger::Rows::default()).unwrap();
        let (outcome, _) = said(&directory);
        assert_eq!(outcome, Ok(()));
        assert!(!path.exists());
    }

    #[test]
    fn a_ledger_of_services_that_is_not_this_instances_is_not_touched() {
        let directory = Directory::new();
        let path = directory.path().join(SERVICES);
        fs::write(&path, "somebody else's").unwrap();
        let (outcome, _) = said(&directory);
        assert!(outcome.unwrap_err().contains("nothing is touched"));
        assert!(path.exists());
    }

    #[test]
    fn a_ledger_that_is_not_this_instances_is_not_touched() {
        let directory = Directory::new();
        let path = directory.path().join("ledger");
        let other = Identity::of_this_process("other").unwrap();
        let (mut ledger, _) = Ledger::open(path.clone(), other);
        ledger.save(Rows::default()).unwrap();
        let (outcome, _) = said(&directory);
        assert!(outcome.unwrap_err().contains("nothing is touched"));
        assert!(path.exists());
    }
}
