//! The lab: network namespaces as nodes, real daemons in them, real packets captured and measured.
//!
//! Owns namespaces, processes and temporary files of its own and removes them, also on panic, SIGINT and
//! SIGTERM. Never touches an interface, bridge or address of the host. Needs root and iproute2.

mod remains;
mod sys;

pub mod addresses;
pub mod agent;
pub mod bench;
pub mod capture;
pub mod chronicle;
pub mod client;
pub mod clock;
pub mod cluster;
pub mod demo;
pub mod director_lan;
pub mod forge;
pub mod frame;
pub mod hang;
pub mod harness;
pub mod ipvsadm;
pub mod keepalived;
pub mod lab;
pub mod manifest;
pub mod meter;
pub mod namespace;
pub mod nftables;
pub mod process;
pub mod program;
pub mod real_server;
pub mod sender;
pub mod successor;
pub mod uml;
pub mod wait;

pub use agent::Agent;
pub use capture::Capture;
pub use chronicle::Chronicle;
pub use client::{Client, Load, Tally};
pub use clock::Moment;
pub use cluster::Cluster;
pub use director_lan::{DirectorLan, Place, Taking};
pub use forge::Forgery;
pub use ipvsadm::Ipvsadm;
pub use keepalived::Keepalived;
pub use lab::{Lab, Node};
pub use meter::Meter;
pub use process::Process;
pub use real_server::RealServer;
pub use sender::Sender;
