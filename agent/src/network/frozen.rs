//! What the network thread holds, as a value: one process hands it to its successor, which goes on holding it
//! without a word to the kernel.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use vipkeeper_vrrp::{Fact, Ifindex, RouterId, Time};

use super::holdings::{Holding, Holdings};
use super::kernel::{Address, Kernel};
use super::ledger::Ledger;

/// All that is held, and what is known of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Frozen {
    /// The ledger's text, which also says to whom all this belongs: boot, network namespace, instance.
    pub ledger: String,
    /// Answers that have not reached the election.
    pub answers: Vec<Fact>,
    held: Vec<((Ifindex, IpAddr), Holding)>,
    parked: Vec<(IpAddr, RouterId)>,
    parkable: Vec<(Ifindex, Address)>,
    stuck: Vec<((Ifindex, Address), Time)>,
    planned: Vec<(Ifindex, Address)>,
    foreign: Vec<(Ifindex, IpAddr)>,
}

impl<K: Kernel> Holdings<K> {
    /// What is held, with a ledger that says all of it.
    pub(super) fn freeze(&mut self, answers: Vec<Fact>) -> Frozen {
        self.write_ledger();
        Frozen {
            ledger: self.ledger.text(),
            answers,
            held: pairs(&self.held),
            parked: pairs(&self.parked),
            parkable: self.parkable.iter().copied().collect(),
            stuck: pairs(&self.stuck),
            planned: self.planned.iter().copied().collect(),
            foreign: self.foreign.iter().copied().collect(),
        }
    }

    /// Goes on with what another process held. Asks the kernel nothing and sweeps nothing.
    pub(super) fn take_over(kernel: K, ledger: Ledger, frozen: Frozen) -> Self {
        let mut holdings = Self::empty(kernel, ledger);
        holdings.held = frozen.held.into_iter().collect();
        holdings.parked = frozen.parked.into_iter().collect();
        holdings.parkable = frozen.parkable.into_iter().collect();
        holdings.stuck = frozen.stuck.into_iter().collect();
        holdings.planned = frozen.planned.into_iter().collect();
        holdings.foreign = frozen.foreign.into_iter().collect();
        holdings
    }
}

fn pairs<K: Copy, V: Copy>(map: &std::collections::BTreeMap<K, V>) -> Vec<(K, V)> {
    map.iter().map(|(key, value)| (*key, *value)).collect()
}
