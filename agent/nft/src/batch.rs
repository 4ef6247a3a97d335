//! A batch: messages of which the kernel does all, or none.

use vipkeeper_netlink::{Draft, Refusal, flags};

use crate::answer::{Answer, Content};
use crate::numbers::{HEADER_LEN, INET, LIST_MEMBER, data, elements, message, set, table};
use crate::table::{Element, Set, Table, TableName};

/// Elements in a message: their list must fit the 65,535 bytes of an attribute, and one takes at most 104.
const ELEMENTS_A_MESSAGE: usize = 500;
/// The comment that `nft` shows of the table: type 0, length, text, zero (`libnftnl`, `udata.h`). Linux 5.10 keeps it.
const COMMENT: &str = "replaced as a whole by vipkeeper";

/// A batch, to be sent as one datagram. A socket refuses one that is longer than its send buffer with EMSGSIZE: give it
/// room with `SO_SNDBUFFORCE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    bytes: Vec<u8>,
    first: u32,
    last: u32,
    refusal: Option<Refusal>,
}

impl Batch {
    /// Puts `table` in the place of what has its name. Its messages have the sequence numbers from `sequence` on.
    #[must_use]
    pub fn replacement(table: &Table, sequence: u32) -> Self {
        let mut writer = Writer::begin(sequence);
        writer.remove(&table.name);
        writer.put(message::NEW_TABLE, flags::CREATE, |draft| {
            put_table(draft, &table.name);
        });
        for (id, set) in (1..).zip(&table.sets) {
            writer.put(message::NEW_SET, flags::CREATE, |draft| {
                draft.header(&set.attributes).be32(set::ID, id);
            });
            writer.put_elements(&table.name, set);
        }
        for chain in &table.chains {
            writer.put(message::NEW_CHAIN, flags::CREATE, |draft| {
                draft.header(&chain.attributes);
            });
        }
        for rule in &table.rules {
            writer.put(message::NEW_RULE, flags::CREATE | flags::APPEND, |draft| {
                draft.header(&rule.attributes);
            });
        }
        writer.end()
    }

    /// Removes what has the name `table`, if there is something.
    #[must_use]
    pub fn removal(table: &TableName, sequence: u32) -> Self {
        let mut writer = Writer::begin(sequence);
        writer.remove(table);
        writer.end()
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The sequence number after its last.
    #[must_use]
    pub const fn next_sequence(&self) -> u32 {
        self.last.wrapping_add(2)
    }

    /// Takes an answer, and says what has become of the batch if that is the last: done, or refused as a whole and why.
    pub fn take(&mut self, answer: &Answer) -> Option<Result<(), Refusal>> {
        // Serial numbers wrap.
        let at = answer.sequence.wrapping_sub(self.first);
        if at > self.last.wrapping_sub(self.first) {
            return None;
        }
        // The kernel goes on after a refusal, to find others, and answers in the order of the messages. Of the first
        // message it refuses all.
        match answer.content.as_ref() {
            Ok(Content::Refused(refusal)) => {
                let first = self.refusal.get_or_insert_with(|| refusal.clone());
                (at == 0 || answer.sequence == self.last).then(|| Err(first.clone()))
            }
            Ok(Content::Acknowledged) if answer.sequence == self.last => {
                Some(self.refusal.clone().map_or(Ok(()), Err))
            }
            Ok(
                Content::Acknowledged
                | Content::Done
                | Content::Generation(_)
                | Content::Observed(_)
                | Content::Other { .. },
            )
            | Err(_) => None,
        }
    }
}

struct Writer {
    bytes: Vec<u8>,
    first: u32,
    next: u32,
    /// Where the last message begins.
    last_at: usize,
}

impl Writer {
    fn begin(sequence: u32) -> Self {
        let mut writer = Self {
            bytes: Vec::new(),
            first: sequence,
            next: sequence,
            last_at: 0,
        };
        writer.put_bound(message::BATCH_BEGIN);
        writer
    }

    /// The last message but the end is the one that is acknowledged.
    fn end(mut self) -> Batch {
        let at = self.last_at + 6;
        if let Some(last) = self.bytes.get_mut(at..at + 2) {
            let acknowledged = flags::ACK.to_ne_bytes();
            for (byte, flag) in last.iter_mut().zip(acknowledged) {
                *byte |= flag;
            }
        }
        let last = self.next.wrapping_sub(1);
        self.put_bound(message::BATCH_END);
        Batch {
            bytes: self.bytes,
            first: self.first,
            last,
            refusal: None,
        }
    }

    /// Adding first makes removing succeed.
    fn remove(&mut self, name: &TableName) {
        self.put(message::NEW_TABLE, flags::CREATE, |draft| {
            put_table(draft, name)
        });
        self.put(message::DEL_TABLE, 0, |draft| {
            draft.text(table::NAME, name.as_str());
        });
    }

    fn put_elements(&mut self, name: &TableName, set: &Set) {
        let all: Vec<_> = set.elements.iter().collect();
        for some in all.chunks(ELEMENTS_A_MESSAGE) {
            self.put(message::NEW_ELEMENTS, flags::CREATE, |draft| {
                draft
                    .text(elements::TABLE, name.as_str())
                    .text(elements::SET, &set.name)
                    .nest(elements::LIST, |draft| {
                        for element in some {
                            draft.nest(LIST_MEMBER, |draft| put_element(draft, element));
                        }
                    });
            });
        }
    }

    fn put(&mut self, kind: u16, flags: u16, fill: impl FnOnce(&mut Draft<'_>)) {
        self.put_message(kind, flags, &[INET, 0, 0, 0], fill);
    }

    fn put_bound(&mut self, kind: u16) {
        self.put_message(kind, 0, &[0, 0, 0, message::SUBSYSTEM], |_| {});
    }

    #[expect(
        clippy::expect_used,
        reason = "elements are divided so that their list fits; nothing else is long"
    )]
    fn put_message(
        &mut self,
        kind: u16,
        flags: u16,
        header: &[u8; HEADER_LEN],
        fill: impl FnOnce(&mut Draft<'_>),
    ) {
        self.last_at = self.bytes.len();
        let mut draft = Draft::begin(&mut self.bytes, kind, flags::REQUEST | flags, self.next);
        draft.header(header);
        fill(&mut draft);
        draft.finish().expect("a message of ours fits its lengths");
        self.next = self.next.wrapping_add(1);
    }
}

fn put_table(draft: &mut Draft<'_>, name: &TableName) {
    let mut comment = vec![0, u8::try_from(COMMENT.len() + 1).unwrap_or(u8::MAX)];
    comment.extend_from_slice(COMMENT.as_bytes());
    comment.push(0);
    draft
        .text(table::NAME, name.as_str())
        .be32(table::FLAGS, 0)
        .attribute(table::USER_DATA, &comment);
}

fn put_element(draft: &mut Draft<'_>, element: &Element) {
    draft.nest(elements::KEY, |draft| {
        draft.attribute(data::VALUE, &element.key);
    });
    if let Some(end) = &element.end {
        draft.nest(elements::KEY_END, |draft| {
            draft.attribute(data::VALUE, end);
        });
    }
}
