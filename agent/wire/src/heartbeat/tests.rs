//! The golden datagram was made by Python's `struct` and `hmac`, not by the code under test.

use proptest::prelude::*;

use super::*;
use crate::arbitrary;

const SECRET: &[u8] = b"an installation key of ours";

const GOLDEN: &str = "\
    564b4842 01 01 02 00 e6971dc22078cd06 0102030405060708 0000000000000009 1112131415161718 000000fa 00000000 \
    5ea0e11948721ef1 04 33 02 c8 000004d2 000000fa 02420a000002 0000 00000000000000000000ffffc0000202 \
    5ea0e11948721ef1 06 34 01 64 ffffffff 000003e8 000000000000 0000 fe800000000000000000000000000002";
const GOLDEN_HMAC: &str = "756b94838ca1b9e9cb652e7f38b1d4920e5b041c242594b9187cbc5a3aef9a72";

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .bytes()
        .filter(|b| !b.is_ascii_whitespace())
        .map(|b| (b as char).to_digit(16).unwrap() as u8)
        .collect();
    digits
        .chunks(2)
        .map(|pair| pair[0] << 4 | pair[1])
        .collect()
}

fn key() -> Key {
    Key::new(SECRET).unwrap()
}

fn golden() -> Heartbeat {
    let vrid = |number| Vrid::new(number).unwrap();
    Heartbeat {
        node: hash("node-b"),
        incarnation: 0x0102_0304_0506_0708,
        sequence: 9,
        echo: 0x1112_1314_1516_1718,
        interval_ms: 250,
        rows: vec![
            Row {
                router: hash("web"),
                family: Family::V4,
                vrid: vrid(51),
                state: State::Active,
                priority: 200,
                heard_ms: Some(1234),
                interval_ms: 250,
                mac: Some(MacAddr([0x02, 0x42, 0x0a, 0, 0, 2])),
                source: Some(IpAddr::from([192, 0, 2, 2])),
            },
            Row {
                router: hash("web"),
                family: Family::V6,
                vrid: vrid(52),
                state: State::Backup,
                priority: 100,
                heard_ms: None,
                interval_ms: 1000,
                mac: None,
                source: Some("fe80::2".parse().unwrap()),
            },
        ],
    }
}

#[test]
fn a_signed_heartbeat_has_the_golden_bytes_and_is_read_back() {
    let bytes = hex(&[GOLDEN, GOLDEN_HMAC].concat());
    assert_eq!(golden().to_bytes(Some(&key())).unwrap(), bytes);
    let read = Heartbeat::parse(&bytes, &[key()]);
    assert_eq!(read, Ok((golden(), Authenticity::Proven)));
}

#[test]
fn an_open_heartbeat_has_the_same_bytes_without_the_trailer() {
    let mut bytes = hex(GOLDEN);
    bytes[5] = 0;
    assert_eq!(golden().to_bytes(None).unwrap(), bytes);
    let read = Heartbeat::parse(&bytes, &[]);
    assert_eq!(read, Ok((golden(), Authenticity::Unproven)));
}

#[test]
fn with_a_key_neither_open_nor_foreign_heartbeats_are_read() {
    let open = golden().to_bytes(None).unwrap();
    let foreign = Key::new(b"an installation key of theirs").unwrap();
    let signed = golden().to_bytes(Some(&foreign)).unwrap();
    assert_eq!(
        Heartbeat::parse(&open, &[key()]),
        Err(HeartbeatError::Unauthenticated)
    );
    assert_eq!(
        Heartbeat::parse(&signed, &[key()]),
        Err(HeartbeatError::Authentication)
    );
}

#[test]
fn without_a_key_a_signed_heartbeat_is_read_and_proves_nothing() {
    let signed = golden().to_bytes(Some(&key())).unwrap();
    let read = Heartbeat::parse(&signed, &[]);
    assert_eq!(read, Ok((golden(), Authenticity::Unproven)));
}

#[test]
fn while_keys_change_each_of_several_is_accepted() {
    let old = Key::new(b"the key before this one").unwrap();
    let bytes = golden().to_bytes(Some(&old)).unwrap();
    let read = Heartbeat::parse(&bytes, &[key(), old]);
    assert_eq!(read, Ok((golden(), Authenticity::Proven)));
}

#[test]
fn any_flipped_bit_of_a_signed_heartbeat_is_refused() {
    let bytes = golden().to_bytes(Some(&key())).unwrap();
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(Heartbeat::parse(&flipped, &[key()]).is_err(), "bit {bit}");
    }
}

#[test]
fn every_truncation_and_any_trailing_byte_is_refused() {
    let mut bytes = golden().to_bytes(None).unwrap();
    for length in 0..bytes.len() {
        assert!(Heartbeat::parse(&bytes[..length], &[]).is_err(), "{length}");
    }
    bytes.push(0);
    assert_eq!(
        Heartbeat::parse(&bytes, &[]),
        Err(HeartbeatError::Length(bytes.len()))
    );
}

#[test]
fn other_magic_versions_and_impossible_fields_are_refused() {
    let refused = |at: usize, value: u8| {
        let mut bytes = golden().to_bytes(None).unwrap();
        bytes[at] = value;
        Heartbeat::parse(&bytes, &[]).unwrap_err()
    };
    assert_eq!(refused(0, b'X'), HeartbeatError::Kind);
    assert_eq!(refused(4, 2), HeartbeatError::Version(2));
    let first_row = 48;
    // Authentication, count, reserved, family, VRID, state, padding, a v4 source of an IPv6 row and the reverse.
    for (at, value) in [
        (5, 2),
        (6, 27),
        (7, 1),
        (44, 1),
        (first_row + 8, 5),
        (first_row + 8, 6),
        (first_row + 9, 0),
        (first_row + 10, 3),
        (first_row + 26, 1),
        (first_row + 44 + 8, 4),
    ] {
        assert_eq!(refused(at, value), HeartbeatError::Field, "byte {at}");
    }
}

#[test]
fn a_datagram_carries_26_rows_within_the_least_mtu_of_ipv6() {
    let row = golden().rows[0];
    let with = |count| Heartbeat {
        rows: vec![row; count],
        ..golden()
    };
    let longest = with(MAX_ROWS).to_bytes(Some(&key())).unwrap();
    assert_eq!((longest.len(), MAX_LEN), (1224, 1224));
    assert!(longest.len() + 8 + 40 <= 1280);
    assert_eq!(Heartbeat::parse(&longest, &[key()]).unwrap().0, with(26));
    assert_eq!(with(27).to_bytes(None), Err(TooManyRows(27)));
    assert_eq!(with(300).to_bytes(None), Err(TooManyRows(300)));
}

#[test]
fn a_key_is_16_bytes_at_least_and_never_printed() {
    assert!(Key::new(&[7; 15]).is_none());
    assert!(Key::new(&[7; 16]).is_some());
    assert_eq!(format!("{:?} {:#?}", key(), key()), "Key(…) Key(…)");
}

/// Vectors of the FNV-1a reference.
#[test]
fn names_are_hashed_by_fnv_1a() {
    assert_eq!(hash(""), 0xcbf2_9ce4_8422_2325);
    assert_eq!(hash("a"), 0xaf63_dc4c_8601_ec8c);
    assert_eq!(hash("foobar"), 0x8594_4171_f739_67e8);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn arbitrary_bytes_never_panic_and_what_is_read_is_what_is_written(
        head in prop_oneof![Just(hex(GOLDEN)[..7].to_vec()), arbitrary::bytes(0, 8)],
        rest in arbitrary::bytes(0, 200),
        open in any::<bool>(),
    ) {
        let mut bytes = [head, rest].concat();
        if open && let Some(authentication) = bytes.get_mut(5) {
            *authentication = 0;
        }
        prop_assert!(Heartbeat::parse(&bytes, &[key()]).is_err());
        if let Ok((heartbeat, _)) = Heartbeat::parse(&bytes, &[]) && open {
            prop_assert_eq!(heartbeat.to_bytes(None).unwrap(), bytes);
        }
    }

    #[test]
    fn a_corrupted_golden_datagram_never_panics(
        edits in prop::collection::vec((0_usize..136, any::<u8>()), 1..8),
    ) {
        let mut bytes = hex(GOLDEN);
        bytes[5] = 0;
        for (at, value) in edits {
            bytes[at] = value;
        }
        if let Ok((heartbeat, _)) = Heartbeat::parse(&bytes, &[]) && bytes[5] == 0 {
            prop_assert_eq!(heartbeat.to_bytes(None).unwrap(), bytes);
        }
    }
}
