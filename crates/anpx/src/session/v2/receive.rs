//! Frames in.

use std::{borrow::Cow, time::Instant};

use bytes::Bytes;

use super::{Peer, Session, stream::Stream};
use crate::{
    CloseCode, Fields, RequestHead, ResetCode, ResponseHead, SessionError, StreamError,
    limits::MAX_INFORMATIONAL,
    role::Role,
    session::terms::{Event, StreamId},
    v2::{Frame, Kind, Payload, Settings},
};

/// Most RESETs provoked by the peer that wait to be written (ANPX 3.4).
const MAX_PROVOKED: usize = 1024;

/// Where a stream id stands (ANPX 3.6).
#[derive(PartialEq, Eq)]
enum Place {
    Open,
    Closed,
}

impl Session {
    /// See [`crate::session::Session::handle_binary`].
    ///
    /// # Errors
    /// The peer broke a rule of the session.
    pub fn handle_binary(&mut self, now: Instant, message: Bytes) -> Result<(), SessionError> {
        if self.ended {
            return Ok(());
        }
        let frame = Frame::decode(&message).map_err(|malformed| SessionError {
            code: CloseCode::PROTOCOL,
            reason: Cow::Owned(malformed.to_string()),
        })?;
        let Frame {
            stream,
            end,
            payload,
        } = frame;
        if self.peer.is_none() && !matches!(payload, Payload::Settings(_)) {
            return Err(SessionError::protocol("the first frame is not SETTINGS"));
        }
        let id = StreamId(stream);
        match payload {
            Payload::Settings(settings) => self.on_settings(&settings),
            Payload::GoAway { last_stream, .. } => self.on_go_away(last_stream),
            Payload::Unknown(_) => self.allowance.useless_frame(),
            Payload::Request { head, body } => self.on_request(now, id, head, body, end),
            Payload::Response { head, body } => self.on_response(now, id, head, body, end),
            Payload::Data(body) => self.on_data(now, id, unpadded(&message, body), end),
            Payload::Trailers(trailers) => self.on_trailers(id, trailers),
            Payload::Window(credit) => self.on_window(id, credit),
            Payload::Reset(code) => self.on_reset(id, code),
            Payload::Faulty(kind, _) => self.on_faulty(id, kind, end),
        }
    }

    /// See [`crate::session::Session::handle_text`].
    ///
    /// # Errors
    /// Too many of them: on version 2 a text says nothing (ANPX 3.6).
    pub fn handle_text(&mut self, _now: Instant, _message: &str) -> Result<(), SessionError> {
        if self.ended {
            return Ok(());
        }
        self.allowance.useless_frame()
    }

    fn on_settings(&mut self, settings: &Settings) -> Result<(), SessionError> {
        let from_receiver = self.config.role == Role::Gateway;
        let receiver_only = settings.max_streams.is_some() || settings.accepting.is_some();
        if receiver_only && !from_receiver {
            return Err(SessionError::protocol(
                "a receiver's setting from the gateway",
            ));
        }
        let Some(peer) = &mut self.peer else {
            let frame_body = settings
                .max_frame_body
                .unwrap_or(Settings::MAX_FRAME_BODY.0);
            self.peer = Some(Peer {
                initial_window: settings
                    .initial_window
                    .unwrap_or(Settings::INITIAL_WINDOW.0),
                max_streams: settings.max_streams.unwrap_or(Settings::MAX_STREAMS.0),
                accepting: settings.accepting.unwrap_or(true),
                frame_body: usize::try_from(frame_body.min(self.config.max_frame_body))
                    .unwrap_or(usize::MAX),
            });
            self.events.push_back(Event::Established);
            self.queue_capacity();
            return Ok(());
        };
        let limits = settings
            .max_frame_body
            .or(settings.initial_window)
            .or(settings.max_streams)
            .is_some();
        if limits {
            return Err(SessionError::protocol("limits changed by a later SETTINGS"));
        }
        match settings.accepting {
            Some(accepting) if accepting != peer.accepting => {
                peer.accepting = accepting;
                self.queue_capacity();
                Ok(())
            }
            _ => self.allowance.useless_frame(),
        }
    }

    fn on_go_away(&mut self, last_stream: Option<u32>) -> Result<(), SessionError> {
        if self
            .drain
            .peer_last
            .replace(last_stream.unwrap_or(0))
            .is_some()
        {
            return self.allowance.useless_frame();
        }
        if self.config.role == Role::Gateway && !self.drain.written {
            self.drain.due = true;
        }
        self.events.push_back(Event::Draining);
        self.queue_capacity();
        Ok(())
    }

    /// Finds out where a stream id stands.
    fn place(&self, id: StreamId) -> Result<Place, SessionError> {
        if id.0 > self.highest {
            return Err(SessionError::protocol("a frame on an idle stream"));
        }
        let open = self
            .streams
            .get(&id)
            .is_some_and(|stream| !stream.is_closed());
        Ok(if open { Place::Open } else { Place::Closed })
    }

    /// What a head or DATA on a closed stream costs its sender.
    fn on_late(&mut self, body: &Bytes) -> Result<(), SessionError> {
        if body.is_empty() {
            return self.allowance.useless_frame();
        }
        self.allowance.late_data(body.len())
    }

    /// The stream, after a check that it is open; `None`: it is closed and the frame was counted.
    fn open_stream(
        &mut self,
        id: StreamId,
        body: &Bytes,
    ) -> Result<Option<&mut Stream>, SessionError> {
        if self.place(id)? == Place::Closed {
            self.on_late(body)?;
            return Ok(None);
        }
        Ok(self.streams.get_mut(&id).map(AsMut::as_mut))
    }

    fn check_frame_body(&self, body: &Bytes) -> Result<(), SessionError> {
        let limit = usize::try_from(self.config.max_frame_body).unwrap_or(usize::MAX);
        if body.len() > limit {
            return Err(SessionError::protocol(
                "a frame's body exceeds max_frame_body",
            ));
        }
        Ok(())
    }

    /// Counts a new stream of the peer.
    fn begin_request(&mut self, id: StreamId) -> Result<(), SessionError> {
        if self.config.role == Role::Gateway {
            return Err(SessionError::protocol("REQUEST from a receiver"));
        }
        if id.0 <= self.highest {
            return Err(SessionError::protocol(
                "a REQUEST whose id is not above all before",
            ));
        }
        if self.drain.peer_last.is_some() {
            return Err(SessionError::protocol("a REQUEST after GOAWAY"));
        }
        // Every RESET of a receiver answers a request. A gateway that goes on asking while it
        // reads none of them is stopped before they pile up.
        if self.order.resets.len() > MAX_PROVOKED + self.max_streams() {
            return Err(SessionError::limit("too many RESETs unread"));
        }
        self.highest = id.0;
        self.allowance.stream_opened();
        Ok(())
    }

    fn on_request(
        &mut self,
        now: Instant,
        id: StreamId,
        head: Box<RequestHead>,
        body: Bytes,
        end: bool,
    ) -> Result<(), SessionError> {
        self.check_frame_body(&body)?;
        self.begin_request(id)?;
        let Some(peer) = &self.peer else {
            return Ok(());
        };
        let mut stream = Box::new(Stream::new(self.config.initial_window, peer.initial_window));
        if !stream.recv.flow.received(now, body.len()) {
            return Err(SessionError::protocol("a stream's window was overrun"));
        }
        if self.is_full() {
            return self.refuse(id, &stream, end, ResetCode::REFUSED);
        }
        if let Err(code) = stream.recv.begin(&head.headers, body, end) {
            return self.refuse(id, &stream, end, code);
        }
        stream.upgrade = head.protocol.is_some();
        self.streams.insert(id, stream);
        self.incoming.push_back((id, head));
        self.events.push_back(Event::Incoming);
        Ok(())
    }

    fn max_streams(&self) -> usize {
        usize::try_from(self.config.max_streams).unwrap_or(usize::MAX)
    }

    /// Receiver: whether every place is taken. A stream that both sides finished has none, though
    /// its entry may wait for the app to release it: the gateway counts it no more. One that broke
    /// keeps its place until then (ANPX 3.8), and so does one whose body is still unread.
    fn is_full(&self) -> bool {
        let holds_place = |stream: &&Stream| {
            stream.error.is_some() || !stream.is_closed() || !stream.recv.body.is_empty()
        };
        let max = self.max_streams();
        let streams = self.streams.values().map(AsRef::as_ref);
        self.streams.len() >= max && streams.filter(holds_place).count() >= max
    }

    /// Answers a REQUEST with a RESET, without keeping its stream; `end`: nothing follows it.
    fn refuse(
        &mut self,
        id: StreamId,
        stream: &Stream,
        end: bool,
        code: ResetCode,
    ) -> Result<(), SessionError> {
        if !end {
            self.allowance.reset_sent(stream.recv.flow.outstanding(), 0);
        }
        self.order.resets.push_back((id, code));
        self.count_provoked()
    }

    fn count_provoked(&mut self) -> Result<(), SessionError> {
        self.order.provoked += 1;
        if self.order.provoked > MAX_PROVOKED {
            return Err(SessionError::limit("too many RESETs provoked"));
        }
        Ok(())
    }

    /// The peer broke a rule on one stream.
    fn on_breach(&mut self, id: StreamId) -> Result<(), SessionError> {
        self.break_stream(id, ResetCode::PROTOCOL);
        self.count_provoked()
    }

    fn on_faulty(&mut self, id: StreamId, kind: Kind, end: bool) -> Result<(), SessionError> {
        match kind {
            Kind::Request => {
                self.begin_request(id)?;
                let stream = Stream::new(self.config.initial_window, 0);
                return self.refuse(id, &stream, end, ResetCode::PROTOCOL);
            }
            Kind::Response if self.config.role == Role::Receiver => {
                return Err(SessionError::protocol("RESPONSE from a gateway"));
            }
            // A RESET is never answered, not even one that lacks its code.
            Kind::Reset => return self.on_reset(id, ResetCode::PROTOCOL),
            _ => {}
        }
        if self.place(id)? == Place::Closed {
            return self.allowance.useless_frame();
        }
        self.on_breach(id)
    }

    fn on_response(
        &mut self,
        now: Instant,
        id: StreamId,
        head: ResponseHead,
        body: Bytes,
        end: bool,
    ) -> Result<(), SessionError> {
        if self.config.role == Role::Receiver {
            return Err(SessionError::protocol("RESPONSE from a gateway"));
        }
        self.check_frame_body(&body)?;
        let Some(stream) = self.open_stream(id, &body)? else {
            return Ok(());
        };
        if stream.recv.head_seen {
            return self.on_breach(id);
        }
        // An informational head, too, says that the app may have the request (ANPX 3.8).
        stream.committed = true;
        if head.is_informational() {
            stream.recv.informational_seen += 1;
            if stream.recv.informational_seen > MAX_INFORMATIONAL {
                return self.on_breach(id);
            }
            stream.recv.informational.push_back(head);
            self.queue_readable(id);
            return Ok(());
        }
        let switched = head.status == 101;
        if switched && !stream.upgrade {
            return self.on_breach(id);
        }
        if !stream.recv.flow.received(now, body.len()) {
            return Err(SessionError::protocol("a stream's window was overrun"));
        }
        stream.recv.bodyless |= matches!(head.status, 204 | 304);
        // What follows a 101 is no content: a length announced beside it says nothing (RFC 9110
        // section 8.6).
        let none = Fields::default();
        let headers = if switched { &none } else { &head.headers };
        if stream.recv.begin(headers, body, end).is_err() {
            return self.on_breach(id);
        }
        stream.recv.response = Some(head);
        let refused_upgrade = stream.upgrade && !switched;
        stream.upgrade &= switched;
        if refused_upgrade {
            self.queue_data(id, Bytes::new(), true);
        }
        self.queue_readable(id);
        self.queue_writable(id);
        self.reap(id);
        Ok(())
    }

    fn on_data(
        &mut self,
        now: Instant,
        id: StreamId,
        body: Bytes,
        end: bool,
    ) -> Result<(), SessionError> {
        self.check_frame_body(&body)?;
        let role = self.config.role;
        let Some(stream) = self.open_stream(id, &body)? else {
            return Ok(());
        };
        if !stream.recv.flow.received(now, body.len()) {
            return Err(SessionError::protocol("a stream's window was overrun"));
        }
        // On an upgrade the gateway sends nothing before the receiver's 101 (ANPX 3.7).
        let early = stream.upgrade && role == Role::Receiver && !stream.send.has_answered();
        if stream.recv.ended || !stream.recv.head_seen || early {
            return self.on_breach(id);
        }
        let useless = body.is_empty() && !end;
        if stream.recv.push(body, end).is_err() {
            return self.on_breach(id);
        }
        if useless {
            return self.allowance.useless_frame();
        }
        self.queue_readable(id);
        self.reap(id);
        Ok(())
    }

    fn on_trailers(&mut self, id: StreamId, trailers: Fields) -> Result<(), SessionError> {
        let Some(stream) = self.open_stream(id, &Bytes::new())? else {
            return Ok(());
        };
        if stream.recv.ended || !stream.recv.head_seen || stream.upgrade {
            return self.on_breach(id);
        }
        if stream.recv.push(Bytes::new(), true).is_err() {
            return self.on_breach(id);
        }
        stream.recv.trailers = Some(trailers);
        self.queue_readable(id);
        self.reap(id);
        Ok(())
    }

    fn on_window(&mut self, id: StreamId, credit: u32) -> Result<(), SessionError> {
        if credit == 0 {
            return Err(SessionError::protocol("a credit of 0"));
        }
        if self.place(id)? == Place::Closed {
            // One that is closed and not released holds its own until now.
            if let Some(stream) = self.streams.get_mut(&id) {
                self.allowance.closed(stream.send.window.take_due());
            }
            return self.allowance.late_credit(credit);
        }
        let Some(stream) = self.streams.get_mut(&id) else {
            return Ok(());
        };
        if !stream.send.window.grant(credit) {
            return Err(SessionError::protocol("a window above 2^31-1"));
        }
        stream.committed = true;
        self.queue_writable(id);
        Ok(())
    }

    fn on_reset(&mut self, id: StreamId, code: ResetCode) -> Result<(), SessionError> {
        if self.place(id)? == Place::Closed {
            return self.allowance.useless_frame();
        }
        if let Some(stream) = self.streams.get_mut(&id) {
            // REFUSED after a WINDOW or a RESPONSE promises what can no longer be true: whoever
            // believed it would send the request twice (ANPX 3.8).
            let believed = code != ResetCode::REFUSED || !stream.committed;
            let code = if believed { code } else { ResetCode::PROTOCOL };
            stream.fail(StreamError::Reset(code));
            self.growth.refund(&mut stream.recv.flow);
        }
        self.queue_readable(id);
        self.queue_writable(id);
        self.reap(id);
        Ok(())
    }
}

/// Body bytes that share their message's memory, or a copy where the message holds much besides:
/// tags that are skipped must not make a window of body bytes cost many windows of memory.
fn unpadded(message: &Bytes, body: Bytes) -> Bytes {
    const MAX_WASTE: usize = 1 << 10;
    if message.len() > body.len() + MAX_WASTE {
        Bytes::copy_from_slice(&body)
    } else {
        body
    }
}
