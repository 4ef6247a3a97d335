//! The virtual routers of others on our links: the evidence for a VRID conflict.
//!
//! Bounded, and each row changes at most once a second, so that a flood of VRIDs costs nothing.

use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use vipkeeper_wire::{Family, Vrid};

use crate::config::Ifindex;
use crate::status::ForeignRouter;
use crate::time::Time;

/// Rows kept; beyond it the one not heard for longest goes.
const ROWS: usize = 256;

/// Between two changes of one row, and between two evictions.
const PAUSE: Duration = Duration::from_secs(1);

/// What was heard.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ForeignRouters {
    rows: Vec<ForeignRouter>,
    last_eviction: Time,
}

/// An advertisement that belongs to no router here.
pub(crate) struct Stranger<A> {
    pub(crate) interface: Ifindex,
    pub(crate) vrid: Vrid,
    pub(crate) source: IpAddr,
    pub(crate) addresses: A,
}

impl ForeignRouters {
    /// The rows, oldest acquaintance first.
    pub(crate) fn rows(&self) -> &[ForeignRouter] {
        &self.rows
    }

    /// Forgets the rows that are not to `keep`.
    pub(crate) fn retain(&mut self, keep: impl FnMut(&ForeignRouter) -> bool) {
        self.rows.retain(keep);
    }

    /// Notes a valid advertisement of an unknown VRID.
    pub(crate) fn note<A>(&mut self, stranger: Stranger<A>, now: Time)
    where
        A: Iterator<Item = IpAddr>,
    {
        let Stranger {
            interface,
            vrid,
            source,
            addresses,
        } = stranger;
        let known = self
            .rows
            .iter_mut()
            .find(|r| r.interface == interface && r.vrid == vrid && r.source == source);
        if let Some(row) = known {
            if now.since(row.last_heard) >= PAUSE {
                row.last_heard = now;
                row.addresses_hash = list_hash(addresses);
            }
            return;
        }
        if self.rows.len() == ROWS && !self.evict(now) {
            return;
        }
        self.rows.push(ForeignRouter {
            interface,
            family: Family::of(&source),
            vrid,
            source,
            addresses_hash: list_hash(addresses),
            last_heard: now,
        });
    }

    /// Makes room, at most once a second; says whether there is room.
    fn evict(&mut self, now: Time) -> bool {
        if now.since(self.last_eviction) < PAUSE {
            return false;
        }
        self.last_eviction = now;
        let oldest = (0..self.rows.len()).min_by_key(|&i| self.rows[i].last_heard);
        if let Some(oldest) = oldest {
            self.rows.remove(oldest);
        }
        true
    }
}

/// A hash of an address list that does not depend on its order: the sum of each address's FNV-1a.
pub(crate) fn list_hash(addresses: impl Iterator<Item = IpAddr>) -> u64 {
    addresses
        .map(|a| address_hash(&a))
        .fold(0, u64::wrapping_add)
}

fn address_hash(address: &IpAddr) -> u64 {
    let fold = |bytes: &[u8]| {
        bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        })
    };
    match address {
        IpAddr::V4(v4) => fold(&v4.octets()),
        IpAddr::V6(v6) => fold(&v6.octets()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stranger(source: u16, addresses: &[u8]) -> Stranger<impl Iterator<Item = IpAddr>> {
        let [high, low] = source.to_be_bytes();
        Stranger {
            interface: Ifindex::new(2).unwrap(),
            vrid: Vrid::new(7).unwrap(),
            source: IpAddr::from([10, 0, high, low]),
            addresses: addresses.iter().map(|&a| IpAddr::from([192, 0, 2, a])),
        }
    }

    fn at(millis: u64) -> Time {
        Time::ZERO + Duration::from_millis(millis)
    }

    #[test]
    fn a_row_changes_at_most_once_a_second() {
        let mut foreign = ForeignRouters::default();
        foreign.note(stranger(1, &[1]), at(5_000));
        foreign.note(stranger(1, &[2]), at(5_999));
        let first = foreign.rows()[0];
        assert_eq!(first.last_heard, at(5_000));
        foreign.note(stranger(1, &[2]), at(6_000));
        assert_ne!(foreign.rows()[0].addresses_hash, first.addresses_hash);
        assert_eq!(foreign.rows().len(), 1);
    }

    #[test]
    fn a_flood_of_senders_neither_grows_the_table_nor_empties_it() {
        let mut foreign = ForeignRouters::default();
        for source in 0..10_000 {
            foreign.note(stranger(source, &[1]), at(5_000));
        }
        assert_eq!(foreign.rows().len(), ROWS);
        let survivors = foreign
            .rows()
            .iter()
            .filter(|r| r.source < IpAddr::from([10, 0, 1, 0]));
        assert_eq!(survivors.count(), ROWS - 1);
    }

    #[test]
    fn the_hash_ignores_the_order_of_a_list_and_nothing_else() {
        let hash = |list: &[u8]| list_hash(list.iter().map(|&a| IpAddr::from([192, 0, 2, a])));
        assert_eq!(hash(&[1, 2, 3]), hash(&[3, 1, 2]));
        assert_ne!(hash(&[1, 2, 3]), hash(&[1, 2, 4]));
        assert_ne!(hash(&[1, 2]), hash(&[1, 2, 2]));
    }
}
