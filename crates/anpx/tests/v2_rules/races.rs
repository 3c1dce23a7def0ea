//! Row 39 of the threats: whatever ends an exchange, and in whatever order, it ends once on each
//! side.

use std::time::Instant;

use anpx::{
    ResetCode, StreamError,
    session::{End, Read, Role, Session, Transmit, config::V2Config},
};
use bytes::Bytes;

use super::dialogue::{Dialogue, ONE, bytes, head, response};

/// What may end an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// The app sends the end of the response.
    ResponseEnds,
    /// The caller sends the end of the request.
    RequestEnds,
    /// The caller leaves.
    Cancel,
    /// The gateway's timer runs out.
    Timeout,
    /// The app fails.
    Failure,
    /// The app is done with the exchange, finished or not.
    Released,
    /// The transport is gone.
    Disconnect,
}

use Ending::{Cancel, Disconnect, Failure, Released, RequestEnds, ResponseEnds, Timeout};

const ALL: [Ending; 7] = [
    ResponseEnds,
    RequestEnds,
    Cancel,
    Timeout,
    Failure,
    Released,
    Disconnect,
];

/// What a reader was told.
#[derive(Clone, Debug, Default)]
struct Told {
    body: usize,
    whole: bool,
    error: Option<StreamError>,
}

/// Where the app's call stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum App {
    NotCalled,
    Running,
    Released,
}

struct Pair {
    gateway: Session,
    receiver: Session,
    now: Instant,
    app: App,
    connected: bool,
    /// What the caller and the app were told.
    told: [Told; 2],
}

impl Pair {
    fn new() -> Self {
        let [gateway, receiver] =
            [Role::Gateway, Role::Receiver].map(|role| Dialogue::silent(V2Config::new(role)));
        let mut pair = Self {
            now: gateway.now,
            gateway: gateway.session,
            receiver: receiver.session,
            app: App::NotCalled,
            connected: true,
            told: Default::default(),
        };
        pair.transfer();
        let body = Bytes::from_static(b"request");
        let id = pair.gateway.open(|| pair.now, &head("POST"), body, End::No);
        assert_eq!(id, Ok(ONE));
        pair
    }

    /// Everything written arrives, and both read all there is.
    fn deliver(&mut self) {
        self.transfer();
        self.read();
    }

    fn transfer(&mut self) {
        let mut quiet = !self.connected;
        while !std::mem::replace(&mut quiet, true) {
            for to_receiver in [true, false] {
                let (from, to) = if to_receiver {
                    (&mut self.gateway, &mut self.receiver)
                } else {
                    (&mut self.receiver, &mut self.gateway)
                };
                while let Some(Transmit::Frame(frame)) = from.poll_transmit(self.now, 0) {
                    to.handle_binary(self.now, bytes(&frame)).unwrap();
                    quiet = false;
                }
            }
        }
        if self.app == App::NotCalled && self.receiver.accept().is_some() {
            self.app = App::Running;
            let (head, body) = (response(200), Bytes::from_static(b"response"));
            let _ = self.receiver.respond(ONE, &head, body, End::No);
        }
    }

    fn act(&mut self, ending: Ending) {
        let running = self.app == App::Running;
        match ending {
            ResponseEnds if running => {
                let _ = self.receiver.send_data(ONE, Bytes::new(), End::Yes);
            }
            Failure if running => self.receiver.reset(ONE, ResetCode::UPSTREAM_FAILED),
            Released if running => {
                self.app = App::Released;
                self.receiver.release(ONE);
            }
            ResponseEnds | Failure | Released => {}
            RequestEnds => {
                let _ = self.gateway.send_data(ONE, Bytes::new(), End::Yes);
            }
            Cancel => self.gateway.reset(ONE, ResetCode::CANCELLED),
            Timeout => self.gateway.reset(ONE, ResetCode::TIMEOUT),
            Disconnect => {
                self.connected = false;
                self.gateway.end();
                self.receiver.end();
            }
        }
    }

    /// Twice: nothing may change what a reader was told once.
    fn read(&mut self) {
        for _ in 0..2 {
            read_all(&mut self.gateway, self.now, &mut self.told[0]);
            if self.app == App::Running {
                read_all(&mut self.receiver, self.now, &mut self.told[1]);
            }
        }
    }
}

fn read_all(session: &mut Session, now: Instant, told: &mut Told) {
    loop {
        let read = session.read(|| now, ONE);
        if read == Ok(Read::Pending) {
            return;
        }
        assert!(!told.whole, "{read:?} after the end");
        if let Some(error) = told.error {
            assert_eq!(read, Err(error), "another outcome");
            return;
        }
        match read {
            Ok(Read::Head(_, end)) => told.whole = end.is_end(),
            Ok(Read::Data(data, end)) => {
                told.body += data.len();
                told.whole = end.is_end();
            }
            Ok(_) => told.whole = true,
            Err(error) => told.error = Some(error),
        }
    }
}

/// Every order of some of `rest` behind `done`.
fn orders(done: &mut Vec<Ending>, rest: &[Ending], check: &mut dyn FnMut(&[Ending])) {
    check(done);
    for (i, ending) in rest.iter().enumerate() {
        let mut others = rest.to_vec();
        others.remove(i);
        done.push(*ending);
        orders(done, &others, check);
        done.pop();
    }
}

/// `delivered`: bit i says whether frames arrive before ending i.
fn run(order: &[Ending], delivered: u32) {
    let mut pair = Pair::new();
    for (i, ending) in order.iter().enumerate() {
        if delivered & 1 << i != 0 {
            pair.deliver();
        }
        pair.act(*ending);
    }
    pair.deliver();
    let [caller, app] = &pair.told;
    // Some outcome for the caller wherever it can have one, and the whole body with a whole one.
    let ended = |endings: &[Ending]| order.iter().any(|e| endings.contains(e));
    let called = pair.app != App::NotCalled;
    if ended(&[Cancel, Timeout, Disconnect]) {
        assert!(
            caller.whole || caller.error.is_some(),
            "no outcome: {caller:?}"
        );
        assert!(!called || pair.app == App::Released || app.whole || app.error.is_some());
    }
    assert!(!caller.whole || caller.body == b"response".len());
    assert!(!app.whole || app.body == b"request".len());
    pair.gateway.release(ONE);
    pair.receiver.release(ONE);
    pair.transfer();
    let open = (pair.gateway.open_streams(), pair.receiver.open_streams());
    assert_eq!(open, (0, 0), "an entry is left");
}

#[test]
fn every_order_of_endings_ends_once() {
    orders(&mut Vec::new(), &ALL, &mut |order| {
        // All mixes of deliveries for short orders; for long ones some that differ most.
        let few = [0, 0b10, 0b111_1111];
        let all: Vec<u32> = (0..1 << order.len().min(4)).collect();
        let mixes = if order.len() > 4 { &few[..] } else { &all[..] };
        for delivered in mixes {
            let result = std::panic::catch_unwind(|| run(order, *delivered));
            assert!(result.is_ok(), "order {order:?}, delivered {delivered:#b}");
        }
    });
}
