//! The real IPVS, by a blocking socket of generic netlink.
//!
//! Knows the exchange alone: the bytes are `vipkeeper-ipvs`'s.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use netlink_sys::{Socket, protocols::NETLINK_GENERIC};
use nix::errno::Errno;
use vipkeeper_ipvs::{
    Answer, Content, FamilyId, Request, ServiceKey, answers, emit_family_request,
};

use super::kernel::{Ipvs, Kernel, Operation, Refusal, Unavailable};
use super::nftables;
use super::present::{Present, PresentDestination, PresentService};
use super::settings::SystemSettings;
use super::socket::{self, Connect, Held};
use crate::netlink::{BUFFER, receive, retry};

/// Operations of one system call, each of 256 bytes at most. Their answers, some 800 bytes each in the kernel's
/// accounting, fit into any receive buffer.
const BATCH: usize = 64;

/// The kernel's IPVS and, by a socket of their own, its nftables.
#[derive(Debug, Default)]
pub struct Netlink {
    ipvs: Held<Connection>,
    pub(super) nftables: Held<nftables::Connection>,
    settings: SystemSettings,
}

impl Netlink {
    /// With the settings of the network namespace elsewhere than the kernel shows them, or written.
    #[must_use]
    pub fn with_settings(settings: SystemSettings) -> Self {
        Self {
            settings,
            ..Self::default()
        }
    }
}

impl Kernel for Netlink {
    fn settings(&self) -> &SystemSettings {
        &self.settings
    }
}

impl Ipvs for Netlink {
    fn dump(&mut self, of: &BTreeSet<ServiceKey>) -> Result<Present, Unavailable> {
        self.ipvs.with(|connection| connection.present(of))
    }

    fn apply(&mut self, operations: &[Operation]) -> Result<Vec<Result<(), Refusal>>, Unavailable> {
        self.ipvs.with(|connection| {
            let mut outcomes = Vec::with_capacity(operations.len());
            for batch in operations.chunks(BATCH) {
                outcomes.extend(connection.tell(batch)?);
            }
            Ok(outcomes)
        })
    }
}

struct Connection {
    socket: Socket,
    family: FamilyId,
    sequence: u32,
    outgoing: Vec<u8>,
    incoming: Vec<u8>,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("family", &self.family)
            .finish_non_exhaustive()
    }
}

impl Connect for Connection {
    fn connect() -> Result<Self, Unavailable> {
        let mut connection = Self {
            socket: socket::open(NETLINK_GENERIC)?,
            // None has this number; it is asked for first.
            family: FamilyId(0),
            sequence: 0,
            outgoing: Vec::with_capacity(BUFFER),
            incoming: Vec::with_capacity(BUFFER),
        };
        connection.family = connection.ask_for_family()?;
        Ok(connection)
    }
}

impl Connection {
    /// The kernel loads a module that says it has this family, where modules do; `ip_vs` does not say so.
    fn ask_for_family(&mut self) -> Result<FamilyId, Unavailable> {
        let number = self.next_number();
        self.outgoing.clear();
        emit_family_request(number, &mut self.outgoing);
        self.send()?;
        let mut family = None;
        self.until_ended(number, |content| {
            if let Content::Family(id) = content {
                family = Some(id);
            }
        })?;
        family.ok_or(Unavailable::Missing)
    }

    fn present(&mut self, of: &BTreeSet<ServiceKey>) -> Result<Present, Unavailable> {
        let mut present = Present::default();
        self.ask(Request::DumpServices, |content| {
            let Content::Service(observed) = content else {
                return;
            };
            let key = observed.service.key;
            if of.contains(&key) {
                let service = PresentService {
                    service: observed.service,
                    statistics: observed.statistics,
                    destinations: BTreeMap::new(),
                };
                present.services.insert(key, service);
            } else {
                present.others += 1;
            }
        })?;
        for (key, service) in &mut present.services {
            self.ask(Request::DumpDestinations(*key), |content| {
                let Content::Destination(observed) = content else {
                    return;
                };
                let destination = PresentDestination {
                    destination: observed.destination,
                    counters: observed.counters,
                    statistics: observed.statistics,
                };
                let key = destination.destination.key;
                service.destinations.insert(key, destination);
            })?;
        }
        Ok(present)
    }

    /// Asks `request` and hands every answer to `each`.
    fn ask(&mut self, request: Request, each: impl FnMut(Content)) -> Result<(), Unavailable> {
        let number = self.next_number();
        self.outgoing.clear();
        request.emit(self.family, number, &mut self.outgoing);
        self.send()?;
        self.until_ended(number, each)
    }

    /// Tells `operations`, [`BATCH`] at most, by one system call. The last alone is answered in any case: they are worked
    /// off in their order, so that what was not refused by then was carried out. An answer each would take as many
    /// system calls to read.
    fn tell(&mut self, operations: &[Operation]) -> Result<Vec<Result<(), Refusal>>, Unavailable> {
        let Some((last, others)) = operations.split_last() else {
            return Ok(Vec::new());
        };
        let first = self.sequence.wrapping_add(1);
        self.outgoing.clear();
        for operation in others {
            let number = self.next_number();
            request(operation).emit_quietly(self.family, number, &mut self.outgoing);
        }
        let number = self.next_number();
        request(last).emit(self.family, number, &mut self.outgoing);
        self.send()?;
        let mut outcomes = vec![Ok(()); operations.len()];
        let mut is_over = false;
        while !is_over {
            self.receive(|answer| {
                let index = usize::try_from(answer.sequence.wrapping_sub(first));
                let slot = index.ok().and_then(|index| outcomes.get_mut(index));
                if let (Some(slot), Some(outcome)) = (slot, ending(&answer)) {
                    *slot = outcome;
                    is_over |= answer.sequence == number;
                }
            })?;
        }
        Ok(outcomes)
    }

    /// Hands the answers to the request `number` to `each`, until it has ended.
    fn until_ended(
        &mut self,
        number: u32,
        mut each: impl FnMut(Content),
    ) -> Result<(), Unavailable> {
        let mut outcome = None;
        while outcome.is_none() {
            self.receive(|answer| {
                if answer.sequence != number {
                    return;
                }
                match ending(&answer) {
                    Some(ended) => outcome = Some(ended),
                    // What cannot be read is of a newer kernel, and nothing that we made.
                    None => answer.content.into_iter().for_each(&mut each),
                }
            })?;
        }
        match outcome {
            Some(Err(refusal)) if refusal.errno == Errno::ENOENT => Err(Unavailable::Missing),
            Some(Err(refusal)) => Err(Unavailable::Refused(refusal)),
            Some(Ok(())) | None => Ok(()),
        }
    }

    fn next_number(&mut self) -> u32 {
        self.sequence = self.sequence.wrapping_add(1);
        self.sequence
    }

    fn send(&mut self) -> io::Result<()> {
        retry(|| self.socket.send(&self.outgoing, 0)).map(drop)
    }

    /// Reads once and hands every message to `each`.
    fn receive(&mut self, each: impl FnMut(Answer)) -> io::Result<()> {
        receive(&self.socket, &mut self.incoming)?;
        answers(Some(self.family), &self.incoming)
            .flatten()
            .for_each(each);
        Ok(())
    }
}

/// What `answer` ends its request with, if it is the last.
fn ending(answer: &Answer) -> Option<Result<(), Refusal>> {
    match &answer.content {
        Ok(Content::Acknowledged | Content::Done) => Some(Ok(())),
        Ok(Content::Refused(refusal)) => Some(Err(refusal.into())),
        Ok(
            Content::Family(_)
            | Content::Service(_)
            | Content::Destination(_)
            | Content::Daemon(_)
            | Content::Timeouts(_)
            | Content::Info(_)
            | Content::Other { .. },
        )
        | Err(_) => None,
    }
}

const fn request(operation: &Operation) -> Request {
    match *operation {
        Operation::AddService(service) => Request::NewService(service),
        Operation::SetService(service) => Request::SetService(service),
        Operation::DeleteService(key) => Request::DeleteService(key),
        Operation::AddDestination(key, destination) => Request::NewDestination(key, destination),
        Operation::SetDestination(key, destination) => Request::SetDestination(key, destination),
        Operation::DeleteDestination(key, destination) => {
            Request::DeleteDestination(key, destination)
        }
    }
}

#[cfg(test)]
mod tests;
