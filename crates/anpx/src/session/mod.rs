//! The protocol state of one tunnel, without I/O: bytes and the time go in, frames and events come out.
//!
//! A [`Session`] never blocks, never reads a clock and owns no socket. Its owner
//! 1. hands it every message read ([`Session::handle_binary`], [`Session::handle_text`]) and every
//!    deadline passed ([`Session::handle_timeout`]);
//! 2. then takes what it wants to say: [`Session::poll_event`] until `None`,
//!    [`Session::poll_transmit`] while there is room, [`Session::poll_timeout`] for the next deadline;
//! 3. calls the stream methods for its applications in between, after which 2 applies again.

use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::{
    OpenError, ResetCode, SessionError, StreamError,
    fields::Fields,
    head::{RequestHead, ResponseHead},
};

pub mod config;
mod terms;
pub mod v1;
pub mod v2;

pub use crate::role::Role;
pub use terms::{End, Event, Read, StreamId, Transmit};

/// The state of one tunnel, of either version and role.
#[derive(Debug)]
pub enum Session {
    /// Version 1.
    V1(v1::Session),
    /// Version 2.
    V2(v2::Session),
}

macro_rules! delegate {
    ($self:ident, $session:ident => $call:expr) => {
        match $self {
            Session::V1($session) => $call,
            Session::V2($session) => $call,
        }
    };
}

impl Session {
    /// Takes one binary message, which must be one frame.
    ///
    /// # Errors
    /// The session is over and the transport must close with the error's code.
    pub fn handle_binary(&mut self, now: Instant, message: Bytes) -> Result<(), SessionError> {
        delegate!(self, s => s.handle_binary(now, message))
    }

    /// Takes one text message.
    ///
    /// # Errors
    /// As [`Session::handle_binary`].
    pub fn handle_text(&mut self, now: Instant, message: &str) -> Result<(), SessionError> {
        delegate!(self, s => s.handle_text(now, message))
    }

    /// Acts on the deadlines that have passed.
    ///
    /// # Errors
    /// As [`Session::handle_binary`].
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), SessionError> {
        delegate!(self, s => s.handle_timeout(now))
    }

    /// Tells the session a WebSocket round-trip time; it keeps the least (ANPX 3.4).
    pub fn handle_round_trip(&mut self, sample: Duration) {
        match self {
            Self::V1(_) => {}
            Self::V2(s) => s.handle_round_trip(sample),
        }
    }

    /// When [`Session::handle_timeout`] is next due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        delegate!(self, s => s.poll_timeout())
    }

    /// The next message to write. `unwritten` is how many bytes wait in user space below the
    /// session (WebSocket and TLS buffers included): at 128 KiB only control frames still come out.
    pub fn poll_transmit(&mut self, now: Instant, unwritten: usize) -> Option<Transmit> {
        delegate!(self, s => s.poll_transmit(now, unwritten))
    }

    /// False where [`Session::poll_transmit`] would surely give nothing.
    pub fn wants_transmit(&self) -> bool {
        delegate!(self, s => s.wants_transmit())
    }

    /// Whether [`Session::poll_event`] has something to tell.
    pub fn has_events(&self) -> bool {
        delegate!(self, s => s.has_events())
    }

    /// The next thing the owner should know.
    pub fn poll_event(&mut self) -> Option<Event> {
        delegate!(self, s => s.poll_event())
    }

    /// Begins a graceful end from this side (ANPX 3.9): no new streams; [`Session::is_drained`] says when.
    pub fn drain(&mut self) {
        delegate!(self, s => s.drain());
    }

    /// True once this side began a drain and every stream has ended: close with 1001.
    pub fn is_drained(&self) -> bool {
        delegate!(self, s => s.is_drained())
    }

    /// The transport is gone: every unfinished stream ends with [`StreamError::SessionEnded`].
    pub fn end(&mut self) {
        delegate!(self, s => s.end());
    }

    /// Receiver: asks for new streams, or for none for now (ANPX 3.9, `accepting`).
    pub fn set_accepting(&mut self, accepting: bool) {
        match self {
            // Version 1 has no word for it.
            Self::V1(_) => {}
            Self::V2(s) => s.set_accepting(accepting),
        }
    }

    /// Gateway: false while the receiver asks for no new streams (ANPX 3.9), which version 1 cannot.
    pub fn is_accepting(&self) -> bool {
        match self {
            Self::V1(_) => true,
            Self::V2(s) => s.is_accepting(),
        }
    }

    /// Gateway: how many streams may be opened now.
    pub fn capacity(&self) -> usize {
        delegate!(self, s => s.capacity())
    }

    /// Streams that hold a place now.
    pub fn open_streams(&self) -> usize {
        delegate!(self, s => s.open_streams())
    }

    /// Gateway: sends a request head with the first bytes of its body. `body` may hold at most
    /// [`Session::first_capacity`] bytes. With `end` the request is whole. Only version 1 looks at the
    /// `clock`.
    ///
    /// # Errors
    /// [`OpenError`]; nothing was sent.
    pub fn open(
        &mut self,
        clock: impl FnOnce() -> Instant,
        head: &RequestHead,
        body: Bytes,
        end: End,
    ) -> Result<StreamId, OpenError> {
        delegate!(self, s => s.open(clock, head, body, end))
    }

    /// Body bytes that may go inside a head, for [`Session::open`] and [`Session::respond`]'s first call.
    pub fn first_capacity(&self) -> usize {
        delegate!(self, s => s.first_capacity())
    }

    /// Receiver: takes the next request.
    pub fn accept(&mut self) -> Option<(StreamId, Box<RequestHead>)> {
        delegate!(self, s => s.accept())
    }

    /// The next part of the incoming half. Taking body bytes is what grants the peer credit; the
    /// `clock` is looked at only then, since it costs as much as all else.
    ///
    /// # Errors
    /// The half broke off; what was read of it is not a whole message.
    pub fn read(
        &mut self,
        clock: impl FnOnce() -> Instant,
        id: StreamId,
    ) -> Result<Read, StreamError> {
        delegate!(self, s => s.read(clock, id))
    }

    /// Receiver: sends an informational head (100, 102 to 199).
    ///
    /// # Errors
    /// The stream is over.
    pub fn inform(&mut self, id: StreamId, head: &ResponseHead) -> Result<(), StreamError> {
        delegate!(self, s => s.inform(id, head))
    }

    /// Receiver: sends the final head with the first bytes of its body (at most
    /// [`Session::first_capacity`]). With `end` the response is whole. The status is 200 to 599, or
    /// 101 on an upgrade.
    ///
    /// # Errors
    /// The stream is over, or the head breaks one of these rules; nothing was sent then.
    pub fn respond(
        &mut self,
        id: StreamId,
        head: &ResponseHead,
        body: Bytes,
        end: End,
    ) -> Result<(), StreamError> {
        delegate!(self, s => s.respond(id, head, body, end))
    }

    /// How many body bytes [`Session::send_data`] takes now; 0 means wait for [`Event::Writable`].
    ///
    /// # Errors
    /// The stream is over.
    pub fn send_capacity(&self, id: StreamId) -> Result<usize, StreamError> {
        delegate!(self, s => s.send_capacity(id))
    }

    /// Sends body bytes, at most [`Session::send_capacity`] of them; an empty `data` with `end` is
    /// always taken once the head was sent (on an upgrade a gateway waits for the 101).
    ///
    /// # Errors
    /// The stream is over.
    pub fn send_data(&mut self, id: StreamId, data: Bytes, end: End) -> Result<(), StreamError> {
        delegate!(self, s => s.send_data(id, data, end))
    }

    /// Sends trailers and ends the half. Version 1 has none and only ends it.
    ///
    /// # Errors
    /// The stream is over.
    pub fn send_trailers(&mut self, id: StreamId, trailers: Fields) -> Result<(), StreamError> {
        delegate!(self, s => s.send_trailers(id, trailers))
    }

    /// Ends both halves at once. What this side has queued is dropped; a REQUEST not yet written is withdrawn.
    pub fn reset(&mut self, id: StreamId, code: ResetCode) {
        delegate!(self, s => s.reset(id, code));
    }

    /// The reason the peer (or a breach by the peer) ended the stream, once it has.
    pub fn stream_error(&self, id: StreamId) -> Option<StreamError> {
        delegate!(self, s => s.stream_error(id))
    }

    /// Gateway: true once the peer may have processed the request (a WINDOW or a RESPONSE was read),
    /// so REFUSED can no longer come and nothing need be kept for a replay (ANPX 3.8).
    pub fn is_committed(&self, id: StreamId) -> bool {
        delegate!(self, s => s.is_committed(id))
    }

    /// The application is done with the stream. An unfinished half is reset: CANCELLED by a gateway;
    /// by a receiver NO_ERROR behind its own data where the response is whole, else INTERNAL.
    pub fn release(&mut self, id: StreamId) {
        delegate!(self, s => s.release(id));
    }
}
