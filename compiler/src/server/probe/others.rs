//! The rules of what is asked by other protocols than HTTP, and of what the node itself is asked.

use std::net::IpAddr;

use vipkeeper_crds::node_server::ProbeKind;
use vipkeeper_crds::server::{DnsProbe, ExecProbe, FileProbe, GrpcProbe, SmtpProbe, UdpProbe};

use super::number;
use crate::finding::Remarks;

/// The most hexadecimal digits of a payload or a reply.
const MAX_DIGITS: usize = 2048;
/// The longest name of a host.
const MAX_NAME: usize = 253;
/// The longest path of a file, in bytes.
const MAX_PATH: usize = 1024;
/// The longest name of a script.
const MAX_SCRIPT: usize = 63;

pub(super) fn udp(given: &UdpProbe, path: &str, remarks: &mut Remarks) -> Option<ProbeKind> {
    let payload = hexadecimal(&given.payload, false, &format!("{path}.payload"), remarks);
    let reply = match &given.reply {
        None => Some(None),
        Some(reply) => hexadecimal(reply, true, &format!("{path}.reply"), remarks).map(Some),
    };
    Some(ProbeKind::Udp {
        payload: payload?,
        reply: reply?,
    })
}

/// Hexadecimal digits in lower case, and with `wild` also `X`.
fn hexadecimal(text: &str, wild: bool, path: &str, remarks: &mut Remarks) -> Option<String> {
    let any = |c: char| wild && c.eq_ignore_ascii_case(&'x');
    let good = text.chars().all(|c| c.is_ascii_hexdigit() || any(c));
    if !good || text.len() > MAX_DIGITS || !text.len().is_multiple_of(2) {
        let or = if wild { ", or `X` for any one" } else { "" };
        let message = format!(
            "write an even number of hexadecimal digits{or}, at most {MAX_DIGITS}: two make a byte"
        );
        remarks.error(path, message);
        return None;
    }
    let written = text
        .chars()
        .map(|c| if any(c) { 'X' } else { c.to_ascii_lowercase() });
    Some(written.collect())
}

pub(super) fn dns(given: &DnsProbe, path: &str, remarks: &mut Remarks) -> Option<ProbeKind> {
    let code = number(given.code, 0..=15, &format!("{path}.code"), remarks);
    // RFC 1035 §2.3.4. What a label is made of is for whoever gave the name.
    let label = |label: &str| {
        (1..=63).contains(&label.len()) && label.bytes().all(|b| b.is_ascii_graphic())
    };
    let text = given.name.strip_suffix('.').unwrap_or(&given.name);
    let labels = (given.name == ".") || text.split('.').all(label);
    if !labels || given.name.len() > MAX_NAME {
        let message = format!(
            "`{}` cannot be asked: labels of 1 to 63 characters with dots between, at most {MAX_NAME} in all, or `.`",
            given.name
        );
        remarks.error(format!("{path}.name"), message);
        return None;
    }
    Some(ProbeKind::Dns {
        record: given.kind,
        name: given.name.clone(),
        code: code?,
    })
}

pub(super) fn smtp(given: &SmtpProbe, path: &str, remarks: &mut Remarks) -> Option<ProbeKind> {
    let helo = host(&given.helo, &format!("{path}.helo"), remarks)?;
    Some(ProbeKind::Smtp { helo })
}

pub(super) fn grpc(given: &GrpcProbe, path: &str, remarks: &mut Remarks) -> Option<ProbeKind> {
    let service = &given.service;
    if service.chars().count() > MAX_NAME || service.contains(char::is_control) {
        let message = format!("at most {MAX_NAME} characters that can be printed");
        remarks.error(format!("{path}.service"), message);
        return None;
    }
    Some(ProbeKind::Grpc {
        service: service.clone(),
    })
}

pub(super) fn file(given: &FileProbe, path: &str, remarks: &mut Remarks) -> Option<ProbeKind> {
    let text = &given.path;
    let length = (2..=MAX_PATH).contains(&text.len());
    if !length || !text.starts_with('/') || text.contains(char::is_control) {
        let message = format!(
            "`{text}`: write an absolute path of at most {MAX_PATH} bytes, as /run/web.state"
        );
        remarks.error(format!("{path}.path"), message);
        return None;
    }
    Some(ProbeKind::File {
        path: text.clone(),
        dynamic_weight: given.dynamic_weight,
    })
}

pub(super) fn exec(given: &ExecProbe, path: &str, remarks: &mut Remarks) -> Option<ProbeKind> {
    let script = &given.script;
    let inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    let length = (1..=MAX_SCRIPT).contains(&script.len());
    if !length || script.starts_with('.') || !script.bytes().all(inner) {
        let message = format!(
            "`{script}` is no script: name a file of the agent's --scripts-dir with 1 to {MAX_SCRIPT} letters, digits, `-`, `_` and `.`, not beginning with `.`"
        );
        remarks.error(format!("{path}.script"), message);
        return None;
    }
    Some(ProbeKind::Exec {
        script: script.clone(),
        dynamic_weight: given.dynamic_weight,
    })
}

/// The name of a host, or an address.
pub(super) fn host(text: &str, path: &str, remarks: &mut Remarks) -> Option<String> {
    let label = |label: &str| {
        let inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
        (1..=63).contains(&label.len()) && label.bytes().all(inner)
    };
    let name = text.strip_suffix('.').unwrap_or(text);
    let named = text.len() <= MAX_NAME && name.split('.').all(label);
    if !named && text.parse::<IpAddr>().is_err() {
        let message = format!(
            "`{text}` is no host: write a name of letters, digits, `-`, `_` and `.`, at most {MAX_NAME}, or an IP address"
        );
        remarks.error(path, message);
        return None;
    }
    Some(text.to_owned())
}
