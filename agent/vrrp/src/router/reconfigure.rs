//! A router instance gets another configuration: what changes under a running router, and what makes it leave
//! and start anew.

use super::{Router, State};
use crate::arbiter::Arbiter;
use crate::checksums::Lessons;
use crate::config::{RouterConfig, Transport, VirtualAddress};
use crate::effects::Effects;
use crate::output::Reason;
use crate::places::SideLinks;
use crate::time::Time;

impl Router {
    /// Prepares for `next`: lets go what it will not have any more. All routers do so before any takes what is
    /// new, for an address may move from one to another.
    pub(crate) fn let_go(&mut self, fx: &mut Effects, now: Time, next: &RouterConfig) {
        if !self.same_identity(next) {
            return match self.state {
                State::Initialize { .. } => self.abandon(fx),
                State::Backup(_) | State::Active(_) => self.leave(fx, now, Reason::Reconfigured),
            };
        }
        let of_next = |a: &&VirtualAddress| next.addresses.contains(a);
        let gone: Vec<_> = self
            .config
            .addresses
            .iter()
            .filter(|a| !of_next(a))
            .copied()
            .collect();
        if self.has_addresses_out() && !gone.is_empty() {
            self.withdraw(fx, gone.into());
        }
    }

    /// Runs `config` from now on, after [`let_go`](Self::let_go). What only concerns the next advertisement
    /// changes under a running router; another identity has left and starts anew.
    pub(crate) fn reconfigure(&mut self, fx: &mut Effects, now: Time, config: RouterConfig) {
        if config == self.config {
            return;
        }
        if !self.same_identity(&config) {
            return self.replace(config);
        }
        let old = std::mem::replace(&mut self.config, config);
        self.frames.clear();
        self.index_addresses();
        if old.protocol.interval() != self.config.protocol.interval() {
            self.change_interval(fx, now);
        }
        if old.addresses != self.config.addresses
            || old.address_lifetime != self.config.address_lifetime
        {
            self.install_again(fx, now);
        }
        if let State::Backup(backup) = &mut self.state
            && old.preemption != self.config.preemption
        {
            backup.forget_preemption();
        }
        self.forget_failures();
        self.heed_drain(fx, now, old.drained);
    }

    /// A router that gave up gets another chance with its new configuration, once its surroundings are known.
    fn forget_failures(&mut self) {
        if let State::Initialize { retry } = &mut self.state {
            *retry = None;
            self.install_failures = 0;
        }
    }

    fn same_identity(&self, other: &RouterConfig) -> bool {
        let group = |c: &RouterConfig| match c.transport {
            Transport::Multicast { group, .. } => Some(group),
            Transport::Unicast { .. } => None,
        };
        let identity = |c: &RouterConfig| {
            // The owner uses addresses that everybody else installs.
            let owner = c.priority.is_owner();
            (c.interface, c.vrid, c.protocol.version(), group(c), owner)
        };
        identity(&self.config) == identity(other)
    }

    fn replace(&mut self, config: RouterConfig) {
        self.config = config;
        self.frames.clear();
        self.side_links = SideLinks::default();
        self.index_addresses();
        self.lessons = Lessons::default();
        self.link = None;
        self.of_host = Vec::new();
        self.last = None;
        self.arbiter = Arbiter::default();
        self.install_failures = 0;
        self.state = State::Initialize { retry: None };
    }

    fn change_interval(&mut self, fx: &mut Effects, now: Time) {
        let Some(interface) = self.config.interface else {
            return;
        };
        match &mut self.state {
            State::Active(active) => active.change_interval(fx, now, &self.config, interface),
            State::Backup(backup) => backup.change_interval(&self.config.protocol),
            State::Initialize { .. } => {}
        }
    }

    pub(super) fn install_again(&mut self, fx: &mut Effects, now: Time) {
        if let State::Active(active) = &mut self.state
            && let Some(interface) = self.config.interface
        {
            active.install(fx, now, self.id, &self.config, interface);
        }
        self.announce(fx, now);
    }

    pub(super) fn index_addresses(&mut self) {
        self.side_links.name(&self.config);
        self.sorted = self.config.addresses.iter().map(|a| a.address).collect();
        self.sorted.sort_unstable();
    }
}
