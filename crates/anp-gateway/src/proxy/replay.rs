//! What was sent of a request's body, kept while another tunnel may still have to be tried.

use std::collections::VecDeque;

use bytes::Bytes;

/// Most bytes kept: beyond it a body cannot be sent again. Receivers that say nothing else grant
/// 64 KiB before they commit themselves (ANPX 3.8).
const LIMIT: usize = 1 << 20;

/// The pieces of a body in order, with a place up to which they were sent.
#[derive(Debug, Default)]
pub(crate) struct Replay {
    pieces: VecDeque<Bytes>,
    /// Pieces before this one were sent.
    next: usize,
    /// Of `pieces[next]` so many bytes were sent.
    offset: usize,
    kept: usize,
    lost: bool,
}

impl Replay {
    /// How many bytes are held.
    pub(crate) fn len(&self) -> usize {
        self.kept
    }

    /// Appends bytes that are yet to be sent.
    pub(crate) fn push(&mut self, piece: Bytes) {
        if piece.is_empty() {
            return;
        }
        self.kept += piece.len();
        self.pieces.push_back(piece);
        if self.kept > LIMIT {
            self.forget();
        }
    }

    /// The next bytes to send, at most `most`; empty where there are none.
    pub(crate) fn take(&mut self, most: usize) -> Bytes {
        let Some(piece) = self.pieces.get(self.next) else {
            return Bytes::new();
        };
        let end = piece.len().min(self.offset.saturating_add(most));
        let taken = piece.slice(self.offset..end);
        self.offset = end;
        if end == piece.len() {
            self.next += 1;
            self.offset = 0;
        }
        if self.lost {
            self.drop_sent();
        }
        taken
    }

    /// True where everything was sent.
    pub(crate) fn is_sent(&self) -> bool {
        self.next == self.pieces.len()
    }

    /// Lets go of what was sent, now and from now on: nobody will ask for it again.
    pub(crate) fn forget(&mut self) {
        self.lost = true;
        self.drop_sent();
    }

    /// Goes back to the beginning, or returns false where it is no longer there.
    pub(crate) fn rewind(&mut self) -> bool {
        if self.lost {
            return false;
        }
        (self.next, self.offset) = (0, 0);
        true
    }

    fn drop_sent(&mut self) {
        for piece in self.pieces.drain(..self.next) {
            self.kept -= piece.len();
        }
        self.next = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sends_in_order_and_again_from_the_beginning() {
        let mut replay = Replay::default();
        replay.push(Bytes::from_static(b"abc"));
        replay.push(Bytes::new());
        replay.push(Bytes::from_static(b"de"));
        for _ in 0..2 {
            assert_eq!(&replay.take(2)[..], b"ab");
            assert_eq!(&replay.take(9)[..], b"c");
            assert_eq!(&replay.take(9)[..], b"de");
            assert!(replay.is_sent() && replay.take(1).is_empty());
            assert!(replay.rewind());
        }
        assert_eq!(&replay.take(2)[..], b"ab");
        replay.forget();
        assert_eq!(&replay.take(9)[..], b"c");
        assert_eq!(&replay.take(9)[..], b"de");
        assert!(replay.is_sent() && !replay.rewind());
        assert_eq!(replay.kept, 0);
    }

    #[test]
    fn keeps_no_more_than_the_limit() {
        let mut replay = Replay::default();
        for _ in 0..3 {
            replay.push(Bytes::from(vec![0; LIMIT / 2]));
            replay.take(LIMIT);
        }
        assert!(replay.kept <= LIMIT);
        assert!(!replay.rewind());
    }
}
