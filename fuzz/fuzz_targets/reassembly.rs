//! Version-1 frames of a few messages in any order: each message is whole once or broken, and what
//! a session holds stays within its budget and is given back.
#![no_main]

use std::time::{Duration, Instant};

use anpx::{
    Fields, RequestHead,
    limits::Budget,
    session::{End, Read, Role, StreamId, config::V1Config, v1::Session},
    v1::codec::{self, Kind, Position},
};
use arbitrary::Arbitrary;
use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
enum Op {
    Frame {
        kind: u8,
        message: u8,
        meta: Option<u8>,
        chunk: Option<(u8, Option<u8>, bool)>,
        body: u16,
    },
    Read(u8),
    Release(u8),
    Wait(u8),
    Text(String),
}

const BUDGET: u64 = 1 << 20;
const METAS: [&[u8]; 4] = [
    br#"{"method":"POST","path":"/","headers":{},"query":{}}"#,
    br#"{"status":200,"headers":{"content-length":"7"}}"#,
    br#"{"status":99999}"#,
    b"{",
];

fn id(message: u8) -> String {
    format!("6f1b0a52-7e57-4d5a-9d0b-{:012x}", message % 4)
}

fn frame(
    kind: u8,
    message: u8,
    meta: Option<u8>,
    chunk: Option<(u8, Option<u8>, bool)>,
    body: u16,
) -> Bytes {
    let kind = [Kind::Request, Kind::Response, Kind::Error][usize::from(kind % 3)];
    let chunk = chunk.map(|(index, total, last)| Position {
        index: u32::from(index),
        total: total.map(u32::from),
        last,
    });
    let meta = meta.map(|meta| METAS[usize::from(meta) % METAS.len()]);
    let body = Bytes::from(vec![message; usize::from(body)]);
    let mut out = BytesMut::new();
    codec::frame(kind, id(message).as_bytes(), meta, chunk, body).encode(&mut out);
    out.freeze()
}

/// Opens the requests whose answers a gateway may read.
fn open(session: &mut Session, now: Instant) -> Vec<StreamId> {
    let mut ids = Vec::new();
    for message in 0..4 {
        let head = RequestHead {
            method: "GET".into(),
            target: "/".into(),
            scheme: "http".into(),
            authority: "h".into(),
            headers: Fields::default(),
            request_id: id(message).into(),
            client_addr: None,
            protocol: None,
        };
        ids.extend(session.open(|| now, &head, Bytes::new(), End::Yes).ok());
    }
    ids
}

fuzz_target!(|input: (bool, Vec<Op>)| {
    let role = if input.0 {
        Role::Gateway
    } else {
        Role::Receiver
    };
    let budget = Budget::new(BUDGET);
    let config = V1Config {
        max_message: 256 << 10,
        max_session: 512 << 10,
        process_held: budget.clone(),
        ..V1Config::new(role)
    };
    let mut now = Instant::now();
    let mut session = Session::new(config, now);
    let mut ids = if input.0 {
        open(&mut session, now)
    } else {
        Vec::new()
    };
    let mut told = vec![false; 64];
    for op in input.1 {
        let result = match op {
            Op::Frame {
                kind,
                message,
                meta,
                chunk,
                body,
            } => session.handle_binary(now, frame(kind, message, meta, chunk, body)),
            Op::Text(text) => session.handle_text(now, &text),
            Op::Wait(seconds) => {
                now += Duration::from_secs(u64::from(seconds));
                session.handle_timeout(now)
            }
            Op::Read(at) => {
                if let Some(id) = ids.get(usize::from(at) % ids.len().max(1)) {
                    let read = session.read(|| now, *id);
                    let done = told.get_mut(id.0 as usize);
                    let end = matches!(
                        &read,
                        Ok(Read::End
                            | Read::Trailers(_)
                            | Read::Head(_, End::Yes)
                            | Read::Data(_, End::Yes))
                    );
                    if let (true, Some(done)) = (end, done) {
                        assert!(!std::mem::replace(done, true), "{id:?} ended twice");
                    }
                }
                Ok(())
            }
            Op::Release(at) => {
                let at = usize::from(at) % ids.len().max(1);
                if at < ids.len() {
                    session.release(ids.swap_remove(at));
                }
                Ok(())
            }
        };
        assert!(
            BUDGET - budget.left() <= 512 << 10,
            "more held than a session may"
        );
        while session.poll_transmit(now, 0).is_some() {}
        while session.poll_event().is_some() {}
        while let Some((id, _)) = session.accept() {
            ids.push(id);
        }
        if result.is_err() {
            break;
        }
    }
    session.end();
    ids.into_iter().for_each(|id| session.release(id));
    drop(session);
    assert_eq!(budget.left(), BUDGET, "held bytes were not given back");
});
