//! A receiver's session against gateways of every kind.

use std::time::Duration;

use anpx::{
    Fields, ResetCode, StreamError,
    session::{End, Event, Read, Role, StreamId, Transmit},
    v1::codec::{Decoded, Kind, Position},
};
use bytes::Bytes;

use crate::pair::{ID, One, at, frame, response};

const GET: &str = r#"{"method":"GET","path":"/a","headers":{"Host":"h"},"query":{}}"#;
const POST: &str = r#"{"method":"POST","path":"/","headers":{"host":"h"}}"#;

fn reset(code: ResetCode) -> StreamError {
    StreamError::Reset(code)
}

fn take(one: &mut One, meta: &str, chunk: Option<Position>, body: &[u8]) {
    one.take(frame(Kind::Request, ID, Some(meta), chunk, body));
}

fn cancel(one: &mut One) {
    one.take(frame(Kind::Error, ID, None, None, b"cancelled"));
}

/// A GET that the application has accepted.
fn accepted() -> (One, StreamId) {
    let mut one = One::receiver();
    take(&mut one, GET, None, b"");
    let (id, _) = one.session.accept().unwrap();
    one.events();
    (one, id)
}

fn status(frame: &Decoded) -> u64 {
    let meta: serde_json::Value =
        serde_json::from_slice(frame.resp_meta.as_ref().unwrap()).unwrap();
    meta["status"].as_u64().unwrap()
}

/// The only frame there is: a plain response with this status.
fn answered(one: &mut One, expected: u64) {
    let frame = one.sent().expect("an answer");
    assert_eq!((frame.kind, frame.chunked), (Kind::Response, false));
    assert_eq!(&frame.request_id.clone().unwrap()[..], ID.as_bytes());
    assert_eq!(status(&frame), expected);
    assert!(one.sent().is_none());
    assert_eq!(one.session.open_streams(), 0);
}

#[test]
fn a_ping_goes_at_once_and_every_ten_seconds() {
    let mut one = One::new(Role::Receiver, |_| {});
    let text = |t: &str| Some(Transmit::Text(t.to_owned()));
    let ping = one.session.poll_transmit(one.now, 0);
    assert_eq!(ping, text(r#"{"type":"ping","timestamp":0}"#));
    assert_eq!(one.events(), []);
    let pong = r#"{"type":"pong","timestamp":0}"#;
    one.session.handle_text(one.now, pong).unwrap();
    one.session.handle_text(one.now, pong).unwrap();
    assert_eq!(one.events(), [Event::Established]);
    assert_eq!(
        one.session.poll_timeout(),
        Some(one.now + Duration::from_secs(10))
    );
    one.pass(Duration::from_secs(10));
    let ping = one.session.poll_transmit(one.now, 1 << 20);
    assert_eq!(ping, text(r#"{"type":"ping","timestamp":10000}"#));
    assert_eq!(
        one.session.poll_timeout(),
        Some(one.now + Duration::from_secs(10))
    );
}

#[test]
fn texts_that_mean_nothing_are_ignored() {
    let mut one = One::receiver();
    for text in [
        "",
        "{",
        "[]",
        r#"{"type":7}"#,
        r#"{"type":"connection_ready"}"#,
        r#"{"a":1}"#,
    ] {
        one.session.handle_text(one.now, text).unwrap();
    }
    assert!(one.events().is_empty() && one.sent().is_none());
}

#[test]
fn a_request_is_delivered_only_when_whole() {
    let mut one = One::receiver();
    take(&mut one, POST, at(0, None, false), b"ab");
    assert_eq!(one.events(), [Event::Established]);
    assert!(one.session.accept().is_none());
    one.take(frame(Kind::Request, ID, None, at(1, None, true), b"cd"));
    assert_eq!(one.events(), [Event::Incoming]);
    let (id, head) = one.session.accept().unwrap();
    assert_eq!(
        (&head.method[..], &head.target[..]),
        (&b"POST"[..], &b"/"[..])
    );
    assert_eq!(
        (&head.authority[..], &head.request_id[..]),
        (&b"h"[..], ID.as_bytes())
    );
    assert_eq!(head.headers.get("content-length"), Some(&b"4"[..]));
    assert_eq!(
        one.read(id),
        Ok(Read::Data(Bytes::from_static(b"abcd"), End::Yes))
    );
    assert_eq!(one.read(id), Ok(Read::Pending));
    assert!(one.session.accept().is_none());
}

#[test]
fn a_request_is_whole_at_its_total_without_a_final_chunk() {
    let mut one = One::receiver();
    take(&mut one, POST, at(0, Some(2), false), b"ab");
    take(&mut one, POST, at(1, Some(2), false), b"cd");
    assert!(one.session.accept().is_some());
}

#[test]
fn a_request_without_body_reads_its_end_once() {
    let (mut one, id) = accepted();
    assert_eq!(one.read(id), Ok(Read::End));
    assert_eq!(one.read(id), Ok(Read::Pending));
}

#[test]
fn a_response_that_fits_is_one_frame_however_it_was_handed_over() {
    let (mut one, id) = accepted();
    let data = Bytes::from_static(b"hi");
    one.session
        .respond(id, &response(200), data.clone(), End::Yes)
        .unwrap();
    let sent = one.sent().unwrap();
    let meta = br#"{"status":200,"headers":{"x-app":"yes","content-length":"2"}}"#;
    assert_eq!(&sent.resp_meta.as_ref().unwrap()[..], meta);
    assert_eq!((sent.chunked, &sent.body[..]), (false, &b"hi"[..]));
    assert_eq!(one.session.open_streams(), 0);

    let (mut one, id) = accepted();
    one.session
        .respond(id, &response(200), Bytes::new(), End::No)
        .unwrap();
    one.session.send_data(id, data, End::No).unwrap();
    one.session.send_trailers(id, Fields::default()).unwrap();
    assert_eq!(one.sent().unwrap(), sent);
}

#[test]
fn a_streamed_response_has_its_meta_in_the_last_chunk() {
    let (mut one, id) = accepted();
    one.session
        .respond(id, &response(200), Bytes::from_static(b"a"), End::No)
        .unwrap();
    let first = one.sent().unwrap();
    assert_eq!(
        (first.chunk_idx, first.resp_meta, first.final_chunk),
        (Some(0), None, false)
    );
    assert_eq!(one.events(), [Event::Writable(id)]);
    assert!(one.session.send_capacity(id).unwrap() > 65_000);
    one.session
        .send_data(id, Bytes::from_static(b"bc"), End::Yes)
        .unwrap();
    let last = one.sent().unwrap();
    assert_eq!(
        (last.chunk_idx, last.final_chunk, &last.body[..]),
        (Some(1), true, &b"bc"[..])
    );
    assert!(
        last.resp_meta
            .unwrap()
            .ends_with(br#""content-length":"3"}}"#)
    );
    assert_eq!(one.session.open_streams(), 0);
    assert!(one.sent().is_none());
}

#[test]
fn an_answer_to_head_has_no_body() {
    let mut one = One::receiver();
    take(&mut one, &GET.replace("GET", "HEAD"), None, b"");
    let (id, _) = one.session.accept().unwrap();
    let mut head = response(200);
    head.headers = Fields::from_pairs([("content-length", "9")]).unwrap();
    one.session
        .respond(id, &head, Bytes::from_static(b"no"), End::Yes)
        .unwrap();
    let sent = one.sent().unwrap();
    assert!(sent.body.is_empty());
    assert_eq!(
        &sent.resp_meta.unwrap()[..],
        br#"{"status":200,"headers":{"content-length":"9"}}"#
    );
}

#[test]
fn a_reset_before_any_chunk_is_answered_with_a_status() {
    for (code, expected) in [
        (ResetCode::UPSTREAM_UNREACHABLE, 502),
        (ResetCode::TIMEOUT, 504),
        (ResetCode::TOO_LARGE, 413),
        (ResetCode::REFUSED, 503),
    ] {
        let (mut one, id) = accepted();
        // Handed over, but not yet taken.
        one.session
            .respond(id, &response(200), Bytes::from_static(b"a"), End::No)
            .unwrap();
        one.session.reset(id, code);
        one.session.release(id);
        answered(&mut one, expected);
        assert_eq!(one.read(id), Err(reset(ResetCode::CANCELLED)));
    }
}

#[test]
fn a_reset_after_a_chunk_is_an_error_frame() {
    let (mut one, id) = accepted();
    one.session
        .respond(id, &response(200), Bytes::from_static(b"a"), End::No)
        .unwrap();
    one.sent().unwrap();
    one.session
        .send_data(id, Bytes::from_static(b"b"), End::No)
        .unwrap();
    one.session.reset(id, ResetCode::TIMEOUT);
    let error = one.sent().unwrap();
    assert_eq!(error.kind, Kind::Error);
    assert_eq!(&error.body[..], b"the response broke off");
    assert!(one.sent().is_none());
    assert_eq!(one.session.open_streams(), 0);
}

#[test]
fn an_application_that_leaves_without_an_answer_is_a_502() {
    let (mut one, id) = accepted();
    one.session.release(id);
    answered(&mut one, 502);
}

#[test]
fn a_finished_response_outlives_its_application() {
    let (mut one, id) = accepted();
    one.session
        .respond(id, &response(204), Bytes::new(), End::Yes)
        .unwrap();
    one.session.reset(id, ResetCode::NO_ERROR);
    one.session.release(id);
    cancel(&mut one);
    answered(&mut one, 204);
}

#[test]
fn a_cancelled_request_is_still_answered_exactly_once() {
    // While it waits for the application.
    let mut one = One::receiver();
    take(&mut one, GET, None, b"");
    cancel(&mut one);
    cancel(&mut one);
    assert!(one.session.accept().is_none());
    answered(&mut one, 502);

    // While the application works.
    let (mut one, id) = accepted();
    cancel(&mut one);
    assert_eq!(one.events(), [Event::Readable(id), Event::Writable(id)]);
    assert_eq!(one.read(id), Err(reset(ResetCode::CANCELLED)));
    assert_eq!(
        one.session.send_capacity(id),
        Err(reset(ResetCode::CANCELLED))
    );
    assert_eq!(
        one.session.stream_error(id),
        Some(reset(ResetCode::CANCELLED))
    );
    assert!(one.sent().is_none());
    one.session.release(id);
    answered(&mut one, 502);

    // Half-sent: the chunk that skips an index ends it, and never runs it.
    let mut one = One::receiver();
    take(&mut one, POST, at(0, None, false), b"ab");
    one.take(frame(Kind::Request, ID, None, at(2, None, true), b""));
    cancel(&mut one);
    assert!(one.session.accept().is_none());
    answered(&mut one, 502);

    // Half-sent, and nothing more was said.
    let mut one = One::receiver();
    take(&mut one, POST, at(0, None, false), b"ab");
    cancel(&mut one);
    answered(&mut one, 502);
}

#[test]
fn a_broken_request_is_answered_when_its_sender_is_done_with_it() {
    let mut one = One::receiver();
    take(&mut one, POST, at(0, None, false), b"ab");
    take(&mut one, POST, at(0, None, false), b"ab");
    take(&mut one, POST, at(1, None, false), b"ab");
    assert!(one.sent().is_none());
    take(&mut one, POST, at(2, None, true), b"ab");
    answered(&mut one, 502);
    take(&mut one, POST, at(3, None, true), b"ab");
    assert!(one.sent().is_none() && one.session.accept().is_none());
}

#[test]
fn broken_chunks_never_reach_the_application() {
    let cases: [&[Option<Position>]; 7] = [
        &[at(1, None, true)],
        &[at(0, None, false), at(u32::MAX, None, true)],
        &[at(0, Some(2), false), at(2, Some(2), true)],
        &[at(0, Some(0), true)],
        &[at(0, Some(3), true)],
        &[at(0, Some(3), false), at(1, Some(2), true)],
        &[at(0, None, false), None],
    ];
    for case in cases {
        let mut one = One::receiver();
        for position in case {
            take(&mut one, POST, *position, b"ab");
        }
        assert!(one.session.accept().is_none(), "{case:?}");
        answered(&mut one, 502);
    }
}

#[test]
fn a_request_without_a_chunk_for_60_seconds_is_answered_504() {
    let mut one = One::receiver();
    take(&mut one, POST, at(0, None, false), b"ab");
    one.pass(Duration::from_secs(60));
    assert!(matches!(
        one.session.poll_transmit(one.now, 0),
        Some(Transmit::Text(_))
    ));
    answered(&mut one, 504);
}

#[test]
fn a_request_beyond_a_limit_is_answered_413_and_the_session_reads_on() {
    let mut one = One::new(Role::Receiver, |c| c.max_message = 1000);
    one.session.poll_transmit(one.now, 0);
    take(&mut one, POST, at(0, None, false), &[1; 600]);
    take(&mut one, POST, at(1, None, false), &[1; 600]);
    take(&mut one, POST, at(2, None, false), &[1; 600]);
    assert!(one.sent().is_none());
    take(&mut one, POST, at(3, None, true), &[1; 600]);
    answered(&mut one, 413);
}

#[test]
fn a_bad_meta_is_answered_400() {
    for meta in [
        "",
        "{}",
        r#"{"method":"A B","path":"/"}"#,
        r#"{"method":"GET","path":7}"#,
    ] {
        let mut one = One::receiver();
        take(&mut one, meta, None, b"");
        answered(&mut one, 400);
    }
    let mut one = One::receiver();
    let fields: Vec<String> = (0..300).map(|n| format!(r#""x-{n}":"v""#)).collect();
    let meta = format!(
        r#"{{"method":"GET","path":"/","headers":{{{}}}}}"#,
        fields.join(",")
    );
    take(&mut one, &meta, None, b"");
    answered(&mut one, 431);
}

#[test]
fn held_bytes_are_returned_when_they_are_read_or_dropped() {
    let mut budget = None;
    let mut one = One::new(Role::Receiver, |c| budget = Some(c.process_held.clone()));
    let budget = budget.unwrap();
    one.session.poll_transmit(one.now, 0);
    let all = budget.left();
    take(&mut one, POST, None, &[1; 5000]);
    assert_eq!(budget.left(), all - 5000 - POST.len() as u64);
    let (id, _) = one.session.accept().unwrap();
    assert_eq!(budget.left(), all - 5000);
    one.session.release(id);
    assert_eq!(budget.left(), all);
}

#[test]
fn a_stopping_receiver_refuses_new_requests_and_finishes_old_ones() {
    let (mut one, id) = accepted();
    one.session.drain();
    assert!(!one.session.is_drained());
    let other = "00000000-0000-4000-8000-000000000001";
    one.take(frame(
        Kind::Request,
        other,
        Some(POST),
        at(0, None, false),
        b"ab",
    ));
    assert!(one.sent().is_none());
    one.take(frame(Kind::Request, other, None, at(1, None, true), b"ab"));
    assert!(one.session.accept().is_none());
    assert_eq!(status(&one.sent().unwrap()), 503);
    one.session
        .respond(id, &response(200), Bytes::new(), End::Yes)
        .unwrap();
    assert!(!one.session.is_drained());
    assert_eq!(status(&one.sent().unwrap()), 200);
    assert!(one.session.is_drained());
}

#[test]
fn an_informational_head_is_dropped_and_an_upgrade_cannot_be_answered() {
    let (mut one, id) = accepted();
    one.session.inform(id, &response(103)).unwrap();
    assert!(one.sent().is_none());
    let taken = one
        .session
        .respond(id, &response(101), Bytes::new(), End::No);
    assert_eq!(taken, Err(reset(ResetCode::PROTOCOL)));
    answered(&mut one, 502);
}

#[test]
fn too_many_requests_are_refused_and_far_too_many_end_the_session() {
    let mut one = One::new(Role::Receiver, |c| c.max_open_messages = 2);
    one.session.poll_transmit(one.now, 0);
    let id = |n: u32| format!("00000000-0000-4000-8000-{n:012}");
    for n in 0..4 {
        let chunk = at(0, None, n >= 2);
        one.take(frame(Kind::Request, &id(n), Some(POST), chunk, b"a"));
    }
    assert!(one.session.accept().is_none());
    let fifth = frame(Kind::Request, &id(4), Some(POST), None, b"a");
    let error = one.session.handle_binary(one.now, fifth).unwrap_err();
    assert_eq!(error.code.0, 4008);
    assert_eq!(status(&one.sent().unwrap()), 503);
    assert_eq!(status(&one.sent().unwrap()), 503);
    assert!(one.sent().is_none());
}

#[test]
fn the_end_of_the_session_ends_every_stream() {
    let (mut one, id) = accepted();
    one.session.end();
    assert_eq!(one.events(), [Event::Readable(id), Event::Writable(id)]);
    let ended = StreamError::SessionEnded { written: true };
    assert_eq!(
        one.session.send_data(id, Bytes::new(), End::Yes),
        Err(ended)
    );
    one.session.release(id);
    assert!(one.sent().is_none() && one.session.poll_timeout().is_none());
}

#[test]
fn frames_from_the_wrong_side_and_malformed_ones_end_the_session() {
    let mut one = One::receiver();
    for message in [
        frame(Kind::Response, ID, Some("{}"), None, b""),
        frame(Kind::Request, "", Some(GET), None, b""),
        Bytes::from_static(b"ANPX"),
    ] {
        let error = one.session.handle_binary(one.now, message).unwrap_err();
        assert_eq!(error.code.0, 4000);
        assert!(error.reason.len() <= 123);
    }
}
