//! The two contenders: the same routers as manifests of the agent and as a configuration of keepalived.

use std::fmt;

use anyhow::{Context, Result};

use crate::agent::Agent;
use crate::keepalived::{Instance, Keepalived};
use crate::lab::Node;
use crate::manifest::{self, Router};
use crate::process::Process;

/// Whose failover is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Contender {
    /// Our agent.
    Vipkeeper,
    /// keepalived, with real-time priority and locked memory as the agent has by itself.
    Keepalived,
}

/// One value for each contender.
#[derive(Clone, Debug, Default)]
pub(super) struct Both<T> {
    pub(super) vipkeeper: T,
    pub(super) keepalived: T,
}

impl<T> Both<T> {
    /// That of `contender`.
    pub(super) fn of(&self, contender: Contender) -> &T {
        match contender {
            Contender::Vipkeeper => &self.vipkeeper,
            Contender::Keepalived => &self.keepalived,
        }
    }

    /// That of `contender`, to change it.
    pub(super) fn of_mut(&mut self, contender: Contender) -> &mut T {
        match contender {
            Contender::Vipkeeper => &mut self.vipkeeper,
            Contender::Keepalived => &mut self.keepalived,
        }
    }
}

/// A running contender on one node.
#[derive(Debug)]
pub(super) enum Daemon {
    /// Our agent.
    Vipkeeper(Box<Agent>),
    /// keepalived's parent process and its children.
    Keepalived(Process),
}

impl Contender {
    /// Both, in the order of the tables.
    pub(super) const ALL: [Self; 2] = [Self::Vipkeeper, Self::Keepalived];

    /// What configures it at `node`.
    pub(super) fn configuration(self, routers: &[Router], node: &Node) -> Result<String> {
        match self {
            Self::Vipkeeper => Ok(manifests(routers)),
            Self::Keepalived => keepalived(routers, node)?.configuration(),
        }
    }

    /// Starts it at `node`.
    pub(super) fn start(self, routers: &[Router], node: &Node) -> Result<Daemon> {
        Ok(match self {
            Self::Vipkeeper => {
                Daemon::Vipkeeper(Box::new(Agent::start(node, &manifests(routers))?))
            }
            Self::Keepalived => Daemon::Keepalived(keepalived(routers, node)?.start(node)?),
        })
    }
}

impl fmt::Display for Contender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Vipkeeper => "vipkeeper",
            Self::Keepalived => "keepalived",
        })
    }
}

impl Daemon {
    /// Gives it another configuration while it runs at `node`.
    pub(super) fn edit(&self, routers: &[Router], node: &Node) -> Result<()> {
        match self {
            Self::Vipkeeper(agent) => agent.edit(&manifests(routers)),
            Self::Keepalived(process) => keepalived(routers, node)?.reload(node, process),
        }
    }

    /// Its processes.
    pub(super) fn process(&self) -> &Process {
        match self {
            Self::Vipkeeper(agent) => agent.process(),
            Self::Keepalived(process) => process,
        }
    }

    /// Its processes, to end them.
    pub(super) fn process_mut(&mut self) -> &mut Process {
        match self {
            Self::Vipkeeper(agent) => agent.process_mut(),
            Self::Keepalived(process) => process,
        }
    }
}

fn manifests(routers: &[Router]) -> String {
    let documents: Vec<String> = routers.iter().map(Router::yaml).collect();
    manifest::documents(&documents)
}

fn keepalived(routers: &[Router], node: &Node) -> Result<Keepalived> {
    let instances = routers.iter().map(|router| instance(router, node));
    Ok(Keepalived {
        version: 3,
        realtime: Some(50),
        rfc9568: false,
        no_swap: true,
        log_detail: false,
        sync: false,
        instances: instances.collect::<Result<_>>()?,
        servers: String::new(),
    })
}

fn instance(router: &Router, node: &Node) -> Result<Instance> {
    let mut priorities = router.priorities.iter();
    let (_, priority) = priorities
        .find(|(name, _)| name == node.name())
        .with_context(|| format!("{} is no candidate of {}", node.name(), router.name))?;
    Ok(Instance {
        interface: node.interface(0),
        priority: *priority,
        interval: router.interval,
        ..Instance::new(router.vrid, &router.addresses)
    })
}
