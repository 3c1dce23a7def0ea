//! From messages to the bytes that wait to be written.

use anpx::{CloseCode, frame::Frame};
use bytes::{Buf, BufMut, BytesMut};
use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::{Side, mask, opcode};

/// The one write buffer of a connection.
#[derive(Debug)]
pub(crate) struct Writer {
    buffer: BytesMut,
    /// The source of masking keys; the client has one (RFC 6455 section 5.3).
    masks: Option<Box<StdRng>>,
}

impl Writer {
    pub(crate) fn new(side: Side) -> Self {
        let masks = (side == Side::Client).then(|| Box::new(StdRng::from_rng(&mut rand::rng())));
        Self {
            buffer: BytesMut::new(),
            masks,
        }
    }

    /// Bytes that wait.
    pub(crate) fn unwritten(&self) -> &[u8] {
        &self.buffer
    }

    /// Takes note that `n` bytes were written.
    pub(crate) fn written(&mut self, n: usize) {
        self.buffer.advance(n);
        if self.buffer.is_empty() {
            self.buffer.clear();
        }
    }

    /// Forgets what waits.
    pub(crate) fn discard(&mut self) {
        self.buffer.clear();
    }

    /// Gives the buffer's memory back where nothing waits.
    pub(crate) fn release(&mut self) {
        if self.buffer.is_empty() {
            self.buffer = BytesMut::new();
        }
    }

    pub(crate) fn frame(&mut self, frame: &Frame) {
        self.message(opcode::BINARY, frame.encoded_len(), |out| frame.encode(out));
    }

    pub(crate) fn text(&mut self, text: &str) {
        self.message(opcode::TEXT, text.len(), |out| {
            out.put_slice(text.as_bytes())
        });
    }

    pub(crate) fn ping(&mut self, payload: &[u8]) {
        self.message(opcode::PING, payload.len(), |out| out.put_slice(payload));
    }

    pub(crate) fn pong(&mut self, payload: &[u8]) {
        self.message(opcode::PONG, payload.len(), |out| out.put_slice(payload));
    }

    /// A close frame; the reason is cut to what fits (RFC 6455 section 5.5).
    pub(crate) fn close(&mut self, code: CloseCode, reason: &str) {
        let cut = (0..=reason.len().min(123))
            .rev()
            .find(|i| reason.is_char_boundary(*i));
        let reason = &reason.as_bytes()[..cut.unwrap_or(0)];
        self.message(opcode::CLOSE, 2 + reason.len(), |out| {
            out.put_u16(code.0);
            out.put_slice(reason);
        });
    }

    fn message(&mut self, opcode: u8, len: usize, payload: impl FnOnce(&mut BytesMut)) {
        self.buffer.reserve(14 + len);
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
    use bytes::Bytes;

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
            let mut reader = Reader::new(other, 1 << 20);
            let mut input = writer.unwritten();
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
}
