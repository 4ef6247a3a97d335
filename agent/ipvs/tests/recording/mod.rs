//! The recorded bytes: datagrams to and from the kernel.
#![allow(dead_code, reason = "each test program uses a part")]

use std::path::{Path, PathBuf};

use vipkeeper_ipvs::*;

/// The number of IPVS in the recordings.
pub(crate) const FAMILY: FamilyId = FamilyId(0x17);

/// The datagrams of one case.
pub(crate) struct Recording {
    pub(crate) name: String,
    requests: Vec<Vec<u8>>,
    answers: Vec<Vec<u8>>,
}

impl Recording {
    pub(crate) fn read(name: &str) -> Self {
        let text = std::fs::read_to_string(directory().join(format!("{name}.hex"))).unwrap();
        let datagrams = |direction| {
            text.lines()
                .filter_map(|line| line.strip_prefix(direction))
                .map(unhex)
                .collect()
        };
        Self {
            name: name.to_owned(),
            requests: datagrams("> "),
            answers: datagrams("< "),
        }
    }

    pub(crate) fn all() -> Vec<Self> {
        let all: Vec<_> = std::fs::read_dir(directory())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "hex"))
            .map(|path| Self::read(path.file_stem().unwrap().to_str().unwrap()))
            .collect();
        assert!(all.len() > 20, "{} recordings", all.len());
        all
    }

    /// Every datagram from the kernel.
    pub(crate) fn answers(&self) -> &[Vec<u8>] {
        &self.answers
    }

    /// The request `at`, without its sender's port.
    pub(crate) fn request(&self, at: usize) -> Vec<u8> {
        let mut bytes = self.requests[at].clone();
        bytes[12..16].fill(0);
        bytes
    }

    pub(crate) fn sequence(&self, at: usize) -> u32 {
        u32::from_ne_bytes(self.requests[at][8..12].try_into().unwrap())
    }

    /// These requests of the recording are these of ours, byte for byte, but for what ipvsadm says in vain.
    pub(crate) fn asks(&self, expected: &[(usize, Request)]) {
        for (at, request) in expected {
            let ours = emitted(request, self.sequence(*at));
            let theirs = necessary(&self.request(*at));
            assert_eq!(
                hex(&ours),
                hex(&theirs),
                "{}: request {at}: {request:?}",
                self.name
            );
        }
    }

    /// What the kernel says, without acknowledgements.
    pub(crate) fn contents(&self) -> Vec<Content> {
        self.answers
            .iter()
            .flat_map(|datagram| answers(Some(FAMILY), datagram))
            .map(|answer| answer.unwrap().content.unwrap())
            .filter(|content| *content != Content::Acknowledged)
            .collect()
    }

    pub(crate) fn services(&self) -> Vec<Service> {
        self.contents()
            .into_iter()
            .filter_map(|content| {
                let Content::Service(observed) = content else {
                    return None;
                };
                Some(observed.service)
            })
            .collect()
    }

    pub(crate) fn destinations(&self) -> Vec<Destination> {
        self.contents()
            .into_iter()
            .filter_map(|content| {
                let Content::Destination(observed) = content else {
                    return None;
                };
                Some(observed.destination)
            })
            .collect()
    }
}

pub(crate) fn emitted(request: &Request, sequence: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    request.emit(FAMILY, sequence, &mut bytes);
    bytes
}

/// A request of a service read as if it were an answer: both have the same attributes.
pub(crate) fn reread(bytes: &[u8]) -> Option<Request> {
    let answer = answers(Some(FAMILY), bytes).next()?.ok()?;
    let Content::Service(observed) = answer.content.ok()? else {
        return None;
    };
    Some(Request::NewService(observed.service))
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<_> = text.bytes().filter(|byte| *byte != b' ').collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

fn hex(bytes: &[u8]) -> String {
    let words = bytes
        .chunks(4)
        .map(|word| word.iter().map(|byte| format!("{byte:02x}")).collect());
    words.collect::<Vec<String>>().join(" ")
}

/// `message` without what ipvsadm says in vain: the rest of a service or destination where its key suffices, and bytes
/// behind an IPv4 address.
fn necessary(message: &[u8]) -> Vec<u8> {
    let command = message[16];
    let mut out = message[..20].to_vec();
    for (kind, value) in split(&message[20..]) {
        let inner = |keep: &[u16]| -> Vec<u8> {
            let v4 = split(value).any(|(kind, value)| kind == 11 && value == [2, 0]);
            split(value)
                .filter(|(kind, _)| keep.contains(kind))
                .flat_map(|(kind, value)| {
                    let mut value = value.to_vec();
                    if v4 && kind == 1 {
                        value[4..].fill(0);
                    }
                    joined(kind, &value)
                })
                .collect()
        };
        let value = match (command, kind & 0x3fff) {
            (3..=8 | 16, 1) => inner(&[1, 2, 3, 4, 5]),
            (5 | 6, 2) => inner(&(0..=99).collect::<Vec<_>>()),
            (7, 2) => inner(&[11, 1, 2]),
            (10, 3) => inner(&[1]),
            _ => value.to_vec(),
        };
        out.extend(joined(kind, &value));
    }
    let length = u32::try_from(out.len()).unwrap();
    out[..4].copy_from_slice(&length.to_ne_bytes());
    out
}

/// Attributes, by hand: the crate under test is not what takes its expectations apart.
fn split(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length: usize = u16::from_ne_bytes(bytes.get(..2)?.try_into().unwrap()).into();
        let kind = u16::from_ne_bytes(bytes[2..4].try_into().unwrap());
        let value = &bytes[4..length];
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

fn joined(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len() + 4).unwrap();
    let mut out = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
    out.extend(value);
    out.resize(out.len().next_multiple_of(4), 0);
    out
}
