//! The session of version 2 (ANPX section 3), both roles.
//!
//! `receive` takes frames in, `transmit` gives frames out in their order, `calls` is what
//! applications do with streams; the state they share is here.

mod allowance;
mod body_queue;
mod calls;
mod flow;
mod order;
mod receive;
mod stream;
mod transmit;

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use hashbrown::HashMap;

use self::{allowance::Allowance, flow::Growth, order::Order, stream::Stream};
use super::{
    config::V2Config,
    terms::{Event, StreamId},
};
use crate::{
    RequestHead, ResetCode, SessionError, StreamError,
    limits::MAX_INFORMATIONAL,
    role::Role,
    v2::{Settings, encode},
};

/// A version-2 session. See [`super::Session`] for its methods' contracts.
#[derive(Debug)]
pub struct Session {
    config: V2Config,
    /// The peer's limits, once its SETTINGS was read.
    peer: Option<Peer>,
    settings_deadline: Instant,
    /// Boxed: the table moves what it holds.
    streams: HashMap<StreamId, Box<Stream>>,
    /// Gateway: the id of the next stream.
    next_id: u32,
    /// The highest id whose REQUEST was written (gateway) or read (receiver).
    highest: u32,
    order: Order,
    events: VecDeque<Event>,
    capacity_queued: bool,
    /// Receiver: requests not yet accepted.
    incoming: VecDeque<(StreamId, Box<RequestHead>)>,
    growth: Growth,
    allowance: Allowance,
    drain: Drain,
    /// Receiver: what the last SETTINGS of this side said.
    accepting: bool,
    ended: bool,
}

/// The peer's SETTINGS with defaults filled in.
#[derive(Debug)]
struct Peer {
    initial_window: u32,
    max_streams: u32,
    accepting: bool,
    /// The smaller of both sides' `max_frame_body`.
    frame_body: usize,
}

/// How far a drain is (ANPX 3.9).
#[derive(Debug, Default)]
struct Drain {
    /// This side began it.
    begun_here: bool,
    /// A GOAWAY waits to be written.
    due: bool,
    /// A GOAWAY was written.
    written: bool,
    /// The peer's GOAWAY was read; its `last_stream`, 0 without one.
    peer_last: Option<u32>,
}

impl Session {
    /// A session whose SETTINGS wait to be written.
    pub fn new(config: V2Config, now: Instant) -> Self {
        let receiver = config.role == Role::Receiver;
        let settings = Settings {
            max_frame_body: Some(config.max_frame_body),
            initial_window: Some(config.initial_window),
            max_streams: receiver.then_some(config.max_streams),
            accepting: receiver.then_some(true),
        };
        let mut order = Order::default();
        order.session.push_back(encode::settings(&settings));
        let growth = Growth {
            session_left: config.session_growth,
            process: config.process_growth.clone(),
            round_trip: None,
        };
        Self {
            settings_deadline: now + config.settings_timeout,
            config,
            peer: None,
            streams: HashMap::new(),
            next_id: 1,
            highest: 0,
            order,
            events: VecDeque::new(),
            capacity_queued: false,
            incoming: VecDeque::new(),
            growth,
            allowance: Allowance::default(),
            drain: Drain::default(),
            accepting: true,
            ended: false,
        }
    }

    /// See [`super::Session::handle_round_trip`].
    pub fn handle_round_trip(&mut self, sample: Duration) {
        let least = self
            .growth
            .round_trip
            .map_or(sample, |least| least.min(sample));
        self.growth.round_trip = Some(least);
    }

    /// See [`super::Session::handle_timeout`].
    ///
    /// # Errors
    /// The peer's SETTINGS did not come in time.
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), SessionError> {
        if self.peer.is_none() && now >= self.settings_deadline {
            return Err(SessionError::protocol("no SETTINGS in time"));
        }
        Ok(())
    }

    /// See [`super::Session::poll_timeout`].
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.peer.is_none().then_some(self.settings_deadline)
    }

    /// See [`super::Session::has_events`].
    pub fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    /// See [`super::Session::poll_event`].
    pub fn poll_event(&mut self) -> Option<Event> {
        let event = self.events.pop_front()?;
        match event {
            Event::Capacity => self.capacity_queued = false,
            Event::Readable(id) => {
                if let Some(stream) = self.streams.get_mut(&id) {
                    stream.readable_queued = false;
                }
            }
            Event::Writable(id) => {
                if let Some(stream) = self.streams.get_mut(&id) {
                    stream.writable_queued = false;
                }
            }
            Event::Established | Event::Incoming | Event::Draining => {}
        }
        Some(event)
    }

    /// See [`super::Session::drain`].
    pub fn drain(&mut self) {
        if !self.drain.begun_here && !self.drain.written {
            self.drain.begun_here = true;
            self.drain.due = true;
            self.queue_capacity();
        }
    }

    /// See [`super::Session::is_drained`].
    pub fn is_drained(&self) -> bool {
        let last_seen = match self.config.role {
            Role::Gateway => true,
            Role::Receiver => self
                .drain
                .peer_last
                .is_some_and(|last| self.highest >= last),
        };
        self.drain.begun_here
            && self.drain.written
            && last_seen
            && self.streams.values().all(|stream| stream.is_closed())
            && self.order.resets.is_empty()
    }

    /// See [`super::Session::end`].
    pub fn end(&mut self) {
        self.ended = true;
        let ids: Vec<_> = self.streams.keys().copied().collect();
        for id in ids {
            let Some(stream) = self.streams.get_mut(&id) else {
                continue;
            };
            // A stream that both sides finished stays finished.
            if !stream.is_closed() {
                let written = self.config.role == Role::Receiver || stream.send.is_head_written();
                stream.fail(StreamError::SessionEnded { written });
                self.growth.refund(&mut stream.recv.flow);
                self.queue_readable(id);
                self.queue_writable(id);
            }
            self.reap(id);
        }
    }

    /// See [`super::Session::set_accepting`].
    pub fn set_accepting(&mut self, accepting: bool) {
        if self.config.role == Role::Receiver && self.accepting != accepting {
            self.accepting = accepting;
            let settings = Settings {
                accepting: Some(accepting),
                ..Settings::default()
            };
            self.order.session.push_back(encode::settings(&settings));
        }
    }

    /// See [`super::Session::is_accepting`].
    pub fn is_accepting(&self) -> bool {
        self.peer.as_ref().is_none_or(|peer| peer.accepting)
    }

    /// See [`super::Session::capacity`].
    pub fn capacity(&self) -> usize {
        let Some(peer) = &self.peer else { return 0 };
        let draining =
            self.drain.begun_here || self.drain.written || self.drain.peer_last.is_some();
        if self.ended || draining || !peer.accepting || self.config.role == Role::Receiver {
            return 0;
        }
        let limit = peer.max_streams.min(self.config.max_streams);
        usize::try_from(limit)
            .unwrap_or(usize::MAX)
            .saturating_sub(self.streams.len())
    }

    /// See [`super::Session::open_streams`].
    pub fn open_streams(&self) -> usize {
        self.streams.len()
    }

    fn queue_capacity(&mut self) {
        if !std::mem::replace(&mut self.capacity_queued, true) {
            self.events.push_back(Event::Capacity);
        }
    }

    fn queue_readable(&mut self, id: StreamId) {
        if let Some(stream) = self.streams.get_mut(&id)
            && !std::mem::replace(&mut stream.readable_queued, true)
        {
            self.events.push_back(Event::Readable(id));
        }
    }

    fn queue_writable(&mut self, id: StreamId) {
        if let Some(stream) = self.streams.get_mut(&id)
            && !std::mem::replace(&mut stream.writable_queued, true)
        {
            self.events.push_back(Event::Writable(id));
        }
    }

    /// Breaks a stream from this side and tells the peer, which must know of the stream.
    fn break_stream(&mut self, id: StreamId, code: ResetCode) {
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        stream.fail(StreamError::Reset(code));
        let recv = &stream.recv;
        let outstanding = if recv.ended {
            0
        } else {
            recv.flow.outstanding()
        };
        let informational = match self.config.role {
            Role::Gateway if !recv.head_seen => {
                MAX_INFORMATIONAL.saturating_sub(recv.informational_seen)
            }
            _ => 0,
        };
        self.allowance.reset_sent(outstanding, informational);
        self.growth.refund(&mut stream.recv.flow);
        self.order.resets.push_back((id, code));
        self.queue_readable(id);
        self.queue_writable(id);
        self.reap(id);
    }

    /// Forgets a stream of which nothing is left.
    fn reap(&mut self, id: StreamId) {
        if !self.streams.get(&id).is_some_and(|stream| stream.is_gone()) {
            return;
        }
        // Where there were places before, that was told when the first became free.
        let was_full = self.capacity() == 0;
        if let Some(mut stream) = self.streams.remove(&id) {
            self.growth.refund(&mut stream.recv.flow);
            self.allowance.closed(stream.send.window.take_due());
            if was_full {
                self.queue_capacity();
            }
        }
    }
}

impl Drop for Session {
    /// Growth is charged to a budget that outlives the session.
    fn drop(&mut self) {
        for stream in self.streams.values_mut() {
            self.growth.refund(&mut stream.recv.flow);
        }
    }
}
