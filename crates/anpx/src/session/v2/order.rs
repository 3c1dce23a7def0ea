//! Whose turn it is to be written (ANPX 3.5).

use std::collections::VecDeque;

use crate::{ResetCode, frame::Frame, session::terms::StreamId};

/// Where a stream stands in the round of those with DATA to send.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Turn {
    /// In no queue: its next DATA goes to the front of the round.
    #[default]
    None,
    /// Waiting for its first turn, ahead of the round.
    Fresh,
    /// In the round.
    Round,
}

/// Queues of who has what to say. Streams that are gone are skipped by the reader of a queue.
#[derive(Debug, Default)]
pub(super) struct Order {
    /// SETTINGS.
    pub(super) session: VecDeque<Frame>,
    /// Streams that owe their peer a WINDOW.
    pub(super) windows: VecDeque<StreamId>,
    /// RESETs to send.
    pub(super) resets: VecDeque<(StreamId, ResetCode)>,
    /// RESETs among those that the peer provoked.
    pub(super) provoked: usize,
    /// Streams with a head to send.
    pub(super) heads: VecDeque<StreamId>,
    /// Streams with DATA or TRAILERS, on their first turn.
    pub(super) fresh: VecDeque<StreamId>,
    /// Streams that had a turn, in the order of their next.
    pub(super) round: VecDeque<StreamId>,
    /// Bytes of heads written since the last DATA.
    pub(super) heads_since_data: usize,
}

impl Order {
    /// After this many bytes of heads one DATA frame goes.
    const HEADS_PER_DATA: usize = 64 << 10;

    /// True where a head goes before DATA now.
    pub(super) fn head_is_next(&self) -> bool {
        let data_waits = !self.fresh.is_empty() || !self.round.is_empty();
        let data_is_due = data_waits && self.heads_since_data >= Self::HEADS_PER_DATA;
        !data_is_due && !self.heads.is_empty()
    }
}
