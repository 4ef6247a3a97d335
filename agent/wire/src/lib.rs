//! Bytes to values and back.

mod types;

pub mod arp;
pub mod vrrp;

pub use types::{Family, InvalidVrid, MacAddr, Vrid};
