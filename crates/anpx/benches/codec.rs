//! What encoding and decoding one frame costs: `cargo bench -p anpx --bench codec`.
//!
//! The fixtures are in `examples/guard.rs` in other words; this measures time, that counts
//! instructions.

use std::{error::Error, hint::black_box};

use anpx::{
    Fields, RequestHead, ResponseHead,
    frame::Frame,
    v1::codec::{self, Decoded},
    v2::{self, encode},
};
use bytes::{Bytes, BytesMut};
use criterion::{Criterion, Throughput};

fn main() -> Result<(), Box<dyn Error>> {
    let mut criterion = Criterion::default().configure_from_args();
    let request = request()?;
    let response = response()?;
    let small = Bytes::from_static(&[b'x'; 100]);
    let bulk = Bytes::from(vec![b'x'; 64 << 10]);
    version_2(&mut criterion, "request", || {
        encode::request(1, black_box(&request), Bytes::new(), true)
    });
    version_2(&mut criterion, "response", || {
        encode::response(1, black_box(&response), small.clone(), true)
    });
    version_2(&mut criterion, "data-64k", || {
        encode::data(1, black_box(&bulk).clone(), false)
    });
    let id = b"0d9f1c5e-7a43-4b52-9c1e-3f6a2b8d4e01";
    let get = br#"{"method":"GET","path":"/v1/models","headers":{"accept":"*/*"},"query":{}}"#;
    let ok = br#"{"status":200,"headers":{"content-type":"application/json"}}"#;
    version_1(&mut criterion, "request", || {
        codec::frame(
            codec::Kind::Request,
            id,
            Some(black_box(get)),
            None,
            Bytes::new(),
        )
    });
    version_1(&mut criterion, "response", || {
        codec::frame(
            codec::Kind::Response,
            id,
            Some(black_box(ok)),
            None,
            small.clone(),
        )
    });
    version_1(&mut criterion, "chunk-64k", || {
        let position = codec::Position {
            index: 7,
            total: None,
            last: false,
        };
        let body = black_box(&bulk).clone();
        codec::frame(codec::Kind::Response, id, None, Some(position), body)
    });
    criterion.final_summary();
    Ok(())
}

fn version_2(criterion: &mut Criterion, name: &str, make: impl Fn() -> Frame) {
    frame(criterion, &format!("v2/{name}"), make, |message| {
        v2::Frame::decode(message).is_ok()
    });
}

fn version_1(criterion: &mut Criterion, name: &str, make: impl Fn() -> Frame) {
    frame(criterion, &format!("v1/{name}"), make, |message| {
        Decoded::decode(message.clone()).is_ok()
    });
}

fn frame(
    criterion: &mut Criterion,
    name: &str,
    make: impl Fn() -> Frame,
    decode: impl Fn(&Bytes) -> bool,
) {
    let mut group = criterion.benchmark_group(name);
    let mut out = BytesMut::with_capacity(1 << 20);
    make().encode(&mut out);
    let message = out.split().freeze();
    group.throughput(Throughput::Bytes(message.len() as u64));
    group.bench_function("encode", |bencher| {
        bencher.iter(|| {
            out.clear();
            make().encode(&mut out);
        });
    });
    group.bench_function("decode", |bencher| {
        bencher.iter(|| decode(black_box(&message)))
    });
    group.finish();
}

fn request() -> Result<RequestHead, Box<dyn Error>> {
    Ok(RequestHead {
        method: "GET".into(),
        target: "/v1/models?limit=20".into(),
        scheme: "https".into(),
        authority: "app.example".into(),
        headers: Fields::from_pairs([
            ("accept", "application/json"),
            ("user-agent", "bench/1"),
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
