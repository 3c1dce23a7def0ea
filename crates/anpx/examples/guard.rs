//! Fixed amounts of work for `bench/guard`, which counts the instructions each of them takes.
//!
//! `guard SCENARIO` does the work of one and prints nothing; `guard` prints their names.

use std::{error::Error, io::Write, time::Instant};

use anpx::{
    Fields, RequestHead, ResponseHead,
    frame::Frame,
    session::{
        End, Read, Role, Session, StreamId, Transmit,
        config::{V1Config, V2Config},
        v1 as session_v1, v2 as session_v2,
    },
    v1::codec::{self, Decoded},
    v2::{self, encode},
};
use bytes::{Bytes, BytesMut};

type Outcome = Result<(), Box<dyn Error>>;
type Scenario = (&'static str, fn() -> Outcome);

const SCENARIOS: [Scenario; 6] = [
    ("v2-exchange", || exchanges(Pair::version_2()?, 5_000)),
    ("v2-stream", || stream(32 << 20)),
    ("v2-codec-small", || codec_small(20_000)),
    ("v2-codec-bulk", || codec_bulk(1_000)),
    ("v1-exchange", || exchanges(Pair::version_1(), 2_000)),
    ("v1-codec", || codec_version_1(20_000)),
];

fn main() -> Outcome {
    let Some(name) = std::env::args().nth(1) else {
        let mut out = std::io::stdout().lock();
        for (name, _) in SCENARIOS {
            writeln!(out, "{name}")?;
        }
        return Ok(());
    };
    let scenario = SCENARIOS.iter().find(|(known, _)| *known == name);
    let (_, work) = scenario.ok_or_else(|| format!("no scenario {name}"))?;
    work()
}

/// A gateway and a receiver joined in memory: frames are encoded and decoded, nothing is copied
/// otherwise.
struct Pair {
    gateway: Session,
    receiver: Session,
    now: Instant,
    out: BytesMut,
}

impl Pair {
    fn version_2() -> Result<Self, Box<dyn Error>> {
        let now = Instant::now();
        let session = |role| Session::V2(session_v2::Session::new(V2Config::new(role), now));
        let mut pair = Self::new(session(Role::Gateway), session(Role::Receiver), now);
        pair.carry_to_receiver()?;
        pair.carry_to_gateway()?;
        Ok(pair)
    }

    fn version_1() -> Self {
        let now = Instant::now();
        let session = |role| Session::V1(session_v1::Session::new(V1Config::new(role), now));
        Self::new(session(Role::Gateway), session(Role::Receiver), now)
    }

    fn new(gateway: Session, receiver: Session, now: Instant) -> Self {
        Self {
            gateway,
            receiver,
            now,
            out: BytesMut::with_capacity(256 << 10),
        }
    }

    fn carry_to_receiver(&mut self) -> Outcome {
        carry(
            &mut self.gateway,
            &mut self.receiver,
            self.now,
            &mut self.out,
        )
    }

    fn carry_to_gateway(&mut self) -> Outcome {
        carry(
            &mut self.receiver,
            &mut self.gateway,
            self.now,
            &mut self.out,
        )
    }
}

fn carry(from: &mut Session, to: &mut Session, now: Instant, out: &mut BytesMut) -> Outcome {
    while let Some(transmit) = from.poll_transmit(now, 0) {
        match transmit {
            Transmit::Frame(frame) => {
                frame.encode(out);
                to.handle_binary(now, out.split().freeze())?;
            }
            Transmit::Text(text) => to.handle_text(now, &text)?,
        }
    }
    while from.poll_event().is_some() {}
    while to.poll_event().is_some() {}
    Ok(())
}

fn request() -> Result<RequestHead, Box<dyn Error>> {
    Ok(RequestHead {
        method: "GET".into(),
        target: "/v1/models?limit=20".into(),
        scheme: "https".into(),
        authority: "app.example".into(),
        headers: Fields::from_pairs([
            ("accept", "application/json"),
            ("user-agent", "guard/1"),
            ("x-request-id", "0d9f1c5e-7a43-4b52-9c1e-3f6a2b8d4e01"),
        ])?,
        request_id: "0d9f1c5e-7a43-4b52-9c1e-3f6a2b8d4e01".into(),
        client_addr: Some("203.0.113.9:40122".into()),
        protocol: None,
    })
}

fn response() -> Result<ResponseHead, Box<dyn Error>> {
    Ok(ResponseHead {
        status: 200,
        headers: Fields::from_pairs([
            ("content-type", "application/json"),
            ("content-length", "100"),
        ])?,
    })
}

/// GET and a response of 100 bytes, one after the other.
fn exchanges(mut pair: Pair, count: u32) -> Outcome {
    let (head, answer) = (request()?, response()?);
    let body = Bytes::from(vec![b'x'; 100]);
    for i in 0..count {
        // Version 1 finds a message by its id, which is never used twice.
        let id = format!("0d9f1c5e-7a43-4b52-9c1e-{i:012x}");
        let head = RequestHead {
            request_id: id.into(),
            ..head.clone()
        };
        let id = pair
            .gateway
            .open(|| pair.now, &head, Bytes::new(), End::Yes)?;
        pair.carry_to_receiver()?;
        let (at_receiver, _) = pair.receiver.accept().ok_or("no request arrived")?;
        pair.receiver
            .respond(at_receiver, &answer, body.clone(), End::Yes)?;
        pair.receiver.release(at_receiver);
        pair.carry_to_gateway()?;
        let whole = read(&mut pair.gateway, pair.now, id)?;
        if whole != body.len() {
            return Err("the response is not whole".into());
        }
        pair.gateway.release(id);
    }
    Ok(())
}

/// Reads what there is; returns the bytes of body.
fn read(session: &mut Session, now: Instant, id: StreamId) -> Result<usize, Box<dyn Error>> {
    let mut len = 0;
    loop {
        match session.read(|| now, id)? {
            Read::Data(data, _) => len += data.len(),
            Read::Pending | Read::End => return Ok(len),
            _ => {}
        }
    }
}

/// One response body of `total` bytes in frames of 64 KiB.
fn stream(total: usize) -> Outcome {
    let mut pair = Pair::version_2()?;
    let id = pair
        .gateway
        .open(|| pair.now, &request()?, Bytes::new(), End::Yes)?;
    pair.carry_to_receiver()?;
    let (at_receiver, _) = pair.receiver.accept().ok_or("no request arrived")?;
    let answer = ResponseHead {
        status: 200,
        headers: Fields::default(),
    };
    pair.receiver
        .respond(at_receiver, &answer, Bytes::new(), End::No)?;
    let source = Bytes::from(vec![b'x'; 64 << 10]);
    let mut got = 0;
    while got < total {
        let room = pair.receiver.send_capacity(at_receiver)?;
        if room > 0 {
            let data = source.slice(..room.min(source.len()));
            pair.receiver.send_data(at_receiver, data, End::No)?;
        }
        pair.carry_to_gateway()?;
        got += read(&mut pair.gateway, pair.now, id)?;
        pair.carry_to_receiver()?;
    }
    Ok(())
}

fn decode(frame: &Frame, out: &mut BytesMut) -> Result<v2::Frame, v2::MalformedFrame> {
    frame.encode(out);
    v2::Frame::decode(&out.split().freeze())
}

fn codec_small(count: u32) -> Outcome {
    let (head, answer, body) = (request()?, response()?, Bytes::from_static(&[b'x'; 100]));
    let mut out = BytesMut::with_capacity(64 << 10);
    for id in 1..=count {
        decode(&encode::request(id, &head, Bytes::new(), true), &mut out)?;
        decode(&encode::response(id, &answer, body.clone(), true), &mut out)?;
    }
    Ok(())
}

fn codec_bulk(count: u32) -> Outcome {
    let body = Bytes::from(vec![b'x'; 64 << 10]);
    let mut out = BytesMut::with_capacity(256 << 10);
    for id in 1..=count {
        decode(&encode::data(id, body.clone(), false), &mut out)?;
    }
    Ok(())
}

fn codec_version_1(count: u32) -> Outcome {
    let id = b"0d9f1c5e-7a43-4b52-9c1e-3f6a2b8d4e01";
    let meta = br#"{"status":200,"headers":{"content-type":"application/json"}}"#;
    let body = Bytes::from_static(&[b'x'; 100]);
    let mut out = BytesMut::with_capacity(64 << 10);
    for _ in 0..count {
        let frame = codec::frame(codec::Kind::Response, id, Some(meta), None, body.clone());
        frame.encode(&mut out);
        Decoded::decode(out.split().freeze())?;
    }
    Ok(())
}
