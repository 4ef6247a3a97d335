//! What `nft` said to a real kernel for `golden/whole.nft`, and what the kernel answered when it listed the table, against
//! what this crate writes and reads. Recorded in a User Mode Linux guest by `agent/netlink/tests/record`.
#![cfg(test)]

mod wanted;

use std::collections::BTreeMap;

use vipkeeper_nft::{Batch, Content, Difference, Observation, Table, TableName, answers};
use wanted::{table, whole};

const RECORDED: &str = include_str!("golden/whole.hex");

#[test]
fn the_batch_is_what_nft_sends_for_the_same_table() {
    let theirs: Vec<_> = datagrams("> ")
        .iter()
        .flat_map(|datagram| objects(datagram))
        .collect();
    let batch = Batch::replacement(&table(&whole()), 1);
    let ours = objects(batch.bytes());
    for (key, ours) in &ours {
        let theirs: Vec<_> = theirs.iter().filter(|(theirs, _)| theirs == key).collect();
        assert!(
            theirs.iter().any(|(_, theirs)| theirs == ours),
            "{key}: {ours:#?} is not among {theirs:#?}"
        );
    }
    let count = |objects: &[(String, Node)]| {
        let mut counts = BTreeMap::new();
        for (key, _) in objects {
            *counts.entry(key.clone()).or_insert(0) += 1;
        }
        counts
    };
    assert_eq!(count(&ours), count(&theirs));
    assert!(
        count(&ours).values().sum::<i32>() > 40,
        "{:?}",
        count(&ours)
    );
}

#[test]
fn the_table_that_nft_made_is_the_one_that_is_wanted() {
    let observed = observation();
    assert!(observed.exists());
    assert_eq!(table(&whole()).compare(&observed), Ok(()));
}

#[test]
fn whatever_is_missing_or_more_is_noticed() {
    let mut less = whole();
    less.masqueraded.pop_first();
    let other = table(&less).compare(&observation());
    assert_eq!(other, Err(Difference::Elements("fullnat4".to_owned())));
    let mut less = whole();
    less.masqueraded_marks.clear();
    let other = table(&less).compare(&observation());
    assert_eq!(other, Err(Difference::Rules("fullnat".to_owned())));
    let mut less = whole();
    less.restricted.clear();
    let other = table(&less).compare(&observation());
    assert!(matches!(other, Err(Difference::Set(name)) if name.starts_with("allowed")));
    let nothing = Observation::new(TableName::new("vipkeeper").unwrap());
    assert_eq!(table(&whole()).compare(&nothing), Err(Difference::Table));
    let elsewhere = Table::new(TableName::new("other").unwrap(), &whole());
    assert!(elsewhere.compare(&nothing).is_err());
}

#[test]
fn whatever_is_another_is_noticed() {
    let rules = |chain: &str| Difference::Rules(chain.to_owned());
    let chain = |chain: &str| Difference::Chain(chain.to_owned());
    for (what, theirs, changed, difference) in [
        (
            "a priority",
            "08000200 0000005a",
            "08000200 0000005b",
            chain("source-ranges"),
        ),
        (
            "a policy",
            "08000500 00000001 08000700 6e617400",
            "08000500 00000000 08000700 6e617400",
            chain("fullnat"),
        ),
        (
            "a verdict",
            "0c000280 08000100 00000000",
            "0c000280 08000100 00000001",
            rules("source-ranges"),
        ),
        (
            "a protocol",
            "05000100 84000000",
            "05000100 06000000",
            rules("fullnat"),
        ),
        (
            "a lookup that is inverted",
            "08000500 00000001 14000100",
            "08000500 00000000 14000100",
            rules("fullnat"),
        ),
        (
            "a lookup that is not",
            "08000500 00000000 28000100",
            "08000500 00000001 28000100",
            rules("fullnat"),
        ),
        (
            "a port's place",
            "08000300 00000002",
            "08000300 00000000",
            rules("source-ranges"),
        ),
        (
            "a mark",
            "08000100 07000000",
            "08000100 08000000",
            rules("fullnat"),
        ),
        (
            "a set's key",
            "08000400 001cc347",
            "08000400 001cc348",
            Difference::Set("allowed4".to_owned()),
        ),
        (
            "a client",
            "c6336400",
            "c6336500",
            Difference::Elements("allowed4".to_owned()),
        ),
    ] {
        // The kernel leaves out marks of nested attributes that `nft` sets.
        let unmarked = |text: &str| text.replace("0280 ", "0200 ").replace("0180 ", "0100 ");
        let (theirs, changed) = (unmarked(theirs), unmarked(changed));
        let answered: Vec<_> = RECORDED
            .lines()
            .filter_map(|line| line.strip_prefix("< "))
            .collect();
        let other = answered.join("\n").replacen(&theirs, &changed, 1);
        assert!(other != answered.join("\n"), "{what}: {theirs}");
        let mut observed = Observation::new(TableName::new("vipkeeper").unwrap());
        for line in other.lines() {
            answers(&unhex(line)).for_each(|answer| observed.take(answer.unwrap()));
        }
        assert_eq!(
            table(&whole()).compare(&observed),
            Err(difference),
            "{what}"
        );
    }
}

#[test]
fn generations_are_read() {
    let generations: Vec<_> = datagrams("< ")
        .iter()
        .flat_map(|datagram| answers(datagram))
        .filter_map(|answer| {
            let Content::Generation(id) = answer.unwrap().content.unwrap() else {
                return None;
            };
            Some(id)
        })
        .collect();
    assert_eq!(generations.first(), Some(&1));
    assert_eq!(generations.last(), Some(&2));
}

fn observation() -> Observation {
    let mut observed = Observation::new(TableName::new("vipkeeper").unwrap());
    for datagram in datagrams("< ") {
        answers(&datagram).for_each(|answer| observed.take(answer.unwrap()));
    }
    observed
}

fn datagrams(direction: &str) -> Vec<Vec<u8>> {
    RECORDED
        .lines()
        .filter_map(|line| line.strip_prefix(direction))
        .map(unhex)
        .collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<_> = text.bytes().filter(|byte| *byte != b' ').collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

/// Attributes, taken apart by hand: the crate under test is not what takes its expectations apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Node {
    Value(Vec<u8>),
    List(Vec<(u16, Self)>),
}

/// Chains, sets, rules and elements that a datagram makes, without what only `nft` says: numbers of sets within the batch
/// (the kernel finds them by name), what it remembers for itself, and the numbers of members of a list of elements.
fn objects(datagram: &[u8]) -> Vec<(String, Node)> {
    let mut objects = Vec::new();
    let mut at = 0;
    while at < datagram.len() {
        let length: usize = u32::from_le_bytes(datagram[at..at + 4].try_into().unwrap())
            .try_into()
            .unwrap();
        let message = &datagram[at..at + length];
        at += length.next_multiple_of(4);
        let (set_id, user_data): (&[u16], &[u16]) = match (message[5], message[4]) {
            (10, 3) => (&[], &[]),
            (10, 6) => (&[], &[7]),
            (10, 9) => (&[10, 3], &[13]),
            (10, 12) => (&[4], &[]),
            _ => continue,
        };
        let mut all = node(&message[20..], message[4] == 12);
        // Flags of a set are said only if there are some.
        all.retain(|(kind, value)| {
            let unset = *value == Node::Value(vec![0; 4]);
            !(user_data.contains(kind) || set_id.contains(kind) && (*kind != 3 || unset))
        });
        all.sort();
        let name = |kind| match all.iter().find(|(theirs, _)| *theirs == kind) {
            Some((_, Node::Value(name))) => String::from_utf8(name.clone()).unwrap(),
            _ => String::new(),
        };
        let key = match message[4] {
            3 => format!("chain {}", name(3)),
            6 => format!("rule of {}", name(2)),
            9 => format!("set {}", name(2)),
            _ => format!("elements of {}", name(2)),
        };
        objects.push((key, Node::List(all)));
    }
    objects
}

fn node(mut bytes: &[u8], elements: bool) -> Vec<(u16, Node)> {
    let mut all = Vec::new();
    while bytes.len() >= 4 {
        let length: usize = u16::from_le_bytes([bytes[0], bytes[1]]).into();
        let kind = u16::from_le_bytes([bytes[2], bytes[3]]);
        let value = &bytes[4..length];
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        if kind & 0x8000 == 0 {
            all.push((kind, Node::Value(value.to_vec())));
            continue;
        }
        let mut inner = node(value, elements);
        // A lookup's number of the set, and its flags if there are none.
        if inner
            .iter()
            .any(|(kind, value)| *kind == 1 && *value == Node::Value(b"lookup\0".to_vec()))
        {
            for (_, data) in &mut inner {
                if let Node::List(data) = data {
                    let none = Node::Value(vec![0; 4]);
                    data.retain(|(kind, value)| *kind != 4 && (*kind != 5 || *value != none));
                }
            }
        }
        let kind = kind & 0x3fff;
        let list = elements && kind == 3;
        if list {
            inner.iter_mut().for_each(|(kind, _)| *kind = 1);
        }
        // Members of a rule are in order, all else is not.
        if list || inner.iter().any(|(kind, _)| *kind != 1) {
            inner.sort();
        }
        all.push((kind, Node::List(inner)));
    }
    all
}
