//! The state of a version-1 tunnel (ANPX section 2), for both roles.
//!
//! Version 1 has no flow control, no refusal and no word for the end of a session. What it has is
//! places: a gateway counts one for each request until the answer, and a receiver owes each request
//! exactly one answer, never before the request is whole. Bodies are held until they are read, within
//! the limits of ANPX section 4; a message that would exceed one is broken and the session reads on.

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

use bytes::Bytes;

use super::{
    config::V1Config,
    terms::{End, Event, Read, StreamId, Transmit},
};
use crate::{
    CloseCode, ResetCode, SessionError, StreamError,
    fields::Fields,
    head::{RequestHead, ResponseHead},
    limits::{MAX_UNWRITTEN, MAX_V1_FRAME},
    role::Role,
    v1::{
        codec::{Decoded, Kind},
        control::{self, Control},
        message::Losses,
    },
};

mod events;
mod gateway;
mod held;
mod ids;
mod incoming;
mod lifecycle;
mod outgoing;
mod receiver;
mod stream;

use events::Events;
use held::Account;
use ids::Ended;
use stream::Stream;

/// Text messages taken in [`TEXT_PERIOD`]; a peer that sends more is flooding.
const MAX_TEXTS: u32 = 1000;
/// The period of [`MAX_TEXTS`].
const TEXT_PERIOD: Duration = Duration::from_secs(10);

/// One version-1 tunnel. See [`super::Session`] for how its methods are called.
#[derive(Debug)]
pub struct Session {
    config: V1Config,
    started: Instant,
    /// The latest time told, for calls that tell none.
    clock: Instant,
    streams: HashMap<StreamId, Stream>,
    /// Streams that hold a place, by the request id on the wire.
    places: HashMap<Bytes, StreamId>,
    ended: Ended,
    last_id: u32,
    /// Receiver: whole requests not yet accepted.
    accepting: VecDeque<(StreamId, Box<RequestHead>)>,
    /// Streams with a frame to write, in the order of their turns.
    turns: VecDeque<StreamId>,
    events: Events,
    account: Account,
    losses: Losses,
    /// The answer to the last ping, not yet written.
    pong: Option<String>,
    /// Receiver: a ping is due.
    ping: bool,
    next_ping: Option<Instant>,
    /// No deadline of a stream is before this.
    next_check: Option<Instant>,
    texts: (Instant, u32),
    established: bool,
    draining: bool,
    over: bool,
}

impl Session {
    /// A session that begins at `now`. A gateway's may open streams at once; a receiver's begins
    /// with a JSON ping and is established by the first frame or JSON pong.
    pub fn new(config: V1Config, now: Instant) -> Self {
        let receiver = config.role == Role::Receiver;
        let mut events = Events::default();
        if !receiver {
            events.established();
        }
        Self {
            account: Account::new(&config),
            started: now,
            clock: now,
            streams: HashMap::new(),
            places: HashMap::new(),
            ended: Ended::default(),
            last_id: 0,
            accepting: VecDeque::new(),
            turns: VecDeque::new(),
            events,
            losses: Losses::default(),
            pong: None,
            ping: receiver,
            next_ping: receiver.then(|| now + config.ping_interval),
            next_check: None,
            texts: (now, 0),
            established: !receiver,
            draining: false,
            over: false,
            config,
        }
    }

    /// Takes one binary message, which must be one version-1 frame.
    ///
    /// # Errors
    /// A message larger than 64 MiB (1009), one that is no frame of version 1 or comes from the
    /// wrong side, or an answer to a request never issued (4000), or too many requests (4008).
    pub fn handle_binary(&mut self, now: Instant, message: Bytes) -> Result<(), SessionError> {
        if self.over {
            return Ok(());
        }
        self.clock = now;
        if message.len() > MAX_V1_FRAME {
            return Err(SessionError {
                code: CloseCode::TOO_BIG,
                reason: "frame larger than 64 MiB".into(),
            });
        }
        let size = message.len();
        let mut frame = Decoded::decode(message).map_err(|error| {
            // The text is ASCII; a close reason holds 123 bytes.
            let reason: String = error.to_string().chars().take(123).collect();
            SessionError {
                code: CloseCode::PROTOCOL,
                reason: reason.into(),
            }
        })?;
        if frame.body.len() < size / 2 {
            // What is charged for a body must be what it keeps alive.
            frame.body = Bytes::copy_from_slice(&frame.body);
        }
        self.establish();
        match (self.config.role, frame.kind) {
            (Role::Gateway, Kind::Response | Kind::Error) => self.handle_answer(frame),
            (Role::Receiver, Kind::Request) => self.handle_request(frame),
            (Role::Receiver, Kind::Error) => {
                self.handle_cancel(&frame);
                Ok(())
            }
            (Role::Gateway, Kind::Request) => Err(SessionError::protocol("request from receiver")),
            (Role::Receiver, Kind::Response) => {
                Err(SessionError::protocol("response from gateway"))
            }
        }
    }

    /// Takes one text message. What is not understood is ignored.
    ///
    /// # Errors
    /// More than 1,000 texts within 10 s (4008).
    pub fn handle_text(&mut self, now: Instant, message: &str) -> Result<(), SessionError> {
        if self.over {
            return Ok(());
        }
        self.clock = now;
        let (since, count) = &mut self.texts;
        if now.saturating_duration_since(*since) >= TEXT_PERIOD {
            (*since, *count) = (now, 0);
        }
        *count += 1;
        if *count > MAX_TEXTS {
            return Err(SessionError::limit("too many text messages"));
        }
        match Control::read(message) {
            // The last ping is the one whose answer says most; more than one answer never waits.
            Control::Ping { timestamp } => self.pong = Some(control::pong(timestamp.as_deref())),
            Control::Pong => self.establish(),
            Control::Other => {}
        }
        Ok(())
    }

    /// Acts on the deadlines that have passed: JSON pings, messages without a chunk for too long.
    ///
    /// # Errors
    /// None on version 1.
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), SessionError> {
        self.clock = now;
        if self.over {
            return Ok(());
        }
        if self.next_ping.is_some_and(|at| at <= now) {
            self.ping = true;
            self.next_ping = Some(now + self.config.ping_interval);
        }
        if self.next_check.is_some_and(|at| at <= now) {
            let due = |s: &Stream| s.deadline.is_some_and(|at| at <= now);
            let expired: Vec<StreamId> = self
                .streams
                .iter()
                .filter(|(_, s)| due(s))
                .map(|(id, _)| *id)
                .collect();
            for id in expired {
                self.expire(id);
            }
            self.next_check = self.streams.values().filter_map(|s| s.deadline).min();
        }
        Ok(())
    }

    /// When [`Session::handle_timeout`] is next due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match (self.next_ping, self.next_check) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// The next message to write: JSON control, then one frame a stream in turn.
    pub fn poll_transmit(&mut self, now: Instant, unwritten: usize) -> Option<Transmit> {
        self.clock = now;
        if let Some(pong) = self.pong.take() {
            return Some(Transmit::Text(pong));
        }
        if std::mem::take(&mut self.ping) {
            let age = now.saturating_duration_since(self.started).as_millis();
            let age = u64::try_from(age).unwrap_or(u64::MAX);
            return Some(Transmit::Text(control::ping(age)));
        }
        if unwritten >= MAX_UNWRITTEN {
            return None;
        }
        while let Some(id) = self.turns.pop_front() {
            let Some(stream) = self.streams.get_mut(&id) else {
                continue;
            };
            stream.queued = false;
            let Some(frame) = stream.outgoing.next_frame(&mut self.losses) else {
                continue;
            };
            if stream.outgoing.has_frame() {
                stream.queued = true;
                self.turns.push_back(id);
            } else if !stream.outgoing.is_over() {
                self.events.writable(id, &mut stream.pending);
            } else if self.config.role == Role::Receiver {
                self.free_place(id);
            }
            self.reap(id);
            return Some(Transmit::Frame(frame));
        }
        None
    }

    /// False where [`Session::poll_transmit`] would surely give nothing.
    pub fn wants_transmit(&self) -> bool {
        !self.over && (self.pong.is_some() || self.ping || !self.turns.is_empty())
    }

    /// See [`super::Session::has_events`].
    pub fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    /// The next thing the owner should know. Version 1 has no word for [`Event::Draining`].
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop(&mut self.streams)
    }

    /// No new streams: a gateway opens none, a receiver answers 503 to requests that begin now.
    pub fn drain(&mut self) {
        self.draining = true;
    }

    /// True once draining and every place is free and every frame was taken.
    pub fn is_drained(&self) -> bool {
        self.draining && self.places.is_empty() && self.turns.is_empty()
    }

    /// The transport is gone: streams whose incoming half is not whole fail, others stay readable.
    pub fn end(&mut self) {
        if self.over {
            return;
        }
        self.over = true;
        self.pong = None;
        self.ping = false;
        self.next_ping = None;
        self.next_check = None;
        self.turns.clear();
        self.accepting.clear();
        self.places.clear();
        let gateway = self.config.role == Role::Gateway;
        for (id, stream) in &mut self.streams {
            let written = !gateway || !stream.outgoing.is_fresh();
            stream.outgoing.stop();
            stream.place = false;
            stream.deadline = None;
            if !gateway || !stream.incoming.is_whole() {
                let error = StreamError::SessionEnded { written };
                stream.error.get_or_insert(error);
                stream.incoming.clear(&mut self.account);
            }
            self.events.readable(*id, &mut stream.pending);
            self.events.writable(*id, &mut stream.pending);
        }
        self.streams.retain(|_, s| !s.released);
    }

    /// Gateway: how many streams may be opened now.
    pub fn capacity(&self) -> usize {
        if self.over || self.draining || self.config.role == Role::Receiver {
            return 0;
        }
        let most = self.config.max_streams.min(self.config.max_open_messages);
        most.saturating_sub(self.places.len())
    }

    /// Streams that hold a place now: requests not answered yet.
    pub fn open_streams(&self) -> usize {
        self.places.len()
    }

    /// Body bytes that may go inside a head: the chunk size.
    pub fn first_capacity(&self) -> usize {
        self.config.chunk_size
    }

    /// What was lost so far because version 1 cannot say it.
    pub fn losses(&self) -> Losses {
        self.losses
    }

    /// The next part of the incoming half; what it takes is no longer charged.
    ///
    /// # Errors
    /// The half broke off, or the stream was reset or released.
    pub fn read(
        &mut self,
        _clock: impl FnOnce() -> Instant,
        id: StreamId,
    ) -> Result<Read, StreamError> {
        let stream = self.streams.get_mut(&id).ok_or(GONE)?;
        match stream.error {
            Some(error) => Err(error),
            None => Ok(stream.incoming.read(&mut self.account)),
        }
    }

    /// Version 1 has no informational heads: dropped.
    ///
    /// # Errors
    /// The stream is over.
    pub fn inform(&mut self, id: StreamId, _head: &ResponseHead) -> Result<(), StreamError> {
        self.writable(id).map(drop)
    }

    /// How many body bytes [`Session::send_data`] takes now: a chunk's worth where nothing of this
    /// stream waits, else 0.
    ///
    /// # Errors
    /// The stream is over.
    pub fn send_capacity(&self, id: StreamId) -> Result<usize, StreamError> {
        let stream = self.streams.get(&id).ok_or(GONE)?;
        match stream.error {
            Some(error) => Err(error),
            None if self.over => Err(StreamError::SessionEnded { written: true }),
            None => Ok(stream.outgoing.capacity()),
        }
    }

    /// Sends body bytes.
    ///
    /// # Errors
    /// The stream is over, or (INTERNAL) its half ended before, or a response has no head yet.
    pub fn send_data(&mut self, id: StreamId, data: Bytes, end: End) -> Result<(), StreamError> {
        let stream = self.writable(id)?;
        if !stream.outgoing.has_head() || !stream.outgoing.push(data, end.is_end()) {
            return Err(StreamError::Reset(ResetCode::INTERNAL));
        }
        self.take_turn(id);
        Ok(())
    }

    /// Ends the half; version 1 has no trailers.
    ///
    /// # Errors
    /// As [`Session::send_data`].
    pub fn send_trailers(&mut self, id: StreamId, _trailers: Fields) -> Result<(), StreamError> {
        self.send_data(id, Bytes::new(), End::Yes)
    }

    /// Ends both halves at once. A gateway withdraws a request not yet written and cancels any
    /// other; a receiver answers 502, 503, 504 or 413, or sends an error frame where chunks have gone.
    pub fn reset(&mut self, id: StreamId, code: ResetCode) {
        match self.config.role {
            Role::Gateway => self.cancel_request(id, code),
            Role::Receiver => self.fail_response(id, code),
        }
    }

    /// The reason the stream ended before its time, once it has.
    pub fn stream_error(&self, id: StreamId) -> Option<StreamError> {
        self.streams.get(&id)?.error
    }

    /// True once a frame of the request was taken: version 1 cannot refuse it.
    pub fn is_committed(&self, id: StreamId) -> bool {
        self.streams.get(&id).is_none_or(|s| !s.outgoing.is_fresh())
    }

    /// The application is done with the stream. What is unfinished is reset as by [`Session::reset`];
    /// the place stays until the answer.
    pub fn release(&mut self, id: StreamId) {
        match self.config.role {
            Role::Gateway => self.release_request(id),
            Role::Receiver => self.release_response(id),
        }
    }
}

/// What methods say of a stream that was released.
const GONE: StreamError = StreamError::Reset(ResetCode::CANCELLED);

impl Session {
    fn establish(&mut self) {
        if !std::mem::replace(&mut self.established, true) {
            self.events.established();
        }
    }
}
