//! Objects to per-node configurations.
