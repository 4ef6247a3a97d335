//! Where the configuration comes from.

mod keys;

pub use keys::Keys;
