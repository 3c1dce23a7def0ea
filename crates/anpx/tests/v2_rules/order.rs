//! Who is written first (ANPX 3.5).

use anpx::{
    ResetCode,
    limits::MAX_UNWRITTEN,
    session::{End, StreamId},
    v2::{Kind, encode},
};
use bytes::Bytes;

use super::dialogue::{Dialogue, ONE, data, fields, head, outline, with_headers};

/// A gateway with `count` uploads, each with a full frame queued that had a turn before.
fn bulk(count: u32) -> (Dialogue, Vec<StreamId>) {
    let mut gateway = Dialogue::gateway();
    let ids: Vec<_> = (0..count)
        .map(|_| gateway.opens(&head("POST"), b"", End::No))
        .collect();
    gateway.says();
    for id in &ids {
        gateway.hears(encode::window(id.0, 16 << 20));
        gateway.sends(*id, 64 << 10);
    }
    for id in &ids {
        let said = gateway.says_one(0).unwrap();
        assert_eq!(outline(&[said]), [(Kind::Data, id.0)]);
        gateway.sends(*id, 64 << 10);
    }
    (gateway, ids)
}

#[test]
fn control_then_heads_then_data() {
    let (mut gateway, ids) = bulk(2);
    gateway.hears(encode::response(
        1,
        &super::dialogue::response(200),
        Bytes::new(),
        false,
    ));
    gateway.hears(data(1, 40_000, false));
    while gateway.reads(ONE) != Ok(anpx::session::Read::Pending) {}
    let new = gateway.opens(&head("GET"), b"", End::Yes);
    gateway.session.reset(ids[1], ResetCode::CANCELLED);
    let expected = [
        (Kind::Window, 1),
        (Kind::Reset, ids[1].0),
        (Kind::Request, new.0),
        (Kind::Data, 1),
    ];
    assert_eq!(outline(&gateway.says()), expected);
}

#[test]
fn data_goes_in_turns() {
    let (mut gateway, ids) = bulk(3);
    let mut turns = Vec::new();
    for _ in 0..9 {
        let said = gateway.says_one(0).unwrap();
        turns.push(said.stream);
        gateway.sends(StreamId(said.stream), 64 << 10);
    }
    let round: Vec<_> = ids.iter().map(|id| id.0).collect();
    assert_eq!(turns, round.repeat(3));
}

#[test]
fn a_token_passes_bulk_and_then_waits_for_its_turn() {
    let (mut gateway, _) = bulk(20);
    let token = gateway.opens(&head("POST"), b"", End::No);
    assert_eq!(
        outline(&[gateway.says_one(0).unwrap()]),
        [(Kind::Request, token.0)]
    );
    gateway.sends(token, 1);
    assert_eq!(
        outline(&[gateway.says_one(0).unwrap()]),
        [(Kind::Data, token.0)]
    );
    // Its next takes a turn like everybody's.
    gateway.sends(token, 1);
    let said = outline(&gateway.says());
    assert_eq!(said.len(), 21);
    assert_eq!(said[20], (Kind::Data, token.0));
    // All are quiet now: whoever comes first is first.
    gateway.sends(token, 1);
    gateway.sends(ONE, 1);
    assert_eq!(
        outline(&gateway.says()),
        [(Kind::Data, token.0), (Kind::Data, 1)]
    );
}

#[test]
fn one_data_frame_goes_after_64_kib_of_heads() {
    let (mut gateway, _) = bulk(2);
    let large = with_headers(head("GET"), &[("x", &"y".repeat(20 << 10))]);
    for _ in 0..12 {
        gateway.opens(&large, b"", End::Yes);
    }
    let kinds: Vec<_> = outline(&gateway.says())
        .into_iter()
        .map(|(kind, _)| kind)
        .collect();
    let (heads, data) = (Kind::Request, Kind::Data);
    let four = [heads; 4];
    assert_eq!(kinds, [&four[..], &[data], &four, &[data], &four].concat());
}

#[test]
fn heads_are_written_in_the_order_of_their_ids() {
    let mut gateway = Dialogue::gateway();
    for _ in 0..50 {
        gateway.opens(&head("GET"), b"", End::Yes);
    }
    let ids: Vec<_> = gateway.says().iter().map(|frame| frame.stream).collect();
    assert_eq!(ids, (1..=50).collect::<Vec<_>>());
}

#[test]
fn a_full_buffer_lets_only_control_frames_through() {
    let (mut gateway, ids) = bulk(2);
    gateway.opens(&head("GET"), b"", End::Yes);
    gateway.session.reset(ids[0], ResetCode::CANCELLED);
    let said = gateway.says_with(MAX_UNWRITTEN);
    assert_eq!(outline(&said), [(Kind::Reset, ids[0].0)]);
    assert!(gateway.session.wants_transmit());
    let said = gateway.says_with(MAX_UNWRITTEN - 1);
    assert_eq!(outline(&said), [(Kind::Request, 3), (Kind::Data, ids[1].0)]);
    gateway.says();
    assert!(!gateway.session.wants_transmit());
}

#[test]
fn trailers_stay_behind_their_data() {
    let (mut gateway, ids) = bulk(2);
    gateway
        .session
        .send_trailers(ids[0], fields(&[("a", "b")]))
        .unwrap();
    let expected = [(Kind::Data, 1), (Kind::Data, 2), (Kind::Trailers, 1)];
    assert_eq!(outline(&gateway.says()), expected);
}

#[test]
fn a_stream_has_one_unsent_frame_at_most() {
    let mut gateway = Dialogue::gateway_after_post();
    assert_eq!(gateway.sends(ONE, 1), 1);
    assert_eq!(gateway.session.send_capacity(ONE), Ok(0));
    gateway.events();
    gateway.says();
    assert_eq!(gateway.events(), [anpx::session::Event::Writable(ONE)]);
    assert_eq!(gateway.session.send_capacity(ONE), Ok((64 << 10) - 1));
}
