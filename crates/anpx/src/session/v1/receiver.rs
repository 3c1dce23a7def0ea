//! The receiver's side: whole requests in, exactly one answer to each out.

use bytes::Bytes;
use uuid::Uuid;

use super::{Session, outgoing::Outgoing, stream::Stream};
use crate::{
    ResetCode, SessionError, StreamError,
    fields::Fields,
    head::{RequestHead, ResponseHead},
    role::Role,
    session::terms::{End, StreamId},
    v1::{
        codec::Decoded,
        message::{self, MetaError},
    },
};

impl Session {
    /// Receiver: takes the next request, which is whole.
    pub fn accept(&mut self) -> Option<(StreamId, Box<RequestHead>)> {
        let (id, head) = self.accepting.pop_front()?;
        let stream = self.streams.get_mut(&id)?;
        stream.accepted = true;
        stream.incoming.refund_meta(&mut self.account);
        Some((id, head))
    }

    /// Receiver: sends the final head with the first bytes of the body. On the wire the head follows
    /// the body, in the last chunk.
    ///
    /// # Errors
    /// The stream is over; PROTOCOL for a status that is not final (101 included, which version 1
    /// cannot carry), after which the stream is reset; INTERNAL for a second head.
    pub fn respond(
        &mut self,
        id: StreamId,
        head: &ResponseHead,
        body: Bytes,
        end: End,
    ) -> Result<(), StreamError> {
        let stream = self.writable(id)?;
        if !(200..600).contains(&head.status) {
            self.reset(id, ResetCode::PROTOCOL);
            return Err(StreamError::Reset(ResetCode::PROTOCOL));
        }
        if !stream.outgoing.set_response(head.clone()) {
            return Err(StreamError::Reset(ResetCode::INTERNAL));
        }
        stream.outgoing.push(body, end.is_end());
        self.take_turn(id);
        Ok(())
    }

    pub(super) fn handle_request(&mut self, frame: Decoded) -> Result<(), SessionError> {
        let Some(wire) = &frame.request_id else {
            return Err(SessionError::protocol("request without request_id"));
        };
        let id = match self.places.get(wire) {
            Some(id) => *id,
            None if self.ended.contains(wire) => return Ok(()),
            None => self.new_request(wire)?,
        };
        let timeout = self.config.chunk_timeout;
        let Some(stream) = self.streams.get_mut(&id) else {
            return Ok(());
        };
        // A repeat of an id in use, or the rest of a request that was answered before its end.
        if stream.incoming.is_whole() || stream.outgoing.has_head() {
            return Ok(());
        }
        let last = ends_message(&frame);
        let code = if stream.dropping {
            None
        } else {
            match stream.incoming.take_request(&mut self.account, frame) {
                Ok(true) => {
                    self.request_is_whole(id);
                    return Ok(());
                }
                Ok(false) => {
                    self.arm(id, timeout);
                    return Ok(());
                }
                Err(code) => Some(code),
            }
        };
        if let Some(code) = code {
            stream.dropping = true;
            stream.error = Some(StreamError::Reset(code));
            stream.incoming.clear(&mut self.account);
        }
        if last {
            self.answer_dropped(id);
        } else {
            self.arm(id, timeout);
        }
        Ok(())
    }

    fn new_request(&mut self, wire: &Bytes) -> Result<StreamId, SessionError> {
        let most = self.config.max_open_messages;
        if self.places.len() >= most.saturating_mul(2) {
            return Err(SessionError::limit("too many requests without an answer"));
        }
        // A copy, so that an id remembered does not keep its request's message alive.
        let wire = Bytes::copy_from_slice(wire);
        let outgoing = Outgoing::response(wire.clone(), self.config.chunk_size);
        let mut stream = Stream::new(outgoing);
        if self.draining || self.places.len() >= most {
            stream.dropping = true;
            stream.error = Some(StreamError::Reset(ResetCode::REFUSED));
        }
        let id = self.next_id();
        self.streams.insert(id, stream);
        self.places.insert(wire, id);
        Ok(id)
    }

    fn request_is_whole(&mut self, id: StreamId) {
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        stream.deadline = None;
        let wire = stream.outgoing.id();
        let plain = |b: &u8| b.is_ascii_alphanumeric() || b"._-".contains(b);
        let request_id = if wire.len() <= 64 && wire.iter().all(plain) {
            wire.clone()
        } else {
            Bytes::from(Uuid::new_v4().to_string())
        };
        let (meta, length) = stream.incoming.take_meta();
        let meta = meta.unwrap_or_default();
        match message::read_request(&meta, request_id, length) {
            Ok(head) => {
                if &head.method[..] == b"HEAD" {
                    stream.to_head = true;
                    stream.outgoing.answer_to_head();
                }
                self.accepting.push_back((id, Box::new(head)));
                self.events.incoming();
            }
            Err(MetaError::TooLarge) => self.answer(id, 431),
            Err(_) => self.answer(id, 400),
        }
    }

    /// The gateway cancels a request. It is answered all the same, since the answer frees its place.
    pub(super) fn handle_cancel(&mut self, frame: &Decoded) {
        let Some(id) = frame.request_id.as_ref().and_then(|w| self.places.get(w)) else {
            return;
        };
        let id = *id;
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        if !stream.accepted {
            if !stream.outgoing.has_head() {
                self.accepting.retain(|(waiting, _)| *waiting != id);
                self.answer(id, 502);
            }
        } else if stream.outgoing.is_open() {
            self.fail(id, StreamError::Reset(ResetCode::CANCELLED));
        }
    }

    pub(super) fn expire_request(&mut self, id: StreamId) {
        if let Some(stream) = self.streams.get_mut(&id) {
            stream
                .error
                .get_or_insert(StreamError::Reset(ResetCode::TIMEOUT));
        }
        self.answer_dropped(id);
    }

    /// Answers a request that no application will see by the reason it was dropped for.
    fn answer_dropped(&mut self, id: StreamId) {
        let error = self.streams.get(&id).and_then(|s| s.error);
        let status = match error {
            Some(StreamError::Reset(code)) => status_for(code),
            _ => 502,
        };
        self.answer(id, status);
    }

    /// Answers in the application's place, before any chunk of an answer has gone.
    fn answer(&mut self, id: StreamId, status: u16) {
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        if !stream.accepted {
            stream.released = true;
        }
        stream.deadline = None;
        stream.incoming.clear(&mut self.account);
        let text = reason(status);
        let headers = Fields::from_pairs([("content-type", "text/plain; charset=utf-8")]);
        let head = ResponseHead {
            status,
            headers: headers.unwrap_or_default(),
        };
        stream
            .outgoing
            .replace(head, Bytes::from_static(text.as_bytes()));
        self.take_turn(id);
    }

    pub(super) fn fail_response(&mut self, id: StreamId, code: ResetCode) {
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        // NO_ERROR after the end says that the rest of the request is not wanted; it was all read.
        let done =
            stream.outgoing.is_over() || code == ResetCode::NO_ERROR && !stream.outgoing.is_open();
        if !done && stream.place {
            if stream.outgoing.is_fresh() {
                self.answer(id, status_for(code));
            } else {
                stream.outgoing.fail();
                self.take_turn(id);
            }
        }
        self.fail(id, StreamError::Reset(code));
    }

    pub(super) fn release_response(&mut self, id: StreamId) {
        debug_assert_eq!(self.config.role, Role::Receiver);
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        stream.released = true;
        stream.incoming.clear(&mut self.account);
        if stream.outgoing.is_open() {
            self.fail_response(id, ResetCode::INTERNAL);
        }
        self.reap(id);
    }
}

/// True for a frame after which its sender sends no more of the message, in order or not.
fn ends_message(frame: &Decoded) -> bool {
    match (frame.chunk_idx, frame.chunk_tot) {
        (None, _) => !frame.chunked || frame.final_chunk,
        (Some(index), Some(total)) if index.checked_add(1) == Some(total) => true,
        _ => frame.final_chunk,
    }
}

/// What the downstream is told (ANPX 2.2, 11; 3.8).
fn status_for(code: ResetCode) -> u16 {
    match code {
        ResetCode::TIMEOUT => 504,
        ResetCode::TOO_LARGE => 413,
        ResetCode::REFUSED => 503,
        _ => 502,
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        400 => "400 Bad Request\n",
        413 => "413 Content Too Large\n",
        431 => "431 Request Header Fields Too Large\n",
        503 => "503 Service Unavailable\n",
        504 => "504 Gateway Timeout\n",
        _ => "502 Bad Gateway\n",
    }
}
