//! Well-formed frames in any order at one version-2 session of either role.
#![no_main]

use std::time::Instant;

use anpx::{
    Fields, RequestHead, ResponseHead,
    frame::Frame,
    limits::Budget,
    session::{End, Role, Session, StreamId, config::V2Config},
    tlv,
};
use arbitrary::Arbitrary;
use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
struct Said {
    kind: u8,
    flags: u8,
    stream: u8,
    status: u16,
    credit: u32,
    headers: Vec<u8>,
    body: u16,
    /// Which tags are there.
    tags: u16,
}

#[derive(Arbitrary, Debug)]
enum Op {
    Said(Said),
    Open { body: bool },
    Answer(u8),
    Read(u8),
    Release(u8),
    Transmit(u8),
}

const GROWTH: u64 = 1 << 20;

fn message(said: &Said) -> Bytes {
    let values: [(u8, &[u8]); 16] = [
        (tlv::REQUEST_ID, b"r"),
        (tlv::METHOD, b"GET"),
        (tlv::TARGET, b"/"),
        (tlv::SCHEME, b"http"),
        (tlv::AUTHORITY, b"h"),
        (tlv::HEADERS, &said.headers),
        (tlv::STATUS, &said.status.to_be_bytes()),
        (tlv::CREDIT, &said.credit.to_be_bytes()),
        (tlv::CODE, &said.credit.to_be_bytes()),
        (tlv::LAST_STREAM, &said.credit.to_be_bytes()),
        (tlv::PROTOCOL, b"websocket"),
        (tlv::ACCEPTING, &[(said.credit % 3) as u8]),
        (tlv::MAX_STREAMS, &said.credit.to_be_bytes()),
        (tlv::INITIAL_WINDOW, &said.credit.to_be_bytes()),
        (tlv::CLIENT_ADDR, b"127.0.0.1:80"),
        (0x7f, b"skipped"),
    ];
    let mut tlvs = BytesMut::new();
    for (bit, (tag, value)) in values.iter().enumerate() {
        if said.tags & 1 << bit != 0 {
            tlv::put(&mut tlvs, *tag, value);
        }
    }
    let frame = Frame {
        version: 2,
        kind: said.kind % 10,
        flags: said.flags,
        stream: u32::from(said.stream % 16),
        tlvs: tlvs.freeze(),
        body: Bytes::from(vec![0; usize::from(said.body)]),
    };
    let mut out = BytesMut::new();
    frame.encode(&mut out);
    out.freeze()
}

fn call(session: &mut Session, now: Instant, op: Op) {
    let id = |at: u8| StreamId(u32::from(at % 16));
    match op {
        Op::Open { body } => {
            let head = RequestHead {
                method: "POST".into(),
                target: "/".into(),
                scheme: "http".into(),
                authority: "h".into(),
                headers: Fields::default(),
                request_id: "r".into(),
                client_addr: None,
                protocol: None,
            };
            let _ = session.open(|| now, &head, Bytes::new(), End::from(!body));
        }
        Op::Answer(at) => {
            let head = ResponseHead {
                status: 200,
                headers: Fields::default(),
            };
            let _ = session.respond(id(at), &head, Bytes::new(), End::No);
        }
        Op::Read(at) => _ = session.read(|| now, id(at)),
        Op::Release(at) => session.release(id(at)),
        Op::Transmit(frames) => {
            for _ in 0..frames {
                let _ = session.poll_transmit(now, 0);
                let _ = session.poll_event();
            }
        }
        Op::Said(_) => {}
    }
}

fuzz_target!(|input: (bool, Vec<Op>)| {
    let now = Instant::now();
    let role = if input.0 {
        Role::Gateway
    } else {
        Role::Receiver
    };
    let budget = Budget::new(GROWTH);
    let config = V2Config {
        process_growth: budget.clone(),
        ..V2Config::new(role)
    };
    let mut session = Session::V2(anpx::session::v2::Session::new(config, now));
    session.handle_round_trip(std::time::Duration::from_millis(10));
    for op in input.1 {
        match op {
            Op::Said(said) => {
                if session.handle_binary(now, message(&said)).is_err() {
                    break;
                }
            }
            op => call(&mut session, now, op),
        }
        while session.accept().is_some() {}
    }
    session.end();
    assert_eq!(session.poll_transmit(now, 0), None);
    for id in 0..=u32::from(u8::MAX) + 1 {
        session.release(StreamId(id));
    }
    assert_eq!(session.open_streams(), 0);
    assert_eq!(budget.left(), GROWTH);
});
