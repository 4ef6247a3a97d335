//! Which endpoints of a Service may serve. Pure.
//!
//! The compiler says the same of real servers in a list, and knows every Node; endpoints come and go without it. Here are
//! known this node and those that share a router with it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use vipkeeper_compiler::Locality;
use vipkeeper_crds::NodeConfigSpec;

/// The nodes by their addresses.
#[derive(Debug)]
pub(super) struct Nodes<'a>(BTreeMap<IpAddr, &'a str>);

impl<'a> Nodes<'a> {
    /// Those that `configs` name, and this one, which has the addresses `own`.
    pub(super) fn of(configs: &'a [NodeConfigSpec], own: &BTreeSet<IpAddr>) -> Self {
        let others = configs.iter().flat_map(|config| &config.others);
        let others = others.flat_map(|o| o.addresses.iter().map(|a| (*a, o.node.as_str())));
        let name = configs.first().map(|config| config.node_name.as_str());
        let own = name
            .into_iter()
            .flat_map(|name| own.iter().map(move |a| (*a, name)));
        Self(others.chain(own).collect())
    }
}

/// What is asked of the endpoints for one router's servers.
#[derive(Debug)]
pub(super) struct Gate<'a> {
    nodes: &'a Nodes<'a>,
    router: &'a str,
    virtual_addresses: BTreeSet<IpAddr>,
}

impl<'a> Gate<'a> {
    /// That of the router of `config`.
    pub(super) fn of(config: &'a NodeConfigSpec, nodes: &'a Nodes<'a>) -> Self {
        let addresses = config.families.iter().flat_map(|f| &f.addresses);
        Self {
            nodes,
            router: &config.router,
            virtual_addresses: addresses.map(|a| a.address).collect(),
        }
    }

    /// Why the endpoint at `address` may not serve, if so; `trusted` is whether the router lets it be a node.
    pub(super) fn why_not(&self, address: IpAddr, trusted: bool) -> Option<Arc<str>> {
        let router = self.router;
        let what = match Locality::of(address) {
            Locality::Nowhere(why) => return Some(why.into()),
            Locality::Host | Locality::Local(_) if self.virtual_addresses.contains(&address) => {
                let why = format!("an address of VirtualRouter {router} itself");
                return Some(why.into());
            }
            Locality::Host | Locality::Local(_) if trusted => return None,
            Locality::Local(what) => what.to_owned(),
            Locality::Host => format!("an address of node {}", self.nodes.0.get(&address)?),
        };
        let why = format!("{what}, which takes spec.attach.trusted of VirtualRouter {router}");
        Some(why.into())
    }
}
