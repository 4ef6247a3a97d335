//! What RFC 9568, its errata and RFC 3768 demand of the election, clause by clause, and what this design adds.
//!
//! A test of a clause is named after it: `c50_…` is clause C50 of the list in the crate's documentation, which
//! `coverage` compares with the tests that exist. Clauses that bytes alone decide are tested in `vipkeeper-wire`.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails by panicking, in its helpers as well, and looks for one thing at a time"
)]

mod bench;
mod forge;

mod active;
mod announcements;
mod arbiter;
mod backup;
mod checksums;
mod coverage;
mod extensions;
mod faults;
mod frozen;
mod handover;
mod host;
mod hostile;
mod initialize;
mod inputs;
mod interfaces;
mod observed;
mod parameters;
mod plans;
mod receive;
mod sync;
mod table;
mod version2;
