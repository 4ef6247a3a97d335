//! The rules of probes: when and whence is asked here, what is asked over HTTP and by other protocols below.

mod http;
mod others;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use vipkeeper_crds::node_server::{Members, NodeForwarding, NodeProbe, ProbeKind};
use vipkeeper_crds::server::{ConfigMapKey, Probe, ProbeType};
use vipkeeper_crds::{AddressFamily, Duration, VirtualServerSpec};

use super::members::target;
use super::{Wanted, mark, number, port, short};
use crate::address;
use crate::finding::Remarks;

pub use http::BODY_REGEX_SIZE;

/// The most probes.
const MAX_PROBES: usize = 8;
/// The bounds of an interval, and of a timeout, in milliseconds.
const INTERVAL: std::ops::RangeInclusive<u64> = 100..=3_600_000;
const TIMEOUT: std::ops::RangeInclusive<u64> = 10..=600_000;

/// The probes without their authorities, and where these are.
pub(super) type Probes = (Vec<NodeProbe>, BTreeMap<usize, ConfigMapKey>);

pub(super) fn probes(
    spec: &VirtualServerSpec,
    wanted: Option<&Wanted>,
    forwarding: Option<NodeForwarding>,
    members: Option<&Members>,
    remarks: &mut Remarks,
) -> Option<Probes> {
    let count = spec.probes.len();
    if count > MAX_PROBES {
        let message = format!("{count} probes: at most {MAX_PROBES}");
        remarks.error("spec.probes", message);
        return None;
    }
    let mut good = Vec::with_capacity(count);
    let mut authorities = BTreeMap::new();
    let mut names = BTreeSet::new();
    for (i, given) in spec.probes.iter().enumerate() {
        let path = format!("spec.probes[{i}]");
        if !names.insert(given.name.as_str()) {
            let message = format!("`{}` is listed twice: rename one", given.name);
            remarks.error(format!("{path}.name"), message);
        }
        let surroundings = Surroundings {
            wanted,
            forwarding,
            members,
        };
        let Some((probe, authority)) = probe(given, &path, &surroundings, remarks) else {
            continue;
        };
        authorities.extend(authority.map(|key| (i, key)));
        good.push(probe);
    }
    (good.len() == count).then_some((good, authorities))
}

/// What a probe is about.
struct Surroundings<'a> {
    wanted: Option<&'a Wanted>,
    forwarding: Option<NodeForwarding>,
    members: Option<&'a Members>,
}

fn probe(
    given: &Probe,
    path: &str,
    surroundings: &Surroundings<'_>,
    remarks: &mut Remarks,
) -> Option<(NodeProbe, Option<ConfigMapKey>)> {
    short(&given.name, 63, &format!("{path}.name"), remarks);
    strangers(given, path, remarks);
    let kind = kind(given, path, remarks);
    let timing = timing(given, path, remarks);
    let way = way(given, path, surroundings, remarks);
    let (kind, authority) = kind?;
    let (rise, fall) = timing?;
    let Way {
        address,
        port,
        source,
        interface,
        mark,
    } = way?;
    let probe = NodeProbe {
        name: given.name.clone(),
        kind,
        interval: given.interval,
        timeout: given.timeout,
        rise,
        fall,
        delay_after_failure: given.delay_after_failure.unwrap_or(given.interval),
        address,
        port,
        source,
        interface,
        mark,
    };
    Some((probe, authority))
}

/// Says which members belong to other types.
fn strangers(given: &Probe, path: &str, remarks: &mut Remarks) {
    let members = [
        (given.http.is_some(), "http", ProbeType::Http, "HTTP"),
        (given.https.is_some(), "https", ProbeType::Https, "HTTPS"),
        (given.udp.is_some(), "udp", ProbeType::Udp, "UDP"),
        (given.dns.is_some(), "dns", ProbeType::Dns, "DNS"),
        (given.smtp.is_some(), "smtp", ProbeType::Smtp, "SMTP"),
        (given.grpc.is_some(), "grpc", ProbeType::Grpc, "GRPC"),
        (given.file.is_some(), "file", ProbeType::File, "File"),
        (given.exec.is_some(), "exec", ProbeType::Exec, "Exec"),
    ];
    for (set, member, kind, word) in members {
        if set && given.kind != kind {
            let message = format!("belongs to `type: {word}`: remove it, or change the type");
            remarks.error(format!("{path}.{member}"), message);
        }
    }
}

/// What is asked, and where its authorities are.
fn kind(
    given: &Probe,
    path: &str,
    remarks: &mut Remarks,
) -> Option<(ProbeKind, Option<ConfigMapKey>)> {
    let kind = match given.kind {
        ProbeType::Tcp => ProbeKind::Tcp,
        ProbeType::Ping => ProbeKind::Ping,
        ProbeType::Http => {
            let request = given.http.clone().unwrap_or_default();
            http::http(&request, &format!("{path}.http"), remarks)?
        }
        ProbeType::Https => {
            let request = given.https.clone().unwrap_or_default();
            return http::https(&request, &format!("{path}.https"), remarks);
        }
        ProbeType::Udp => {
            let udp = given.udp.clone().unwrap_or_default();
            others::udp(&udp, &format!("{path}.udp"), remarks)?
        }
        ProbeType::Dns => {
            let dns = given.dns.clone().unwrap_or_default();
            others::dns(&dns, &format!("{path}.dns"), remarks)?
        }
        ProbeType::Smtp => {
            let smtp = given.smtp.clone().unwrap_or_default();
            others::smtp(&smtp, &format!("{path}.smtp"), remarks)?
        }
        ProbeType::Grpc => {
            let grpc = given.grpc.clone().unwrap_or_default();
            others::grpc(&grpc, &format!("{path}.grpc"), remarks)?
        }
        ProbeType::File => {
            let path = format!("{path}.file");
            let file = required(given.file.as_ref(), &path, "File", remarks)?;
            others::file(file, &path, remarks)?
        }
        ProbeType::Exec => {
            let path = format!("{path}.exec");
            let exec = required(given.exec.as_ref(), &path, "Exec", remarks)?;
            others::exec(exec, &path, remarks)?
        }
    };
    Some((kind, None))
}

fn required<'a, T>(
    member: Option<&'a T>,
    path: &str,
    kind: &str,
    remarks: &mut Remarks,
) -> Option<&'a T> {
    if member.is_none() {
        remarks.error(path, format!("required with `type: {kind}`"));
    }
    member
}

/// Rise and fall, if all of the timing is right.
fn timing(given: &Probe, path: &str, remarks: &mut Remarks) -> Option<(u8, u8)> {
    let within = |duration: Duration, range: &std::ops::RangeInclusive<u64>| {
        range.contains(&duration.as_millis())
    };
    let mut good = true;
    if !within(given.interval, &INTERVAL) {
        let message = format!("{}: choose 100ms to 1h", given.interval);
        remarks.error(format!("{path}.interval"), message);
        good = false;
    }
    if !within(given.timeout, &TIMEOUT) {
        let message = format!("{}: choose 10ms to 10m", given.timeout);
        remarks.error(format!("{path}.timeout"), message);
        good = false;
    }
    if let Some(delay) = given.delay_after_failure
        && (delay.as_millis() < *INTERVAL.start() || delay > given.interval)
    {
        let message = format!(
            "{delay}: choose 100ms to {}, which is the interval",
            given.interval
        );
        remarks.error(format!("{path}.delayAfterFailure"), message);
        good = false;
    }
    let rise = number(given.rise, 1..=100, &format!("{path}.rise"), remarks);
    let fall = number(given.fall, 1..=100, &format!("{path}.fall"), remarks);
    rise.zip(fall).filter(|_| good)
}

/// Whom a probe asks, and whence.
struct Way {
    address: Option<IpAddr>,
    port: Option<u16>,
    source: Option<IpAddr>,
    interface: Option<String>,
    mark: Option<std::num::NonZeroU32>,
}

fn way(
    given: &Probe,
    path: &str,
    surroundings: &Surroundings<'_>,
    remarks: &mut Remarks,
) -> Option<Way> {
    useless(given, path, remarks);
    let at = |field: &str| format!("{path}.{field}");
    let address = optional(given.address.as_ref(), |text| {
        target(text, &at("address"), remarks)
    });
    let asked = optional(given.port.as_ref(), |number| {
        port(*number, &at("port"), remarks)
    });
    if asked == Some(None) && needs_port(given.kind) && surroundings.portless() {
        let message = "required: the real servers have no port of their own to ask";
        remarks.error(at("port"), message);
    }
    let source = optional(given.source.as_ref(), |text| {
        source(text, &at("source"), remarks)
    });
    if let (Some(Some(source)), Some(address)) = (source, address) {
        surroundings.reaches(source, address, &at("source"), remarks);
    }
    let interface = optional(
        given.interface.as_ref(),
        |name| match address::bad_interface_name(name) {
            None => Some(name.clone()),
            Some(message) => {
                remarks.error(at("interface"), message);
                None
            }
        },
    );
    let mark = optional(given.mark.as_ref(), |value| {
        mark(*value, &at("mark"), remarks)
    });
    Some(Way {
        address: address?,
        port: asked?,
        source: source?,
        interface: interface?,
        mark: mark?,
    })
}

/// A field that may be absent: inside, `None` if it is.
fn optional<T, U>(given: Option<&T>, read: impl FnOnce(&T) -> Option<U>) -> Option<Option<U>> {
    match given {
        None => Some(None),
        Some(given) => read(given).map(Some),
    }
}

/// Says which fields have no meaning with this type.
fn useless(given: &Probe, path: &str, remarks: &mut Remarks) {
    let fields = [
        (given.address.is_some(), "address"),
        (given.port.is_some(), "port"),
        (given.source.is_some(), "source"),
        (given.interface.is_some(), "interface"),
        (given.mark.is_some(), "mark"),
    ];
    let (unused, word): (&[&str], &str) = match given.kind {
        ProbeType::File => (&["address", "port", "source", "interface", "mark"], "File"),
        ProbeType::Exec => (&["source", "interface", "mark"], "Exec"),
        ProbeType::Ping => (&["port"], "Ping"),
        ProbeType::Tcp
        | ProbeType::Http
        | ProbeType::Https
        | ProbeType::Udp
        | ProbeType::Dns
        | ProbeType::Smtp
        | ProbeType::Grpc => (&[], ""),
    };
    for (_, field) in fields.iter().filter(|(set, f)| *set && unused.contains(f)) {
        let message = format!("has no meaning with `type: {word}`: remove it");
        remarks.error(format!("{path}.{field}"), message);
    }
}

/// Whether a probe of this type asks a port.
const fn needs_port(kind: ProbeType) -> bool {
    match kind {
        ProbeType::Ping | ProbeType::File | ProbeType::Exec => false,
        ProbeType::Tcp
        | ProbeType::Http
        | ProbeType::Https
        | ProbeType::Udp
        | ProbeType::Dns
        | ProbeType::Smtp
        | ProbeType::Grpc => true,
    }
}

fn source(text: &str, path: &str, remarks: &mut Remarks) -> Option<IpAddr> {
    let checked = address::parse(text).and_then(|a| match address::unusable(a) {
        None => Ok(a),
        Some(message) => Err(message),
    });
    match checked {
        Ok(address) => Some(address),
        Err(message) => {
            remarks.error(path, message);
            None
        }
    }
}

impl Surroundings<'_> {
    /// Whether some real server has no port.
    fn portless(&self) -> bool {
        let has_none = match self.members {
            Some(Members::Static { real_servers }) => real_servers.iter().any(|r| r.port == 0),
            // What does not change packets keeps their ports, whichever the endpoint has.
            Some(Members::Service { port, .. }) => {
                port.is_none() || self.forwarding.is_some_and(|way| !way.changes_port())
            }
            None => false,
        };
        has_none && self.wanted.is_some_and(Wanted::portless)
    }

    /// Says if somebody who is asked is of another family than `source`.
    fn reaches(&self, source: IpAddr, address: Option<IpAddr>, path: &str, remarks: &mut Remarks) {
        let asked = match (address, self.members) {
            (Some(address), _) => vec![address],
            (None, Some(Members::Static { real_servers })) => {
                real_servers.iter().map(|r| r.address).collect()
            }
            (None, Some(Members::Service { .. }) | None) => Vec::new(),
        };
        let family = AddressFamily::of(&source);
        if let Some(other) = asked.iter().find(|a| AddressFamily::of(a) != family) {
            let message = format!(
                "{source} cannot ask {other}, which is {}: remove it, or name an address of that family",
                AddressFamily::of(other)
            );
            remarks.error(path, message);
        }
    }
}
