//! Encoded advertisements, kept for as long as nothing in them changes: an Active sends the same bytes every
//! interval.

use std::net::IpAddr;
use std::sync::Arc;

use vipkeeper_wire::Family;
use vipkeeper_wire::vrrp::{Advertisement, Body, ChecksumForm, Endpoints};

use crate::config::{Protocol, RouterConfig};

/// More than any router uses at once: peers × checksum forms × (own priority, zero).
const ROWS: usize = 128;

/// What distinguishes the advertisements of one router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Variant {
    pub(crate) priority: u8,
    pub(crate) form: ChecksumForm,
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
}

/// The advertisements encoded so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Frames {
    rows: Vec<(Variant, Arc<[u8]>)>,
}

impl Frames {
    /// Forgets everything: the configuration changed.
    pub(crate) fn clear(&mut self) {
        self.rows.clear();
    }

    /// The bytes of `variant`. `None` only if the configuration cannot be encoded, which
    /// [`RouterConfig::validate`] excludes.
    pub(crate) fn get(&mut self, config: &RouterConfig, variant: Variant) -> Option<Arc<[u8]>> {
        if let Some((_, bytes)) = self.rows.iter().find(|(known, _)| *known == variant) {
            return Some(Arc::clone(bytes));
        }
        let bytes: Arc<[u8]> = encode(config, variant)?.into();
        if self.rows.len() == ROWS {
            self.rows.clear();
        }
        self.rows.push((variant, Arc::clone(&bytes)));
        Some(bytes)
    }
}

fn encode(config: &RouterConfig, variant: Variant) -> Option<Vec<u8>> {
    let addresses: Vec<IpAddr> = config.addresses.iter().map(|a| a.address).collect();
    let body = match config.protocol {
        Protocol::V2 { seconds, password } => Body::V2 {
            seconds: seconds.get(),
            password,
        },
        Protocol::V3 { interval, .. } => Body::V3 {
            centiseconds: interval.get(),
            form: variant.form,
        },
    };
    let endpoints = Endpoints::new(variant.source, variant.destination)?;
    debug_assert_eq!(
        endpoints.family(),
        config.family,
        "{}",
        Family::of(&variant.source)
    );
    Advertisement {
        vrid: config.vrid,
        priority: variant.priority,
        body,
        addresses: &addresses,
    }
    .to_vec(&endpoints)
    .ok()
}
