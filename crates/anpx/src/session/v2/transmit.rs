//! Frames out, in the order of ANPX 3.5: the session's own, then heads, then DATA in turns.

use std::time::Instant;

use super::{Session, order::Turn};
use crate::{
    ResetCode,
    frame::Frame,
    limits::MAX_UNWRITTEN,
    role::Role,
    session::terms::{StreamId, Transmit},
    v2::encode,
};

impl Session {
    /// See [`crate::session::Session::poll_transmit`].
    pub fn poll_transmit(&mut self, _now: Instant, unwritten: usize) -> Option<Transmit> {
        if self.ended {
            return None;
        }
        let control = self.next_control().or_else(|| self.go_away_behind_heads());
        let frame = control.or_else(|| {
            if unwritten >= MAX_UNWRITTEN {
                None
            } else if self.order.head_is_next() {
                self.next_head().or_else(|| self.next_data())
            } else {
                self.next_data().or_else(|| self.next_head())
            }
        });
        // Heads that were withdrawn leave nothing to wait for.
        frame
            .or_else(|| self.go_away_behind_heads())
            .map(Transmit::Frame)
    }

    /// See [`crate::session::Session::wants_transmit`].
    pub fn wants_transmit(&self) -> bool {
        let order = &self.order;
        !order.session.is_empty()
            || !order.windows.is_empty()
            || !order.resets.is_empty()
            || !order.heads.is_empty()
            || !order.fresh.is_empty()
            || !order.round.is_empty()
            || self.drain.due
    }

    fn next_control(&mut self) -> Option<Frame> {
        if let Some(frame) = self.order.session.pop_front() {
            return Some(frame);
        }
        if self.drain.due && self.config.role == Role::Receiver {
            return Some(self.go_away());
        }
        while let Some(id) = self.order.windows.pop_front() {
            let Some(stream) = self.streams.get_mut(&id) else {
                continue;
            };
            stream.recv.credit_queued = false;
            if stream.error.is_some() || stream.recv.ended {
                continue;
            }
            stream.committed = true;
            return Some(encode::window(id.0, stream.recv.flow.take_credit()));
        }
        let (id, code) = self.order.resets.pop_front()?;
        self.order.provoked = self.order.provoked.min(self.order.resets.len());
        Some(encode::reset(id.0, code))
    }

    /// A gateway's GOAWAY follows the heads it counts, and goes before DATA.
    fn go_away_behind_heads(&mut self) -> Option<Frame> {
        (self.drain.due && self.order.heads.is_empty()).then(|| self.go_away())
    }

    fn go_away(&mut self) -> Frame {
        self.drain.due = false;
        self.drain.written = true;
        let last = (self.config.role == Role::Gateway).then_some(self.highest);
        encode::go_away(ResetCode::NO_ERROR, last)
    }

    fn next_head(&mut self) -> Option<Frame> {
        while let Some(id) = self.order.heads.pop_front() {
            let Some(stream) = self.streams.get_mut(&id) else {
                continue;
            };
            let Some(frame) = stream.send.pop_head() else {
                continue;
            };
            match self.config.role {
                Role::Gateway => self.highest = self.highest.max(id.0),
                Role::Receiver => stream.committed = true,
            }
            self.order.heads_since_data = self
                .order
                .heads_since_data
                .saturating_add(frame.encoded_len());
            self.after_frame(id);
            return Some(frame);
        }
        None
    }

    fn next_data(&mut self) -> Option<Frame> {
        loop {
            let fresh = self.order.fresh.pop_front();
            let id = fresh.or_else(|| self.order.round.pop_front())?;
            let Some(stream) = self.streams.get_mut(&id) else {
                continue;
            };
            // A head still queued goes first: the order within a stream never changes.
            let frame = if stream.send.has_head() {
                None
            } else {
                stream.send.pop_body()
            };
            match frame {
                Some(frame) => {
                    stream.send.turn = Turn::Round;
                    self.order.round.push_back(id);
                    self.order.heads_since_data = 0;
                    self.after_frame(id);
                    return Some(frame);
                }
                None => stream.send.turn = Turn::None,
            }
        }
    }

    /// A frame of this stream is on its way: what does that allow?
    fn after_frame(&mut self, id: StreamId) {
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        let flushed = stream.send.is_flushed();
        let waits = stream.send.data.is_some() || stream.send.trailers.is_some();
        if waits && stream.send.turn == Turn::None && !stream.send.has_head() {
            stream.send.turn = Turn::Fresh;
            self.order.fresh.push_back(id);
        }
        if flushed && stream.send.ended {
            // A request that became whole meanwhile needs no word that its rest is unwanted.
            if std::mem::take(&mut stream.send.then_reset) && !stream.recv.ended {
                self.break_stream(id, ResetCode::NO_ERROR);
            } else {
                self.reap(id);
            }
        } else if flushed {
            self.queue_writable(id);
        }
    }

    /// Queues DATA of a stream whose slot is free.
    pub(super) fn queue_data(&mut self, id: StreamId, body: bytes::Bytes, end: bool) {
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        stream.send.data = Some(encode::data(id.0, body, end));
        stream.send.ended |= end;
        self.queue_turn(id);
    }

    /// Gives a stream with DATA or TRAILERS its place in the order.
    pub(super) fn queue_turn(&mut self, id: StreamId) {
        let Some(send) = self.streams.get_mut(&id).map(|stream| &mut stream.send) else {
            return;
        };
        if send.turn == Turn::None && !send.has_head() {
            send.turn = Turn::Fresh;
            self.order.fresh.push_back(id);
        }
    }
}
