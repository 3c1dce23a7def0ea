//! A gateway's session reads answers of every kind of receiver.

use std::time::Duration;

use anpx::{
    ResetCode,
    session::{End, Event, Read, Role},
    v1::codec::Kind,
};
use bytes::Bytes;

use crate::pair::{ID, OK, One, at, frame, request, reset, whole};

#[test]
fn resp_meta_may_be_in_the_first_chunk_the_last_or_every_one() {
    for (first, last) in [(true, false), (false, true), (true, true)] {
        let mut one = One::gateway();
        let id = one.open("GET");
        one.take(frame(
            Kind::Response,
            ID,
            first.then_some(OK),
            at(0, None, false),
            b"ab",
        ));
        one.take(frame(
            Kind::Response,
            ID,
            last.then_some(OK),
            at(1, None, true),
            b"cd",
        ));
        let (status, length, body) = whole(&mut one, id);
        assert_eq!((status, &body[..]), (200, &b"abcd"[..]));
        // The length is known where the head comes with the end.
        let expected = (!first).then(|| b"4".to_vec());
        assert_eq!(length, expected);
    }
}

#[test]
fn a_body_streams_once_the_head_is_known() {
    let mut one = One::gateway();
    let id = one.open("GET");
    one.events();
    one.take(frame(Kind::Response, ID, None, at(0, None, false), b"ab"));
    assert_eq!(one.events(), []);
    assert_eq!(one.read(id), Ok(Read::Pending));
    one.take(frame(
        Kind::Response,
        ID,
        Some(OK),
        at(1, None, false),
        b"cd",
    ));
    one.take(frame(Kind::Response, ID, None, at(2, None, false), b"ef"));
    assert_eq!(one.events(), [Event::Readable(id)]);
    assert!(matches!(one.read(id), Ok(Read::Head(_, End::No))));
    assert_eq!(
        one.read(id),
        Ok(Read::Data(Bytes::from_static(b"abcdef"), End::No))
    );
    assert_eq!(one.read(id), Ok(Read::Pending));
    one.take(frame(Kind::Response, ID, None, at(3, None, true), b""));
    assert_eq!(one.events(), [Event::Readable(id), Event::Capacity]);
    assert_eq!(one.read(id), Ok(Read::End));
}

#[test]
fn one_frame_may_hold_a_body_far_beyond_the_chunk_size() {
    let mut one = One::gateway();
    let id = one.open("GET");
    one.take(frame(Kind::Response, ID, Some(OK), None, &vec![1; 5 << 20]));
    let (_, length, body) = whole(&mut one, id);
    assert_eq!(length, Some(b"5242880".to_vec()));
    assert_eq!(body.len(), 5 << 20);
}

#[test]
fn answers_to_head_and_304_keep_their_length_and_lose_their_body() {
    let meta = |status| format!(r#"{{"status":{status},"headers":{{"Content-Length":"10"}}}}"#);
    for (method, status) in [("HEAD", 200), ("GET", 304)] {
        let mut one = One::gateway();
        let id = one.open(method);
        one.take(frame(Kind::Response, ID, Some(&meta(status)), None, b"x"));
        assert_eq!(whole(&mut one, id), (status, Some(b"10".to_vec()), vec![]));
    }
    let mut one = One::gateway();
    let id = one.open("GET");
    one.take(frame(Kind::Response, ID, Some(&meta(204)), None, b"x"));
    assert_eq!(whole(&mut one, id), (204, None, vec![]));
}

#[test]
fn broken_chunks_break_the_response_and_leave_nothing_pending() {
    let cases: [&[Option<anpx::v1::codec::Position>]; 10] = [
        &[at(0, None, false), at(0, None, true)],
        &[at(0, None, false), at(2, None, true)],
        &[at(1, None, false)],
        &[at(0, None, false), at(1, None, false), at(0, None, true)],
        &[at(0, None, false), at(u32::MAX, None, true)],
        &[at(0, Some(1 << 31), false), at(u32::MAX, None, true)],
        &[at(0, Some(0), false)],
        &[at(0, Some(3), true)],
        &[at(0, Some(3), false), at(1, Some(2), true)],
        &[at(0, None, false), None],
    ];
    for case in cases {
        let mut one = One::gateway();
        let id = one.open("GET");
        for position in case {
            one.take(frame(Kind::Response, ID, Some(OK), *position, b"ab"));
        }
        assert_eq!(one.read(id), Err(reset(ResetCode::PROTOCOL)), "{case:?}");
        assert_eq!(one.session.open_streams(), 0);
        // The receiver is told to stop; what it still sends is dropped.
        assert_eq!(one.sent().unwrap().kind, Kind::Error);
        one.take(frame(
            Kind::Response,
            ID,
            Some(OK),
            at(7, None, true),
            b"ab",
        ));
        one.session.release(id);
        assert!(one.session.poll_timeout().is_none_or(|at| at > one.now));
    }
}

#[test]
fn a_missing_last_chunk_breaks_the_response_after_60_seconds() {
    let mut one = One::gateway();
    let id = one.open("GET");
    one.take(frame(
        Kind::Response,
        ID,
        Some(OK),
        at(0, None, false),
        b"ab",
    ));
    one.pass(Duration::from_secs(59));
    one.take(frame(Kind::Response, ID, None, at(1, None, false), b"cd"));
    one.pass(Duration::from_secs(59));
    assert!(matches!(one.read(id), Ok(Read::Head(..))));
    one.pass(Duration::from_secs(1));
    assert_eq!(one.read(id), Err(reset(ResetCode::TIMEOUT)));
    assert_eq!(one.session.open_streams(), 0);
    assert_eq!(one.session.poll_timeout(), None);
}

#[test]
fn a_final_chunk_of_four_bytes_and_unknown_tags_are_read() {
    let mut one = One::gateway();
    let id = one.open("GET");
    let mut tlvs = Vec::new();
    anpx::tlv::put(&mut tlvs, 0xF3, b"user's own");
    anpx::tlv::put(&mut tlvs, anpx::tlv::REQUEST_ID, ID.as_bytes());
    anpx::tlv::put(&mut tlvs, anpx::tlv::RESP_META, OK.as_bytes());
    anpx::tlv::put(&mut tlvs, anpx::tlv::CHUNK_IDX, &[0; 4]);
    anpx::tlv::put(&mut tlvs, anpx::tlv::FINAL_CHUNK, &[0, 0, 0, 1]);
    let message = anpx::frame::Frame {
        version: 1,
        kind: 2,
        flags: 1,
        stream: 0,
        tlvs: Bytes::from(tlvs),
        body: Bytes::from_static(b"ab"),
    };
    one.take(crate::pair::encoded(&message));
    assert_eq!(whole(&mut one, id).2, b"ab");
}

#[test]
fn an_error_frame_is_a_failure_of_the_upstream() {
    let mut one = One::gateway();
    let id = one.open("GET");
    one.events();
    one.take(frame(Kind::Error, ID, None, None, b"no such thing"));
    assert_eq!(
        one.events(),
        [Event::Readable(id), Event::Writable(id), Event::Capacity]
    );
    assert_eq!(one.read(id), Err(reset(ResetCode::UPSTREAM_FAILED)));
    assert_eq!(
        one.session.stream_error(id),
        Some(reset(ResetCode::UPSTREAM_FAILED))
    );
    // No error frame is answered with another, and one without an id is nobody's.
    assert!(one.sent().is_none());
    one.take(frame(Kind::Error, "", None, None, b"hm"));
}

#[test]
fn ids_never_issued_end_the_session_and_ended_ones_are_dropped() {
    let mut one = One::gateway();
    let id = one.open("GET");
    one.take(frame(Kind::Response, ID, Some(OK), None, b""));
    one.take(frame(Kind::Response, ID, Some(OK), None, b"again"));
    assert_eq!(whole(&mut one, id).2, b"");
    let other = "6f1b0a52-7e57-4d5a-9d0b-000000000000";
    for kind in [Kind::Response, Kind::Error] {
        let message = frame(kind, other, Some(OK), None, b"");
        let error = one.session.handle_binary(one.now, message).unwrap_err();
        assert_eq!(error.code.0, 4000);
    }
}

#[test]
fn a_message_beyond_its_limit_is_broken_and_the_session_reads_on() {
    let mut one = One::new(Role::Gateway, |c| {
        c.max_message = 1000;
        c.max_session = 1500;
    });
    let big = one.open("GET");
    one.take(frame(
        Kind::Response,
        ID,
        Some(OK),
        at(0, None, false),
        &[1; 600],
    ));
    let other = "00000000-0000-4000-8000-000000000001";
    let head = request("GET", other);
    let small = one
        .session
        .open(|| one.now, &head, Bytes::new(), End::Yes)
        .unwrap();
    one.sent();
    one.take(frame(Kind::Response, other, Some(OK), None, &[2; 500]));
    one.take(frame(
        Kind::Response,
        ID,
        None,
        at(1, None, false),
        &[1; 600],
    ));
    assert_eq!(one.read(big), Err(reset(ResetCode::TOO_LARGE)));
    assert_eq!(whole(&mut one, small).2, [2; 500]);
}

#[test]
fn what_a_slow_reader_leaves_counts_and_what_is_read_does_not() {
    let mut one = One::new(Role::Gateway, |c| c.max_message = 1000);
    let budget = {
        let config = anpx::session::config::V1Config::new(Role::Gateway);
        config.process_held
    };
    let mut fresh = One::new(Role::Gateway, |c| c.process_held = budget.clone());
    let id = one.open("GET");
    one.take(frame(Kind::Response, ID, Some(OK), at(0, None, false), b""));
    assert!(matches!(one.read(id), Ok(Read::Head(..))));
    for index in 1..50 {
        one.take(frame(
            Kind::Response,
            ID,
            None,
            at(index, None, false),
            &[1; 900],
        ));
        assert!(matches!(one.read(id), Ok(Read::Data(..))));
    }
    one.take(frame(
        Kind::Response,
        ID,
        None,
        at(50, None, false),
        &[1; 900],
    ));
    one.take(frame(
        Kind::Response,
        ID,
        None,
        at(51, None, false),
        &[1; 900],
    ));
    assert_eq!(one.read(id), Err(reset(ResetCode::TOO_LARGE)));

    let id = fresh.open("GET");
    let left = budget.left();
    fresh.take(frame(Kind::Response, ID, Some(OK), None, &[1; 900]));
    assert_eq!(budget.left(), left - 900 - OK.len() as u64);
    assert!(matches!(fresh.read(id), Ok(Read::Head(..))));
    assert_eq!(budget.left(), left - 900);
    drop(fresh);
    assert_eq!(budget.left(), left);
}

#[test]
fn a_bad_meta_breaks_the_response_only() {
    for meta in [
        "{",
        "[]",
        r#"{"status":99}"#,
        r#"{"status":101}"#,
        r#"{"status":-1}"#,
        "{}",
    ] {
        let mut one = One::gateway();
        let id = one.open("GET");
        one.take(frame(Kind::Response, ID, Some(meta), None, b"x"));
        assert_eq!(one.read(id), Err(reset(ResetCode::PROTOCOL)), "{meta}");
    }
    let mut one = One::gateway();
    let id = one.open("GET");
    one.take(frame(Kind::Response, ID, None, None, b"x"));
    assert_eq!(one.read(id), Err(reset(ResetCode::PROTOCOL)));
}
