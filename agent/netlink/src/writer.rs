//! Messages and attributes to bytes.

use crate::{ATTRIBUTE_HEADER_LEN, HEADER_LEN, NESTED, aligned};

/// A message or an attribute is longer than its header can say: 4 GiB or 65,535 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a netlink message or attribute is too long")]
pub struct TooLong;

/// A message that is being written to the end of a buffer, which may hold others already.
#[derive(Debug)]
#[must_use = "only `finish` writes its length"]
pub struct Draft<'b> {
    buffer: &'b mut Vec<u8>,
    start: usize,
    too_long: bool,
}

impl<'b> Draft<'b> {
    /// Begins a message of the type `kind`. `sequence` comes back with what answers it.
    pub fn begin(buffer: &'b mut Vec<u8>, kind: u16, flags: u16, sequence: u32) -> Self {
        let start = buffer.len();
        // The length is written in the end; the port of the sender, the last, is the kernel's to fill in.
        buffer.extend_from_slice(&[0; 4]);
        buffer.extend_from_slice(&kind.to_ne_bytes());
        buffer.extend_from_slice(&flags.to_ne_bytes());
        buffer.extend_from_slice(&sequence.to_ne_bytes());
        buffer.extend_from_slice(&[0; 4]);
        Self {
            buffer,
            start,
            too_long: false,
        }
    }

    /// The attributes that `fill` appends, without a message around them.
    ///
    /// # Errors
    ///
    /// One of them is too long.
    pub fn attributes(fill: impl FnOnce(&mut Draft<'_>)) -> Result<Vec<u8>, TooLong> {
        let mut buffer = Vec::new();
        let mut draft = Draft::begin(&mut buffer, 0, 0, 0);
        fill(&mut draft);
        draft.finish()?;
        Ok(buffer.split_off(HEADER_LEN))
    }

    /// Appends the protocol's own header, or attributes that are bytes already.
    pub fn header(&mut self, bytes: &[u8]) -> &mut Self {
        self.buffer.extend_from_slice(bytes);
        self.pad();
        self
    }

    /// Appends an attribute.
    pub fn attribute(&mut self, kind: u16, value: &[u8]) -> &mut Self {
        let length = self.length_of(value.len());
        self.buffer.extend_from_slice(&length.to_ne_bytes());
        self.buffer.extend_from_slice(&kind.to_ne_bytes());
        self.buffer.extend_from_slice(value);
        self.pad();
        self
    }

    /// Appends a number of 16 bits.
    pub fn u16(&mut self, kind: u16, value: u16) -> &mut Self {
        self.attribute(kind, &value.to_ne_bytes())
    }

    /// Appends a number of 32 bits.
    pub fn u32(&mut self, kind: u16, value: u32) -> &mut Self {
        self.attribute(kind, &value.to_ne_bytes())
    }

    /// Appends a number of 32 bits in network byte order.
    pub fn be32(&mut self, kind: u16, value: u32) -> &mut Self {
        self.attribute(kind, &value.to_be_bytes())
    }

    /// Appends a text and the zero that ends it.
    pub fn text(&mut self, kind: u16, text: &str) -> &mut Self {
        let length = self.length_of(text.len().saturating_add(1));
        self.buffer.extend_from_slice(&length.to_ne_bytes());
        self.buffer.extend_from_slice(&kind.to_ne_bytes());
        self.buffer.extend_from_slice(text.as_bytes());
        self.buffer.push(0);
        self.pad();
        self
    }

    /// Appends an attribute whose value is the attributes that `fill` appends.
    pub fn nest(&mut self, kind: u16, fill: impl FnOnce(&mut Self)) -> &mut Self {
        let start = self.buffer.len();
        self.attribute(kind | NESTED, &[]);
        fill(self);
        let value = self.buffer.len() - start - ATTRIBUTE_HEADER_LEN;
        let length = self.length_of(value);
        self.overwrite(start, &length.to_ne_bytes());
        self
    }

    /// Ends the message.
    ///
    /// # Errors
    ///
    /// It or one of its attributes is too long. The buffer is as it was before the message then.
    pub fn finish(self) -> Result<(), TooLong> {
        match u32::try_from(self.buffer.len() - self.start) {
            Ok(length) if !self.too_long => {
                let start = self.start;
                let mut this = self;
                this.overwrite(start, &length.to_ne_bytes());
                Ok(())
            }
            Ok(_) | Err(_) => {
                self.buffer.truncate(self.start);
                Err(TooLong)
            }
        }
    }

    /// The length of an attribute with a value of `value` bytes, for its header.
    fn length_of(&mut self, value: usize) -> u16 {
        u16::try_from(value.saturating_add(ATTRIBUTE_HEADER_LEN)).unwrap_or_else(|_| {
            self.too_long = true;
            0
        })
    }

    fn pad(&mut self) {
        let written = self.buffer.len() - self.start;
        self.buffer.resize(self.start + aligned(written), 0);
    }

    fn overwrite(&mut self, at: usize, bytes: &[u8]) {
        for (slot, byte) in self.buffer.iter_mut().skip(at).zip(bytes) {
            *slot = *byte;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{attributes, flags, messages};

    #[test]
    fn what_is_written_reads_back() {
        let mut buffer = Vec::new();
        for sequence in [1, 2] {
            let mut draft = Draft::begin(&mut buffer, 0x17, flags::REQUEST | flags::ACK, sequence);
            draft.header(&[3, 1, 0, 0]).text(2, "IPVS").nest(1, |nest| {
                nest.u16(1, 2).be32(9, 0xffff_ff00);
            });
            draft.finish().unwrap();
        }
        let read: Vec<_> = messages(&buffer).map(Result::unwrap).collect();
        assert_eq!(read.len(), 2);
        assert_eq!(
            (read[1].kind, read[1].flags, read[1].sequence),
            (0x17, 5, 2)
        );
        let all: Vec<_> = attributes(&read[1].payload[4..])
            .map(Result::unwrap)
            .collect();
        assert_eq!((all[0].kind, all[0].text()), (2, Ok("IPVS")));
        let inner: Vec<_> = all[1].nested().map(Result::unwrap).collect();
        assert_eq!((inner[0].kind, inner[0].u16()), (1, Ok(2)));
        assert_eq!((inner[1].kind, inner[1].be32()), (9, Ok(0xffff_ff00)));
    }

    #[test]
    fn what_is_too_long_leaves_the_buffer_as_it_was() {
        let mut buffer = vec![1, 2, 3, 4];
        let mut draft = Draft::begin(&mut buffer, 0x17, 0, 1);
        draft.attribute(1, &[0; 65_531]);
        draft.finish().unwrap();
        assert_eq!(buffer.len(), 4 + HEADER_LEN + 65_536);
        buffer.truncate(4);
        let mut draft = Draft::begin(&mut buffer, 0x17, 0, 1);
        draft.attribute(1, &[0; 65_532]);
        assert_eq!(draft.finish(), Err(TooLong));
        let mut draft = Draft::begin(&mut buffer, 0x17, 0, 1);
        draft.nest(1, |nest| {
            nest.attribute(1, &[0; 40_000]).attribute(1, &[0; 40_000]);
        });
        assert_eq!(draft.finish(), Err(TooLong));
        assert_eq!(buffer, [1, 2, 3, 4]);
    }
}
