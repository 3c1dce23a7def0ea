//! A gateway's session sends requests, cancels them and counts their places.

use std::time::Duration;

use anpx::{
    OpenError, ResetCode, StreamError,
    session::{End, Event, Role},
    v1::codec::Kind,
};
use bytes::Bytes;

use crate::pair::{ID, OK, One, at, frame, request, reset, whole};

#[test]
fn a_request_whose_end_is_known_is_one_frame() {
    let mut one = One::gateway();
    assert_eq!(one.events(), [Event::Established]);
    let head = request("POST", ID);
    let body = Bytes::from_static(b"hello");
    let id = one.session.open(|| one.now, &head, body, End::Yes).unwrap();
    assert!(!one.session.is_committed(id));
    let sent = one.sent().unwrap();
    assert!(!sent.chunked && sent.chunk_idx.is_none() && !sent.final_chunk);
    assert_eq!(&sent.body[..], b"hello");
    assert_eq!(
        &sent.http_meta.unwrap()[..],
        br#"{"method":"POST","path":"/a","headers":{"host":"app.example","accept":"*/*","content-length":"5"},"query":{"b":"c"}}"#
    );
    assert!(one.session.is_committed(id));
    assert!(one.sent().is_none());
}

#[test]
fn an_end_learned_before_the_first_frame_is_taken_makes_one_frame() {
    let mut one = One::gateway();
    let head = request("POST", ID);
    let id = one
        .session
        .open(|| one.now, &head, Bytes::new(), End::No)
        .unwrap();
    assert!(one.sent().is_none());
    let s = &mut one.session;
    s.send_data(id, Bytes::from_static(b"ab"), End::No).unwrap();
    assert_eq!(s.send_capacity(id), Ok(0));
    s.send_data(id, Bytes::new(), End::Yes).unwrap();
    let sent = one.sent().unwrap();
    assert!(!sent.chunked);
    assert_eq!(&sent.body[..], b"ab");
}

#[test]
fn a_streamed_request_has_no_total_and_no_length() {
    let mut one = One::gateway();
    let head = request("POST", ID);
    let id = one
        .session
        .open(|| one.now, &head, Bytes::from_static(b"a"), End::No)
        .unwrap();
    let first = one.sent().unwrap();
    assert!(first.chunked && !first.final_chunk);
    assert_eq!((first.chunk_idx, first.chunk_tot), (Some(0), None));
    let meta = first.http_meta.unwrap();
    assert!(!meta.windows(14).any(|w| w == b"content-length"));
    assert_eq!(one.events(), [Event::Established, Event::Writable(id)]);

    one.session
        .send_data(id, Bytes::from_static(b"b"), End::No)
        .unwrap();
    let second = one.sent().unwrap();
    assert_eq!((second.chunk_idx, second.http_meta), (Some(1), None));
    one.session
        .send_trailers(id, anpx::Fields::default())
        .unwrap();
    let last = one.sent().unwrap();
    assert_eq!((last.chunk_idx, last.final_chunk), (Some(2), true));
    assert!(last.body.is_empty());
}

#[test]
fn a_known_body_beyond_the_chunk_size_is_split_with_a_total() {
    let mut one = One::gateway();
    let head = request("POST", ID);
    let body = Bytes::from(vec![7; one.session.first_capacity()]);
    one.session.open(|| one.now, &head, body, End::Yes).unwrap();
    let (a, b) = (one.sent().unwrap(), one.sent().unwrap());
    assert_eq!(
        (a.chunk_idx, a.chunk_tot, a.final_chunk),
        (Some(0), Some(2), false)
    );
    assert_eq!(
        (b.chunk_idx, b.chunk_tot, b.final_chunk),
        (Some(1), Some(2), true)
    );
    assert_eq!(a.body.len() + b.body.len(), 64 << 10);
    assert!(one.sent().is_none());
}

#[test]
fn a_request_used_before_gets_another_id() {
    let mut one = One::gateway();
    one.open("GET");
    let head = request("GET", ID);
    one.session
        .open(|| one.now, &head, Bytes::new(), End::Yes)
        .unwrap();
    let sent = one.sent().unwrap().request_id.unwrap();
    assert_ne!(sent, ID);
    assert_eq!(sent.len(), 36);
}

#[test]
fn a_withdrawn_request_writes_nothing() {
    let mut one = One::gateway();
    let head = request("GET", ID);
    let id = one
        .session
        .open(|| one.now, &head, Bytes::new(), End::Yes)
        .unwrap();
    one.session.reset(id, ResetCode::CANCELLED);
    assert!(one.sent().is_none());
    assert_eq!(one.session.open_streams(), 0);
    one.session.release(id);
    assert_eq!(one.read(id), Err(reset(ResetCode::CANCELLED)));
}

#[test]
fn cancelling_a_whole_request_keeps_its_place_until_the_answer() {
    let mut one = One::gateway();
    let id = one.open("GET");
    one.events();
    one.session.release(id);
    let sent = one.sent().unwrap();
    assert_eq!(
        (sent.kind, &sent.request_id.unwrap()[..]),
        (Kind::Error, ID.as_bytes())
    );
    assert!(one.sent().is_none());
    assert_eq!(
        (one.session.open_streams(), one.session.capacity()),
        (1, 99)
    );
    one.take(frame(
        Kind::Response,
        ID,
        Some(OK),
        at(0, None, false),
        b"ab",
    ));
    assert_eq!(one.session.open_streams(), 1);
    one.take(frame(Kind::Response, ID, None, at(1, None, true), b"ab"));
    assert_eq!(one.session.open_streams(), 0);
    assert_eq!(one.events(), [Event::Capacity]);
}

#[test]
fn cancelling_a_half_sent_request_cannot_run_it() {
    let mut one = One::gateway();
    let head = request("POST", ID);
    let id = one
        .session
        .open(|| one.now, &head, Bytes::from_static(b"a"), End::No)
        .unwrap();
    assert_eq!(one.sent().unwrap().chunk_idx, Some(0));
    one.session
        .send_data(id, Bytes::from_static(b"unsent"), End::No)
        .unwrap();
    one.session.release(id);
    let skip = one.sent().unwrap();
    assert_eq!(
        (skip.kind, skip.chunk_idx, skip.final_chunk),
        (Kind::Request, Some(2), true)
    );
    assert_eq!(one.sent().unwrap().kind, Kind::Error);
    assert!(one.sent().is_none());
    assert_eq!(one.session.open_streams(), 1);
    one.take(frame(Kind::Error, ID, None, None, b""));
    assert_eq!(one.session.open_streams(), 0);
}

#[test]
fn a_place_whose_answer_never_comes_is_free_after_ten_minutes() {
    let mut one = One::gateway();
    let id = one.open("GET");
    one.session.release(id);
    one.sent();
    one.pass(Duration::from_secs(599));
    assert_eq!(one.session.open_streams(), 1);
    one.pass(Duration::from_secs(1));
    assert_eq!(one.session.open_streams(), 0);
    assert!(one.sent().is_none());
}

#[test]
fn an_upgrade_needs_version_2() {
    let mut one = One::gateway();
    let mut head = request("GET", ID);
    head.protocol = Some(Bytes::from_static(b"websocket"));
    let opened = one.session.open(|| one.now, &head, Bytes::new(), End::No);
    assert_eq!(opened, Err(OpenError::Unsupported));
}

#[test]
fn places_are_counted_and_a_drain_opens_nothing_more() {
    let mut one = One::new(Role::Gateway, |c| c.max_streams = 1);
    let id = one.open("GET");
    let head = request("GET", "00000000-0000-4000-8000-000000000001");
    let open = |one: &mut One| one.session.open(|| one.now, &head, Bytes::new(), End::Yes);
    assert_eq!(open(&mut one), Err(OpenError::Unavailable));
    one.session.drain();
    assert!(!one.session.is_drained());
    one.take(frame(Kind::Response, ID, Some(OK), None, b"late"));
    assert!(one.session.is_drained());
    assert_eq!(open(&mut one), Err(OpenError::Unavailable));
    assert_eq!(whole(&mut one, id).2, b"late");
}

#[test]
fn the_end_of_the_session_breaks_what_is_not_whole() {
    let mut one = One::gateway();
    let done = one.open("GET");
    one.take(frame(Kind::Response, ID, Some(OK), None, b"whole"));
    let half = one.open("GET");
    let head = request("GET", "00000000-0000-4000-8000-000000000001");
    let unsent = one
        .session
        .open(|| one.now, &head, Bytes::new(), End::Yes)
        .unwrap();
    one.session.end();
    assert_eq!(whole(&mut one, done).2, b"whole");
    assert_eq!(
        one.read(half),
        Err(StreamError::SessionEnded { written: true })
    );
    assert_eq!(
        one.read(unsent),
        Err(StreamError::SessionEnded { written: false })
    );
    assert_eq!((one.session.capacity(), one.session.open_streams()), (0, 0));
    assert!(one.sent().is_none());
}

#[test]
fn frames_take_turns_and_control_goes_first() {
    let mut one = One::gateway();
    let ids = [
        "00000000-0000-4000-8000-000000000001",
        "00000000-0000-4000-8000-000000000002",
    ];
    for id in ids {
        let body = Bytes::from(vec![0; 64 << 10]);
        one.session
            .open(|| one.now, &request("POST", id), body, End::Yes)
            .unwrap();
    }
    one.session
        .handle_text(one.now, r#"{"type":"ping","timestamp":1.50}"#)
        .unwrap();
    let full = one.session.poll_transmit(one.now, 128 << 10);
    let pong = anpx::session::Transmit::Text(r#"{"type":"pong","timestamp":1.50}"#.into());
    assert_eq!(full, Some(pong));
    assert_eq!(one.session.poll_transmit(one.now, 128 << 10), None);
    let order: Vec<_> = std::iter::from_fn(|| one.sent())
        .map(|f| f.request_id.unwrap())
        .collect();
    assert_eq!(order, [ids[0], ids[1], ids[0], ids[1]]);
}

#[test]
fn a_flood_of_texts_ends_the_session() {
    let mut one = One::gateway();
    for _ in 0..1000 {
        one.session.handle_text(one.now, "{}").unwrap();
    }
    let error = one.session.handle_text(one.now, "{}").unwrap_err();
    assert_eq!(error.code.0, 4008);
}
