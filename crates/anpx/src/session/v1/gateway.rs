//! The gateway's side: requests out, answers in.

use std::time::Duration;

use bytes::Bytes;
use uuid::Uuid;

use super::{Session, outgoing::Outgoing, stream::Stream};
use crate::{
    OpenError, ResetCode, SessionError, StreamError, classes,
    head::RequestHead,
    limits::{MAX_HEAD_REST, MAX_TARGET},
    role::Role,
    session::terms::{End, StreamId},
    v1::codec::{Decoded, Kind, MAX_REQUEST_ID},
};

/// How long the place of a cancelled request waits for its answer. Receivers in the field ignore
/// cancels and answer late; one that never answers must not use the tunnel up.
const CANCELLED_PLACE: Duration = Duration::from_secs(600);

impl Session {
    /// Gateway: sends a request. Nothing is written before there is a byte of body or the end, so a
    /// request whose end is known soon enough is one frame with a content-length.
    ///
    /// # Errors
    /// `Unsupported` for upgrades, `TooLarge` beyond the limits of ANPX section 4, `Invalid` for a
    /// method or authority that is none, else `Unavailable`.
    pub fn open(
        &mut self,
        clock: impl FnOnce() -> std::time::Instant,
        head: &RequestHead,
        body: Bytes,
        end: End,
    ) -> Result<StreamId, OpenError> {
        self.clock = clock();
        if head.protocol.is_some() {
            return Err(OpenError::Unsupported);
        }
        if head.target.len() > MAX_TARGET
            || head.method.len() + head.authority.len() > MAX_HEAD_REST
        {
            return Err(OpenError::TooLarge);
        }
        if !classes::is_token(&head.method) || !head.authority.iter().all(u8::is_ascii_graphic) {
            return Err(OpenError::Invalid);
        }
        if self.capacity() == 0 {
            return Err(OpenError::Unavailable);
        }
        let id = self.next_id();
        let wire = self.wire_id(&head.request_id);
        let mut outgoing = Outgoing::request(head.clone(), wire.clone(), self.config.chunk_size);
        outgoing.push(body, end.is_end());
        let mut stream = Stream::new(outgoing);
        stream.accepted = true;
        stream.to_head = &head.method[..] == b"HEAD";
        self.streams.insert(id, stream);
        self.places.insert(wire, id);
        self.take_turn(id);
        Ok(id)
    }

    /// `wanted`, or a new UUID where it was used on this session or cannot be one.
    fn wire_id(&self, wanted: &Bytes) -> Bytes {
        let fits = (1..=MAX_REQUEST_ID).contains(&wanted.len());
        if fits
            && std::str::from_utf8(wanted).is_ok()
            && !self.places.contains_key(wanted)
            && !self.ended.contains(wanted)
        {
            // A copy, so that an id remembered keeps nothing else alive.
            Bytes::copy_from_slice(wanted)
        } else {
            Bytes::from(Uuid::new_v4().to_string())
        }
    }

    pub(super) fn handle_answer(&mut self, frame: Decoded) -> Result<(), SessionError> {
        let Some(wire) = &frame.request_id else {
            // An error frame that names no request is news for a log, not for a stream.
            return Ok(());
        };
        let Some(&id) = self.places.get(wire) else {
            return if self.ended.contains(wire) {
                Ok(())
            } else {
                Err(SessionError::protocol("answer to a request never issued"))
            };
        };
        let Some(stream) = self.streams.get_mut(&id) else {
            return Ok(());
        };
        if stream.outgoing.is_fresh() {
            return Err(SessionError::protocol("answer to a request never issued"));
        }
        if frame.kind == Kind::Error {
            stream.outgoing.stop();
            self.fail(id, StreamError::Reset(ResetCode::UPSTREAM_FAILED));
            self.free_place(id);
            self.reap(id);
            return Ok(());
        }
        let taken = if stream.dropping {
            stream.incoming.accept(&frame)
        } else {
            let to_head = stream.to_head;
            stream
                .incoming
                .take_response(&mut self.account, frame, to_head)
        };
        match taken {
            Ok(whole) => {
                if stream.incoming.is_readable() {
                    self.events.readable(id, &mut stream.pending);
                }
                if whole {
                    self.free_place(id);
                    self.reap(id);
                } else {
                    self.arm(id, self.config.chunk_timeout);
                }
            }
            Err(code) => self.break_response(id, code),
        }
        Ok(())
    }

    /// The answer is not a message, or not one that can be held.
    fn break_response(&mut self, id: StreamId, code: ResetCode) {
        if let Some(stream) = self.streams.get_mut(&id)
            && !stream.dropping
        {
            stream.outgoing.cancel();
        }
        self.fail(id, StreamError::Reset(code));
        self.take_turn(id);
        self.free_place(id);
        self.reap(id);
    }

    pub(super) fn expire_response(&mut self, id: StreamId) {
        self.break_response(id, ResetCode::TIMEOUT);
    }

    pub(super) fn cancel_request(&mut self, id: StreamId, code: ResetCode) {
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        if !stream.dropping && !self.over {
            stream.dropping = true;
            if stream.outgoing.is_fresh() {
                stream.outgoing.stop();
                self.withdraw(id);
            } else if stream.place || !stream.outgoing.is_over() {
                // After an error, what is to be said to the receiver was said.
                if stream.error.is_none() {
                    stream.outgoing.cancel();
                }
                if stream.place {
                    self.arm(id, CANCELLED_PLACE);
                }
            }
        }
        self.fail(id, StreamError::Reset(code));
        self.take_turn(id);
    }

    /// Frees the place of a request of which nothing was written; its id stays unknown to the peer.
    fn withdraw(&mut self, id: StreamId) {
        if let Some(stream) = self.streams.get_mut(&id)
            && std::mem::take(&mut stream.place)
        {
            self.places.remove(stream.outgoing.id());
            self.events.capacity();
        }
    }

    pub(super) fn release_request(&mut self, id: StreamId) {
        debug_assert_eq!(self.config.role, Role::Gateway);
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        stream.released = true;
        if stream.place || !stream.outgoing.is_over() {
            self.cancel_request(id, ResetCode::CANCELLED);
        } else if let Some(stream) = self.streams.get_mut(&id) {
            stream.incoming.clear(&mut self.account);
        }
        self.reap(id);
    }
}
