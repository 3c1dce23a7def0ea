//! Chunks of version 1 (ANPX 2.1): cutting a message into frames and checking their order.

use bytes::Bytes;

use super::codec::{self, Decoded, Kind, Position};
use crate::{frame::Frame, tlv};

/// Cuts one message into frames of at most `chunk_size` bytes of TLVs, a meta that is larger on its
/// own excepted. A request's meta goes in its first frame, a response's in its last.
#[derive(Debug)]
pub struct Splitter {
    kind: Kind,
    id: Bytes,
    chunk_size: usize,
    next: u32,
    total: Option<u32>,
}

impl Splitter {
    /// For the message `id`, a request or a response.
    pub fn new(kind: Kind, id: Bytes, chunk_size: usize) -> Self {
        Self {
            kind,
            id,
            chunk_size,
            next: 0,
            total: None,
        }
    }

    /// True until the first frame was taken.
    pub fn is_fresh(&self) -> bool {
        self.next == 0
    }

    /// Body bytes that fit in a chunk without meta; at least 1.
    pub fn room(&self) -> usize {
        self.room_beside(None).max(1)
    }

    /// Takes the next frame off the front of `body` and says whether it is the last.
    ///
    /// `ended` says that nothing follows what is in `body`. `meta` is read for the first frame of a
    /// request, and for a response where `ended`.
    pub fn take(&mut self, meta: &[u8], body: &mut Bytes, ended: bool) -> (Frame, bool) {
        let fresh = self.is_fresh();
        let whole = codec::overhead(&self.id, false) + tlv::HEAD + meta.len() + body.len();
        if fresh && ended && whole <= self.chunk_size {
            let body = std::mem::take(body);
            self.next = 1;
            return (
                codec::frame(self.kind, &self.id, Some(meta), None, body),
                true,
            );
        }
        if fresh && ended {
            self.total = Some(self.count(meta, body.len()));
        }
        let beside = self.room_beside(Some(meta));
        let (with_meta, room, last) = match self.kind {
            Kind::Response => {
                let last = ended && body.len() <= beside;
                (last, self.room(), last)
            }
            Kind::Request | Kind::Error => {
                let room = if fresh { beside } else { self.room() };
                (fresh, room, ended && body.len() <= room)
            }
        };
        let part = body.split_to(room.min(body.len()));
        let position = Position {
            index: self.next,
            total: self.total,
            last,
        };
        // Every chunk but the first and the last carries a byte or more, so an index is never used
        // up before 4 GiB of body, far beyond what a reader may hold (ANPX section 4).
        self.next = self.next.saturating_add(1);
        let meta = with_meta.then_some(meta);
        (
            codec::frame(self.kind, &self.id, meta, Some(position), part),
            last,
        )
    }

    /// The frames that break off a message some chunks of which have gone: a chunk that skips one
    /// index, so that no reader takes what it has for whole, then the error frame (ANPX 2.3, cancel).
    pub fn abort(&self, text: &'static str) -> [Frame; 2] {
        let skip = Position {
            index: self.next.saturating_add(1),
            total: None,
            last: true,
        };
        [
            codec::frame(self.kind, &self.id, None, Some(skip), Bytes::new()),
            codec::frame(
                Kind::Error,
                &self.id,
                None,
                None,
                Bytes::from_static(text.as_bytes()),
            ),
        ]
    }

    /// The request id.
    pub fn id(&self) -> &Bytes {
        &self.id
    }

    fn room_beside(&self, meta: Option<&[u8]>) -> usize {
        let meta = meta.map_or(0, |m| tlv::HEAD + m.len());
        self.chunk_size
            .saturating_sub(codec::overhead(&self.id, true) + meta)
    }

    /// The number of chunks for `left` bytes of body, all of which are there.
    fn count(&self, meta: &[u8], left: usize) -> u32 {
        let (beside, room) = (self.room_beside(Some(meta)), self.room());
        // One frame holds the meta and `beside` bytes; the rest goes in frames of `room` bytes.
        let others = left.saturating_sub(beside).div_ceil(room);
        u32::try_from(others.saturating_add(1)).unwrap_or(u32::MAX)
    }
}

/// Why the chunks of a message are not one (ANPX 2.1). `Display` names the rule and the values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChunkError {
    /// Flag bit 0 or a position is there, but no index.
    #[error("a chunk has no chunk_idx")]
    NoIndex,
    /// A gap, a repeat or a step back.
    #[error("chunk_idx is {found}, expected {expected}")]
    Order {
        /// The index read.
        found: u32,
        /// The index that comes next.
        expected: u32,
    },
    /// A frame without position after chunks.
    #[error("a frame without chunk_idx follows {0} chunks")]
    NotAChunk(u32),
    /// The index is not below the total.
    #[error("chunk_idx is {index}, but chunk_tot is {total}")]
    BeyondTotal {
        /// The index read.
        index: u32,
        /// The total.
        total: u32,
    },
    /// The total differs from the one before.
    #[error("chunk_tot is {found}, was {was}")]
    TotalChanged {
        /// The total read.
        found: u32,
        /// The total of an earlier chunk.
        was: u32,
    },
    /// final_chunk before chunk_tot chunks.
    #[error("final_chunk on chunk {index} of {total}")]
    EarlyFinal {
        /// The index read.
        index: u32,
        /// The total.
        total: u32,
    },
}

/// Checks that the frames of one message come whole and in order.
#[derive(Clone, Copy, Debug, Default)]
pub struct Order {
    next: u32,
    total: Option<u32>,
}

impl Order {
    /// Checks the next frame and says whether the message is whole with it. After an error or a
    /// `true` the order must not be used again.
    ///
    /// # Errors
    /// The rule that broke the message.
    pub fn accept(&mut self, frame: &Decoded) -> Result<bool, ChunkError> {
        let Some(index) = frame.chunk_idx else {
            if frame.chunked || frame.chunk_tot.is_some_and(|t| t != 1) {
                return Err(ChunkError::NoIndex);
            }
            if self.next != 0 {
                return Err(ChunkError::NotAChunk(self.next));
            }
            return Ok(true);
        };
        if index != self.next {
            return Err(ChunkError::Order {
                found: index,
                expected: self.next,
            });
        }
        if let Some(found) = frame.chunk_tot {
            match self.total {
                Some(was) if was != found => return Err(ChunkError::TotalChanged { found, was }),
                _ => self.total = Some(found),
            }
        }
        if let Some(total) = self.total {
            if index >= total {
                return Err(ChunkError::BeyondTotal { index, total });
            }
            let complete = index == total - 1;
            if frame.final_chunk && !complete {
                return Err(ChunkError::EarlyFinal { index, total });
            }
            if complete {
                return Ok(true);
            }
        }
        // The index 2^32 - 1 is reached by no message that fits the limits; it ends one.
        self.next = self.next.checked_add(1).ok_or(ChunkError::BeyondTotal {
            index,
            total: u32::MAX,
        })?;
        Ok(frame.final_chunk)
    }
}
