//! Calls of both applications and deliveries in any order, at two version-2 sessions joined in
//! memory: no session error, bodies in order, nothing left at the end.
#![no_main]

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use anpx::{
    Fields, RequestHead, ResetCode, ResponseHead,
    limits::Budget,
    session::{End, Event, Read, Role, Session, StreamId, Transmit, config::V2Config},
};
use arbitrary::Arbitrary;
use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
enum Op {
    Open {
        upgrade: bool,
        head: bool,
        body: u16,
        end: bool,
    },
    Inform(u8),
    Respond {
        at: u8,
        status: u8,
        body: u16,
        end: bool,
    },
    Send {
        gateway: bool,
        at: u8,
        len: u16,
        end: bool,
    },
    Trailers {
        gateway: bool,
        at: u8,
    },
    Read {
        gateway: bool,
        at: u8,
    },
    Reset {
        gateway: bool,
        at: u8,
        code: u8,
    },
    Release {
        gateway: bool,
        at: u8,
    },
    /// A few frames of one side arrive at the other.
    Deliver {
        from_gateway: bool,
        frames: u8,
    },
    Wait(u8),
    RoundTrip {
        gateway: bool,
        millis: u8,
    },
    Accepting(bool),
    Drain {
        gateway: bool,
    },
}

#[derive(Arbitrary, Debug)]
struct Input {
    windows: [u16; 2],
    frames: [u16; 2],
    max_streams: u8,
    ops: Vec<Op>,
}

const GROWTH: u64 = 1 << 20;

struct Side {
    session: Session,
    budget: Budget,
    wire: VecDeque<Bytes>,
    /// Streams this side's application knows, with the bytes it sent and read.
    streams: Vec<(StreamId, u64, u64)>,
    released: usize,
}

impl Side {
    fn new(role: Role, input: &Input, now: Instant) -> Self {
        let i = usize::from(role == Role::Receiver);
        let budget = Budget::new(GROWTH);
        let config = V2Config {
            initial_window: (16 << 10) + u32::from(input.windows[i]),
            max_frame_body: (4 << 10) + u32::from(input.frames[i]),
            max_streams: 1 + u32::from(input.max_streams),
            process_growth: budget.clone(),
            ..V2Config::new(role)
        };
        Self {
            session: Session::V2(anpx::session::v2::Session::new(config, now)),
            budget,
            wire: VecDeque::new(),
            streams: Vec::new(),
            released: 0,
        }
    }

    fn stream(&mut self, at: u8) -> Option<&mut (StreamId, u64, u64)> {
        let len = self.streams.len().max(1);
        self.streams.get_mut(usize::from(at) % len)
    }

    /// Moves what the session has to say to the wire, and forgets its events.
    fn transmit(&mut self, now: Instant) {
        let mut out = BytesMut::new();
        while let Some(Transmit::Frame(frame)) = self.session.poll_transmit(now, 0) {
            frame.encode(&mut out);
            self.wire.push_back(out.split().freeze());
        }
        while let Some(event) = self.session.poll_event() {
            if event == Event::Incoming {
                while let Some((id, _)) = self.session.accept() {
                    self.streams.push((id, 0, 0));
                }
            }
        }
    }

    fn send(&mut self, at: u8, len: u16, end: bool) {
        let Some(&mut (id, sent, _)) = self.stream(at) else {
            return;
        };
        let room = self.session.send_capacity(id).unwrap_or(0);
        let data = body(id, sent, room.min(usize::from(len)));
        let len = data.len() as u64;
        if self.session.send_data(id, data, End::from(end)).is_ok()
            && let Some(stream) = self.stream(at)
        {
            stream.1 += len;
        }
    }

    fn read(&mut self, now: Instant, at: u8) {
        let Some(&mut (id, _, got)) = self.stream(at) else {
            return;
        };
        if let Ok(Read::Data(data, _)) = self.session.read(|| now, id) {
            assert_eq!(data, body(id, got, data.len()), "{id:?} at {got}");
            if let Some(stream) = self.stream(at) {
                stream.2 += data.len() as u64;
            }
        }
    }

    fn release(&mut self, at: u8) {
        if let Some(&mut (id, ..)) = self.stream(at) {
            self.streams.retain(|stream| stream.0 != id);
            self.session.release(id);
            self.released += 1;
        }
    }
}

/// Bytes that tell where they belong.
fn body(id: StreamId, at: u64, len: usize) -> Bytes {
    let byte = |i: u64| (i.wrapping_mul(31) ^ (i >> 8) ^ u64::from(id.0)) as u8;
    (at..at + len as u64).map(byte).collect()
}

fn open(side: &mut Side, now: Instant, upgrade: bool, head: bool, len: u16, end: bool) {
    let request = RequestHead {
        method: if head { "HEAD".into() } else { "GET".into() },
        target: "/".into(),
        scheme: "http".into(),
        authority: "h".into(),
        headers: Fields::default(),
        request_id: "r".into(),
        client_addr: None,
        protocol: upgrade.then(|| "websocket".into()),
    };
    let next = StreamId(1 + (side.streams.len() + side.released) as u32);
    let len = usize::from(len).min(side.session.first_capacity());
    let first = if upgrade {
        Bytes::new()
    } else {
        body(next, 0, len)
    };
    let sent = first.len() as u64;
    if let Ok(id) = side.session.open(|| now, &request, first, End::from(end)) {
        assert_eq!(id, next);
        side.streams.push((id, sent, 0));
    }
}

fn respond(side: &mut Side, at: u8, status: u8, len: u16, end: bool) {
    let status = [101, 200, 204, 304, 599, 100][usize::from(status) % 6];
    let Some(&mut (id, ..)) = side.stream(at) else {
        return;
    };
    let head = ResponseHead {
        status,
        headers: Fields::default(),
    };
    let len = usize::from(len).min(side.session.first_capacity());
    let first = body(id, 0, len);
    if side
        .session
        .respond(id, &head, first, End::from(end))
        .is_ok()
        && let Some(stream) = side.stream(at)
    {
        stream.1 = len as u64;
    }
}

fn apply(op: Op, sides: &mut [Side; 2], now: &mut Instant) {
    match op {
        Op::Open {
            upgrade,
            head,
            body,
            end,
        } => open(&mut sides[0], *now, upgrade, head, body, end),
        Op::Inform(at) => {
            let side = &mut sides[1];
            if let Some(&mut (id, ..)) = side.stream(at) {
                let head = ResponseHead {
                    status: 103,
                    headers: Fields::default(),
                };
                let _ = side.session.inform(id, &head);
            }
        }
        Op::Respond {
            at,
            status,
            body,
            end,
        } => respond(&mut sides[1], at, status, body, end),
        Op::Send {
            gateway,
            at,
            len,
            end,
        } => pick(sides, gateway).send(at, len, end),
        Op::Trailers { gateway, at } => {
            let side = pick(sides, gateway);
            if let Some(&mut (id, ..)) = side.stream(at) {
                let _ = side.session.send_trailers(id, Fields::default());
            }
        }
        Op::Read { gateway, at } => pick(sides, gateway).read(*now, at),
        Op::Reset { gateway, at, code } => {
            let side = pick(sides, gateway);
            if let Some(&mut (id, ..)) = side.stream(at) {
                side.session.reset(id, ResetCode(u32::from(code % 11)));
            }
        }
        Op::Release { gateway, at } => pick(sides, gateway).release(at),
        Op::Deliver {
            from_gateway,
            frames,
        } => deliver(sides, from_gateway, usize::from(frames), *now),
        Op::Wait(millis) => *now += Duration::from_millis(u64::from(millis)),
        Op::RoundTrip { gateway, millis } => {
            let sample = Duration::from_millis(u64::from(millis));
            pick(sides, gateway).session.handle_round_trip(sample);
        }
        Op::Accepting(accepting) => sides[1].session.set_accepting(accepting),
        Op::Drain { gateway } => pick(sides, gateway).session.drain(),
    }
}

fn pick(sides: &mut [Side; 2], gateway: bool) -> &mut Side {
    &mut sides[usize::from(!gateway)]
}

/// At most `frames` frames arrive.
fn deliver(sides: &mut [Side; 2], from_gateway: bool, frames: usize, now: Instant) {
    let [gateway, receiver] = sides;
    let (from, to) = if from_gateway {
        (gateway, receiver)
    } else {
        (receiver, gateway)
    };
    from.transmit(now);
    let frames = frames.min(from.wire.len());
    for message in from.wire.drain(..frames) {
        if let Err(error) = to.session.handle_binary(now, message) {
            panic!("a session error between two honest sides: {error}");
        }
    }
    to.transmit(now);
}

fuzz_target!(|input: Input| {
    let mut now = Instant::now();
    let mut sides = [Role::Gateway, Role::Receiver].map(|role| Side::new(role, &input, now));
    for op in input.ops {
        apply(op, &mut sides, &mut now);
    }
    // A request on its way reaches its app only after the first round.
    for _ in 0..2 {
        for side in &mut sides {
            while !side.streams.is_empty() {
                side.release(0);
            }
        }
        for from_gateway in [true, false, true, false] {
            deliver(&mut sides, from_gateway, usize::MAX, now);
        }
    }
    for side in &sides {
        assert_eq!(side.session.open_streams(), 0);
        assert_eq!(side.budget.left(), GROWTH);
    }
});
