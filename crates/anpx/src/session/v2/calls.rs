//! What applications do with streams.

use std::time::Instant;

use bytes::Bytes;

use super::{
    Session,
    stream::{HeadState, Stream},
};
use crate::{
    Fields, OpenError, RequestHead, ResetCode, ResponseHead, StreamError,
    limits::{MAX_HEAD_BODY, MAX_INFORMATIONAL, MAX_INFORMATIONAL_HEAD},
    role::Role,
    session::terms::{End, Event, Read, StreamId},
    v2::{StreamFault, check_request, encode},
};

/// A gateway drains a session that has opened this many streams, long before ids run out.
const LAST_ID: u32 = 1 << 31;

impl Session {
    /// See [`crate::session::Session::first_capacity`].
    pub fn first_capacity(&self) -> usize {
        self.peer
            .as_ref()
            .map_or(0, |peer| peer.frame_body.min(MAX_HEAD_BODY))
    }

    /// See [`crate::session::Session::open`].
    ///
    /// # Errors
    /// [`OpenError`]; nothing was sent.
    pub fn open(
        &mut self,
        _clock: impl FnOnce() -> Instant,
        head: &RequestHead,
        body: Bytes,
        end: End,
    ) -> Result<StreamId, OpenError> {
        if self.capacity() == 0 {
            return Err(OpenError::Unavailable);
        }
        let Some(peer) = &self.peer else {
            return Err(OpenError::Unavailable);
        };
        check_request(head).map_err(|fault| match fault {
            StreamFault::TooLarge => OpenError::TooLarge,
            _ => OpenError::Invalid,
        })?;
        let upgrade = head.protocol.is_some();
        if upgrade && (end.is_end() || !body.is_empty()) {
            return Err(OpenError::Invalid);
        }
        let mut stream = Box::new(Stream::new(self.config.initial_window, peer.initial_window));
        if body.len() > self.first_capacity() || !stream.send.window.consume(body.len()) {
            return Err(OpenError::TooLarge);
        }
        let id = StreamId(self.next_id);
        self.next_id += 1;
        stream.upgrade = upgrade;
        stream.recv.bodyless = head.method == b"HEAD"[..];
        stream.send.head = HeadState::Queued(encode::request(id.0, head, body, end.is_end()));
        stream.send.ended = end.is_end();
        self.streams.insert(id, stream);
        self.order.heads.push_back(id);
        self.allowance.stream_opened();
        if self.next_id >= LAST_ID {
            self.events.push_back(Event::Draining);
            self.drain();
        }
        Ok(id)
    }

    /// See [`crate::session::Session::accept`].
    pub fn accept(&mut self) -> Option<(StreamId, Box<RequestHead>)> {
        while let Some((id, head)) = self.incoming.pop_front() {
            let Some(stream) = self.streams.get_mut(&id) else {
                continue;
            };
            if stream.error.is_none() {
                return Some((id, head));
            }
            // Reset before the application saw it: it never will.
            stream.released = true;
            self.reap(id);
        }
        None
    }

    /// See [`crate::session::Session::read`].
    ///
    /// # Errors
    /// The half broke off.
    pub fn read(
        &mut self,
        clock: impl FnOnce() -> Instant,
        id: StreamId,
    ) -> Result<Read, StreamError> {
        let stream = self.stream(id)?;
        if let Some(error) = stream.error
            && !stream.recv.ended
        {
            return Err(error);
        }
        if let Some(head) = stream.recv.informational.pop_front() {
            return Ok(Read::Informational(head));
        }
        if let Some(head) = stream.recv.response.take() {
            return Ok(Read::Head(head, stream.tell_end()));
        }
        if let Some(data) = stream.recv.body.pop() {
            let end = stream.tell_end();
            if !stream.recv.ended {
                self.taken(clock(), id, data.len());
            }
            return Ok(Read::Data(data, end));
        }
        if let Some(trailers) = stream.recv.trailers.take() {
            stream.recv.end_told = true;
            return Ok(Read::Trailers(trailers));
        }
        Ok(if stream.tell_end_once() {
            Read::End
        } else {
            Read::Pending
        })
    }

    /// The reader took body bytes of a half that goes on.
    fn taken(&mut self, now: Instant, id: StreamId, len: usize) {
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        stream.recv.flow.taken(now, len, &mut self.growth);
        if stream.recv.flow.is_credit_due()
            && !std::mem::replace(&mut stream.recv.credit_queued, true)
        {
            self.order.windows.push_back(id);
        }
    }

    /// See [`crate::session::Session::inform`].
    ///
    /// # Errors
    /// The stream is over.
    pub fn inform(&mut self, id: StreamId, head: &ResponseHead) -> Result<(), StreamError> {
        let stream = self.open_half(id)?;
        let fits = stream.send.informational_sent < MAX_INFORMATIONAL
            && head.headers.block().len() <= MAX_INFORMATIONAL_HEAD;
        // Informational heads are advice: one too many is left out, as is one after the final head.
        if fits && head.is_informational() && matches!(stream.send.head, HeadState::None) {
            stream.send.informational_sent += 1;
            stream
                .send
                .informational
                .push_back(encode::response(id.0, head, Bytes::new(), false));
            self.order.heads.push_back(id);
        }
        Ok(())
    }

    /// See [`crate::session::Session::respond`].
    ///
    /// # Errors
    /// The stream is over.
    pub fn respond(
        &mut self,
        id: StreamId,
        head: &ResponseHead,
        body: Bytes,
        end: End,
    ) -> Result<(), StreamError> {
        let first_capacity = self.first_capacity();
        let stream = self.open_half(id)?;
        let switches = head.status == 101;
        let fits = body.len() <= first_capacity
            && (switches && stream.upgrade || matches!(head.status, 200..=599));
        let first = matches!(stream.send.head, HeadState::None);
        if !first || !fits || !stream.send.window.consume(body.len()) {
            return Err(StreamError::Reset(ResetCode::INTERNAL));
        }
        stream.upgrade = switches;
        if switches {
            // What follows a 101 is no content, whatever length the request announced.
            stream.recv.length_left = None;
        }
        stream.send.head = HeadState::Queued(encode::response(id.0, head, body, end.is_end()));
        stream.send.ended = end.is_end();
        self.order.heads.push_back(id);
        Ok(())
    }

    /// See [`crate::session::Session::send_capacity`].
    ///
    /// # Errors
    /// The stream is over.
    pub fn send_capacity(&self, id: StreamId) -> Result<usize, StreamError> {
        let stream = self
            .streams
            .get(&id)
            .ok_or(StreamError::SessionEnded { written: true })?;
        if let Some(error) = stream.error {
            return Err(error);
        }
        if stream.send.data.is_some() || stream.send.ended || !stream.may_send(self.config.role) {
            return Ok(0);
        }
        let window = usize::try_from(stream.send.window.available()).unwrap_or(usize::MAX);
        Ok(window.min(self.peer.as_ref().map_or(0, |peer| peer.frame_body)))
    }

    /// See [`crate::session::Session::send_data`].
    ///
    /// # Errors
    /// The stream is over, its head was not sent, or `data` exceeds the capacity.
    pub fn send_data(&mut self, id: StreamId, data: Bytes, end: End) -> Result<(), StreamError> {
        let capacity = self.send_capacity(id)?;
        let role = self.config.role;
        let stream = self.open_half(id)?;
        let allowed = stream.may_send(role) && !stream.send.ended && data.len() <= capacity;
        if !allowed || !stream.send.window.consume(data.len()) {
            return Err(StreamError::Reset(ResetCode::INTERNAL));
        }
        if let Some(waiting) = &mut stream.send.data {
            // Only an empty DATA gets here: the end joins the frame that waits.
            if end.is_end() {
                *waiting = encode::data(id.0, waiting.body.clone(), true);
                stream.send.ended = true;
            }
        } else if end.is_end() || !data.is_empty() {
            self.queue_data(id, data, end.is_end());
        }
        Ok(())
    }

    /// See [`crate::session::Session::send_trailers`].
    ///
    /// # Errors
    /// The stream is over, its head was not sent, or it is an upgrade, which has no trailers.
    pub fn send_trailers(&mut self, id: StreamId, trailers: Fields) -> Result<(), StreamError> {
        let role = self.config.role;
        let stream = self.open_half(id)?;
        if stream.send.ended || stream.upgrade || !stream.may_send(role) {
            return Err(StreamError::Reset(ResetCode::INTERNAL));
        }
        stream.send.trailers = Some(encode::trailers(id.0, &trailers));
        stream.send.ended = true;
        self.queue_turn(id);
        Ok(())
    }

    /// See [`crate::session::Session::reset`].
    pub fn reset(&mut self, id: StreamId, code: ResetCode) {
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        if stream.is_closed() {
            return;
        }
        let unread = self.config.role == Role::Receiver && stream.send.ended;
        if code == ResetCode::NO_ERROR && unread && !stream.send.is_flushed() {
            // It keeps its place behind the stream's own DATA (ANPX 3.8).
            stream.send.then_reset = true;
            return;
        }
        let promise_is_void = code == ResetCode::REFUSED && stream.committed;
        let code = if promise_is_void {
            ResetCode::INTERNAL
        } else {
            code
        };
        let unwritten = !stream.send.is_head_written();
        if unwritten && self.config.role == Role::Gateway {
            stream.fail(StreamError::Reset(code));
            self.queue_readable(id);
            self.queue_writable(id);
            self.reap(id);
        } else {
            self.break_stream(id, code);
        }
    }

    /// See [`crate::session::Session::stream_error`].
    pub fn stream_error(&self, id: StreamId) -> Option<StreamError> {
        self.streams.get(&id)?.error
    }

    /// See [`crate::session::Session::is_committed`].
    pub fn is_committed(&self, id: StreamId) -> bool {
        self.streams.get(&id).is_none_or(|stream| stream.committed)
    }

    /// See [`crate::session::Session::release`].
    pub fn release(&mut self, id: StreamId) {
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        stream.released = true;
        if stream.is_closed() {
            self.reap(id);
            return;
        }
        match (self.config.role, stream.send.ended, stream.recv.ended) {
            // Whole on this side: what is queued goes out, then the stream is gone.
            (_, true, true) => {}
            (Role::Receiver, true, false) => self.reset(id, ResetCode::NO_ERROR),
            (Role::Receiver, false, _) => self.reset(id, ResetCode::INTERNAL),
            (Role::Gateway, _, _) => self.reset(id, ResetCode::CANCELLED),
        }
    }

    fn stream(&mut self, id: StreamId) -> Result<&mut Stream, StreamError> {
        self.streams
            .get_mut(&id)
            .map(AsMut::as_mut)
            .ok_or(StreamError::SessionEnded { written: true })
    }

    /// The stream, where this side may still send on it.
    fn open_half(&mut self, id: StreamId) -> Result<&mut Stream, StreamError> {
        let stream = self.stream(id)?;
        stream.error.map_or(Ok(stream), Err)
    }
}

impl Stream {
    /// Whether body bytes or an end may follow: the head went before them, and on an upgrade a
    /// gateway waits for the 101 (ANPX 3.7).
    fn may_send(&self, role: Role) -> bool {
        let before_101 = role == Role::Gateway && self.upgrade && !self.recv.head_seen;
        self.send.has_answered() && !before_101
    }

    /// Whether the part being given to the reader is the last; notes that the reader was told.
    fn tell_end(&mut self) -> End {
        End::from(self.tell_end_once())
    }

    fn tell_end_once(&mut self) -> bool {
        let tell = self.recv.is_drained() && !self.recv.end_told;
        self.recv.end_told |= tell;
        tell
    }
}
