//! What the kernel answers, from bytes.

use vipkeeper_netlink::{
    Attribute, Attributes, Control, Malformed, Message, Messages, Refusal, attributes, flags,
    messages,
};

use crate::numbers::{HEADER_LEN, chain, data, elements, generation, message, rule, set, table};
use crate::table::Element;

/// A message of the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The sequence number of the message that it answers.
    pub sequence: u32,
    /// What is dumped changed meanwhile: what came is of no use.
    pub interrupted: bool,
    /// What it says.
    pub content: Result<Content, Malformed>,
}

/// What a message says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// The message is done.
    Acknowledged,
    /// It is refused, or the rest of a dump.
    Refused(Refusal),
    /// The dump is complete.
    Done,
    /// The number of the ruleset of all tables: every change makes another of it.
    Generation(u32),
    /// A part of a table.
    Observed(Observed),
    /// Something else.
    Other {
        /// The message's type.
        kind: u16,
    },
}

/// A part of a table, as the kernel has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    /// The table's name.
    pub(crate) table: String,
    pub(crate) part: Part,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Table,
    Chain { name: String, attributes: Vec<u8> },
    Set { name: String, attributes: Vec<u8> },
    Rule { chain: String, attributes: Vec<u8> },
    Elements { set: String, elements: Vec<Element> },
}

/// The answers in `datagram`.
#[must_use]
pub const fn answers(datagram: &[u8]) -> Answers<'_> {
    Answers {
        messages: messages(datagram),
    }
}

/// The answers in a datagram; see [`answers`].
#[derive(Clone, Debug)]
pub struct Answers<'a> {
    messages: Messages<'a>,
}

impl Iterator for Answers<'_> {
    /// Bytes that are no message are an error of the datagram, and its last item.
    type Item = Result<Answer, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        self.messages.next().map(|message| {
            message.map(|message| Answer {
                sequence: message.sequence,
                interrupted: message.flags & flags::DUMP_INTERRUPTED != 0,
                content: content(&message),
            })
        })
    }
}

fn content(message: &Message<'_>) -> Result<Content, Malformed> {
    let other = Content::Other { kind: message.kind };
    if let Some(control) = Control::of(message)? {
        return Ok(match control {
            Control::Acknowledged => Content::Acknowledged,
            Control::Refused(refusal) => Content::Refused(refusal),
            Control::Done => Content::Done,
            Control::Overrun | Control::Nothing => other,
        });
    }
    let (_, all) = message.split::<HEADER_LEN>()?;
    let whole = || {
        message
            .payload
            .get(HEADER_LEN..)
            .unwrap_or_default()
            .to_vec()
    };
    let named = |table, name| -> Result<(String, String), Malformed> {
        Ok((text(all.clone(), table)?, text(all.clone(), name)?))
    };
    let (table, part) = match message.kind {
        message::NEW_GENERATION => {
            let id = find(all, generation::ID)?.map_or(Ok(0), |id| id.be32())?;
            return Ok(Content::Generation(id));
        }
        message::NEW_TABLE => (text(all, table::NAME)?, Part::Table),
        message::NEW_CHAIN => {
            let (table, name) = named(chain::TABLE, chain::NAME)?;
            let attributes = whole();
            (table, Part::Chain { name, attributes })
        }
        message::NEW_SET => {
            let (table, name) = named(set::TABLE, set::NAME)?;
            let attributes = whole();
            (table, Part::Set { name, attributes })
        }
        message::NEW_RULE => {
            let (table, chain) = named(rule::TABLE, rule::CHAIN)?;
            let attributes = whole();
            (table, Part::Rule { chain, attributes })
        }
        message::NEW_ELEMENTS => {
            let (table, set) = named(elements::TABLE, elements::SET)?;
            let elements = list(all)?;
            (table, Part::Elements { set, elements })
        }
        _ => return Ok(other),
    };
    Ok(Content::Observed(Observed { table, part }))
}

/// The elements of a set that a message has.
fn list(all: Attributes<'_>) -> Result<Vec<Element>, Malformed> {
    let members = find(all, elements::LIST)?.map_or(attributes(&[]), |list| list.nested());
    members
        .map(|member| {
            let member = member?.nested();
            Ok(Element {
                key: value(member.clone(), elements::KEY)?.unwrap_or_default(),
                end: value(member, elements::KEY_END)?,
            })
        })
        .collect()
}

/// The value within the attribute `kind`.
fn value(all: Attributes<'_>, kind: u16) -> Result<Option<Vec<u8>>, Malformed> {
    let Some(holder) = find(all, kind)? else {
        return Ok(None);
    };
    let value = find(holder.nested(), data::VALUE)?;
    Ok(value.map(|value| value.value.to_vec()))
}

/// The text of the attribute `kind`; empty if there is none.
fn text(all: Attributes<'_>, kind: u16) -> Result<String, Malformed> {
    let text = find(all, kind)?.map_or(Ok(""), |attribute| attribute.text())?;
    Ok(text.to_owned())
}

fn find(all: Attributes<'_>, kind: u16) -> Result<Option<Attribute<'_>>, Malformed> {
    for attribute in all {
        let attribute = attribute?;
        if attribute.kind == kind {
            return Ok(Some(attribute));
        }
    }
    Ok(None)
}
