//! What changes hands: everything that the old process knows and the new one cannot find out by itself.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use vipkeeper_vrrp::{Fact, Time};

use crate::election::LinkKey;
use crate::election::link::SOCKETS;
use crate::network;

/// The estate, but for its descriptors. They follow in this order: the locks of the state directory and the run
/// directory, the listener, and the sockets of each link.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Estate<E> {
    /// `--node`: who else would go on with this election?
    pub(super) node: String,
    /// How long the old process waits for `Ready`.
    pub(super) limit: Duration,
    /// The election, frozen; its own format is in it.
    pub(super) election: E,
    /// When it was run last.
    pub(super) last_wake: Time,
    /// Answers of the network thread that it has not read.
    pub(super) answers: Vec<Fact>,
    /// What the network thread holds.
    pub(super) network: network::Frozen,
    /// The links, in the order of their descriptors.
    pub(super) links: Vec<LinkEstate>,
    /// `--listen`: another one is not what the listener listens on.
    pub(super) listen: String,
}

/// One link.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LinkEstate {
    /// Its interface and family.
    pub(super) key: LinkKey,
    /// The groups that its sockets have joined.
    pub(super) groups: BTreeSet<IpAddr>,
}

/// Descriptors before those of the links.
pub(super) const SHARED: usize = 3;

impl<E> Estate<E> {
    /// How many descriptors follow.
    pub(super) const fn descriptors(&self) -> usize {
        SHARED + SOCKETS * self.links.len()
    }
}
