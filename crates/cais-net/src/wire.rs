//! Netlink messages as bytes: an append-only encoder and a reader that trusts no length (netlink(7)).
//!
//! The encoder only appends; the one thing it goes back to is the length of a message or nest that has just
//! ended. Messages are numbered by their place in the request, from 1, which is how answers find them. The reader
//! ends early on a malformed length and never panics. Knows nothing of sockets.

use crate::uapi::{NLA_F_NESTED, NLA_TYPE_MASK, NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST};

/// Size of `struct nlmsghdr`.
pub(crate) const HEADER_SIZE: usize = 16;

/// One or more netlink messages that go out in one `sendmsg`.
#[derive(Debug, Default)]
pub(crate) struct Request {
    bytes: Vec<u8>,
    count: u32,
    awaited: u32,
}

impl Request {
    /// Appends a message: `kind` and `flags` (`NLM_F_REQUEST` is added), the fixed `header` of its family, then what
    /// `body` appends. Returns the message's place in the request, from 0.
    pub(crate) fn message(
        &mut self,
        kind: u16,
        flags: u16,
        header: &[u8],
        body: impl FnOnce(&mut Attributes<'_>),
    ) -> usize {
        let start = self.bytes.len();
        self.count += 1;
        if flags & NLM_F_ACK != 0 || flags & NLM_F_DUMP == NLM_F_DUMP {
            self.awaited = self.count;
        }
        self.bytes.extend_from_slice(&0u32.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(&(flags | NLM_F_REQUEST).to_ne_bytes());
        self.bytes.extend_from_slice(&self.count.to_ne_bytes());
        self.bytes.extend_from_slice(&0u32.to_ne_bytes());
        self.bytes.extend_from_slice(header);
        pad(&mut self.bytes);
        body(&mut Attributes(&mut self.bytes));
        let length = (self.bytes.len() - start) as u32;
        self.bytes[start..start + 4].copy_from_slice(&length.to_ne_bytes());
        self.count as usize - 1
    }

    /// The messages, ready to be sent.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How many messages there are.
    pub(crate) fn len(&self) -> usize {
        self.count as usize
    }

    /// The number of the last message that asks for an acknowledgement or a dump, whose end ends the answer.
    pub(crate) fn awaited(&self) -> u32 {
        self.awaited
    }
}

/// The end of the message being written, where attributes are appended.
pub(crate) struct Attributes<'a>(&'a mut Vec<u8>);

impl Attributes<'_> {
    /// Appends raw bytes: the fixed header inside an attribute, as `VETH_INFO_PEER` has it.
    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
        pad(self.0);
    }

    /// Appends an attribute with `value` as it is.
    pub(crate) fn bytes(&mut self, kind: u16, value: &[u8]) {
        self.0.extend_from_slice(&((4 + value.len()) as u16).to_ne_bytes());
        self.0.extend_from_slice(&kind.to_ne_bytes());
        self.0.extend_from_slice(value);
        pad(self.0);
    }

    /// Appends a byte.
    pub(crate) fn u8(&mut self, kind: u16, value: u8) {
        self.bytes(kind, &[value]);
    }

    /// Appends a number in the machine's order, as rtnetlink has it.
    pub(crate) fn u32(&mut self, kind: u16, value: u32) {
        self.bytes(kind, &value.to_ne_bytes());
    }

    /// Appends a number in network order, as nfnetlink has it.
    pub(crate) fn be32(&mut self, kind: u16, value: u32) {
        self.bytes(kind, &value.to_be_bytes());
    }

    /// Appends a string with its NUL.
    pub(crate) fn text(&mut self, kind: u16, value: &str) {
        self.0.extend_from_slice(&((5 + value.len()) as u16).to_ne_bytes());
        self.0.extend_from_slice(&kind.to_ne_bytes());
        self.0.extend_from_slice(value.as_bytes());
        self.0.push(0);
        pad(self.0);
    }

    /// Appends an attribute that holds the attributes written by `body`.
    pub(crate) fn nest(&mut self, kind: u16, body: impl FnOnce(&mut Attributes<'_>)) {
        let start = self.0.len();
        self.0.extend_from_slice(&0u16.to_ne_bytes());
        self.0.extend_from_slice(&(kind | NLA_F_NESTED).to_ne_bytes());
        body(&mut Attributes(self.0));
        let length = (self.0.len() - start) as u16;
        self.0[start..start + 2].copy_from_slice(&length.to_ne_bytes());
    }
}

fn pad(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

/// One message of the kernel's answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer<'a> {
    pub(crate) kind: u16,
    pub(crate) flags: u16,
    /// The number of the message that is answered: its place in the request plus one.
    pub(crate) sequence: u32,
    /// What follows `struct nlmsghdr`.
    pub(crate) payload: &'a [u8],
}

impl<'a> Answer<'a> {
    /// The attributes behind a fixed header of `header_size` bytes.
    pub(crate) fn attributes(&self, header_size: usize) -> impl Iterator<Item = (u16, &'a [u8])> + use<'a> {
        attributes(self.payload.get(header_size..).unwrap_or_default())
    }
}

/// Splits what one `recvmsg` gave into messages.
pub(crate) fn answers(mut bytes: &[u8]) -> impl Iterator<Item = Answer<'_>> {
    std::iter::from_fn(move || {
        let length = u32_at(bytes, 0)? as usize;
        let payload = bytes.get(HEADER_SIZE..length)?;
        let answer = Answer {
            kind: u16_at(bytes, 4)?,
            flags: u16_at(bytes, 6)?,
            sequence: u32_at(bytes, 8)?,
            payload,
        };
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(answer)
    })
}

/// Splits bytes into attributes: type without its flag bits, and value.
pub(crate) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16_at(bytes, 0)?);
        let value = bytes.get(4..length)?;
        let kind = u16_at(bytes, 2)? & NLA_TYPE_MASK;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// The value of the first attribute of type `kind`.
pub(crate) fn attribute(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(bytes).find(|(found, _)| *found == kind).map(|(_, value)| value)
}

/// The number in the machine's order at `offset`.
pub(crate) fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(offset..offset + 4)?.try_into().ok()?))
}

fn u16_at(bytes: &[u8], offset: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(offset..offset + 2)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Golden bytes, little-endian machines only (both that we build for are).
    #[cfg(target_endian = "little")]
    #[test]
    fn a_message_is_laid_out_as_netlink_wants_it() {
        let mut request = Request::default();
        request.message(16, 0x404, &[2, 0], |a| {
            a.text(3, "ab");
            a.nest(18, |a| {
                a.u8(1, 7);
                a.be32(2, 1);
            });
            a.u32(4, 1500);
        });
        request.message(17, 0, &[], |_| {});
        #[rustfmt::skip]
        let golden: &[u8] = &[
            56, 0, 0, 0, 16, 0, 5, 4, 1, 0, 0, 0, 0, 0, 0, 0,
            2, 0, 0, 0,
            7, 0, 3, 0, b'a', b'b', 0, 0,
            20, 0, 18, 0x80, 5, 0, 1, 0, 7, 0, 0, 0, 8, 0, 2, 0, 0, 0, 0, 1,
            8, 0, 4, 0, 0xdc, 5, 0, 0,
            16, 0, 0, 0, 17, 0, 1, 0, 2, 0, 0, 0, 0, 0, 0, 0,
        ];
        assert_eq!(request.bytes(), golden);
        assert_eq!(request.len(), 2);
    }

    #[test]
    fn what_is_written_is_read_back() {
        let mut request = Request::default();
        request.message(9, 0, &[1, 2, 3, 4], |a| {
            a.nest(5, |a| a.text(1, "eth0"));
            a.bytes(6, &[1, 2, 3]);
        });
        request.message(10, 0, &[], |_| {});
        let read: Vec<_> = answers(request.bytes()).collect();
        assert_eq!(read.len(), 2);
        assert_eq!((read[0].kind, read[0].sequence, read[1].kind, read[1].sequence), (9, 1, 10, 2));
        let found: Vec<_> = read[0].attributes(4).collect();
        assert_eq!(
            found,
            vec![(5, &[9, 0, 1, 0, b'e', b't', b'h', b'0', 0, 0, 0, 0][..]), (6, &[1, 2, 3][..])]
        );
        assert_eq!(attribute(found[0].1, 1), Some(&b"eth0\0"[..]));
        assert_eq!(attribute(found[0].1, 2), None);
    }

    #[test]
    fn every_cut_and_every_wrong_length_ends_the_reading() {
        let mut request = Request::default();
        request.message(9, 0, &[1, 2, 3, 4], |a| a.nest(5, |a| a.text(1, "eth0")));
        let bytes = request.bytes();
        for cut in 0..bytes.len() {
            assert_eq!(answers(&bytes[..cut]).count(), 0, "cut at {cut}");
        }
        for length in 0..=u16::MAX {
            let mut hostile = bytes.to_vec();
            hostile[20..22].copy_from_slice(&length.to_ne_bytes());
            for answer in answers(&hostile) {
                assert!(answer.attributes(4).count() <= 4);
            }
        }
        assert_eq!(answers(&[0; 64]).count(), 0, "a length below the header's would loop for ever");
    }
}
