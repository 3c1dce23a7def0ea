//! Body bytes that arrived and wait for their reader.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

/// A queue of body bytes. Small pieces that arrive faster than they are read are joined, so that
/// a peer's one-byte frames cannot cost many times their size; the stream's window bounds the rest.
#[derive(Debug, Default)]
pub(super) struct BodyQueue {
    front: Bytes,
    more: VecDeque<Bytes>,
    tail: BytesMut,
}

impl BodyQueue {
    /// Pieces up to this many bytes are copied to join their neighbours.
    const JOIN: usize = 4 << 10;

    pub(super) fn push(&mut self, data: Bytes) {
        if data.is_empty() {
        } else if self.is_empty() {
            self.front = data;
        } else if data.len() <= Self::JOIN {
            self.tail.extend_from_slice(&data);
        } else {
            self.seal_tail();
            self.more.push_back(data);
        }
    }

    pub(super) fn pop(&mut self) -> Option<Bytes> {
        if self.front.is_empty() {
            return None;
        }
        if self.more.is_empty() {
            self.seal_tail();
        }
        Some(std::mem::replace(
            &mut self.front,
            self.more.pop_front().unwrap_or_default(),
        ))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.front.is_empty()
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    fn seal_tail(&mut self) {
        if !self.tail.is_empty() {
            self.more.push_back(std::mem::take(&mut self.tail).freeze());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_out_in_order_and_small_pieces_joined() {
        let mut queue = BodyQueue::default();
        let big = vec![7; BodyQueue::JOIN + 1];
        let mut expected = Vec::new();
        for piece in [&b"a"[..], b"b", b"c", &big, b"d", b"e"] {
            queue.push(Bytes::copy_from_slice(piece));
            expected.extend_from_slice(piece);
        }
        let pieces: Vec<_> = std::iter::from_fn(|| queue.pop()).collect();
        assert_eq!(pieces.len(), 4);
        assert_eq!(pieces.concat(), expected);
        assert!(queue.is_empty());
    }
}
