//! What an agent reports of its node, as the compiler takes it.

use std::collections::BTreeSet;
use std::net::IpAddr;

use vipkeeper_crds::VirtualRouter;
use vipkeeper_crds::status::{ForeignRouter, NodeInventory};

use crate::{Foreign, ReportedInterface, memory};

/// The interfaces. What does not parse is not counted: an agent writes them.
#[must_use]
pub fn interfaces(inventory: &NodeInventory) -> Vec<ReportedInterface> {
    let interfaces = inventory.interfaces.iter();
    interfaces
        .map(|interface| ReportedInterface {
            name: interface.name.clone(),
            prefixes: interface
                .prefixes
                .iter()
                .filter_map(|p| prefix(p))
                .collect(),
            default_route: interface.default_routes.iter().copied().collect(),
        })
        .collect()
}

/// The virtual routers of others that the node hears.
#[must_use]
pub fn foreign(inventory: &NodeInventory) -> BTreeSet<Foreign> {
    let rows = inventory.foreign.iter();
    rows.filter_map(|row| heard(inventory, row)).collect()
}

/// The addresses that the node speaks from.
pub fn own_addresses(inventory: &NodeInventory) -> impl Iterator<Item = IpAddr> {
    let interfaces = inventory.interfaces.iter();
    interfaces.flat_map(|interface| {
        let prefixes = interface.prefixes.iter().filter_map(|p| prefix(p));
        let link_local = interface.link_local.iter().filter_map(|a| a.parse().ok());
        prefixes.map(|(address, _)| address).chain(link_local)
    })
}

/// Those of `heard` that are not ours. A node that takes no part in one of `routers` hears those that do, which speak
/// from `speakers`.
pub fn strangers<'a>(
    heard: impl IntoIterator<Item = Foreign>,
    speakers: &BTreeSet<IpAddr>,
    routers: impl IntoIterator<Item = &'a VirtualRouter>,
) -> BTreeSet<Foreign> {
    let given = routers.into_iter().filter_map(memory::given);
    let given: BTreeSet<u8> = given.collect();
    let is_ours =
        |f: &Foreign| speakers.contains(&f.source) && given.contains(&f.virtual_router_id);
    heard.into_iter().filter(|f| !is_ours(f)).collect()
}

fn heard(inventory: &NodeInventory, row: &ForeignRouter) -> Option<Foreign> {
    let mut interfaces = inventory.interfaces.iter();
    let interface = interfaces.find(|i| i.name == row.interface);
    let prefixes = interface.into_iter().flat_map(|i| &i.prefixes);
    let mut prefixes = prefixes.filter_map(|p| prefix(p));
    Some(Foreign {
        virtual_router_id: u8::try_from(row.virtual_router_id)
            .ok()
            .filter(|id| *id > 0)?,
        family: row.family,
        source: row.source.parse().ok()?,
        addresses_hash: u64::from_str_radix(&row.addresses_hash, 16).ok(),
        heard_on: prefixes.next(),
    })
}

fn prefix(text: &str) -> Option<(IpAddr, u8)> {
    let (address, length) = text.split_once('/')?;
    Some((address.parse().ok()?, length.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_does_not_parse_is_not_counted() {
        let inventory: NodeInventory = serde_json::from_value(json!({
            "interfaces": [{
                "name": "eth0", "mtu": 1500, "linkLocal": "fe80::1",
                "prefixes": ["nonsense", "192.0.2.1/24"], "defaultRoutes": ["IPv4"],
            }],
            "foreign": [
                {"interface": "eth0", "family": "IPv4", "virtualRouterId": 51, "source": "192.0.2.9",
                    "addressesHash": "00000000000000ff"},
                {"interface": "eth0", "family": "IPv4", "virtualRouterId": 0, "source": "192.0.2.9"},
                {"interface": "eth0", "family": "IPv4", "virtualRouterId": 7, "source": "nobody"},
                {"interface": "gone", "family": "IPv6", "virtualRouterId": 7, "source": "fe80::9"},
            ],
        }))
        .unwrap();
        let prefix = ("192.0.2.1".parse().unwrap(), 24);
        assert_eq!(interfaces(&inventory)[0].prefixes, [prefix]);
        let own: Vec<_> = own_addresses(&inventory).map(|a| a.to_string()).collect();
        assert_eq!(own, ["192.0.2.1", "fe80::1"]);
        let foreign: Vec<_> = foreign(&inventory).into_iter().collect();
        let rows = foreign
            .iter()
            .map(|f| (f.virtual_router_id, f.addresses_hash, f.heard_on));
        let rows: Vec<_> = rows.collect();
        assert_eq!(rows, [(7, None, None), (51, Some(255), Some(prefix))]);
    }
}
