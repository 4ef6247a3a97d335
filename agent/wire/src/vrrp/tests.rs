//! Shared fixtures. Golden bytes were computed apart from this code; `tests/keepalived.rs` has captured ones.

use super::*;

mod conformance;
mod corruption;
mod emission;
mod golden;
mod properties;

const RFC9568: Accept = Accept::Only(ChecksumForm::Rfc9568);
const RFC5798: Accept = Accept::Only(ChecksumForm::Rfc5798);

/// VRID 10, priority 100, 10.77.0.100, 1 s; sent by 10.77.0.1 to the group where that matters.
const V2: &str = "210a6401000170420a4d00640000000000000000";
const V2_RELEASE: &str = "210a00010001d4420a4d00640000000000000000";
const V2_PASSWORD: &str = "210a640101010adc0a4d00643132333400000000";
const V3_RFC9568: &str = "310a640100645fdf0a4d0064";
const V3_RFC5798: &str = "310a6401006475020a4d0064";
/// To 10.77.0.2.
const V3_RFC5798_UNICAST: &str = "310a640100644ac60a4d0064";
/// fe80::100 and 2001:db8::100, from fe80::1 to the group.
const V3_IPV6: &str =
    "310a640200643e26fe80000000000000000000000000010020010db8000000000000000000000100";

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .chars()
        .map(|digit| digit.to_digit(16).unwrap() as u8)
        .collect();
    digits
        .as_chunks::<2>()
        .0
        .iter()
        .map(|[high, low]| high << 4 | low)
        .collect()
}

fn addresses(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn v4(source: &str, destination: &str) -> Endpoints {
    Endpoints::V4 {
        source: source.parse().unwrap(),
        destination: destination.parse().unwrap(),
    }
}

fn multicast() -> Endpoints {
    v4("10.77.0.1", "224.0.0.18")
}

fn multicast_v6() -> Endpoints {
    Endpoints::V6 {
        source: "fe80::1".parse().unwrap(),
        destination: GROUP_V6,
    }
}

fn vrid(value: u8) -> Vrid {
    Vrid::new(value).unwrap()
}

/// `message` with its checksum made right again, in the RFC 9568 form over IPv4.
fn summed_again(mut message: Vec<u8>, endpoints: &Endpoints) -> Vec<u8> {
    message[6..8].fill(0);
    let start = match endpoints.family() {
        Family::V4 => Sum::new(),
        Family::V6 => endpoints.pseudo_header(message.len()),
    };
    let checksum = start.bytes(&message).checksum();
    message[6..8].copy_from_slice(&checksum.to_be_bytes());
    message
}

/// Some byte of `message` changed, and the checksum made right again.
fn with_byte(message: &str, at: usize, value: u8) -> Vec<u8> {
    let mut message = hex(message);
    message[at] = value;
    summed_again(message, &multicast())
}
