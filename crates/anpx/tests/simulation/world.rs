//! The clock, the link and both drivers.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap, VecDeque},
    time::{Duration, Instant},
};

use anpx::{
    OpenError, RequestHead,
    limits::{Budget, MAX_UNWRITTEN},
    session::{Event, Role, Session, StreamId, Transmit, config::V2Config},
    v2::{self, Frame},
};
use bytes::{Bytes, BytesMut};

use super::{
    ROLES,
    actor::{Actor, Outcome, Stage},
    body,
    monitor::Monitor,
    plan::{EndStyle, Leave, Plan, SidePlan},
    role_index,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// The first message of a side's buffer went out.
    Written(usize),
    /// A message reached a side.
    Arrived(usize),
    Ping(usize),
    RoundTrip(usize, Duration),
    Open(usize),
    Leave(usize),
    Read(usize, StreamId),
    Release(usize, StreamId),
    Drain(usize),
    Disconnect,
}

struct Side {
    session: Session,
    budget: Budget,
    growth: u64,
    /// Messages not yet written to the link.
    buffer: VecDeque<(Bytes, Frame)>,
    unwritten: usize,
    /// Messages on their way to the other side.
    wire: VecDeque<(Bytes, Frame)>,
    actors: HashMap<StreamId, Actor>,
}

pub(crate) struct World {
    pub(crate) plan: Plan,
    base: Instant,
    now: Instant,
    timers: BinaryHeap<Reverse<(Instant, u64, Timer)>>,
    timer_count: u64,
    sides: [Side; 2],
    monitor: Monitor,
    /// Gateway: exchanges that wait for a place.
    waiting: VecDeque<usize>,
    ids: HashMap<usize, StreamId>,
    pub(crate) not_opened: Vec<usize>,
    draining: bool,
    pub(crate) disconnected: bool,
}

fn side(role: Role, plan: &SidePlan, now: Instant) -> Side {
    let budget = Budget::new(plan.growth);
    let config = V2Config {
        max_frame_body: plan.max_frame_body,
        initial_window: plan.initial_window,
        max_streams: plan.max_streams,
        process_growth: budget.clone(),
        ..V2Config::new(role)
    };
    Side {
        session: Session::V2(anpx::session::v2::Session::new(config, now)),
        budget,
        growth: plan.growth,
        buffer: VecDeque::new(),
        unwritten: 0,
        wire: VecDeque::new(),
        actors: HashMap::new(),
    }
}

impl World {
    pub(crate) fn new(plan: Plan) -> Self {
        let base = Instant::now();
        let sides = ROLES.map(|role| side(role, &plan.sides[role_index(role)], base));
        let monitor = Monitor::new(
            plan.sides,
            [sides[0].budget.clone(), sides[1].budget.clone()],
        );
        let mut world = Self {
            base,
            now: base,
            timers: BinaryHeap::new(),
            timer_count: 0,
            sides,
            monitor,
            waiting: VecDeque::new(),
            ids: HashMap::new(),
            not_opened: Vec::new(),
            draining: false,
            disconnected: false,
            plan,
        };
        world.set_plan_timers();
        world
    }

    fn set_plan_timers(&mut self) {
        let mut timers = vec![
            (Duration::ZERO, Timer::Ping(0)),
            (Duration::ZERO, Timer::Ping(1)),
        ];
        for (index, exchange) in self.plan.exchanges.iter().enumerate() {
            timers.push((exchange.open_at, Timer::Open(index)));
            if let Leave::At(after, _) = exchange.leave {
                timers.push((exchange.open_at + after, Timer::Leave(index)));
            }
        }
        if let Some((at, role)) = self.plan.drain {
            timers.push((at, Timer::Drain(role_index(role))));
        }
        timers.extend(self.plan.disconnect.map(|at| (at, Timer::Disconnect)));
        for (at, timer) in timers {
            self.set(at, timer);
        }
    }

    /// Sets a timer `after` now.
    fn set(&mut self, after: Duration, timer: Timer) {
        self.timer_count += 1;
        self.timers
            .push(Reverse((self.now + after, self.timer_count, timer)));
    }

    /// Runs until nothing is left to happen.
    pub(crate) fn run(&mut self) {
        self.settle();
        while let Some(Reverse((at, _, timer))) = self.timers.pop() {
            assert!(at >= self.now);
            self.now = at;
            self.on_timer(timer);
            self.settle();
            assert!(
                self.now - self.base < Duration::from_secs(36_000),
                "no end in sight"
            );
        }
    }

    fn on_timer(&mut self, timer: Timer) {
        match timer {
            Timer::Written(side) if !self.disconnected => self.on_written(side),
            Timer::Arrived(side) if !self.disconnected => self.on_arrived(side),
            Timer::Ping(side) => self.on_ping(side),
            Timer::RoundTrip(side, sample) => self.sides[side].session.handle_round_trip(sample),
            Timer::Open(index) => {
                self.waiting.push_back(index);
                self.open_waiting();
            }
            Timer::Leave(index) => self.on_leave(index),
            Timer::Read(side, id) => self.act(side, id, |actor, stage| actor.on_read_timer(stage)),
            Timer::Release(side, id) => self.act(side, id, |actor, stage| {
                if !actor.released {
                    actor.release(stage);
                }
            }),
            Timer::Drain(side) => {
                self.sides[side].session.drain();
                self.draining |= side == 0;
            }
            Timer::Disconnect => self.disconnect(),
            Timer::Written(_) | Timer::Arrived(_) => {}
        }
    }

    fn on_leave(&mut self, index: usize) {
        let Leave::At(_, code) = self.plan.exchanges[index].leave else {
            return;
        };
        if let Some(&id) = self.ids.get(&index) {
            self.act(0, id, |actor, stage| actor.leave(stage, code));
        }
    }

    fn on_ping(&mut self, side: usize) {
        let sample = 2 * self.plan.latency + Duration::from_micros(20);
        self.set(sample, Timer::RoundTrip(side, sample));
        let busy = self.sides.iter().any(|s| s.session.open_streams() > 0);
        if let (Some(every), true) = (self.plan.sides[side].ping_every, busy) {
            self.set(every, Timer::Ping(side));
        }
    }

    /// Lets an actor act, if it is still there, and sets the timers it asks for.
    fn act(&mut self, side: usize, id: StreamId, act: impl FnOnce(&mut Actor, &mut Stage<'_>)) {
        let here = &mut self.sides[side];
        let Some(actor) = here.actors.get_mut(&id) else {
            return;
        };
        let mut stage = Stage {
            now: self.now,
            session: &mut here.session,
            monitor: &mut self.monitor,
            exchange: &self.plan.exchanges[actor.index],
            read_later: None,
            release_later: None,
        };
        act(actor, &mut stage);
        let (read, release) = (stage.read_later, stage.release_later);
        if let Some(after) = read {
            self.set(after, Timer::Read(side, id));
        }
        if let Some(after) = release {
            self.set(after, Timer::Release(side, id));
        }
    }

    /// Events and frames, until both sides have nothing to say now.
    fn settle(&mut self) {
        for side in 0..2 {
            while let Some(event) = self.sides[side].session.poll_event() {
                self.on_event(side, event);
            }
            if !self.disconnected {
                self.transmit(side);
            }
            // Writing makes room, which is an event.
            while let Some(event) = self.sides[side].session.poll_event() {
                self.on_event(side, event);
                if !self.disconnected {
                    self.transmit(side);
                }
            }
        }
    }

    fn on_event(&mut self, side: usize, event: Event) {
        match event {
            Event::Established | Event::Capacity if side == 0 => self.open_waiting(),
            Event::Established | Event::Capacity => {}
            Event::Incoming => {
                while let Some((id, head)) = self.sides[side].session.accept() {
                    self.on_incoming(id, &head);
                }
            }
            Event::Readable(id) => self.act(side, id, |actor, stage| {
                if actor.outcome.is_none() {
                    actor.on_readable(stage);
                }
            }),
            Event::Writable(id) => self.act(side, id, |actor, stage| {
                if actor.outcome.is_none() {
                    actor.on_writable(stage);
                }
            }),
            Event::Draining => {
                self.draining |= side == 0;
                self.open_waiting();
            }
        }
    }

    fn on_incoming(&mut self, id: StreamId, head: &RequestHead) {
        let target = std::str::from_utf8(&head.target[1..]).unwrap();
        let actor = Actor::new(id, target.parse().unwrap(), Role::Receiver);
        assert!(self.sides[1].actors.insert(id, actor).is_none());
        self.act(1, id, |actor, stage| actor.accepted(stage));
    }

    fn transmit(&mut self, side: usize) {
        let mut encoded = BytesMut::new();
        loop {
            let here = &mut self.sides[side];
            if here.unwritten >= MAX_UNWRITTEN && !self.plan.eager {
                return;
            }
            let Some(transmit) = here.session.poll_transmit(self.now, here.unwritten) else {
                return;
            };
            let Transmit::Frame(frame) = transmit else {
                panic!("a text on version 2");
            };
            frame.encode(&mut encoded);
            assert_eq!(encoded.len(), frame.encoded_len());
            let message = encoded.split().freeze();
            let decoded = v2::Frame::decode(&message).unwrap();
            self.monitor.emitted(ROLES[side], &decoded, message.len());
            let here = &mut self.sides[side];
            here.unwritten += message.len();
            here.buffer.push_back((message, decoded));
            if here.buffer.len() == 1 {
                self.start_write(side);
            }
        }
    }

    fn start_write(&mut self, side: usize) {
        if let Some((message, _)) = self.sides[side].buffer.front() {
            let nanos = message.len() as u64 * 1_000_000_000 / self.plan.bandwidth;
            self.set(Duration::from_nanos(nanos), Timer::Written(side));
        }
    }

    fn on_written(&mut self, side: usize) {
        let here = &mut self.sides[side];
        let message = here.buffer.pop_front().unwrap();
        here.unwritten -= message.0.len();
        here.wire.push_back(message);
        self.start_write(side);
        self.set(self.plan.latency, Timer::Arrived(1 - side));
    }

    fn on_arrived(&mut self, side: usize) {
        let (message, frame) = self.sides[1 - side].wire.pop_front().unwrap();
        self.monitor.delivered(ROLES[side], &frame);
        let result = self.sides[side].session.handle_binary(self.now, message);
        result.unwrap_or_else(|error| panic!("{:?} on {frame:?}: {error}", ROLES[side]));
    }

    fn open_waiting(&mut self) {
        if self.draining || self.disconnected {
            assert_eq!(self.sides[0].session.capacity(), 0);
            self.not_opened.extend(self.waiting.drain(..));
        }
        while self.sides[0].session.capacity() > 0 {
            let Some(index) = self.waiting.pop_front() else {
                return;
            };
            self.open(index);
        }
        if let Some(index) = self.waiting.front() {
            let head = self.request_head(*index);
            let session = &mut self.sides[0].session;
            let open = session.open(|| self.now, &head, Bytes::new(), false.into());
            assert_eq!(open, Err(OpenError::Unavailable));
        }
    }

    fn request_head(&self, index: usize) -> RequestHead {
        let exchange = &self.plan.exchanges[index];
        let mut headers = anpx::Fields::builder(64);
        if exchange.request.announce {
            let length = exchange.request.total.to_string();
            headers.push(b"content-length", length.as_bytes()).unwrap();
        }
        RequestHead {
            method: exchange.method.into(),
            target: format!("/{index}").into(),
            scheme: "http".into(),
            authority: "app.test".into(),
            headers: headers.build(),
            request_id: format!("r-{index}").into(),
            client_addr: None,
            protocol: exchange.upgrade.map(|_| "websocket".into()),
        }
    }

    fn open(&mut self, index: usize) {
        let head = self.request_head(index);
        let (half, upgrade) = {
            let exchange = &self.plan.exchanges[index];
            (&exchange.request, exchange.upgrade.is_some())
        };
        let here = &mut self.sides[0];
        let first = half.in_head.min(here.session.first_capacity() as u64);
        let end = !upgrade && first == half.total && half.end == EndStyle::WithData;
        let bytes = body::slice(Role::Gateway, index, 0, first);
        let id = here
            .session
            .open(|| self.now, &head, bytes, end.into())
            .unwrap();
        self.monitor.opened(id);
        self.ids.insert(index, id);
        here.actors.insert(id, Actor::new(id, index, Role::Gateway));
        self.act(0, id, |actor, stage| {
            actor.opened(stage, first, end.into());
            actor.on_writable(stage);
        });
    }

    fn disconnect(&mut self) {
        self.disconnected = true;
        for side in 0..2 {
            self.sides[side].session.end();
            assert_eq!(self.sides[side].session.accept(), None);
            let ids: Vec<_> = self.sides[side].actors.keys().copied().collect();
            for id in ids {
                self.act(side, id, |actor, stage| actor.on_end(stage));
            }
        }
        self.open_waiting();
    }

    /// What the end of every run must look like.
    pub(crate) fn check_end(&self) {
        assert!(self.waiting.is_empty(), "never opened: {:?}", self.waiting);
        for (here, role) in self.sides.iter().zip(ROLES) {
            for actor in here.actors.values() {
                assert!(
                    actor.outcome.is_some() && actor.released,
                    "stuck: {actor:?}"
                );
            }
            assert_eq!(here.session.open_streams(), 0, "{role:?} keeps streams");
            assert_eq!(here.budget.left(), here.growth, "{role:?} keeps growth");
            if !self.disconnected {
                assert!(here.buffer.is_empty() && here.wire.is_empty());
                assert!(!here.session.wants_transmit(), "{role:?} has more to say");
                let drains = self.plan.drain.is_some_and(|(_, r)| r == role);
                assert_eq!(here.session.is_drained(), drains, "{role:?} drained");
            }
        }
    }

    /// The outcomes of exchange `index`: the caller's, and the app's if it saw the request.
    pub(crate) fn outcomes(&self, index: usize) -> (Outcome, Option<Outcome>) {
        let Some(id) = self.ids.get(&index) else {
            assert!(self.not_opened.contains(&index));
            return (Outcome::NotOpened, None);
        };
        let outcome = |side: usize| self.sides[side].actors.get(id).and_then(|a| a.outcome);
        (outcome(0).unwrap(), outcome(1))
    }
}
