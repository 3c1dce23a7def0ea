//! Peers that send any frames in any order: nothing panics, nothing is held beyond the limits,
//! nothing waits for ever, and a receiver answers each request once (threats, rows 19 and 21).

use std::{collections::HashMap, time::Duration};

use anpx::{
    limits::Budget,
    session::{End, Event, Read, Role, Transmit, config::V1Config},
    v1::codec::{Decoded, Kind, Position},
};
use bytes::Bytes;
use proptest::{collection::vec, option, prelude::*, sample::select};

use crate::pair::{One, encoded, frame, request, response};

const BUDGET: u64 = 10_000;

fn id(n: u8) -> String {
    format!("00000000-0000-4000-8000-{n:012}")
}

#[derive(Clone, Debug)]
struct Hostile {
    kind: Kind,
    id: u8,
    meta: Option<&'static str>,
    chunk: Option<Position>,
    body: usize,
    /// What the application and the clock do after it.
    then: u8,
}

fn hostile(kind: Kind, metas: &'static [&'static str]) -> impl Strategy<Value = Hostile> {
    let index = prop_oneof![8 => 0..4_u32, 1 => Just(u32::MAX)];
    let total = option::weighted(0.3, prop_oneof![1..5_u32, Just(0), Just(u32::MAX)]);
    let chunk = (index, total, any::<bool>()).prop_map(|(index, total, last)| Position {
        index,
        total,
        last,
    });
    (
        prop_oneof![6 => Just(kind), 1 => Just(Kind::Error)],
        0..4_u8,
        option::weighted(0.8, select(metas)),
        option::weighted(0.8, chunk),
        0..3000_usize,
        0..8_u8,
    )
        .prop_map(|(kind, id, meta, chunk, body, then)| Hostile {
            kind,
            id,
            meta,
            chunk,
            body,
            then,
        })
}

fn message(h: &Hostile) -> Bytes {
    frame(h.kind, &id(h.id), h.meta, h.chunk, &vec![h.id; h.body])
}

fn limited(role: Role, budget: &Budget) -> One {
    One::new(role, |c: &mut V1Config| {
        c.max_message = 5000;
        c.process_held = budget.clone();
    })
}

const RESPONSES: &[&str] = &[
    r#"{"status":200}"#,
    r#"{"status":204}"#,
    "{",
    r#"{"status":9}"#,
];
const REQUESTS: &[&str] = &[
    r#"{"method":"POST","path":"/"}"#,
    r#"{"method":"HEAD","path":"/"}"#,
    "{",
];

proptest! {
    #[test]
    fn a_gateway_stands_any_answers(frames in vec(hostile(Kind::Response, RESPONSES), 1..40)) {
        let budget = Budget::new(BUDGET);
        let mut one = limited(Role::Gateway, &budget);
        let mut streams = Vec::new();
        for n in 0..4 {
            let head = request("GET", &id(n));
            streams.push(one.session.open(|| one.now, &head, Bytes::new(), End::Yes).unwrap());
            one.sent();
        }
        for hostile in &frames {
            one.take(message(hostile));
            let stream = streams[usize::from(hostile.id)];
            match hostile.then {
                0 => one.pass(Duration::from_secs(20)),
                1 => one.session.release(stream),
                2..5 => {
                    // Whatever is read of a stream holds no byte of another.
                    if let Ok(Read::Data(data, _)) = one.read(stream) {
                        prop_assert!(data.iter().all(|b| *b == hostile.id));
                    }
                }
                _ => {}
            }
            one.sent();
            one.events();
        }
        one.session.drain();
        for stream in streams {
            one.session.release(stream);
        }
        one.pass(Duration::from_secs(600));
        while one.sent().is_some() {}
        prop_assert!(one.session.is_drained());
        prop_assert_eq!(one.session.poll_timeout(), None);
        prop_assert_eq!(budget.left(), BUDGET);
    }

    #[test]
    fn a_receiver_answers_any_request_once(frames in vec(hostile(Kind::Request, REQUESTS), 1..40)) {
        let budget = Budget::new(BUDGET);
        let mut one = limited(Role::Receiver, &budget);
        let mut asked: HashMap<Bytes, u32> = HashMap::new();
        let mut served = Vec::new();
        let mut answers = |one: &mut One| {
            while let Some(transmit) = one.session.poll_transmit(one.now, 0) {
                let Transmit::Frame(frame) = transmit else { continue };
                let frame = Decoded::decode(encoded(&frame)).unwrap();
                let last = frame.kind == Kind::Error || !frame.chunked || frame.final_chunk;
                *asked.entry(frame.request_id.unwrap()).or_default() += u32::from(last);
            }
        };
        for hostile in &frames {
            one.take(message(hostile));
            if one.events().contains(&Event::Incoming) {
                served.extend(std::iter::from_fn(|| one.session.accept()).map(|(id, _)| id));
            }
            match (hostile.then, served.last()) {
                (0, _) => one.pass(Duration::from_secs(20)),
                (1, Some(id)) => one.session.release(*id),
                (2, Some(id)) => {
                    let _ = one.session.respond(*id, &response(200), Bytes::new(), End::No);
                }
                (3, Some(id)) => {
                    let data = Bytes::from_static(b"x");
                    let _ = one.session.send_data(*id, data, End::from(hostile.body % 2 == 0));
                }
                (4, Some(id)) => drop(one.read(*id)),
                (5, _) => answers(&mut one),
                _ => {}
            }
        }
        one.session.drain();
        for id in served {
            one.session.release(id);
        }
        one.pass(Duration::from_secs(60));
        answers(&mut one);
        prop_assert!(one.session.is_drained());
        prop_assert_eq!(budget.left(), BUDGET);
        let requests: std::collections::HashSet<_> = frames
            .iter()
            .filter(|f| f.kind == Kind::Request)
            .map(|f| Bytes::from(id(f.id)))
            .collect();
        prop_assert_eq!(asked.len(), requests.len());
        prop_assert!(asked.values().all(|n| *n == 1), "{asked:?}");
    }
}
