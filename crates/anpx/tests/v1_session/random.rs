//! Random sequences of operations: a gateway and a receiver talk to each other over queues that
//! deliver late, and act only when an event says so.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    time::{Duration, Instant},
};

use anpx::{
    ResetCode, StreamError,
    limits::Budget,
    session::{End, Event, Read, Role, StreamId, Transmit, config::V1Config, v1::Session},
    v1::codec::Kind,
};
use bytes::Bytes;

use crate::pair::{One, at, encoded, frame, request, response};

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn bytes(&mut self, most: usize) -> Bytes {
        let len = self.below(most);
        (0..len).map(|_| self.next() as u8).collect()
    }
}

/// What one side still has to send of a body.
struct Sending {
    left: Bytes,
    ended: bool,
    blocked: bool,
}

impl Sending {
    fn new(body: &Bytes) -> Self {
        Self {
            left: body.clone(),
            ended: false,
            blocked: false,
        }
    }

    /// Sends one part, if it may.
    fn step(&mut self, random: &mut Random, session: &mut Session, id: StreamId) {
        if self.ended || self.blocked {
            return;
        }
        let Ok(capacity) = session.send_capacity(id) else {
            self.ended = true;
            return;
        };
        if capacity == 0 {
            self.blocked = true;
            return;
        }
        let most = capacity.min(self.left.len());
        let part = self.left.split_to(random.below(most + 1));
        self.ended = self.left.is_empty() && random.one_in(2);
        session.send_data(id, part, self.ended.into()).unwrap();
    }
}

struct Exchange {
    request: Bytes,
    response: Bytes,
    /// Gateway's handle.
    caller: Option<StreamId>,
    uploading: Sending,
    /// What the caller got: the head's status and the body.
    got: (Option<u16>, Vec<u8>),
    outcome: Option<Result<(), StreamError>>,
    cancelled: bool,
    /// Receiver's handle.
    app: Option<StreamId>,
    upload: Vec<u8>,
    answering: Option<Sending>,
    broken_off: bool,
}

struct World {
    random: Random,
    now: Instant,
    gateway: Session,
    receiver: Session,
    to_gateway: VecDeque<Transmit>,
    to_receiver: VecDeque<Transmit>,
    exchanges: Vec<Exchange>,
    by_caller: HashMap<StreamId, usize>,
    by_app: HashMap<StreamId, usize>,
    incoming: bool,
    /// Streams that an event named: 0 at the gateway, 1 at the receiver.
    readable: HashSet<(u8, StreamId)>,
}

impl World {
    fn new(seed: u64, budgets: [&Budget; 2]) -> Self {
        let mut random = Random(seed);
        let now = Instant::now();
        let chunk_size = 150 + random.below(1500);
        let session = |role, budget: &Budget| {
            let mut config = V1Config::new(role);
            config.chunk_size = chunk_size;
            config.max_streams = 8;
            config.process_held = budget.clone();
            Session::new(config, now)
        };
        Self {
            gateway: session(Role::Gateway, budgets[0]),
            receiver: session(Role::Receiver, budgets[1]),
            random,
            now,
            to_gateway: VecDeque::new(),
            to_receiver: VecDeque::new(),
            exchanges: Vec::new(),
            by_caller: HashMap::new(),
            by_app: HashMap::new(),
            incoming: false,
            readable: HashSet::new(),
        }
    }

    fn open(&mut self) {
        if self.gateway.capacity() == 0 {
            return;
        }
        let (body, answer) = (self.random.bytes(4000), self.random.bytes(4000));
        let n = self.exchanges.len();
        let mut head = request("POST", &format!("00000000-0000-4000-8000-{n:012}"));
        head.target = Bytes::from(format!("/{n}"));
        let mut uploading = Sending::new(&body);
        let most = self.gateway.first_capacity().min(body.len());
        let first = uploading.left.split_to(self.random.below(most + 1));
        uploading.ended = uploading.left.is_empty();
        let end = End::from(uploading.ended);
        let id = self.gateway.open(|| self.now, &head, first, end).unwrap();
        self.by_caller.insert(id, n);
        self.exchanges.push(Exchange {
            request: body,
            response: answer,
            caller: Some(id),
            uploading,
            got: (None, Vec::new()),
            outcome: None,
            cancelled: false,
            app: None,
            upload: Vec::new(),
            answering: None,
            broken_off: false,
        });
    }

    fn events(&mut self) {
        let mut seen = HashSet::new();
        while let Some(event) = self.gateway.poll_event() {
            assert!(seen.insert(format!("{event:?}")), "{event:?} twice");
            match event {
                Event::Readable(id) => drop(self.readable.insert((0, id))),
                Event::Writable(id) => {
                    self.exchanges[self.by_caller[&id]].uploading.blocked = false;
                }
                _ => {}
            }
        }
        seen.clear();
        while let Some(event) = self.receiver.poll_event() {
            assert!(seen.insert(format!("{event:?}")), "{event:?} twice");
            match event {
                Event::Incoming => self.incoming = true,
                Event::Readable(id) => drop(self.readable.insert((1, id))),
                Event::Writable(id) => {
                    if let Some(answer) = &mut self.exchanges[self.by_app[&id]].answering {
                        answer.blocked = false;
                    }
                }
                _ => {}
            }
        }
    }

    fn accept(&mut self) {
        while std::mem::take(&mut self.incoming) {
            while let Some((id, head)) = self.receiver.accept() {
                let n: usize = std::str::from_utf8(&head.target[1..])
                    .unwrap()
                    .parse()
                    .unwrap();
                let length = head.headers.get("content-length").unwrap();
                let expected = self.exchanges[n].request.len().to_string();
                assert_eq!(length, expected.as_bytes());
                self.exchanges[n].app = Some(id);
                self.by_app.insert(id, n);
                self.readable.insert((1, id));
            }
        }
    }

    fn read_upload(&mut self, n: usize) {
        let exchange = &mut self.exchanges[n];
        let Some(id) = exchange.app.filter(|id| self.readable.remove(&(1, *id))) else {
            return;
        };
        loop {
            match self.receiver.read(|| self.now, id) {
                Ok(Read::Data(data, _)) => exchange.upload.extend_from_slice(&data),
                Ok(Read::End) => {}
                Ok(Read::Pending) => break assert!(exchange.upload == exchange.request),
                Ok(other) => panic!("{other:?}"),
                Err(_) => break,
            }
        }
    }

    fn answer(&mut self, n: usize) {
        let exchange = &mut self.exchanges[n];
        let Some(id) = exchange.app else { return };
        let Some(answering) = &mut exchange.answering else {
            let sending = Sending::new(&exchange.response);
            exchange.answering = Some(sending);
            let head = response(400 + n as u16 % 100);
            let responded = self.receiver.respond(id, &head, Bytes::new(), End::No);
            assert!(responded.is_ok() || exchange.cancelled || exchange.broken_off);
            return;
        };
        answering.step(&mut self.random, &mut self.receiver, id);
        let (over, reset) = (answering.ended, self.random.one_in(200));
        if reset && !over {
            exchange.broken_off = true;
            self.receiver.reset(id, ResetCode::UPSTREAM_FAILED);
        }
        if over || reset {
            self.receiver.release(id);
            exchange.app = None;
        }
    }

    fn read_answer(&mut self, n: usize) {
        let exchange = &mut self.exchanges[n];
        let Some(id) = exchange.caller.filter(|id| self.readable.remove(&(0, *id))) else {
            return;
        };
        let over = loop {
            match self.gateway.read(|| self.now, id) {
                Ok(Read::Head(head, end)) => {
                    exchange.got.0 = Some(head.status);
                    if end.is_end() {
                        break Ok(());
                    }
                }
                Ok(Read::Data(data, end)) => {
                    exchange.got.1.extend_from_slice(&data);
                    if end.is_end() {
                        break Ok(());
                    }
                }
                Ok(Read::End) => break Ok(()),
                Ok(Read::Pending) => return,
                Ok(other) => panic!("{other:?}"),
                Err(error) => break Err(error),
            }
        };
        exchange.outcome = Some(over);
        exchange.caller = None;
        self.gateway.release(id);
    }

    fn write(&mut self) {
        let room = if self.random.one_in(4) { 1 << 20 } else { 0 };
        self.to_receiver
            .extend(self.gateway.poll_transmit(self.now, room));
        self.to_gateway
            .extend(self.receiver.poll_transmit(self.now, room));
    }

    fn deliver(&mut self) {
        let now = self.now;
        for (queue, session) in [
            (&mut self.to_gateway, &mut self.gateway),
            (&mut self.to_receiver, &mut self.receiver),
        ] {
            match queue.pop_front() {
                Some(Transmit::Frame(frame)) => {
                    session.handle_binary(now, encoded(&frame)).unwrap()
                }
                Some(Transmit::Text(text)) => session.handle_text(now, &text).unwrap(),
                None => {}
            }
        }
    }

    fn cancel(&mut self, n: usize) {
        let exchange = &mut self.exchanges[n];
        if let Some(id) = exchange.caller.take() {
            exchange.cancelled = true;
            self.gateway.release(id);
        }
    }

    fn step(&mut self, opening: bool) {
        self.events();
        self.accept();
        match self.random.below(12) {
            0 if opening => self.open(),
            1 if opening => {
                self.now += Duration::from_millis(self.random.below(500) as u64);
                self.gateway.handle_timeout(self.now).unwrap();
                self.receiver.handle_timeout(self.now).unwrap();
            }
            2..=4 => self.write(),
            5..=7 => self.deliver(),
            _ if self.exchanges.is_empty() => {}
            what => {
                let n = self.random.below(self.exchanges.len());
                match what {
                    8 => self.read_upload(n),
                    9 => self.answer(n),
                    10 => self.read_answer(n),
                    _ if opening && self.random.one_in(30) => self.cancel(n),
                    _ => {
                        let exchange = &mut self.exchanges[n];
                        if let Some(id) = exchange.caller {
                            let gateway = &mut self.gateway;
                            exchange.uploading.step(&mut self.random, gateway, id);
                        }
                    }
                }
            }
        }
    }

    fn is_done(&self) -> bool {
        self.exchanges
            .iter()
            .all(|e| e.caller.is_none() && e.app.is_none())
            && self.gateway.open_streams() == 0
            && self.receiver.open_streams() == 0
    }

    fn run(&mut self) {
        for _ in 0..600 {
            self.step(true);
        }
        for _ in 0..2_000_000 {
            self.step(false);
            if self.is_done() {
                break;
            }
        }
        assert!(self.is_done(), "something waits for ever");
        for (n, exchange) in self.exchanges.iter().enumerate() {
            match exchange.outcome {
                None => assert!(exchange.cancelled),
                Some(Ok(())) if exchange.broken_off => assert_eq!(exchange.got.0, Some(502)),
                Some(Ok(())) => {
                    assert_eq!(exchange.got.0, Some(400 + n as u16 % 100));
                    assert!(exchange.got.1 == exchange.response, "a response differs");
                }
                Some(Err(error)) => {
                    assert!(exchange.broken_off, "{error}");
                    assert_eq!(error, StreamError::Reset(ResetCode::UPSTREAM_FAILED));
                }
            }
        }
    }
}

#[test]
fn no_byte_is_lost_and_nothing_waits_for_ever() {
    let budgets = [Budget::new(1 << 30), Budget::new(1 << 30)];
    for seed in 0..400 {
        let mut world = World::new(seed, [&budgets[0], &budgets[1]]);
        world.run();
        for budget in &budgets {
            assert_eq!(budget.left(), 1 << 30, "seed {seed} leaves bytes charged");
        }
    }
}

/// Row 2 of the threats.
#[test]
fn interleaved_chunks_of_equal_ids_on_two_tunnels_never_mix() {
    let mut random = Random(2);
    let meta = r#"{"status":200}"#;
    let ids: Vec<String> = (0..3)
        .map(|n| format!("00000000-0000-4000-8000-{n:012}"))
        .collect();
    for _ in 0..10_000 {
        let mut tunnels = [One::gateway(), One::gateway()];
        let mut streams = Vec::new();
        for (t, tunnel) in tunnels.iter_mut().enumerate() {
            for (s, id) in ids.iter().enumerate() {
                let head = request("GET", id);
                let opened = tunnel
                    .session
                    .open(|| tunnel.now, &head, Bytes::new(), End::Yes);
                tunnel.sent();
                streams.push((t, s, opened.unwrap(), 0));
            }
        }
        let mut left: Vec<usize> = (0..streams.len()).collect();
        while !left.is_empty() {
            let pick = random.below(left.len());
            let (t, s, _, next) = &mut streams[left[pick]];
            let body = [*t as u8, *s as u8, *next as u8];
            let chunk = at(*next, None, *next == 2);
            tunnels[*t].take(frame(
                Kind::Response,
                &ids[*s],
                (*next == 2).then_some(meta),
                chunk,
                &body,
            ));
            *next += 1;
            if *next == 3 {
                left.swap_remove(pick);
            }
        }
        for (t, s, id, _) in streams {
            let (t8, s8) = (t as u8, s as u8);
            let expected = [t8, s8, 0, t8, s8, 1, t8, s8, 2];
            assert!(matches!(tunnels[t].read(id), Ok(Read::Head(_, End::No))));
            let data = Bytes::copy_from_slice(&expected);
            assert_eq!(tunnels[t].read(id), Ok(Read::Data(data, End::Yes)));
        }
    }
}
