//! From messages to the bytes that wait to be written.

use std::{collections::VecDeque, io::IoSlice};

use anpx::{CloseCode, frame::Frame};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::{Side, mask, opcode};

/// From this length on a body that need not be masked goes out from where it is.
const APART: usize = 16 << 10;

/// What waits to be written to a connection.
#[derive(Debug)]
pub(crate) struct Writer {
    /// What goes out first: heads of frames, and the large bodies behind them.
    parts: VecDeque<Bytes>,
    /// What was said since.
    buffer: BytesMut,
    /// The source of masking keys; the client has one (RFC 6455 section 5.3).
    masks: Option<Box<StdRng>>,
}

impl Writer {
    pub(crate) fn new(side: Side) -> Self {
        let masks = (side == Side::Client).then(|| Box::new(StdRng::from_rng(&mut rand::rng())));
        Self {
            parts: VecDeque::new(),
            buffer: BytesMut::new(),
            masks,
        }
    }

    /// How many bytes wait.
    pub(crate) fn len(&self) -> usize {
        self.parts.iter().map(Bytes::len).sum::<usize>() + self.buffer.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.parts.is_empty() && self.buffer.is_empty()
    }

    /// The first of the bytes that wait, in order; as many of `slices` as there are in use.
    pub(crate) fn unwritten<'a, 's>(&'a self, slices: &'s mut [IoSlice<'a>]) -> &'s [IoSlice<'a>] {
        let parts = self.parts.iter().map(|part| &part[..]);
        let all = parts.chain((!self.buffer.is_empty()).then_some(&self.buffer[..]));
        let mut used = 0;
        for (slice, part) in slices.iter_mut().zip(all) {
            *slice = IoSlice::new(part);
            used += 1;
        }
        slices.get(..used).unwrap_or_default()
    }

    /// Takes note that `n` bytes were written.
    pub(crate) fn written(&mut self, mut n: usize) {
        while let Some(part) = self.parts.front_mut() {
            let of_part = n.min(part.len());
            part.advance(of_part);
            n -= of_part;
            if !part.is_empty() {
                return;
            }
            self.parts.pop_front();
        }
        self.buffer.advance(n);
        if self.buffer.is_empty() {
            self.buffer.clear();
        }
    }

    /// Forgets what waits.
    pub(crate) fn discard(&mut self) {
        self.parts.clear();
        self.buffer.clear();
    }

    /// Gives memory back where nothing waits.
    pub(crate) fn release(&mut self) {
        if self.is_empty() {
            self.parts = VecDeque::new();
            self.buffer = BytesMut::new();
        }
    }

    pub(crate) fn frame(&mut self, frame: Frame) {
        let len = frame.encoded_len();
        if self.masks.is_some() || frame.body.len() < APART {
            return self.message(opcode::BINARY, len, len, |out| frame.encode(out));
        }
        let head = len - frame.body.len();
        self.message(opcode::BINARY, len, head, |out| frame.encode_head(out));
        self.parts.push_back(self.buffer.split().freeze());
        self.parts.push_back(frame.body);
    }

    pub(crate) fn text(&mut self, text: &str) {
        self.whole(opcode::TEXT, text.as_bytes());
    }

    pub(crate) fn ping(&mut self, payload: &[u8]) {
        self.whole(opcode::PING, payload);
    }

    pub(crate) fn pong(&mut self, payload: &[u8]) {
        self.whole(opcode::PONG, payload);
    }

    fn whole(&mut self, opcode: u8, payload: &[u8]) {
        let len = payload.len();
        self.message(opcode, len, len, |out| out.put_slice(payload));
    }

    /// A close frame; the reason is cut to what fits (RFC 6455 section 5.5).
    pub(crate) fn close(&mut self, code: CloseCode, reason: &str) {
        let cut = (0..=reason.len().min(123))
            .rev()
            .find(|i| reason.is_char_boundary(*i));
        let reason = &reason.as_bytes()[..cut.unwrap_or(0)];
        let len = 2 + reason.len();
        self.message(opcode::CLOSE, len, len, |out| {
            out.put_u16(code.0);
            out.put_slice(reason);
        });
    }

    /// A message of `len` bytes, of which `payload` adds the first `here` and others follow.
    fn message(
        &mut self,
        opcode: u8,
        len: usize,
        here: usize,
        payload: impl FnOnce(&mut BytesMut),
    ) {
        self.buffer.reserve(14 + here);
        self.buffer.put_u8(0x80 | opcode);
        let masked = if self.masks.is_some() { 0x80 } else { 0 };
        // The narrowing conversions cannot fail inside their ranges.
        match (u8::try_from(len), u16::try_from(len)) {
            (Ok(len @ 0..=125), _) => self.buffer.put_u8(masked | len),
            (_, Ok(len)) => {
                self.buffer.put_u8(masked | 126);
                self.buffer.put_u16(len);
            }
            _ => {
                self.buffer.put_u8(masked | 127);
                self.buffer.put_u64(u64::try_from(len).unwrap_or(u64::MAX));
            }
        }
        let key = self.masks.as_mut().map(|rng| rng.random::<[u8; 4]>());
        if let Some(key) = key {
            self.buffer.put_slice(&key);
        }
        let start = self.buffer.len();
        payload(&mut self.buffer);
        if let Some(key) = key {
            mask::apply(&mut self.buffer[start..], key, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use anpx::limits::Budget;
    use anpx::v2::encode;

    use super::*;
    use crate::websocket::{Message, Reader};

    #[test]
    fn a_reader_of_the_other_side_reads_what_was_written() {
        for (side, other) in [(Side::Client, Side::Server), (Side::Server, Side::Client)] {
            let mut writer = Writer::new(side);
            let texts: Vec<String> = [0, 125, 126, 65535, 65536].map(|n| "x".repeat(n)).into();
            for text in &texts {
                writer.text(text);
            }
            writer.ping(b"12345678");
            writer.close(CloseCode::PROTOCOL, &"é".repeat(100));
            let mut reader = Reader::new(other, 1 << 20, Budget::new(1 << 30));
            let mut slices = [IoSlice::new(b"")];
            let mut input = &*writer.unwritten(&mut slices)[0];
            let mut messages = Vec::new();
            while !input.is_empty() {
                messages.extend(reader.feed(&mut input).unwrap());
            }
            let mut expected: Vec<_> = texts
                .into_iter()
                .map(|t| Message::Text(Bytes::from(t)))
                .collect();
            expected.push(Message::Ping(Bytes::from_static(b"12345678")));
            expected.push(Message::Close(Some((4000, Bytes::from("é".repeat(61))))));
            assert_eq!(messages, expected);
        }
    }

    #[test]
    fn large_bodies_are_not_copied_and_keep_their_place() {
        let frame = |len, fill: u8| encode::data(1, Bytes::from(vec![fill; len]), false);
        let frames = [
            (10, 1),
            (APART, 2),
            (APART, 3),
            (10, 4),
            (APART + 7, 5),
            (9, 6),
        ]
        .map(|(len, fill)| frame(len, fill));
        for side in [Side::Server, Side::Client] {
            let mut writer = Writer::new(side);
            let mut expected = BytesMut::new();
            let mut len = 0;
            for frame in &frames {
                writer.frame(frame.clone());
                frame.encode(&mut expected);
                // The head of a message: 2 bytes, of a large one 4, and a key.
                len += frame.encoded_len() + if frame.body.len() < 100 { 2 } else { 4 };
                len += 4 * usize::from(side == Side::Client);
            }
            let apart = frames.iter().filter(|frame| {
                let body = frame.body.as_ptr();
                writer.parts.iter().any(|part| part.as_ptr() == body)
            });
            assert_eq!(apart.count(), if side == Side::Server { 3 } else { 0 });
            assert_eq!(writer.len(), len);
            let mut bytes = BytesMut::new();
            for take in [1, 5, 50, APART, 1000].into_iter().cycle() {
                let mut slices = [IoSlice::new(b""); 3];
                let unwritten: Vec<u8> = (writer.unwritten(&mut slices).iter())
                    .flat_map(|slice| slice.iter().copied())
                    .collect();
                let take = take.min(unwritten.len());
                bytes.extend_from_slice(&unwritten[..take]);
                writer.written(take);
                if writer.is_empty() {
                    break;
                }
            }
            assert_eq!(bytes.len(), len);
            let other = match side {
                Side::Server => Side::Client,
                Side::Client => Side::Server,
            };
            let mut reader = Reader::new(other, 1 << 20, Budget::new(1 << 30));
            let mut input = &bytes[..];
            let mut joined = BytesMut::new();
            while !input.is_empty() {
                if let Some(Message::Binary(frame)) = reader.feed(&mut input).unwrap() {
                    joined.extend_from_slice(&frame);
                }
            }
            assert!(joined == expected);
        }
    }
}
